#include "kms/config/config.h"

#include "kms/base/status_macros.h"

namespace keyhop {

using config::v1::Config;

absl::StatusOr<Config> ParseConfig(absl::string_view yaml, const std::string& name,
                                   NamedFiles files) {
  Config config;
  KEYHOP_RETURN_IF_ERROR(
      ParseYaml(yaml, name, files, config, [&config] { return CrossCheck(config); }));
  return config;
}

absl::StatusOr<Config> LoadConfig(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadYamlFile(path, "the configuration");
  if (!text.ok()) return text.status();
  return ParseConfig(*text, path, NamedFiles::kMustExist);
}

std::string ConfigHelp() {
  return "# Keyhop configuration (YAML): every field with its default, (unit or type, range) and "
         "meaning.\n" +
         SchemaHelp(*Config::descriptor());
}

Duration FromProto(const google::protobuf::Duration& duration) {
  return Duration{duration.seconds() * 1'000'000'000 + duration.nanos()};
}

}  // namespace keyhop
