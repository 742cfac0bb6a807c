#include "sim/linksim/block_backlog.h"

#include <algorithm>
#include <utility>

#include "kms/base/check.h"

namespace keyhop {

void BlockBacklog::Push(SecretBytes block) {
  KEYHOP_CHECK(!full(), "a block was made for a full backlog");
  blocks_.push_back(std::move(block));
}

const SecretBytes& BlockBacklog::At(uint64_t block) const {
  KEYHOP_CHECK(block >= first_block_ && block < next_block(), "no such block in the backlog");
  return blocks_[block - first_block_];
}

void BlockBacklog::Acknowledge(int end, uint64_t next_block) {
  KEYHOP_CHECK(next_block <= this->next_block(), "acknowledged a block that was never made");
  uint64_t& mark = acknowledged_[static_cast<size_t>(end)];
  mark = std::max(mark, next_block);
  const uint64_t both = *std::min_element(acknowledged_.begin(), acknowledged_.end());
  for (; first_block_ < both; ++first_block_) blocks_.pop_front();
}

}  // namespace keyhop
