#include "trusted_node/wire/records.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "keyhop/record/v1/record.pb.h"
#include "kms/base/check.h"
#include "kms/base/overload.h"
#include "trusted_node/wire/announce_records.h"
#include "trusted_node/wire/keystream_qos.h"
#include "trusted_node/wire/reader.h"
#include "trusted_node/wire/record_keys.h"

namespace keyhop {
namespace {

namespace pb = record::v1;

// ---- To the store.

std::string Bytes(const KeyId& id) { return std::string(id.begin(), id.end()); }
template <typename Proto>
void PutStream(const StreamId& stream, Proto* out) {
  out->set_source_node_id(stream.source.value);
  out->set_destination_node_id(stream.destination.value);
  if (stream.paths > 1) out->set_paths(stream.paths);
}
void Put(const StreamAddress& at, pb::Address* out) {
  out->set_epoch(at.epoch);
  out->set_offset(at.offset);
}

void Put(const NodeRecord& r, pb::Record* out) {
  out->mutable_node()->set_incarnation_counter(r.incarnation_counter);
}
void Put(const LinkRecord& r, pb::Record* record) {
  pb::LinkRecord* out = record->mutable_link();
  out->set_link_id(r.link.value);
  out->set_version(r.version);
  out->set_version_seen(r.version_seen);
}
void Put(const BookRecord& r, pb::Record* record) {
  pb::BookRecord* out = record->mutable_book();
  out->set_link_id(r.link.value);
  out->set_module_pair(r.book.module_pair);
  out->set_run(r.book.run);
  out->set_finished(r.finished);
  out->set_mark(r.mark);
  out->set_taken_top(r.taken_top);
}
void Put(const PadRecord& r, pb::Record* record) {
  pb::PadRecord* out = record->mutable_pad();
  out->set_link_id(r.link.value);
  out->set_module_pair(r.book.module_pair);
  out->set_run(r.book.run);
  out->set_block(r.block);
}
void Put(const SourceRecord& r, pb::Record* record) {
  pb::SourceRecord* out = record->mutable_source();
  PutStream(r.stream, out);
  out->set_top_epoch(r.top_epoch);
  Put(r.reserved, out->mutable_reserved());
  Put(r.mark, out->mutable_mark());
  out->set_version_seen(r.version_seen);
}
void Put(const EpochRecord& r, pb::Record* record) {
  pb::EpochRecord* out = record->mutable_epoch();
  PutStream(r.stream, out);
  out->set_at_source(r.at_source);
  out->set_number(r.number);
}
void Put(const SourceSegmentRecord& r, pb::Record* record) {
  pb::SourceSegmentRecord* out = record->mutable_source_segment();
  PutStream(r.stream, out);
  Put(r.at, out->mutable_at());
}
void Put(const DestinationRecord& r, pb::Record* record) {
  pb::DestinationRecord* out = record->mutable_destination();
  PutStream(r.stream, out);
  out->set_top_epoch(r.top_epoch);
  Put(r.mark, out->mutable_mark());
  Put(r.top, out->mutable_top());
  out->set_version(r.version);
}
void Put(const UnitBodyRecord& r, pb::Record* record) {
  pb::UnitBodyRecord* out = record->mutable_unit_body();
  PutStream(r.stream, out);
  Put(r.at, out->mutable_at());
}
void Put(const UnitStateRecord& r, pb::Record* record) {
  pb::UnitStateRecord* out = record->mutable_unit_state();
  PutStream(r.stream, out);
  Put(r.at, out->mutable_at());
  out->set_leased(r.leased);
  out->set_length_bytes(r.length_bytes);
  out->set_used(std::string(r.used.begin(), r.used.end()));
  SetSpan(r.life_left, out->mutable_life_left());
}
void Put(const SupplyKeyRecord& r, pb::Record* record) {
  pb::SupplyKeyRecord* out = record->mutable_supply_key();
  PutStream(r.stream, out);
  out->set_key_id(Bytes(r.id));
}
void Put(const SupplyRecord& r, pb::Record* record) {
  pb::SupplyRecord* out = record->mutable_supply();
  PutStream(r.stream, out);
  out->set_key_id(Bytes(r.id));
  out->set_master_sae_id(r.master.value);
  for (const SaeId& sae : r.slaves) out->add_slave_sae_ids(sae.value);
  out->set_fetched(std::string(r.fetched.begin(), r.fetched.end()));
  SetSpan(r.life_left, out->mutable_life_left());
}
void Put(const DirectoryRecord& r, pb::Record* record) {
  pb::DirectoryRecord* out = record->mutable_directory();
  out->set_sae_id(r.sae.value);
  out->set_home_node_id(r.home.value);
  out->set_number(r.number);
}
void Put(const RoutingRecord& r, pb::Record* record) {
  pb::RoutingRecord* out = record->mutable_routing();
  out->set_sequence_reserved(r.sequence_reserved);
  out->set_next_number(r.next_number);
}
void Put(const SaeSuspendedRecord& r, pb::Record* record) {
  record->mutable_sae_suspended()->set_sae_id(r.sae.value);
}
void Put(const LinkDownRecord& r, pb::Record* record) {
  record->mutable_link_down()->set_link_id(r.link.value);
}

void Put(const IdempotencyRecord& r, pb::Record* record) {
  pb::IdempotencyRecord* out = record->mutable_idempotency();
  out->set_caller_sae_id(r.caller.value);
  out->set_key(r.key);
  out->set_request_hash(std::string(r.request_hash.begin(), r.request_hash.end()));
  SetSpan(r.ends, out->mutable_ends());
}
void Put(const RunTimeRecord& r, pb::Record* record) {
  SetSpan(r.ran, record->mutable_run_time()->mutable_ran());
  SetSpan(r.refused_until, record->mutable_run_time()->mutable_refused_until());
}

void Put(const KeystreamRecord& r, pb::Record* record) {
  pb::KeystreamRecord* out = record->mutable_keystream();
  out->set_key_stream_id(Bytes(r.id));
  out->set_first_sae_id(r.saes[0].value);
  out->set_second_sae_id(r.saes[1].value);
  out->set_first_opened(r.opened[0]);
  out->set_second_opened(r.opened[1]);
  out->set_first_closed(r.closed[0]);
  out->set_second_closed(r.closed[1]);
  PutQos(r.qos, out->mutable_qos());
  out->set_next_index(r.next_index);
  out->set_settled_below(r.settled_below);
}
void Put(const KeystreamChunkRecord& r, pb::Record* record) {
  pb::KeystreamChunkRecord* out = record->mutable_keystream_chunk();
  out->set_key_stream_id(Bytes(r.id));
  out->set_index(r.index);
  out->set_key_id(Bytes(r.key_id));
  out->set_hops(r.hops);
  out->set_first_taken(r.taken[0]);
  out->set_second_taken(r.taken[1]);
  SetSpan(r.life_left, out->mutable_life_left());
}
void Put(const QuotaRecord& r, pb::Record* record) {
  pb::QuotaRecord* out = record->mutable_quota();
  out->set_sae_id(r.of.sae.value);
  out->set_slave_sae_id(r.of.slave.value);
  out->set_keys_per_second(r.quota.keys_per_s);
  out->set_bits_per_second(r.quota.bits_per_s);
  SetSpan(r.quota.burst, out->mutable_burst());
  out->set_share(r.quota.share);
}

// The secret part; null for kinds that have none, and for a record that erases itself.
const SecretBytes* SecretOf(const std::optional<SecretBytes>& secret) {
  return secret.has_value() ? &*secret : nullptr;
}
template <typename R>
const SecretBytes* SecretOf(const R& r) {
  if constexpr (requires { r.bytes; }) {
    return SecretOf(r.bytes);
  } else if constexpr (requires { r.keys; }) {
    return SecretOf(r.keys);
  } else if constexpr (requires { r.body; }) {
    return SecretOf(r.body);
  } else if constexpr (requires { r.answer; }) {
    return SecretOf(r.answer);
  } else {
    return nullptr;
  }
}
template <typename R>
inline constexpr bool kHasSecret = requires(R r) {
  r.bytes;
}
|| requires(R r) { r.keys; }
|| requires(R r) { r.body; }
|| requires(R r) { r.answer; };

template <typename R>
inline constexpr uint32_t kFormatOf =
    std::is_same_v<R, SupplyKeyRecord> || std::is_same_v<R, SupplyRecord> ||
            std::is_same_v<R, KeystreamRecord> || std::is_same_v<R, KeystreamChunkRecord> ||
            std::is_same_v<R, WatchRecord> || std::is_same_v<R, WatchChunkRecord> ||
            std::is_same_v<R, AnnouncedRecord> || std::is_same_v<R, QuotaRecord>
        ? 2
        : 1;

template <typename R>
StoredRecord Stored(const R& r) {
  StoredRecord out;
  out.key = KeyOf(r);
  if constexpr (kHasSecret<R>) {
    out.secret = SecretOf(r);
    out.erase = out.secret == nullptr;
  } else if constexpr (requires { r.erased; }) {
    out.erase = r.erased;
  }
  if (out.erase) return out;
  pb::Record proto;
  proto.set_format(kFormatOf<R>);
  Put(r, &proto);
  out.public_bytes = proto.SerializeAsString();
  return out;
}
StoredRecord Stored(const LinkRecordVariant& r) {
  return std::visit([](const auto& record) { return Stored(record); }, r);
}
StoredRecord Stored(const AnnounceRecord& r) {
  return std::visit([](const auto& record) { return Stored(record); }, r);
}
StoredRecord Stored(const StreamRecord& r) {
  return std::visit([](const auto& record) { return Stored(record); }, r);
}

// ---- From the store.

class RecordReader : public WireReader {
 public:
  explicit RecordReader(std::optional<SecretBytes> secret) : secret_(std::move(secret)) {}

  // The record's sealed part, which must be there.
  std::optional<SecretBytes> TakeSecret(absl::string_view kind) {
    Require(secret_.has_value(), kind, "the sealed part is missing");
    return std::exchange(secret_, std::nullopt);
  }
  bool secret_left() const { return secret_.has_value(); }

  template <typename Proto>
  StreamId StreamOf(const Proto& in) {
    Require(in.paths() <= kPathsMax, "paths", "more than there may be");
    return {Node(in.source_node_id(), "source_node_id"),
            Node(in.destination_node_id(), "destination_node_id"),
            static_cast<uint8_t>(std::max(in.paths(), 1u))};
  }
  // Of all lives of a node: what fits into nanoseconds.
  Duration RunTime(const google::protobuf::Duration& span, absl::string_view field) {
    constexpr int64_t kSecondsMax = 9'000'000'000;
    if (span.seconds() < 0 || span.seconds() > kSecondsMax || span.nanos() < 0 ||
        span.nanos() > 999'999'999) {
      Refuse(field, "not a run time");
      return {};
    }
    return Duration{span.seconds() * 1'000'000'000 + span.nanos()};
  }
  static StreamAddress Get(const pb::Address& in) { return {in.epoch(), in.offset()}; }

  Record Get(const pb::BookRecord& in) {
    return LinkRecordVariant(BookRecord{Link(in.link_id(), "link_id"),
                                        {in.module_pair(), in.run()},
                                        in.finished(),
                                        in.mark(),
                                        in.taken_top()});
  }
  Record Get(const pb::PadRecord& in) {
    return LinkRecordVariant(PadRecord{Link(in.link_id(), "link_id"),
                                       {in.module_pair(), in.run()},
                                       in.block(),
                                       TakeSecret("pad")});
  }
  Record Get(const pb::SourceRecord& in) {
    return StreamRecord(SourceRecord{StreamOf(in), in.top_epoch(), Get(in.reserved()),
                                     Get(in.mark()), in.version_seen()});
  }
  Record Get(const pb::EpochRecord& in) {
    return StreamRecord(
        EpochRecord{StreamOf(in), in.at_source(), in.number(), TakeSecret("epoch")});
  }
  Record Get(const pb::SourceSegmentRecord& in) {
    return StreamRecord(
        SourceSegmentRecord{StreamOf(in), Get(in.at()), TakeSecret("source_segment")});
  }
  Record Get(const pb::DestinationRecord& in) {
    return StreamRecord(DestinationRecord{StreamOf(in), in.top_epoch(), Get(in.mark()),
                                          Get(in.top()), in.version()});
  }
  Record Get(const pb::UnitBodyRecord& in) {
    return StreamRecord(UnitBodyRecord{StreamOf(in), Get(in.at()), TakeSecret("unit_body")});
  }
  Record Get(const pb::UnitStateRecord& in) {
    UnitStateRecord out;
    out.stream = StreamOf(in);
    out.at = Get(in.at());
    out.leased = in.leased();
    out.length_bytes = in.length_bytes();
    out.used.assign(in.used().begin(), in.used().end());
    out.life_left = Span(in.life_left(), "life_left");
    return StreamRecord(std::move(out));
  }
  Record Get(const pb::SupplyKeyRecord& in) {
    return StreamRecord(
        SupplyKeyRecord{StreamOf(in), Fixed<16>(in.key_id(), "key_id"), TakeSecret("supply_key")});
  }
  Record Get(const pb::SupplyRecord& in) {
    SupplyRecord out;
    out.stream = StreamOf(in);
    out.id = Fixed<16>(in.key_id(), "key_id");
    out.master = Sae(in.master_sae_id(), "master_sae_id");
    for (const std::string& sae : in.slave_sae_ids()) {
      out.slaves.push_back(Sae(sae, "slave_sae_ids"));
    }
    out.fetched.assign(in.fetched().begin(), in.fetched().end());
    out.life_left = Span(in.life_left(), "life_left");
    return StreamRecord(std::move(out));
  }
  Record Get(const pb::IdempotencyRecord& in) {
    IdempotencyRecord out;
    out.caller = Sae(in.caller_sae_id(), "caller_sae_id");
    out.key = in.key();
    Require(!out.key.empty() && out.key.size() <= IdempotencyTable::kKeyBytesMax, "key",
            "expected 1 to 255 bytes");
    out.request_hash = Fixed<32>(in.request_hash(), "request_hash");
    out.ends = RunTime(in.ends(), "ends");
    out.answer = TakeSecret("idempotency");
    return out;
  }
  Record Get(const pb::KeystreamRecord& in) {
    KeystreamRecord out;
    out.id = Fixed<16>(in.key_stream_id(), "key_stream_id");
    out.saes = {Sae(in.first_sae_id(), "first_sae_id"), Sae(in.second_sae_id(), "second_sae_id")};
    out.opened = {in.first_opened(), in.second_opened()};
    out.closed = {in.first_closed(), in.second_closed()};
    out.qos = QosOf(in.qos(), *this);
    out.next_index = in.next_index();
    out.settled_below = in.settled_below();
    return out;
  }
  Record Get(const pb::QuotaRecord& in) {
    QuotaRecord out;
    out.of.sae = Sae(in.sae_id(), "sae_id");
    if (!in.slave_sae_id().empty()) out.of.slave = Sae(in.slave_sae_id(), "slave_sae_id");
    out.quota = {in.keys_per_second(), in.bits_per_second(), Span(in.burst(), "burst"), in.share()};
    const absl::Status fits = CheckQuota(out.of, out.quota);
    Require(fits.ok(), "quota", fits.ok() ? "" : "no quota");
    return out;
  }
  Record Get(const pb::KeystreamChunkRecord& in) {
    KeystreamChunkRecord out;
    out.id = Fixed<16>(in.key_stream_id(), "key_stream_id");
    out.index = in.index();
    out.key_id = Fixed<16>(in.key_id(), "key_id");
    out.hops = in.hops();
    out.taken = {in.first_taken(), in.second_taken()};
    out.life_left = Span(in.life_left(), "life_left");
    return out;
  }
  Record Get(const pb::Record& in) {
    switch (in.body_case()) {
      case pb::Record::kNode:
        return NodeRecord{in.node().incarnation_counter()};
      case pb::Record::kLink:
        return LinkRecordVariant(LinkRecord{Link(in.link().link_id(), "link_id"),
                                            in.link().version(), in.link().version_seen()});
      case pb::Record::kBook:
        return Get(in.book());
      case pb::Record::kPad:
        return Get(in.pad());
      case pb::Record::kSource:
        return Get(in.source());
      case pb::Record::kEpoch:
        return Get(in.epoch());
      case pb::Record::kSourceSegment:
        return Get(in.source_segment());
      case pb::Record::kDestination:
        return Get(in.destination());
      case pb::Record::kUnitBody:
        return Get(in.unit_body());
      case pb::Record::kUnitState:
        return Get(in.unit_state());
      case pb::Record::kSupplyKey:
        return Get(in.supply_key());
      case pb::Record::kSupply:
        return Get(in.supply());
      case pb::Record::kDirectory:
        return DirectoryRecord{Sae(in.directory().sae_id(), "sae_id"),
                               Node(in.directory().home_node_id(), "home_node_id"),
                               in.directory().number()};
      case pb::Record::kRouting:
        return RoutingRecord{in.routing().sequence_reserved(), in.routing().next_number()};
      case pb::Record::kLinkDown:
        return LinkDownRecord{Link(in.link_down().link_id(), "link_id")};
      case pb::Record::kQuota:
        return Get(in.quota());
      case pb::Record::kWatch:
        return FromProto(in.watch(), *this);
      case pb::Record::kWatchChunk:
        return FromProto(in.watch_chunk(), *this);
      case pb::Record::kAnnounced:
        return FromProto(in.announced(), *this);
      case pb::Record::kIdempotency:
        return Get(in.idempotency());
      case pb::Record::kRunTime:
        return RunTimeRecord{RunTime(in.run_time().ran(), "ran"),
                             RunTime(in.run_time().refused_until(), "refused_until")};
      case pb::Record::kSaeSuspended:
        return SaeSuspendedRecord{Sae(in.sae_suspended().sae_id(), "sae_id")};
      case pb::Record::kKeystream:
        return Get(in.keystream());
      case pb::Record::kKeystreamChunk:
        return Get(in.keystream_chunk());
      case pb::Record::BODY_NOT_SET:
        break;
    }
    Refuse("body", "none, or one that this release does not know");
    return NodeRecord{};
  }

 private:
  std::optional<SecretBytes> secret_;
};

}  // namespace

StoredRecord ToStored(const Record& record) {
  return std::visit([](const auto& r) { return Stored(r); }, record);
}

absl::StatusOr<Record> FromStored(absl::string_view key, absl::string_view public_bytes,
                                  std::optional<SecretBytes> secret) {
  pb::Record proto;
  if (!proto.ParseFromArray(public_bytes.data(), static_cast<int>(public_bytes.size()))) {
    return absl::DataLossError("a record of the store is not a keyhop.record.v1.Record");
  }
  if (proto.format() == 0 || proto.format() > kRecordFormat) {
    return absl::DataLossError(absl::StrCat("a record has format ", proto.format(),
                                            "; this release reads 1 to ", kRecordFormat));
  }
  RecordReader reader(std::move(secret));
  Record record = reader.Get(proto);
  if (!reader.ok()) {
    return absl::DataLossError(absl::StrCat("a record of the store: ", reader.status().message()));
  }
  if (reader.secret_left()) {
    return absl::DataLossError("a record of the store has a sealed part that its kind has not");
  }
  if (ToStored(record).key != key) {
    return absl::DataLossError("a record of the store stands under another record's key");
  }
  return record;
}

}  // namespace keyhop
