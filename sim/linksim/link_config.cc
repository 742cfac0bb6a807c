#include "sim/linksim/link_config.h"

#include <yaml-cpp/yaml.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <sstream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kms/base/status_macros.h"
#include "kms/config/scalars.h"

namespace keyhop {
namespace {

constexpr size_t kLinksMax = 4096;
constexpr double kBitsPerSecondMax = 1e11;

// One YAML mapping: remembers which fields were read, so that the rest can be refused.
class Fields {
 public:
  Fields(YAML::Node node, std::string where, const std::string& file)
      : node_(std::move(node)), where_(std::move(where)), file_(file) {}

  absl::Status Expect(const std::set<std::string>& known) const {
    if (!node_.IsMap()) return Error(node_, "", "expected fields, each `name: value`");
    std::set<std::string> seen;
    for (const auto& field : node_) {
      const std::string name = field.first.IsScalar() ? field.first.Scalar() : "";
      if (!known.contains(name)) {
        return Error(field.first, name,
                     absl::StrCat("unknown field; expected one of ", absl::StrJoin(known, ", ")));
      }
      if (!seen.insert(name).second) return Error(field.first, name, "given twice");
    }
    return absl::OkStatus();
  }

  bool Has(const std::string& name) const { return static_cast<bool>(node_[name]); }
  YAML::Node At(const std::string& name) const { return node_[name]; }
  std::string Path(const std::string& name) const {
    return where_.empty() ? name : name.empty() ? where_ : absl::StrCat(where_, ".", name);
  }

  absl::StatusOr<std::string> Text(const std::string& name, absl::string_view expected) const {
    if (!Has(name)) return Missing(name, expected);
    const YAML::Node value = node_[name];
    if (!value.IsScalar() || value.Scalar().empty()) {
      return Error(value, name, absl::StrCat("expected ", expected));
    }
    return value.Scalar();
  }

  absl::StatusOr<std::string> Id(const std::string& name) const {
    const absl::string_view expected = "an ID: 1 to 64 printable ASCII characters, no space";
    KEYHOP_ASSIGN_OR_RETURN(std::string text, Text(name, expected));
    if (!IsId(text)) return Error(At(name), name, absl::StrCat("expected ", expected));
    return text;
  }

  absl::StatusOr<double> Real(const std::string& name, double low, double high) const {
    const std::string expected = absl::StrCat("a number from ", low, " to ", high);
    KEYHOP_ASSIGN_OR_RETURN(const std::string text, Text(name, expected));
    double value = 0;
    if (!absl::SimpleAtod(text, &value) || !(value >= low && value <= high)) {
      return Error(At(name), name, absl::StrCat("expected ", expected, ", found ", text));
    }
    return value;
  }

  // With `bytes`, KiB and the like are understood.
  absl::StatusOr<uint64_t> Count(const std::string& name, uint64_t low, uint64_t high,
                                 bool bytes) const {
    const std::string expected =
        absl::StrCat(bytes ? "a size in bytes" : "a whole number", " from ", low, " to ", high);
    KEYHOP_ASSIGN_OR_RETURN(const std::string text, Text(name, expected));
    const std::optional<uint64_t> value = bytes ? ParseSizeBytes(text) : ParseCount(text);
    if (!value.has_value() || *value < low || *value > high) {
      return Error(At(name), name, absl::StrCat("expected ", expected, ", found ", text));
    }
    return *value;
  }

  absl::Status Missing(const std::string& name, absl::string_view expected) const {
    return Error(node_, name, absl::StrCat("missing; expected ", expected));
  }
  absl::Status Error(const YAML::Node& at, const std::string& name, absl::string_view text) const {
    return absl::InvalidArgumentError(
        absl::StrCat(file_, ":", at.Mark().line + 1, ": ", Path(name), ": ", text));
  }

 private:
  YAML::Node node_;
  std::string where_;
  const std::string& file_;
};

absl::Status ReadEnds(const Fields& fields, const std::string& file, LinkConfig& link) {
  const absl::string_view expected = "two entries with `node` and `kq1`, one per end of the link";
  if (!fields.Has("ends")) return fields.Missing("ends", expected);
  const YAML::Node ends = fields.At("ends");
  if (!ends.IsSequence() || ends.size() != kEnds) {
    return fields.Error(ends, "ends", absl::StrCat("expected ", expected));
  }
  for (size_t i = 0; i < kEnds; ++i) {
    const Fields end(ends[i], absl::StrCat(fields.Path("ends"), "[", i, "]"), file);
    KEYHOP_RETURN_IF_ERROR(end.Expect({"node", "kq1"}));
    KEYHOP_ASSIGN_OR_RETURN(link.ends[i].node, end.Id("node"));
    KEYHOP_ASSIGN_OR_RETURN(link.ends[i].kq1, end.Text("kq1", "HOST:PORT"));
    const std::optional<HostPort> address = ParseHostPort(link.ends[i].kq1);
    if (!address.has_value() || address->port == 0) {
      return end.Error(end.At("kq1"), "kq1", "expected HOST:PORT with a port from 1 to 65535");
    }
  }
  if (link.ends[0].node == link.ends[1].node) {
    return fields.Error(ends, "ends", "expected two different nodes");
  }
  return absl::OkStatus();
}

// Device, loss and the rate that follows from them.
absl::Status ReadPhysics(const Fields& fields, double time_speedup, LinkConfig& link) {
  if (fields.Has("parameters")) {
    KEYHOP_ASSIGN_OR_RETURN(link.parameters,
                            fields.Text("parameters", "the name of a parameter set"));
  }
  const std::optional<QkdDevice> device = FindQkdDevice(link.parameters);
  if (!device.has_value()) {
    return fields.Error(fields.At("parameters"), "parameters",
                        absl::StrCat("expected one of ", absl::StrJoin(QkdDeviceNames(), ", ")));
  }
  link.device = *device;
  if (fields.Has("length_km") == fields.Has("loss_db")) {
    return fields.Missing("length_km", "either length_km or loss_db");
  }
  if (fields.Has("length_km")) {
    KEYHOP_ASSIGN_OR_RETURN(const double km, fields.Real("length_km", 0, 600));
    link.loss_db = km * link.device.fibre_db_per_km;
  } else {
    KEYHOP_ASSIGN_OR_RETURN(link.loss_db, fields.Real("loss_db", 0, 150));
  }
  KEYHOP_ASSIGN_OR_RETURN(link.rate, AsymptoticRate(link.device, link.loss_db));
  link.bits_per_second = link.rate.bits_per_second;
  if (fields.Has("rate_bps")) {
    KEYHOP_ASSIGN_OR_RETURN(link.bits_per_second, fields.Real("rate_bps", 0, kBitsPerSecondMax));
  }
  link.bits_per_second = std::min(kBitsPerSecondMax, link.bits_per_second * time_speedup);
  return absl::OkStatus();
}

absl::StatusOr<LinkConfig> ReadLink(const Fields& fields, const std::string& file,
                                    double time_speedup) {
  KEYHOP_RETURN_IF_ERROR(
      fields.Expect({"id", "module_pair", "length_km", "loss_db", "parameters", "block_bytes",
                     "backlog_blocks", "seed", "rate_bps", "ends"}));
  LinkConfig link;
  KEYHOP_ASSIGN_OR_RETURN(link.id, fields.Id("id"));
  if (fields.Has("module_pair")) {
    KEYHOP_ASSIGN_OR_RETURN(const uint64_t pair, fields.Count("module_pair", 0, 0xffffffff, false));
    link.module_pair = static_cast<uint32_t>(pair);
  }
  KEYHOP_RETURN_IF_ERROR(ReadPhysics(fields, time_speedup, link));
  if (fields.Has("block_bytes")) {
    KEYHOP_ASSIGN_OR_RETURN(link.block_bytes, fields.Count("block_bytes", 1024, 65536, true));
  }
  if (fields.Has("backlog_blocks")) {
    KEYHOP_ASSIGN_OR_RETURN(link.backlog_blocks, fields.Count("backlog_blocks", 1, 65536, false));
  }
  if (fields.Has("seed")) {
    KEYHOP_ASSIGN_OR_RETURN(link.seed, fields.Text("seed", "any text, for tests only"));
  }
  KEYHOP_RETURN_IF_ERROR(ReadEnds(fields, file, link));
  return link;
}

absl::Status ReadTls(const Fields& top, const std::string& file,
                     const std::filesystem::path& folder, TlsFiles& tls) {
  if (!top.Has("tls")) return top.Missing("tls", "ca, cert and key: PEM files");
  const Fields fields(top.At("tls"), "tls", file);
  KEYHOP_RETURN_IF_ERROR(fields.Expect({"ca", "cert", "key"}));
  KEYHOP_ASSIGN_OR_RETURN(const std::string ca, fields.Text("ca", "a PEM file"));
  KEYHOP_ASSIGN_OR_RETURN(const std::string cert, fields.Text("cert", "a PEM file"));
  KEYHOP_ASSIGN_OR_RETURN(const std::string key, fields.Text("key", "a PEM file"));
  tls = {.ca = folder / ca, .cert = folder / cert, .key = folder / key};
  return absl::OkStatus();
}

absl::StatusOr<LinkSimConfig> ReadAll(const YAML::Node& root, const std::string& file) {
  const Fields top(root, "", file);
  KEYHOP_RETURN_IF_ERROR(top.Expect({"links", "tls", "state_dir", "time_speedup"}));
  const std::filesystem::path folder = std::filesystem::path(file).parent_path();
  LinkSimConfig config;
  if (top.Has("time_speedup")) {
    KEYHOP_ASSIGN_OR_RETURN(config.time_speedup, top.Real("time_speedup", 1e-3, 1e6));
  }
  KEYHOP_ASSIGN_OR_RETURN(const std::string state, top.Text("state_dir", "a folder"));
  config.state_dir = folder / state;
  KEYHOP_RETURN_IF_ERROR(ReadTls(top, file, folder, config.tls));
  const absl::string_view expected = "a list of 1 to 4096 links";
  if (!top.Has("links")) return top.Missing("links", expected);
  const YAML::Node links = top.At("links");
  if (!links.IsSequence() || links.size() == 0 || links.size() > kLinksMax) {
    return top.Error(links, "links", absl::StrCat("expected ", expected));
  }
  std::set<std::pair<std::string, uint32_t>> names;
  for (size_t i = 0; i < links.size(); ++i) {
    const Fields fields(links[i], absl::StrCat("links[", i, "]"), file);
    KEYHOP_ASSIGN_OR_RETURN(LinkConfig link, ReadLink(fields, file, config.time_speedup));
    if (!names.insert({link.id, link.module_pair}).second) {
      return fields.Error(fields.At("id"), "id",
                          "expected a link and module_pair that no other entry has");
    }
    config.links.push_back(std::move(link));
  }
  return config;
}

}  // namespace

absl::StatusOr<LinkSimConfig> ParseLinkSimConfig(absl::string_view yaml, const std::string& name) {
  try {
    return ReadAll(YAML::Load(std::string(yaml)), name);
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ":", error.mark.line + 1, ": not YAML: ", error.msg));
  }
}

absl::StatusOr<LinkSimConfig> LoadLinkSimConfig(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  if (!file || !(text << file.rdbuf())) {
    return absl::NotFoundError(absl::StrCat("cannot read the configuration ", path));
  }
  return ParseLinkSimConfig(text.str(), path);
}

}  // namespace keyhop
