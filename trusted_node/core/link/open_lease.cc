#include "trusted_node/core/link/open_lease.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "kms/base/check.h"

namespace keyhop {
namespace {

SecretBytes TakeR(SecretBytes& first_block) {
  SecretBytes r = first_block.Slice(0, kTagPartBytes);
  first_block.Erase(0, kTagPartBytes);
  return r;
}

}  // namespace

uint64_t SizeOf(const std::vector<LeasedBlock>& blocks) {
  uint64_t size = 0;
  for (const LeasedBlock& b : blocks) size += b.bytes.size();
  return size;
}

SendLease::SendLease(uint64_t number, BookId book, std::vector<LeasedBlock> blocks, WriteSeq after)
    : number_(number), book_(book), blocks_(std::move(blocks)), after_(after) {
  KEYHOP_CHECK(!blocks_.empty(), "a lease has a block");
  r_ = TakeR(blocks_.front().bytes);
  offset_ = kTagPartBytes;
  free_ = SizeOf(blocks_) - kTagPartBytes;
}

size_t SendLease::Take(std::span<uint8_t> out, std::vector<PadRange>& ranges) {
  size_t done = 0;
  while (done < out.size() && index_ < blocks_.size()) {
    LeasedBlock& b = blocks_[index_];
    const size_t n = std::min(out.size() - done, b.bytes.size() - offset_);
    const auto from = b.bytes.Expose(SecretAccess::ForRelay());
    std::memcpy(out.data() + done, from.data() + offset_, n);
    b.bytes.Erase(offset_, n);
    ranges.push_back(
        {number_, book_, b.block, static_cast<uint32_t>(offset_), static_cast<uint32_t>(n)});
    done += n;
    offset_ += n;
    if (offset_ == b.bytes.size()) {
      b.bytes = SecretBytes();
      offset_ = 0;
      ++index_;
    }
  }
  free_ -= done;
  return done;
}

ReceiveLease::ReceiveLease(BookId book, std::vector<LeasedBlock> blocks) : book_(book) {
  KEYHOP_CHECK(!blocks.empty(), "a lease has a block");
  r_ = TakeR(blocks.front().bytes);
  for (LeasedBlock& b : blocks) {
    const uint64_t size = b.bytes.size();
    block_at_[size_] = b.block;
    blocks_[b.block] = {size_, size, std::move(b.bytes)};
    size_ += size;
  }
  used_.Add({0, kTagPartBytes});
}

bool ReceiveLease::Spent() const {
  // The sender's frames take at least s in one piece: a shorter rest at the end is its tail.
  return free_bytes() < kTagPartBytes && used_.Contains(Range{0, size_ - free_bytes()});
}

Range ReceiveLease::Locate(const PadRange& range) const {
  if (range.book != book_ || range.length_bytes == 0) return {};
  const auto it = blocks_.find(range.block);
  if (it == blocks_.end()) return {};
  const Block& b = it->second;
  if (range.offset_bytes > b.size || range.length_bytes > b.size - range.offset_bytes) return {};
  const Range located = {b.start + range.offset_bytes,
                         b.start + range.offset_bytes + range.length_bytes};
  return used_.Overlaps(located) ? Range{} : located;
}

uint64_t ReceiveLease::Take(const PadRange& range, Range located, std::span<uint8_t> out) {
  KEYHOP_CHECK(located.size() == out.size() && !used_.Overlaps(located), "a pad byte twice");
  const Block& b = blocks_.at(range.block);
  const auto from = b.bytes.Expose(SecretAccess::ForRelay());
  std::memcpy(out.data(), from.data() + range.offset_bytes, out.size());
  used_.Add(located);
  EraseUsed(located);
  uint64_t given_up = 0;
  while (used_.count() > kGapsMax + 1) {
    const Range gap = used_.MissingFrom({0, size_}).front();
    used_.Add(gap);
    EraseUsed(gap);
    given_up += gap.size();
  }
  return given_up;
}

void ReceiveLease::EraseUsed(Range range) {
  auto at = std::prev(block_at_.upper_bound(range.begin));
  for (; at != block_at_.end() && at->first < range.end; ++at) {
    Block& b = blocks_.at(at->second);
    const uint64_t begin = std::max(range.begin, b.start) - b.start;
    const uint64_t end = std::min(range.end, b.start + b.size) - b.start;
    b.bytes.Erase(begin, end - begin);
    if (used_.Contains(Range{b.start, b.start + b.size})) b.bytes = SecretBytes();
  }
}

}  // namespace keyhop
