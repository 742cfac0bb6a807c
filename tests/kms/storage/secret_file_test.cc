#include "kms/storage/secret_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "kms/storage/file_ops.h"
#include "tests/kms/storage/temp_folder.h"

namespace keyhop {
namespace {

TEST(CheckSecretFileTest, TakesAClosedFileOnly) {
  TempFolder folder;
  DiskFileOps files;
  const std::string path = folder.path() + "/kek";
  ASSERT_TRUE(files.WriteSynced(path, "x").ok());
  EXPECT_TRUE(CheckSecretFile(path).ok());
  for (const mode_t mode : {0640, 0604, 0660, 0777}) {
    ASSERT_EQ(chmod(path.c_str(), mode), 0);
    const absl::Status s = CheckSecretFile(path);
    EXPECT_EQ(s.code(), absl::StatusCode::kPermissionDenied);
    EXPECT_THAT(s.ToString(), testing::HasSubstr("chmod 600"));
  }
  EXPECT_EQ(CheckSecretFile(folder.path()).code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(CheckSecretFile(path + "x").code(), absl::StatusCode::kNotFound);
}

TEST(DiskFileOpsTest, OverwritesInPlaceAndUnlinks) {
  TempFolder folder;
  DiskFileOps files;
  const std::string path = folder.path() + "/f";
  EXPECT_FALSE(files.Read(path)->has_value());
  EXPECT_TRUE(files.Overwrite(path).ok());
  EXPECT_TRUE(files.Unlink(path).ok());
  ASSERT_TRUE(files.WriteSynced(path, "secret").ok());
  struct stat before, after;
  ASSERT_EQ(stat(path.c_str(), &before), 0);
  EXPECT_EQ(before.st_mode & 0777, 0600u);
  ASSERT_TRUE(files.Sync(path).ok());
  ASSERT_TRUE(files.Overwrite(path).ok());
  ASSERT_EQ(stat(path.c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
  EXPECT_EQ(**files.Read(path), std::string(6, '\0'));
  ASSERT_TRUE(files.Unlink(path).ok());
  EXPECT_TRUE(files.Sync(path).ok());
  EXPECT_FALSE(files.Read(path)->has_value());
}

}  // namespace
}  // namespace keyhop
