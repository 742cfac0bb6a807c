#ifndef KEYHOP_KMS_TLS_CERTIFICATE_H_
#define KEYHOP_KMS_TLS_CERTIFICATE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// What the rest of the program wants to know of an X.509 certificate (RFC 5280), without OpenSSL's
// types. Nothing here says that a certificate is to be trusted: the TLS handshake does.

typedef struct x509_st X509;
typedef struct ssl_st SSL;

namespace keyhop {

struct CertificateFacts {
  std::string name;           // What it is called in errors: a file, or "client certificate".
  std::string subject;        // RFC 2253.
  std::string issuer;         // RFC 2253.
  std::string serial_number;  // Upper-case hex.
  std::vector<std::string> common_names = {};
  std::vector<std::string> subject_serial_numbers = {};
  std::vector<std::string> uri_sans = {};
  std::vector<std::string> dns_sans = {};
  std::vector<std::string> ip_sans = {};  // As text.
  std::vector<std::string> email_sans = {};
};

// Reads the first certificate of `bytes`, PEM or DER. INVALID_ARGUMENT names `name`.
absl::StatusOr<CertificateFacts> ReadCertificate(absl::string_view bytes, const std::string& name);
absl::StatusOr<CertificateFacts> ReadCertificateFile(const std::string& path);

// The certificate must not be null; it is only read.
CertificateFacts FactsOf(X509* certificate, const std::string& name);

// The certificate of the other end of a finished handshake; UNAUTHENTICATED if it sent none.
absl::StatusOr<CertificateFacts> PeerCertificate(const SSL* ssl);

// "client certificate (subject "CN=a", issued by "CN=Keyhop SAE CA", serial 0A)".
std::string Describe(const CertificateFacts& facts);

// A program's own certificate (with its chain), its private key, and the certificates of those who
// may vouch for the other end. Paths of PEM files.
struct PemFiles {
  std::string cert;
  std::string key;
  std::string peer_ca;
};

// Finds, before anything listens, what would make every handshake fail: a file that cannot be read
// or holds no PEM of its kind, a key of another certificate, a certificate out of its time. The
// error names the file, what was expected and who issued the certificate.
absl::Status CheckPemFiles(const PemFiles& files);

}  // namespace keyhop

#endif  // KEYHOP_KMS_TLS_CERTIFICATE_H_
