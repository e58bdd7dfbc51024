// SPDX-License-Identifier: Apache-2.0
#include "cli/progress.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/wrapped_text.h"
#include "space/metric_registry.h"

namespace forall {
namespace {

// Trials that the budget is spent on.
int Done(const v1::SearchJob& job) {
  return job.measured_trials() + job.infeasible_trials() + job.failed_trials();
}

}  // namespace

const char* StateName(v1::SearchJob::State state) {
  switch (state) {
    case v1::SearchJob::RUNNING:
      return "running";
    case v1::SearchJob::PAUSED:
      return "paused";
    case v1::SearchJob::FINALIZING:
      return "finalizing";
    case v1::SearchJob::SUCCEEDED:
      return "succeeded";
    case v1::SearchJob::CANCELLED:
      return "cancelled";
    case v1::SearchJob::FAILED:
      return "failed";
    default:
      return "unknown";
  }
}

bool Measures(const v1::SearchJobSpec& spec) {
  const auto measured = [](const auto& wanted) {
    const MetricInfo* const metric = FindMetric(wanted.metric());
    return metric == nullptr || metric->source == MetricSource::kAccuracy ||
           metric->source == MetricSource::kLatency;
  };
  return std::any_of(spec.objectives().begin(), spec.objectives().end(), measured) ||
         std::any_of(spec.constraints().begin(), spec.constraints().end(), measured);
}

std::string ProgressLine(const v1::SearchJob& job, std::optional<absl::Duration> eta, int width) {
  const bool finalizing = job.state() == v1::SearchJob::FINALIZING;
  const int total =
      std::max(1, finalizing ? job.frontier_size() : job.spec().budget().max_trials());
  const int done = std::min(total, finalizing ? job.finalized_trials() : Done(job));
  std::string text = finalizing ? absl::StrFormat("  %d/%d frontier members final", done, total)
                                : absl::StrFormat("  %d/%d subnets tried", done, total);
  if (!finalizing && Done(job) > 0) absl::StrAppend(&text, "  frontier ", job.frontier_size());
  if (Done(job) > 0) {
    const bool final = job.state() == v1::SearchJob::SUCCEEDED;
    absl::StrAppendFormat(&text, "  hypervolume %.4f%s", job.hypervolume(),
                          !Measures(job.spec()) ? ""
                          : final               ? " final"
                                                : " screened");
  }
  if (job.state() != v1::SearchJob::RUNNING && !finalizing)
    absl::StrAppend(&text, "  ", StateName(job.state()));
  if (job.infeasible_trials() > 0) {
    absl::StrAppend(&text, "  ", job.infeasible_trials(), " infeasible");
  }
  if (job.failed_trials() > 0) absl::StrAppend(&text, "  ", job.failed_trials(), " failed");
  if (!job.stop_reason().empty()) {
    absl::StrAppend(
        &text, absl::StrContains(job.stop_reason(), "plateau") ? "  plateau" : "  stopped early");
  }
  if (!job.waiting_reason().empty()) absl::StrAppend(&text, "  waits");
  if (eta.has_value()) absl::StrAppend(&text, "  ETA ", absl::FormatDuration(*eta));
  const int bar = std::clamp(width - static_cast<int>(text.size()) - 2, 0, 30);
  if (bar < 5) return text.substr(2, static_cast<size_t>(std::max(0, width)));
  const int filled = static_cast<int>(int64_t{bar} * done / total);
  return absl::StrCat("[", std::string(filled, '#'), std::string(bar - filled, '-'), "]", text);
}

std::optional<absl::Duration> ProgressPrinter::Eta(const v1::SearchJob& job, absl::Time now) {
  const bool finalizing = job.state() == v1::SearchJob::FINALIZING;
  if (job.state() != v1::SearchJob::RUNNING && !finalizing) return std::nullopt;
  const int so_far = finalizing ? job.finalized_trials() : Done(job);
  const int total = finalizing ? job.frontier_size() : job.spec().budget().max_trials();
  // Final measurements have a pace of their own.
  if (!first_time_.has_value() || first_finalizing_ != finalizing) {
    first_time_ = now;
    first_done_ = so_far;
    first_finalizing_ = finalizing;
  }
  const int done = so_far - first_done_;
  const int left = total - so_far;
  if (done < (finalizing ? 1 : 5) || left <= 0) return std::nullopt;
  const absl::Duration eta = (now - *first_time_) / done * left;
  return absl::Ceil(eta, absl::Seconds(1));
}

void ProgressPrinter::Update(const v1::SearchJob& job, absl::Time now) {
  const std::optional<absl::Duration> eta = Eta(job, now);
  // A line of its own, as long as it takes: it is what somebody has to act on.
  if (job.waiting_reason() != last_reason_) {
    last_reason_ = job.waiting_reason();
    if (!last_reason_.empty()) {
      *out_ << (terminal_ ? "\r\033[K" : "")
            << WrappedText("", "waits for " + last_reason_, 2, width_) << std::flush;
    }
  }
  if (terminal_) {
    // Return to the start, clear the line, draw.
    *out_ << "\r\033[K" << ProgressLine(job, eta, static_cast<int>(width_)) << std::flush;
    line_open_ = true;
    return;
  }
  const int total = std::max(1, job.spec().budget().max_trials());
  const int tenth = static_cast<int>(int64_t{10} * Done(job) / total);
  if (tenth == last_tenth_ && job.state() == last_state_) return;
  last_tenth_ = tenth;
  last_state_ = job.state();
  *out_ << ProgressLine(job, eta, static_cast<int>(width_)) << "\n" << std::flush;
}

void ProgressPrinter::Finish() {
  if (line_open_) *out_ << "\n" << std::flush;
  line_open_ = false;
}

}  // namespace forall
