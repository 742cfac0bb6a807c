#include "kms/core/delivery/extensions.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"

namespace keyhop {
namespace {

// Longer names are not told back.
constexpr size_t kNameBytesToldMax = 64;

// Known by name, so that a mandatory one is refused with the text for "cannot be met".
constexpr const char* kUnmet[] = {"keyhop_age_max", "keyhop_excluded_nodes", "keyhop_route_type"};

bool IsDeadline(const ExtensionParameter& p) { return p.name == kDeadlineExtension; }

bool IsPaths(const ExtensionParameter& p) { return p.name == kPathsExtension; }

bool IsKnown(const ExtensionParameter& p) {
  return IsDeadline(p) || IsPaths(p) ||
         std::any_of(std::begin(kUnmet), std::end(kUnmet),
                     [&p](const char* name) { return p.name == name; });
}

bool IsMet(const ExtensionParameter& p, const DeliveryConfig& config) {
  if (!p.number.has_value()) return false;
  if (IsPaths(p)) return *p.number >= 1 && *p.number <= kPathsMax;
  return IsDeadline(p) && *p.number <= static_cast<uint64_t>(config.deadline_max.millis());
}

std::string WhyUnmet(const ExtensionParameter& p, const DeliveryConfig& config) {
  if (IsDeadline(p)) {
    return absl::StrCat(p.name, " shall be a whole number from 0 to ",
                        config.deadline_max.millis());
  }
  if (IsPaths(p)) return absl::StrCat(p.name, " shall be a whole number from 1 to ", kPathsMax);
  return absl::StrCat(p.name, " could not be met");
}

std::string NameOf(const ExtensionParameter& p) {
  return p.name.size() > kNameBytesToldMax ? "a parameter with a long name" : p.name;
}

Duration AskedWait(const DrawRequest& request, const DeliveryConfig& config) {
  for (const auto* list : {&request.extension_mandatory, &request.extension_optional}) {
    for (const ExtensionParameter& p : *list) {
      if (!IsDeadline(p) || !p.number.has_value()) continue;
      const uint64_t most = static_cast<uint64_t>(config.deadline_max.millis());
      return Duration::Millis(static_cast<int64_t>(std::min(*p.number, most)));
    }
  }
  return config.draw_wait;
}

Refusal Refused(const char* message, const char* detail, std::string text) {
  return {.kind = Refusal::Kind::kBadRequest,
          .message = message,
          .details = {{detail, std::move(text)}}};
}

}  // namespace

std::map<std::string, std::string> ExtensionStates() {
  std::map<std::string, std::string> out = {{kDeadlineExtension, "supported"},
                                            {kPathsExtension, "supported where mandatory"}};
  for (const char* name : kUnmet) out.emplace(name, "known, cannot be met");
  return out;
}

std::optional<Refusal> CheckExtensions(const DrawRequest& request, const DeliveryConfig& config) {
  for (const ExtensionParameter& p : request.extension_mandatory) {
    if (IsKnown(p)) continue;
    return Refused(kExtensionUnsupported, "extension_mandatory_unsupported",
                   absl::StrCat(NameOf(p), " is not supported"));
  }
  for (const ExtensionParameter& p : request.extension_mandatory) {
    if (IsMet(p, config)) continue;
    return Refused(kExtensionUnmet, "extension_mandatory_unmet", WhyUnmet(p, config));
  }
  if (!config.refuse_unhandled_optional) return std::nullopt;
  for (const ExtensionParameter& p : request.extension_optional) {
    if (IsMet(p, config) && !IsPaths(p)) continue;
    return Refused(kOptionalUnhandled, "extension_optional_unhandled",
                   absl::StrCat(NameOf(p), " was not handled"));
  }
  return std::nullopt;
}

PairWith PairOf(const DrawRequest& request, const NodeId& self, const NodeId& home,
                const DeliveryConfig& config) {
  if (home == self) return home;
  const auto policy = config.paths_min_with.find(home);
  uint8_t paths = policy == config.paths_min_with.end() ? config.paths_min : policy->second;
  // An optional one is ignored: to hand out less than it says would look like having met it.
  for (const ExtensionParameter& p : request.extension_mandatory) {
    if (IsPaths(p) && IsMet(p, config)) paths = std::max(paths, static_cast<uint8_t>(*p.number));
  }
  return {home, paths};
}

Duration WaitOf(const DrawRequest& request, const DeliveryConfig& config) {
  const Duration asked = AskedWait(request, config);
  return std::max(Duration{}, std::min(asked, request.wait_max.value_or(asked)));
}

}  // namespace keyhop
