#include "kms/config/yaml_proto.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "keyhop/config/v1/config.pb.h"
#include "kms/base/status_macros.h"
#include "kms/config/scalars.h"
#include "yaml-cpp/yaml.h"

namespace keyhop {
namespace {

using config::v1::Spec;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr size_t kFileBytesMax = 16u << 20;
constexpr size_t kQuotedBytesMax = 60;

const Spec& SpecOf(const FieldDescriptor& field) {
  return field.options().GetExtension(config::v1::spec);
}

bool IsDuration(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         field.message_type()->full_name() == "google.protobuf.Duration";
}

bool IsSection(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && !IsDuration(field);
}

// The value as the error shows it: printable and short.
std::string Quoted(const std::string& text) {
  std::string shown = absl::Utf8SafeCEscape(text.substr(0, kQuotedBytesMax));
  return absl::StrCat("\"", shown, text.size() > kQuotedBytesMax ? "…" : "", "\"");
}

std::string EnumNames(const FieldDescriptor& field) {
  std::vector<std::string> names;
  for (int i = 0; i < field.enum_type()->value_count(); ++i) {
    if (field.enum_type()->value(i)->number() != 0) {
      names.push_back(field.enum_type()->value(i)->name());
    }
  }
  return absl::StrJoin(names, ", ");
}

std::string Expected(const FieldDescriptor& field) {
  const Spec& spec = SpecOf(field);
  const std::string range =
      spec.min().empty() ? "" : absl::StrCat(" from ", spec.min(), " to ", spec.max());
  if (IsDuration(field)) return absl::StrCat("a duration", range, " (like 500ms or 10s)");
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return absl::StrCat("one of ", EnumNames(field));
    case FieldDescriptor::CPPTYPE_UINT32:
    case FieldDescriptor::CPPTYPE_UINT64:
      if (spec.kind() == config::v1::KIND_BYTES) {
        return absl::StrCat("a size in bytes", range, " (like 4096 or 4KiB)");
      }
      if (spec.kind() == config::v1::KIND_BITS) return absl::StrCat("a count of bits", range);
      return absl::StrCat("a whole number", range);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return "a map of fields";
    default:
      break;
  }
  switch (spec.kind()) {
    case config::v1::KIND_ID:
      return "an ID: 1 to 64 bytes of printable ASCII without space";
    case config::v1::KIND_SAE_ID:
      return "an SAE ID: 1 to 300 bytes of UTF-8 without control characters";
    case config::v1::KIND_FILE:
      return "a file that this process can read";
    case config::v1::KIND_PATH:
      return "a path";
    case config::v1::KIND_HOST_PORT:
      return "HOST:PORT (IPv6 in brackets)";
    default:
      return "text";
  }
}

// Walks the YAML tree and the descriptors side by side.
class Reader {
 public:
  Reader(std::string name, NamedFiles files)
      : name_(std::move(name)),
        folder_(std::filesystem::path(name_).parent_path()),
        files_(files) {}

  absl::Status Read(const YAML::Node& root, Message& into, const CrossChecker& check) {
    if (!root.IsMap()) return Wrong(root, "", "a map of fields at the top level");
    KEYHOP_RETURN_IF_ERROR(ReadSection(root, "", into));
    if (const std::vector<ConfigProblem> problems = check(); !problems.empty()) {
      return Error(LineOf(problems[0].field), problems[0].field, problems[0].text);
    }
    return absl::OkStatus();
  }

 private:
  // `section` may be an undefined node: then all fields take their defaults.
  absl::Status ReadSection(const YAML::Node& section, const std::string& path, Message& into) {
    std::set<int> given;
    const auto& descriptor = *into.GetDescriptor();
    if (section.IsMap()) {
      for (const auto& entry : section) {
        if (!entry.first.IsScalar()) return Wrong(entry.first, path, "a field name");
        const std::string& key = entry.first.Scalar();
        const FieldDescriptor* field = descriptor.FindFieldByName(key);
        if (field == nullptr) {
          return Error(entry.first.Mark().line, path,
                       absl::StrCat("unknown field ", Quoted(key),
                                    "; known here: ", KnownFields(descriptor)));
        }
        if (!given.insert(field->number()).second) {
          return Error(entry.first.Mark().line, Join(path, key), "given twice");
        }
        lines_[Join(path, key)] = entry.first.Mark().line;
        KEYHOP_RETURN_IF_ERROR(ReadField(entry.second, *field, Join(path, key), into));
      }
    }
    for (int i = 0; i < descriptor.field_count(); ++i) {
      const FieldDescriptor& field = *descriptor.field(i);
      if (given.contains(field.number())) continue;
      KEYHOP_RETURN_IF_ERROR(SetDefault(section, field, Join(path, field.name()), into));
    }
    return absl::OkStatus();
  }

  absl::Status SetDefault(const YAML::Node& section, const FieldDescriptor& field,
                          const std::string& path, Message& into) {
    const Spec& spec = SpecOf(field);
    if (spec.required()) {
      const int line = section.IsDefined() && section.IsMap() ? section.Mark().line : 0;
      return Error(line, path, absl::StrCat("missing; expected ", Expected(field)));
    }
    if (IsSection(field)) {
      if (field.is_repeated()) return absl::OkStatus();
      return ReadSection(YAML::Node(), path, *into.GetReflection()->MutableMessage(&into, &field));
    }
    if (spec.default_value().empty()) return absl::OkStatus();
    const YAML::Node nowhere;
    if (!field.is_repeated()) return ReadScalar(nowhere, spec.default_value(), field, path, into);
    for (absl::string_view item : absl::StrSplit(spec.default_value(), ", ")) {
      KEYHOP_RETURN_IF_ERROR(ReadScalar(nowhere, std::string(item), field, path, into));
    }
    return absl::OkStatus();
  }

  absl::Status ReadField(const YAML::Node& node, const FieldDescriptor& field,
                         const std::string& path, Message& into) {
    if (!field.is_repeated()) return ReadValue(node, field, path, into);
    const Spec& spec = SpecOf(field);
    if (!node.IsSequence() || node.size() > spec.items_max()) {
      return Wrong(node, path, absl::StrCat("a list of at most ", spec.items_max(), " items"));
    }
    size_t index = 0;
    for (const YAML::Node& item : node) {
      const std::string item_path = absl::StrCat(path, "[", index++, "]");
      lines_[item_path] = item.Mark().line;
      KEYHOP_RETURN_IF_ERROR(ReadValue(item, field, item_path, into));
    }
    return absl::OkStatus();
  }

  absl::Status ReadValue(const YAML::Node& node, const FieldDescriptor& field,
                         const std::string& path, Message& into) {
    if (IsSection(field)) {
      if (!node.IsMap()) return Wrong(node, path, Expected(field));
      const Reflection& reflection = *into.GetReflection();
      Message& child = field.is_repeated() ? *reflection.AddMessage(&into, &field)
                                           : *reflection.MutableMessage(&into, &field);
      return ReadSection(node, path, child);
    }
    if (!node.IsScalar()) return Wrong(node, path, Expected(field));
    // "!" is the tag of a quoted scalar: text, whatever it looks like.
    if (node.Tag() == "!" && field.cpp_type() != FieldDescriptor::CPPTYPE_STRING) {
      return Wrong(node, path, absl::StrCat(Expected(field), ", without quotes"));
    }
    return ReadScalar(node, node.Scalar(), field, path, into);
  }

  absl::Status ReadScalar(const YAML::Node& node, const std::string& text,
                          const FieldDescriptor& field, const std::string& path, Message& into) {
    const Reflection& reflection = *into.GetReflection();
    if (IsDuration(field)) {
      const std::optional<Duration> value = ParseDuration(text);
      const Spec& spec = SpecOf(field);
      if (!value || (!spec.min().empty() && *value < *ParseDuration(spec.min())) ||
          (!spec.max().empty() && *value > *ParseDuration(spec.max()))) {
        return Wrong(node, path, Expected(field));
      }
      auto* duration =
          static_cast<google::protobuf::Duration*>(reflection.MutableMessage(&into, &field));
      duration->set_seconds(value->ns / 1'000'000'000);
      duration->set_nanos(static_cast<int32_t>(value->ns % 1'000'000'000));
      return absl::OkStatus();
    }
    switch (field.cpp_type()) {
      case FieldDescriptor::CPPTYPE_BOOL:
        if (text != "true" && text != "false") return Wrong(node, path, Expected(field));
        reflection.SetBool(&into, &field, text == "true");
        return absl::OkStatus();
      case FieldDescriptor::CPPTYPE_ENUM: {
        const auto* value = field.enum_type()->FindValueByName(text);
        if (value == nullptr || value->number() == 0) return Wrong(node, path, Expected(field));
        if (field.is_repeated()) {
          reflection.AddEnum(&into, &field, value);
        } else {
          reflection.SetEnum(&into, &field, value);
        }
        return absl::OkStatus();
      }
      case FieldDescriptor::CPPTYPE_UINT32:
      case FieldDescriptor::CPPTYPE_UINT64:
        return ReadNumber(node, text, field, path, into);
      case FieldDescriptor::CPPTYPE_STRING:
        return ReadString(node, text, field, path, into);
      default:
        return absl::InternalError(absl::StrCat("config schema: no reader for ", path));
    }
  }

  absl::Status ReadNumber(const YAML::Node& node, const std::string& text,
                          const FieldDescriptor& field, const std::string& path, Message& into) {
    const Spec& spec = SpecOf(field);
    const auto parse = [&](const std::string& number) {
      return spec.kind() == config::v1::KIND_BYTES ? ParseSizeBytes(number) : ParseCount(number);
    };
    const std::optional<uint64_t> value = parse(text);
    if (!value || *value < parse(spec.min()).value_or(0) ||
        *value > parse(spec.max()).value_or(UINT32_MAX)) {
      return Wrong(node, path, Expected(field));
    }
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_UINT32) {
      into.GetReflection()->SetUInt32(&into, &field, static_cast<uint32_t>(*value));
    } else {
      into.GetReflection()->SetUInt64(&into, &field, *value);
    }
    return absl::OkStatus();
  }

  absl::Status ReadString(const YAML::Node& node, std::string text, const FieldDescriptor& field,
                          const std::string& path, Message& into) {
    switch (SpecOf(field).kind()) {
      case config::v1::KIND_ID:
        if (!IsId(text)) return Wrong(node, path, Expected(field));
        break;
      case config::v1::KIND_SAE_ID:
        if (!IsSaeId(text)) return Wrong(node, path, Expected(field));
        break;
      case config::v1::KIND_HOST_PORT:
        if (!ParseHostPort(text)) return Wrong(node, path, Expected(field));
        break;
      case config::v1::KIND_FILE:
      case config::v1::KIND_PATH: {
        if (text.empty() || text.find('\0') != std::string::npos) {
          return Wrong(node, path, Expected(field));
        }
        text = (folder_ / text).lexically_normal().string();
        if (SpecOf(field).kind() == config::v1::KIND_FILE && files_ == NamedFiles::kMustExist) {
          std::error_code ignored;
          if (!std::filesystem::is_regular_file(text, ignored) || access(text.c_str(), R_OK) != 0) {
            return Error(node.Mark().line, path,
                         absl::StrCat("expected ", Expected(field), "; cannot read ", text));
          }
        }
        break;
      }
      default:
        if (text.empty()) return Wrong(node, path, Expected(field));
        break;
    }
    if (field.is_repeated()) {
      into.GetReflection()->AddString(&into, &field, std::move(text));
    } else {
      into.GetReflection()->SetString(&into, &field, std::move(text));
    }
    return absl::OkStatus();
  }

  static std::string Join(const std::string& path, const std::string& field) {
    return path.empty() ? field : absl::StrCat(path, ".", field);
  }

  static std::string KnownFields(const google::protobuf::Descriptor& descriptor) {
    std::vector<std::string> names;
    names.reserve(static_cast<size_t>(descriptor.field_count()));
    for (int i = 0; i < descriptor.field_count(); ++i) {
      names.push_back(descriptor.field(i)->name());
    }
    return absl::StrJoin(names, ", ");
  }

  // The line of the field, else of what encloses it.
  int LineOf(std::string path) const {
    for (;;) {
      if (const auto found = lines_.find(path); found != lines_.end()) return found->second;
      const size_t cut = path.find_last_of(".[");
      if (cut == std::string::npos) return 0;
      path.resize(cut);
    }
  }

  absl::Status Error(int line, const std::string& path, absl::string_view text) const {
    return absl::InvalidArgumentError(absl::StrCat(name_, ":", std::max(line, 0) + 1, ": ", path,
                                                   path.empty() ? "" : ": ", text));
  }

  absl::Status Wrong(const YAML::Node& node, const std::string& path,
                     absl::string_view expected) const {
    std::string found = "nothing";
    if (node.IsScalar()) found = Quoted(node.Scalar());
    if (node.IsSequence()) found = absl::StrCat("a list of ", node.size());
    if (node.IsMap()) found = "a map";
    return Error(node.Mark().line, path, absl::StrCat("expected ", expected, "; found ", found));
  }

  const std::string name_;
  const std::filesystem::path folder_;
  const NamedFiles files_;
  std::map<std::string, int> lines_;  // Of every field and list item that was given, from 0.
};

}  // namespace

absl::Status ParseYaml(absl::string_view yaml, const std::string& name, NamedFiles files,
                       Message& into, const CrossChecker& check) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(std::string(yaml));
    if (documents.size() != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ":1: expected one YAML document; found ", documents.size()));
    }
    return Reader(name, files).Read(documents[0], into, check);
  } catch (const YAML::Exception& e) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ":", std::max(e.mark.line, 0) + 1, ": not YAML: ", e.msg));
  }
}

absl::StatusOr<std::string> ReadYamlFile(const std::string& path, absl::string_view what) {
  std::ifstream in(path, std::ios::binary);
  if (!in || std::filesystem::is_directory(path)) {
    return absl::NotFoundError(absl::StrCat(path, ": expected ", what, " (YAML): cannot be read"));
  }
  std::string text(kFileBytesMax + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.size() > kFileBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ":1: larger than ", kFileBytesMax, " bytes"));
  }
  return text;
}

}  // namespace keyhop
