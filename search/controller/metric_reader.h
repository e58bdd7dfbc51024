// SPDX-License-Identifier: Apache-2.0
// Values of trials, one metric of any number of jobs at a time, as frontier queries compare them.
#ifndef FORALL_SEARCH_CONTROLLER_METRIC_READER_H_
#define FORALL_SEARCH_CONTROLLER_METRIC_READER_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/types/span.h"
#include "search/controller/job_fold.h"
#include "search/controller/measurement_index.h"
#include "space/metric_registry.h"
#include "space/recipe.h"

namespace forall {

// A trial of one of the jobs that a query is over: its place in both lists.
struct TrialRef {
  uint32_t job = 0;
  uint32_t trial = 0;
};

struct Reading {
  // As it is compared: where other trials of the job have final accuracies, a screened one's is an
  // estimate, and its interval moves along (JobFold::EstimatorOf).
  double value = 0;
  double low = 0;
  double high = 0;
  double measured = 0;  // the value itself
};

// Whether the trial's job takes the measurement for a final one: a number that another job took at
// final fidelity can be this one's screening, and the other way round.
bool IsFinal(const TrialEntry& trial, const MeasurementRecord& evidence);

// Thread-compatible. What it is made of must outlive it and stay as it is: the controller's lock.
class MetricReader {
 public:
  // The metric under a condition that leaves nothing open (`key`, its subject aside; without a
  // device where nobody has measured): the best measurement that anybody took. `recipe` is that of
  // the key, nullopt when it cannot be parsed.
  MetricReader(const MeasurementIndex& index, absl::Span<const JobFold* const> jobs,
               const MetricInfo& metric, const MeasurementKey& key,
               const std::optional<DeploymentRecipe>& recipe);
  // A slot of the job's plan, by the job's own numbers.
  MetricReader(const JobFold& job, int slot);

  // The trial will be read soon; there need not be such a trial.
  void Prefetch(TrialRef ref) const {
    const Job& job = jobs_[ref.job];
    if (ref.trial >= job.trials) return;
    if (source_ == Source::kAccuracy) {
      __builtin_prefetch(&(*column_)[job.rows[ref.trial].artifact]);
    } else if (source_ == Source::kLatency) {
      __builtin_prefetch(
          &(*column_)[job.graphs == nullptr ? job.rows[ref.trial].graph : job.graphs[ref.trial]]);
    }
  }
  // False when the trial lacks the value.
  bool Read(TrialRef ref, Reading* reading) const;
  // What the trial's value was measured by; nullptr when it lacks one or it is known without.
  const MeasurementRecord* Evidence(TrialRef ref) const;

 private:
  enum class Source { kNothing, kCost, kPrediction, kAccuracy, kLatency, kOwn };
  struct Job {
    const JobFold* fold = nullptr;
    const TrialRow* rows = nullptr;
    size_t trials = 0;
    FinalEstimator estimator;
    const SubjectId* graphs = nullptr;  // nullptr: those of the rows
    bool has_graphs = true;             // false for a recipe that cannot be parsed
  };
  // Of an accuracy or a latency.
  const MeasurementCell& CellOf(TrialRef ref) const;
  // As it is compared.
  Reading Compared(TrialRef ref, const Reading& measured, bool final) const;

  Source source_ = Source::kNothing;
  std::vector<Job> jobs_;
  int64_t Costs::*cost_ = nullptr;
  const MeasurementIndex* index_ = nullptr;
  const MeasurementColumn* column_ = nullptr;
  int slot_ = -1;
};

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_METRIC_READER_H_
