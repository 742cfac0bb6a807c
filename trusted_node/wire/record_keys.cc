#include "trusted_node/wire/record_keys.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "kms/base/check.h"

namespace keyhop {
namespace {

class Key {
 public:
  explicit Key(absl::string_view machine) : text_(machine) {}
  Key& Id(absl::string_view id) {
    KEYHOP_CHECK(id.size() <= 0xffff, "IDs are bounded");
    Number(id.size(), 2);
    text_.append(id.data(), id.size());
    return *this;
  }
  Key& Kind(absl::string_view kind) {
    absl::StrAppend(&text_, kind);
    return *this;
  }
  Key& U32(uint32_t value) { return Number(value, 4); }
  Key& U64(uint64_t value) { return Number(value, 8); }
  Key& At(const StreamAddress& at) { return U64(at.epoch).U64(at.offset); }
  Key& Book(const BookId& book) { return U32(book.module_pair).U64(book.run); }
  std::string Take() { return std::move(text_); }

 private:
  Key& Number(uint64_t value, int size) {
    for (int i = size - 1; i >= 0; --i) text_.push_back(static_cast<char>(value >> (8 * i)));
    return *this;
  }
  std::string text_;
};

Key LinkKey(const LinkId& link) { return std::move(Key("link/").Id(link.value)); }
Key StreamKey(const StreamId& stream) {
  Key key = std::move(Key("stream/").Id(stream.source.value).Id(stream.destination.value));
  if (stream.paths > 1) key.Kind("/paths/").U32(stream.paths);
  return key;
}
std::string Bytes(const KeyId& id) { return std::string(id.begin(), id.end()); }

}  // namespace

std::string KeyOf(const NodeRecord&) { return "node/start"; }
std::string KeyOf(const RoutingRecord&) { return "node/routing"; }
std::string KeyOf(const SaeSuspendedRecord& r) { return Key("suspended/").Id(r.sae.value).Take(); }
std::string KeyOf(const LinkDownRecord& r) { return LinkKey(r.link).Kind("/down").Take(); }
std::string KeyOf(const RunTimeRecord&) { return "node/run-time"; }
std::string KeyOf(const IdempotencyRecord& r) {
  return Key("idempotency/").Id(r.caller.value).Kind("/").Id(r.key).Take();
}
std::string KeyOf(const DirectoryRecord& r) { return Key("sae/").Id(r.sae.value).Take(); }
std::string KeyOf(const LinkRecord& r) { return LinkKey(r.link).Kind("/end").Take(); }
std::string KeyOf(const BookRecord& r) {
  return LinkKey(r.link).Kind("/book/").Book(r.book).Take();
}
std::string KeyOf(const PadRecord& r) {
  return LinkKey(r.link).Kind("/pad/").Book(r.book).U64(r.block).Take();
}
std::string KeyOf(const SourceRecord& r) { return StreamKey(r.stream).Kind("/source").Take(); }
std::string KeyOf(const EpochRecord& r) {
  return StreamKey(r.stream)
      .Kind(r.at_source ? "/source-epoch/" : "/destination-epoch/")
      .U64(r.number)
      .Take();
}
std::string KeyOf(const SourceSegmentRecord& r) {
  return StreamKey(r.stream).Kind("/segment/").At(r.at).Take();
}
std::string KeyOf(const DestinationRecord& r) {
  return StreamKey(r.stream).Kind("/destination").Take();
}
std::string KeyOf(const UnitBodyRecord& r) {
  return StreamKey(r.stream).Kind("/unit/").At(r.at).Take();
}
std::string KeyOf(const UnitStateRecord& r) {
  return StreamKey(r.stream).Kind("/unit-state/").At(r.at).Take();
}
std::string KeyOf(const SupplyKeyRecord& r) {
  return StreamKey(r.stream).Kind("/supply-key/").Kind(Bytes(r.id)).Take();
}
std::string KeyOf(const SupplyRecord& r) {
  return StreamKey(r.stream).Kind("/supply/").Kind(Bytes(r.id)).Take();
}

std::string KeyOf(const KeystreamRecord& r) { return Key("keystream/").Kind(Bytes(r.id)).Take(); }
std::string KeyOf(const KeystreamChunkRecord& r) {
  return Key("keystream/").Kind(Bytes(r.id)).Kind("/chunk/").U64(r.index).Take();
}

std::string KeyOf(const QuotaRecord& r) {
  return Key("quota/").Id(r.of.sae.value).Kind("/").Id(r.of.slave.value).Take();
}
std::string KeyOf(const WatchRecord& r) {
  return Key("watch/").Id(r.sae.value).Kind("/list").Take();
}
std::string KeyOf(const WatchChunkRecord& r) {
  return Key("watch/").Id(r.sae.value).Kind("/chunk/").U64(r.first).Take();
}
std::string KeyOf(const AnnouncedRecord& r) { return Key("announced/").Id(r.source.value).Take(); }

}  // namespace keyhop
