#ifndef KEYHOP_KMS_CLI_COMMANDS_H_
#define KEYHOP_KMS_CLI_COMMANDS_H_

#include "kms/cli/connection.h"
#include "kms/cli/options.h"

namespace keyhop::cli {

// Each runs one command, prints its result to standard output, errors to standard error, and gives
// the exit code.
int RunKeyGet(const Options& options, const Connection& node);
int RunKeyFetch(const Options& options, const Connection& node);
int RunStreamOpen(const Options& options, const Connection& node);
int RunStreamGet(const Options& options, const Connection& node);
int RunStreamClose(const Options& options, const Connection& node);
int RunKeyWatch(const Options& options, const Connection& node);
int RunPairStatus(const Options& options, const Connection& node);
int RunAdmin(const Options& options, const Connection& node);
// Without a node.
int RunSaeAdd(const Options& options);
int RunInspectCert(const Options& options);
int RunCompletion(const Options& options);

}  // namespace keyhop::cli

#endif  // KEYHOP_KMS_CLI_COMMANDS_H_
