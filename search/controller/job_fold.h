// SPDX-License-Identifier: Apache-2.0
// What a job knows: a fold over its event log and the measurements that the log names. The same
// code runs while a job lives and when a restarted controller reads the log back (invariant 4), and
// nothing else changes this state (invariant 3: along the edges that Apply knows).
#ifndef FORALL_SEARCH_CONTROLLER_JOB_FOLD_H_
#define FORALL_SEARCH_CONTROLLER_JOB_FOLD_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "search/controller/job_event.h"
#include "search/controller/job_plan.h"
#include "search/controller/measurement_index.h"
#include "search/pareto/frontier.h"
#include "search/sampler/sampler.h"
#include "search/store/result_store.h"

namespace forall {

// One subnet in the job.
struct TrialEntry {
  TrialRecord record;
  TrialState state = TrialState::kActive;
  std::string error;
  std::string artifact_sha256;  // "" until exported
  bool reused = false;          // needed no new measurement
  std::optional<absl::Time> end_time;
  Architecture architecture;
  Costs costs;
  std::optional<double> predicted_accuracy;  // where the job names a predictor
  // By latency tables, one for each of the plan's table targets, in ms.
  std::vector<double> predicted_latencies;
  // What the sampler predicted when it proposed it: an entry per objective of the plan, in its own
  // unit and orientation, and its standard deviation. Empty where it predicted nothing.
  std::vector<Prediction> expected;
  int32_t resolution = 0;
  // Per slot of the plan the measurement that holds its value, 0 while there is none. A final
  // measurement replaces a screening one where both exist.
  std::vector<int64_t> screening;
  std::vector<int64_t> final;
  // Every measurement of this trial in order, the test split's and rejected ones included.
  std::vector<int64_t> measurements;
  bool test_measured = false;
  // Of fidelity.tiers, the one that its screening accuracy is wanted at, and how many it has.
  int tier = 0;
  int tiers_measured = 0;
  // Ordinal of the trial that was shown to be better, 0: none. See JobFold::StoppedBy.
  int64_t stopped_by = 0;
  // (target, fidelity) -> latencies that were rejected.
  std::map<std::pair<int, std::string>, int> rejections;
  std::string rejection;  // what was wrong with the last of them
  // The first failure that was final, "" while there is none.
  std::string failure;
  TrialState failure_state = TrialState::kActive;
  std::string attempt_failure;    // the last attempt at a task that failed and was tried again
  bool needed_measuring = false;  // something was not reused
  bool spared_accuracy = false;   // see JobFold::spared_accuracies
  bool finalizing = false;        // chosen for final measurements
  bool finalized = false;         // they are done, or could not be had
  std::string finalize_error;     // why not
  bool contested = false;         // JobFold::Contesting named it
  int64_t changed = 0;            // sequence of the last event about it
};

// What queries over many trials read of each of them, side by side.
struct TrialRow {
  SubjectId artifact = kNoSubject;  // none until it is exported
  SubjectId graph = kNoSubject;     // at batch 1, under the job's recipe
  bool has_final = false;           // of TrialEntry::final some measurement is there
  bool screened_finally = false;    // some measurement of final fidelity was its screening
};

// What a screening value is compared as where other trials of the job have final ones: their mean
// final value, and half of what sets it apart from their mean screening value
// (docs/adr/0005-finalists.md).
struct FinalEstimator {
  bool known = false;  // otherwise values stay as they are
  double final_mean = 0;
  double screening_mean = 0;
  double operator()(double screening) const {
    // Of what sets a screened value apart from others, this much is taken to be there in truth.
    constexpr double kReliability = 0.5;
    return known ? final_mean + kReliability * (screening - screening_mean) : screening;
  }
};

// What is known of a trial without measuring it: exact costs, and predictions where the job has a
// predictor or a table. nullopt for metrics that are measured.
bool IsKnownUnmeasured(const MetricInfo& metric);
std::optional<double> KnownValue(const TrialEntry& trial, const MetricSlot& slot);

// What follows for a job when measurements are retracted.
struct RetractionEffect {
  std::vector<int64_t> measurements;  // those that the job rests on, ascending
  std::vector<int64_t> changed;       // ordinals of trials that lose something
  std::vector<int64_t> remeasured;    // of these, those that are undecided again
  std::vector<int64_t> lost;          // of these, those that have failed, since the job has ended
  int64_t dropped_known = 0;          // entries of JobFold::known
  bool empty() const { return measurements.empty(); }
};

// Where a latency target was bound.
struct TargetBinding {
  std::string device;  // id without "devices/"
  std::string fingerprint;
  std::string profile;
};

// Thread-compatible: the controller's lock guards it.
class JobFold {
 public:
  // With more objectives than these a hypervolume takes too long once the frontier is large: it is
  // then 0, and no plateau can be seen.
  static constexpr int kCheapObjectives = 4;

  // `index` is not owned and must outlive it; it must hold a measurement before an event names it.
  // It learns of the job's subjects.
  JobFold(JobRecord record, std::shared_ptr<const JobPlan> plan, MeasurementIndex* index);

  // DataLoss when the event does not follow from the log so far (its sequence is not the next, it
  // names a trial that was never proposed, a measurement that is not there, a forbidden edge).
  absl::Status Apply(const JobEvent& event);

  // What the event "retracted" would do.
  RetractionEffect EffectOfRetracting(const absl::flat_hash_set<int64_t>& gone) const;
  // Every measurement that the log names, also what was retracted since: without them it cannot be
  // applied again.
  void AddNamedTo(absl::flat_hash_set<int64_t>* ids) const;

  const JobRecord& record() const { return record_; }
  const JobPlan& plan() const { return *plan_; }
  const std::shared_ptr<const JobPlan>& shared_plan() const { return plan_; }
  int64_t sequence() const { return sequence_; }
  // What was doubtful at submission, and what was retracted since.
  const std::vector<std::string>& warnings() const { return warnings_; }
  // Who submitted it; "" where the log does not say so.
  const std::string& tenant() const { return tenant_; }
  const std::vector<TrialEntry>& trials() const { return trials_; }
  // Both as long as trials().
  const std::vector<TrialRow>& rows() const { return rows_; }
  const std::vector<Costs>& costs() const { return costs_; }
  // What keys the trials' screening latencies at another batch or recipe than rows() has them for,
  // as long as trials(). What was asked for once is kept. Good until the next event.
  const std::vector<SubjectId>& Graphs(int32_t batch, const DeploymentRecipe& recipe) const;
  // nullptr when there is none. `ordinal` counts from 1.
  const TrialEntry* FindTrial(int64_t ordinal) const;
  bool HasArchitecture(const std::string& arch_key) const { return keys_.contains(arch_key); }
  const std::vector<std::optional<TargetBinding>>& bindings() const { return bindings_; }
  bool AllBound() const;
  bool ended() const;

  const std::vector<ScoredTrial>& history() const { return history_; }
  // Measured before the job was submitted, as ProposeRequest::known has it. The log names every
  // measurement of it, so nothing that happens to other jobs or to the store can change it: not
  // what is measured later, not a final value beside a screened one; a retraction only as an event
  // of this log.
  const std::vector<ScoredTrial>& known() const { return known_; }
  // Ordinals of trials that are proposed and not decided, ascending.
  const absl::btree_set<int64_t>& active() const { return active_; }
  int64_t measured() const { return counts_[static_cast<int>(TrialState::kMeasured)]; }
  int64_t infeasible() const { return counts_[static_cast<int>(TrialState::kInfeasible)]; }
  int64_t failed() const { return counts_[static_cast<int>(TrialState::kFailed)]; }
  int64_t reused() const { return reused_; }
  // Infeasible by a latency, their accuracy not measured, by earlier jobs neither.
  int64_t spared_accuracies() const { return spared_accuracies_; }
  // Whether the last budget.plateau_trials trials that were decided, feasible or not, have hardly
  // added hypervolume. Once reached it stays so.
  bool plateau_reached() const { return plateau_reached_; }
  // Why the job had proposed no more when it went on to final measurements, "" where its budget of
  // trials was spent.
  const std::string& stop_reason() const { return stop_reason_; }

  // Value of a slot, by the best measurement there is; nullopt while there is none.
  std::optional<double> Value(const TrialEntry& trial, int slot) const;
  // The measurement behind it; nullptr for exact costs and while there is none.
  const MeasurementRecord* Evidence(const TrialEntry& trial, int slot) const;
  // The one that the search went on with before the trial was measured again at final fidelity.
  const MeasurementRecord* SearchedEvidence(const TrialEntry& trial, int slot) const;
  // All slots, or nullopt while one is missing.
  std::optional<std::vector<double>> Values(const TrialEntry& trial) const;
  // All slots, NaN for what is missing.
  std::vector<double> KnownValues(const TrialEntry& trial) const;
  // "latency_ms 8.3 is above 8 even at the lower end of its interval, 8.2" for the first limit on a
  // latency that its measurement is certain to break; "" when there is none.
  std::string BrokenLatencyLimit(const TrialEntry& trial) const;
  bool HasFinal(const TrialEntry& trial, int slot) const;
  // Every slot's value is as good as it gets.
  bool AllFinal(const TrialEntry& trial) const;

  // Images of the trial's screening accuracy at the tier where it stands; 0: all.
  int32_t ScreeningImages(const TrialEntry& trial) const;
  // There is a further tier, and the split has images for it.
  bool HasNextTier(const TrialEntry& trial) const;
  // Whether another trial is established to dominate this one: no worse in every other objective,
  // latencies by their intervals, and more accurate on the validation images that both have seen by
  // McNemar's exact test. The ordinal of the one that shows it best, 0 when the job has no tiers or
  // nobody does. The probability that a trial is stopped though no other is more accurate is at
  // most 5 %: it is divided by the number of tiers and of rivals (docs/adr/0006-racing.md).
  int64_t FindBetter(const TrialEntry& trial) const;
  // Trials that have been measured at each tier, ascending.
  const std::vector<int64_t>& tier_trials() const { return tier_trials_; }
  // Who keeps the trial off the frontier: the one that stopped it, while that one still counts.
  int64_t StoppedBy(const TrialEntry& trial) const;

  // Of a metric of the plan; not known while no trial has both a final and a screening value, and
  // for what is no accuracy.
  FinalEstimator EstimatorOf(absl::string_view metric) const;
  double FinalEstimate(absl::string_view metric, double screening) const {
    return EstimatorOf(metric)(screening);
  }
  // Ordinals of trials chosen for final measurements that are not done, ascending.
  const absl::btree_set<int64_t>& finalizing() const { return finalizing_; }

  // Ordinals of trials whose latencies are being measured finally for the frontier's sake,
  // ascending.
  const absl::btree_set<int64_t>& contesting() const { return contesting_; }
  // Trials that are not on the frontier, but would be if their screened latencies came out at the
  // favourable end of their intervals: those that need the smallest part of that first. So many
  // that with those that were named before there are no more than frontier members.
  std::vector<int64_t> Contesting() const;

  // Ordinals of the non-dominated measured trials, best first objective first (invariant 5),
  // without those that a race has stopped. A screened trial is compared with finally measured ones
  // by FinalEstimate.
  const std::vector<int64_t>& frontier() const { return frontier_; }
  bool OnFrontier(int64_t ordinal) const { return on_frontier_.contains(ordinal); }
  // Each objective scaled to [0, 1] between ideal and reference. 0 until the scale is known, and
  // where computing it would take long (more than four objectives and 50 members).
  double hypervolume() const { return hypervolume_; }
  // After each measured trial: its ordinal and the hypervolume then.
  const std::vector<std::pair<int64_t, double>>& hypervolume_history() const {
    return hypervolume_history_;
  }
  // In the order of the objectives and in their units: an exact cost spans the smallest and the
  // largest subnet's, an accuracy 0 to 100, a latency (measured or predicted), memory or
  // energy 0 to the first measured trial's times how many more MACs the largest subnet has, a rate
  // 0 to that times how many more MACs it has than the smallest (0 until there is one). Once
  // known they never change, unless that first trial's value is retracted: then the next one
  // counts.
  const std::vector<double>& hypervolume_reference() const { return reference_; }
  const std::vector<double>& hypervolume_ideal() const { return ideal_; }
  // Oriented objectives (lower is better) as the hypervolume takes them: 0 is the ideal, 1 the
  // reference.
  std::vector<double> Scaled(absl::Span<const double> oriented) const;

  std::optional<absl::Time> start_finalizing_time() const { return start_finalizing_; }
  int64_t FinalizedFrontierMembers() const;

 private:
  bool NoWorseElsewhere(const TrialEntry& rival, const TrialEntry& trial) const;
  absl::Status Propose(const JobEvent& event);
  absl::Status Know(const JobEvent& event);
  absl::Status Measured(const JobEvent& event, TrialEntry* trial);
  absl::Status Decide(const JobEvent& event, TrialEntry* trial);
  absl::Status ChangeState(const JobEvent& event);
  absl::Status Retract(const JobEvent& event);
  void LoseMeasurements(const absl::flat_hash_set<int64_t>& gone, TrialEntry* trial);
  void Reopen(TrialEntry* trial);
  // Anew from the trials as they are now: frontier, scale, hypervolumes, plateau.
  void RebuildHistory(bool scale);
  bool IsPlateau() const;
  void LearnScale(const TrialEntry& trial);
  void RebuildFrontier();
  void CountBoth(const TrialEntry& trial, size_t slot, int sign);
  std::vector<double> ComparedValues(const TrialEntry& trial, std::vector<double> values) const;
  std::optional<double> LuckToJoin(const TrialEntry& trial) const;
  // Whether it is a member now.
  bool AddToFrontier(const TrialEntry& trial);
  void PublishFrontier();
  double ComputeHypervolume() const;

  JobRecord record_;
  std::shared_ptr<const JobPlan> plan_;
  MeasurementIndex* index_;
  int64_t sequence_ = 0;
  std::vector<std::string> warnings_;
  std::string tenant_;
  std::vector<TrialEntry> trials_;
  std::vector<TrialRow> rows_;
  std::vector<Costs> costs_;
  // By batch and recipe; as many as there were trials when they were last asked for.
  mutable std::map<std::pair<int32_t, std::string>, std::vector<SubjectId>> graphs_;
  absl::flat_hash_set<std::string> keys_;
  std::vector<std::optional<TargetBinding>> bindings_;
  std::vector<ScoredTrial> history_;
  std::vector<ScoredTrial> known_;
  std::vector<std::vector<int64_t>> known_measurements_;  // as long as known_
  // That the log names and no trial holds: known ones, those that were retracted.
  std::vector<int64_t> named_beside_trials_;
  std::vector<int64_t> decided_;  // measured trials in order of decision
  absl::btree_set<int64_t> active_;
  absl::btree_set<int64_t> finalizing_;
  absl::btree_set<int64_t> contesting_;
  int64_t counts_[8] = {};
  std::vector<int64_t> tier_trials_;
  int64_t reused_ = 0;
  int64_t spared_accuracies_ = 0;
  std::vector<double> hypervolumes_;  // after each decided trial
  bool plateau_reached_ = false;
  std::string stop_reason_;
  Frontier points_;
  // Over the trials that have both a final and a screening value, per slot.
  struct BothSums {
    int64_t count = 0;
    double screening = 0;
    double final = 0;
  };
  std::vector<BothSums> both_;
  std::vector<int64_t> frontier_;
  absl::flat_hash_set<int64_t> on_frontier_;
  double hypervolume_ = 0;
  std::vector<std::pair<int64_t, double>> hypervolume_history_;
  // Per objective, the unit's own orientation; 0 for a latency until the first measured trial.
  std::vector<double> reference_;
  std::vector<double> ideal_;
  bool scaled_ = false;
  std::optional<absl::Time> start_finalizing_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_JOB_FOLD_H_
