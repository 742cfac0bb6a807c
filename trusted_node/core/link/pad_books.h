#ifndef KEYHOP_TRUSTED_NODE_CORE_LINK_PAD_BOOKS_H_
#define KEYHOP_TRUSTED_NODE_CORE_LINK_PAD_BOOKS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kms/base/secret_bytes.h"
#include "kms/core/book/book.h"
#include "trusted_node/core/link/limits.h"
#include "trusted_node/core/link/link_end.h"
#include "trusted_node/core/link/open_lease.h"
#include "trusted_node/core/link/records.h"

namespace keyhop {

inline constexpr uint64_t kMarkOfFinished = UINT64_MAX;

// The durable part of a link's end: its books, each with its mark and its stock of sealed pad
// units, and the versions (DESIGN §3). Whatever changes here is written to the outbox at once;
// Commit closes the batch of a step with the raised version.
//
// Invariants: no stock lies below its book's mark; marks only grow; no book at or below the
// finished run of its pair lives. Pure, not thread-safe.
class PadBooks {
 public:
  PadBooks(LinkId link, uint64_t stock_bytes_max);

  // Before anything else. INVALID_ARGUMENT: a record of another link.
  absl::Status Recover(std::vector<LinkRecordVariant> records);

  // As LinkEnd::Take. True: the unit is in stock now.
  absl::StatusOr<bool> Take(BookId book, uint64_t block, SecretBytes bytes, LinkOutbox& out);
  // Takes the larger mark, drops the stock below. A book not known here is created, within the
  // limits. False: no such book can live here.
  bool RaiseMark(BookId book, uint64_t mark, LinkOutbox& out);
  // Moves out the lowest units of `book` below block `below`, until `bytes` or more are there (one
  // at least, if there is one) or the limits of a request are met, and raises the mark above them.
  std::vector<LeasedBlock> LeaseLowest(BookId book, uint64_t bytes, uint64_t below,
                                       LinkOutbox& out);
  // Moves out what is held of `blocks` (ascending), raises the mark above them and drops what they
  // pass over. CanHold(book).
  std::vector<LeasedBlock> LeaseNamed(BookId book, std::span<const Range> blocks, LinkOutbox& out);
  // Finishes runs that a newer one replaced, and the oldest of a pair with too many.
  void FinishOld(LinkOutbox& out);
  void Finish(BookId book, LinkOutbox& out);
  // All marks above all that was ever taken; no stock is left.
  void BurnStock(LinkOutbox& out);

  // Writes the link's record if the step wrote anything or heard a version. The version is raised
  // by what was written once the peer was heard in this start.
  void Commit(LinkOutbox& out);
  void HearVersion(uint64_t peers);
  // A fresh word of the peer came, and BehindWhatPeerSaw was asked. The first in a start raises the
  // version for all that was written before.
  void OnPeerHeard();
  // The next Commit raises the version.
  void RaiseVersion() { wrote_ = true; }
  // Raises the version above `peer_saw`, for good with the next Commit.
  void JumpAbove(uint64_t peer_saw);
  const BookVersions& versions() const { return versions_; }
  WriteSeq last_write() const { return last_write_; }

  bool Finished(BookId book) const;
  // Whether the book lives here or could.
  bool CanHold(BookId book) const {
    return !Finished(book) && (books_.contains(book) || books_.size() < kBooksMax);
  }
  uint64_t MarkOf(BookId book) const;  // kMarkOfFinished of a finished run, 0 of an unknown one.
  // Live books in order, with what the peer may take as a mark: nothing below will be leased here.
  std::vector<BookMark> Marks() const;
  std::map<BookId, uint64_t> TakenTops() const;
  // The lowest unit in stock of each live book that has some, and the bytes in stock below a block.
  std::vector<std::pair<BookId, uint64_t>> LowestInStock() const;
  uint64_t StockBytesBelow(BookId book, uint64_t below, uint64_t enough) const;
  uint64_t stock_bytes() const { return stock_bytes_; }
  uint64_t burnt_bytes() const { return burnt_bytes_; }

 private:
  struct Entry {
    GrowingMark<uint64_t> mark;
    uint64_t taken_top = 0;
    bool from_module = false;  // A unit of it came from our own module.
    std::map<uint64_t, SecretBytes> stock;
  };

  void Write(LinkRecordVariant record, LinkOutbox& out);
  void WriteBook(BookId book, const Entry& entry, LinkOutbox& out);
  void EraseUnit(BookId book, uint64_t block, LinkOutbox& out);
  LeasedBlock MoveOut(BookId book, Entry& entry, std::map<uint64_t, SecretBytes>::iterator it,
                      LinkOutbox& out);
  void DropBelow(BookId book, Entry& entry, uint64_t mark, LinkOutbox& out);
  void EraseLeftovers(LinkOutbox& out);
  bool OldestOfPairIsDone(std::map<BookId, Entry>::const_iterator oldest) const;

  LinkId link_;
  uint64_t stock_bytes_max_;
  std::map<BookId, Entry> books_;
  std::map<uint32_t, uint64_t> finished_;  // Module pair to its highest finished run.
  BookVersions versions_;
  bool peer_heard_ = false;  // In this start.
  bool wrote_ = false;       // In this step.
  bool heard_ = false;
  WriteSeq last_write_ = 0;
  uint64_t stock_bytes_ = 0;
  uint64_t burnt_bytes_ = 0;
  // Recovered, but below a mark or of a finished run: erased in the first step that writes.
  std::vector<std::pair<BookId, uint64_t>> leftover_units_;
  std::vector<BookId> leftover_books_;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_LINK_PAD_BOOKS_H_
