#ifndef KEYHOP_TRUSTED_NODE_CORE_LINK_RECORDS_H_
#define KEYHOP_TRUSTED_NODE_CORE_LINK_RECORDS_H_

#include <optional>
#include <variant>

#include "kms/base/secret_bytes.h"
#include "trusted_node/core/link/messages.h"

namespace keyhop {

// Key: link.
struct LinkRecord {
  LinkId link;
  uint64_t version = 0;       // Raised in each batch here once the peer was heard.
  uint64_t version_seen = 0;  // The highest of the peer's.
};
// Key: link, book.
struct BookRecord {
  LinkId link;
  BookId book;
  bool finished = false;   // No pad of it, and of lower runs of the pair, is taken again.
  uint64_t mark = 0;       // Blocks below may have been leased.
  uint64_t taken_top = 0;  // Blocks below were taken from the module (or passed over).
  bool erased = false;     // A finished run of which a higher one of the pair is finished too.
};
// Key: link, book, block. A pad unit in stock.
struct PadRecord {
  LinkId link;
  BookId book;
  uint64_t block = 0;
  std::optional<SecretBytes> bytes = {};  // Absent: erased.
};

using LinkRecordVariant = std::variant<LinkRecord, BookRecord, PadRecord>;

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_LINK_RECORDS_H_
