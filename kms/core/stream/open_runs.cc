#include "kms/core/stream/open_runs.h"

#include <algorithm>
#include <utility>

#include "kms/base/check.h"
#include "kms/core/stream/word.h"

namespace keyhop {
namespace {

// A tail shorter than the longest key is worth joining to what touches it.
constexpr uint64_t kJoinBytesMax = 4096;

}  // namespace

void OpenRuns::Count(const Run& run) {
  bytes_ += run.left();
  usable_ += UsableOf(run);
}

void OpenRuns::Discount(const Run& run) {
  bytes_ -= run.left();
  usable_ -= UsableOf(run);
}

uint64_t OpenRuns::UsableBytes(uint64_t key_bytes) const {
  const uint64_t step = std::max<uint64_t>(RoundUpToWord(key_bytes), kWordBytes);
  if (step != step_) {
    step_ = step;
    usable_ = 0;
    for (const Run& run : runs_) usable_ += UsableOf(run);
  }
  return usable_;
}

uint64_t OpenRuns::Drawable(Instant now, uint32_t key_bytes) const {
  uint64_t count = 0;
  const uint64_t step = RoundUpToWord(key_bytes);
  for (const Run& run : runs_) {
    if (now < run.ends) count += run.left() / step;
  }
  return count;
}

bool OpenRuns::HoldsEach(Instant now, const std::vector<uint32_t>& key_bytes) const {
  std::vector<uint64_t> left;
  for (const Run& run : runs_) left.push_back(now < run.ends ? run.left() : 0);
  return std::all_of(key_bytes.begin(), key_bytes.end(), [&](uint32_t length) {
    const uint64_t step = RoundUpToWord(length);
    const auto run = std::find_if(left.begin(), left.end(), [&](uint64_t l) { return l >= step; });
    if (run == left.end()) return false;
    *run -= step;
    return true;
  });
}

std::optional<Instant> OpenRuns::FirstEnd() const {
  if (runs_.empty()) return std::nullopt;
  return runs_.front().ends;
}

void OpenRuns::Add(uint64_t epoch, uint64_t begin, SecretBytes bytes, Instant ends,
                   WriteSeq after) {
  if (!runs_.empty()) {
    Run& last = runs_.back();
    const bool touches = last.epoch == epoch && last.begin + last.bytes.size() == begin;
    if (touches && last.left() < kJoinBytesMax) {
      Discount(last);
      SecretBytes rest = last.bytes.Slice(last.drawn, last.left());
      last.begin += last.drawn;
      last.drawn = 0;
      last.bytes = SecretBytes::Concat(rest, bytes);
      last.ends = std::min(last.ends, ends);
      last.after = std::max(last.after, after);
      Count(last);
      return;
    }
  }
  runs_.push_back(Run{epoch, begin, 0, std::move(bytes), ends, after});
  Count(runs_.back());
}

OpenRuns::Drawn OpenRuns::TakeFrom(Run& run, uint32_t key_bytes) {
  const uint64_t step = RoundUpToWord(key_bytes);
  Discount(run);
  Drawn drawn{run.epoch, run.begin + run.drawn, run.bytes.Slice(run.drawn, key_bytes)};
  run.bytes.Erase(run.drawn, step);
  run.drawn += step;
  Count(run);
  return drawn;
}

std::optional<OpenRuns::Draft> OpenRuns::Take(Instant now, uint64_t number, uint32_t key_bytes) {
  const uint64_t step = RoundUpToWord(key_bytes);
  uint64_t count = 0;
  for (auto run = runs_.begin(); count < number; ++run) {
    if (run == runs_.end()) return std::nullopt;
    if (now < run->ends) count += run->left() / step;
  }
  Draft draft;
  draft.keys.reserve(number);
  for (auto run = runs_.begin(); draft.keys.size() < number;) {
    while (now < run->ends && draft.keys.size() < number && run->left() >= step) {
      draft.keys.push_back(TakeFrom(*run, key_bytes));
      draft.after = std::max(draft.after, run->after);
    }
    run = run->left() == 0 ? runs_.erase(run) : std::next(run);
  }
  return draft;
}

OpenRuns::Draft OpenRuns::TakeEach(Instant now, const std::vector<uint32_t>& key_bytes) {
  Draft draft;
  for (const uint32_t length : key_bytes) {
    const auto run = std::find_if(runs_.begin(), runs_.end(), [&](const Run& r) {
      return now < r.ends && r.left() >= RoundUpToWord(length);
    });
    KEYHOP_CHECK(run != runs_.end(), "HoldsEach said so");
    draft.keys.push_back(TakeFrom(*run, length));
    draft.after = std::max(draft.after, run->after);
  }
  std::erase_if(runs_, [](const Run& run) { return run.left() == 0; });
  return draft;
}

template <typename Goes>
uint64_t OpenRuns::BurnIf(Goes goes) {
  const uint64_t before = bytes_;
  std::erase_if(runs_, [&](const Run& run) {
    if (!goes(run)) return false;
    Discount(run);
    return true;
  });
  return before - bytes_;
}

uint64_t OpenRuns::BurnAll() {
  return BurnIf([](const Run&) { return true; });
}

uint64_t OpenRuns::BurnExpired(Instant now) {
  // In the order of their leases, so of their ends.
  const uint64_t before = bytes_;
  while (!runs_.empty() && runs_.front().ends <= now) {
    Discount(runs_.front());
    runs_.pop_front();
  }
  return before - bytes_;
}

uint64_t OpenRuns::BurnEpochsUpTo(uint64_t epoch) {
  return BurnIf([&](const Run& run) { return run.epoch <= epoch; });
}

uint64_t OpenRuns::BurnShort(uint64_t shorter_than, uint64_t keep_bytes) {
  uint64_t all = 0;
  for (const Run& run : runs_) all += run.left() < shorter_than ? run.left() : 0;
  return BurnIf([&](const Run& run) {
    if (all <= keep_bytes || run.left() >= shorter_than) return false;
    all -= run.left();
    return true;
  });
}

}  // namespace keyhop
