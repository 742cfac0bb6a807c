#ifndef KEYHOP_SIM_NETSIM_FILES_H_
#define KEYHOP_SIM_NETSIM_FILES_H_

#include <string>

namespace keyhop::sim {

// Writes `text` to a file of that name, or says on standard error that it could not.
bool WriteFile(const std::string& path, const std::string& text);

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_NETSIM_FILES_H_
