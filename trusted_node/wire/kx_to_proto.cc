#include <algorithm>
#include <string>

#include "kms/base/overload.h"
#include "trusted_node/wire/keystream_qos.h"
#include "trusted_node/wire/kx.h"
#include "trusted_node/wire/reader.h"

namespace keyhop {
namespace {

namespace pb = kx::v1;

template <typename Bytes>
std::string Text(const Bytes& bytes) {
  return std::string(bytes.begin(), bytes.end());
}

void Put(const Incarnation& in, pb::Incarnation* out) {
  out->set_counter(in.counter);
  out->set_random(in.random);
}
void Put(const Session& in, pb::Session* out) {
  Put(in.first, out->mutable_first());
  Put(in.second, out->mutable_second());
}
void Put(const Range& in, pb::Range* out) {
  out->set_begin(in.begin);
  out->set_end(in.end);
}
void Put(const BookId& in, pb::BookId* out) {
  out->set_module_pair(in.module_pair);
  out->set_run(in.run);
}
void Put(const BookMark& in, pb::BookMark* out) {
  Put(in.book, out->mutable_book());
  out->set_mark(in.mark);
  out->set_stock_top(in.stock_top);
}
void Put(const StreamId& in, pb::StreamId* out) {
  out->set_source_node_id(in.source.value);
  out->set_destination_node_id(in.destination.value);
  if (in.paths > 1) out->set_paths(in.paths);
}
void Put(const StreamAddress& in, pb::StreamAddress* out) {
  out->set_epoch(in.epoch);
  out->set_offset(in.offset);
}
void Put(const RelayId& in, pb::RelayId* out) {
  out->set_source_node_id(in.source.value);
  Put(in.incarnation, out->mutable_incarnation());
  out->set_number(in.number);
}
void Put(const PadRange& in, pb::PadRange* out) {
  out->set_lease(in.lease);
  Put(in.book, out->mutable_book());
  out->set_block(in.block);
  out->set_offset_bytes(in.offset_bytes);
  out->set_length_bytes(in.length_bytes);
}

void Put(const LinkHello& in, pb::LinkHello* out) {
  out->set_link_id(in.link.value);
  out->set_from_node_id(in.from.value);
  Put(in.own, out->mutable_own());
  Put(in.echo, out->mutable_echo());
  out->set_open(in.open);
  for (const BookMark& book : in.books) Put(book, out->add_books());
  out->set_version(in.version);
  out->set_version_seen(in.version_seen);
  out->set_tag_kind(pb::TAG_KIND_HMAC_LINK_KEY);
  out->set_tag(Text(in.mac));
}
void Put(const LinkLeaseRequest& in, pb::LinkLeaseRequest* out) {
  out->set_link_id(in.link.value);
  Put(in.session, out->mutable_session());
  out->set_direction(static_cast<pb::Direction>(in.direction));
  out->set_number(in.number);
  Put(in.book, out->mutable_book());
  for (const Range& range : in.blocks) Put(range, out->add_blocks());
  out->set_tag_kind(pb::TAG_KIND_HMAC_LINK_KEY);
  out->set_tag(Text(in.mac));
}
void Put(const LinkLeaseAnswer& in, pb::LinkLeaseAnswer* out) {
  out->set_link_id(in.link.value);
  Put(in.session, out->mutable_session());
  out->set_direction(static_cast<pb::Direction>(in.direction));
  out->set_number(in.number);
  out->set_refused(in.refused);
  Put(in.book, out->mutable_book());
  out->set_mark(in.mark);
  for (const Range& range : in.lacking) Put(range, out->add_lacking());
  out->set_version(in.version);
  out->set_tag_kind(pb::TAG_KIND_HMAC_LINK_KEY);
  out->set_tag(Text(in.mac));
}
void Put(const LinkNeed& in, pb::LinkNeed* out) {
  out->set_link_id(in.link.value);
  out->set_from_node_id(in.from.value);
  Put(in.session, out->mutable_session());
  out->set_sequence(in.sequence);
  out->set_wanted_bytes(in.wanted_bytes);
  for (const BookMark& book : in.books) Put(book, out->add_books());
  out->set_version(in.version);
  out->set_tag_kind(pb::TAG_KIND_HMAC_LINK_KEY);
  out->set_tag(Text(in.mac));
}

void Put(const RelayFrame& in, pb::RelayFrame* out) {
  Put(in.link_session, out->mutable_link_session());
  Put(in.relay, out->mutable_relay());
  out->set_kind(static_cast<pb::SegmentKind>(in.kind));
  Put(in.stream, out->mutable_stream());
  Put(in.session, out->mutable_session());
  Put(in.at, out->mutable_at());
  out->set_share(in.share);
  out->set_body_bytes(in.body_bytes);
  for (const NodeId& node : in.path) out->add_path(node.value);
  out->set_hop(in.hop);
  out->set_priority(in.priority);
  SetSpan(Duration::Millis(in.remaining_ms), out->mutable_remaining());
  for (const PadRange& pad : in.pads) Put(pad, out->add_pads());
  out->set_check(Text(in.check));
  out->set_ciphertext(Text(in.ciphertext));
  out->set_tag(Text(in.tag));
}

void Put(const SourceHello& in, pb::RoutedControl* control) {
  pb::SourceHello* out = control->mutable_source_hello();
  Put(in.stream, out->mutable_stream());
  out->set_epoch(in.epoch);
  Put(in.source, out->mutable_source());
  Put(in.echo, out->mutable_echo());
  Put(in.mark, out->mutable_mark());
  out->set_version_seen(in.version_seen);
  out->set_tag_kind(pb::TAG_KIND_HMAC_STREAM_KEY);
  out->set_tag(Text(in.mac));
}
void Put(const StreamLeaseRequest& in, pb::RoutedControl* control) {
  pb::StreamLeaseRequest* out = control->mutable_stream_lease_request();
  Put(in.stream, out->mutable_stream());
  Put(in.session, out->mutable_session());
  out->set_number(in.number);
  out->set_epoch(in.epoch);
  for (const Range& range : in.ranges) Put(range, out->add_ranges());
  SetSpan(in.life, out->mutable_life());
  out->set_tag_kind(pb::TAG_KIND_HMAC_STREAM_KEY);
  out->set_tag(Text(in.mac));
}
void Put(const DestinationHello& in, pb::RoutedControl* control) {
  pb::DestinationHello* out = control->mutable_destination_hello();
  Put(in.stream, out->mutable_stream());
  out->set_epoch(in.epoch);
  Put(in.destination, out->mutable_destination());
  Put(in.echo, out->mutable_echo());
  Put(in.mark, out->mutable_mark());
  Put(in.top, out->mutable_top());
  out->set_version(in.version);
  out->set_heard(in.heard);
  out->set_tag_kind(pb::TAG_KIND_HMAC_STREAM_KEY);
  out->set_tag(Text(in.mac));
}
void Put(const LacksKey& in, pb::RoutedControl* control) {
  pb::LacksKey* out = control->mutable_lacks_key();
  Put(in.stream, out->mutable_stream());
  out->set_epoch(in.epoch);
  Put(in.source, out->mutable_source());
}
void Put(const OpeningAnswer& in, pb::RoutedControl* control) {
  pb::OpeningAnswer* out = control->mutable_opening_answer();
  Put(in.stream, out->mutable_stream());
  out->set_epoch(in.epoch);
  Put(in.source, out->mutable_source());
  Put(in.destination, out->mutable_destination());
  out->set_accepted(in.accepted);
  out->set_highest_epoch(in.highest_epoch);
  out->set_version(in.version);
  out->set_tag_kind(pb::TAG_KIND_SEGMENT_ONE_TIME);
  out->set_tag(Text(in.tag));
}
void Put(const SegmentAck& in, pb::RoutedControl* control) {
  pb::SegmentAck* out = control->mutable_segment_ack();
  Put(in.stream, out->mutable_stream());
  Put(in.session, out->mutable_session());
  Put(in.at, out->mutable_at());
  out->set_length_bytes(in.length_bytes);
  out->set_version(in.version);
  out->set_tag_kind(pb::TAG_KIND_SEGMENT_ONE_TIME);
  out->set_tag(Text(in.tag));
}
void Put(const StreamLeaseAnswer& in, pb::RoutedControl* control) {
  pb::StreamLeaseAnswer* out = control->mutable_stream_lease_answer();
  Put(in.stream, out->mutable_stream());
  Put(in.session, out->mutable_session());
  out->set_number(in.number);
  out->set_refused(in.refused);
  Put(in.mark, out->mutable_mark());
  for (const Range& range : in.lacking) Put(range, out->add_lacking());
  out->set_version(in.version);
  out->set_tag_kind(pb::TAG_KIND_HMAC_STREAM_KEY);
  out->set_tag(Text(in.mac));
}
void Put(const VersionReport& in, pb::RoutedControl* control) {
  pb::VersionReport* out = control->mutable_version_report();
  Put(in.stream, out->mutable_stream());
  Put(in.session, out->mutable_session());
  out->set_version(in.version);
  out->set_tag_kind(pb::TAG_KIND_HMAC_STREAM_KEY);
  out->set_tag(Text(in.mac));
}
void Put(const SupplyNotice& in, pb::RoutedControl* control) {
  pb::SupplyNotice* out = control->mutable_supply_notice();
  Put(in.stream, out->mutable_stream());
  Put(in.session, out->mutable_session());
  out->set_number(in.number);
  out->set_epoch(in.epoch);
  out->set_master_sae_id(in.master.value);
  for (const SaeId& sae : in.slaves) out->add_slave_sae_ids(sae.value);
  out->set_length_bytes(in.length_bytes);
  SetSpan(in.life, out->mutable_life());
  Put(in.head, out->mutable_head());
  for (const SupplyNotice::Item& item : in.items) {
    pb::SupplyNotice::Item* to = out->add_items();
    to->set_key_id(Text(item.id));
    Put(item.at, to->mutable_at());
  }
  out->set_ciphertext(Text(in.ciphertext));
  out->set_one_time_tag(Text(in.tag));
  out->set_tag_kind(pb::TAG_KIND_HMAC_STREAM_KEY);
  out->set_tag(Text(in.mac));
}
void Put(const SupplyCancel& in, pb::RoutedControl* control) {
  pb::SupplyCancel* out = control->mutable_supply_cancel();
  Put(in.stream, out->mutable_stream());
  Put(in.session, out->mutable_session());
  out->set_number(in.number);
  out->set_epoch(in.epoch);
  out->set_tag_kind(pb::TAG_KIND_HMAC_STREAM_KEY);
  out->set_tag(Text(in.mac));
}
void Put(const SupplyAnswer& in, pb::RoutedControl* control) {
  pb::SupplyAnswer* out = control->mutable_supply_answer();
  Put(in.stream, out->mutable_stream());
  Put(in.session, out->mutable_session());
  out->set_number(in.number);
  out->set_outcome(static_cast<pb::SupplyAnswer::Outcome>(in.outcome));
  out->set_version(in.version);
  out->set_tag_kind(pb::TAG_KIND_HMAC_STREAM_KEY);
  out->set_tag(Text(in.mac));
}
void Put(const InterestReport& in, pb::RoutedControl* control) {
  pb::InterestReport* out = control->mutable_interest_report();
  Put(in.stream, out->mutable_stream());
  Put(in.session, out->mutable_session());
  out->set_epoch(in.epoch);
  out->set_number(in.number);
  out->mutable_slaves()->Add(in.slaves.begin(), in.slaves.end());
  Put(in.taken_of, out->mutable_taken_of());
  out->set_taken(in.taken);
  out->set_tag_kind(pb::TAG_KIND_HMAC_STREAM_KEY);
  out->set_tag(Text(in.mac));
}
void Put(const Announcements& in, pb::RoutedControl* control) {
  pb::Announcements* out = control->mutable_announcements();
  Put(in.stream, out->mutable_stream());
  Put(in.session, out->mutable_session());
  out->set_epoch(in.epoch);
  out->set_interest(in.interest);
  out->set_first(in.first);
  for (const Announcement& item : in.items) {
    pb::Announcement* put = out->add_items();
    put->set_key_id(Text(item.id));
    put->set_master_sae_id(item.master.value);
    put->set_slave_number(item.slave_number);
    put->set_length_bytes(item.length_bytes);
  }
  out->set_tag_kind(pb::TAG_KIND_HMAC_STREAM_KEY);
  out->set_tag(Text(in.mac));
}
void Put(const AnnouncementsTaken& in, pb::RoutedControl* control) {
  pb::AnnouncementsTaken* out = control->mutable_announcements_taken();
  Put(in.stream, out->mutable_stream());
  Put(in.session, out->mutable_session());
  out->set_epoch(in.epoch);
  out->set_taken(in.taken);
  out->set_tag_kind(pb::TAG_KIND_HMAC_STREAM_KEY);
  out->set_tag(Text(in.mac));
}
void Put(const RelayRefusal& in, pb::RoutedControl* control) {
  pb::RelayRefusal* out = control->mutable_relay_refusal();
  Put(in.relay, out->mutable_relay());
  out->set_at_node_id(in.at.value);
  out->set_reason(static_cast<pb::RelayRefusal::Reason>(in.reason));
}
void Put(const KeystreamNote& in, pb::RoutedControl* control) {
  pb::KeystreamNote* out = control->mutable_keystream_note();
  Put(in.stream, out->mutable_stream());
  Put(in.session, out->mutable_session());
  out->set_epoch(in.epoch);
  out->set_number(in.number);
  out->set_reply_to(in.reply_to);
  out->set_ask(in.ask);
  out->set_key_stream_id(Text(in.id));
  out->set_first_sae_id(in.first.value);
  out->set_second_sae_id(in.second.value);
  PutQos(in.qos, out->mutable_qos());
  if (in.gone) out->set_gone(static_cast<pb::KeystreamNote::Gone>(*in.gone));
  out->set_opened(in.opened);
  out->set_closed(in.closed);
  out->set_next_index(in.next_index);
  out->set_settled_below(in.settled_below);
  out->set_want_below(in.want_below);
  out->set_limit_below(in.limit_below);
  out->set_conflict(in.conflict);
  for (const KeystreamNote::Chunk& chunk : in.chunks) {
    pb::KeystreamNote::Chunk* to = out->add_chunks();
    to->set_index(chunk.index);
    to->set_key_id(Text(chunk.key_id));
    to->set_hops(chunk.hops);
  }
  out->set_tag_kind(pb::TAG_KIND_HMAC_STREAM_KEY);
  out->set_tag(Text(in.mac));
}
void Put(const StreamMessage& in, pb::RoutedControl* control) {
  std::visit([&](const auto& message) { Put(message, control); }, in);
}
void Put(const RoutedControl& in, pb::RoutedControl* out) {
  Put(in.link_session, out->mutable_link_session());
  out->set_from_node_id(in.from.value);
  out->set_to_node_id(in.to.value);
  out->set_hop_limit(in.hop_limit);
  std::visit([&](const auto& body) { Put(body, out); }, in.body);
  out->set_tag_kind(pb::TAG_KIND_HMAC_LINK_KEY);
  out->set_tag(Text(in.mac));
}

void Put(const LinkState& in, pb::LinkState* out) {
  out->set_origin_node_id(in.origin.value);
  out->set_sequence(in.sequence);
  for (const LinkAdvert& link : in.links) {
    pb::LinkAdvert* advert = out->add_links();
    advert->set_link_id(link.link.value);
    advert->set_peer_node_id(link.peer.value);
    advert->set_up(link.up);
    advert->set_free_bytes(link.free_bytes);
    advert->set_rate_bps(link.rate_bps);
  }
  for (const SaeAdvert& sae : in.saes) {
    pb::SaeAdvert* advert = out->add_saes();
    advert->set_sae_id(sae.sae.value);
    advert->set_number(sae.number);
  }
  out->set_signature(in.signature);
}

}  // namespace

kx::v1::KxMessage ToProto(const KxMessage& message) {
  pb::KxMessage out;
  const Overload put_link{
      [&](const LinkHello& m) { Put(m, out.mutable_link_hello()); },
      [&](const LinkLeaseRequest& m) { Put(m, out.mutable_link_lease_request()); },
      [&](const LinkLeaseAnswer& m) { Put(m, out.mutable_link_lease_answer()); },
      [&](const LinkNeed& m) { Put(m, out.mutable_link_need()); },
  };
  std::visit(Overload{
                 [&](const LinkMessage& m) { std::visit(put_link, m); },
                 [&](const RelayFrame& m) { Put(m, out.mutable_relay_frame()); },
                 [&](const RoutedControl& m) { Put(m, out.mutable_routed_control()); },
                 [&](const LinkState& m) { Put(m, out.mutable_link_state()); },
             },
             message);
  return out;
}

}  // namespace keyhop
