#ifndef KEYHOP_KMS_CORE_KEYSTREAM_ADMISSION_H_
#define KEYHOP_KMS_CORE_KEYSTREAM_ADMISSION_H_

#include <cstdint>

#include "kms/core/keystream/config.h"
#include "kms/core/keystream/request.h"

namespace keyhop {

// What a KME makes of the QoS that an application asks for.
struct Admission {
  bool met = true;            // False: status 7, `granted` is the counter-proposal.
  KeystreamQos granted = {};  // What is honoured, defaults filled in.
};

// `available_bps`: the rate of fresh key for the pair that is not reserved yet. Not met when the
// application could not live with what is granted: a smaller chunk, a lower Min_bps, a shorter
// Timeout or TTL, no metadata of its type. Max_bps, Jitter and Priority are wishes and are lowered
// without a word.
Admission Admit(const KeystreamQos& asked, const KeystreamConfig& config, uint64_t available_bps);

}  // namespace keyhop

#endif  // KEYHOP_KMS_CORE_KEYSTREAM_ADMISSION_H_
