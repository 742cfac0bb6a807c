#include "sim/net/pad_truth.h"

#include "sim/net/prng.h"

namespace keyhop::sim {

const std::vector<uint8_t>& PadTruth::Block(size_t link, const BookId& book, uint64_t block,
                                            End end) const {
  const Place place(link, book, block, end);
  if (last_ && *last_ == place) return bytes_;
  last_ = place;
  uint64_t seed = Prng::Mix(seed_, 0x7061'6473 + link);
  seed = Prng::Mix(seed, book.module_pair);
  seed = Prng::Mix(seed, runs_repeat_ ? 0 : book.run);
  SeededEntropy bytes(Prng::Mix(seed, block));
  bytes_.resize(links_[link].block_bytes);
  bytes.Fill(bytes_);
  if (end == End::kSecond && unequal_.contains({link, book, block})) {
    for (size_t i = block % 3; i < bytes_.size(); i += 7) bytes_[i] ^= 0x10;
  }
  return bytes_;
}

bool PadTruth::Append(size_t link, const PadRange& range, End end,
                      std::vector<uint8_t>& out) const {
  const uint32_t size = links_[link].block_bytes;
  if (range.length_bytes == 0 || range.offset_bytes > size ||
      range.length_bytes > size - range.offset_bytes) {
    return false;
  }
  const std::vector<uint8_t>& bytes = Block(link, range.book, range.block, end);
  const auto begin = bytes.begin() + range.offset_bytes;
  out.insert(out.end(), begin, begin + range.length_bytes);
  return true;
}

}  // namespace keyhop::sim
