// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/latency_message.h"

#include <algorithm>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/cut_text.h"
#include "base/status_macros.h"

namespace forall {
namespace {

// Of a text that the controller takes.
constexpr size_t kMostText = 1024;

v1::Verdict::State ToState(Verdict verdict) {
  switch (verdict) {
    case Verdict::kTrusted:
      return v1::Verdict::TRUSTED;
    case Verdict::kNoisy:
      return v1::Verdict::NOISY;
    case Verdict::kRejected:
      return v1::Verdict::REJECTED;
  }
  return v1::Verdict::STATE_UNSPECIFIED;
}

// Under which rules and settings: what the hashes beside the number stand for.
std::map<std::string, std::string> ProfileFields(const LatencyResult& result) {
  const Profile& profile = result.profile;
  const BackendDescription& backend = result.backend;
  std::map<std::string, std::string> fields = {
      {"latency_profile", profile.name},
      {"latency_rules",
       absl::StrCat("half_width=", profile.target_half_width, " runs=", profile.min_runs, "-",
                    profile.max_runs, " duration=", absl::FormatDuration(profile.max_duration),
                    " sessions=", profile.sessions, profile.fresh ? " fresh" : "",
                    profile.cold_cache ? " cold_cache" : "")},
      {"runtime", absl::StrCat(backend.runtime, " ", backend.runtime_version)},
      {"provider", backend.provider},
      {"precision", backend.precision},
      {"threads", absl::StrCat(backend.threads)},
      {"batch", absl::StrCat(backend.batch)}};
  if (!backend.settings.empty()) {
    fields["settings"] = absl::StrJoin(backend.settings, " ", absl::PairFormatter("="));
  }
  return fields;
}

}  // namespace

absl::StatusOr<Profile> ProfileFromTask(absl::string_view name, const v1::LatencyProfile& rules) {
  const absl::string_view base = rules.base().empty() ? name : absl::string_view(rules.base());
  FORALL_ASSIGN_OR_RETURN(Profile profile, ProfileNamed(base.empty() ? "screening" : base));
  if (rules.target_half_width() > 0) profile.target_half_width = rules.target_half_width();
  if (rules.min_runs() > 0) profile.min_runs = rules.min_runs();
  if (rules.max_runs() > 0) profile.max_runs = rules.max_runs();
  // One given alone moves the other.
  if (rules.max_runs() == 0) profile.max_runs = std::max(profile.max_runs, profile.min_runs);
  if (rules.min_runs() == 0) profile.min_runs = std::min(profile.max_runs, profile.min_runs);
  if (rules.has_max_duration()) {
    profile.max_duration = absl::Seconds(rules.max_duration().seconds()) +
                           absl::Nanoseconds(rules.max_duration().nanos());
    profile.min_duration = std::min(profile.min_duration, profile.max_duration);
  }
  if (rules.sessions() > 0) profile.sessions = rules.sessions();
  if (rules.has_fresh()) profile.fresh = rules.fresh();
  return profile;
}

void SetVerdict(Verdict verdict, const std::vector<Reason>& reasons, v1::Verdict* message) {
  message->set_state(ToState(verdict));
  for (const Reason reason : reasons) {
    const absl::string_view name = ReasonName(reason);
    message->add_reasons(name.data(), name.size());
  }
}

v1::LatencyResult ToMessage(const LatencyResult& result, const std::string& reference_sha256,
                            const Baseline& baseline) {
  v1::LatencyResult message;
  message.set_median_ns(result.median_ns);
  message.set_median_low_ns(result.median_low_ns);
  message.set_median_high_ns(result.median_high_ns);
  message.set_reference_median_ns(result.reference_median_ns);
  message.set_ratio(result.ratio);
  message.set_ratio_low(result.ratio_low);
  message.set_ratio_high(result.ratio_high);
  message.set_runs(int64_t{result.runs} * std::max(1, result.backend.runs_per_call));
  message.set_warmup_runs(result.warmup_runs);
  message.set_outliers(result.outliers);
  SetVerdict(result.verdict, result.reasons, message.mutable_verdict());
  for (const double sample : result.CandidateSamples()) message.add_samples_ns(sample);
  for (const double sample : result.ReferenceSamples()) message.add_reference_samples_ns(sample);
  for (const auto& [name, value] : result.environment) {
    (*message.mutable_environment())[name] = CutText(value, kMostText);
  }
  for (const auto& [name, value] : ProfileFields(result)) {
    (*message.mutable_environment())[name] = CutText(value, kMostText);
  }
  (*message.mutable_environment())["sessions"] = std::to_string(result.sessions.size());
  message.set_reference_sha256(reference_sha256);
  if (baseline.result.verdict != Verdict::kRejected) {
    message.set_calibrated_reference_ns(baseline.reference_ns);
  }
  return message;
}

}  // namespace forall
