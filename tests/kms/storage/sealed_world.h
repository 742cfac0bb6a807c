#ifndef KEYHOP_TESTS_KMS_STORAGE_SEALED_WORLD_H_
#define KEYHOP_TESTS_KMS_STORAGE_SEALED_WORLD_H_
// What the tests of sealed stores share: secrets as text, and a disk that fails at a chosen step.

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "kms/storage/file_ops.h"
#include "kms/storage/sealed_store.h"
#include "kms/storage/store.h"

namespace keyhop {

inline SecretBytes ToSecret(absl::string_view text) {
  return SecretBytes::CopyOf({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}
inline std::string ToText(const SecretBytes& secret) {
  const std::span<const uint8_t> b = secret.Expose(SecretAccess::ForTest());
  return {b.begin(), b.end()};
}

// Counts the steps of files and store alike, and ends all of them at one.
class CrashPoint {
 public:
  enum class Mode { kBefore, kAfter, kTorn };
  static CrashPoint Never() { return CrashPoint(-1, Mode::kBefore); }
  CrashPoint(int step, Mode mode) : step_(step), mode_(mode) {}

  // Runs a step; kTorn runs `torn` in its place.
  template <typename Step, typename Torn>
  absl::Status Run(Step step, Torn torn) {
    if (dead_) return absl::AbortedError("crashed");
    if (++steps_ != step_) return step();
    dead_ = true;
    if (mode_ == Mode::kAfter) {
      const absl::Status done = step();
      EXPECT_TRUE(done.ok() || absl::IsFailedPrecondition(done)) << done;
    }
    if (mode_ == Mode::kTorn) torn();
    return absl::AbortedError("crashed");
  }
  int steps() const { return steps_; }
  bool dead() const { return dead_; }

 private:
  const int step_;
  const Mode mode_;
  int steps_ = 0;
  bool dead_ = false;
};

// Files as a disk keeps them: names and contents are durable once synced.
class FakeDisk {
 public:
  struct File {
    std::string now;
    std::string synced;
  };
  std::map<std::string, std::shared_ptr<File>> now;
  std::map<std::string, std::shared_ptr<File>> synced;

  // The machine lost power.
  void LoseUnsynced() {
    now = synced;
    for (auto& [name, file] : now) file->now = file->synced;
  }
};

class FakeFileOps final : public FileOps {
 public:
  FakeFileOps(FakeDisk& disk, CrashPoint& crash) : disk_(disk), crash_(crash) {}

  absl::StatusOr<std::optional<std::string>> Read(const std::string& path) override {
    const auto it = disk_.now.find(path);
    return it == disk_.now.end() ? std::nullopt : std::optional(it->second->now);
  }
  absl::Status WriteSynced(const std::string& path, absl::string_view contents) override {
    const auto write = [&](absl::string_view text) {
      auto& file = disk_.now[path];
      if (file == nullptr) file = std::make_shared<FakeDisk::File>();
      file->now = std::string(text);
    };
    return crash_.Run(
        [&] {
          write(contents);
          disk_.now[path]->synced = std::string(contents);
          return absl::OkStatus();
        },
        [&] { write(contents.substr(0, contents.size() / 2)); });
  }
  absl::Status Sync(const std::string& path) override {
    return crash_.Run(
        [&] {
          disk_.synced = disk_.now;
          if (const auto it = disk_.now.find(path); it != disk_.now.end()) {
            it->second->synced = it->second->now;
          }
          return absl::OkStatus();
        },
        [] {});
  }
  absl::Status Overwrite(const std::string& path) override {
    const auto overwrite = [this, path](size_t bytes) {
      const auto it = disk_.now.find(path);
      if (it == disk_.now.end()) return;
      it->second->now.replace(0, bytes, std::min(bytes, it->second->now.size()), '\0');
      it->second->synced = it->second->now;
    };
    return crash_.Run(
        [&] {
          overwrite(std::string::npos);
          return absl::OkStatus();
        },
        [&] { overwrite(60); });
  }
  absl::Status Unlink(const std::string& path) override {
    return crash_.Run(
        [&] {
          disk_.now.erase(path);
          return absl::OkStatus();
        },
        [] {});
  }

 private:
  FakeDisk& disk_;
  CrashPoint& crash_;
};

class CrashingStore final : public Store {
 public:
  CrashingStore(Store& store, CrashPoint& crash) : store_(store), crash_(crash) {}
  absl::Status Commit(const StoreBatch& batch) override {
    return crash_.Run([&] { return store_.Commit(batch); }, [] {});
  }
  absl::StatusOr<std::string> Get(absl::string_view key) const override { return store_.Get(key); }
  absl::Status Scan(absl::string_view prefix, const Visitor& visit) const override {
    return store_.Scan(prefix, visit);
  }
  uint64_t commit_number() const override { return store_.commit_number(); }

 private:
  Store& store_;
  CrashPoint& crash_;
};

// Key to (public part, secret or "-").
using Records = std::map<std::string, std::pair<std::string, std::string>>;

inline absl::StatusOr<Records> ReadAll(const SealedStore& store, absl::string_view prefix = "") {
  Records all;
  const absl::Status s = store.ScanAll(prefix, [&](absl::string_view key, absl::string_view open,
                                                   std::optional<SecretBytes> secret) {
    all[std::string(key)] = {std::string(open), secret.has_value() ? ToText(*secret) : "-"};
    return absl::OkStatus();
  });
  if (!s.ok()) return s;
  return all;
}

}  // namespace keyhop

#endif  // KEYHOP_TESTS_KMS_STORAGE_SEALED_WORLD_H_
