#ifndef KEYHOP_KMS_CONFIG_CONFIG_H_
#define KEYHOP_KMS_CONFIG_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "keyhop/config/v1/config.pb.h"
#include "kms/base/instant.h"
#include "kms/base/secret_bytes.h"
#include "kms/config/yaml_proto.h"

// YAML in, a checked config::v1::Config out. The schema, its defaults and ranges are in
// proto/keyhop/config/v1/config.proto; nothing else knows them.

namespace keyhop {

// Reads the configuration from a YAML file. Every field of the result has a value: the one given
// or the default. Relative paths are taken from the folder of the file. Strict: an unknown field, a
// field given twice, a wrong type, a value out of range, a required field or a file that is missing
// is an error that names file, line, field and what was expected. INVALID_ARGUMENT, or NOT_FOUND
// when `path` cannot be read.
absl::StatusOr<config::v1::Config> LoadConfig(const std::string& path);

// The same from text; `name` stands for the file in errors and for the folder of relative paths.
absl::StatusOr<config::v1::Config> ParseConfig(absl::string_view yaml, const std::string& name,
                                               NamedFiles files);

// What a field alone cannot say: sizes in order, IDs that are given once, links that can be
// dialled. Part of ParseConfig.
std::vector<ConfigProblem> CrossCheck(const config::v1::Config& config);

// The schema as text for `--help-config`: every field with unit, default, range and meaning.
std::string ConfigHelp();

// A duration of the configuration in our own type.
Duration FromProto(const google::protobuf::Duration& duration);

// Reads a key of `size_bytes` bytes, written as hex digits and at most one line end, and keeps it
// only in secure memory. Used for `kek_file` and `link_key_file`. The error never quotes the file.
absl::StatusOr<SecretBytes> ReadKeyFile(const std::string& path, size_t size_bytes);

}  // namespace keyhop

#endif  // KEYHOP_KMS_CONFIG_CONFIG_H_
