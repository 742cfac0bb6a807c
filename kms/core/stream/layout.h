#ifndef KEYHOP_KMS_CORE_STREAM_LAYOUT_H_
#define KEYHOP_KMS_CORE_STREAM_LAYOUT_H_

#include "kms/base/byte_writer.h"
#include "kms/core/stream/messages.h"

namespace keyhop {

void Lay(ByteWriter& w, const Incarnation& i);
void Lay(ByteWriter& w, const Session& s);
void Lay(ByteWriter& w, const StreamId& s);
void Lay(ByteWriter& w, const StreamAddress& a);
void Lay(ByteWriter& w, const std::vector<Range>& ranges);

// The bytes that a message's `mac` or `tag` covers: a type byte and every other field, in order.
ByteWriter LayoutOf(const SourceHello& m);
ByteWriter LayoutOf(const StreamLeaseRequest& m);
ByteWriter LayoutOf(const DestinationHello& m);
ByteWriter LayoutOf(const OpeningAnswer& m);
ByteWriter LayoutOf(const SegmentAck& m);
ByteWriter LayoutOf(const StreamLeaseAnswer& m);
ByteWriter LayoutOf(const VersionReport& m);
ByteWriter LayoutOf(const LacksKey& m);
ByteWriter LayoutOf(const SupplyNotice& m);
ByteWriter LayoutOf(const SupplyCancel& m);
ByteWriter LayoutOf(const SupplyAnswer& m);
ByteWriter LayoutOf(const InterestReport& m);
ByteWriter LayoutOf(const Announcements& m);
ByteWriter LayoutOf(const AnnouncementsTaken& m);

// What a notice's one-time tag covers, before the keys in clear.
ByteWriter TagLayoutOf(const SupplyNotice& m);

// What a segment's end-to-end check covers, before its body.
ByteWriter CheckLayoutOf(const Segment& segment, uint32_t body_bytes);

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_STREAM_LAYOUT_H_
