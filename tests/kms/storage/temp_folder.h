#ifndef KEYHOP_TESTS_KMS_STORAGE_TEMP_FOLDER_H_
#define KEYHOP_TESTS_KMS_STORAGE_TEMP_FOLDER_H_

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace keyhop {

// A folder for one test; gone with it.
class TempFolder {
 public:
  TempFolder() : path_(testing::TempDir() + "/keyhop_XXXXXX") {
    EXPECT_NE(mkdtemp(path_.data()), nullptr);
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_KMS_STORAGE_TEMP_FOLDER_H_
