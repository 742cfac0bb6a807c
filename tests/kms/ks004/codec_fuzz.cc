// Whatever a client sends: it is read or refused, and never more of it than is there.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "kms/ks004/codec.h"
#include "kms/ks004/sae_uri.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace keyhop;
  if (size < kHeaderBytes) return 0;
  std::array<uint8_t, kHeaderBytes> head = {};
  std::copy(data, data + kHeaderBytes, head.begin());
  const auto header = ParseStreamHeader(head);
  if (!header.ok()) return 0;
  const auto message = ParseStreamMessage(*header, {data + kHeaderBytes, size - kHeaderBytes});
  if (!message.ok()) return 0;
  if (const auto* open = std::get_if<OpenMessage>(&*message)) {
    for (const std::string& uri : {open->source, open->destination}) {
      if (const auto sae = SaeOfUri(uri); sae && sae->empty()) std::abort();
    }
    KeystreamAnswer answer;
    answer.qos = open->qos;
    if (WriteOpenResponse(header->dialect, answer).size() < kHeaderBytes) std::abort();
  }
  return 0;
}
