#include "kms/core/keystream/note.h"

#include "kms/core/stream/layout.h"

namespace keyhop {

ByteWriter LayoutOf(const KeystreamNote& note) {
  ByteWriter w;
  w.U8(0x34);
  Lay(w, note.stream);
  Lay(w, note.session);
  w.U64(note.epoch).U64(note.number).U64(note.reply_to).U8(note.ask ? 1 : 0).Bytes(note.id);
  w.Text(note.first.value).Text(note.second.value);
  const KeystreamQos& q = note.qos;
  w.U32(q.chunk_bytes).U32(q.max_bps).U32(q.min_bps).U32(q.jitter_bps).U32(q.priority);
  w.U32(q.timeout_ms).U32(q.ttl_s).Text(q.metadata_mimetype);
  w.U8(note.gone ? static_cast<uint8_t>(*note.gone) : 0);
  w.U8(note.opened ? 1 : 0).U8(note.closed ? 1 : 0);
  w.U64(note.next_index).U64(note.settled_below).U64(note.want_below).U64(note.limit_below);
  w.U8(note.conflict ? 1 : 0).U32(static_cast<uint32_t>(note.chunks.size()));
  for (const KeystreamNote::Chunk& chunk : note.chunks) {
    w.U64(chunk.index).Bytes(chunk.key_id).U32(chunk.hops);
  }
  return w;
}

}  // namespace keyhop
