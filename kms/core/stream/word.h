#ifndef KEYHOP_KMS_CORE_STREAM_WORD_H_
#define KEYHOP_KMS_CORE_STREAM_WORD_H_

#include <cstdint>

namespace keyhop {

// Keys are aligned to words in a stream, and a word is used as a whole: a bit of a unit's account.
inline constexpr uint32_t kWordBytes = 4;

// What a key of so many bytes takes.
inline constexpr uint64_t RoundUpToWord(uint64_t bytes) {
  return (bytes + kWordBytes - 1) / kWordBytes * kWordBytes;
}

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_STREAM_WORD_H_
