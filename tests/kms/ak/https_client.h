#ifndef KEYHOP_TESTS_KMS_AK_HTTPS_CLIENT_H_
#define KEYHOP_TESTS_KMS_AK_HTTPS_CLIENT_H_

#include <openssl/ssl.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "kms/tls/certificate.h"

namespace keyhop {

struct HttpsAnswer {
  int status = 0;
  std::map<std::string, std::string> headers;  // Lower-case names.
  std::string body;
};

// A blocking client that sends exactly the bytes it is told. Not thread-safe.
class HttpsClient {
 public:
  // Connects; without `files`, no TLS is spoken.
  explicit HttpsClient(uint16_t port, const std::optional<PemFiles>& files = {},
                       int tls_version = 0, const std::function<void(SSL_CTX*)>& set_up = {});
  ~HttpsClient();
  HttpsClient(const HttpsClient&) = delete;
  HttpsClient& operator=(const HttpsClient&) = delete;

  bool connected() const { return ssl_ != nullptr; }  // The TLS handshake went well.
  const char* suite() const { return ssl_ == nullptr ? "" : SSL_get_cipher_name(ssl_); }
  void Send(absl::string_view bytes);
  // The next answer; nothing if the connection ended before. `head`: without a body.
  std::optional<HttpsAnswer> Read(bool head = false);
  // The next `size` bytes, whatever they are; fewer if the connection ended before.
  std::string ReadBytes(size_t size);
  // Sends METHOD TARGET with Host and Content-Length, and reads the answer.
  std::optional<HttpsAnswer> Ask(absl::string_view method, absl::string_view target,
                                 absl::string_view body = {});
  // Whether the other end closes now, having sent nothing more.
  bool Ended();

 private:
  bool Fill();

  int fd_ = -1;
  SSL_CTX* ctx_ = nullptr;
  SSL* ssl_ = nullptr;
  std::string in_;
};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_KMS_AK_HTTPS_CLIENT_H_
