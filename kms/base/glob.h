#ifndef KEYHOP_KMS_BASE_GLOB_H_
#define KEYHOP_KMS_BASE_GLOB_H_

#include <string>

namespace keyhop {

// Whether a POSIX glob (`*`, `?`, `[list]`, `[!list]`; no escape character) matches the whole of
// `text`. A `[` without its `]` stands for itself. Works on bytes.
bool GlobMatches(const std::string& glob, const std::string& text);

}  // namespace keyhop

#endif  // KEYHOP_KMS_BASE_GLOB_H_
