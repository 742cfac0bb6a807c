// Whatever is called, lost or crashed: an index has the same bytes at both ends, is given at most
// once at each, every call is answered in time, and closed streams leave nothing.
#include <gtest/gtest.h>

#include <random>

#include "kms/core/keystream/keystreams.h"
#include "tests/kms/core/keystream/keystream_world.h"

namespace keyhop {
namespace {

using enum KeystreamStatus;

struct Pair {
  std::string a;
  std::string b;
  KeyId id = {};
  std::map<std::pair<std::string, uint32_t>, std::string> got = {};
};

void RunSeed(uint32_t seed) {
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const auto below = [&random](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  KeystreamConfig config;
  config.chunks_max = 4 + below(40);
  config.ahead_max = 1 + below(8);
  KeystreamWorld world(config);
  KeystreamQos qos{.chunk_bytes = 1 + below(64),
                   .max_bps = 1000 + below(1'000'000),
                   .jitter_bps = below(4000),
                   .timeout_ms = 500 + below(2000),
                   .ttl_s = 1 + below(20)};
  std::vector<Pair> pairs = {{"a1", "b1"}, {"a2", "b2"}, {"a1", "b2"}};
  for (Pair& pair : pairs) {
    qos.priority = below(8);
    pair.id = world.Established(qos, pair.a, pair.b);
  }
  const uint32_t loss = below(60);
  world.passes = [&](const std::string&, const KeystreamNote&) { return below(100) >= loss; };
  world.key_bytes = 0;
  struct Call {
    size_t pair = 0;
    std::string sae;
    uint32_t index = 0;
    Instant until;
  };
  std::map<uint64_t, Call> calls;
  uint32_t top = 0;
  for (int i = 0; i < 300; ++i) {
    switch (below(10)) {
      case 0:
        world.Crash(below(2) == 0 ? "A" : "B");
        break;
      case 1:
        world.AddKey(below(4000));
        break;
      case 2:
        world.link_up = below(3) != 0;
        break;
      default: {
        const size_t p = below(static_cast<uint32_t>(pairs.size()));
        const std::string sae = below(2) == 0 ? pairs[p].a : pairs[p].b;
        const uint32_t index = below(top + 3);
        top = std::max(top, std::min(index, top + 1));
        const Instant until = world.now() + Duration::Millis(qos.timeout_ms);
        calls[world.Get(sae, pairs[p].id, index)] = {p, sae, index, until};
        break;
      }
    }
    world.Run(Duration::Millis(below(700)));
    for (auto it = calls.begin(); it != calls.end();) {
      const auto& [token, call] = *it;
      if (!world.answered(token)) {
        // A crash of its KME loses a call.
        it = call.until + Duration::Seconds(1) < world.now() ? calls.erase(it) : std::next(it);
        continue;
      }
      if (!world.RefusalOf(token) && world.Status(token) == kSuccessful) {
        Pair& pair = pairs[call.pair];
        const std::string key = world.KeyOf(token);
        EXPECT_EQ(key.size(), qos.chunk_bytes);
        EXPECT_TRUE(pair.got.emplace(std::pair(call.sae, call.index), key).second) << "twice";
        const std::string& other = call.sae == pair.a ? pair.b : pair.a;
        const auto theirs = pair.got.find({other, call.index});
        if (theirs != pair.got.end()) {
          EXPECT_EQ(theirs->second, key);
        }
      }
      it = calls.erase(it);
    }
  }
  // Healed, the streams go on, and end without a trace.
  world.passes = {};
  world.link_up = true;
  world.AddKey(1'000'000);
  world.Run(Duration::Seconds(60));
  for (Pair& pair : pairs) {
    bool both = false;
    for (uint32_t index = 0; index < 400 && !both; ++index) {
      if (pair.got.contains({pair.a, index}) || pair.got.contains({pair.b, index})) continue;
      const auto await = [&world](uint64_t call) {
        while (!world.answered(call)) world.Run(Duration::Millis(50));
        return call;
      };
      const uint64_t call = await(world.Get(pair.a, pair.id, index));
      if (world.RefusalOf(call) || world.Status(call) != kSuccessful) continue;
      const uint64_t other = await(world.Get(pair.b, pair.id, index));
      both = !world.RefusalOf(other) && world.KeyOf(other) == world.KeyOf(call);
    }
    EXPECT_TRUE(both) << "no index is served any more";
    world.Close(pair.a, pair.id);
    world.Close(pair.b, pair.id);
  }
  world.Run(Duration::Seconds(60));
  EXPECT_EQ(world.records("A") + world.records("B"), 0u);
}

TEST(KeystreamPropertyTest, HoldsOverCallsLossAndCrashes) {
  for (uint32_t seed = 1; seed <= 60 && !testing::Test::HasFailure(); ++seed) RunSeed(seed);
}

}  // namespace
}  // namespace keyhop
