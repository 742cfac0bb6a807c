#ifndef KEYHOP_KMS_CORE_DELIVERY_MULTICAST_H_
#define KEYHOP_KMS_CORE_DELIVERY_MULTICAST_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kms/base/instant.h"
#include "kms/core/delivery/config.h"
#include "kms/core/delivery/delivery.h"
#include "kms/core/delivery/request.h"
#include "kms/core/stream/demand.h"
#include "kms/core/stream/source.h"

namespace keyhop {

// Draws with additional slaves, all or nothing (ETSI GS QKD 014 V1.1.1 §6.2, DESIGN §6; rules as in
// tests/model/notices.py). The keys come from the pair's stream, as in any draw. Each KME that is
// home of additional slaves gets one supply notice, this KME and the first slave's among them, and
// the master is answered when all of them hold the keys durably. A refusal, a session or epoch that
// ends, or the time that is over burns the keys and cancels the notices.
//
// Pure. Not thread-safe.
class Multicasts {
 public:
  explicit Multicasts(DeliveryConfig config) : config_(config) {}

  // What a request takes of the stream of each pair. Delivery::RefusalOf has nothing against it.
  std::map<PairWith, StreamDemand> Demands(const DrawRequest& request,
                                           const DeliveryContext& context) const;

  // Draws all that is needed and sends the notices; then `token` gets an answer. Or says why not
  // now (kUnavailable, kExhausted), with nothing taken.
  std::optional<Refusal> Begin(Instant now, uint64_t token, const DrawRequest& request,
                               DeliveryContext& context);
  // What became of a notice in the pair's stream.
  void OnResult(Instant now, const PairWith& pair, const StreamSource::SupplyResult& result,
                DeliveryContext& context);
  void OnTick(Instant now, DeliveryContext& context);
  std::optional<Instant> NextDeadline() const;

  struct Answer {
    uint64_t token = 0;
    DrawRequest request;
    Outcome<KeyContainer> outcome;
    WriteSeq after = 0;  // The keys may leave once this write is durable.
  };
  std::vector<Answer> TakeAnswers() { return std::exchange(answers_, {}); }
  size_t under_way() const { return under_way_.size(); }

 private:
  struct UnderWay {
    uint64_t token = 0;
    DrawRequest request;
    KeyContainer keys;
    WriteSeq after = 0;
    Instant until;
    std::map<PairWith, uint64_t> generations;  // Of all streams that were drawn from.
    std::map<PairWith, uint64_t> notices;      // By pair: the number there.
    std::set<PairWith> waits_for;
  };
  using AllUnderWay = std::map<uint64_t, UnderWay>;

  PairWith PairTo(const DrawRequest& request, const SaeId& slave,
                  const DeliveryContext& context) const;
  std::map<PairWith, std::vector<SaeId>> FurtherPairs(const DrawRequest& request,
                                                      const DeliveryContext& context) const;
  uint32_t KeyBytes(const DrawRequest& request) const;
  Refusal Refused(Refusal::Kind kind, std::string message) const;
  // Whether what was drawn can still be fetched from where it was drawn to.
  bool StillGood(const UnderWay& draw, DeliveryContext& context) const;
  void GiveUp(Instant now, AllUnderWay::iterator it, DeliveryContext& context);

  const DeliveryConfig config_;
  AllUnderWay under_way_;
  std::map<std::pair<PairWith, uint64_t>, uint64_t> by_notice_;  // Pair and number: the draw.
  uint64_t next_ = 1;
  std::vector<Answer> answers_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_DELIVERY_MULTICAST_H_
