#ifndef KEYHOP_SIM_NET_PRNG_H_
#define KEYHOP_SIM_NET_PRNG_H_

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <span>

#include "kms/base/instant.h"
#include "kms/crypto/entropy.h"

namespace keyhop::sim {

// splitmix64 (Steele, Lea, Flood 2014): integers only, so that a seed means the same run on every
// compiler. It lives under sim/ so that no daemon can link it.
class Prng {
 public:
  explicit Prng(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15u;
    return Scramble(state_);
  }
  // What the call of Next number `index`, from 0, of a fresh Prng(seed) gives.
  static uint64_t At(uint64_t seed, uint64_t index) {
    return Scramble(seed + (index + 1) * 0x9e3779b97f4a7c15u);
  }
  // In [0, bound).
  uint64_t Below(uint64_t bound) { return Next() % bound; }
  // Both ends included.
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(Below(static_cast<uint64_t>(high - low) + 1));
  }
  Duration Between(Duration low, Duration high) { return {Between(low.ns, high.ns)}; }
  bool Chance(uint32_t permille) { return Below(1000) < permille; }

  static uint64_t Scramble(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // A value that depends on both; for derived seeds.
  static uint64_t Mix(uint64_t a, uint64_t b) {
    return Scramble(Scramble(a + 0x9e3779b97f4a7c15u) ^ (b + 0x7f4a7c159e3779b9u));
  }

 private:
  uint64_t state_;
};

// The randomness of a simulated node.
class SeededEntropy final : public EntropySource {
 public:
  explicit SeededEntropy(uint64_t seed) : prng_(seed) {}
  void Fill(std::span<uint8_t> out) override {
    for (size_t i = 0; i < out.size(); i += 8) {
      PutWord(prng_.Next(), out.subspan(i, std::min<size_t>(8, out.size() - i)));
    }
  }
  // Lowest byte first.
  static void PutWord(uint64_t word, std::span<uint8_t> out) {
    if constexpr (std::endian::native == std::endian::little) {
      std::memcpy(out.data(), &word, out.size());
    } else {
      for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<uint8_t>(word >> (8 * i));
    }
  }

 private:
  Prng prng_;
};

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_NET_PRNG_H_
