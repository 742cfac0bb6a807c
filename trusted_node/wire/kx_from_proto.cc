#include <string>
#include <utility>
#include <vector>

#include "trusted_node/wire/keystream_qos.h"
#include "trusted_node/wire/kx.h"
#include "trusted_node/wire/reader.h"

namespace keyhop {
namespace {

namespace pb = kx::v1;

// One Get… per message of the .proto file.
class KxReader : public WireReader {
 public:
  Incarnation Get(const pb::Incarnation& in) { return {in.counter(), in.random()}; }
  Session Get(const pb::Session& in) { return {Get(in.first()), Get(in.second())}; }
  Range Get(const pb::Range& in) {
    Require(in.begin() < in.end(), "range", "empty or reversed");
    return {in.begin(), in.end()};
  }
  BookId Get(const pb::BookId& in) { return {in.module_pair(), in.run()}; }
  BookMark Get(const pb::BookMark& in) { return {Get(in.book()), in.mark(), in.stock_top()}; }
  StreamAddress Get(const pb::StreamAddress& in) { return {in.epoch(), in.offset()}; }
  StreamId Get(const pb::StreamId& in) {
    StreamId out{Node(in.source_node_id(), "stream.source_node_id"),
                 Node(in.destination_node_id(), "stream.destination_node_id")};
    Require(out.source != out.destination, "stream", "from a node to itself");
    Require(in.paths() <= kPathsMax, "stream.paths", "more than there may be");
    out.paths = static_cast<uint8_t>(std::max(in.paths(), 1u));
    return out;
  }
  RelayId Get(const pb::RelayId& in) {
    return {Node(in.source_node_id(), "relay.source_node_id"), Get(in.incarnation()), in.number()};
  }
  PadRange Get(const pb::PadRange& in) {
    Require(in.length_bytes() > 0, "pads.length_bytes", "empty");
    Require(uint64_t{in.offset_bytes()} + in.length_bytes() <= kWirePayloadBytesMax,
            "pads.length_bytes", "past the end of any block");
    return {in.lease(), Get(in.book()), in.block(), in.offset_bytes(), in.length_bytes()};
  }
  template <typename Core, typename Fields>
  std::vector<Core> GetAll(const Fields& in, size_t max, absl::string_view field) {
    std::vector<Core> out;
    if (!Count(in.size(), max, field)) return out;
    out.reserve(static_cast<size_t>(in.size()));
    for (const auto& item : in) {
      out.push_back(Get(item));
      if (!ok()) break;
    }
    return out;
  }
  // The tag of a control message, of the one kind that it may have.
  Mac MacOf(pb::TagKind kind, pb::TagKind expected, const std::string& tag) {
    Require(kind == expected, "tag_kind", "not the kind that this message has");
    return Fixed<32>(tag, "tag");
  }
  Tag TagOf(pb::TagKind kind, pb::TagKind expected, const std::string& tag) {
    Require(kind == expected, "tag_kind", "not the kind that this message has");
    return Fixed<16>(tag, "tag");
  }

  LinkHello Get(const pb::LinkHello& in) {
    LinkHello out;
    out.link = Link(in.link_id(), "link_id");
    out.from = Node(in.from_node_id(), "from_node_id");
    out.own = Get(in.own());
    Require(out.own.known(), "own", "missing");
    out.echo = Get(in.echo());
    out.open = in.open();
    out.books = GetAll<BookMark>(in.books(), kWireBooksMax, "books");
    out.version = in.version();
    out.version_seen = in.version_seen();
    out.mac = MacOf(in.tag_kind(), pb::TAG_KIND_HMAC_LINK_KEY, in.tag());
    return out;
  }
  LinkLeaseRequest Get(const pb::LinkLeaseRequest& in) {
    LinkLeaseRequest out;
    out.link = Link(in.link_id(), "link_id");
    out.session = Get(in.session());
    out.direction = EnumUpTo(in.direction(), Direction::kToAllocator, "direction");
    out.number = in.number();
    out.book = Get(in.book());
    out.blocks = GetAll<Range>(in.blocks(), kWireRangesMax, "blocks");
    out.mac = MacOf(in.tag_kind(), pb::TAG_KIND_HMAC_LINK_KEY, in.tag());
    return out;
  }
  LinkLeaseAnswer Get(const pb::LinkLeaseAnswer& in) {
    LinkLeaseAnswer out;
    out.link = Link(in.link_id(), "link_id");
    out.session = Get(in.session());
    out.direction = EnumUpTo(in.direction(), Direction::kToAllocator, "direction");
    out.number = in.number();
    out.refused = in.refused();
    out.book = Get(in.book());
    out.mark = in.mark();
    out.lacking = GetAll<Range>(in.lacking(), kWireRangesMax, "lacking");
    out.version = in.version();
    out.mac = MacOf(in.tag_kind(), pb::TAG_KIND_HMAC_LINK_KEY, in.tag());
    return out;
  }
  LinkNeed Get(const pb::LinkNeed& in) {
    LinkNeed out;
    out.link = Link(in.link_id(), "link_id");
    out.from = Node(in.from_node_id(), "from_node_id");
    out.session = Get(in.session());
    out.sequence = in.sequence();
    out.wanted_bytes = in.wanted_bytes();
    out.books = GetAll<BookMark>(in.books(), kWireBooksMax, "books");
    out.version = in.version();
    out.mac = MacOf(in.tag_kind(), pb::TAG_KIND_HMAC_LINK_KEY, in.tag());
    return out;
  }

  RelayFrame Get(const pb::RelayFrame& in) {
    RelayFrame out;
    out.link_session = Get(in.link_session());
    out.relay = Get(in.relay());
    out.kind = EnumUpTo(in.kind(), SegmentKind::kBody, "kind");
    out.stream = Get(in.stream());
    out.session = Get(in.session());
    out.at = Get(in.at());
    Require(in.share() < out.stream.paths, "share", "not one of the stream's");
    out.share = static_cast<uint8_t>(in.share());
    out.body_bytes = in.body_bytes();
    Require(out.body_bytes > 0 && out.body_bytes <= kWireBodyBytesMax, "body_bytes",
            "not between 1 and 1 MiB");
    if (Count(in.path_size(), kWirePathMax, "path")) {
      for (const std::string& node : in.path()) out.path.push_back(Node(node, "path"));
    }
    Require(out.path.size() >= 2 && in.hop() < out.path.size() - 1, "hop", "not on the path");
    out.hop = static_cast<uint8_t>(in.hop());
    Require(in.priority() <= 255, "priority", "past 255");
    out.priority = static_cast<uint8_t>(in.priority());
    const int64_t remaining_ms = Span(in.remaining(), "remaining").millis();
    Require(remaining_ms <= 0xffffffff, "remaining", "too long");
    out.remaining_ms = static_cast<uint32_t>(remaining_ms);
    out.pads = GetAll<PadRange>(in.pads(), kWirePadRangesMax, "pads");
    out.check = Fixed<16>(in.check(), "check");
    const size_t payload_bytes = size_t{out.body_bytes} + kSegmentHeadBytes;
    Require(in.ciphertext().size() == (out.hop == 0 ? 0 : payload_bytes), "ciphertext",
            "not as long as the payload (or, on the first hop, not empty)");
    if (ok()) out.ciphertext.assign(in.ciphertext().begin(), in.ciphertext().end());
    out.tag = Fixed<16>(in.tag(), "tag");
    return out;
  }

  SourceHello Get(const pb::SourceHello& in) {
    SourceHello out;
    out.stream = Get(in.stream());
    out.epoch = in.epoch();
    out.source = Get(in.source());
    Require(out.source.known(), "source", "missing");
    out.echo = Get(in.echo());
    out.mark = Get(in.mark());
    out.version_seen = in.version_seen();
    out.mac = MacOf(in.tag_kind(), pb::TAG_KIND_HMAC_STREAM_KEY, in.tag());
    return out;
  }
  StreamLeaseRequest Get(const pb::StreamLeaseRequest& in) {
    StreamLeaseRequest out;
    out.stream = Get(in.stream());
    out.session = Get(in.session());
    out.number = in.number();
    out.epoch = in.epoch();
    out.ranges = GetAll<Range>(in.ranges(), kWireRangesMax, "ranges");
    out.life = Span(in.life(), "life");
    out.mac = MacOf(in.tag_kind(), pb::TAG_KIND_HMAC_STREAM_KEY, in.tag());
    return out;
  }
  DestinationHello Get(const pb::DestinationHello& in) {
    DestinationHello out;
    out.stream = Get(in.stream());
    out.epoch = in.epoch();
    out.destination = Get(in.destination());
    Require(out.destination.known(), "destination", "missing");
    out.echo = Get(in.echo());
    out.mark = Get(in.mark());
    out.top = Get(in.top());
    out.version = in.version();
    out.heard = in.heard();
    out.mac = MacOf(in.tag_kind(), pb::TAG_KIND_HMAC_STREAM_KEY, in.tag());
    return out;
  }
  LacksKey Get(const pb::LacksKey& in) { return {Get(in.stream()), in.epoch(), Get(in.source())}; }
  OpeningAnswer Get(const pb::OpeningAnswer& in) {
    OpeningAnswer out;
    out.stream = Get(in.stream());
    out.epoch = in.epoch();
    out.source = Get(in.source());
    out.destination = Get(in.destination());
    out.accepted = in.accepted();
    out.highest_epoch = in.highest_epoch();
    out.version = in.version();
    out.tag = TagOf(in.tag_kind(), pb::TAG_KIND_SEGMENT_ONE_TIME, in.tag());
    return out;
  }
  SegmentAck Get(const pb::SegmentAck& in) {
    SegmentAck out;
    out.stream = Get(in.stream());
    out.session = Get(in.session());
    out.at = Get(in.at());
    out.length_bytes = in.length_bytes();
    Require(out.length_bytes <= kWireBodyBytesMax, "length_bytes", "past 1 MiB");
    out.version = in.version();
    out.tag = TagOf(in.tag_kind(), pb::TAG_KIND_SEGMENT_ONE_TIME, in.tag());
    return out;
  }
  StreamLeaseAnswer Get(const pb::StreamLeaseAnswer& in) {
    StreamLeaseAnswer out;
    out.stream = Get(in.stream());
    out.session = Get(in.session());
    out.number = in.number();
    out.refused = in.refused();
    out.mark = Get(in.mark());
    out.lacking = GetAll<Range>(in.lacking(), kWireRangesMax, "lacking");
    out.version = in.version();
    out.mac = MacOf(in.tag_kind(), pb::TAG_KIND_HMAC_STREAM_KEY, in.tag());
    return out;
  }
  VersionReport Get(const pb::VersionReport& in) {
    VersionReport out;
    out.stream = Get(in.stream());
    out.session = Get(in.session());
    out.version = in.version();
    out.mac = MacOf(in.tag_kind(), pb::TAG_KIND_HMAC_STREAM_KEY, in.tag());
    return out;
  }
  SupplyNotice::Item Get(const pb::SupplyNotice::Item& in) {
    return {Fixed<16>(in.key_id(), "items.key_id"), Get(in.at())};
  }
  SupplyNotice Get(const pb::SupplyNotice& in) {
    SupplyNotice out;
    out.stream = Get(in.stream());
    out.session = Get(in.session());
    out.number = in.number();
    out.epoch = in.epoch();
    out.master = Sae(in.master_sae_id(), "master_sae_id");
    if (Count(in.slave_sae_ids_size(), kWireSupplySlavesMax, "slave_sae_ids")) {
      for (const std::string& sae : in.slave_sae_ids()) {
        out.slaves.push_back(Sae(sae, "slave_sae_ids"));
      }
    }
    out.length_bytes = in.length_bytes();
    out.life = Span(in.life(), "life");
    out.head = Get(in.head());
    out.items = GetAll<SupplyNotice::Item>(in.items(), kWireSupplyItemsMax, "items");
    Require(in.ciphertext().size() <= kWireSupplyBytesMax &&
                in.ciphertext().size() == out.items.size() * size_t{out.length_bytes},
            "ciphertext", "not as long as the keys, or over the limit");
    if (ok()) out.ciphertext.assign(in.ciphertext().begin(), in.ciphertext().end());
    out.tag = Fixed<16>(in.one_time_tag(), "one_time_tag");
    out.mac = MacOf(in.tag_kind(), pb::TAG_KIND_HMAC_STREAM_KEY, in.tag());
    return out;
  }
  SupplyCancel Get(const pb::SupplyCancel& in) {
    SupplyCancel out;
    out.stream = Get(in.stream());
    out.session = Get(in.session());
    out.number = in.number();
    out.epoch = in.epoch();
    out.mac = MacOf(in.tag_kind(), pb::TAG_KIND_HMAC_STREAM_KEY, in.tag());
    return out;
  }
  SupplyAnswer Get(const pb::SupplyAnswer& in) {
    SupplyAnswer out;
    out.stream = Get(in.stream());
    out.session = Get(in.session());
    out.number = in.number();
    out.outcome = EnumUpTo(in.outcome(), SupplyOutcome::kCancelled, "outcome");
    out.version = in.version();
    out.mac = MacOf(in.tag_kind(), pb::TAG_KIND_HMAC_STREAM_KEY, in.tag());
    return out;
  }
  InterestReport Get(const pb::InterestReport& in) {
    InterestReport out;
    out.stream = Get(in.stream());
    out.session = Get(in.session());
    out.epoch = in.epoch();
    out.number = in.number();
    if (Count(in.slaves_size(), kWireWatchersMax, "slaves")) {
      out.slaves.assign(in.slaves().begin(), in.slaves().end());
    }
    for (const uint32_t slave : out.slaves) {
      Require(slave <= kWireSaeNumberMax, "slaves", "more than 18 bits");
    }
    out.taken_of = Get(in.taken_of());
    out.taken = in.taken();
    out.mac = MacOf(in.tag_kind(), pb::TAG_KIND_HMAC_STREAM_KEY, in.tag());
    return out;
  }
  Announcements Get(const pb::Announcements& in) {
    Announcements out;
    out.stream = Get(in.stream());
    out.session = Get(in.session());
    out.epoch = in.epoch();
    out.interest = in.interest();
    out.first = in.first();
    if (Count(in.items_size(), kWireAnnouncementsMax, "items")) {
      for (const pb::Announcement& item : in.items()) {
        Require(item.slave_number() <= kWireSaeNumberMax, "slave_number", "more than 18 bits");
        Require(item.length_bytes() < 4096, "length_bytes", "past 4095");
        out.items.push_back({Fixed<16>(item.key_id(), "key_id"),
                             Sae(item.master_sae_id(), "master_sae_id"), item.slave_number(),
                             item.length_bytes()});
      }
    }
    out.mac = MacOf(in.tag_kind(), pb::TAG_KIND_HMAC_STREAM_KEY, in.tag());
    return out;
  }
  AnnouncementsTaken Get(const pb::AnnouncementsTaken& in) {
    AnnouncementsTaken out;
    out.stream = Get(in.stream());
    out.session = Get(in.session());
    out.epoch = in.epoch();
    out.taken = in.taken();
    out.mac = MacOf(in.tag_kind(), pb::TAG_KIND_HMAC_STREAM_KEY, in.tag());
    return out;
  }
  RelayRefusal Get(const pb::RelayRefusal& in) {
    return {Get(in.relay()), Node(in.at_node_id(), "at_node_id"),
            EnumUpTo(in.reason(), RefusalReason::kOverloaded, "reason")};
  }
  KeystreamNote::Chunk Get(const pb::KeystreamNote::Chunk& in) {
    return {in.index(), Fixed<16>(in.key_id(), "chunks.key_id"), in.hops()};
  }
  KeystreamNote Get(const pb::KeystreamNote& in) {
    KeystreamNote out;
    out.stream = Get(in.stream());
    out.session = Get(in.session());
    out.epoch = in.epoch();
    out.number = in.number();
    out.reply_to = in.reply_to();
    out.ask = in.ask();
    out.id = Fixed<16>(in.key_stream_id(), "key_stream_id");
    out.first = Sae(in.first_sae_id(), "first_sae_id");
    out.second = Sae(in.second_sae_id(), "second_sae_id");
    out.qos = QosOf(in.qos(), *this);
    if (in.gone() != pb::KeystreamNote::GONE_UNSPECIFIED) {
      out.gone = EnumUpTo(in.gone(), KeystreamGone::kRefused, "gone");
    }
    out.opened = in.opened();
    out.closed = in.closed();
    out.next_index = in.next_index();
    out.settled_below = in.settled_below();
    out.want_below = in.want_below();
    out.limit_below = in.limit_below();
    out.conflict = in.conflict();
    out.chunks = GetAll<KeystreamNote::Chunk>(in.chunks(), kKeystreamChunksPerNote, "chunks");
    out.mac = MacOf(in.tag_kind(), pb::TAG_KIND_HMAC_STREAM_KEY, in.tag());
    return out;
  }
  ControlBody BodyOf(const pb::RoutedControl& in) {
    switch (in.body_case()) {
      case pb::RoutedControl::kSourceHello:
        return StreamMessage(Get(in.source_hello()));
      case pb::RoutedControl::kStreamLeaseRequest:
        return StreamMessage(Get(in.stream_lease_request()));
      case pb::RoutedControl::kDestinationHello:
        return StreamMessage(Get(in.destination_hello()));
      case pb::RoutedControl::kLacksKey:
        return StreamMessage(Get(in.lacks_key()));
      case pb::RoutedControl::kOpeningAnswer:
        return StreamMessage(Get(in.opening_answer()));
      case pb::RoutedControl::kSegmentAck:
        return StreamMessage(Get(in.segment_ack()));
      case pb::RoutedControl::kStreamLeaseAnswer:
        return StreamMessage(Get(in.stream_lease_answer()));
      case pb::RoutedControl::kVersionReport:
        return StreamMessage(Get(in.version_report()));
      case pb::RoutedControl::kSupplyNotice:
        return StreamMessage(Get(in.supply_notice()));
      case pb::RoutedControl::kSupplyCancel:
        return StreamMessage(Get(in.supply_cancel()));
      case pb::RoutedControl::kSupplyAnswer:
        return StreamMessage(Get(in.supply_answer()));
      case pb::RoutedControl::kKeystreamNote:
        return Get(in.keystream_note());
      case pb::RoutedControl::kInterestReport:
        return StreamMessage(Get(in.interest_report()));
      case pb::RoutedControl::kAnnouncements:
        return StreamMessage(Get(in.announcements()));
      case pb::RoutedControl::kAnnouncementsTaken:
        return StreamMessage(Get(in.announcements_taken()));
      case pb::RoutedControl::kRelayRefusal:
        return Get(in.relay_refusal());
      case pb::RoutedControl::BODY_NOT_SET:
        break;
    }
    Refuse("routed_control", "no body, or one that this release does not know");
    return {};
  }
  RoutedControl Get(const pb::RoutedControl& in) {
    RoutedControl out;
    out.link_session = Get(in.link_session());
    out.from = Node(in.from_node_id(), "from_node_id");
    out.to = Node(in.to_node_id(), "to_node_id");
    Require(in.hop_limit() <= 255, "hop_limit", "past 255");
    out.hop_limit = static_cast<uint8_t>(in.hop_limit());
    out.body = BodyOf(in);
    out.mac = MacOf(in.tag_kind(), pb::TAG_KIND_HMAC_LINK_KEY, in.tag());
    return out;
  }

  LinkAdvert Get(const pb::LinkAdvert& in) {
    return {Link(in.link_id(), "links.link_id"), Node(in.peer_node_id(), "links.peer_node_id"),
            in.up(), in.free_bytes(), in.rate_bps()};
  }
  SaeAdvert Get(const pb::SaeAdvert& in) {
    Require(in.number() <= kWireSaeNumberMax, "saes.number", "past 18 bits");
    return {Sae(in.sae_id(), "saes.sae_id"), in.number()};
  }
  LinkState Get(const pb::LinkState& in) {
    LinkState out;
    out.origin = Node(in.origin_node_id(), "origin_node_id");
    out.sequence = in.sequence();
    out.links = GetAll<LinkAdvert>(in.links(), kWireLinksMax, "links");
    out.saes = GetAll<SaeAdvert>(in.saes(), kWireSaesMax, "saes");
    Require(in.signature().size() <= kWireSignatureBytesMax, "signature", "too long");
    if (ok()) out.signature = in.signature();
    return out;
  }

  KxMessage Get(const pb::KxMessage& in) {
    switch (in.body_case()) {
      case pb::KxMessage::kLinkHello:
        return LinkMessage(Get(in.link_hello()));
      case pb::KxMessage::kLinkLeaseRequest:
        return LinkMessage(Get(in.link_lease_request()));
      case pb::KxMessage::kLinkLeaseAnswer:
        return LinkMessage(Get(in.link_lease_answer()));
      case pb::KxMessage::kLinkNeed:
        return LinkMessage(Get(in.link_need()));
      case pb::KxMessage::kRelayFrame:
        return Get(in.relay_frame());
      case pb::KxMessage::kRoutedControl:
        return Get(in.routed_control());
      case pb::KxMessage::kLinkState:
        return Get(in.link_state());
      case pb::KxMessage::BODY_NOT_SET:
        break;
    }
    Refuse("body", "none, or one that this release does not know");
    return {};
  }
};

}  // namespace

absl::StatusOr<KxMessage> FromProto(const kx::v1::KxMessage& proto) {
  KxReader reader;
  KxMessage message = reader.Get(proto);
  if (!reader.ok()) return reader.status();
  return message;
}

}  // namespace keyhop
