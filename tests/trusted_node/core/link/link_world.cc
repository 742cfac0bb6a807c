#include "tests/trusted_node/core/link/link_world.h"

#include "kms/base/check.h"

namespace keyhop {
namespace {

LinkRecordVariant CloneRecord(const LinkRecordVariant& record) {
  if (const auto* pad = std::get_if<PadRecord>(&record)) {
    PadRecord copy{.link = pad->link, .book = pad->book, .block = pad->block};
    if (pad->bytes) copy.bytes = pad->bytes->Duplicate(SecretAccess::ForTest());
    return copy;
  }
  if (const auto* book = std::get_if<BookRecord>(&record)) return *book;
  return std::get<LinkRecord>(record);
}

}  // namespace

SecretBytes UnitBytes(BookId book, uint64_t block, size_t size) {
  SecretBytes bytes(size);
  uint64_t x = (book.module_pair * 1'000'003u + book.run) * 1'000'003u + block + 1;
  for (uint8_t& b : bytes.ExposeMutable(SecretAccess::ForTest())) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    b = static_cast<uint8_t>(x >> 56);
  }
  return bytes;
}

SecretBytes TestLinkKey() { return UnitBytes({99, 99}, 0, 32); }

LinkConfig TestLinkConfig(bool lower_end) {
  LinkConfig config;
  config.id = LinkId("a-b");
  config.self = NodeId(lower_end ? "a" : "b");
  config.peer = NodeId(lower_end ? "b" : "a");
  return config;
}

void LinkDisk::Apply(LinkRecordVariant record) {
  if (auto* pad = std::get_if<PadRecord>(&record)) {
    const Key key = {2, pad->book, pad->block};
    records_.erase(key);
    if (pad->bytes) records_.emplace(key, std::move(record));
  } else if (auto* book = std::get_if<BookRecord>(&record)) {
    const Key key = {1, book->book, 0};
    records_.erase(key);
    if (!book->erased) records_.emplace(key, std::move(record));
  } else {
    records_.insert_or_assign(Key{0, {}, 0}, std::move(record));
  }
}

std::vector<LinkRecordVariant> LinkDisk::Read() const {
  std::vector<LinkRecordVariant> out;
  for (const auto& [key, record] : records_) out.push_back(CloneRecord(record));
  return out;
}

LinkDisk LinkDisk::Clone() const {
  LinkDisk copy;
  copy.starts = starts;
  for (const auto& [key, record] : records_) copy.records_.emplace(key, CloneRecord(record));
  return copy;
}

std::optional<BookRecord> LinkDisk::Book(BookId book) const {
  const auto it = records_.find({1, book, 0});
  if (it == records_.end()) return std::nullopt;
  return std::get<BookRecord>(it->second);
}

std::optional<LinkRecord> LinkDisk::Link() const {
  const auto it = records_.find({0, {}, 0});
  if (it == records_.end()) return std::nullopt;
  return std::get<LinkRecord>(it->second);
}

size_t LinkDisk::units() const {
  size_t count = 0;
  for (const auto& [key, record] : records_) count += std::get<0>(key) == 2;
  return count;
}

size_t LinkDisk::books() const {
  size_t count = 0;
  for (const auto& [key, record] : records_) count += std::get<0>(key) == 1;
  return count;
}

TestEnd::TestEnd(LinkConfig link_config, uint64_t random_seed)
    : config(std::move(link_config)), random_(random_seed) {
  Start();
}

WriteSeq TestEnd::Write(LinkRecordVariant record) {
  writes_.push_back(std::move(record));
  return ++next_;
}

void TestEnd::Send(LinkMessage message, WriteSeq after) {
  waiting_.emplace_back(std::move(message), after);
}

void TestEnd::Start() {
  ++starts;
  auto created = LinkEnd::Create(config, TestLinkKey(), {++disk.starts, Random()}, disk.Read());
  KEYHOP_CHECK(created.ok(), "an end starts from its records");
  end = *std::move(created);
}

void TestEnd::Sync(size_t writes) {
  for (; writes > 0 && !writes_.empty(); --writes) {
    disk.Apply(std::move(writes_.front()));
    writes_.pop_front();
    ++synced_;
  }
}

void TestEnd::Crash(size_t writes) {
  Sync(writes);
  synced_ = next_ = 0;
  writes_.clear();
  waiting_.clear();
  end.reset();
}

std::vector<LinkMessage> TestEnd::TakeSent() {
  std::vector<LinkMessage> sent;
  std::deque<std::pair<LinkMessage, WriteSeq>> rest;
  for (auto& [message, after] : waiting_) {
    if (Durable(after)) {
      sent.push_back(std::move(message));
    } else {
      rest.emplace_back(std::move(message), after);
    }
  }
  waiting_ = std::move(rest);
  return sent;
}

LinkPair::LinkPair(LinkConfig low_config, LinkConfig high_config)
    : low(std::move(low_config), 1), high(std::move(high_config), 2) {}

void LinkPair::Give(BookId book, uint64_t begin, uint64_t end, size_t size) {
  for (uint64_t block = begin; block < end; ++block) {
    for (TestEnd* e : {&low, &high}) {
      KEYHOP_CHECK((*e)->Take(now, book, block, UnitBytes(book, block, size), *e).ok(), "a unit");
    }
  }
}

void LinkPair::Connect() {
  low->OnConnected(now, low);
  high->OnConnected(now, high);
  Settle();
}

void LinkPair::Settle() {
  for (int round = 0; round < 100; ++round) {
    low.Sync();
    high.Sync();
    const std::vector<LinkMessage> to_high = low.TakeSent();
    const std::vector<LinkMessage> to_low = high.TakeSent();
    for (const LinkMessage& m : to_high) high->OnMessage(now, m, high);
    for (const LinkMessage& m : to_low) low->OnMessage(now, m, low);
    if (to_high.empty() && to_low.empty() && low.under_way() + high.under_way() == 0) return;
  }
  KEYHOP_CHECK(false, "two ends talk without end");
}

void LinkPair::Run(Duration duration) {
  for (const Instant end = now + duration; now < end; now = now + Duration::Millis(10)) {
    for (TestEnd* e : {&low, &high}) {
      if (const auto at = (*e)->NextDeadline(); at && *at <= now) (*e)->OnTick(now, *e);
    }
    Settle();
  }
}

}  // namespace keyhop
