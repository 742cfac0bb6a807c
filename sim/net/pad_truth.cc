#include "sim/net/pad_truth.h"

#include <algorithm>

#include "sim/net/prng.h"

namespace keyhop::sim {

void PadTruth::Fill(size_t link, const BookId& book, uint64_t block, End end, size_t offset,
                    std::span<uint8_t> out) const {
  uint64_t seed = Prng::Mix(seed_, 0x7061'6473 + link);
  seed = Prng::Mix(seed, book.module_pair);
  seed = Prng::Mix(seed, runs_repeat_ ? 0 : book.run);
  seed = Prng::Mix(seed, block);
  // A word of 8 bytes follows from its number: only those asked for are computed.
  for (size_t done = 0; done < out.size();) {
    const size_t at = offset + done;
    const uint64_t word = Prng::At(seed, at / 8) >> (8 * (at % 8));
    const size_t n = std::min(8 - at % 8, out.size() - done);
    if (n == 8) {
      SeededEntropy::PutWord(word, std::span<uint8_t, 8>(out.data() + done, 8));  // One store.
    } else {
      SeededEntropy::PutWord(word, out.subspan(done, n));
    }
    done += n;
  }
  if (end == End::kFirst || unequal_.empty() || !unequal_.contains({link, book, block})) return;
  for (size_t i = 0; i < out.size(); ++i) {
    if ((offset + i) % 7 == block % 3) out[i] ^= 0x10;
  }
}

SecretBytes PadTruth::Block(size_t link, const BookId& book, uint64_t block, End end) const {
  SecretBytes bytes(links_[link].block_bytes);
  Fill(link, book, block, end, 0, bytes.ExposeMutable(SecretAccess::ForSimulation()));
  return bytes;
}

bool PadTruth::Append(size_t link, const PadRange& range, End end,
                      std::vector<uint8_t>& out) const {
  const uint32_t size = links_[link].block_bytes;
  if (range.length_bytes == 0 || range.offset_bytes > size ||
      range.length_bytes > size - range.offset_bytes) {
    return false;
  }
  const size_t before = out.size();
  out.resize(before + range.length_bytes);
  Fill(link, range.book, range.block, end, range.offset_bytes,
       std::span<uint8_t>(out).subspan(before));
  return true;
}

}  // namespace keyhop::sim
