#ifndef KEYHOP_KMS_CONFIG_YAML_PROTO_H_
#define KEYHOP_KMS_CONFIG_YAML_PROTO_H_
// YAML into a message whose fields say by option what they stand for
// (proto/keyhop/config/v1/config.proto, Spec). All functions are pure but for reading files.

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"

namespace keyhop {

// Whether the files that fields name must be there.
enum class NamedFiles { kMustExist, kNotChecked };

// What a field alone cannot say. `field` names the place: "delivery.key_size_bits".
struct ConfigProblem {
  std::string field;
  std::string text;
};
using CrossChecker = std::function<std::vector<ConfigProblem>()>;

// Fills `into`: every field has a value afterwards, the one given or the default. Strict: an
// unknown field, a field given twice, a wrong type, a value out of range, a required field or a
// file that is missing, and the first problem that `check` finds in what was read, is
// INVALID_ARGUMENT and names `name`, line, field and what was expected. `name` also stands for the
// folder of relative paths.
absl::Status ParseYaml(absl::string_view yaml, const std::string& name, NamedFiles files,
                       google::protobuf::Message& into, const CrossChecker& check);

// The text of a file, at most 16 MiB. NOT_FOUND, which names the path and that `what` was expected.
absl::StatusOr<std::string> ReadYamlFile(const std::string& path, absl::string_view what);

// The schema as text: every field with unit, default, range and meaning.
std::string SchemaHelp(const google::protobuf::Descriptor& schema);

}  // namespace keyhop

#endif  // KEYHOP_KMS_CONFIG_YAML_PROTO_H_
