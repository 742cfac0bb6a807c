#include <string>

#include "absl/strings/str_cat.h"
#include "keyhop/config/v1/config.pb.h"
#include "kms/config/yaml_proto.h"

namespace keyhop {
namespace {

using config::v1::Spec;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

std::string TypeOf(const FieldDescriptor& field, const Spec& spec) {
  switch (spec.kind()) {
    case config::v1::KIND_ID:
      return "ID";
    case config::v1::KIND_SAE_ID:
      return "SAE ID";
    case config::v1::KIND_FILE:
      return "file";
    case config::v1::KIND_PATH:
      return "path";
    case config::v1::KIND_HOST_PORT:
      return "HOST:PORT";
    case config::v1::KIND_BYTES:
      return "bytes";
    case config::v1::KIND_BITS:
      return "bits";
    case config::v1::KIND_PER_SECOND:
      return "per second";
    default:
      break;
  }
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return "duration";
    case FieldDescriptor::CPPTYPE_BOOL:
      return "true or false";
    case FieldDescriptor::CPPTYPE_ENUM: {
      std::string names;
      for (int i = 1; i < field.enum_type()->value_count(); ++i) {
        absl::StrAppend(&names, i == 1 ? "" : " | ", field.enum_type()->value(i)->name());
      }
      return names;
    }
    case FieldDescriptor::CPPTYPE_STRING:
      return "text";
    default:
      return "number";
  }
}

// `first` and `rest` begin the lines of the first field and of all others.
void Describe(const Descriptor& section, const std::string& first, const std::string& rest,
              std::string& out) {
  for (int i = 0; i < section.field_count(); ++i) {
    const std::string& indent = i == 0 ? first : rest;
    const FieldDescriptor& field = *section.field(i);
    const Spec& spec = field.options().GetExtension(config::v1::spec);
    const bool is_section = field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
                            field.message_type()->full_name() != "google.protobuf.Duration";
    if (is_section) {
      absl::StrAppend(
          &out, indent, field.name(), ":  # ",
          field.is_repeated() ? absl::StrCat("List, at most ", spec.items_max(), ". ") : "",
          spec.text(), "\n");
      Describe(*field.message_type(), rest + (field.is_repeated() ? "  - " : "  "),
               rest + (field.is_repeated() ? "    " : "  "), out);
      continue;
    }
    absl::StrAppend(
        &out, indent, field.name(), ": ",
        field.is_repeated() ? absl::StrCat("[", spec.default_value(), "]") : spec.default_value(),
        spec.default_value().empty() && !field.is_repeated() ? "" : " ", " # (",
        TypeOf(field, spec));
    if (spec.required()) absl::StrAppend(&out, ", required");
    if (field.is_repeated()) absl::StrAppend(&out, ", list of at most ", spec.items_max());
    if (!spec.min().empty()) absl::StrAppend(&out, ", ", spec.min(), " to ", spec.max());
    absl::StrAppend(&out, ") ", spec.text(), "\n");
  }
}

}  // namespace

std::string SchemaHelp(const Descriptor& schema) {
  std::string out;
  Describe(schema, "", "", out);
  return out;
}

}  // namespace keyhop
