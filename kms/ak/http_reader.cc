#include "kms/ak/http_reader.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kms/ak/answer_writer.h"

namespace keyhop {

namespace http = boost::beast::http;
using boost::system::error_code;

namespace {

constexpr size_t kLastChunkBytes = 5;  // "0", two line ends.

}  // namespace

class HttpReader::Impl {
 public:
  Impl(size_t header_max, size_t body_max)
      : header_max_bytes(header_max), body_max_bytes(body_max) {
    Next();
  }

  void Next() {
    parser.emplace();
    parser->body_limit(body_max_bytes);
    parser->header_limit(static_cast<uint32_t>(header_max_bytes));
    state = State::kHead;
  }

  void Refuse(int status, std::string message) {
    state = State::kRefused;
    refusal = {.status = status, .body = WriteRefusal({.message = std::move(message)})};
  }

  void Refuse(error_code error) {
    if (error == http::error::body_limit) {
      return Refuse(413, absl::StrCat("the body is longer than ", body_max_bytes, " bytes"));
    }
    if (error == http::error::header_limit) {
      return Refuse(431, absl::StrCat("the header is longer than ", header_max_bytes, " bytes"));
    }
    Refuse(400, "this is not an HTTP/1.1 request");
  }

  void CheckHead() {
    const auto& head = parser->get();
    if (head.version() >= 11 && head.count(http::field::host) != 1) {
      return Refuse(400, "one Host header is required");
    }
    // Its end could not be known, and what follows would be taken for a request (RFC 9112 §6.3).
    if (head.count(http::field::transfer_encoding) > 0 &&
        (!parser->chunked() || head.version() < 11)) {
      return Refuse(400, "Transfer-Encoding shall be chunked");
    }
    const auto expect = head[http::field::expect];
    if (!expect.empty() && !boost::beast::iequals(expect, "100-continue")) {
      return Refuse(417, "only 100-continue can be expected");
    }
    state = State::kBody;
  }

  size_t Take(absl::string_view bytes) {
    if (state == State::kWhole || state == State::kRefused) return 0;
    // This Beast aborts when the last chunk comes in smaller pieces. At least so many bytes are
    // still to come of any chunked body that is not whole.
    if (state == State::kBody && parser->chunked() && bytes.size() < kLastChunkBytes) return 0;
    error_code error;
    const size_t taken = parser->put(boost::asio::const_buffer(bytes.data(), bytes.size()), error);
    if (error == http::error::need_more) {
      // The header has its limit; chunks and trailers are only taken as a whole line or block.
      if (taken == 0 && bytes.size() >= header_max_bytes && state == State::kBody) {
        Refuse(http::error::header_limit);
      }
      return taken;
    }
    if (error) {
      Refuse(error);
      return taken;
    }
    if (state == State::kHead && parser->is_header_done()) CheckHead();
    if (state == State::kBody && parser->is_done()) state = State::kWhole;
    return taken;
  }

  const size_t header_max_bytes;
  const size_t body_max_bytes;
  std::optional<http::request_parser<http::string_body>> parser;
  State state = State::kHead;
  HttpAnswer refusal;
};

HttpReader::HttpReader(size_t header_max_bytes, size_t body_max_bytes)
    : impl_(std::make_unique<Impl>(header_max_bytes, body_max_bytes)) {}
HttpReader::~HttpReader() = default;

void HttpReader::Next() { impl_->Next(); }
size_t HttpReader::Take(absl::string_view bytes) { return impl_->Take(bytes); }
HttpReader::State HttpReader::state() const { return impl_->state; }
bool HttpReader::keep_alive() const { return impl_->parser->get().keep_alive(); }
bool HttpReader::http_1_0() const { return impl_->parser->get().version() < 11; }
bool HttpReader::is_head() const { return impl_->parser->get().method() == http::verb::head; }
const HttpAnswer& HttpReader::refusal() const { return impl_->refusal; }

bool HttpReader::wants_continue() const {
  return !http_1_0() && !impl_->parser->get()[http::field::expect].empty();
}

HttpRequest HttpReader::TakeRequest() {
  auto& message = impl_->parser->get();
  HttpRequest request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  request.content_type = std::string(message[http::field::content_type]);
  // Several of that name are no key that anybody meant: joined by a line break they are refused.
  const auto keys = message.equal_range("Idempotency-Key");
  for (auto it = keys.first; it != keys.second; ++it) {
    std::string& key = request.idempotency_key ? * request.idempotency_key += '\n'
                                               : request.idempotency_key.emplace();
    key.append(it->value().data(), it->value().size());
  }
  request.body = std::move(message.body());
  return request;
}

absl::string_view HttpReason(int status) {
  const auto text = http::obsolete_reason(static_cast<http::status>(status));
  return {text.data(), text.size()};
}

}  // namespace keyhop
