#ifndef KEYHOP_KMS_BASE_INSTANT_H_
#define KEYHOP_KMS_BASE_INSTANT_H_

#include <compare>
#include <cstdint>

namespace keyhop {

// Integer nanoseconds: exact, portable, replayable.
struct Duration {
  int64_t ns = 0;
  static constexpr Duration Micros(int64_t us) { return {us * 1'000}; }
  static constexpr Duration Millis(int64_t ms) { return {ms * 1'000'000}; }
  static constexpr Duration Seconds(int64_t s) { return {s * 1'000'000'000}; }
  constexpr int64_t millis() const { return ns / 1'000'000; }
  friend constexpr auto operator<=>(const Duration&, const Duration&) = default;
  friend constexpr Duration operator+(Duration a, Duration b) { return {a.ns + b.ns}; }
  friend constexpr Duration operator-(Duration a, Duration b) { return {a.ns - b.ns}; }
  friend constexpr Duration operator*(Duration a, int64_t n) { return {a.ns * n}; }
  friend constexpr Duration operator/(Duration a, int64_t n) { return {a.ns / n}; }
};

// A point on the monotonic clock. There is no `Now()`: time only comes in as an argument.
struct Instant {
  int64_t ns = 0;
  friend constexpr auto operator<=>(const Instant&, const Instant&) = default;
  friend constexpr Instant operator+(Instant t, Duration d) { return {t.ns + d.ns}; }
  friend constexpr Duration operator-(Instant a, Instant b) { return {a.ns - b.ns}; }
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_BASE_INSTANT_H_
