#ifndef KEYHOP_KMS_SKIP_SKIP_API_H_
#define KEYHOP_KMS_SKIP_SKIP_API_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "kms/ak/http.h"
#include "kms/base/secret_bytes.h"
#include "kms/core/delivery/request.h"
#include "kms/skip/skip_peers.h"

namespace keyhop {

// A source of true random bytes. Thread-safe.
class TrueRandom {
 public:
  virtual ~TrueRandom() = default;
  // False: it failed a test, and gives nothing any more.
  virtual bool healthy() const = 0;
  // The most that Take() can ever give at once.
  virtual size_t bytes_max() const = 0;
  // So many fresh bytes, given to nobody else; nothing if there are not so many now. Never blocks.
  virtual std::optional<SecretBytes> Take(size_t bytes) = 0;
};

struct SkipOptions {
  std::string algorithm;  // What capabilities tell of how keys came about.
  // What is answered where there is no key for now: the draft's table has 500 only.
  int unavailable_status = 503;
  TrueRandom* random = nullptr;  // Null: /entropy is always 503. Outlives the API.
};

// The Secure Key Integration Protocol (draft-cisco-skip-02) as a function of HTTP requests, whose
// `caller` is the encryptor's SAE ID. A key comes from the core as any other: DrawRequest for /key,
// FetchRequest for /key/{keyId}; so it is given once at each end, over SKIP or ETSI GS QKD 014.
// keyId is the key_ID as 32 hex digits. Status codes are those of the draft, and where it is
// silent: 400 for a missing or unknown remoteSystemID and a bad size; 401 for a caller that is no
// encryptor or was suspended; 503 with Retry-After where there is no key for now.
//
// Thread-safe.
class SkipApi {
 public:
  // `peers` and `port` outlive this object and every request under way.
  SkipApi(const SkipPeers& peers, DeliveryPort& port, SkipOptions options)
      : peers_(peers), port_(port), options_(std::move(options)) {}

  void Handle(HttpRequest request, HttpDone done);

 private:
  HttpAnswer Capabilities(const SkipEncryptor& encryptor) const;
  HttpAnswer Entropy(uint64_t bits) const;
  void Draw(const SkipEncryptor& encryptor, absl::string_view query, HttpDone done);
  void Fetch(const SkipEncryptor& encryptor, const std::string& key_id, absl::string_view query,
             HttpDone done);
  // Answers with `make` if the core still serves that SAE.
  void IfServed(const SaeId& sae, std::function<HttpAnswer()> make, HttpDone done);
  HttpAnswer Refused(const Refusal& refusal) const;

  const SkipPeers& peers_;
  DeliveryPort& port_;
  const SkipOptions options_;
};

}  // namespace keyhop

#endif  // KEYHOP_KMS_SKIP_SKIP_API_H_
