#include "kms/tls/psk_context.h"

#include <openssl/ssl.h>

#include <cstring>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kms/tls/verification.h"
#include "kms/tls/x509_read.h"

namespace keyhop {
namespace {

using SessionPtr = std::unique_ptr<SSL_SESSION, tls::Freer<SSL_SESSION_free>>;
using Keys = std::shared_ptr<PskFile>;

static_assert(kPskBytesMax <= PSK_MAX_PSK_LEN && kPskIdentityBytesMax <= PSK_MAX_IDENTITY_LEN);

constexpr char kSuite13[] = "TLS_AES_256_GCM_SHA384";
constexpr unsigned char kSuite13Number[] = {0x13, 0x02};
// Those with a pre-shared key come first: who offers them has one.
constexpr char kPskSuites12[] = "DHE-PSK-AES256-GCM-SHA384:PSK-AES256-GCM-SHA384:";
constexpr char kCertificateSuites12[] = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";
constexpr char kPskCbcSuites12[] = ":DHE-PSK-AES256-CBC-SHA384:DHE-PSK-AES256-CBC-SHA";
constexpr char kCertificateCbcSuites12[] = ":AES256-SHA256";
// OpenSSL wants one of whoever verifies its peers, before it takes a session.
constexpr unsigned char kSessionContext[] = "keyhop";

int KeysIndex() {
  static const int index =
      SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, tls::FreeExData<Keys>);
  return index;
}
int PeerIndex() {
  static const int index =
      SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, tls::FreeExData<std::string>);
  return index;
}

PskFile* KeysOf(const SSL* ssl) {
  const auto* keys =
      static_cast<const Keys*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), KeysIndex()));
  return keys != nullptr ? keys->get() : nullptr;
}

std::string LabelOf(const PskTable::Entry& entry) {
  return absl::StrCat(entry.serial, " ", entry.identity);
}

std::optional<PskPeer> PeerOf(absl::string_view label) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(label, absl::MaxSplits(' ', 1));
  PskPeer peer{.identity = std::string(parts.second)};
  if (!absl::SimpleAtoi(parts.first, &peer.serial)) return std::nullopt;
  return peer;
}

// For the log, should the handshake fail.
void NoteIdentity(SSL* ssl, absl::string_view identity, bool known, const std::string& file) {
  NoteOffer(ssl, absl::StrCat("pre-shared key identity \"",
                              absl::Utf8SafeCEscape(identity.substr(0, 200)),
                              known ? "\", which is in " : "\": expected one that is in ", file));
}

// TLS 1.2 (RFC 4279 §2): an unknown identity fails as a wrong key does.
unsigned FindKey(SSL* ssl, const char* identity, unsigned char* out, unsigned room) {
  PskFile* keys = KeysOf(ssl);
  if (keys == nullptr || identity == nullptr || SSL_version(ssl) >= TLS1_3_VERSION) return 0;
  const std::shared_ptr<const PskTable> table = keys->Current();
  const PskTable::Entry* entry = table->Find(identity);
  NoteIdentity(ssl, identity, entry != nullptr, keys->path());
  if (entry != nullptr) {
    auto label = std::make_unique<std::string>(LabelOf(*entry));
    if (SSL_set_ex_data(ssl, PeerIndex(), label.get()) != 1) return 0;
    (void)label.release();
  }
  const SecretBytes& key = entry != nullptr ? entry->key : keys->decoy();
  if (key.size() > room) return 0;
  std::memcpy(out, key.Expose(SecretAccess::ForCrypto()).data(), key.size());
  return static_cast<unsigned>(key.size());
}

// TLS 1.3. Without a session of that identity the handshake goes on with certificates.
int FindSession(SSL* ssl, const unsigned char* identity, size_t size, SSL_SESSION** out) {
  *out = nullptr;
  PskFile* keys = KeysOf(ssl);
  if (keys == nullptr) return 1;
  const std::shared_ptr<const PskTable> table = keys->Current();
  const absl::string_view name(reinterpret_cast<const char*>(identity), size);
  const PskTable::Entry* entry = table->Find(name);
  NoteIdentity(ssl, name, entry != nullptr, keys->path());
  if (entry == nullptr) return 1;
  SessionPtr session(SSL_SESSION_new());
  const std::span<const uint8_t> key = entry->key.Expose(SecretAccess::ForCrypto());
  // What is told of the session is told of every handshake that it authenticated, and of no other.
  const std::string label = LabelOf(*entry);
  if (session == nullptr ||
      SSL_SESSION_set1_master_key(session.get(), key.data(), key.size()) != 1 ||
      SSL_SESSION_set_cipher(session.get(), SSL_CIPHER_find(ssl, kSuite13Number)) != 1 ||
      SSL_SESSION_set_protocol_version(session.get(), TLS1_3_VERSION) != 1 ||
      SSL_SESSION_set1_ticket_appdata(session.get(), label.data(), label.size()) != 1) {
    return 0;
  }
  *out = session.release();
  return 1;
}

}  // namespace

absl::Status SetUpPsk(SSL_CTX* context, const PskSetUp& set_up) {
  const bool psk = set_up.keys != nullptr;
  std::string suites = absl::StrCat(psk ? kPskSuites12 : "", kCertificateSuites12);
  if (set_up.cbc_suites) {
    absl::StrAppend(&suites, psk ? kPskCbcSuites12 : "", kCertificateCbcSuites12);
  }
  if (SSL_CTX_set_ciphersuites(context, kSuite13) != 1 ||
      SSL_CTX_set_cipher_list(context, suites.c_str()) != 1 ||
      SSL_CTX_set_dh_auto(context, 1) != 1 ||
      SSL_CTX_set_session_id_context(context, kSessionContext, sizeof kSessionContext) != 1) {
    return absl::InternalError(
        absl::StrCat("TLS with pre-shared keys cannot be set up: ", tls::TakeOpensslError()));
  }
  if (!psk) return absl::OkStatus();
  auto keys = std::make_unique<Keys>(set_up.keys);
  if (SSL_CTX_set_ex_data(context, KeysIndex(), keys.get()) != 1) {
    return absl::ResourceExhaustedError("no memory for pre-shared keys");
  }
  (void)keys.release();
  SSL_CTX_set_psk_server_callback(context, FindKey);
  SSL_CTX_set_psk_find_session_callback(context, FindSession);
  return absl::OkStatus();
}

std::optional<PskPeer> PskPeerOf(const SSL* ssl) {
  if (SSL_version(ssl) >= TLS1_3_VERSION) {
    SSL_SESSION* session = SSL_get_session(ssl);
    void* label = nullptr;
    size_t size = 0;
    if (session == nullptr || SSL_session_reused(ssl) != 1 ||
        SSL_SESSION_get0_ticket_appdata(session, &label, &size) != 1 || size == 0) {
      return std::nullopt;
    }
    return PeerOf({static_cast<const char*>(label), size});
  }
  const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl);
  if (cipher == nullptr || SSL_CIPHER_get_auth_nid(cipher) != NID_auth_psk) return std::nullopt;
  const auto* label = static_cast<const std::string*>(SSL_get_ex_data(ssl, PeerIndex()));
  return label != nullptr ? PeerOf(*label) : std::nullopt;
}

}  // namespace keyhop
