#include "sim/net/message_bytes.h"

#include <cstring>
#include <type_traits>
#include <variant>

#include "kms/base/byte_writer.h"
#include "kms/base/overload.h"
#include "kms/core/uuid.h"

namespace keyhop::sim {
namespace {

// Lists the fields of each message once; everything else here is built on it.
template <typename F>
void Fields(F& f, SourceHello& m) {
  f(m.stream, m.epoch, m.source, m.echo, m.mark, m.version_seen, m.mac);
}
template <typename F>
void Fields(F& f, StreamLeaseRequest& m) {
  f(m.stream, m.session, m.number, m.epoch, m.ranges, m.life, m.mac);
}
template <typename F>
void Fields(F& f, DestinationHello& m) {
  f(m.stream, m.epoch, m.destination, m.echo, m.mark, m.top, m.version, m.heard, m.mac);
}
template <typename F>
void Fields(F& f, LacksKey& m) {
  f(m.stream, m.epoch, m.source);
}
template <typename F>
void Fields(F& f, OpeningAnswer& m) {
  f(m.stream, m.epoch, m.source, m.destination, m.accepted, m.highest_epoch, m.version, m.tag);
}
template <typename F>
void Fields(F& f, SegmentAck& m) {
  f(m.stream, m.session, m.at, m.length_bytes, m.version, m.tag);
}
template <typename F>
void Fields(F& f, StreamLeaseAnswer& m) {
  f(m.stream, m.session, m.number, m.refused, m.mark, m.lacking, m.version, m.mac);
}
template <typename F>
void Fields(F& f, VersionReport& m) {
  f(m.stream, m.session, m.version, m.mac);
}
template <typename F>
void Fields(F& f, SupplyNotice& m) {
  f(m.stream, m.session, m.number, m.epoch, m.master, m.slaves, m.length_bytes, m.life, m.head,
    m.items, m.ciphertext, m.tag, m.mac);
}
template <typename F>
void Fields(F& f, SupplyCancel& m) {
  f(m.stream, m.session, m.number, m.epoch, m.mac);
}
template <typename F>
void Fields(F& f, SupplyAnswer& m) {
  f(m.stream, m.session, m.number, m.outcome, m.version, m.mac);
}
template <typename F>
void Fields(F& f, KeystreamNote& m) {
  f(m.stream, m.session, m.epoch, m.number, m.reply_to, m.ask, m.id, m.first, m.second,
    m.qos.chunk_bytes, m.qos.max_bps, m.qos.min_bps, m.qos.jitter_bps, m.qos.priority,
    m.qos.timeout_ms, m.qos.ttl_s, m.qos.metadata_mimetype, m.gone, m.opened, m.closed,
    m.next_index, m.settled_below, m.want_below, m.limit_below, m.conflict, m.chunks, m.mac);
}
template <typename F>
void Fields(F& f, InterestReport& m) {
  f(m.stream, m.session, m.epoch, m.number, m.slaves, m.taken_of, m.taken, m.mac);
}
template <typename F>
void Fields(F& f, Announcements& m) {
  f(m.stream, m.session, m.epoch, m.interest, m.first, m.items, m.mac);
}
template <typename F>
void Fields(F& f, AnnouncementsTaken& m) {
  f(m.stream, m.session, m.epoch, m.taken, m.mac);
}
template <typename F>
void Fields(F& f, RelayRefusal& m) {
  f(m.relay.source, m.relay.incarnation, m.relay.number, m.at, m.reason);
}
template <typename F>
void Fields(F& f, LinkHello& m) {
  f(m.link, m.from, m.own, m.echo, m.open, m.books, m.version, m.version_seen, m.mac);
}
template <typename F>
void Fields(F& f, LinkLeaseRequest& m) {
  f(m.link, m.session, m.direction, m.number, m.book, m.blocks, m.mac);
}
template <typename F>
void Fields(F& f, LinkLeaseAnswer& m) {
  f(m.link, m.session, m.direction, m.number, m.refused, m.book, m.mark, m.lacking, m.version,
    m.mac);
}
template <typename F>
void Fields(F& f, LinkNeed& m) {
  f(m.link, m.from, m.session, m.sequence, m.wanted_bytes, m.books, m.version, m.mac);
}
template <typename F>
void Fields(F& f, RelayFrame& m) {
  f(m.link_session, m.relay.source, m.relay.incarnation, m.relay.number, m.kind, m.stream,
    m.session, m.at, m.body_bytes, m.path, m.hop, m.priority, m.remaining_ms, m.pads, m.check,
    m.ciphertext, m.tag);
}
template <typename F>
void Fields(F& f, RoutedControl& m) {
  f(m.link_session, m.from, m.to, m.hop_limit, m.mac);
  std::visit(Overload{[&](StreamMessage& stream) {
                        std::visit([&](auto& body) { Fields(f, body); }, stream);
                      },
                      [&](KeystreamNote& note) { Fields(f, note); },
                      [&](RelayRefusal& refusal) { Fields(f, refusal); }},
             m.body);
}
template <typename F>
void Fields(F& f, LinkState& m) {
  f(m.origin, m.sequence, m.links, m.saes, m.signature);
}

// Puts every field into a ByteWriter or a TraceHash.
template <typename Sink>
class Writer {
 public:
  explicit Writer(Sink& out) : out_(out) {}
  template <typename... Ts>
  void operator()(const Ts&... fields) {
    (Put(fields), ...);
  }

 private:
  template <typename T>
  requires(std::is_integral_v<T> || std::is_enum_v<T>) void Put(T v) {
    out_.U64(static_cast<uint64_t>(v));
  }
  template <typename K>
  void Put(const StrongString<K>& s) {
    out_.Text(s.value);
  }
  void Put(const std::string& s) { out_.Text(s); }
  void Put(Duration d) { out_.U64(static_cast<uint64_t>(d.ns)); }
  template <size_t n>
  void Put(const std::array<uint8_t, n>& a) {
    out_.Bytes(a);
  }
  void Put(const std::vector<uint8_t>& b) { out_.Bytes(b); }
  void Put(const Incarnation& i) { out_.U64(i.counter).U64(i.random); }
  void Put(const Session& s) { (*this)(s.first, s.second); }
  void Put(const Range& r) { (*this)(r.begin, r.end); }
  void Put(const StreamId& s) { (*this)(s.source, s.destination); }
  void Put(const StreamAddress& a) { (*this)(a.epoch, a.offset); }
  void Put(const BookId& b) { (*this)(b.module_pair, b.run); }
  void Put(const BookMark& m) { (*this)(m.book, m.mark, m.stock_top); }
  void Put(const PadRange& p) { (*this)(p.lease, p.book, p.block, p.offset_bytes, p.length_bytes); }
  void Put(const SupplyNotice::Item& i) { (*this)(i.id, i.at); }
  void Put(const KeystreamNote::Chunk& c) { (*this)(c.index, c.key_id, c.hops); }
  void Put(const std::optional<KeystreamGone>& g) { out_.U64(g ? static_cast<uint64_t>(*g) : 0); }
  void Put(const LinkAdvert& a) { (*this)(a.link, a.peer, a.up, a.free_bytes, a.rate_bps); }
  void Put(const SaeAdvert& a) { (*this)(a.sae, a.number); }
  void Put(const Announcement& a) { (*this)(a.id, a.master, a.slave_number, a.length_bytes); }
  template <typename T>
  void Put(const std::vector<T>& list) {
    out_.U64(list.size());
    for (const T& item : list) Put(item);
  }
  Sink& out_;
};

// Changes the field whose turn it is.
class Changer {
 public:
  explicit Changer(Prng& prng) : prng_(prng) {}
  size_t changeable = 0;
  size_t target = SIZE_MAX;

  template <typename... Ts>
  void operator()(Ts&... fields) {
    (Touch(fields), ...);
  }

 private:
  template <typename T>
  void Touch(T& field) {
    if constexpr (kChangeable<T>) {
      if (changeable++ == target) Change(field);
    }
  }
  template <typename T>
  static constexpr bool kChangeable =
      std::is_same_v<T, uint64_t> || std::is_same_v<T, uint32_t> || std::is_same_v<T, bool> ||
      std::is_same_v<T, Tag> || std::is_same_v<T, Mac> || std::is_same_v<T, StreamAddress> ||
      std::is_same_v<T, Session> || std::is_same_v<T, Incarnation> || std::is_same_v<T, BookId> ||
      std::is_same_v<T, std::vector<uint8_t>> || std::is_same_v<T, std::vector<PadRange>> ||
      std::is_same_v<T, std::vector<Range>> || std::is_same_v<T, std::string> ||
      std::is_same_v<T, std::vector<uint32_t>> || std::is_same_v<T, std::vector<Announcement>>;

  void Change(uint64_t& v) { v ^= uint64_t{1} << prng_.Below(12); }
  void Change(uint32_t& v) { v ^= uint32_t{1} << prng_.Below(8); }
  void Change(bool& v) { v = !v; }
  void Change(StreamAddress& a) { Change(prng_.Chance(500) ? a.epoch : a.offset); }
  void Change(Incarnation& i) { Change(prng_.Chance(500) ? i.counter : i.random); }
  void Change(Session& s) { Change(prng_.Chance(500) ? s.first : s.second); }
  void Change(BookId& b) { Change(b.run); }
  template <size_t n>
  void Change(std::array<uint8_t, n>& a) {
    a[prng_.Below(n)] ^= static_cast<uint8_t>(1 << prng_.Below(8));
  }
  void Change(std::vector<uint8_t>& bytes) {
    if (bytes.empty()) {
      bytes.push_back(1);
    } else {
      bytes[prng_.Below(bytes.size())] ^= static_cast<uint8_t>(1 << prng_.Below(8));
    }
  }
  void Change(std::string& s) { s += 'x'; }
  void Change(std::vector<uint32_t>& numbers) {
    if (numbers.empty()) {
      numbers.push_back(1);
    } else {
      Change(numbers.back());
    }
  }
  void Change(std::vector<Announcement>& items) {
    if (items.empty()) {
      items.emplace_back();
    } else {
      Change(items[prng_.Below(items.size())].id);
    }
  }
  void Change(std::vector<PadRange>& ranges) {
    if (ranges.empty()) {
      ranges.emplace_back();
      return;
    }
    PadRange& r = ranges[prng_.Below(ranges.size())];
    if (prng_.Chance(500)) {
      r.offset_bytes += 16;
    } else {
      r.block += 1;
    }
  }
  void Change(std::vector<Range>& ranges) {
    if (ranges.empty()) {
      ranges.push_back({0, 1});
    } else {
      ranges.back().end += 1 + prng_.Below(3);
    }
  }

  Prng& prng_;
};

template <typename F>
void AllFields(F& f, KxMessage& message) {
  std::visit(Overload{[&](LinkMessage& link) { std::visit([&](auto& m) { Fields(f, m); }, link); },
                      [&](auto& other) { Fields(f, other); }},
             message);
}

const char* Name(const SourceHello&) { return "SourceHello"; }
const char* Name(const StreamLeaseRequest&) { return "StreamLeaseRequest"; }
const char* Name(const DestinationHello&) { return "DestinationHello"; }
const char* Name(const LacksKey&) { return "LacksKey"; }
const char* Name(const OpeningAnswer&) { return "OpeningAnswer"; }
const char* Name(const SegmentAck&) { return "SegmentAck"; }
const char* Name(const StreamLeaseAnswer&) { return "StreamLeaseAnswer"; }
const char* Name(const VersionReport&) { return "VersionReport"; }
const char* Name(const InterestReport&) { return "InterestReport"; }
const char* Name(const Announcements&) { return "Announcements"; }
const char* Name(const AnnouncementsTaken&) { return "AnnouncementsTaken"; }
const char* Name(const SupplyNotice&) { return "SupplyNotice"; }
const char* Name(const SupplyCancel&) { return "SupplyCancel"; }
const char* Name(const SupplyAnswer&) { return "SupplyAnswer"; }

std::string Text(const StreamId& s) { return s.source.value + ">" + s.destination.value; }
std::string Text(const StreamAddress& a) {
  return std::to_string(a.epoch) + ":" + std::to_string(a.offset);
}
std::string Text(const Incarnation& i) {
  return std::to_string(i.counter) + "." + std::to_string(i.random % 1000);
}
std::string Text(const Session& s) { return Text(s.first) + "/" + Text(s.second); }
std::string Text(const BookId& b) {
  return std::to_string(b.module_pair) + "." + std::to_string(b.run);
}
std::string Text(const std::vector<Range>& ranges) {
  std::string out = "[";
  for (const Range& r : ranges) out += std::to_string(r.begin) + "-" + std::to_string(r.end) + " ";
  return out + "]";
}
std::string Text(const std::vector<BookMark>& books) {
  std::string out = "[";
  for (const BookMark& b : books) {
    out += Text(b.book) + "@" + std::to_string(b.mark) + "/" + std::to_string(b.stock_top) + " ";
  }
  return out + "]";
}

std::string Line(const SourceHello& m) {
  return Text(m.stream) + " epoch=" + std::to_string(m.epoch) + " src=" + Text(m.source) +
         " echo=" + Text(m.echo) + " mark=" + Text(m.mark) +
         " seen=" + std::to_string(m.version_seen);
}
std::string Line(const StreamLeaseRequest& m) {
  return Text(m.stream) + " " + Text(m.session) + " #" + std::to_string(m.number) +
         " epoch=" + std::to_string(m.epoch) + " " + Text(m.ranges);
}
std::string Line(const DestinationHello& m) {
  return Text(m.stream) + " epoch=" + std::to_string(m.epoch) + " dst=" + Text(m.destination) +
         " echo=" + Text(m.echo) + " mark=" + Text(m.mark) + " top=" + Text(m.top) +
         " v=" + std::to_string(m.version) + (m.heard ? " heard" : "");
}
std::string Line(const LacksKey& m) {
  return Text(m.stream) + " epoch=" + std::to_string(m.epoch) + " src=" + Text(m.source);
}
std::string Line(const OpeningAnswer& m) {
  return Text(m.stream) + " epoch=" + std::to_string(m.epoch) + (m.accepted ? " ok" : " refused") +
         " highest=" + std::to_string(m.highest_epoch) + " src=" + Text(m.source) +
         " dst=" + Text(m.destination) + " v=" + std::to_string(m.version);
}
std::string Line(const SegmentAck& m) {
  return Text(m.stream) + " " + Text(m.session) + " at=" + Text(m.at) + "+" +
         std::to_string(m.length_bytes) + " v=" + std::to_string(m.version);
}
std::string Line(const StreamLeaseAnswer& m) {
  return Text(m.stream) + " " + Text(m.session) + " #" + std::to_string(m.number) +
         (m.refused ? " refused mark=" + Text(m.mark) : "") + " lacking=" + Text(m.lacking) +
         " v=" + std::to_string(m.version);
}
std::string Line(const VersionReport& m) {
  return Text(m.stream) + " " + Text(m.session) + " v=" + std::to_string(m.version);
}
std::string Line(const SupplyNotice& m) {
  std::string out = Text(m.stream) + " " + Text(m.session) + " #" + std::to_string(m.number) +
                    " head=" + Text(m.head) + " of " + m.master.value + " for";
  for (const SaeId& slave : m.slaves) out += " " + slave.value;
  for (const SupplyNotice::Item& i : m.items) out += " " + FormatUuid(i.id) + "@" + Text(i.at);
  return out;
}
std::string Line(const SupplyCancel& m) {
  return Text(m.stream) + " " + Text(m.session) + " #" + std::to_string(m.number);
}
std::string Line(const SupplyAnswer& m) {
  return Text(m.stream) + " " + Text(m.session) + " #" + std::to_string(m.number) +
         " outcome=" + std::to_string(static_cast<int>(m.outcome)) +
         " v=" + std::to_string(m.version);
}
std::string Line(const KeystreamNote& m) {
  std::string out =
      Text(m.stream) + " " + Text(m.session) + " #" + std::to_string(m.number) +
      " reply=" + std::to_string(m.reply_to) + (m.ask ? " ask " : " ") + FormatUuid(m.id) +
      (m.gone ? " gone" : "") + (m.opened ? " opened" : "") + (m.closed ? " closed" : "") +
      (m.conflict ? " conflict" : "") + " next=" + std::to_string(m.next_index) +
      " settled=" + std::to_string(m.settled_below) + " want=" + std::to_string(m.want_below) +
      " limit=" + std::to_string(m.limit_below);
  for (const KeystreamNote::Chunk& c : m.chunks) {
    out += " " + std::to_string(c.index) + "=" + FormatUuid(c.key_id);
  }
  return out;
}
std::string Line(const InterestReport& m) {
  return Text(m.stream) + " " + Text(m.session) + " #" + std::to_string(m.number) +
         " slaves=" + std::to_string(m.slaves.size()) + " taken=" + Text(m.taken_of) + ":" +
         std::to_string(m.taken);
}
std::string Line(const Announcements& m) {
  return Text(m.stream) + " " + Text(m.session) + " #" + std::to_string(m.interest) +
         " first=" + std::to_string(m.first) + " items=" + std::to_string(m.items.size());
}
std::string Line(const AnnouncementsTaken& m) {
  return Text(m.stream) + " " + Text(m.session) + " taken=" + std::to_string(m.taken);
}
std::string Line(const RelayRefusal& m) {
  return m.relay.source.value + "#" + std::to_string(m.relay.number) + " at=" + m.at.value +
         " reason=" + std::to_string(static_cast<int>(m.reason));
}
std::string Line(const LinkHello& m) {
  return m.link.value + " own=" + Text(m.own) + " echo=" + Text(m.echo) + (m.open ? " open" : "") +
         " " + Text(m.books) + " v=" + std::to_string(m.version) +
         " seen=" + std::to_string(m.version_seen);
}
std::string Line(const LinkLeaseRequest& m) {
  return m.link.value + " " + Text(m.session) +
         " dir=" + std::to_string(static_cast<int>(m.direction)) + " #" + std::to_string(m.number) +
         " book=" + Text(m.book) + " " + Text(m.blocks);
}
std::string Line(const LinkLeaseAnswer& m) {
  return m.link.value + " " + Text(m.session) +
         " dir=" + std::to_string(static_cast<int>(m.direction)) + " #" + std::to_string(m.number) +
         " book=" + Text(m.book) + (m.refused ? " refused" : "") +
         " mark=" + std::to_string(m.mark) + " lacking=" + Text(m.lacking);
}
std::string Line(const LinkNeed& m) {
  return m.link.value + " wanted=" + std::to_string(m.wanted_bytes) + " " + Text(m.books);
}

}  // namespace

// Fields() takes messages by reference to change them; reading leaves them as they are.
std::vector<uint8_t> BytesOf(const KxMessage& message) {
  ByteWriter out;
  Writer writer(out);
  AllFields(writer, const_cast<KxMessage&>(message));
  return {out.bytes().begin(), out.bytes().end()};
}

void TraceHash::Add(const KxMessage& message) {
  Writer writer(*this);
  AllFields(writer, const_cast<KxMessage&>(message));
}

std::string KindOf(const KxMessage& message) {
  return std::visit(
      Overload{[](const LinkMessage& link) -> std::string {
                 return std::visit(
                     Overload{[](const LinkHello&) { return "LinkHello"; },
                              [](const LinkLeaseRequest&) { return "LinkLeaseRequest"; },
                              [](const LinkLeaseAnswer&) { return "LinkLeaseAnswer"; },
                              [](const LinkNeed&) { return "LinkNeed"; }},
                     link);
               },
               [](const RelayFrame&) -> std::string { return "RelayFrame"; },
               [](const LinkState&) -> std::string { return "LinkState"; },
               [](const RoutedControl& control) -> std::string {
                 return std::visit(Overload{[](const StreamMessage& m) {
                                              return std::visit(
                                                  [](const auto& x) { return Name(x); }, m);
                                            },
                                            [](const KeystreamNote&) { return "KeystreamNote"; },
                                            [](const RelayRefusal&) { return "RelayRefusal"; }},
                                   control.body);
               }},
      message);
}

std::string Describe(const KxMessage& message) {
  return KindOf(message) + " " +
         std::visit(
             Overload{[](const LinkMessage& link) -> std::string {
                        return std::visit([](const auto& m) { return Line(m); }, link);
                      },
                      [](const RelayFrame& f) -> std::string {
                        std::string out =
                            f.relay.source.value + "#" + std::to_string(f.relay.number) +
                            " hop=" + std::to_string(f.hop) + "/" +
                            std::to_string(f.path.size() - 1) +
                            (f.kind == SegmentKind::kOpening ? " opening " : " body ") +
                            Text(f.stream) + " at=" + Text(f.at) + "+" +
                            std::to_string(f.body_bytes) + " pads=";
                        for (const PadRange& p : f.pads) {
                          out += "L" + std::to_string(p.lease) + ":" + Text(p.book) + ":" +
                                 std::to_string(p.block) + "@" + std::to_string(p.offset_bytes) +
                                 "+" + std::to_string(p.length_bytes) + " ";
                        }
                        return out;
                      },
                      [](const LinkState& s) -> std::string {
                        return s.origin.value + " seq=" + std::to_string(s.sequence);
                      },
                      [](const RoutedControl& c) -> std::string {
                        return c.from.value + "=>" + c.to.value + " " +
                               std::visit(Overload{[](const StreamMessage& m) {
                                                     return std::visit(
                                                         [](const auto& x) { return Line(x); }, m);
                                                   },
                                                   [](const KeystreamNote& n) { return Line(n); },
                                                   [](const RelayRefusal& r) { return Line(r); }},
                                          c.body);
                      }},
             message);
}

void Tamper(Prng& prng, KxMessage& message) {
  Changer count(prng);
  AllFields(count, message);
  if (count.changeable == 0) return;
  Changer change(prng);
  change.target = prng.Below(count.changeable);
  AllFields(change, message);
}

TraceHash& TraceHash::Bytes(std::span<const uint8_t> bytes) {
  Add(uint64_t{bytes.size()});
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    Add(word);
  }
  uint64_t tail = 0;
  for (; i < bytes.size(); ++i) tail = tail << 8 | bytes[i];
  Add(tail);
  return *this;
}

}  // namespace keyhop::sim
