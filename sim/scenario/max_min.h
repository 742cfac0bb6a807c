#ifndef KEYHOP_SIM_SCENARIO_MAX_MIN_H_
#define KEYHOP_SIM_SCENARIO_MAX_MIN_H_

#include <cstddef>
#include <vector>

namespace keyhop::sim {

// A flow that asks for `demand` and takes `part` of each of its units from a resource.
struct Flow {
  struct Use {
    size_t resource = 0;
    double part = 0;
  };
  double demand = 0;
  double weight = 1;
  std::vector<Use> uses;
};

// The weighted max-min fair rates of flows over resources of these capacities: none can be raised
// without lowering one that has less for its weight (Bertsekas, Gallager, Data Networks, 2nd ed.,
// 6.5.2: progressive filling). In the order of the flows. Pure.
std::vector<double> MaxMinRates(const std::vector<Flow>& flows, std::vector<double> capacity);

// Jain's index of `shares`: 1 when all are equal, 1/n when one has all (Jain, Chiu, Hawe,
// DEC-TR-301, 1984). 1 for none, and where all are 0.
double JainIndex(const std::vector<double>& shares);

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_SCENARIO_MAX_MIN_H_
