#ifndef KEYHOP_KMS_CLI_OPTIONS_H_
#define KEYHOP_KMS_CLI_OPTIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace keyhop::cli {

enum class Command {
  kKeyGet,
  kKeyFetch,
  kStreamOpen,
  kStreamGet,
  kStreamClose,
  kKeyWatch,
  kNodeStatus,
  kPairStatus,
  kNodes,
  kLinks,
  kPools,
  kLinkDown,
  kSaeSuspend,
  kSaeResume,
  kLinkUp,
  kQuotaList,
  kQuotaSet,
  kQuotaReset,
  kRotateStoreKey,
  // These ask no node.
  kSaeAdd,
  kInspectCert,
  kCompletion
};

struct Options {
  Command command = Command::kNodeStatus;
  std::string node;           // HOST:PORT
  std::string ca, cert, key;  // Paths of PEM files.
  bool json = false;
  double timeout_s = 10;
  std::string sae;  // The slave of key get and status, the master of key fetch.
  std::optional<uint64_t> number;
  std::optional<uint64_t> size_bits;
  std::vector<std::string> additional_slaves;
  std::vector<std::string> key_ids;
  std::string idempotency_key;
  std::string link;
  std::string slave;  // Of a quota; empty: whoever it is.
  uint64_t keys_per_second = 0;
  uint64_t bits_per_second = 0;
  double burst_s = 10;
  uint32_t share = 1;

  // Key streams (ETSI GS QKD 004); 0: no wish.
  std::string stream_id;
  std::string stream_source;
  std::string stream_destination;
  uint32_t stream_index = 0;
  uint32_t metadata_size = 0;
  bool metadata = false;
  uint32_t chunk_bytes = 0;
  uint32_t max_bps = 0;
  uint32_t min_bps = 0;
  uint32_t jitter_bps = 0;
  uint32_t priority = 0;
  uint32_t stream_timeout_ms = 0;
  uint32_t ttl_s = 0;

  std::string pki = ".";  // Folder that make-certs.sh made.
  bool ec_key = false;
  int days = 825;

  std::string file;  // The certificate to inspect.
  std::string as;    // sae, node, module or operator: what it shall be; empty: any.
  std::vector<std::string> sae_rules;
  std::vector<std::string> node_rules;

  std::string completion;    // The script for the shell that was asked for.
  std::string resume_token;  // Hex, as key watch printed it; empty: none.
  uint64_t watch_keys = 0;   // key watch ends after so many; 0: never.
};

// The command line, or the exit code where there is nothing more to do (help, or a usage error,
// which was printed).
std::variant<Options, int> ParseCommandLine(int argc, char** argv);

}  // namespace keyhop::cli

#endif  // KEYHOP_KMS_CLI_OPTIONS_H_
