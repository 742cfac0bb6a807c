#include "kms/core/stream/layout.h"

namespace keyhop {

void Lay(ByteWriter& w, const Incarnation& i) { w.U64(i.counter).U64(i.random); }
void Lay(ByteWriter& w, const Session& s) {
  Lay(w, s.first);
  Lay(w, s.second);
}
void Lay(ByteWriter& w, const StreamId& s) {
  w.Text(s.source.value).Text(s.destination.value).U8(s.paths);
}
void Lay(ByteWriter& w, const StreamAddress& a) { w.U64(a.epoch).U64(a.offset); }
void Lay(ByteWriter& w, const std::vector<Range>& ranges) {
  w.U32(static_cast<uint32_t>(ranges.size()));
  for (const Range& r : ranges) w.U64(r.begin).U64(r.end);
}

ByteWriter LayoutOf(const SourceHello& m) {
  ByteWriter w;
  w.U8(0x21);
  Lay(w, m.stream);
  w.U64(m.epoch);
  Lay(w, m.source);
  Lay(w, m.echo);
  Lay(w, m.mark);
  w.U64(m.version_seen);
  return w;
}

ByteWriter LayoutOf(const StreamLeaseRequest& m) {
  ByteWriter w;
  w.U8(0x22);
  Lay(w, m.stream);
  Lay(w, m.session);
  w.U64(m.number).U64(m.epoch);
  Lay(w, m.ranges);
  w.U64(static_cast<uint64_t>(m.life.ns));
  return w;
}

ByteWriter LayoutOf(const DestinationHello& m) {
  ByteWriter w;
  w.U8(0x23);
  Lay(w, m.stream);
  w.U64(m.epoch);
  Lay(w, m.destination);
  Lay(w, m.echo);
  Lay(w, m.mark);
  Lay(w, m.top);
  w.U64(m.version).U8(m.heard ? 1 : 0);
  return w;
}

ByteWriter LayoutOf(const OpeningAnswer& m) {
  ByteWriter w;
  w.U8(0x24);
  Lay(w, m.stream);
  w.U64(m.epoch);
  Lay(w, m.source);
  Lay(w, m.destination);
  w.U8(m.accepted ? 1 : 0).U64(m.highest_epoch).U64(m.version);
  return w;
}

ByteWriter LayoutOf(const SegmentAck& m) {
  ByteWriter w;
  w.U8(0x25);
  Lay(w, m.stream);
  Lay(w, m.session);
  Lay(w, m.at);
  w.U32(m.length_bytes).U64(m.version);
  return w;
}

ByteWriter LayoutOf(const StreamLeaseAnswer& m) {
  ByteWriter w;
  w.U8(0x26);
  Lay(w, m.stream);
  Lay(w, m.session);
  w.U64(m.number).U8(m.refused ? 1 : 0);
  Lay(w, m.mark);
  Lay(w, m.lacking);
  w.U64(m.version);
  return w;
}

ByteWriter LayoutOf(const VersionReport& m) {
  ByteWriter w;
  w.U8(0x27);
  Lay(w, m.stream);
  Lay(w, m.session);
  w.U64(m.version);
  return w;
}

ByteWriter LayoutOf(const LacksKey& m) {
  ByteWriter w;
  w.U8(0x28);
  Lay(w, m.stream);
  w.U64(m.epoch);
  Lay(w, m.source);
  return w;
}

ByteWriter TagLayoutOf(const SupplyNotice& m) {
  ByteWriter w;
  w.U8(0x29);
  Lay(w, m.stream);
  Lay(w, m.session);
  w.U64(m.number).U64(m.epoch).Text(m.master.value).U32(static_cast<uint32_t>(m.slaves.size()));
  for (const SaeId& slave : m.slaves) w.Text(slave.value);
  w.U32(m.length_bytes).U64(static_cast<uint64_t>(m.life.ns));
  Lay(w, m.head);
  w.U32(static_cast<uint32_t>(m.items.size()));
  for (const SupplyNotice::Item& item : m.items) {
    w.Bytes(item.id);
    Lay(w, item.at);
  }
  return w;
}

ByteWriter LayoutOf(const SupplyNotice& m) {
  ByteWriter w = TagLayoutOf(m);
  w.Bytes(m.ciphertext).Bytes(m.tag);
  return w;
}

ByteWriter LayoutOf(const SupplyCancel& m) {
  ByteWriter w;
  w.U8(0x2a);
  Lay(w, m.stream);
  Lay(w, m.session);
  w.U64(m.number).U64(m.epoch);
  return w;
}

ByteWriter LayoutOf(const SupplyAnswer& m) {
  ByteWriter w;
  w.U8(0x2b);
  Lay(w, m.stream);
  Lay(w, m.session);
  w.U64(m.number).U8(static_cast<uint8_t>(m.outcome)).U64(m.version);
  return w;
}

ByteWriter LayoutOf(const InterestReport& m) {
  ByteWriter w;
  w.U8(0x2c);
  Lay(w, m.stream);
  Lay(w, m.session);
  w.U64(m.epoch).U64(m.number).U32(static_cast<uint32_t>(m.slaves.size()));
  for (const uint32_t slave : m.slaves) w.U32(slave);
  Lay(w, m.taken_of);
  w.U64(m.taken);
  return w;
}

ByteWriter LayoutOf(const Announcements& m) {
  ByteWriter w;
  w.U8(0x2d);
  Lay(w, m.stream);
  Lay(w, m.session);
  w.U64(m.epoch).U64(m.interest).U64(m.first).U32(static_cast<uint32_t>(m.items.size()));
  for (const Announcement& item : m.items) {
    w.Bytes(item.id).Text(item.master.value).U32(item.slave_number).U32(item.length_bytes);
  }
  return w;
}

ByteWriter LayoutOf(const AnnouncementsTaken& m) {
  ByteWriter w;
  w.U8(0x2e);
  Lay(w, m.stream);
  Lay(w, m.session);
  w.U64(m.epoch).U64(m.taken);
  return w;
}

ByteWriter CheckLayoutOf(const Segment& segment, uint32_t body_bytes) {
  ByteWriter w;
  w.U8(0x31);
  Lay(w, segment.stream);
  w.U8(static_cast<uint8_t>(segment.kind));
  Lay(w, segment.session);
  Lay(w, segment.at);
  w.U32(body_bytes).U32(static_cast<uint32_t>(segment.path.size()));
  for (const NodeId& node : segment.path) w.Text(node.value);
  return w;
}

}  // namespace keyhop
