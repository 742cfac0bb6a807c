#ifndef KEYHOP_KMS_BASE_STRONG_STRING_H_
#define KEYHOP_KMS_BASE_STRONG_STRING_H_

#include <compare>
#include <string>
#include <utility>

namespace keyhop {

// A name of one kind: IDs of different kinds do not mix.
template <typename Kind>
struct StrongString {
  std::string value;
  StrongString() = default;
  explicit StrongString(std::string v) : value(std::move(v)) {}
  bool empty() const { return value.empty(); }
  friend auto operator<=>(const StrongString&, const StrongString&) = default;
  // For Abseil's hash tables.
  template <typename Hash>
  friend Hash AbslHashValue(Hash hash, const StrongString& name) {
    return Hash::combine(std::move(hash), name.value);
  }
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_BASE_STRONG_STRING_H_
