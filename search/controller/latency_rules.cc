// SPDX-License-Identifier: Apache-2.0
#include "search/controller/latency_rules.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr double kNarrowest = 0.001;
constexpr double kWidest = 0.2;
constexpr int kFewestRuns = 12;  // as every profile has
constexpr int kMostRuns = 5000;
constexpr int kMostSessions = 20;
constexpr int64_t kShortestNanos = 10'000'000;
constexpr int64_t kLongestSeconds = 600;
constexpr int kUsualRuns = 12;
constexpr int kFinalSessions = 5;
constexpr double kFinalHalfWidth = 0.005;

absl::Status Error(const std::string& field, const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", what));
}

absl::Status CheckCount(const std::string& field, int32_t value, int least, int most) {
  if (value == 0 || (value >= least && value <= most)) return absl::OkStatus();
  return Error(field,
               absl::StrCat("must be from ", least, " to ", most, " (0: as in base), got ", value));
}

// Frontiers rest on final latencies, those of other jobs too, which reuse them.
absl::Status CheckNotLessThanFinal(const std::string& path, const v1::LatencyProfile& rules) {
  const bool less = (!rules.base().empty() && rules.base() != "final") ||
                    rules.target_half_width() > kFinalHalfWidth ||
                    (rules.sessions() != 0 && rules.sessions() < kFinalSessions) ||
                    (rules.has_fresh() && !rules.fresh()) ||
                    (rules.has_max_duration() && rules.max_duration().seconds() < 1);
  if (!less) return absl::OkStatus();
  return Error(path, absl::StrCat("may only be more careful than \"final\": ", kFinalSessions,
                                  " fresh sessions of at least 1s and a target_half_width of ",
                                  kFinalHalfWidth, "; less careful is screening_latency"));
}

}  // namespace

absl::Status CheckLatencyRules(const std::string& path, const v1::LatencyProfile& rules,
                               bool final) {
  const std::string& base = rules.base();
  if (!base.empty() && base != "screening" && base != "standard" && base != "final") {
    return Error(path + ".base",
                 absl::StrCat("must be screening, standard or final, got \"", base, "\""));
  }
  const double width = rules.target_half_width();
  // Written so that NaN fails.
  if (width != 0 && !(width >= kNarrowest && width <= kWidest)) {
    return Error(path + ".target_half_width", absl::StrCat("must be from ", kNarrowest, " to ",
                                                           kWidest, " (0.01 is 1 %), got ", width));
  }
  FORALL_RETURN_IF_ERROR(CheckCount(path + ".min_runs", rules.min_runs(), kFewestRuns, kMostRuns));
  FORALL_RETURN_IF_ERROR(CheckCount(path + ".max_runs", rules.max_runs(), kFewestRuns, kMostRuns));
  if (rules.min_runs() != 0 && rules.max_runs() != 0 && rules.max_runs() < rules.min_runs()) {
    return Error(path + ".max_runs", absl::StrCat("must be at least min_runs, ", rules.min_runs(),
                                                  ", got ", rules.max_runs()));
  }
  FORALL_RETURN_IF_ERROR(CheckCount(path + ".sessions", rules.sessions(), 1, kMostSessions));
  if (final) FORALL_RETURN_IF_ERROR(CheckNotLessThanFinal(path, rules));
  if (!rules.has_max_duration()) return absl::OkStatus();
  const google::protobuf::Duration& duration = rules.max_duration();
  const bool sensible = duration.seconds() >= 0 && duration.seconds() <= kLongestSeconds &&
                        duration.nanos() >= 0 && duration.nanos() < 1'000'000'000;
  if (!sensible || duration.seconds() * 1'000'000'000 + duration.nanos() < kShortestNanos) {
    return Error(path + ".max_duration", "must be from 10ms to 10m");
  }
  return absl::OkStatus();
}

absl::Status CheckBatch(const std::string& field, const v1::Worker& worker, int32_t batch) {
  const auto only = worker.device().properties().find("only_batch");
  int32_t possible = 0;
  if (only == worker.device().properties().end() || !absl::SimpleAtoi(only->second, &possible) ||
      possible == batch) {
    return absl::OkStatus();
  }
  return Error(field, absl::StrCat(worker.device().name(), " is timed at batch ", possible,
                                   " only, not ", batch));
}

int64_t LeastLatencyRuns(const v1::LatencyProfile& rules, const std::string& fidelity) {
  if (rules.ByteSizeLong() == 0) return 0;
  const std::string& base = rules.base().empty() ? fidelity : rules.base();
  int64_t sessions = base == "final" ? 5 : base == "standard" ? 3 : 1;
  if (rules.sessions() > 0) sessions = rules.sessions();
  int64_t runs = rules.min_runs();
  if (runs == 0) runs = rules.max_runs() > 0 ? std::min(rules.max_runs(), kUsualRuns) : kUsualRuns;
  return sessions * runs;
}

}  // namespace forall
