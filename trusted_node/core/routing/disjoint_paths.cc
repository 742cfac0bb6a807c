#include "trusted_node/core/routing/disjoint_paths.h"

#include <algorithm>
#include <deque>
#include <limits>
#include <utility>

#include "kms/base/check.h"

namespace keyhop {
namespace {

constexpr int64_t kFar = std::numeric_limits<int64_t>::max();
constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

// A vertex as it is entered and as it is left: what flows through it goes from the one half to the
// other, one unit at most.
uint32_t InOf(uint32_t vertex) { return 2 * vertex; }
uint32_t OutOf(uint32_t vertex) { return 2 * vertex + 1; }

class Search {
 public:
  Search(const std::vector<DisjointEdge>& edges, const std::vector<char>& barred, uint32_t start,
         uint32_t end)
      : edges_(edges),
        barred_(barred),
        start_(start),
        end_(end),
        leaving_(barred.size()),
        used_(edges.size(), 0),
        passed_(barred.size(), 0) {
    for (uint32_t e = 0; e < edges.size(); ++e) leaving_[edges[e].from].push_back(e);
  }

  // One more unit of flow along a way of least cost. False: there is none.
  bool Augment() {
    std::vector<int64_t> cost(2 * barred_.size(), kFar);
    std::vector<Step> reached_by(2 * barred_.size());
    std::vector<char> queued(2 * barred_.size(), 0);
    std::deque<uint32_t> queue = {OutOf(start_)};
    cost[OutOf(start_)] = 0;
    // Costs of what is taken back are negative: Bellman and Ford's search, by a queue.
    const auto reach = [&](uint32_t from, uint32_t half, uint32_t edge, int64_t step_cost) {
      if (half / 2 == start_) return;
      const int64_t sum = cost[from] + step_cost;
      if (sum >= cost[half]) return;
      cost[half] = sum;
      reached_by[half] = {from, edge};
      if (half != InOf(end_) && !std::exchange(queued[half], 1)) queue.push_back(half);
    };
    while (!queue.empty()) {
      const uint32_t at = queue.front();
      queue.pop_front();
      queued[at] = 0;
      const uint32_t vertex = at / 2;
      if (at == OutOf(vertex)) {
        for (const uint32_t e : leaving_[vertex]) {
          const DisjointEdge& edge = edges_[e];
          if (!edge.cost || used_[e] || (barred_[edge.to] && edge.to != end_)) continue;
          reach(at, InOf(edge.to), e, static_cast<int64_t>(*edge.cost));
        }
        if (passed_[vertex]) reach(at, InOf(vertex), kNone, 0);
      } else {
        if (!passed_[vertex]) reach(at, OutOf(vertex), kNone, 0);
        for (const uint32_t out : leaving_[vertex]) {
          const uint32_t e = out ^ 1;  // The same link, as it is entered by.
          if (used_[e]) reach(at, OutOf(edges_[e].from), e, -static_cast<int64_t>(*edges_[e].cost));
        }
      }
    }
    if (cost[InOf(end_)] == kFar) return false;
    for (uint32_t at = InOf(end_); at != OutOf(start_); at = reached_by[at].from) {
      const Step& step = reached_by[at];
      const bool forward = (at % 2 == 0) == (step.edge != kNone);
      if (step.edge != kNone) {
        used_[step.edge] = forward;
      } else {
        passed_[at / 2] = at % 2 == 1;
      }
    }
    return true;
  }

  std::vector<std::vector<uint32_t>> Paths() const {
    std::vector<std::vector<uint32_t>> paths;
    for (const uint32_t first : leaving_[start_]) {
      if (!used_[first]) continue;
      std::vector<uint32_t>& path = paths.emplace_back(std::vector<uint32_t>{start_});
      for (uint32_t e = first;;) {
        path.push_back(edges_[e].to);
        if (path.back() == end_) break;
        const auto& on = leaving_[path.back()];
        const auto next = std::find_if(on.begin(), on.end(), [&](uint32_t o) { return used_[o]; });
        KEYHOP_CHECK(next != on.end(), "what flows in flows out");
        e = *next;
      }
    }
    std::sort(paths.begin(), paths.end(), [](const auto& a, const auto& b) {
      return std::pair(a.size(), a) < std::pair(b.size(), b);
    });
    return paths;
  }

 private:
  struct Step {
    uint32_t from = 0;
    uint32_t edge = kNone;  // Nothing: within a vertex.
  };

  const std::vector<DisjointEdge>& edges_;
  const std::vector<char>& barred_;
  const uint32_t start_;
  const uint32_t end_;
  std::vector<std::vector<uint32_t>> leaving_;  // By vertex: its outgoing edges.
  std::vector<char> used_;                      // By edge.
  std::vector<char> passed_;                    // By vertex: something flows through it.
};

}  // namespace

std::vector<std::vector<uint32_t>> FindDisjointPaths(const std::vector<DisjointEdge>& edges,
                                                     const std::vector<char>& barred,
                                                     uint32_t start, uint32_t end, size_t count) {
  if (start == end) return {};
  Search search(edges, barred, start, end);
  for (size_t i = 0; i < count; ++i) {
    if (!search.Augment()) return {};
  }
  return search.Paths();
}

}  // namespace keyhop
