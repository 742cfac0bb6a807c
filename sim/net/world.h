#ifndef KEYHOP_SIM_NET_WORLD_H_
#define KEYHOP_SIM_NET_WORLD_H_

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "sim/net/disk.h"
#include "sim/net/faults.h"
#include "sim/net/keystream_watch.h"
#include "sim/net/message_bytes.h"
#include "sim/net/oracle.h"
#include "sim/net/pad_truth.h"
#include "sim/net/plan.h"
#include "sim/net/prng.h"
#include "sim/net/sabotage.h"

namespace keyhop::sim {

// What one run of a seed gave.
struct RunResult {
  std::optional<Violation> violation;
  uint64_t events = 0;
  uint64_t keys_delivered = 0;
  uint64_t relays = 0;
  uint64_t crashes = 0;
  uint64_t trace_hash = 0;
  FaultCounts faults = {};
  Probes probes;
};

// Signs link state for every node of a world: a keyed sum stands for certificates.
class SimAuthority final : public LinkStateAuthority {
 public:
  SimAuthority(uint64_t seed, NodeId self) : seed_(seed), self_(std::move(self)) {}
  std::string Sign(const std::vector<uint8_t>& layout) override { return Sum(self_, layout); }
  bool Verify(const NodeId& origin, const std::vector<uint8_t>& layout,
              const std::string& signature) override {
    return Sum(origin, layout) == signature;
  }

 private:
  std::string Sum(const NodeId& origin, const std::vector<uint8_t>& layout) const;
  const uint64_t seed_;
  const NodeId self_;
};

// One network of NodeCores in virtual time: its links, disks, QKD modules, applications and faults.
// Everything follows from the plan's seed. First all faults, for plan.fault_time; then none, until
// every pair of SAEs got a key or the time is up.
//
// Not thread-safe.
class World {
 public:
  // `trace`: gets one line for every event, if set.
  World(uint64_t seed, std::optional<Bug> bug, std::function<void(const std::string&)> trace = {},
        Watch watch = Watch::kEverything);
  virtual ~World();

  RunResult Run();

 protected:
  // For who derives from it: applications, faults and the end are up to that.
  World(Plan plan, std::optional<Bug> bug, std::function<void(const std::string&)> trace,
        Watch watch);
  virtual NodeConfig ConfigOf(size_t node) const { return plan_.ConfigOf(node); }
  // A node lets `message` out towards a neighbour.
  virtual void Observe(size_t from, size_t to, const KxMessage& message);
  // Sets up the events by which all nodes start and all modules make blocks.
  void Begin();

  using Action = std::function<void()>;
  // Its action lies in a slot, so that sorting moves three words.
  struct Event {
    Instant at;
    uint64_t number = 0;
    size_t slot = 0;
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.at != b.at ? a.at > b.at : a.number > b.number;
    }
  };

  // A request that an application waits for.
  struct Request {
    std::optional<DrawRequest> draw;
    std::optional<FetchRequest> fetch;
    std::function<void(Outcome<KeyContainer>)> done;
    std::function<void()> lost;  // The node went away.
    Instant asked;               // For the first time, if it is repeated under an idempotency key.
  };
  // A call of a key stream that an application waits for.
  struct StreamCall {
    std::function<void(Outcome<KeystreamAnswer>)> done;
    std::function<void()> lost;
  };
  struct Image {
    Disk::Image disk;
    Instant taken;
  };
  struct Host {
    std::unique_ptr<SimAuthority> authority;
    std::unique_ptr<SeededEntropy> entropy;
    std::unique_ptr<NodeCore> core;
    NodeGate gate;
    Disk disk;
    std::vector<Image> images;
    std::vector<Record> in_flight;
    bool writing = false;
    uint64_t boot = 0;
    Duration clock_offset;  // The monotonic clock starts anew with each boot.
    std::optional<Instant> wake_at;
    std::optional<uint64_t> crash_after_outputs;
    bool crash_when_durable = false;
    bool crash_in_batch = false;
    Instant slow_until;
    std::map<uint64_t, Request> requests;
    std::map<uint64_t, StreamCall> stream_calls;
    std::map<uint64_t, size_t> watches;  // Token: SAE.
    uint64_t inputs_this_second = 0;
    int64_t second = 0;
    bool up() const { return core != nullptr; }
  };
  struct Block {
    BookId book;
    uint64_t number = 0;
  };
  // One end's QKD modules of a link: what was made and not yet taken.
  struct ModuleEnd {
    std::deque<Block> waiting;
    bool pushing = false;   // A block is with the KM.
    bool push_due = false;  // An event will push the next one.
    uint64_t token = 0;
  };
  struct LinkWorld {
    std::vector<uint64_t> runs;    // Of each module pair.
    std::vector<uint64_t> blocks;  // Next number of each.
    ModuleEnd ends[2];
    bool connected[2] = {};  // Each end's belief.
    uint64_t transport = 0;  // Grows with each connection.
    Instant dead_until[2];   // One-way partition, by sending end.
    Instant cut_until;       // No transport can be made.
    Instant collapsed_until;
    bool module_up = true;
    Instant last_arrival[2];  // Of in-order messages, by sending end.
    std::deque<KxMessage> kept[2];
  };
  struct KnownKey {
    SaeId master;
    SaeId slave;
    KeyId id;
    Instant fetched;
  };
  struct HealPair {
    size_t master = 0;
    size_t slave = 0;
    std::optional<size_t> additional = {};
    uint8_t paths = 1;
    bool done = false;
    std::string state = "not drawn";
  };

  // Two applications with a key stream.
  struct KeystreamDemand {
    std::array<size_t, 2> saes = {};
    KeystreamQos qos = {};
    uint64_t life = 0;  // Streams that these two had before, each with an ID of its own.
    std::array<bool, 2> open = {};
    std::array<uint32_t, 2> next = {};
    bool healed = false;
  };

  // world.cc: time, nodes, disks.
  void At(Duration delay, Action action);
  void StepEvent();
  void RunUntil(Instant end, const std::function<bool()>& stop);
  Instant Local(const Host& host) const { return now_ + host.clock_offset; }
  void Boot(size_t node);
  void AskAgainAfterStart(size_t node);
  void Feed(size_t node, Input input);
  void Pump(size_t node);
  void StartBatch(size_t node);
  void OnDurable(size_t node);
  void Release(size_t node, Output output);
  void Arm(size_t node);
  void Crash(size_t node, bool restore_image);
  void ReallyCrash(size_t node);
  void GoDown(size_t node);
  bool MayRestore(size_t node, const Disk::Image& image) const;
  bool NeighboursKnowMore(size_t node, const Disk::Image& image) const;
  void Trace(const std::string& line);
  void Count(Fault fault) { ++result_.faults[static_cast<size_t>(fault)]; }
  bool Faulty(Fault fault, uint32_t permille);
  size_t EndOf(size_t link, size_t node) const { return plan_.links[link].a == node ? 0 : 1; }
  size_t NodeAt(size_t link, size_t end) const {
    return end == 0 ? plan_.links[link].a : plan_.links[link].b;
  }

  // world_network.cc: messages and transports.
  void Send(size_t from, const NodeId& peer, KxMessage message);
  void Deliver(size_t from, size_t to, KxMessage message, Duration delay, bool in_order);
  void Connect(size_t link);
  void Disconnect(size_t link, size_t end);

  // world_modules.cc: QKD modules.
  void MakeBlock(size_t link, uint32_t pair);
  void PushSoon(size_t link, size_t end, Duration wait);
  void PushNext(size_t link, size_t end);
  void OnTaken(size_t node, const PadBlockTaken& taken);
  void AttachModules(size_t node);
  void SetModule(size_t link, bool up);

  // world_clients.cc: applications.
  void Ask(size_t node, Request request);
  void DemandTick(size_t demand);
  void FetchDrawn(const SaeId& slave, const SaeId& master, const KeyContainer& keys);
  // `asked_first`: as below.
  void DrawFor(const DemandPlan& demand, DrawRequest draw, int tries, Instant asked_first);
  void AfterDraw(const DrawRequest& draw, const KeyContainer& keys);
  // An idempotency key for a request of `sae`, for some of them; others use the same ones.
  std::optional<std::string> MaybeKeyed(const SaeId& sae);
  static void AskForPaths(DrawRequest& draw, uint8_t paths);
  // `asked_first`: when this request was asked for the first time.
  void FetchKeys(FetchRequest request, int tries, bool in_doubt, Instant asked_first);
  void FetchAgain(const KnownKey& key, int tries);
  void Misbehave(const DrawRequest& draw, KeyId id);
  void HealDraw(size_t pair);
  void HealFetch(size_t pair, FetchRequest request);
  std::optional<size_t> AdditionalFor(size_t master, size_t slave) const;
  size_t HomeOf(const SaeId& sae) const { return plan_.HomeOf(sae); }

  // world_keystreams.cc: applications with key streams.
  void PlanKeystreams();
  KeyId KeystreamId(size_t number) const;
  void KeystreamSoon(size_t number, size_t side);
  void KeystreamTick(size_t number, size_t side);
  void AskKeystream(size_t node, KeystreamRequest request, StreamCall call);
  void NextKeystream(size_t number);
  void OnKeystream(size_t number, size_t side, uint64_t life, uint32_t index, bool closes,
                   Outcome<KeystreamAnswer> outcome);
  bool KeystreamsHealed() const;
  // world_watchers.cc: slaves that watch for keys drawn for them.
  void WatchSoon(size_t sae, Duration wait);
  void AskForNews(size_t sae);
  void OnWatchAnswer(size_t node, WatchAnswered& answer);

  // world_faults.cc: incidents.
  void Incident();
  void StopFaults();

  Plan plan_;
  PadTruth truth_;
  Oracle oracle_;
  Saboteur saboteur_;
  std::function<void(const std::string&)> trace_;
  Prng prng_;
  Prng retry_prng_;   // Of clients with idempotency keys: by the seed alone, too.
  Prng split_prng_;   // Of draws over several paths and of a corrupt node: likewise.
  Prng stream_prng_;  // Of key streams.
  KeystreamWatch keystream_watch_;
  std::vector<KeystreamDemand> keystreams_;
  Instant now_ = {Duration::Seconds(1).ns};
  std::priority_queue<Event, std::vector<Event>, Later> events_;
  std::vector<Action> actions_;
  std::vector<size_t> free_slots_;
  uint64_t next_event_ = 0;
  std::vector<Host> hosts_;
  std::vector<LinkWorld> links_;
  std::map<uint64_t, std::pair<size_t, size_t>> pushes_;  // Token: link and end.
  uint64_t next_token_ = 1;
  std::vector<KnownKey> fetched_;
  std::map<SaeId, uint64_t> keyed_;  // Idempotency keys used by each.
  std::vector<HealPair> heal_;
  std::map<size_t, std::optional<WatchRequest::Place>> watchers_;  // By SAE: how far each got.
  size_t healed_ = 0;
  bool faults_on_ = true;
  bool restored_ = false;
  Instant restored_to_;                  // When the restored image was taken.
  std::optional<size_t> host_restored_;  // And whose start it awaits.
  std::optional<size_t> to_restore_;
  TraceHash hash_;
  RunResult result_;
  // Past these the network is in a loop.
  uint64_t events_max_ = 3'000'000;
  uint64_t inputs_per_second_max_ = 20'000;
};

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_NET_WORLD_H_
