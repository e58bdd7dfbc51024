// SPDX-License-Identifier: Apache-2.0
// What a job's spec asks for, resolved against its supernet's family: which numbers every trial
// needs, which way is better, which limits hold. Immutable, so that it can be shared with samplers.
#ifndef FORALL_SEARCH_CONTROLLER_JOB_PLAN_H_
#define FORALL_SEARCH_CONTROLLER_JOB_PLAN_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proto/forall/v1/resources.pb.h"
#include "search/inner/compiled_table.h"
#include "search/sampler/sampler.h"
#include "space/cost_model.h"
#include "space/family.h"
#include "space/metric_registry.h"
#include "supernet/predictor/accuracy_predictor.h"

namespace forall {

// A distinct condition under which latencies are wanted. Empty fields match any device; the job
// binds the target to one device, fingerprint and profile before it measures (see JobController).
struct LatencyTarget {
  std::string device;  // devices/{device}
  std::string device_class;
  std::string profile;
  int32_t batch = 1;
  // What must be measured there beside latency_ms, in order of its first mention.
  std::vector<std::string> metrics = {};
};

// Files that a spec names, as the controller has read them.
struct JobFiles {
  std::shared_ptr<const AccuracyPredictor> predictor;  // of spec.accuracy_predictor, or nullptr
  // Of spec.latency_tables, in their order. None although the spec names some: they are lost, and
  // the job can only show what its log says.
  std::vector<std::shared_ptr<const CompiledTable>> tables;
};

// A latency that is predicted by a table.
struct TableTarget {
  v1::Condition condition;                     // device or device_class: whose table
  std::shared_ptr<const CompiledTable> table;  // nullptr when it is lost
};

// One number that the job needs about every trial.
struct MetricSlot {
  const MetricInfo* metric = nullptr;
  int target = -1;                // of a latency: index into targets
  int table = -1;                 // of a predicted latency: index into table_targets
  double grid_grams_per_kwh = 0;  // of carbon_mg
};

// Thread-safe.
class JobPlan {
 public:
  struct Limit {
    int slot = 0;
    std::optional<double> at_most;
    std::optional<double> at_least;
  };
  struct Goal {
    int slot = 0;
    bool maximize = false;
  };

  // `spec` must be valid and have its defaults (job_validator.h). InvalidArgument naming the field
  // for a predicted latency of a device that no table is of, and for a second grid of one device.
  static absl::StatusOr<std::shared_ptr<const JobPlan>> Create(const v1::SearchJobSpec& spec,
                                                               std::shared_ptr<const Family> family,
                                                               JobFiles files = {});

  const v1::SearchJobSpec& spec() const { return spec_; }
  const Family& family() const { return *family_; }
  const std::shared_ptr<const Family>& shared_family() const { return family_; }
  const std::vector<MetricSlot>& slots() const { return slots_; }
  const std::vector<LatencyTarget>& targets() const { return targets_; }
  const std::vector<TableTarget>& table_targets() const { return table_targets_; }
  const std::vector<std::shared_ptr<const CompiledTable>>& tables() const { return files_.tables; }
  const std::vector<Goal>& objectives() const { return objectives_; }
  const std::vector<Limit>& limits() const { return limits_; }
  bool needs_accuracy() const { return needs_accuracy_; }
  // Whether a trial needs workers at all.
  bool measures() const { return needs_accuracy_ || !targets_.empty(); }
  // What the job changes of how latencies of "screening" or "final" fidelity are measured; empty
  // when nothing.
  const v1::LatencyProfile& LatencyRules(const std::string& fidelity) const {
    return fidelity == "final" ? spec_.fidelity().final_latency()
                               : spec_.fidelity().screening_latency();
  }
  // Whether a constraint is on a latency.
  bool limits_latency() const { return limits_latency_; }

  const DeploymentRecipe& recipe() const { return recipe_; }

  // Costs of a valid architecture, deployed by the job's recipe.
  Costs CostsOf(const Architecture& architecture) const;
  const Costs& smallest_costs() const { return smallest_; }
  const Costs& largest_costs() const { return largest_; }
  // Whether an objective or a constraint is an accuracy predictor's.
  bool needs_prediction() const { return needs_prediction_; }
  // In percent; nullopt when the job has no predictor, or it was not trained for the architecture.
  std::optional<double> PredictedAccuracy(const Architecture& architecture) const;
  // One for each of table_targets, in ms; empty when one of them cannot be summed.
  std::vector<double> PredictedLatencies(const Architecture& architecture) const;
  // The table of the condition's device or class, or the only one for a condition that names
  // neither; nullptr when there is none.
  std::shared_ptr<const CompiledTable> TableFor(const v1::Condition& condition) const;
  // The table that is believed of a latency before it is measured; nullptr when there is none.
  std::shared_ptr<const CompiledTable> PriorOf(const LatencyTarget& target) const;
  // Index of the slot of the predicted latency that a condition means, or -1: the one of the same
  // table.
  int FindTableSlot(const v1::Condition& condition) const;
  // What the slot is without measuring; nullopt for what is measured or cannot be known. `costs` of
  // the architecture, nullptr: to be counted.
  std::optional<double> KnownValue(const MetricSlot& slot, const Architecture& architecture,
                                   const Costs* costs) const;
  // Whether the constraints on what is known without measuring hold: exact costs and predictions.
  // An architecture that a wanted prediction cannot be made for is not admissible.
  bool Admissible(const Architecture& architecture) const;

  // The fastest subnets of the tables whose predicted latencies are limited.
  std::vector<Architecture> Anchors() const;

  // Slots that constraints limit and that are no objectives, once each, and all that limits them.
  const std::vector<int>& limited() const { return limited_; }
  // How a sampler may see the objectives, and the limited slots: where their values come from, and
  // the bounds that the constraints put on them. Functions share this plan.
  static std::vector<SearchedMetric> SearchedObjectives(const std::shared_ptr<const JobPlan>& plan);
  static std::vector<SearchedMetric> SearchedLimits(const std::shared_ptr<const JobPlan>& plan);

  // Of values in the order of the slots: the objectives, lower is better.
  std::vector<double> Oriented(absl::Span<const double> values) const;
  // The same of the limited slots.
  std::vector<double> OrientedLimited(absl::Span<const double> values) const;
  // 0 when all limits hold, otherwise the sum of their violations relative to their bounds.
  double Violation(absl::Span<const double> values) const;
  // "latency_ms@pi5-lab:batch=8": as people write it.
  std::string SlotName(const MetricSlot& slot) const;
  // "latency_ms@pi5-lab 8.3 is above 8" for the first limit that is broken.
  std::string DescribeViolation(absl::Span<const double> values) const;

 private:
  JobPlan() = default;
  absl::StatusOr<int> SlotOf(const std::string& field, const std::string& metric,
                             const v1::Condition& condition);
  int TargetOf(const v1::Condition& condition);
  absl::Status WantOnDevice(const std::string& field, const v1::Condition& condition,
                            MetricSlot* slot);
  int FindTableTarget(const v1::Condition& condition) const;
  absl::StatusOr<int> TableTargetOf(const std::string& field, const v1::Condition& condition);

  v1::SearchJobSpec spec_;
  std::shared_ptr<const Family> family_;
  std::vector<MetricSlot> slots_;
  std::vector<LatencyTarget> targets_;
  std::vector<Goal> objectives_;
  std::vector<Limit> limits_;
  std::vector<int> limited_;
  static SearchedMetric Searched(const std::shared_ptr<const JobPlan>& plan, int slot,
                                 bool maximize);
  bool needs_accuracy_ = false;
  bool limits_latency_ = false;
  std::vector<TableTarget> table_targets_;
  JobFiles files_;
  bool needs_prediction_ = false;
  DeploymentRecipe recipe_;
  Costs smallest_;
  Costs largest_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_JOB_PLAN_H_
