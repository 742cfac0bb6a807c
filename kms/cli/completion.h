#ifndef KEYHOP_KMS_CLI_COMPLETION_H_
#define KEYHOP_KMS_CLI_COMPLETION_H_

#include <string>

namespace CLI {
class App;
}

namespace keyhop::cli {

// A script for `shell` (bash, zsh, fish) that completes the commands and options of `app` as they
// are now, and files where an option takes one.
std::string CompletionScript(const CLI::App& app, const std::string& shell);

}  // namespace keyhop::cli

#endif  // KEYHOP_KMS_CLI_COMPLETION_H_
