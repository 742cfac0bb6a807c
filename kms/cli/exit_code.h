#ifndef KEYHOP_KMS_CLI_EXIT_CODE_H_
#define KEYHOP_KMS_CLI_EXIT_CODE_H_

namespace keyhop::cli {

// What scripts rely on.
enum ExitCode : int {
  kDone = 0,
  kUsage = 2,         // The command line, or a file that it names.
  kRefused = 3,       // The node said no; asking again does not help.
  kUnavailable = 4,   // No key or no peer for now; asking again later may help.
  kNoConnection = 5,  // The node cannot be reached, or one end does not trust the other.
};

}  // namespace keyhop::cli

#endif  // KEYHOP_KMS_CLI_EXIT_CODE_H_
