#ifndef KEYHOP_SIM_LINKSIM_LINK_CONFIG_H_
#define KEYHOP_SIM_LINKSIM_LINK_CONFIG_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "sim/linksim/block_backlog.h"
#include "sim/linksim/node_credentials.h"
#include "sim/qkd/rate_model.h"

namespace keyhop {

// The KM that one module of a pair feeds.
struct LinkEndConfig {
  std::string node;
  std::string kq1;  // HOST:PORT
};

struct LinkConfig {
  std::string id;
  uint32_t module_pair = 1;
  QkdDevice device;
  std::string parameters = "t12";
  double loss_db = 0;
  QkdRate rate;                 // Of the model, in simulated time.
  double bits_per_second = 0;   // Of wall time: rate or its override, times the speed-up.
  size_t block_bytes = 4096;    // 1 KiB to 64 KiB
  size_t backlog_blocks = 256;  // Blocks in memory that not both KMs have.
  std::optional<std::string> seed;
  std::array<LinkEndConfig, kEnds> ends;
};

struct LinkSimConfig {
  std::vector<LinkConfig> links;
  TlsFiles tls;
  std::string state_dir;
  double time_speedup = 1;
};

// Reads the YAML configuration of keyhop-qkdsim; relative paths are taken from the file's folder.
// Strict: an unknown field, a wrong type or a value out of range is an error that names file, line,
// field and what was expected. NOT_FOUND when the file cannot be read.
absl::StatusOr<LinkSimConfig> LoadLinkSimConfig(const std::string& path);

// The same from text; `name` stands for the file.
absl::StatusOr<LinkSimConfig> ParseLinkSimConfig(absl::string_view yaml, const std::string& name);

}  // namespace keyhop

#endif  // KEYHOP_SIM_LINKSIM_LINK_CONFIG_H_
