#ifndef KEYHOP_SIM_NET_LEASE_WATCH_H_
#define KEYHOP_SIM_NET_LEASE_WATCH_H_

#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "sim/net/plan.h"
#include "trusted_node/core/node/messages.h"

namespace keyhop::sim {

// What the lease messages of all links say, as a tap sees them: enough to find the r of a frame.
class LeaseWatch {
 public:
  explicit LeaseWatch(const Plan& plan) : plan_(plan) {}

  struct Lease {
    BookId book;
    std::vector<Range> blocks;
    std::vector<Range> lacking;
    bool r_marked = false;  // For the oracle.
    // Where r is: the first 16 bytes of the first block that both ends hold.
    std::optional<uint64_t> RBlock() const;
  };

  // False: a request repeats a number with other contents.
  bool OnSent(size_t from, const LinkMessage& message);
  // The lease that a frame sent by `from` takes its s from.
  Lease* Find(size_t link, size_t from, const RelayFrame& frame);

 private:
  using Key = std::tuple<size_t, Session, Direction, uint64_t>;
  std::optional<size_t> IndexOf(const LinkId& id, size_t node) const;

  const Plan& plan_;
  std::map<Key, Lease> leases_;
};

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_NET_LEASE_WATCH_H_
