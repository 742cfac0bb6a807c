#ifndef KEYHOP_KMS_AK_ANSWER_WRITER_H_
#define KEYHOP_KMS_AK_ANSWER_WRITER_H_

#include <string>

#include "absl/strings/string_view.h"
#include "kms/core/delivery/request.h"
#include "kms/crypto/base64.h"

// Writes ETSI GS QKD 014 V1.1.1 answers as JSON. Pure functions.

namespace keyhop {

// The key container (§6.3), with no member that is not in the standard.
SecretText WriteKeyContainer(const KeyContainer& container);

// The status (§6.1); `status_extension` only where there is something to tell.
std::string WritePairStatus(const PairStatus& status);

// A fact of status_extension as plain text: of several texts, a JSON object.
std::string FactText(const Fact& fact);

// The error (§6.5): `message`, and `details` (one object for each detail) where there are any.
// kUnauthorized is always {"message":"Unauthorized"}.
std::string WriteRefusal(const Refusal& refusal);

// Appends `text`, which is UTF-8, as a JSON string.
void AppendJsonString(std::string& out, absl::string_view text);

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_ANSWER_WRITER_H_
