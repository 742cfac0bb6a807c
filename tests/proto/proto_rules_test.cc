// Rules of our protocols, checked over the descriptors of every file below proto/.

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "keyhop/options/v1/options.pb.h"

namespace keyhop {
namespace {

namespace pb = ::google::protobuf;

class ProtoRulesTest : public testing::Test {
 protected:
  // Every file of ours and what it imports, in an order in which each can be built (protoc).
  void SetUp() override {
    std::ifstream file(KEYHOP_DESCRIPTOR_SET, std::ios::binary);
    pb::FileDescriptorSet set;
    ASSERT_TRUE(set.ParseFromIstream(&file)) << KEYHOP_DESCRIPTOR_SET;
    for (const pb::FileDescriptorProto& proto : set.file()) {
      const pb::FileDescriptor* built = pool_.BuildFile(proto);
      ASSERT_NE(built, nullptr) << proto.name();
      if (absl::StartsWith(proto.name(), "keyhop/")) files_.push_back(built);
    }
    ASSERT_GE(files_.size(), 2u);
  }

  std::vector<const pb::Descriptor*> AllMessages() {
    std::vector<const pb::Descriptor*> messages;
    for (const pb::FileDescriptor* file : files_) {
      for (int i = 0; i < file->message_type_count(); ++i) {
        messages.push_back(file->message_type(i));
      }
    }
    for (size_t i = 0; i < messages.size(); ++i) {  // Grows by what it finds.
      for (int j = 0; j < messages[i]->nested_type_count(); ++j) {
        messages.push_back(messages[i]->nested_type(j));
      }
    }
    return messages;
  }

  pb::DescriptorPool pool_;
  std::vector<const pb::FileDescriptor*> files_;
};

bool IsBytes(const pb::FieldDescriptor& field) {
  return field.type() == pb::FieldDescriptor::TYPE_BYTES;
}

TEST_F(ProtoRulesTest, EveryBytesFieldSaysWhetherItIsSensitive) {
  int bytes_fields = 0;
  for (const pb::Descriptor* message : AllMessages()) {
    for (int i = 0; i < message->field_count(); ++i) {
      const pb::FieldDescriptor& field = *message->field(i);
      // Through bytes: the pool above does not know the extension as compiled here.
      pb::FieldOptions options;
      ASSERT_TRUE(options.ParseFromString(field.options().SerializeAsString()));
      const bool marked = options.HasExtension(options::v1::sensitive);
      if (IsBytes(field)) {
        ++bytes_fields;
        EXPECT_TRUE(marked) << field.full_name()
                            << " needs [(keyhop.options.v1.sensitive) = true or false]";
      } else {
        EXPECT_FALSE(marked && options.GetExtension(options::v1::sensitive))
            << field.full_name() << ": secret content belongs in a bytes field";
      }
    }
  }
  EXPECT_GE(bytes_fields, 1);
}

TEST_F(ProtoRulesTest, PackagesAreVersionedAndNamedAsTheirFolder) {
  for (const pb::FileDescriptor* file : files_) {
    std::string package = file->package();
    std::replace(package.begin(), package.end(), '.', '/');
    EXPECT_TRUE(absl::StartsWith(file->name(), package + "/"))
        << file->name() << " has package " << file->package();
    // v1, or the edition of the standard that the package is of (keyhop.etsi004.v2).
    const std::string version = package.substr(package.rfind('/') + 1);
    EXPECT_TRUE(version.size() > 1 && version[0] == 'v' &&
                version.find_first_not_of("0123456789", 1) == std::string::npos)
        << file->name();
    EXPECT_EQ(file->syntax(), pb::FileDescriptor::SYNTAX_PROTO3) << file->name();
  }
}

void ExpectUnspecifiedZero(const pb::EnumDescriptor& type) {
  EXPECT_TRUE(absl::EndsWith(type.value(0)->name(), "UNSPECIFIED") && type.value(0)->number() == 0)
      << type.full_name() << ": the zero value is " << type.value(0)->name();
}

TEST_F(ProtoRulesTest, TheZeroValueOfEveryEnumIsUnspecified) {
  for (const pb::FileDescriptor* file : files_) {
    for (int i = 0; i < file->enum_type_count(); ++i) ExpectUnspecifiedZero(*file->enum_type(i));
  }
  for (const pb::Descriptor* message : AllMessages()) {
    for (int i = 0; i < message->enum_type_count(); ++i) {
      ExpectUnspecifiedZero(*message->enum_type(i));
    }
  }
}

}  // namespace
}  // namespace keyhop
