// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/latency_message.h"

namespace forall {
namespace {

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

}  // namespace

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
  message.set_runs(result.runs);
  message.set_warmup_runs(result.warmup_runs);
  message.set_outliers(result.outliers);
  message.mutable_verdict()->set_state(ToState(result.verdict));
  for (const Reason reason : result.reasons) {
    const absl::string_view name = ReasonName(reason);
    message.mutable_verdict()->add_reasons(name.data(), name.size());
  }
  for (const double sample : result.CandidateSamples()) message.add_samples_ns(sample);
  for (const double sample : result.ReferenceSamples()) message.add_reference_samples_ns(sample);
  for (const auto& [name, value] : result.environment) {
    (*message.mutable_environment())[name] = value;
  }
  (*message.mutable_environment())["latency_profile"] = result.profile.name;
  (*message.mutable_environment())["sessions"] = std::to_string(result.sessions.size());
  message.set_reference_sha256(reference_sha256);
  if (baseline.result.verdict != Verdict::kRejected) {
    message.set_calibrated_reference_ns(baseline.reference_ns);
  }
  return message;
}

}  // namespace forall
