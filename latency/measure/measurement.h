// SPDX-License-Identifier: Apache-2.0
// The words of a latency measurement: how exactly to measure (Profile), what came out
// (LatencyResult) and whether to believe it (Verdict, Reason). docs/measurement.md tells why.
#ifndef FORALL_LATENCY_MEASURE_MEASUREMENT_H_
#define FORALL_LATENCY_MEASURE_MEASUREMENT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "latency/backend/backend.h"

namespace forall {

// How long to measure. A session stops when its interval of the ratio is narrow enough, or at a
// cap.
struct Profile {
  std::string name = {};
  // Relative half-width of the 95 % interval of the ratio, within one session.
  double target_half_width = 0.01;
  int min_runs = 12;
  int max_runs = 200;
  // Of one session's samples, however narrow the interval: what other programs do meanwhile cannot
  // be told in less (LoadBetween in environment.h).
  absl::Duration min_duration = absl::Milliseconds(100);
  // Of one session's samples, and of its warm-up.
  absl::Duration max_duration = absl::Seconds(5);
  // The same while there are fewer than min_runs, if that is longer.
  absl::Duration few_runs_duration = absl::Seconds(5);
  // From three on, the scatter between them goes into the interval.
  int sessions = 1;
  // Each session shares nothing with another: it has a process of its own where the device allows.
  bool fresh = false;
  // The caches are emptied before every run, as if other work had been done since the last one.
  bool cold_cache = false;
};

// "screening" (2 %), "standard" (1 %, three sessions of at most 2 s), "final" (0.5 %, five sessions
// of at most 1 s, whose scatter makes the interval). InvalidArgument names the three.
absl::StatusOr<Profile> ProfileNamed(absl::string_view name);

// The profile for a device that measures by itself (BackendDescription::runs_per_call), where a
// timing is a program's call of seconds: each is a process of its own already, so there is one
// session of 6 calls and one more for each session that the profile asks for, or as many as have
// the profile's least runs together; at most four times as many, in at most half an hour.
Profile ForCalls(const Profile& profile, int runs_per_call);

// The profile with as many runs, over all its sessions, as a percentile in (0, 100) needs
// (FewestSamplesForPercentile in base/binomial.h), for which the samples may take a minute in all.
Profile ForPercentile(const Profile& profile, double percentile);

enum class Verdict {
  kTrusted,
  kNoisy,     // Enters a frontier only as contested.
  kRejected,  // Enters nothing.
};

enum class Reason {
  kThrottled,    // The reference's speed moved and the ratio with it, or by over 50 %. Rejects.
  kPaceChanged,  // The reference's speed moved by more than 10 %, and the ratio held.
  kTooFewRuns,   // Fewer than min_runs in max_duration; rejects below 6, where no interval exists.
  kUnstableWarmup,  // Two windows of 5 never agreed within 1 %.
  kCorrelated,      // Successive ratios depend on each other: fewer than half count as independent.
  kTwoModes,        // The ratios gather at two values.
  kDrift,           // First and second half disagree by more than the interval allows.
  kLoad,      // Other programs used more than half of the idle cores, or the host took time away.
  kOutliers,  // More than a tenth of the ratios are far off. They are counted, never deleted.
  kTargetMissed,      // At a cap the interval was still more than twice as wide as wanted.
  kSessionsDisagree,  // Sessions scatter so much that the interval's half-width exceeds 5 %.
  kBaselineShift,  // The reference is more than 20 % off its baseline: the device is not as it was.
  kGate,      // Hotter, or its clock capped lower, than the gate allows, however long it was waited
              // for.
  kEmulated,  // An emulator ran the device's instructions: no time of any hardware.
};

// "TRUSTED", "NOISY", "REJECTED".
absl::string_view VerdictName(Verdict verdict);
// "throttled", "too_few_runs", "unstable_warmup", ...
absl::string_view ReasonName(Reason reason);
// REJECTED when a reason rejects, NOISY when there is any reason.
Verdict VerdictOf(const std::vector<Reason>& reasons, int runs);

// A value with a 95 % interval, low <= value <= high.
struct Estimate {
  double value = 0;
  double low = 0;
  double high = 0;

  // Larger arm of the interval over the value.
  double RelativeHalfWidth() const;
};

// Every timed run of one session, in order: reference_ns[i] was run just before candidate_ns[i].
struct SessionSamples {
  std::vector<double> candidate_ns;
  std::vector<double> reference_ns;
  int warmup_runs = 0;
  bool warmup_stable = true;
  // Where a timing is the median of a program's own: what those were, of all calls in order.
  std::vector<double> candidate_parts_ns;
  std::vector<double> reference_parts_ns;
  // What was seen where the session ran: pinned_cores or pin_refused, involuntary_switches, ...
  std::map<std::string, std::string> notes;
  // Processor time that another process spent for this session.
  absl::Duration other_process_time;

  std::vector<double> Ratios() const;
};

// How the ratios of different sessions of one network scatter.
struct SessionSpread {
  double relative = 0;  // standard deviation; 0: not known
  int degrees = 0;      // of freedom: how many sessions it was taken from, less one
};

struct LatencyResult {
  // One inference of the whole batch as the clock showed it: moves with the device's mood.
  double median_ns = 0;
  double median_low_ns = 0;
  double median_high_ns = 0;
  // Candidate over reference: what to compare and to store. Multiply by the reference's baseline to
  // get nanoseconds that are comparable between measurements (AtBaseline).
  double ratio = 0;
  double ratio_low = 0;
  double ratio_high = 0;
  double reference_median_ns = 0;

  int runs = 0;         // Of the candidate, all sessions; the reference had as many.
  int warmup_runs = 0;  // Pairs.
  int outliers = 0;
  // Largest over smallest windowed median of the reference, minus 1; the worst session's.
  double reference_drift = 0;
  // Lag-1 rank autocorrelation of the ratios; the worst session's.
  double autocorrelation = 0;
  // Relative standard deviation of the sessions' ratios; 0 with fewer than three sessions.
  double session_spread = 0;

  Verdict verdict = Verdict::kRejected;
  std::vector<Reason> reasons;
  std::vector<SessionSamples> sessions;
  Profile profile;
  BackendDescription backend;
  // What was probed around the measurement: governor, load, frequency, pinned core, warnings.
  std::map<std::string, std::string> environment;
  absl::Time start_time;
  absl::Duration duration;

  // The ratio times the reference's baseline, in nanoseconds.
  Estimate AtBaseline(double baseline_reference_ns) const;
  // Samples of all sessions, one after the other.
  std::vector<double> CandidateSamples() const;
  std::vector<double> ReferenceSamples() const;
};

}  // namespace forall

#endif  // FORALL_LATENCY_MEASURE_MEASUREMENT_H_
