#ifndef KEYHOP_TESTS_TRUSTED_NODE_CORE_LINK_LINK_WORLD_H_
#define KEYHOP_TESTS_TRUSTED_NODE_CORE_LINK_LINK_WORLD_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "trusted_node/core/link/link_end.h"

namespace keyhop {

// The bytes that the modules made for a unit: the same at both ends.
SecretBytes UnitBytes(BookId book, uint64_t block, size_t size = 1024);
SecretBytes TestLinkKey();
LinkConfig TestLinkConfig(bool lower_end);

// What is durable of one end; records under their keys.
class LinkDisk {
 public:
  void Apply(LinkRecordVariant record);
  std::vector<LinkRecordVariant> Read() const;
  LinkDisk Clone() const;
  std::optional<BookRecord> Book(BookId book) const;
  std::optional<LinkRecord> Link() const;
  size_t units() const;
  size_t books() const;
  uint64_t starts = 0;  // The node's durable counter.

 private:
  using Key = std::tuple<int, BookId, uint64_t>;
  std::map<Key, LinkRecordVariant> records_;
};

// One end with its disk: writes become durable, and messages leave, only when told to.
class TestEnd final : public LinkOutbox {
 public:
  TestEnd(LinkConfig link_config, uint64_t random_seed);

  WriteSeq Write(LinkRecordVariant record) override;
  void Send(LinkMessage message, WriteSeq after) override;
  uint64_t Random() override {
    return random_ = random_ * 6364136223846793005u + 1442695040888963407u;
  }
  void RollbackFound() override { ++rollbacks; }

  void Start();
  // Makes the first `writes` of those under way durable; what waited for them may leave.
  void Sync(size_t writes = SIZE_MAX);
  // Ends the process: what is under way is lost, but for the first `writes`.
  void Crash(size_t writes = 0);
  std::vector<LinkMessage> TakeSent();
  bool Durable(WriteSeq seq) const { return seq <= synced_; }
  size_t under_way() const { return writes_.size(); }

  LinkEnd& operator*() { return *end; }
  LinkEnd* operator->() { return end.get(); }

  LinkConfig config;
  LinkDisk disk;
  std::unique_ptr<LinkEnd> end;
  int rollbacks = 0;
  int starts = 0;

 private:
  uint64_t random_;
  WriteSeq next_ = 0;
  WriteSeq synced_ = 0;
  std::deque<LinkRecordVariant> writes_;
  std::deque<std::pair<LinkMessage, WriteSeq>> waiting_;
};

// Two ends `low` (the allocator) and `high` over a network that loses nothing.
class LinkPair {
 public:
  explicit LinkPair(LinkConfig low_config = TestLinkConfig(true),
                    LinkConfig high_config = TestLinkConfig(false));

  // Gives both ends units [begin, end) of a book.
  void Give(BookId book, uint64_t begin, uint64_t end, size_t size = 1024);
  void Connect();
  // Syncs and delivers until nothing is under way.
  void Settle();
  // Settles, and lets time pass in steps of 10 ms.
  void Run(Duration duration);

  TestEnd low;
  TestEnd high;
  Instant now = {1'000'000'000};
};

inline constexpr BookId kBook = {1, 1};

}  // namespace keyhop

#endif  // KEYHOP_TESTS_TRUSTED_NODE_CORE_LINK_LINK_WORLD_H_
