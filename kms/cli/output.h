#ifndef KEYHOP_KMS_CLI_OUTPUT_H_
#define KEYHOP_KMS_CLI_OUTPUT_H_

#include "absl/strings/string_view.h"

namespace keyhop::cli {

// Writes to standard output past the buffer of stdio, which nobody wipes. False: errno says why.
bool WriteAll(absl::string_view bytes);

}  // namespace keyhop::cli

#endif  // KEYHOP_KMS_CLI_OUTPUT_H_
