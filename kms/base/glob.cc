#include "kms/base/glob.h"

#include <fnmatch.h>

namespace keyhop {

bool GlobMatches(const std::string& glob, const std::string& text) {
  // It would be cut at a NUL.
  if (text.find('\0') != std::string::npos || glob.find('\0') != std::string::npos) return false;
  return fnmatch(glob.c_str(), text.c_str(), FNM_NOESCAPE) == 0;
}

}  // namespace keyhop
