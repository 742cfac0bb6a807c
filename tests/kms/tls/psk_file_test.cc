#include "kms/tls/psk_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace keyhop {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

const std::string& Hex48() {
  static const auto* hex =
      new std::string(absl::BytesToHexString("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKL"));
  return *hex;
}

absl::StatusOr<PskTable> Parse(const std::string& text) {
  return PskTable::Parse({reinterpret_cast<const uint8_t*>(text.data()), text.size()}, "psk");
}

std::string ErrorOf(const std::string& text) {
  const auto table = Parse(text);
  EXPECT_FALSE(table.ok()) << text;
  return std::string(table.status().message());
}

std::string KeyOf(const PskTable& table, const std::string& identity) {
  const PskTable::Entry* entry = table.Find(identity);
  if (entry == nullptr) return "none";
  const auto key = entry->key.Expose(SecretAccess::ForTest());
  return absl::BytesToHexString({reinterpret_cast<const char*>(key.data()), key.size()});
}

TEST(PskTableTest, ReadsIdentitiesAndHex) {
  const std::string least(64, '7');
  const std::string most(512, 'e');
  const auto table = Parse(absl::StrCat("# routers\n\nrouter-1:", Hex48(), "\r\nr:2 x:", least,
                                        "\ncaf\u00e9:", absl::AsciiStrToUpper(most)));
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->size(), 3u);
  EXPECT_EQ(KeyOf(*table, "router-1"), Hex48());
  EXPECT_EQ(KeyOf(*table, "r:2 x"), least);
  EXPECT_EQ(KeyOf(*table, "caf\u00e9"), most);
  EXPECT_EQ(table->Find("router-"), nullptr);
  EXPECT_EQ(table->Find(""), nullptr);
  EXPECT_TRUE(Parse("")->Find("a") == nullptr);
}

TEST(PskTableTest, NamesTheLineAndNeverTheKey) {
  const std::string good = absl::StrCat("a:", Hex48(), "\n");
  EXPECT_EQ(ErrorOf(good + Hex48()), "psk:2: expected IDENTITY:HEX");
  EXPECT_THAT(ErrorOf(good + ":" + Hex48()), HasSubstr("psk:2: expected an identity of 1 to 256"));
  EXPECT_THAT(ErrorOf(std::string(257, 'i') + ":" + Hex48()), HasSubstr("psk:1: expected an ide"));
  EXPECT_THAT(ErrorOf(absl::StrCat(std::string("a\0b", 3), ":", Hex48())), HasSubstr("NUL"));
  EXPECT_THAT(ErrorOf(good + "#\n" + good), HasSubstr("psk:3: expected an identity that no line"));
  for (const std::string& hex :
       {std::string(62, '1'), std::string(63, '1'), std::string(65, '1'), std::string(514, '1'),
        std::string(), Hex48() + "zz", Hex48() + "  ", "0x" + Hex48()}) {
    EXPECT_THAT(ErrorOf("a:" + hex),
                AllOf(HasSubstr("psk:1: expected "), Not(HasSubstr(std::string(8, '1'))),
                      Not(HasSubstr(Hex48().substr(0, 8)))));
  }
}

class PskFileTest : public ::testing::Test {
 protected:
  PskFileTest() : path_(absl::StrCat(::testing::TempDir(), "/keyhop_psk_", getpid())) {}
  ~PskFileTest() override { unlink(path_.c_str()); }

  void Write(const std::string& text, mode_t mode = 0600) {
    unlink(path_.c_str());
    std::ofstream(path_, std::ios::binary) << text;
    ASSERT_EQ(chmod(path_.c_str(), mode), 0);
  }
  absl::StatusOr<std::shared_ptr<PskFile>> Open(size_t bytes_max = 1 << 20) {
    return PskFile::Open(path_, bytes_max,
                         [this](const std::string& text) { told_.push_back(text); });
  }

  const std::string path_;
  std::vector<std::string> told_;
};

TEST_F(PskFileTest, RefusesAFileThatIsOpenToOthers) {
  for (const mode_t mode : {0640, 0604, 0660, 0666, 0644}) {
    Write("a:" + Hex48(), mode);
    const auto file = Open();
    EXPECT_EQ(file.status().code(), absl::StatusCode::kPermissionDenied);
    EXPECT_THAT(std::string(file.status().message()), HasSubstr("chmod 600 it"));
  }
  Write("a:" + Hex48());
  EXPECT_TRUE(Open().ok());
}

TEST_F(PskFileTest, HoldsToItsSize) {
  Write("a:" + Hex48());
  EXPECT_TRUE(Open(98).ok());
  EXPECT_THAT(std::string(Open(97).status().message()), HasSubstr("expected at most 97 bytes"));
  unlink(path_.c_str());
  EXPECT_FALSE(Open().ok());
}

TEST_F(PskFileTest, FollowsItsFileAndKeepsTheNumbersOfWhatStayed) {
  Write("a:" + Hex48() + "\nb:" + Hex48());
  const auto file = *Open();
  const auto serial_of = [&file](const char* identity) {
    const auto table = file->Current();
    return table->Find(identity) == nullptr ? 0 : table->Find(identity)->serial;
  };
  const uint64_t a = serial_of("a");
  const uint64_t b = serial_of("b");
  EXPECT_NE(a, b);
  EXPECT_TRUE(file->Holds("a", a));
  EXPECT_FALSE(file->Holds("a", b));
  Write("c:" + Hex48() + "\nb:" + Hex48() + "00\na:" + Hex48());
  EXPECT_EQ(serial_of("a"), a);
  EXPECT_FALSE(file->Holds("b", b));
  EXPECT_NE(serial_of("c"), b);
  Write("b:" + Hex48());
  EXPECT_FALSE(file->Holds("a", a));
  EXPECT_FALSE(file->Holds("b", b)) << "a key that came back is another one";
  EXPECT_THAT(told_, IsEmpty());
}

TEST_F(PskFileTest, KeepsTheLastGoodKeysAndTellsOnce) {
  Write("a:" + Hex48());
  const auto file = *Open();
  const uint64_t a = file->Current()->Find("a")->serial;
  Write("a:" + Hex48() + "z");
  EXPECT_TRUE(file->Holds("a", a));
  EXPECT_TRUE(file->Holds("a", a));
  EXPECT_THAT(told_, SizeIs(1));
  EXPECT_THAT(told_[0], AllOf(HasSubstr(path_ + ":1: expected"), Not(HasSubstr(Hex48()))));
  unlink(path_.c_str());
  EXPECT_TRUE(file->Holds("a", a));
  EXPECT_THAT(told_, SizeIs(2));
  Write("a:" + Hex48() + "aa");
  EXPECT_FALSE(file->Holds("a", a));
}

}  // namespace
}  // namespace keyhop
