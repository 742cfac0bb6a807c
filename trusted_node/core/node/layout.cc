#include "trusted_node/core/node/layout.h"

#include <variant>

#include "kms/base/overload.h"
#include "kms/core/stream/layout.h"

namespace keyhop {
namespace {

void Lay(ByteWriter& w, const RelayId& id) {
  w.Text(id.source.value);
  keyhop::Lay(w, id.incarnation);
  w.U64(id.number);
}

}  // namespace

ByteWriter LayoutOf(const RelayFrame& f) {
  ByteWriter w;
  w.U8(0x51);
  keyhop::Lay(w, f.link_session);
  Lay(w, f.relay);
  w.U8(static_cast<uint8_t>(f.kind));
  keyhop::Lay(w, f.stream);
  keyhop::Lay(w, f.session);
  keyhop::Lay(w, f.at);
  w.U8(f.share).U32(f.body_bytes).U32(static_cast<uint32_t>(f.path.size()));
  for (const NodeId& node : f.path) w.Text(node.value);
  w.U8(f.hop).U8(f.priority).U32(f.remaining_ms).U32(static_cast<uint32_t>(f.pads.size()));
  for (const PadRange& p : f.pads) {
    w.U64(p.lease).U32(p.book.module_pair).U64(p.book.run).U64(p.block);
    w.U32(p.offset_bytes).U32(p.length_bytes);
  }
  w.Bytes(f.check);
  return w;
}

ByteWriter LayoutOf(const RoutedControl& c) {
  ByteWriter w;
  w.U8(0x52);
  keyhop::Lay(w, c.link_session);
  w.Text(c.from.value).Text(c.to.value).U8(c.hop_limit);
  std::visit(
      Overload{
          [&](const RelayRefusal& r) {
            w.U8(0x53);
            Lay(w, r.relay);
            w.Text(r.at.value).U8(static_cast<uint8_t>(r.reason));
          },
          [&](const KeystreamNote& x) { w.Bytes(LayoutOf(x).bytes()).Bytes(x.mac); },
          [&](const StreamMessage& m) {
            std::visit(
                Overload{
                    [&](const OpeningAnswer& x) { w.Bytes(LayoutOf(x).bytes()).Bytes(x.tag); },
                    [&](const SegmentAck& x) { w.Bytes(LayoutOf(x).bytes()).Bytes(x.tag); },
                    [&](const LacksKey& x) { w.Bytes(LayoutOf(x).bytes()); },
                    [&](const auto& x) { w.Bytes(LayoutOf(x).bytes()).Bytes(x.mac); },
                },
                m);
          },
      },
      c.body);
  return w;
}

}  // namespace keyhop
