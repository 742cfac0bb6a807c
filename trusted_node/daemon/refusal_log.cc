#include "trusted_node/daemon/refusal_log.h"

#include <spdlog/spdlog.h>

#include <optional>

#include "absl/strings/str_cat.h"

namespace keyhop {

RefusalListener RefusalLog::For(const char* what) {
  return [this, what](const std::string& why) {
    {
      MutexLock lock(mu_);
      ++counts_[what];
    }
    const std::optional<uint64_t> withheld = limit_.Take(now_());
    if (!withheld.has_value()) return;
    spdlog::warn("{}: refused: {}{}", what, why,
                 *withheld == 0 ? "" : absl::StrCat(" (and ", *withheld, " more, not logged)"));
  };
}

std::map<std::string, uint64_t> RefusalLog::counts() const {
  MutexLock lock(mu_);
  return counts_;
}

}  // namespace keyhop
