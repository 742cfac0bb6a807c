#ifndef KEYHOP_TRUSTED_NODE_WIRE_ANNOUNCE_RECORDS_H_
#define KEYHOP_TRUSTED_NODE_WIRE_ANNOUNCE_RECORDS_H_

#include "keyhop/record/v1/record.pb.h"
#include "kms/core/announce/records.h"
#include "trusted_node/wire/reader.h"

// The records of kms/core/announce, for records.cc.

namespace keyhop {

void Put(const WatchRecord& r, record::v1::Record* record);
void Put(const WatchChunkRecord& r, record::v1::Record* record);
void Put(const AnnouncedRecord& r, record::v1::Record* record);

// What is wrong with it, `reader` says.
AnnounceRecord FromProto(const record::v1::WatchRecord& in, WireReader& reader);
AnnounceRecord FromProto(const record::v1::WatchChunkRecord& in, WireReader& reader);
AnnounceRecord FromProto(const record::v1::AnnouncedRecord& in, WireReader& reader);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_WIRE_ANNOUNCE_RECORDS_H_
