#ifndef KEYHOP_TESTS_TRUSTED_NODE_CORE_ROUTING_FAKE_AUTHORITY_H_
#define KEYHOP_TESTS_TRUSTED_NODE_CORE_ROUTING_FAKE_AUTHORITY_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "trusted_node/core/routing/routing.h"

namespace keyhop {

// Signs as one node and checks anyone: a tag over the signer's name and the layout. No secret is in
// it, but a node that only has its own FakeAuthority cannot sign as another, which is what tests
// need. Counts checks.
class FakeAuthority : public LinkStateAuthority {
 public:
  explicit FakeAuthority(NodeId self) : self_(std::move(self)) {}

  std::string Sign(const std::vector<uint8_t>& layout) override { return TagOf(self_, layout); }
  bool Verify(const NodeId& origin, const std::vector<uint8_t>& layout,
              const std::string& signature) override {
    ++checks_;
    return signature == TagOf(origin, layout);
  }
  int checks() const { return checks_; }

 private:
  // FNV-1a.
  static std::string TagOf(const NodeId& signer, const std::vector<uint8_t>& layout) {
    uint64_t hash = 0xcbf29ce484222325;
    const auto mix = [&hash](uint8_t byte) { hash = (hash ^ byte) * 0x100000001b3; };
    for (const char c : signer.value) mix(static_cast<uint8_t>(c));
    mix(0);
    for (const uint8_t byte : layout) mix(byte);
    return "fake " + std::to_string(hash);
  }

  NodeId self_;
  int checks_ = 0;
};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_TRUSTED_NODE_CORE_ROUTING_FAKE_AUTHORITY_H_
