#include "kms/tls/verification.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kms/crypto/trust_store.h"
#include "kms/tls/certificate.h"
#include "kms/tls/x509_read.h"

namespace keyhop {
namespace {

using tls::BioPtr;
using tls::TimeText;
using tls::X509Ptr;
using StorePtr = std::unique_ptr<X509_STORE, tls::Freer<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, tls::Freer<X509_STORE_CTX_free>>;
struct StackFreer {
  void operator()(STACK_OF(X509) * stack) const { sk_X509_pop_free(stack, X509_free); }
};
using StackPtr = std::unique_ptr<STACK_OF(X509), StackFreer>;

constexpr int kNamesMax = 4;
constexpr size_t kTextBytesMax = 900;
constexpr char kOtherKey[] = "the client has another key";

std::string Bounded(std::string text) {
  if (text.size() > kTextBytesMax) text.replace(kTextBytesMax, std::string::npos, "...");
  return text;
}

std::string Quoted(absl::string_view text) {
  return absl::StrCat("\"", absl::Utf8SafeCEscape(text.substr(0, 200)), "\"");
}

std::string Now() {
  ASN1_TIME* now = X509_gmtime_adj(nullptr, 0);
  std::string text = TimeText(now);
  ASN1_TIME_free(now);
  return text;
}

// The subjects of the CAs in a trust store; whether one of them is `issuer`.
struct Authorities {
  std::string names;
  bool has_issuer = false;
};

Authorities AuthoritiesOf(X509_STORE* store, const std::string& issuer) {
  Authorities found;
  std::vector<std::string> names;
  const StackPtr all(store != nullptr ? X509_STORE_get1_all_certs(store) : nullptr);
  const int count = all != nullptr ? sk_X509_num(all.get()) : 0;
  for (int i = 0; i < count; ++i) {
    const std::string subject = FactsOf(sk_X509_value(all.get(), i), "").subject;
    found.has_issuer |= subject == issuer;
    if (i < kNamesMax) names.push_back(Quoted(subject));
  }
  if (count > kNamesMax) names.push_back(absl::StrCat(count - kNamesMax, " more"));
  found.names = names.empty() ? "none" : absl::StrJoin(names, ", ");
  return found;
}

std::string Purposes(X509* certificate) {
  std::vector<std::string> found;
  auto* usages = static_cast<EXTENDED_KEY_USAGE*>(
      X509_get_ext_d2i(certificate, NID_ext_key_usage, nullptr, nullptr));
  ERR_clear_error();
  for (int i = 0; usages != nullptr && i < sk_ASN1_OBJECT_num(usages); ++i) {
    char text[80];
    OBJ_obj2txt(text, sizeof text, sk_ASN1_OBJECT_value(usages, i), 0);
    found.emplace_back(text);
  }
  sk_ASN1_OBJECT_pop_free(usages, ASN1_OBJECT_free);
  return found.empty() ? "none" : absl::StrJoin(found, ", ");
}

std::string WrongIssuer(X509_STORE_CTX* context, const CertificateFacts& facts,
                        const std::string& store) {
  const Authorities known = AuthoritiesOf(X509_STORE_CTX_get0_store(context), facts.issuer);
  if (facts.subject == facts.issuer) {
    return absl::StrCat("issuer: expected a CA in ", store, " (", known.names,
                        "); found a certificate that signed itself");
  }
  if (known.has_issuer) {
    return absl::StrCat("issuer: the CA of that name in ", store,
                        " has another key (authorityKeyIdentifier): expected a certificate that "
                        "this CA issued, or the issuer's certificate in the trust store");
  }
  return absl::StrCat("issuer: expected a CA in ", store, " (", known.names, "); found ",
                      Quoted(facts.issuer));
}

// Of the error that a verification is at.
std::string Explain(X509_STORE_CTX* context, const std::string& name, const std::string& store) {
  X509* certificate = X509_STORE_CTX_get_current_cert(context);
  const int error = X509_STORE_CTX_get_error(context);
  if (certificate == nullptr) return X509_verify_cert_error_string(error);
  const int depth = X509_STORE_CTX_get_error_depth(context);
  const CertificateFacts facts = FactsOf(
      certificate, depth == 0 ? name : absl::StrCat("certificate ", depth, " above ", name));
  const auto told = [&](const std::string& what) {
    return absl::StrCat(Describe(facts), ": ", what);
  };
  switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return told(WrongIssuer(context, facts, store));
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return told(
          absl::StrCat("signature: expected one by the key of the CA of that name in ", store));
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return told(absl::StrCat("notBefore: expected a time before now, ", Now(), "; found ",
                               TimeText(X509_get0_notBefore(certificate))));
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return told(absl::StrCat("notAfter: expected a time after now, ", Now(), "; found ",
                               TimeText(X509_get0_notAfter(certificate))));
    case X509_V_ERR_INVALID_PURPOSE:
      return told(absl::StrCat(
          "extendedKeyUsage and keyUsage: expected clientAuth (at a server: serverAuth) with "
          "digitalSignature; found extendedKeyUsage ",
          Purposes(certificate)));
    case X509_V_ERR_CERT_REVOKED:
      return told(absl::StrCat("serialNumber: revoked, says a CRL in ", store));
    case X509_V_ERR_UNABLE_TO_GET_CRL:
      return told(absl::StrCat("issuer: expected a CRL of ", Quoted(facts.issuer), " in ", store,
                               ", which has CRLs of others"));
    case X509_V_ERR_CRL_HAS_EXPIRED:
      return told(absl::StrCat("issuer: its CRL in ", store, " is out of date: renew it"));
    case X509_V_ERR_INVALID_CA:
      return told("basicConstraints: expected CA:TRUE in a certificate that issues others");
    default:
      return told(X509_verify_cert_error_string(error));
  }
}

// --- What a handshake noted -------------------------------------------------------------------

int ContextIndex() {
  static const int index =
      SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, tls::FreeExData<std::string>);
  return index;
}

int ConnectionIndex() {
  static const int index =
      SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, tls::FreeExData<std::string>);
  return index;
}

int OfferIndex() {
  static const int index =
      SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, tls::FreeExData<std::string>);
  return index;
}

const std::string& StoreOf(const SSL* ssl) {
  static const auto* unnamed = new std::string("the trust store");
  const auto* store =
      static_cast<const std::string*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), ContextIndex()));
  return store != nullptr ? *store : *unnamed;
}

int Note(int good, X509_STORE_CTX* context) {
  if (good == 1) return good;
  auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx()));
  if (ssl == nullptr || SSL_get_ex_data(ssl, ConnectionIndex()) != nullptr) return good;
  auto text =
      std::make_unique<std::string>(Bounded(Explain(context, "client certificate", StoreOf(ssl))));
  if (SSL_set_ex_data(ssl, ConnectionIndex(), text.get()) == 1) {
    (void)text.release();
  }
  return good;
}

std::string AuthorityNames(const SSL* ssl) {
  std::vector<std::string> names;
  const STACK_OF(X509_NAME)* all = SSL_get_client_CA_list(ssl);
  for (int i = 0; all != nullptr && i < sk_X509_NAME_num(all) && i < kNamesMax; ++i) {
    const BioPtr out(BIO_new(BIO_s_mem()));
    X509_NAME_print_ex(out.get(), sk_X509_NAME_value(all, i), 0, XN_FLAG_RFC2253);
    names.push_back(absl::StrCat("\"", tls::TextOf(out.get()), "\""));
  }
  return names.empty() ? "none" : absl::StrJoin(names, ", ");
}

// RFC 8446 §6: what a client says by an alert is about our certificate, or about what we offer.
std::string ExplainAlert(const SSL* ssl, int reason) {
  X509* own = SSL_get_certificate(ssl);
  const std::string ours =
      own != nullptr ? Describe(FactsOf(own, "this node's certificate")) : "this node";
  switch (reason) {
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
      return absl::StrCat("the client refuses ", ours,
                          ": unknown CA: expected that issuer in the client's trust store");
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
      return absl::StrCat(
          "the client refuses ", ours,
          ": expected its trust store to hold that issuer and the host name that it "
          "dialled to be among the DNS and IP subject alternative names");
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
      return absl::StrCat("the client refuses ", ours, ": expired, by the client's clock");
    default:
      return "";
  }
}

std::string ExplainError(const SSL* ssl, unsigned long error) {
  const int reason = ERR_GET_REASON(error);
  const char* text = ERR_reason_error_string(error);
  const std::string said = text != nullptr ? text : "unknown reason";
  switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return absl::StrCat("client certificate: expected one issued by a CA in ", StoreOf(ssl), " (",
                          AuthorityNames(ssl), "); none was sent");
    case SSL_R_HTTP_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER:
      return absl::StrCat("expected a TLS handshake (https://); found something else (", said, ")");
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
      return "protocol version: expected TLS 1.2 or 1.3; the client offers older ones only";
    case SSL_R_NO_SHARED_CIPHER:
      return "cipher suites: none that the client offers is allowed here";
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
      return "key agreement groups: none that the client offers is among tls.groups";
    default:
      break;
  }
  const std::string alert = ExplainAlert(ssl, reason);
  return alert.empty() ? said : alert;
}

// What an error means to a client that offered a pre-shared key; null: nothing special.
const char* ExplainPsk(unsigned long error) {
  // What a cipher says of a record that it cannot open: TLS 1.2 notices a wrong key there.
  if (ERR_GET_LIB(error) == ERR_LIB_PROV) return kOtherKey;
  switch (ERR_GET_REASON(error)) {
    case SSL_R_BINDER_DOES_NOT_VERIFY:
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
    case SSL_R_DIGEST_CHECK_FAILED:
      return kOtherKey;
    case SSL_R_BAD_EXTENSION:
      return "expected a key that the client uses with SHA-384 (TLS_AES_256_GCM_SHA384)";
    default:
      return nullptr;
  }
}

// What went wrong, without what was offered.
std::string ExplainWhat(const SSL* ssl, unsigned long error) {
  const auto* noted = static_cast<const std::string*>(SSL_get_ex_data(ssl, ConnectionIndex()));
  if (noted != nullptr) return *noted;
  if (error != 0) return Bounded(ExplainError(ssl, error));
  if (SSL_in_before(ssl) == 1) return "";
  return absl::StrCat("the client ended the connection in the handshake, at ",
                      SSL_state_string_long(ssl));
}

absl::Status BadStore(const std::string& store) {
  return absl::InvalidArgumentError(
      absl::StrCat(store, ": expected CA certificates (PEM): ", tls::TakeOpensslError()));
}

// The first certificate and those behind it.
StackPtr ReadChain(absl::string_view bytes) {
  StackPtr chain(sk_X509_new_null());
  const BioPtr in(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
  while (X509* next = PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)) {
    sk_X509_push(chain.get(), next);
  }
  if (sk_X509_num(chain.get()) == 0) {
    const auto* der = reinterpret_cast<const unsigned char*>(bytes.data());
    X509* only = d2i_X509(nullptr, &der, static_cast<long>(bytes.size()));
    if (only != nullptr) sk_X509_push(chain.get(), only);
  }
  ERR_clear_error();
  return chain;
}

}  // namespace

void NoteVerification(SSL_CTX* context, const std::string& store) {
  auto name = std::make_unique<std::string>(store);
  if (SSL_CTX_set_ex_data(context, ContextIndex(), name.get()) == 1) {
    (void)name.release();
  }
  SSL_CTX_set_verify(context, SSL_CTX_get_verify_mode(context), Note);
}

void NoteOffer(SSL* ssl, std::string text) {
  auto owned = std::make_unique<std::string>(Bounded(std::move(text)));
  delete static_cast<std::string*>(SSL_get_ex_data(ssl, OfferIndex()));
  if (SSL_set_ex_data(ssl, OfferIndex(), owned.get()) == 1) {
    (void)owned.release();
  } else {
    SSL_set_ex_data(ssl, OfferIndex(), nullptr);
  }
}

std::string ExplainFailedHandshake(const SSL* ssl, unsigned long error) {
  const auto* offer = static_cast<const std::string*>(SSL_get_ex_data(ssl, OfferIndex()));
  if (offer == nullptr) return ExplainWhat(ssl, error);
  const char* psk = ExplainPsk(error);
  return absl::StrCat(*offer, ": ", psk != nullptr ? psk : ExplainWhat(ssl, error));
}

absl::Status VerifyCertificate(absl::string_view bytes, const std::string& name,
                               const std::string& store, TlsRole role) {
  const StackPtr chain = ReadChain(bytes);
  if (sk_X509_num(chain.get()) == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": expected an X.509 certificate, PEM or DER"));
  }
  const StorePtr trusted(X509_STORE_new());
  if (X509_STORE_load_file(trusted.get(), store.c_str()) != 1) return BadStore(store);
  RequireStrengthAndRevocation(trusted.get());
  const StoreContextPtr context(X509_STORE_CTX_new());
  if (X509_STORE_CTX_init(context.get(), trusted.get(), sk_X509_value(chain.get(), 0),
                          chain.get()) != 1) {
    return BadStore(store);
  }
  X509_STORE_CTX_set_default(context.get(), role == TlsRole::kClient ? "ssl_client" : "ssl_server");
  const bool good = X509_verify_cert(context.get()) == 1;
  ERR_clear_error();
  if (good) return absl::OkStatus();
  return absl::UnauthenticatedError(Bounded(Explain(context.get(), name, store)));
}

}  // namespace keyhop
