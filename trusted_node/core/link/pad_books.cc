#include "trusted_node/core/link/pad_books.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/base/check.h"

namespace keyhop {
namespace {

std::string NameOf(BookId book) {
  return absl::StrCat("run ", book.run, " of module pair ", book.module_pair);
}

}  // namespace

PadBooks::PadBooks(LinkId link, uint64_t stock_bytes_max)
    : link_(std::move(link)), stock_bytes_max_(stock_bytes_max) {}

// ---- Records.

void PadBooks::Write(LinkRecordVariant record, LinkOutbox& out) {
  last_write_ = out.Write(std::move(record));
  wrote_ = true;
}

void PadBooks::WriteBook(BookId book, const Entry& entry, LinkOutbox& out) {
  Write(BookRecord{.link = link_,
                   .book = book,
                   .finished = false,
                   .mark = entry.mark.at(),
                   .taken_top = entry.taken_top},
        out);
}

void PadBooks::EraseUnit(BookId book, uint64_t block, LinkOutbox& out) {
  Write(PadRecord{.link = link_, .book = book, .block = block}, out);
}

void PadBooks::Commit(LinkOutbox& out) {
  if (!wrote_ && !heard_) return;
  if (wrote_) {
    EraseLeftovers(out);
    if (peer_heard_) versions_.Raise();
  }
  // Hearing a version alone does not raise ours: two ends would raise each other's for ever.
  last_write_ = out.Write(
      LinkRecord{.link = link_, .version = versions_.own(), .version_seen = versions_.seen()});
  wrote_ = heard_ = false;
}

void PadBooks::HearVersion(uint64_t peers) {
  if (versions_.Hear(peers)) heard_ = true;
}

void PadBooks::OnPeerHeard() {
  wrote_ = wrote_ || !peer_heard_;
  peer_heard_ = true;
}

void PadBooks::JumpAbove(uint64_t peer_saw) {
  versions_.JumpTo(peer_saw);
  wrote_ = true;
}

void PadBooks::EraseLeftovers(LinkOutbox& out) {
  for (const auto& [book, block] : std::exchange(leftover_units_, {})) EraseUnit(book, block, out);
  for (const BookId& book : std::exchange(leftover_books_, {})) {
    Write(BookRecord{.link = link_, .book = book, .finished = true, .erased = true}, out);
  }
}

absl::Status PadBooks::Recover(std::vector<LinkRecordVariant> records) {
  std::vector<PadRecord> units;
  std::set<BookId> finished;
  for (LinkRecordVariant& record : records) {
    if (std::visit([](const auto& r) { return r.link; }, record) != link_) {
      return absl::InvalidArgumentError(
          absl::StrCat("a record of another link than ", link_.value));
    }
    if (const auto* r = std::get_if<LinkRecord>(&record)) {
      versions_ = BookVersions(r->version, r->version_seen);
    } else if (const auto* b = std::get_if<BookRecord>(&record)) {
      if (b->erased) continue;
      if (b->finished) {
        finished.insert(b->book);
        uint64_t& run = finished_[b->book.module_pair];
        run = std::max(run, b->book.run);
      } else {
        Entry& entry = books_[b->book];
        entry.mark.Raise(b->mark);
        entry.taken_top = b->taken_top;
        entry.from_module = b->taken_top != 0;
      }
    } else if (auto* p = std::get_if<PadRecord>(&record); p->bytes) {
      units.push_back(std::move(*p));
    }
  }
  for (const BookId& book : finished) {
    if (finished_.at(book.module_pair) != book.run) leftover_books_.push_back(book);
  }
  for (auto it = books_.begin(); it != books_.end();) {
    if (!Finished(it->first)) {
      ++it;
      continue;
    }
    // The finishing record stands under the same key where it is the run itself.
    if (!finished.contains(it->first)) leftover_books_.push_back(it->first);
    it = books_.erase(it);
  }
  for (PadRecord& unit : units) {
    if (Finished(unit.book) || unit.block < MarkOf(unit.book) ||
        unit.bytes->size() < kPadUnitBytesMin) {
      leftover_units_.emplace_back(unit.book, unit.block);
      continue;
    }
    Entry& entry = books_[unit.book];
    entry.taken_top = std::max(entry.taken_top, unit.block + 1);
    entry.from_module = true;
    stock_bytes_ += unit.bytes->size();
    entry.stock[unit.block] = *std::move(unit.bytes);
  }
  return absl::OkStatus();
}

// ---- Stock.

absl::StatusOr<bool> PadBooks::Take(BookId book, uint64_t block, SecretBytes bytes,
                                    LinkOutbox& out) {
  if (Finished(book)) {
    return absl::FailedPreconditionError(
        absl::StrCat(NameOf(book), " is finished: its blocks are refused for ever"));
  }
  auto it = books_.find(book);
  const bool created = it == books_.end();
  if (created && books_.size() >= kBooksMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no room for ", NameOf(book), ": ", kBooksMax, " runs of this link are live"));
  }
  if (!created && block < it->second.taken_top) return false;
  if (!created && block < it->second.mark.at()) {
    // The peer's end was further when it said its mark.
    it->second.taken_top = block + 1;
    burnt_bytes_ += bytes.size();
    return false;
  }
  if (stock_bytes_ + bytes.size() > stock_bytes_max_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the stock of link ", link_.value, " is full: ", stock_bytes_, " bytes"));
  }
  if (created) it = books_.emplace(book, Entry{}).first;
  Entry& entry = it->second;
  entry.taken_top = block + 1;
  entry.from_module = true;
  stock_bytes_ += bytes.size();
  Write(PadRecord{.link = link_,
                  .book = book,
                  .block = block,
                  .bytes = bytes.Duplicate(SecretAccess::ForStorage())},
        out);
  entry.stock[block] = std::move(bytes);
  if (created) {
    WriteBook(book, entry, out);
    FinishOld(out);
  }
  return true;
}

LeasedBlock PadBooks::MoveOut(BookId book, Entry& entry,
                              std::map<uint64_t, SecretBytes>::iterator it, LinkOutbox& out) {
  LeasedBlock unit{it->first, std::move(it->second)};
  stock_bytes_ -= unit.bytes.size();
  entry.stock.erase(it);
  EraseUnit(book, unit.block, out);
  return unit;
}

void PadBooks::DropBelow(BookId book, Entry& entry, uint64_t mark, LinkOutbox& out) {
  while (!entry.stock.empty() && entry.stock.begin()->first < mark) {
    burnt_bytes_ += MoveOut(book, entry, entry.stock.begin(), out).bytes.size();
  }
}

bool PadBooks::RaiseMark(BookId book, uint64_t mark, LinkOutbox& out) {
  if (Finished(book)) return false;
  auto it = books_.find(book);
  if (it == books_.end()) {
    if (mark == 0) return true;
    if (books_.size() >= kBooksMax) return false;
    it = books_.emplace(book, Entry{}).first;
  }
  Entry& entry = it->second;
  if (entry.mark.Raise(mark)) {
    // The mark first: whatever of this step a crash loses, what was leased stays below it.
    WriteBook(book, entry, out);
    DropBelow(book, entry, mark, out);
    FinishOld(out);
  }
  return !Finished(book);
}

std::vector<LeasedBlock> PadBooks::LeaseLowest(BookId book, uint64_t bytes, uint64_t below,
                                               LinkOutbox& out) {
  Entry& entry = books_.at(book);
  uint64_t found = 0;
  size_t blocks = 0;
  size_t ranges = 0;
  uint64_t end = 0;
  for (const auto& [block, unit] : entry.stock) {
    if (block >= below || (blocks != 0 && found >= bytes) || blocks == kLeaseBlocksMax) break;
    if (blocks == 0 || block != end) {
      if (ranges == kRequestRangesMax) break;
      ++ranges;
    }
    end = block + 1;
    found += unit.size();
    ++blocks;
  }
  std::vector<LeasedBlock> leased;
  if (blocks == 0) return leased;
  entry.mark.Raise(end);
  WriteBook(book, entry, out);
  while (leased.size() < blocks) {
    leased.push_back(MoveOut(book, entry, entry.stock.begin(), out));
  }
  return leased;
}

std::vector<LeasedBlock> PadBooks::LeaseNamed(BookId book, std::span<const Range> blocks,
                                              LinkOutbox& out) {
  KEYHOP_CHECK(CanHold(book), "a lease of a book that cannot live");
  Entry& entry = books_[book];
  entry.mark.Raise(blocks.back().end);
  WriteBook(book, entry, out);
  std::vector<LeasedBlock> leased;
  for (const Range& range : blocks) {
    DropBelow(book, entry, range.begin, out);
    while (!entry.stock.empty() && entry.stock.begin()->first < range.end) {
      leased.push_back(MoveOut(book, entry, entry.stock.begin(), out));
    }
  }
  return leased;
}

void PadBooks::BurnStock(LinkOutbox& out) {
  for (auto& [book, entry] : books_) {
    entry.mark.Raise(entry.taken_top);
    WriteBook(book, entry, out);
    DropBelow(book, entry, entry.mark.at(), out);
  }
}

// ---- The life of a run.

bool PadBooks::OldestOfPairIsDone(std::map<BookId, Entry>::const_iterator oldest) const {
  size_t runs = 1;
  bool replaced = false;
  for (auto it = std::next(oldest);
       it != books_.end() && it->first.module_pair == oldest->first.module_pair; ++it, ++runs) {
    replaced = replaced || it->second.from_module;
  }
  // Replaced: our own module has gone on to a newer run, so that nothing more can come.
  return runs > kRunsOfAPairMax || (replaced && oldest->second.stock.empty());
}

void PadBooks::FinishOld(LinkOutbox& out) {
  for (auto it = books_.begin(); it != books_.end();) {
    const uint32_t pair = it->first.module_pair;
    if (OldestOfPairIsDone(it)) {
      Finish(it->first, out);
      it = books_.lower_bound({pair, 0});
    } else {
      while (it != books_.end() && it->first.module_pair == pair) ++it;
    }
  }
}

void PadBooks::Finish(BookId book, LinkOutbox& out) {
  const auto before = finished_.find(book.module_pair);
  const auto old = before == finished_.end()
                       ? std::nullopt
                       : std::optional<BookId>({book.module_pair, before->second});
  finished_[book.module_pair] = book.run;
  Write(BookRecord{.link = link_,
                   .book = book,
                   .finished = true,
                   .mark = kMarkOfFinished,
                   .taken_top = kMarkOfFinished},
        out);
  if (old) Write(BookRecord{.link = link_, .book = *old, .finished = true, .erased = true}, out);
  for (auto it = books_.lower_bound({book.module_pair, 0});
       it != books_.end() && it->first <= book;) {
    DropBelow(it->first, it->second, kMarkOfFinished, out);
    if (it->first != book) {
      Write(BookRecord{.link = link_, .book = it->first, .finished = true, .erased = true}, out);
    }
    it = books_.erase(it);
  }
}

bool PadBooks::Finished(BookId book) const {
  const auto it = finished_.find(book.module_pair);
  return it != finished_.end() && book.run <= it->second;
}

// ---- What is told.

uint64_t PadBooks::MarkOf(BookId book) const {
  if (Finished(book)) return kMarkOfFinished;
  const auto it = books_.find(book);
  return it == books_.end() ? 0 : it->second.mark.at();
}

std::vector<BookMark> PadBooks::Marks() const {
  std::vector<BookMark> marks;
  for (const auto& [book, entry] : books_) {
    // Units come with growing numbers: what is not held below the lowest will not come any more.
    const uint64_t lowest = entry.stock.empty() ? entry.taken_top : entry.stock.begin()->first;
    marks.push_back({book, std::max(entry.mark.at(), lowest), entry.taken_top});
  }
  return marks;
}

std::map<BookId, uint64_t> PadBooks::TakenTops() const {
  std::map<BookId, uint64_t> tops;
  for (const auto& [book, entry] : books_) tops[book] = std::max(entry.taken_top, entry.mark.at());
  return tops;
}

std::vector<std::pair<BookId, uint64_t>> PadBooks::LowestInStock() const {
  std::vector<std::pair<BookId, uint64_t>> lowest;
  for (const auto& [book, entry] : books_) {
    if (!entry.stock.empty()) lowest.emplace_back(book, entry.stock.begin()->first);
  }
  return lowest;
}

uint64_t PadBooks::StockBytesBelow(BookId book, uint64_t below, uint64_t enough) const {
  uint64_t bytes = 0;
  for (const auto& [block, unit] : books_.at(book).stock) {
    if (block >= below || bytes >= enough) break;
    bytes += unit.size();
  }
  return bytes;
}

}  // namespace keyhop
