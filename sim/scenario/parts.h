#ifndef KEYHOP_SIM_SCENARIO_PARTS_H_
#define KEYHOP_SIM_SCENARIO_PARTS_H_

#include <cstddef>
#include <numeric>
#include <vector>

namespace keyhop::sim {

// Which of numbered things hang together (disjoint sets). Not thread-safe.
class Parts {
 public:
  explicit Parts(size_t count) : above_(count) {
    std::iota(above_.begin(), above_.end(), size_t{0});
  }
  void Join(size_t a, size_t b) { above_[Root(a)] = Root(b); }
  bool Joined(size_t a, size_t b) { return Root(a) == Root(b); }

 private:
  size_t Root(size_t i) {
    while (above_[i] != i) i = above_[i] = above_[above_[i]];
    return i;
  }
  std::vector<size_t> above_;
};

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_SCENARIO_PARTS_H_
