#ifndef KEYHOP_TRUSTED_NODE_CORE_NODE_NODE_IMPL_H_
#define KEYHOP_TRUSTED_NODE_CORE_NODE_NODE_IMPL_H_

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "kms/base/lookup_map.h"
#include "kms/core/announce/announcer.h"
#include "kms/core/announce/board.h"
#include "kms/core/delivery/delivery.h"
#include "kms/core/delivery/fair_order.h"
#include "kms/core/delivery/multicast.h"
#include "kms/core/keystream/keystreams.h"
#include "kms/core/quota/quotas.h"
#include "kms/core/stream/destination.h"
#include "kms/core/stream/source.h"
#include "trusted_node/core/node/node.h"
#include "trusted_node/core/node/rate.h"
#include "trusted_node/core/node/share_desk.h"

namespace keyhop {

// A body below this is not worth the 64 bytes of pad that its relay spends besides.
inline constexpr uint32_t kBodyBytesMin = 64;

// What `find(bytes)`, a way or several with so much room, gives for a wish; it is empty where there
// is none. A thin network still carries thin segments: then the wish is made smaller. Where no way
// has room now, what is needed most waits on its way.
template <typename Find>
auto WayFor(StreamSource::Wish& wish, bool starving, Find find) {
  auto way = find(wish.body_bytes + 64);
  if (way.empty() && wish.kind == SegmentKind::kBody) {
    wish.body_bytes = std::max(kBodyBytesMin, wish.body_bytes / 8 / 4 * 4);
    way = find(wish.body_bytes + 64);
  }
  if (way.empty() && starving) way = find(0);
  return way;
}

inline constexpr uint32_t kTagPadBytes = 16;  // Of a frame's tag.
// Frames of pools that run dry go before those that only top up.
inline constexpr uint8_t kPriorityTopUp = 0;
inline constexpr uint8_t kPriorityStarving = 1;
// Of a stream that has to be open for words, whether anybody draws from it or not.
inline constexpr uint64_t kOpenBytes = 16;
inline constexpr Duration kBackoffMax = Duration::Seconds(2);
// A frame that waits tells its link again of the shortage, which links forget after two seconds.
inline constexpr Duration kAskAgain = Duration::Seconds(1);

// The parts of a node and how they are wired: node.cc takes inputs, node_draws.cc keeps draws that
// wait, node_announce.cc tells who was drawn for, node_multicast.cc those with additional slaves,
// node_keyed.cc repeats answers under idempotency keys, node_limits.cc holds to the operator's word
// and the budget, node_relay.cc moves segments and control, node_queue.cc keeps frames that wait
// for pads, node_rollback.cc burns what an old image brought, node_keystreams.cc serves ETSI GS QKD
// 004, node_status.cc tells.
struct NodeCore::Impl : public DeliveryContext,
                        public RoutingOutbox,
                        public IdempotencyOutbox,
                        public KeystreamContext {
  // A frame of another source that waits for pads of its next link.
  struct WaitingFrame {
    RelayFrame frame;
    SecretBytes payload;
    Instant since;
    Instant until;
    Instant ask_again;  // When the link is told again that this frame falls short.
  };
  struct LinkEntry {
    std::unique_ptr<LinkEnd> end;
    bool connected = false;
    bool was_open = false;
    bool down = false;  // By an operator: nothing is relayed over it.
    uint64_t leased_bytes = 0;
    std::deque<WaitingFrame> waiting = {};  // In order of arrival.
    // When a waiting frame of each pair of nodes last went on: whose pair waits longest goes first.
    std::map<StreamId, Instant> passed = {};
    // Own segments of pools that run dry and found too little here: whose pair waits longest for a
    // launch goes first, the others leave it as much as it needs.
    struct Want {
      uint64_t pad_bytes = 0;
      Instant until;
    };
    using Turn = std::pair<Instant, PairWith>;  // The pair's last launch, and the pair.
    std::map<Turn, Want> wants = {};
  };
  // A draw that waits for its pair to be filled.
  struct WaitingDraw {
    uint64_t token = 0;
    DrawRequest request;
    StreamDemand demand;
    Instant until;
  };
  struct SourceEntry {
    std::unique_ptr<StreamSource> end;
    std::optional<Instant> used_until = {};  // In use: filled to the target.
    Instant not_before = {};                 // No relay before: the last attempt found no way.
    Duration backoff = {};
    bool blocked = false;
    // Segments under way at most: grows by one with each acknowledgement, halves with each refusal.
    uint32_t window = 1;
    std::vector<NodeId> last_path = {};
    RecentRate rate = RecentRate();  // Of bytes that the destination acknowledged.
    Instant last_launch = {};
    std::optional<NodeId> wants_at = {};   // The next hop whose link has a Want of this pair.
    std::deque<WaitingDraw> waiting = {};  // In order of arrival.
    FairOrder order = {};                  // In which they are served.
    // The largest draw that found too little of late: the pool grows until it can be served.
    StreamDemand asked = {};
    Instant asked_until = {};
    uint64_t leased_bytes = 0;
    bool talks = false;  // It stays open for the pair's other streams: words go by this one.
    std::optional<Announcer> announcer = {};  // Once the destination wants to know of draws.
  };
  struct RelayUnderWay {
    PairWith pair;
    StreamAddress at;
    std::vector<NodeId> path;
  };
  // One outbox a link end and one for all streams; they name the machine whose timer moved.
  struct LinkOut final : public LinkOutbox {
    LinkOut(Impl& node, NodeId link_peer) : impl(node), peer(std::move(link_peer)) {}
    WriteSeq Write(LinkRecordVariant record) override { return impl.Write(std::move(record)); }
    void Send(LinkMessage message, WriteSeq after) override {
      impl.SendTo(peer, std::move(message), after);
    }
    uint64_t Random() override { return impl.entropy.NextU64(); }
    void RollbackFound() override {
      impl.rollback_found = true;
      impl.rollback_links.insert(peer);
    }
    Impl& impl;
    NodeId peer;
  };
  struct StreamOut final : public StreamOutbox {
    explicit StreamOut(Impl& node) : impl(node) {}
    WriteSeq Write(StreamRecord record) override { return impl.Write(std::move(record)); }
    void Send(const NodeId& to, StreamMessage message, WriteSeq after) override {
      impl.SendControl(to, std::move(message), after);
    }
    uint64_t Random() override { return impl.entropy.NextU64(); }
    void RollbackFound() override { impl.rollback_found = true; }
    Impl& impl;
  };
  struct BoardOut final : public BoardOutbox {
    explicit BoardOut(Impl& node) : impl(node) {}
    WriteSeq Write(AnnounceRecord record) override { return impl.Write(std::move(record)); }
    void Send(const NodeId& to, StreamMessage message, WriteSeq after) override {
      impl.SendControl(to, std::move(message), after);
    }
    uint64_t Random() override { return impl.entropy.NextU64(); }
    void Answer(uint64_t token, Outcome<WatchAnswer> outcome, WriteSeq after) override;
    Impl& impl;
  };
  // A draw with additional slaves that waits for all the streams it needs.
  struct WaitingMulticast {
    uint64_t token = 0;
    DrawRequest request;
    std::map<PairWith, StreamDemand> demands;  // Of each pair's stream.
    Instant until;
  };
  enum class Machine {
    kRouting,
    kAdverts,
    kLink,
    kSource,
    kDestination,
    kMulticasts,
    kIdempotency,
    kKeystreams,
    kBoard
  };
  using TimerKey = std::pair<Machine, PairWith>;

  Impl(NodeConfig node_config, EntropySource& entropy_source, LinkStateAuthority& link_authority)
      : config(std::move(node_config)),
        entropy(entropy_source),
        authority(link_authority),
        delivery(config.delivery),
        multicasts(config.delivery),
        stream_out(*this),
        board_out(*this) {}

  // DeliveryContext.
  const NodeId& Self() const override { return config.self; }
  std::optional<Sae> FindSae(const SaeId& sae) const override;
  std::optional<SaeId> LocalSae(uint32_t number) const override;
  StreamSource* SourceTo(const PairWith& pair) override;
  const StreamSource* FindSourceTo(const PairWith& pair) const override;
  StreamDestination* DestinationFrom(const PairWith& pair) override;
  StreamOutbox& OutboxFor(const NodeId&, const NodeId&) override { return stream_out; }
  uint64_t PoolTargetBytes() const override { return config.pool.target_bytes; }
  uint64_t RefillBytesPerSecond(Instant at, const PairWith& pair) const override;

  // RoutingOutbox.
  WriteSeq Write(DirectoryRecord record) override { return Write(Record(std::move(record))); }
  WriteSeq Write(RoutingRecord record) override { return Write(Record(std::move(record))); }
  void Flood(const LinkState& state, const NodeId& except, WriteSeq after) override;
  void SendTo(const NodeId& neighbour, const LinkState& state, WriteSeq after) override;

  // IdempotencyOutbox.
  WriteSeq Write(IdempotencyRecord record) override { return Write(Record(std::move(record))); }
  WriteSeq Write(RunTimeRecord record) override { return Write(Record(record)); }

  // KeystreamContext (node_keystreams.cc).
  std::optional<NodeId> HomeOf(const SaeId& sae) const override;
  bool MayAct(const SaeId& sae) const override;
  bool Reachable(const NodeId& home) const override;
  uint64_t FreeRateTo(const NodeId& home,
                      const std::map<NodeId, uint64_t>& reserved) const override;
  uint32_t HopsTo(const NodeId& home) const override;
  KeyId NewId() override;
  bool BeginDraw(uint64_t ticket, const SaeId& master, const SaeId& slave, uint32_t number,
                 uint32_t bytes) override;
  Outcome<SecretBytes> Take(const SaeId& caller, const SaeId& master, const KeyId& key_id,
                            WriteSeq& after) override;
  WriteSeq Write(KeystreamRecord record) override { return Write(Record(std::move(record))); }
  WriteSeq Write(KeystreamChunkRecord record) override { return Write(Record(record)); }
  void Say(const NodeId& peer, KeystreamNote note, WriteSeq after) override;
  void Answer(uint64_t token, Outcome<KeystreamAnswer> outcome, WriteSeq after) override;

  // node.cc
  absl::Status Recover(std::vector<Record> recovered);
  WriteSeq Write(Record record);
  void Emit(Output output, WriteSeq after);
  void SendTo(const NodeId& peer, LinkMessage message, WriteSeq after);
  void Start();
  void On(PadBlockArrived input);
  void On(ModuleStatusChanged input);
  void On(PeerConnected input);
  void On(PeerDisconnected input);
  void On(PeerMessage input);
  void On(StatusAsked input);
  void On(DrawAsked input);
  void On(FetchAsked input);
  void On(DeadlineReached input);
  void On(LinkSwitched input);
  void On(SaeSwitched input);
  void On(CallCancelled input);
  void On(KeystreamAsked input);
  void On(WatchAsked input);
  void OnTimer(const TimerKey& key);
  void OnLinkMessage(const NodeId& from, const LinkMessage& message);
  // Work that a step owes its end: what links woke, refills, self-addressed messages, timers.
  void Finish();
  void LinkMayHaveChanged(const NodeId& peer);
  // Burns what is under way, as its source knows, where `broken` says so of its path.
  void BurnUnderWay(absl::FunctionRef<bool(const std::vector<NodeId>& path)> broken);
  void LookAfterRelays();
  void AdvertiseLinks();
  void Touch(Machine machine, const PairWith& pair) { touched.insert({machine, pair}); }
  void Arm(const TimerKey& key, std::optional<Instant> at);
  std::optional<Instant> DeadlineOf(const TimerKey& key) const;

  // node_announce.cc
  // What the slaves of a draw that watch are to be told, each at its home.
  struct News {
    NodeId home;
    Announcement drawn;
  };
  std::vector<News> NewsOf(const DrawRequest& request, const KeyContainer& keys) const;
  // Tells it once write `after` is durable, which the master's answer waits for.
  void Announce(std::vector<News> news, WriteSeq after);
  // False: the message is about something else.
  bool TakeAnnouncement(const StreamMessage& message);

  // node_draws.cc
  // Whether it may begin to wait now.
  bool MayWait(const SourceEntry& entry, const DrawRequest& request) const;
  // Such a draw found too little.
  void MakeRoom(const PairWith& pair, SourceEntry& entry, const StreamDemand& asked);
  void Wait(const PairWith& pair, SourceEntry& entry, DrawAsked input);
  // Whether one more draw of this SAE may wait in this node; it begins; it is served, or given up.
  bool MayWaitInNode(const SaeId& sae) const;
  void BeginsToWait(const SaeId& sae);
  void StopsToWait(const SaeId& sae);
  // `request`: draw, fetch or status.
  void CountRefusal(const char* request, const Refusal& refusal);
  // To a draw that took keys, or not; the slaves that watch are told of what it took.
  void AnswerDraw(uint64_t token, const DrawRequest& request, Outcome<KeyContainer> outcome,
                  WriteSeq after);
  // Whose turn it is; somebody waits.
  std::deque<WaitingDraw>::iterator NextToServe(SourceEntry& entry);
  // Answers, in that order, the draws that can be served now or whose time is over.
  void ServeWaiting(SourceEntry& entry);
  std::optional<Instant> FirstWaitEnds(const SourceEntry& entry) const;
  StreamDemand DemandOf(const DrawRequest& request) const;

  // node_quota.cc
  void On(QuotaSet input);
  // Charges the draw to its quotas, or refuses it.
  std::optional<Refusal> Charge(uint64_t token, const DrawRequest& request);
  // The draw is answered; one that got nothing is given back what it was charged.
  void Settle(uint64_t token, const DrawRequest& request, bool drawn);
  // For status_extension.
  void TellQuotas(const StatusRequest& request, PairStatus& status) const;

  // node_multicast.cc
  void DrawMulticast(DrawAsked input);
  // Tells the desk what became of the notices of this source.
  void TakeSupplyResults(const PairWith& pair, SourceEntry& entry);
  // Begins what waits and can begin, refuses what waited too long, lets answers go.
  void ServeMulticasts();
  void AnswerMulticasts();
  // The most that one of the waiting ones needs of this home's stream.
  StreamDemand MulticastDemand(const PairWith& pair) const;
  std::optional<Instant> MulticastDeadline() const;
  // node_keyed.cc
  // False: it has no idempotency key, or the first one; it is to be served. Else it was answered,
  // or will be with the one that it repeats.
  bool AnsweredByKey(uint64_t token, const DrawRequest& request);
  bool AnsweredByKey(uint64_t token, const FetchRequest& request);
  bool AnsweredByKey(uint64_t token, IdempotencyTable::Request request);
  // Every answer with keys, or instead of keys, leaves by this; returns the write that it waits
  // for.
  WriteSeq AnswerKeys(uint64_t token, Outcome<KeyContainer> outcome, WriteSeq after);

  // node_keystreams.cc
  void TakeNote(const KeystreamNote& note);
  // Whether it was the answer to a draw of a key stream, which then has it.
  bool TookDraw(const Multicasts::Answer& answer);
  // What the next draw for a key stream takes from this home's pair, or something where such a
  // stream needs no more than to be open.
  StreamDemand KeystreamDemand(const PairWith& pair) const;
  Outcome<KeyContainer> FetchNow(const FetchRequest& request, WriteSeq& after);

  // node_limits.cc
  void BurnOpenLeases();
  // Counts a machine's leases against the budget again.
  void Account(const TimerKey& key);

  // node_queue.cc
  void Queue(const NodeId& next, LinkEntry& link, RelayFrame frame, const SecretBytes& payload);
  // Sends on what waits as far as pads and turns allow, refuses what waited too long.
  void ServeQueue(const NodeId& next, LinkEntry& link);
  // The waiting frame whose turn it is; the link has one.
  static std::deque<WaitingFrame>::iterator FirstWaiting(LinkEntry& link);
  static Instant LastPassed(const LinkEntry& link, const StreamId& stream);
  static void NotePassed(LinkEntry& link, const StreamId& stream, Instant at);
  // The own segment whose turn it is; those that ceased to want pads are forgotten.
  const std::pair<const LinkEntry::Turn, LinkEntry::Want>* FirstWant(LinkEntry& link);
  // Pad bytes that an own segment, of a pair whose last one left at `last_launch`, has to leave to
  // the frame that waits first.
  static uint64_t OwedToQueue(LinkEntry& link, Instant last_launch);
  // Pad bytes that a segment of this pair has to leave to a pair that waits longer.
  uint64_t OwedToOthers(LinkEntry& link, const PairWith& pair, const SourceEntry& entry);
  void SegmentWaits(const NodeId& next, LinkEntry& link, const PairWith& pair, SourceEntry& entry,
                    uint64_t pad_bytes);
  void SegmentWent(const PairWith& pair, SourceEntry& entry);
  void ForgetWant(const PairWith& pair, SourceEntry& entry);
  // Stirs the pair whose turn it is, once there is enough for it.
  void WakeFirst(LinkEntry& link);

  // node_relay.cc
  void SendControl(const NodeId& to, ControlBody body, WriteSeq after);
  void OnControl(const NodeId& from, RoutedControl control);
  void Pass(RoutedControl control, WriteSeq after);
  void TakeControl(ControlBody body);
  void OnFrame(const NodeId& from, RelayFrame frame);
  void ForwardFrame(RelayFrame frame, const SecretBytes& payload);
  bool SendOn(const NodeId& next, LinkEntry& link, RelayFrame& frame, const SecretBytes& payload);
  void Refuse(const RelayFrame& frame, RefusalReason reason);
  void DeliverSegment(Segment segment);
  bool InUse(const SourceEntry& entry) const;
  StreamDemand TargetOf(const PairWith& pair, const SourceEntry& entry) const;
  void Refill(const PairWith& pair, SourceEntry& entry);
  // Whether the pool runs dry: its frames may take the last pads of a link.
  bool Starving(const SourceEntry& entry, const StreamDemand& target) const;
  // The pads that frames of `priority` leave on a link for those that need them more.
  static uint64_t ReserveFor(uint8_t priority, uint64_t payload_bytes);
  // Sends the segment, or this share of it, whose payload are the pads.
  void SendFirstHop(const PairWith& pair, const SourceEntry& entry,
                    const StreamSource::Launched& launched, uint8_t priority, uint32_t body_bytes,
                    uint8_t share, std::vector<NodeId> path, const TakenPads& pads);
  // node_shares.cc: LaunchOne for a pair whose segments are split.
  bool LaunchShares(const PairWith& pair, SourceEntry& entry, const StreamDemand& target,
                    StreamSource::Wish wish);
  // What to tell a draw of such a pair that found too little key, if there are too few paths now.
  std::optional<Refusal> TooFewPaths(const PairWith& pair) const;
  bool LaunchOne(const PairWith& pair, SourceEntry& entry, const StreamDemand& target,
                 StreamSource::Wish wish);
  void EnsurePrefilled();
  SourceEntry* EnsureSource(const PairWith& pair);
  void KeepOpenForWords(const NodeId& node);
  StreamDestination* EnsureDestination(const PairWith& pair);

  // node_rollback.cc
  // By these the neighbours know of an old image of this store.
  void RaiseLinkVersions();
  void BurnAfterRollback();

  // node_status.cc
  NodeSnapshot Snapshot(Instant at) const;

  NodeConfig config;
  EntropySource& entropy;
  LinkStateAuthority& authority;
  Delivery delivery;
  Multicasts multicasts;
  std::deque<WaitingMulticast> multicasts_waiting;
  StreamOut stream_out;
  BoardOut board_out;
  std::unique_ptr<Routing> routing;
  IndexedMap<NodeId, LinkEntry> links;  // By peer.
  std::map<LinkId, NodeId> peer_of;
  IndexedMap<PairWith, SourceEntry> sources;                              // By destination.
  IndexedMap<PairWith, std::unique_ptr<StreamDestination>> destinations;  // By source.
  std::unique_ptr<Board> board;              // Of keys drawn for SAEs here.
  bool anybody_watches = false;              // Some destination said which of its SAEs do.
  std::map<uint64_t, RelayUnderWay> relays;  // By RelayId::number.
  ShareDesk shares;                          // Of segments that come here.
  uint64_t next_relay = 1;
  uint64_t incarnation_counter = 0;
  Incarnation own = {};
  bool old_image_burnt = false;  // In this start: nothing here is from an old image of the store.
  std::set<SaeId> suspended;     // SAEs of this node, by an operator.
  std::map<std::string, uint64_t> counters;
  size_t draws_waiting = 0;                     // At all sources, those with additional slaves too.
  std::map<SaeId, size_t> draws_waiting_of;     // The same, by master.
  Quotas quotas = Quotas({}, {});               // Made by Recover.
  std::set<uint64_t> charged;                   // Tokens of draws under way that a quota counts.
  std::optional<IdempotencyTable> idempotency;  // Made by Recover.
  std::optional<Keystreams> keystreams;         // Made by Recover.
  bool neighbour_heard = false;                 // In this start; or there is no link.
  uint64_t leased_bytes = 0;
  bool leases_scarce = false;

  // Of the step under way.
  Instant now = {};
  Effects effects;
  WriteSeq last_seq = 0;
  WriteSeq start_seq = 0;
  bool started = false;
  bool rollback_found = false;
  std::set<NodeId> rollback_links;  // That found it.
  std::set<TimerKey> touched;
  std::deque<ControlBody> to_self;
  std::deque<Segment> segments_to_self;

  std::set<std::pair<Instant, TimerKey>> timers;
  LookupMap<TimerKey, Instant> armed;
  Instant adverts_at = {};
  uint64_t topology_looked_at = 0;  // Routing::topology_changes when relays were looked after.
};

}  // namespace keyhop

#endif  // KEYHOP_TRUSTED_NODE_CORE_NODE_NODE_IMPL_H_
