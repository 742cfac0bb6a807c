#ifndef KEYHOP_TRUSTED_NODE_WIRE_RECORD_KEYS_H_
#define KEYHOP_TRUSTED_NODE_WIRE_RECORD_KEYS_H_

#include <string>

#include "trusted_node/core/node/node.h"

namespace keyhop {

// Where each kind of record stands in the store, as records.h lays it out. Pure.
std::string KeyOf(const NodeRecord& r);
std::string KeyOf(const RoutingRecord& r);
std::string KeyOf(const SaeSuspendedRecord& r);
std::string KeyOf(const LinkDownRecord& r);
std::string KeyOf(const RunTimeRecord& r);
std::string KeyOf(const IdempotencyRecord& r);
std::string KeyOf(const DirectoryRecord& r);
std::string KeyOf(const LinkRecord& r);
std::string KeyOf(const BookRecord& r);
std::string KeyOf(const PadRecord& r);
std::string KeyOf(const SourceRecord& r);
std::string KeyOf(const EpochRecord& r);
std::string KeyOf(const SourceSegmentRecord& r);
std::string KeyOf(const DestinationRecord& r);
std::string KeyOf(const UnitBodyRecord& r);
std::string KeyOf(const UnitStateRecord& r);
std::string KeyOf(const SupplyKeyRecord& r);
std::string KeyOf(const SupplyRecord& r);
std::string KeyOf(const KeystreamRecord& r);
std::string KeyOf(const KeystreamChunkRecord& r);
std::string KeyOf(const QuotaRecord& r);
std::string KeyOf(const WatchRecord& r);
std::string KeyOf(const WatchChunkRecord& r);
std::string KeyOf(const AnnouncedRecord& r);

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_WIRE_RECORD_KEYS_H_
