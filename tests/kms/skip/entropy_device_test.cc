#include "kms/skip/entropy_device.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace keyhop {
namespace {

using ::testing::HasSubstr;

std::string Random(size_t bytes) {
  std::mt19937_64 random(7);
  std::string text;
  for (size_t i = 0; i < bytes; ++i) text.push_back(static_cast<char>(random() >> 32));
  return text;
}

std::string TextOf(const SecretBytes& bytes) {
  const auto span = bytes.Expose(SecretAccess::ForTest());
  return {span.begin(), span.end()};
}

// A named pipe in the place of a generator.
class EntropyDeviceTest : public ::testing::Test {
 protected:
  EntropyDeviceTest() : path_(absl::StrCat(::testing::TempDir(), "/keyhop_entropy_", getpid())) {
    unlink(path_.c_str());
    EXPECT_EQ(mkfifo(path_.c_str(), 0600), 0);
    // Both ends: opening does not wait for the device to read.
    fd_ = open(path_.c_str(), O_RDWR | O_CLOEXEC);
  }
  ~EntropyDeviceTest() override {
    device_.reset();
    close(fd_);
    unlink(path_.c_str());
  }

  void Open(size_t pool_bytes) {
    auto device = EntropyDevice::Open(path_, pool_bytes,
                                      [this](const std::string& text) { told_.set_value(text); });
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
  }
  void Write(const std::string& bytes) {
    ASSERT_EQ(write(fd_, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  }
  std::string TakeSoon(size_t bytes) {
    for (;;) {
      if (auto taken = device_->Take(bytes)) return TextOf(*taken);
      sched_yield();
    }
  }

  const std::string path_;
  int fd_ = -1;
  std::promise<std::string> told_;
  std::unique_ptr<EntropyDevice> device_;
};

TEST_F(EntropyDeviceTest, GivesEachByteOnce) {
  const std::string source = Random(96);
  Open(96);
  EXPECT_FALSE(device_->Take(1).has_value());
  Write(source);
  const std::string all = TakeSoon(64) + TakeSoon(32);
  EXPECT_FALSE(device_->Take(1).has_value());
  std::multiset<char> wanted(source.begin(), source.end());
  EXPECT_EQ(std::multiset<char>(all.begin(), all.end()), wanted);
}

TEST_F(EntropyDeviceTest, GivesAllThatIsAskedOrNothing) {
  Open(64);
  Write(Random(40));
  EXPECT_EQ(TakeSoon(30).size(), 30u);
  EXPECT_FALSE(device_->Take(11).has_value());
  EXPECT_EQ(TakeSoon(10).size(), 10u);
  EXPECT_EQ(device_->bytes_max(), 64u);
  EXPECT_FALSE(device_->Take(65).has_value());
}

TEST_F(EntropyDeviceTest, ASourceThatRepeatsIsNotUsedAnyMore) {
  Open(64);
  Write(std::string(16, 'x'));
  EXPECT_THAT(told_.get_future().get(), HasSubstr("repeat"));
  EXPECT_FALSE(device_->healthy());
  EXPECT_FALSE(device_->Take(1).has_value());
}

TEST_F(EntropyDeviceTest, TakesNoOrdinaryFileAndNoDeviceOfTheKernel) {
  const std::string file = path_ + ".file";
  std::ofstream(file) << Random(100);
  for (const std::string& path :
       {file, std::string("/dev/urandom"), std::string("/dev/random"), std::string("/dev/zero"),
        std::string("/dev/null"), std::string("/nowhere/hwrng"), ::testing::TempDir()}) {
    EXPECT_THAT(std::string(EntropyDevice::Open(path, 64, nullptr).status().message()),
                HasSubstr(path + ": expected "));
  }
  unlink(file.c_str());
}

TEST(EntropyHealthTest, PassesRandomBytes) {
  EntropyHealth health;
  for (const char byte : Random(1 << 20)) ASSERT_TRUE(health.Take(static_cast<uint8_t>(byte)));
}

TEST(EntropyHealthTest, FailsOnAByteThatComesTooOften) {
  EntropyHealth repeats;
  int taken = 0;
  while (repeats.Take(0)) ++taken;
  EXPECT_EQ(taken, 5);

  EntropyHealth often;  // Every eighth byte is the same.
  std::string bytes = Random(512);
  bool good = true;
  for (size_t i = 0; i < bytes.size(); ++i) {
    good &= often.Take(i % 8 == 0 ? 0x55 : static_cast<uint8_t>(bytes[i]));
  }
  EXPECT_FALSE(good);
}

}  // namespace
}  // namespace keyhop
