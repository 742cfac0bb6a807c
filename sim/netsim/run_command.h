#ifndef KEYHOP_SIM_NETSIM_RUN_COMMAND_H_
#define KEYHOP_SIM_NETSIM_RUN_COMMAND_H_

#include <string>

namespace keyhop::sim {

// `keyhop-netsim run`: runs the scenario of a file and writes its report into a folder, which is
// made if need be. Returns the exit code: 0, 1 for a violated invariant, 2 for a scenario that is
// refused, 3 for files that cannot be written.
int RunCommand(const std::string& scenario_file, const std::string& out_folder);

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_NETSIM_RUN_COMMAND_H_
