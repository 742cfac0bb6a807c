#ifndef KEYHOP_KMS_TLS_CERTIFICATE_ISSUER_H_
#define KEYHOP_KMS_TLS_CERTIFICATE_ISSUER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kms/core/types.h"

// Keys and certificates of SAEs by the CA of a lab: the folder that deploy/make-certs.sh made.

namespace keyhop {

enum class SaeKeyType {
  kRsa,  // 3072 bits: what every client takes.
  kEc,   // P-256: quicker.
};

struct SaeFilesRequest {
  std::string pki;  // With sae-ca.crt and ca/sae-ca.key.
  SaeId id;
  SaeKeyType key_type = SaeKeyType::kRsa;
  int days = 825;  // How long the certificate is valid.
};

struct SaeFile {
  std::string path;
  std::string what;  // The form, and who wants it.
};

struct SaeFiles {
  bool made = false;  // False: key and certificate were there; only forms that lacked were made.
  std::vector<SaeFile> files;
};

// Makes PKI/saes/ID (percent-encoded as make-certs.sh does) with a key, its certificate (URI SAN
// keyhop://sae/ID, CN = ID where it fits) and every form of them that clients ask for. Whatever
// holds a private key has mode 0600. Files that are there stay; a key and certificate that
// make-certs.sh made are used. At most one caller works in a folder at a time.
//
// INVALID_ARGUMENT and NOT_FOUND name the file, what was expected, and what to do.
absl::StatusOr<SaeFiles> MakeSaeFiles(const SaeFilesRequest& request);

// All but letters, digits, `-`, `_` and `.`, and a leading dot, as %XX: a file name, and the ID
// part of a keyhop:// URI.
std::string PercentEncode(absl::string_view text);

}  // namespace keyhop

#endif  // KEYHOP_KMS_TLS_CERTIFICATE_ISSUER_H_
