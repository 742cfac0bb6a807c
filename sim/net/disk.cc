#include "sim/net/disk.h"

#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "kms/base/overload.h"
#include "kms/core/uuid.h"

namespace keyhop::sim {
namespace {

// Keys order by kind, then by place.
class Key {
 public:
  explicit Key(char kind) {
    key_.reserve(64);
    key_ += kind;
  }
  Key& operator<<(const std::string& s) {
    *this << uint64_t{s.size()};
    key_ += s;
    return *this;
  }
  Key& operator<<(uint64_t v) {
    char bytes[8];
    for (int i = 7; i >= 0; --i, v >>= 8) bytes[i] = static_cast<char>(v);
    key_.append(bytes, sizeof(bytes));
    return *this;
  }
  Key& operator<<(const StreamId& s) {
    return *this << s.source.value << s.destination.value << uint64_t{s.paths};
  }
  Key& operator<<(const StreamAddress& a) { return *this << a.epoch << a.offset; }
  Key& operator<<(const BookId& b) { return *this << uint64_t{b.module_pair} << b.run; }
  std::string str() { return std::move(key_); }

 private:
  std::string key_;
};

std::string KeyOf(const NodeRecord&) { return Key('n').str(); }
std::string KeyOf(const LinkRecord& r) { return (Key('l') << r.link.value).str(); }
std::string KeyOf(const BookRecord& r) { return (Key('b') << r.link.value << r.book).str(); }
std::string KeyOf(const PadRecord& r) {
  return (Key('p') << r.link.value << r.book << r.block).str();
}
std::string KeyOf(const SourceRecord& r) { return (Key('s') << r.stream).str(); }
std::string KeyOf(const EpochRecord& r) {
  return (Key('e') << r.stream << uint64_t{r.at_source} << r.number).str();
}
std::string KeyOf(const SourceSegmentRecord& r) { return (Key('g') << r.stream << r.at).str(); }
std::string KeyOf(const DestinationRecord& r) { return (Key('d') << r.stream).str(); }
std::string KeyOf(const UnitBodyRecord& r) { return (Key('u') << r.stream << r.at).str(); }
std::string KeyOf(const UnitStateRecord& r) { return (Key('v') << r.stream << r.at).str(); }
std::string KeyOf(const SupplyKeyRecord& r) {
  return (Key('x') << r.stream << FormatUuid(r.id)).str();
}
std::string KeyOf(const SupplyRecord& r) {
  return (Key('y') << r.stream << FormatUuid(r.id)).str();
}
std::string KeyOf(const DirectoryRecord& r) { return (Key('D') << r.sae.value).str(); }
std::string KeyOf(const RoutingRecord&) { return Key('R').str(); }
std::string KeyOf(const SaeSuspendedRecord& r) { return (Key('z') << r.sae.value).str(); }
std::string KeyOf(const LinkDownRecord& r) { return (Key('o') << r.link.value).str(); }
std::string KeyOf(const IdempotencyRecord& r) {
  return (Key('i') << r.caller.value << r.key).str();
}
std::string KeyOf(const KeystreamRecord& r) { return (Key('k') << FormatUuid(r.id)).str(); }
std::string KeyOf(const KeystreamChunkRecord& r) {
  return (Key('c') << FormatUuid(r.id) << r.index).str();
}
std::string KeyOf(const RunTimeRecord&) { return Key('t').str(); }
std::string KeyOf(const QuotaRecord& r) {
  return (Key('q') << r.of.sae.value << r.of.slave.value).str();
}
std::string KeyOf(const WatchRecord& r) { return (Key('w') << r.sae.value).str(); }
std::string KeyOf(const WatchChunkRecord& r) { return (Key('C') << r.sae.value << r.first).str(); }
std::string KeyOf(const AnnouncedRecord& r) { return (Key('a') << r.source.value).str(); }

bool Erases(const PadRecord& r) { return !r.bytes.has_value(); }
bool Erases(const EpochRecord& r) { return !r.keys.has_value(); }
bool Erases(const SourceSegmentRecord& r) { return !r.body.has_value(); }
bool Erases(const UnitBodyRecord& r) { return !r.body.has_value(); }
bool Erases(const UnitStateRecord& r) { return r.erased; }
bool Erases(const SupplyKeyRecord& r) { return !r.body.has_value(); }
bool Erases(const SupplyRecord& r) { return r.erased; }
bool Erases(const BookRecord& r) { return r.erased; }
bool Erases(const LinkDownRecord& r) { return r.erased; }
bool Erases(const IdempotencyRecord& r) { return !r.answer.has_value(); }
bool Erases(const SaeSuspendedRecord& r) { return r.erased; }
bool Erases(const KeystreamRecord& r) { return r.erased; }
bool Erases(const KeystreamChunkRecord& r) { return r.erased; }
bool Erases(const QuotaRecord& r) { return r.erased; }
bool Erases(const WatchRecord& r) { return r.erased; }
bool Erases(const WatchChunkRecord& r) { return r.erased; }
template <typename T>
bool Erases(const T&) {
  return false;
}

std::optional<SecretBytes> Copy(const std::optional<SecretBytes>& bytes) {
  if (!bytes) return std::nullopt;
  return bytes->Duplicate(SecretAccess::ForSimulation());
}
PadRecord Copy(const PadRecord& r) { return {r.link, r.book, r.block, Copy(r.bytes)}; }
EpochRecord Copy(const EpochRecord& r) { return {r.stream, r.at_source, r.number, Copy(r.keys)}; }
SourceSegmentRecord Copy(const SourceSegmentRecord& r) { return {r.stream, r.at, Copy(r.body)}; }
UnitBodyRecord Copy(const UnitBodyRecord& r) { return {r.stream, r.at, Copy(r.body)}; }
SupplyKeyRecord Copy(const SupplyKeyRecord& r) { return {r.stream, r.id, Copy(r.body)}; }
IdempotencyRecord Copy(const IdempotencyRecord& r) {
  return {r.caller, r.key, r.request_hash, r.ends, Copy(r.answer)};
}
template <typename T>
T Copy(const T& r) {
  return r;
}

// Calls `f` with the record inside the nested variants.
template <typename F>
auto Visit(const Record& record, F f) {
  return std::visit(Overload{[&](const LinkRecordVariant& link) { return std::visit(f, link); },
                             [&](const StreamRecord& stream) { return std::visit(f, stream); },
                             [&](const AnnounceRecord& record) { return std::visit(f, record); },
                             [&](const auto& other) { return f(other); }},
                    record);
}

}  // namespace

std::string RecordKey(const Record& record) {
  return Visit(record, [](const auto& r) { return KeyOf(r); });
}

bool ErasesKey(const Record& record) {
  return Visit(record, [](const auto& r) { return Erases(r); });
}

Record CopyRecord(const Record& record) {
  return std::visit(
      Overload{[](const LinkRecordVariant& link) -> Record {
                 return std::visit([](const auto& r) { return LinkRecordVariant(Copy(r)); }, link);
               },
               [](const StreamRecord& stream) -> Record {
                 return std::visit([](const auto& r) { return StreamRecord(Copy(r)); }, stream);
               },
               [](const auto& other) -> Record { return Copy(other); }},
      record);
}

void Disk::Apply(Record record) {
  std::string key = RecordKey(record);
  if (ErasesKey(record)) {
    image_.erase(key);
  } else {
    image_.insert_or_assign(std::move(key), std::make_shared<const Record>(std::move(record)));
  }
}

std::vector<Record> Disk::Recover() const {
  std::vector<Record> out;
  out.reserve(image_.size());
  for (const auto& [key, record] : image_) out.push_back(CopyRecord(*record));
  return out;
}

}  // namespace keyhop::sim
