#include "trusted_node/core/routing/link_state.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kms/base/byte_writer.h"

namespace keyhop {
namespace {

constexpr size_t kNodeIdBytesMax = 64;
constexpr size_t kLinkIdBytesMax = 64;
constexpr size_t kSaeIdBytesMax = 300;

template <typename Id>
bool FitsIn(const Id& id, size_t bytes_max) {
  return !id.empty() && id.value.size() <= bytes_max;
}

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("link state: ", what));
}

bool MovedPastFactorOfTwo(uint64_t before, uint64_t after) {
  const uint64_t low = std::min(before, after);
  const uint64_t high = std::max(before, after);
  return high / 2 > low || (low == 0 && high != 0);
}

absl::Status CheckLinks(const LinkState& state) {
  if (state.links.size() > kLinksPerNodeMax) return Bad("too many links");
  for (size_t i = 0; i < state.links.size(); ++i) {
    const LinkAdvert& link = state.links[i];
    if (!FitsIn(link.link, kLinkIdBytesMax)) return Bad("a link ID is empty or too long");
    if (!FitsIn(link.peer, kNodeIdBytesMax)) return Bad("a peer's ID is empty or too long");
    if (link.peer == state.origin) return Bad("a link leads to its own origin");
    if (i > 0 && !(state.links[i - 1].link < link.link)) return Bad("links are not ascending");
  }
  return absl::OkStatus();
}

absl::Status CheckSaes(const LinkState& state) {
  if (state.saes.size() > kSaesPerNodeMax) return Bad("too many SAEs");
  std::vector<uint32_t> numbers;
  numbers.reserve(state.saes.size());
  for (size_t i = 0; i < state.saes.size(); ++i) {
    const SaeAdvert& sae = state.saes[i];
    if (!FitsIn(sae.sae, kSaeIdBytesMax)) return Bad("an SAE's ID is empty or too long");
    if (sae.number == 0 || sae.number > kSaeNumberMax)
      return Bad("an SAE's number is out of range");
    if (i > 0 && !(state.saes[i - 1].sae < sae.sae)) return Bad("SAEs are not ascending");
    numbers.push_back(sae.number);
  }
  std::sort(numbers.begin(), numbers.end());
  if (std::adjacent_find(numbers.begin(), numbers.end()) != numbers.end()) {
    return Bad("two SAEs have one number");
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<uint8_t> LayoutOf(const LinkState& state) {
  ByteWriter out;
  out.Text("keyhop link state 1").Text(state.origin.value).U64(state.sequence);
  out.U32(static_cast<uint32_t>(state.links.size()));
  for (const LinkAdvert& link : state.links) {
    out.Text(link.link.value).Text(link.peer.value).U8(link.up ? 1 : 0);
    out.U64(link.free_bytes).U64(link.rate_bps);
  }
  out.U32(static_cast<uint32_t>(state.saes.size()));
  for (const SaeAdvert& sae : state.saes) out.Text(sae.sae.value).U32(sae.number);
  return {out.bytes().begin(), out.bytes().end()};
}

absl::Status CheckShape(const LinkState& state) {
  if (!FitsIn(state.origin, kNodeIdBytesMax)) return Bad("the origin's ID is empty or too long");
  if (state.sequence == 0 || state.sequence > kLinkStateSequenceMax) {
    return Bad("the sequence is out of range");
  }
  if (state.signature.size() > kSignatureBytesMax) return Bad("the signature is too long");
  if (absl::Status links = CheckLinks(state); !links.ok()) return links;
  return CheckSaes(state);
}

bool SameTopology(const std::vector<LinkAdvert>& a, const std::vector<LinkAdvert>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const LinkAdvert& x, const LinkAdvert& y) {
                      return x.link == y.link && x.peer == y.peer && x.up == y.up;
                    });
}

bool WorthFlooding(const std::vector<LinkAdvert>& before, const std::vector<LinkAdvert>& after) {
  if (!SameTopology(before, after)) return true;
  for (size_t i = 0; i < after.size(); ++i) {
    if (MovedPastFactorOfTwo(before[i].free_bytes, after[i].free_bytes) ||
        MovedPastFactorOfTwo(before[i].rate_bps, after[i].rate_bps)) {
      return true;
    }
  }
  return false;
}

}  // namespace keyhop
