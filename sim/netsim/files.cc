#include "sim/netsim/files.h"

#include <cstdio>
#include <fstream>

namespace keyhop::sim {

bool WriteFile(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  if (!out) std::fprintf(stderr, "keyhop-netsim: cannot write %s\n", path.c_str());
  return static_cast<bool>(out);
}

}  // namespace keyhop::sim
