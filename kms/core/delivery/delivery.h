#ifndef KEYHOP_KMS_CORE_DELIVERY_DELIVERY_H_
#define KEYHOP_KMS_CORE_DELIVERY_DELIVERY_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "kms/base/instant.h"
#include "kms/core/delivery/config.h"
#include "kms/core/delivery/request.h"
#include "kms/core/stream/destination.h"
#include "kms/core/stream/source.h"

namespace keyhop {

// What delivery asks its node: who lives where, and this node's ends of pair streams.
class DeliveryContext {
 public:
  virtual ~DeliveryContext() = default;
  struct Sae {
    NodeId home;
    uint32_t number = 0;
  };
  virtual const NodeId& Self() const = 0;
  virtual std::optional<Sae> FindSae(const SaeId& sae) const = 0;
  virtual std::optional<SaeId> LocalSae(uint32_t number) const = 0;
  // The source of the pair's stream, made if there is none yet; null at the limit of streams.
  virtual StreamSource* SourceTo(const PairWith& pair) = 0;
  virtual const StreamSource* FindSourceTo(const PairWith& pair) const = 0;
  virtual StreamDestination* DestinationFrom(const PairWith& pair) = 0;
  virtual StreamOutbox& OutboxFor(const NodeId& source, const NodeId& destination) = 0;
  // Bytes that the pool to `home` is filled up to when in use.
  virtual uint64_t PoolTargetBytes() const = 0;
  // How fast fresh key came for the pair lately.
  virtual uint64_t RefillBytesPerSecond(Instant now, const PairWith& pair) const = 0;
};

// A drawn key under the key_ID that its slave fetches it by. `slave_number`: the slave's
// registration number at its home.
DeliveredKey NameKey(const StreamSource& source, const StreamId& stream, const DrawRequest& request,
                     uint32_t slave_number, StreamSource::Drawn drawn);

// The semantics of the three methods of ETSI GS QKD 014 V1.1.1 §5, whatever the front end: who may,
// what is refused with which text, and what is taken from which stream. An SAE acts only as itself
// and only at its home; a slave gets only keys that named it (§5.4). Failed fetches are limited per
// SAE, so that the tag in a key_ID cannot be guessed.
//
// Pure. Not thread-safe.
class Delivery {
 public:
  explicit Delivery(DeliveryConfig config) : config_(config) {}

  Outcome<PairStatus> Status(Instant now, const StatusRequest& request,
                             const DeliveryContext& context) const;
  // A request without additional slaves; Multicasts serves the others. `after`: the write that must
  // be durable before the keys leave.
  Outcome<KeyContainer> Draw(Instant now, const DrawRequest& request, DeliveryContext& context,
                             WriteSeq& after);
  Outcome<KeyContainer> Fetch(Instant now, const FetchRequest& request, DeliveryContext& context,
                              WriteSeq& after);

  // What a draw is told for which there is not enough key.
  Refusal NotEnough(Instant now, const DrawRequest& request, const DeliveryContext& context) const;

  // Why this draw can never be served, if so. Takes nothing.
  std::optional<Refusal> RefusalOf(const DrawRequest& request,
                                   const DeliveryContext& context) const;

  const DeliveryConfig& config() const { return config_; }

 private:
  struct Bucket {
    uint32_t tokens = 0;
    Instant refilled;
  };
  Bucket& BucketOf(Instant now, const SaeId& sae);
  std::optional<Refusal> CheckSize(const std::optional<uint64_t>& size_bits) const;
  std::optional<Refusal> CheckAdditionalSlaves(const DrawRequest& request,
                                               const DeliveryContext& context) const;
  std::optional<Refusal> CheckDraw(const DrawRequest& request,
                                   const DeliveryContext& context) const;
  uint64_t KeysPerRequestMax() const;
  void TellFacts(Instant now, const PairWith& pair, const DeliveryContext& context,
                 PairStatus& status) const;
  Refusal Unavailable(std::string message) const;

  const DeliveryConfig config_;
  std::map<SaeId, Bucket> buckets_;  // Of local SAEs only.
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_DELIVERY_DELIVERY_H_
