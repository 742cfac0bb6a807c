#include "trusted_node/wire/announce_records.h"

#include <string>
#include <utility>

namespace keyhop {

namespace pb = record::v1;

namespace {

void PutLife(const Incarnation& life, pb::Life* out) {
  out->set_counter(life.counter);
  out->set_random(life.random);
}
Incarnation LifeOf(const pb::Life& in) { return {in.counter(), in.random()}; }

}  // namespace

void Put(const WatchRecord& r, pb::Record* record) {
  pb::WatchRecord* out = record->mutable_watch();
  out->set_sae_id(r.sae.value);
  for (const auto& [source, life] : r.complete) {
    pb::WatchRecord::Complete* complete = out->add_complete();
    complete->set_source_node_id(source.value);
    PutLife(life, complete->mutable_life());
  }
}
void Put(const WatchChunkRecord& r, pb::Record* record) {
  pb::WatchChunkRecord* out = record->mutable_watch_chunk();
  out->set_sae_id(r.sae.value);
  out->set_first(r.first);
  out->set_life(r.life);
  for (const WatchEntry& entry : r.entries) {
    pb::WatchChunkRecord::Entry* put = out->add_entries();
    if (entry.gap_at) {
      put->mutable_gap()->set_source_node_id(entry.gap_at->value);
      continue;
    }
    put->mutable_drawn()->set_key_id(std::string(entry.key_id.begin(), entry.key_id.end()));
    put->mutable_drawn()->set_master_sae_id(entry.master.value);
    put->mutable_drawn()->set_size_bits(entry.size_bits);
  }
}
void Put(const AnnouncedRecord& r, pb::Record* record) {
  pb::AnnouncedRecord* out = record->mutable_announced();
  out->set_source_node_id(r.source.value);
  PutLife(r.life, out->mutable_life());
  out->set_taken(r.taken);
}

AnnounceRecord FromProto(const pb::WatchRecord& in, WireReader& reader) {
  WatchRecord out{.sae = reader.Sae(in.sae_id(), "sae_id")};
  for (const auto& complete : in.complete()) {
    out.complete[reader.Node(complete.source_node_id(), "source_node_id")] =
        LifeOf(complete.life());
  }
  return out;
}

AnnounceRecord FromProto(const pb::WatchChunkRecord& in, WireReader& reader) {
  WatchChunkRecord out{.sae = reader.Sae(in.sae_id(), "sae_id"), .first = in.first()};
  out.life = in.life();
  reader.Require(in.entries_size() > 0 && in.first() > 0, "entries", "none, or before the first");
  for (const auto& entry : in.entries()) {
    reader.Require(entry.kind_case() != pb::WatchChunkRecord::Entry::KIND_NOT_SET, "kind",
                   "unknown");
    WatchEntry& got = out.entries.emplace_back();
    if (entry.has_gap()) {
      const std::string& source = entry.gap().source_node_id();
      got.gap_at = source.empty() ? NodeId() : reader.Node(source, "source_node_id");
    } else {
      got.key_id = reader.Fixed<16>(entry.drawn().key_id(), "key_id");
      got.master = reader.Sae(entry.drawn().master_sae_id(), "master_sae_id");
      got.size_bits = entry.drawn().size_bits();
    }
  }
  return out;
}

AnnounceRecord FromProto(const pb::AnnouncedRecord& in, WireReader& reader) {
  return AnnouncedRecord{reader.Node(in.source_node_id(), "source_node_id"), LifeOf(in.life()),
                         in.taken()};
}

}  // namespace keyhop
