#ifndef KEYHOP_TRUSTED_NODE_DAEMON_NODE_MACHINE_H_
#define KEYHOP_TRUSTED_NODE_DAEMON_NODE_MACHINE_H_

#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "trusted_node/core/node/node.h"
#include "trusted_node/daemon/core_loop.h"

namespace keyhop {

// A node's core, for the loop. Not thread-safe.
class NodeMachine final : public CoreMachine {
 public:
  explicit NodeMachine(std::unique_ptr<NodeCore> core) : core_(std::move(core)) {}

  Effects Step(Instant now, Input input) override { return core_->Step(now, std::move(input)); }
  std::optional<Instant> NextDeadline() const override { return core_->NextDeadline(); }
  std::map<BookId, uint64_t> TakenTops(const LinkId& link) const override {
    return core_->TakenTops(link);
  }
  NodeSnapshot Snapshot(Instant now) const override { return core_->Snapshot(now); }

 private:
  std::unique_ptr<NodeCore> core_;
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_DAEMON_NODE_MACHINE_H_
