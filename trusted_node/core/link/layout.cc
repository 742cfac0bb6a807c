#include "trusted_node/core/link/layout.h"

#include <variant>

namespace keyhop {
namespace {

// Never given to another meaning.
enum Type : uint8_t { kHello = 1, kLeaseRequest = 2, kLeaseAnswer = 3, kNeed = 4, kOther = 255 };

void Put(const Incarnation& incarnation, ByteWriter& out) {
  out.U64(incarnation.counter).U64(incarnation.random);
}
void Put(const Session& session, ByteWriter& out) {
  Put(session.first, out);
  Put(session.second, out);
}
void Put(const BookId& book, ByteWriter& out) { out.U32(book.module_pair).U64(book.run); }
void Put(const std::vector<BookMark>& books, ByteWriter& out) {
  out.U32(static_cast<uint32_t>(books.size()));
  for (const BookMark& b : books) {
    Put(b.book, out);
    out.U64(b.mark).U64(b.stock_top);
  }
}
void Put(const std::vector<Range>& ranges, ByteWriter& out) {
  out.U32(static_cast<uint32_t>(ranges.size()));
  for (const Range& r : ranges) out.U64(r.begin).U64(r.end);
}

void Put(const LinkHello& m, ByteWriter& out) {
  out.U8(kHello).Text(m.link.value).Text(m.from.value);
  Put(m.own, out);
  Put(m.echo, out);
  out.U8(m.open ? 1 : 0);
  Put(m.books, out);
  out.U64(m.version).U64(m.version_seen);
}
void Put(const LinkLeaseRequest& m, ByteWriter& out) {
  out.U8(kLeaseRequest).Text(m.link.value);
  Put(m.session, out);
  out.U8(static_cast<uint8_t>(m.direction)).U64(m.number);
  Put(m.book, out);
  Put(m.blocks, out);
}
void Put(const LinkLeaseAnswer& m, ByteWriter& out) {
  out.U8(kLeaseAnswer).Text(m.link.value);
  Put(m.session, out);
  out.U8(static_cast<uint8_t>(m.direction)).U64(m.number).U8(m.refused ? 1 : 0);
  Put(m.book, out);
  out.U64(m.mark);
  Put(m.lacking, out);
  out.U64(m.version);
}
void Put(const LinkNeed& m, ByteWriter& out) {
  out.U8(kNeed).Text(m.link.value).Text(m.from.value);
  Put(m.session, out);
  out.U64(m.sequence).U64(m.wanted_bytes);
  Put(m.books, out);
  out.U64(m.version);
}

}  // namespace

ByteWriter LayoutOf(const LinkMessage& message) {
  ByteWriter out;
  std::visit([&](const auto& m) { Put(m, out); }, message);
  return out;
}

ByteWriter LayoutOfOther(const LinkId& link, std::span<const uint8_t> body) {
  ByteWriter out;
  out.U8(kOther).Text(link.value).Bytes(body);
  return out;
}

const LinkId& LinkOf(const LinkMessage& message) {
  return std::visit([](const auto& m) -> const LinkId& { return m.link; }, message);
}

const Mac& MacOf(const LinkMessage& message) {
  return std::visit([](const auto& m) -> const Mac& { return m.mac; }, message);
}

void SetMac(const Mac& mac, LinkMessage& message) {
  std::visit([&](auto& m) { m.mac = mac; }, message);
}

bool MacHolds(const SecretBytes& key, const LinkMessage& message) {
  return EqualConstantTime(HmacSha256(key, LayoutOf(message).bytes()), MacOf(message));
}

}  // namespace keyhop
