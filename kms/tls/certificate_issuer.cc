#include "kms/tls/certificate_issuer.h"

#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kms/base/status_macros.h"
#include "kms/crypto/base64.h"
#include "kms/tls/certificate.h"
#include "kms/tls/openssl_types.h"

namespace keyhop {
namespace {

using tls::BioPtr;
using tls::KeyPtr;
using tls::X509Ptr;
using BnPtr = std::unique_ptr<BIGNUM, tls::Freer<BN_free>>;
using Pkcs12Ptr = std::unique_ptr<PKCS12, tls::Freer<PKCS12_free>>;
struct StackFreer {
  // The certificates in it are owned by others.
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
};
using StackPtr = std::unique_ptr<STACK_OF(X509), StackFreer>;

constexpr unsigned kRsaBits = 3072;
constexpr int kSerialBits = 126;
constexpr size_t kCommonNameCharactersMax = 64;  // RFC 5280, ub-common-name.
constexpr size_t kPasswordBytes = 24;
constexpr long kClockSlackSeconds = 300;

absl::Status Failed(const std::string& path, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(path, ": ", what, ": ", tls::TakeOpensslError()));
}

absl::StatusOr<X509Ptr> ReadCert(const std::string& path) {
  const BioPtr in(BIO_new_file(path.c_str(), "r"));
  X509Ptr cert(in != nullptr ? PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr) : nullptr);
  if (cert == nullptr) return Failed(path, "expected a certificate (PEM)");
  return cert;
}

absl::StatusOr<KeyPtr> ReadKey(const std::string& path, X509* cert) {
  const BioPtr in(BIO_new_file(path.c_str(), "r"));
  KeyPtr key(in != nullptr ? PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr)
                           : nullptr);
  if (key == nullptr) return Failed(path, "expected a private key (PEM)");
  if (X509_check_private_key(cert, key.get()) != 1) {
    return Failed(path, "expected the private key of the certificate beside it");
  }
  return key;
}

// Writes through OpenSSL into a new file; the file appears whole or not at all.
absl::Status WriteNew(const std::string& path, mode_t mode,
                      const std::function<bool(BIO*)>& write) {
  const std::string partial = path + ".new";
  const int fd = open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || fchmod(fd, mode) != 0) {
    const std::string why = std::strerror(errno);
    if (fd >= 0) close(fd);
    return absl::InvalidArgumentError(absl::StrCat(partial, ": cannot be written: ", why));
  }
  const BioPtr out(BIO_new_fd(fd, BIO_NOCLOSE));
  const bool good = write(out.get()) && fsync(fd) == 0;
  close(fd);
  if (!good) return Failed(partial, "cannot be written");
  if (std::rename(partial.c_str(), path.c_str()) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": cannot be written: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

size_t Characters(absl::string_view utf8) {
  size_t count = 0;
  for (const char c : utf8) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80 ? 1 : 0;
  return count;
}

bool AddName(X509_NAME* name, const char* field, const std::string& value) {
  return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(value.data()),
                                    static_cast<int>(value.size()), /*loc=*/-1, /*set=*/0) == 1;
}

bool AddExtension(X509* cert, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, cert, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
  const bool good = extension != nullptr && X509_add_ext(cert, extension, /*loc=*/-1) == 1;
  X509_EXTENSION_free(extension);
  return good;
}

// The same fields as deploy/make-certs.sh gives.
absl::StatusOr<X509Ptr> Issue(const SaeFilesRequest& request, EVP_PKEY* key, X509* ca,
                              EVP_PKEY* ca_key) {
  X509Ptr cert(X509_new());
  const BnPtr serial(BN_new());
  X509_NAME* subject = X509_get_subject_name(cert.get());
  bool good =
      X509_set_version(cert.get(), X509_VERSION_3) == 1 &&
      BN_rand(serial.get(), kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
      BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(cert.get())) != nullptr &&
      X509_gmtime_adj(X509_getm_notBefore(cert.get()), -kClockSlackSeconds) != nullptr &&
      X509_time_adj_ex(X509_getm_notAfter(cert.get()), request.days, 0, nullptr) != nullptr &&
      X509_set_pubkey(cert.get(), key) == 1 && AddName(subject, "O", "Keyhop");
  if (Characters(request.id.value) <= kCommonNameCharactersMax) {
    good = good && AddName(subject, "CN", request.id.value);
  }
  good = good && X509_set_issuer_name(cert.get(), X509_get_subject_name(ca)) == 1 &&
         AddExtension(cert.get(), ca, NID_basic_constraints, "critical,CA:FALSE") &&
         AddExtension(cert.get(), ca, NID_key_usage, "critical,digitalSignature") &&
         AddExtension(cert.get(), ca, NID_ext_key_usage, "serverAuth,clientAuth") &&
         AddExtension(cert.get(), ca, NID_subject_key_identifier, "hash") &&
         (X509_get0_subject_key_id(ca) == nullptr ||
          AddExtension(cert.get(), ca, NID_authority_key_identifier, "keyid")) &&
         AddExtension(cert.get(), ca, NID_subject_alt_name,
                      absl::StrCat("URI:keyhop://sae/", PercentEncode(request.id.value))) &&
         X509_sign(cert.get(), ca_key, EVP_sha256()) > 0;
  if (!good) return Failed("certificate", "cannot be made");
  return cert;
}

bool WriteCert(BIO* out, X509* cert) { return PEM_write_bio_X509(out, cert) == 1; }

bool WritePkcs8(BIO* out, EVP_PKEY* key) {
  return PEM_write_bio_PKCS8PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr) == 1;
}

bool WriteTraditional(BIO* out, EVP_PKEY* key) {
  return PEM_write_bio_PrivateKey_traditional(out, key, nullptr, nullptr, 0, nullptr, nullptr) == 1;
}

// A random password, in base64, with the NUL that OpenSSL expects behind it.
absl::StatusOr<SecretText> MakePassword() {
  SecretBytes random(kPasswordBytes);
  const std::span<uint8_t> bytes = random.ExposeMutable(SecretAccess::ForCrypto());
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    return Failed("password", "no random bytes");
  }
  SecretText password;
  password.AppendBase64(random);
  password.Append(absl::string_view("", 1));
  return password;
}

// What is known of one SAE while its files are written.
struct Holder {
  const SaeFilesRequest& request;
  std::string folder;
  X509Ptr ca;
  X509Ptr cert = nullptr;
  KeyPtr key = nullptr;

  std::string Path(const char* name) const { return folder + "/" + name; }
};

absl::Status WriteBundle(const Holder& holder) {
  KEYHOP_ASSIGN_OR_RETURN(const SecretText password, MakePassword());
  const absl::string_view text = password.Expose(SecretAccess::ForCrypto());
  const StackPtr chain(sk_X509_new_null());
  sk_X509_push(chain.get(), holder.ca.get());
  // A friendly name is ASCII here: the encoded ID.
  const Pkcs12Ptr bundle(PKCS12_create(text.data(), PercentEncode(holder.request.id.value).c_str(),
                                       holder.key.get(), holder.cert.get(), chain.get(), 0, 0, 0, 0,
                                       0));
  if (bundle == nullptr) return Failed(holder.Path("sae.p12"), "cannot be made");
  // The password first: a bundle without it would be of no use.
  KEYHOP_RETURN_IF_ERROR(WriteNew(holder.Path("sae.p12.password"), 0600, [&](BIO* out) {
    const int size = static_cast<int>(text.size() - 1);
    return BIO_write(out, text.data(), size) == size;
  }));
  return WriteNew(holder.Path("sae.p12"), 0600,
                  [&](BIO* out) { return i2d_PKCS12_bio(out, bundle.get()) == 1; });
}

absl::Status MakeKeyAndCertificate(Holder& holder, bool& made) {
  const std::string key_path = holder.Path("sae.key"), cert_path = holder.Path("sae.crt");
  const bool has_key = access(key_path.c_str(), F_OK) == 0;
  const bool has_cert = access(cert_path.c_str(), F_OK) == 0;
  if (has_key && has_cert) {
    KEYHOP_ASSIGN_OR_RETURN(holder.cert, ReadCert(cert_path));
    KEYHOP_ASSIGN_OR_RETURN(holder.key, ReadKey(key_path, holder.cert.get()));
    return absl::OkStatus();
  }
  if (has_key != has_cert) {
    return absl::InvalidArgumentError(
        absl::StrCat(holder.folder,
                     ": expected sae.key and sae.crt or neither; one is missing: "
                     "remove the other to begin anew"));
  }
  const std::string ca_key_path = holder.request.pki + "/ca/sae-ca.key";
  KEYHOP_ASSIGN_OR_RETURN(const KeyPtr ca_key, ReadKey(ca_key_path, holder.ca.get()));
  holder.key.reset(holder.request.key_type == SaeKeyType::kRsa ? EVP_RSA_gen(kRsaBits)
                                                               : EVP_EC_gen("P-256"));
  if (holder.key == nullptr) return Failed(key_path, "no key could be made");
  KEYHOP_ASSIGN_OR_RETURN(holder.cert,
                          Issue(holder.request, holder.key.get(), holder.ca.get(), ca_key.get()));
  made = true;
  KEYHOP_RETURN_IF_ERROR(
      WriteNew(key_path, 0600, [&](BIO* out) { return WritePkcs8(out, holder.key.get()); }));
  return WriteNew(cert_path, 0644, [&](BIO* out) { return WriteCert(out, holder.cert.get()); });
}

absl::Status WriteForms(const Holder& holder, SaeFiles& out) {
  EVP_PKEY* key = holder.key.get();
  X509* cert = holder.cert.get();
  X509* ca = holder.ca.get();
  const bool rsa = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA;
  const struct {
    const char* name;
    mode_t mode;
    const char* what;
    std::function<bool(BIO*)> write;
  } forms[] = {
      {"sae.crt", 0644, "certificate, PEM", {}},
      {"sae.key", 0600, "private key, PKCS#8 PEM: curl, Python, Go, Rust, gRPC", {}},
      {rsa ? "sae.pkcs1.key" : "sae.sec1.key", 0600,
       rsa ? "the same key, PKCS#1 PEM (BEGIN RSA PRIVATE KEY): older and embedded clients"
           : "the same key, SEC 1 PEM (BEGIN EC PRIVATE KEY); for PKCS#1 make an RSA key",
       [&](BIO* bio) { return WriteTraditional(bio, key); }},
      {"sae.chain.crt", 0644, "certificate and its CA, PEM: clients that send a chain",
       [&](BIO* bio) { return WriteCert(bio, cert) && WriteCert(bio, ca); }},
      {"sae.pem", 0600, "key, certificate and CA in one PEM: HAProxy, stunnel, many scripts",
       [&](BIO* bio) {
         return WritePkcs8(bio, key) && WriteCert(bio, cert) && WriteCert(bio, ca);
       }},
  };
  for (const auto& form : forms) {
    const std::string path = holder.Path(form.name);
    out.files.push_back({path, form.what});
    if (access(path.c_str(), F_OK) == 0) continue;
    KEYHOP_RETURN_IF_ERROR(WriteNew(path, form.mode, form.write));
  }
  const std::string bundle = holder.Path("sae.p12");
  out.files.push_back({bundle, "key, certificate and CA, PKCS#12: Java, .NET, browsers"});
  out.files.push_back({holder.Path("sae.p12.password"), "its password"});
  if (access(bundle.c_str(), F_OK) == 0) return absl::OkStatus();
  return WriteBundle(holder);
}

// Held as long as the descriptor is open; make-certs.sh takes the same.
class FolderLock {
 public:
  explicit FolderLock(const std::string& path)
      : fd_(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)),
        held_(fd_ >= 0 && flock(fd_, LOCK_EX) == 0) {}
  ~FolderLock() {
    if (fd_ >= 0) close(fd_);
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  bool held() const { return held_; }

 private:
  const int fd_;
  const bool held_;
};

}  // namespace

std::string PercentEncode(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool plain = absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' ||
                       (c == '.' && i > 0);
    if (plain) {
      out.push_back(c);
    } else {
      absl::StrAppendFormat(&out, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return out;
}

absl::StatusOr<SaeFiles> MakeSaeFiles(const SaeFilesRequest& request) {
  const std::string ca_path = request.pki + "/sae-ca.crt";
  if (access(ca_path.c_str(), R_OK) != 0) {
    return absl::NotFoundError(absl::StrCat(
        ca_path, ": expected the CA for SAEs; deploy/make-certs.sh ", request.pki, " makes it"));
  }
  const FolderLock lock(request.pki + "/ca/.lock");
  if (!lock.held()) {
    return absl::InvalidArgumentError(
        absl::StrCat(request.pki, "/ca/.lock: cannot be locked: ", std::strerror(errno)));
  }
  KEYHOP_ASSIGN_OR_RETURN(X509Ptr ca, ReadCert(ca_path));
  Holder holder{.request = request,
                .folder = absl::StrCat(request.pki, "/saes/", PercentEncode(request.id.value)),
                .ca = std::move(ca)};
  std::error_code error;
  std::filesystem::create_directories(holder.folder, error);
  if (error) {
    return absl::InvalidArgumentError(absl::StrCat(holder.folder, ": ", error.message()));
  }
  SaeFiles out;
  KEYHOP_RETURN_IF_ERROR(MakeKeyAndCertificate(holder, out.made));
  KEYHOP_RETURN_IF_ERROR(WriteForms(holder, out));
  return out;
}

}  // namespace keyhop
