// A page that the tree names is there: whoever follows a comment, a link or a help text finds it.
#include <gtest/gtest.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "gmock/gmock.h"

namespace keyhop {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Folders whose pages are named from the root of the tree.
constexpr const char* kFolders[] = {"docs",  "kms",   "trusted_node", "sim",  "tests",
                                    "bench", "proto", "deploy",       "cmake"};

bool IsOfAPath(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.' || c == '/' ||
         c == '-';
}

bool IsOurs(const std::string& path) {
  for (const std::string folder : kFolders) {
    if (path.rfind(folder + "/", 0) == 0) return true;
  }
  return false;
}

// "FILE:LINE: PATH" for each Markdown page that `text`, the content of `file`, names and that is
// not there. A link's target stands relative to the file, what a sentence names to the root.
std::vector<std::string> Missing(const std::string& file, std::istream& text) {
  std::vector<std::string> missing;
  std::string line;
  for (int number = 1; std::getline(text, line); ++number) {
    for (size_t dot = line.find(".md"); dot != std::string::npos; dot = line.find(".md", dot + 1)) {
      const size_t end = dot + 3;
      if (end < line.size() && std::isalnum(static_cast<unsigned char>(line[end])) != 0) continue;
      size_t begin = dot;
      while (begin > 0 && IsOfAPath(line[begin - 1])) --begin;
      const std::string path = line.substr(begin, end - begin);
      const bool link = begin >= 2 && line.compare(begin - 2, 2, "](") == 0;
      const bool there = link ? fs::exists(fs::path(file).parent_path() / path) : fs::exists(path);
      if ((link || IsOurs(path)) && !there) {
        missing.push_back(file + ":" + std::to_string(number) + ": " + path);
      }
    }
  }
  return missing;
}

std::vector<std::string> MissingIn(const std::string& file, const std::string& text) {
  std::istringstream in(text);
  return Missing(file, in);
}

bool IsText(const fs::path& path) {
  for (const char* ending :
       {".md", ".h", ".cc", ".proto", ".py", ".sh", ".cmake", ".txt", ".yaml"}) {
    if (path.extension() == ending) return true;
  }
  return false;
}

TEST(DocPathsTest, EveryPageThatTheTreeNamesIsThere) {
  std::vector<fs::path> files = {"README.md", "CMakeLists.txt"};
  for (const char* folder : kFolders) {
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      const fs::path& path = entry.path();
      // This file names pages that are not there.
      if (IsText(path) && path != "tests/lint/doc_paths_test.cc") files.push_back(path);
    }
  }
  EXPECT_GT(files.size(), 100u) << "run from the root of the repository";
  std::string all;
  for (const fs::path& path : files) {
    std::ifstream in(path);
    ASSERT_TRUE(in) << path;
    for (const std::string& line : Missing(path.string(), in)) all += line + "\n";
  }
  EXPECT_EQ(all, "");
}

TEST(DocPathsTest, TellsWhereAMissingPageIsNamed) {
  EXPECT_THAT(MissingIn("kms/x.h", "\n// As in docs/gone.md, and docs/rest.md.\n"),
              ElementsAre("kms/x.h:2: docs/gone.md"));
  EXPECT_THAT(MissingIn("README.md", "[a](docs/gone.md) [docs/lost.md](docs/rest.md)"),
              ElementsAre("README.md:1: docs/gone.md", "README.md:1: docs/lost.md"));
}

TEST(DocPathsTest, ALinkIsRelativeToItsFile) {
  EXPECT_THAT(MissingIn("docs/x.md", "[a](rest.md) [b](../README.md)"), IsEmpty());
  EXPECT_THAT(MissingIn("docs/x.md", "[a](docs/rest.md)"),
              ElementsAre("docs/x.md:1: docs/rest.md"));
}

TEST(DocPathsTest, LeavesPagesOfOthersAlone) {
  EXPECT_THAT(
      MissingIn("kms/x.h", "// https://example.org/docs/gone.md, doc/gone.md, a docs/x.mdx"),
      IsEmpty());
}

}  // namespace
}  // namespace keyhop
