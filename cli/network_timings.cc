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
  if (terminal_) {
    constexpr int kWidth = 100;
    std::string line = TimingLine(done, total, eta, waiting, kWidth);
    line.resize(kWidth, ' ');
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

absl::StatusOr<NetworkTimings> MeasureAll(const AskTimings& ask,
                                          const v1::MeasureNetworksRequest& common,
                                          const std::vector<v1::NetworkSubject>& subjects,
                                          TimingProgress* progress, Clock* clock) {
  NetworkTimings result;
  result.timings.resize(subjects.size());
  std::vector<size_t> pending(subjects.size());
  for (size_t i = 0; i < pending.size(); ++i) pending[i] = i;
  bool first = true;
  int64_t answered_ns = clock->SteadyNanos();
  // What was known comes first, all of it: only then the pace can be told.
  bool looking = true;
  size_t next = 0;
  while (!pending.empty()) {
    const size_t begin = looking ? next : 0;
    const size_t end = std::min(pending.size(), begin + kWindow);
    v1::MeasureNetworksRequest request = common;
    for (size_t i = begin; i < end; ++i) *request.add_subjects() = subjects[pending[i]];
    const absl::StatusOr<v1::MeasureNetworksResponse> answer = ask(request);
    const int64_t now_ns = clock->SteadyNanos();
    if (!answer.ok()) {
      if (first || absl::IsInvalidArgument(answer.status()) ||
          now_ns - answered_ns > absl::ToInt64Nanoseconds(kPatience)) {
        return answer.status();
      }
      clock->SleepFor(kPause);
      continue;
    }
    answered_ns = now_ns;
    if (first) {
      result.device = answer->device();
      result.profile = answer->profile();
      first = false;
    }
    FORALL_RETURN_IF_ERROR(CheckSame(*answer, result));
    if (answer->timings_size() != request.subjects_size()) {
      return absl::InternalError("the controller answered for another number of networks");
    }
    std::vector<size_t> still;
    for (size_t i = begin; i < end; ++i) {
      const v1::NetworkTiming& timing = answer->timings(static_cast<int>(i - begin));
      if (timing.state() == v1::NetworkTiming::MEASURED ||
          timing.state() == v1::NetworkTiming::FAILED) {
        result.timings[pending[i]] = timing;
      } else {
        still.push_back(pending[i]);
      }
    }
    const size_t open = still.size();
    pending.erase(pending.begin() + static_cast<int64_t>(begin),
                  pending.begin() + static_cast<int64_t>(end));
    pending.insert(pending.begin() + static_cast<int64_t>(begin), still.begin(), still.end());
    if (looking) {
      next = begin + open;
      looking = next < pending.size();
      if (looking) continue;
    }
    if (progress != nullptr) {
      progress->Update(static_cast<int64_t>(subjects.size() - pending.size()),
                       static_cast<int64_t>(subjects.size()), answer->waiting_reason(),
                       clock->Now());
    }
    if (!pending.empty()) clock->SleepFor(kPause);
  }
  if (progress != nullptr) progress->Finish();
  return result;
}

}  // namespace forall
