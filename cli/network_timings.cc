// SPDX-License-Identifier: Apache-2.0
#include "cli/network_timings.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"

namespace forall {
namespace {

// At once: enough to keep many workers busy, and far below what a request may hold.
constexpr size_t kWindow = 512;
constexpr absl::Duration kPause = absl::Seconds(1);
constexpr absl::Duration kPatience = absl::Minutes(2);
constexpr int kBar = 20;

absl::Status CheckSame(const v1::MeasureNetworksResponse& answer, const NetworkTimings& first) {
  if (answer.device().name() == first.device.name() &&
      answer.device().fingerprint() == first.device.fingerprint() &&
      answer.profile().hash() == first.profile.hash()) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat(first.device.name(),
                   " is not what it was: its fingerprint or profile has changed meanwhile, ",
                   "and numbers of both cannot stand in one table; start anew"));
}

}  // namespace

std::string TimingLine(int64_t done, int64_t total, std::optional<absl::Duration> eta,
                       const std::string& waiting, int width) {
  const int64_t filled = total > 0 ? kBar * done / total : kBar;
  std::string line = absl::StrCat("[", std::string(static_cast<size_t>(filled), '#'),
                                  std::string(static_cast<size_t>(kBar - filled), '-'), "]  ", done,
                                  "/", total, " measured");
  if (eta.has_value()) {
    absl::StrAppend(&line, "  ETA ", absl::FormatDuration(absl::Trunc(*eta, absl::Seconds(1))));
  }
  if (!waiting.empty()) absl::StrAppend(&line, "  waiting for ", waiting);
  if (width > 0 && line.size() > static_cast<size_t>(width)) {
    line.resize(static_cast<size_t>(width));
  }
  return line;
}

void TimingProgress::Update(int64_t done, int64_t total, const std::string& waiting,
                            absl::Time now) {
  if (!first_time_.has_value()) {
    first_time_ = now;
    first_done_ = done;
  }
  std::optional<absl::Duration> eta;
  if (done > first_done_ && done < total) {
    eta = (now - *first_time_) / static_cast<double>(done - first_done_) *
          static_cast<double>(total - done);
  }
  if (columns_ > 0) {
    // One less: in its last column a terminal would begin a new line.
    const size_t width = std::max<size_t>(2, columns_) - 1;
    std::string line = TimingLine(done, total, eta, waiting, static_cast<int>(width));
    line.resize(width, ' ');
    *out_ << "\r" << line << std::flush;
    line_open_ = true;
    return;
  }
  const int64_t tenth = total > 0 ? 10 * done / total : 10;
  if (tenth == last_tenth_ && waiting == last_waiting_) return;
  last_tenth_ = tenth;
  last_waiting_ = waiting;
  *out_ << TimingLine(done, total, eta, waiting, 0) << "\n" << std::flush;
}

void TimingProgress::Finish() {
  if (line_open_) *out_ << "\n" << std::flush;
  line_open_ = false;
}

namespace {

// What is still to come, and the round of questions about it.
class Inquiry {
 public:
  Inquiry(const v1::MeasureNetworksRequest& common, const std::vector<v1::NetworkSubject>& subjects)
      : common_(common), subjects_(subjects), pending_(subjects.size()) {
    for (size_t i = 0; i < pending_.size(); ++i) pending_[i] = i;
    result_.timings.resize(subjects.size());
  }

  bool over() const { return pending_.empty(); }
  // In the first round everything is asked for once: what was known before must not count as pace.
  bool first_round() const { return first_round_; }
  bool answered() const { return answered_; }
  int64_t done() const { return static_cast<int64_t>(subjects_.size() - pending_.size()); }

  v1::MeasureNetworksRequest NextRequest() {
    begin_ = first_round_ ? next_ : 0;
    end_ = std::min(pending_.size(), begin_ + kWindow);
    v1::MeasureNetworksRequest request = common_;
    if (answered_) {
      // Another worker of the device may run networks otherwise; its numbers are not wanted.
      request.set_device(result_.device.name());
      request.set_profile(result_.profile.hash());
    }
    for (size_t i = begin_; i < end_; ++i) *request.add_subjects() = subjects_[pending_[i]];
    return request;
  }

  absl::Status Take(const v1::MeasureNetworksResponse& answer) {
    if (!answered_) {
      result_.device = answer.device();
      result_.profile = answer.profile();
      answered_ = true;
    }
    FORALL_RETURN_IF_ERROR(CheckSame(answer, result_));
    if (answer.timings_size() != static_cast<int>(end_ - begin_)) {
      return absl::InternalError("the controller answered for another number of networks");
    }
    std::vector<size_t> left(pending_.begin(), pending_.begin() + static_cast<int64_t>(begin_));
    for (size_t i = begin_; i < end_; ++i) {
      const v1::NetworkTiming& timing = answer.timings(static_cast<int>(i - begin_));
      if (timing.state() == v1::NetworkTiming::MEASURED ||
          timing.state() == v1::NetworkTiming::FAILED) {
        result_.timings[pending_[i]] = timing;
      } else {
        left.push_back(pending_[i]);
      }
    }
    next_ = left.size();
    left.insert(left.end(), pending_.begin() + static_cast<int64_t>(end_), pending_.end());
    pending_ = std::move(left);
    first_round_ = first_round_ && next_ < pending_.size();
    return absl::OkStatus();
  }

  NetworkTimings result() && { return std::move(result_); }

 private:
  const v1::MeasureNetworksRequest& common_;
  const std::vector<v1::NetworkSubject>& subjects_;
  std::vector<size_t> pending_;
  NetworkTimings result_;
  bool answered_ = false;
  bool first_round_ = true;
  size_t begin_ = 0;  // of what was asked last, in pending_
  size_t end_ = 0;
  size_t next_ = 0;
};

}  // namespace

absl::StatusOr<NetworkTimings> MeasureAll(const AskTimings& ask,
                                          const v1::MeasureNetworksRequest& common,
                                          const std::vector<v1::NetworkSubject>& subjects,
                                          TimingProgress* progress, Clock* clock) {
  Inquiry inquiry(common, subjects);
  int64_t answered_ns = clock->SteadyNanos();
  while (!inquiry.over()) {
    const absl::StatusOr<v1::MeasureNetworksResponse> answer = ask(inquiry.NextRequest());
    const int64_t now_ns = clock->SteadyNanos();
    if (!answer.ok()) {
      if (!inquiry.answered() || absl::IsInvalidArgument(answer.status()) ||
          now_ns - answered_ns > absl::ToInt64Nanoseconds(kPatience)) {
        if (progress != nullptr) progress->Finish();
        return answer.status();
      }
      clock->SleepFor(kPause);
      continue;
    }
    answered_ns = now_ns;
    if (const absl::Status taken = inquiry.Take(*answer); !taken.ok()) {
      if (progress != nullptr) progress->Finish();
      return taken;
    }
    if (inquiry.first_round()) continue;
    if (progress != nullptr) {
      progress->Update(inquiry.done(), static_cast<int64_t>(subjects.size()),
                       answer->waiting_reason(), clock->Now());
    }
    if (!inquiry.over()) clock->SleepFor(kPause);
  }
  if (progress != nullptr) progress->Finish();
  return std::move(inquiry).result();
}

}  // namespace forall
