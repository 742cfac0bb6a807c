#include "kms/core/announce/announcer.h"

#include <algorithm>
#include <utility>

#include "kms/core/stream/layout.h"

namespace keyhop {
namespace {

constexpr int64_t kSlowestRetry = 32;  // Times AnnounceConfig::retry.

}  // namespace

void Announcer::Add(Announcement drawn, WriteSeq after) {
  if (queue_.size() >= config_.queued_max) {
    queue_.pop_front();
    ++first_;
    ++dropped_;
    under_way_ -= std::min<size_t>(under_way_, 1);
  }
  queue_.push_back(std::move(drawn));
  after_ = std::max(after_, after);
}

void Announcer::On(Instant now, const InterestReport& m, const StreamSource& source,
                   WriteSeq said) {
  if (source.session() != m.session || !source.Vouches(m.epoch, LayoutOf(m), m.mac)) return;
  if (reporter_ == m.session.second && m.number < interest_) return;  // Overtaken by a later one.
  reporter_ = m.session.second;
  interest_ = m.number;
  slaves_ = {m.slaves.begin(), m.slaves.end()};
  if (m.taken_of == own_ && m.taken < first_ + queue_.size()) {
    for (; first_ <= m.taken && !queue_.empty(); ++first_) queue_.pop_front();
  }
  under_way_ = 0;
  after_ = std::max(after_, said);
  echo_due_ = true;
  tries_ = 0;
  retry_at_ = now;
}

void Announcer::On(const AnnouncementsTaken& m, const StreamSource& source) {
  if (source.session() != m.session || !source.Vouches(m.epoch, LayoutOf(m), m.mac)) return;
  for (; under_way_ > 0 && first_ <= m.taken; ++first_, --under_way_) queue_.pop_front();
  if (under_way_ == 0) {
    tries_ = 0;
    retry_at_.reset();
  }
}

void Announcer::OnTick(Instant now, StreamSource& source, StreamOutbox& out) {
  if (!source.session_open() || source.session().second != reporter_) {
    // The other end started anew, or is about to: its next report says from where to go on. Where
    // this end opens the session anew there is none: what is not confirmed is said again.
    under_way_ = 0;
    retry_at_.reset();
    return;
  }
  const bool again = under_way_ > 0 && retry_at_ && *retry_at_ <= now;
  const bool news = under_way_ == 0 && (!queue_.empty() || echo_due_);
  if (!again && !news) return;
  if (again) source.AskIfSilent(now);
  if (news) under_way_ = std::min(queue_.size(), kAnnouncementsPerMessageMax);
  Announcements batch{.stream = stream_,
                      .session = source.session(),
                      .epoch = source.Levels().epoch,
                      .interest = interest_,
                      .first = first_};
  batch.items.assign(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(under_way_));
  batch.mac = source.Vouch(batch.epoch, LayoutOf(batch));
  out.Send(stream_.destination, std::move(batch), after_);
  echo_due_ = false;
  retry_at_.reset();
  if (under_way_ == 0) return;  // An echo alone: who misses it asks again.
  retry_at_ = now + config_.retry * std::min<int64_t>(1 + tries_++, kSlowestRetry);
}

}  // namespace keyhop
