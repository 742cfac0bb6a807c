#ifndef KEYHOP_SIM_LINKSIM_RUN_COUNTER_H_
#define KEYHOP_SIM_LINKSIM_RUN_COUNTER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "kms/base/instant.h"

namespace keyhop {

// The folder where the simulator keeps its run numbers, locked so that two simulators never count
// in the same files. Holds no key bytes, ever. Thread-safe after Open.
class StateDir {
 public:
  // Makes the folder if it is missing, and locks it. If another process holds it, tries again until
  // `patience` is over, then says which one: ALREADY_EXISTS. UNAVAILABLE if the folder cannot be
  // made or written.
  static absl::StatusOr<StateDir> Open(const std::string& path, Duration patience);

  StateDir(StateDir&& other) noexcept;
  StateDir& operator=(StateDir&&) = delete;
  StateDir(const StateDir&) = delete;
  ~StateDir();

  // The next run number of a module pair: above every number given before and above `floor`.
  // Durable (fsync of file and folder) before it returns. DATA_LOSS for a file that is not a run
  // number: it names the file; a person must decide, since a run number used twice reuses pads.
  absl::StatusOr<uint64_t> NextRun(absl::string_view link_id, uint32_t module_pair,
                                   uint64_t floor) const;

 private:
  StateDir(std::string path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}

  std::string path_;
  int lock_fd_;
};

}  // namespace keyhop

#endif  // KEYHOP_SIM_LINKSIM_RUN_COUNTER_H_
