#include "kms/ak/http.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace keyhop {

std::string HttpDate(std::time_t now) {
  std::tm parts = {};
  gmtime_r(&now, &parts);
  char text[64];
  return std::string(text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts));
}

std::string WriteHead(const HttpAnswer& answer, const HeadFacts& facts) {
  std::string head = absl::StrCat("HTTP/1.1 ", answer.status, " ", facts.reason,
                                  "\r\nDate: ", facts.date, "\r\nCache-Control: no-store\r\n");
  if (!answer.content_type.empty()) {
    absl::StrAppend(&head, "Content-Type: ", answer.content_type, "\r\n");
  }
  // RFC 9110 §8.6.
  if (answer.status != 204) absl::StrAppend(&head, "Content-Length: ", facts.body_bytes, "\r\n");
  for (const auto& [name, value] : answer.headers) {
    absl::StrAppend(&head, name, ": ", value, "\r\n");
  }
  if (!facts.keep_alive) absl::StrAppend(&head, "Connection: close\r\n");
  if (facts.keep_alive && facts.http_1_0) absl::StrAppend(&head, "Connection: keep-alive\r\n");
  absl::StrAppend(&head, "\r\n");
  return head;
}

absl::Status BadListenAddress(absl::string_view listen) {
  return absl::InvalidArgumentError(
      absl::StrCat("listen address '", listen, "': expected IP:PORT or [IPv6]:PORT"));
}

absl::StatusOr<ListenAddress> ReadListenAddress(absl::string_view listen) {
  const size_t colon = listen.rfind(':');
  if (colon == absl::string_view::npos) return BadListenAddress(listen);
  absl::string_view ip = listen.substr(0, colon);
  if (ip.size() > 2 && ip.front() == '[' && ip.back() == ']') ip = ip.substr(1, ip.size() - 2);
  unsigned port = 0;
  if (!absl::SimpleAtoi(listen.substr(colon + 1), &port) || port > 65535) {
    return BadListenAddress(listen);
  }
  return ListenAddress{.ip = std::string(ip), .port = static_cast<uint16_t>(port)};
}

}  // namespace keyhop
