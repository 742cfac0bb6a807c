#ifndef KEYHOP_KMS_AK_HTTP_READER_H_
#define KEYHOP_KMS_AK_HTTP_READER_H_

#include <cstddef>
#include <memory>

#include "absl/strings/string_view.h"
#include "kms/ak/http.h"

namespace keyhop {

// Reads HTTP/1.1 and 1.0 requests (RFC 9112) out of bytes as they come, without their transport.
// What could be read in two ways (two lengths, a transfer coding that is not chunked at its end,
// not exactly one Host) is refused. Nothing that it keeps grows beyond the two limits: the header,
// the extension of a chunk and the trailers have `header_max_bytes` each.
//
// Not thread-safe.
class HttpReader {
 public:
  enum class State { kHead, kBody, kWhole, kRefused };

  HttpReader(size_t header_max_bytes, size_t body_max_bytes);
  ~HttpReader();
  HttpReader(const HttpReader&) = delete;
  HttpReader& operator=(const HttpReader&) = delete;

  // Begins with the next request.
  void Next();
  // Takes bytes from the front and says how many. 0: more are needed behind these, or the request
  // is whole or refused. At the end of the header it stops once.
  size_t Take(absl::string_view bytes);
  State state() const;

  // Known once the header was read.
  bool keep_alive() const;
  bool http_1_0() const;
  bool is_head() const;
  bool wants_continue() const;
  // Of a whole request, once; without `caller`.
  HttpRequest TakeRequest();
  // What to answer to a refused one; the connection cannot go on.
  const HttpAnswer& refusal() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// The words for a status code, as in a status line.
absl::string_view HttpReason(int status);

}  // namespace keyhop

#endif  // KEYHOP_KMS_AK_HTTP_READER_H_
