#ifndef KEYHOP_SIM_NET_SABOTAGE_H_
#define KEYHOP_SIM_NET_SABOTAGE_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "kms/core/delivery/request.h"
#include "sim/net/lease_watch.h"
#include "sim/net/pad_truth.h"
#include "sim/net/plan.h"
#include "trusted_node/core/node/node.h"

namespace keyhop::sim {

// Bugs that the simulation can plant, all outside the core: in the shell around it, or as an
// accomplice in the network who knows all keys and so makes a missing check look passed.
enum class Bug : uint8_t {
  kReleaseBeforeSync,
  kDiskLosesBatches,
  kTornBatch,
  kOffsetNotDurable,
  kMarksNotDurable,
  kOwnMarkOnly,
  kConsumptionNotDurable,
  kLeaseNotDurable,
  kIncarnationRepeats,
  kDrawAnswerRepeated,
  kCallerFromBody,
  kAnswerForgotten,
  kTagNotChecked,
  kEndCheckNotChecked,
  kFetchBeforeHello,
  kVersionHidden,
  kStreamLeaseUnconfirmed,
  kLinkLeaseUnconfirmed,
  kFrameSentAgain,
  kPayloadSentAgain,
  kCiphertextClear,
  kKeyInLinkState,
  kModuleRepeatsRun,
  kHelloLost,
  kWindowKeptOverRestart,
  kLeaseTaggedByItsPads,
  kAnnouncedToOther,
  kGapNotTold,
  kSupplyAnsweredEarly,
  kSupplyFetchNotDurable,
  kSupplyUnconfirmed,
  kAnswerNotRecorded,
  kAnswerBeforeRecord,
  kIdempotencyKeyDropped,
  kChunkMisfiled,
  kPathsNotAsked,
  kSharesMeet,
  kCount,
};
struct BugInfo {
  const char* name;
  const char* what;
};
inline constexpr size_t kBugCount = static_cast<size_t>(Bug::kCount);
const BugInfo& InfoOf(Bug bug);
std::optional<Bug> FindBug(absl::string_view name);

// Applies one planted bug, or none. Not thread-safe.
class Saboteur {
 public:
  Saboteur(std::optional<Bug> bug, const Plan& plan, const PadTruth& truth)
      : bug_(bug), plan_(plan), truth_(truth), leases_(plan) {}

  bool Is(Bug bug) const { return bug_ == bug; }

  // A step's effects before the gate gets them.
  void OnEffects(size_t node, Effects& effects);
  // A batch before the disk takes it; and one that a crash interrupts, which leaves nothing.
  void OnBatch(size_t node, std::vector<Record>& batch);
  void OnTornBatch(std::vector<Record>& batch);
  void OnCrash(size_t node);
  // A message as it leaves, seen by the oracle after this. `again`: copies that leave too.
  // False: it does not leave.
  bool OnOutgoing(size_t from, size_t to, KxMessage& message, std::vector<KxMessage>& again);
  // Messages that the accomplice says to `from` in answer to what just left it towards `to`.
  std::vector<KxMessage> Answers(size_t from, size_t to, const KxMessage& message);
  // A message as it arrives. False: it does not.
  bool OnIncoming(size_t from, size_t to, KxMessage& message);
  // A request as the front end hands it on, and keys as it gives them out.
  void OnDraw(DrawRequest& request);
  void OnFetch(FetchRequest& request);
  void OnWatchAnswer(WatchAnswer& answer);
  void OnAnswer(const std::optional<DrawRequest>& draw, KeyContainer& keys);

 private:
  void ChangePayload(size_t link, size_t from, RelayFrame& frame);
  void LeadAstray(size_t link, size_t from, RelayFrame& share);
  void SignLink(size_t link, LinkMessage& message) const;
  void SignControl(size_t link, RoutedControl& control) const;
  void TagByPads(size_t link, size_t from, LinkLeaseRequest& request) const;
  template <typename Message>
  bool SignStream(Message& message) const;
  void WatchKeys(const Record& record);

  const std::optional<Bug> bug_;
  const Plan& plan_;
  const PadTruth& truth_;
  LeaseWatch leases_;
  uint64_t count_ = 0;
  std::map<size_t, std::vector<Record>> held_back_;
  std::map<std::pair<StreamId, uint64_t>, std::vector<uint8_t>> stream_keys_;
  std::map<StreamId, Incarnation> sources_;  // The source last heard of in a hello.
  std::map<KeyId, SaeId> slave_of_;
  std::optional<KeyContainer> last_answer_;
  std::map<size_t, std::vector<uint8_t>> last_payload_;
  std::map<size_t, RelayFrame> first_share_;  // The last that the node sent.
  std::vector<uint8_t> last_key_;
  std::map<std::pair<size_t, size_t>, uint64_t> newest_lease_;  // Of frames, by sender, receiver.
};

}  // namespace keyhop::sim

#endif  // KEYHOP_SIM_NET_SABOTAGE_H_
