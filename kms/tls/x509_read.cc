#include "kms/tls/x509_read.h"

#include <openssl/pem.h>

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace keyhop::tls {

absl::StatusOr<std::string> ReadFile(const std::string& path, absl::string_view expected) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf())) {
    return absl::NotFoundError(absl::StrCat(path, ": expected ", expected, ": cannot be read"));
  }
  return text.str();
}

X509Ptr ReadX509(absl::string_view bytes) {
  const BioPtr in(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
  X509Ptr certificate(PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr));
  if (certificate == nullptr) {
    const auto* der = reinterpret_cast<const unsigned char*>(bytes.data());
    certificate.reset(d2i_X509(nullptr, &der, static_cast<long>(bytes.size())));
  }
  ERR_clear_error();
  return certificate;
}

std::string TextOf(BIO* out) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(out, &data);
  return size > 0 ? std::string(data, static_cast<size_t>(size)) : std::string();
}

std::string TimeText(const ASN1_TIME* time) {
  const BioPtr out(BIO_new(BIO_s_mem()));
  ASN1_TIME_print(out.get(), time);
  return TextOf(out.get());
}

}  // namespace keyhop::tls
