#include "sim/scenario/max_min.h"

#include <algorithm>
#include <limits>

namespace keyhop::sim {
namespace {

// Of a capacity or a demand: what is left by rounding is nothing.
constexpr double kRounding = 1e-9;

}  // namespace

std::vector<double> MaxMinRates(const std::vector<Flow>& flows, std::vector<double> capacity) {
  std::vector<double> rates(flows.size(), 0);
  const std::vector<double> whole = capacity;
  std::vector<char> active(flows.size(), 1);
  size_t left = flows.size();
  while (left > 0) {
    // How far all that are not held yet can rise together, for a weight of one.
    std::vector<double> pull(capacity.size(), 0);
    double step = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < flows.size(); ++i) {
      if (!active[i]) continue;
      step = std::min(step, (flows[i].demand - rates[i]) / flows[i].weight);
      for (const Flow::Use& use : flows[i].uses) {
        pull[use.resource] += flows[i].weight * use.part;
      }
    }
    for (size_t r = 0; r < capacity.size(); ++r) {
      if (pull[r] > 0) step = std::min(step, capacity[r] / pull[r]);
    }
    step = std::max(step, 0.0);
    for (size_t i = 0; i < flows.size(); ++i) {
      if (active[i]) rates[i] += step * flows[i].weight;
    }
    std::vector<char> full(capacity.size(), 0);
    for (size_t r = 0; r < capacity.size(); ++r) {
      capacity[r] -= step * pull[r];
      full[r] = capacity[r] <= kRounding * whole[r];
    }
    const size_t before = left;
    for (size_t i = 0; i < flows.size(); ++i) {
      if (!active[i]) continue;
      const bool held =
          flows[i].demand - rates[i] <= kRounding * flows[i].demand ||
          std::any_of(flows[i].uses.begin(), flows[i].uses.end(),
                      [&](const Flow::Use& u) { return u.part > 0 && full[u.resource]; });
      if (!held) continue;
      active[i] = 0;
      --left;
    }
    if (left == before) break;  // Only rounding is left.
  }
  return rates;
}

double JainIndex(const std::vector<double>& shares) {
  double sum = 0;
  double squares = 0;
  for (const double share : shares) {
    sum += share;
    squares += share * share;
  }
  return squares > 0 ? sum * sum / (static_cast<double>(shares.size()) * squares) : 1;
}

}  // namespace keyhop::sim
