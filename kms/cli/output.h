#ifndef KEYHOP_KMS_CLI_OUTPUT_H_
#define KEYHOP_KMS_CLI_OUTPUT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace keyhop::cli {

// Writes to standard output past the buffer of stdio, which nobody wipes. False: errno says why.
bool WriteAll(absl::string_view bytes);

// `text` with `?` for each control character: what a node sends must not steer the terminal.
std::string Printable(absl::string_view text);

}  // namespace keyhop::cli

#endif  // KEYHOP_KMS_CLI_OUTPUT_H_
