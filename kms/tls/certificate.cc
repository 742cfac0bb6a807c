#include "kms/tls/certificate.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/base/status_macros.h"
#include "kms/tls/x509_read.h"

namespace keyhop {
namespace {

using tls::BioPtr;
using tls::KeyPtr;
using tls::NamesPtr;
using tls::TakeOpensslError;
using tls::X509Ptr;

constexpr size_t kPemBytesMax = 4u << 20;

std::string NameText(const X509_NAME* name) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  // Escapes control characters, so that a name cannot forge a line of a log; leaves UTF-8.
  X509_NAME_print_ex(out.get(), name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
  return tls::TextOf(out.get());
}

std::string SerialText(const ASN1_INTEGER* serial) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  i2a_ASN1_INTEGER(out.get(), serial);
  return tls::TextOf(out.get());
}

std::string RawText(const ASN1_STRING* text) {
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                     static_cast<size_t>(ASN1_STRING_length(text)));
}

std::vector<std::string> SubjectValues(const X509_NAME* subject, int nid) {
  std::vector<std::string> values;
  for (int i = -1; (i = X509_NAME_get_index_by_NID(subject, nid, i)) >= 0;) {
    unsigned char* utf8 = nullptr;
    const ASN1_STRING* data = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i));
    const int size = ASN1_STRING_to_UTF8(&utf8, data);
    if (size < 0) continue;
    values.emplace_back(reinterpret_cast<const char*>(utf8), static_cast<size_t>(size));
    OPENSSL_free(utf8);
  }
  return values;
}

std::string IpText(const ASN1_OCTET_STRING* address) {
  char text[INET6_ADDRSTRLEN] = {};
  const int size = ASN1_STRING_length(address);
  if (size != 4 && size != 16) return "";
  inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text, sizeof(text));
  return text;
}

void AddAlternativeNames(X509* certificate, CertificateFacts& facts) {
  const NamesPtr names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  ERR_clear_error();
  if (names == nullptr) return;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    switch (name->type) {
      case GEN_URI:
        facts.uri_sans.push_back(RawText(name->d.uniformResourceIdentifier));
        break;
      case GEN_DNS:
        facts.dns_sans.push_back(RawText(name->d.dNSName));
        break;
      case GEN_EMAIL:
        facts.email_sans.push_back(RawText(name->d.rfc822Name));
        break;
      case GEN_IPADD:
        facts.ip_sans.push_back(IpText(name->d.iPAddress));
        break;
      default:
        break;
    }
  }
}

absl::StatusOr<X509Ptr> Parse(absl::string_view bytes, const std::string& name) {
  if (bytes.size() > kPemBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": larger than ", kPemBytesMax, " bytes"));
  }
  X509Ptr certificate = tls::ReadX509(bytes);
  if (certificate == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": expected an X.509 certificate, PEM or DER"));
  }
  return certificate;
}

absl::Status CheckTime(X509* certificate, const std::string& path) {
  const ASN1_TIME* from = X509_get0_notBefore(certificate);
  const ASN1_TIME* until = X509_get0_notAfter(certificate);
  if (X509_cmp_current_time(from) < 0 && X509_cmp_current_time(until) > 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(Describe(FactsOf(certificate, path)),
                                                    ": valid from ", tls::TimeText(from), " until ",
                                                    tls::TimeText(until), ", which is not now"));
}

absl::Status CheckKey(X509* certificate, const PemFiles& files) {
  // The key is read from the file by OpenSSL itself: it never is a string of ours.
  const BioPtr in(BIO_new_file(files.key.c_str(), "r"));
  if (in == nullptr) {
    ERR_clear_error();
    return absl::NotFoundError(
        absl::StrCat(files.key, ": expected the private key of ", files.cert, ": cannot be read"));
  }
  const KeyPtr key(PEM_read_bio_PrivateKey(in.get(), nullptr, nullptr, nullptr));
  if (key == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        files.key, ": expected a private key in PEM without a pass phrase: ", TakeOpensslError()));
  }
  if (X509_check_private_key(certificate, key.get()) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError(absl::StrCat(files.key, ": expected the private key of ",
                                                   Describe(FactsOf(certificate, files.cert)),
                                                   "; it belongs to another one"));
  }
  return absl::OkStatus();
}

}  // namespace

CertificateFacts FactsOf(X509* certificate, const std::string& name) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  CertificateFacts facts{.name = name,
                         .subject = NameText(subject),
                         .issuer = NameText(X509_get_issuer_name(certificate)),
                         .serial_number = SerialText(X509_get0_serialNumber(certificate))};
  facts.common_names = SubjectValues(subject, NID_commonName);
  facts.subject_serial_numbers = SubjectValues(subject, NID_serialNumber);
  AddAlternativeNames(certificate, facts);
  return facts;
}

absl::StatusOr<CertificateFacts> ReadCertificate(absl::string_view bytes, const std::string& name) {
  KEYHOP_ASSIGN_OR_RETURN(const X509Ptr certificate, Parse(bytes, name));
  return FactsOf(certificate.get(), name);
}

absl::StatusOr<CertificateFacts> ReadCertificateFile(const std::string& path) {
  KEYHOP_ASSIGN_OR_RETURN(const std::string bytes, tls::ReadFile(path, "an X.509 certificate"));
  return ReadCertificate(bytes, path);
}

absl::StatusOr<CertificateFacts> PeerCertificate(const SSL* ssl) {
  const X509Ptr certificate(SSL_get1_peer_certificate(ssl));
  if (certificate == nullptr) {
    return absl::UnauthenticatedError("expected a client certificate; none was sent");
  }
  return FactsOf(certificate.get(), "client certificate");
}

std::string Describe(const CertificateFacts& facts) {
  return absl::StrCat(facts.name, " (subject \"", facts.subject, "\", issued by \"", facts.issuer,
                      "\", serial ", facts.serial_number, ")");
}

absl::Status CheckPemFiles(const PemFiles& files) {
  KEYHOP_ASSIGN_OR_RETURN(const std::string cert, tls::ReadFile(files.cert, "a certificate (PEM)"));
  KEYHOP_ASSIGN_OR_RETURN(const X509Ptr certificate, Parse(cert, files.cert));
  KEYHOP_RETURN_IF_ERROR(CheckTime(certificate.get(), files.cert));
  KEYHOP_RETURN_IF_ERROR(CheckKey(certificate.get(), files));
  KEYHOP_ASSIGN_OR_RETURN(const std::string store,
                          tls::ReadFile(files.peer_ca, "a trust store: CA certificates (PEM)"));
  KEYHOP_ASSIGN_OR_RETURN(const X509Ptr ca, Parse(store, files.peer_ca));
  if (X509_check_ca(ca.get()) == 0) {
    return absl::InvalidArgumentError(absl::StrCat(Describe(FactsOf(ca.get(), files.peer_ca)),
                                                   ": expected the certificate of a CA"));
  }
  return CheckTime(ca.get(), files.peer_ca);
}

}  // namespace keyhop
