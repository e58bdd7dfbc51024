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
};

// One number that the job needs about every trial.
struct MetricSlot {
  const MetricInfo* metric = nullptr;
  int target = -1;  // of a latency: index into targets
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

  // `spec` must be valid and have its defaults (job_validator.h).
  // `predictor` is what spec.accuracy_predictor names; nullptr when it names none.
  static absl::StatusOr<std::shared_ptr<const JobPlan>> Create(
      const v1::SearchJobSpec& spec, std::shared_ptr<const Family> family,
      std::shared_ptr<const AccuracyPredictor> predictor = nullptr);

  const v1::SearchJobSpec& spec() const { return spec_; }
  const Family& family() const { return *family_; }
  const std::shared_ptr<const Family>& shared_family() const { return family_; }
  const std::vector<MetricSlot>& slots() const { return slots_; }
  const std::vector<LatencyTarget>& targets() const { return targets_; }
  const std::vector<Goal>& objectives() const { return objectives_; }
  const std::vector<Limit>& limits() const { return limits_; }
  bool needs_accuracy() const { return needs_accuracy_; }
  // Whether a constraint is on a latency.
  bool limits_latency() const { return limits_latency_; }

  const DeploymentRecipe& recipe() const { return recipe_; }

  // Costs of a valid architecture, deployed by the job's recipe.
  Costs CostsOf(const Architecture& architecture) const;
  const Costs& smallest_costs() const { return smallest_; }
  const Costs& largest_costs() const { return largest_; }
  // Whether an objective or a constraint is a prediction.
  bool needs_prediction() const { return needs_prediction_; }
  // In percent; nullopt when the job has no predictor, or it was not trained for the architecture.
  std::optional<double> PredictedAccuracy(const Architecture& architecture) const;
  // Whether the constraints on what is known without measuring hold: exact costs and predictions.
  // An architecture that a wanted prediction cannot be made for is not admissible.
  bool Admissible(const Architecture& architecture) const;

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
  // "latency_ms 8.3 is above 8" for the first limit that is broken.
  std::string DescribeViolation(absl::Span<const double> values) const;

 private:
  JobPlan() = default;
  int SlotOf(const std::string& metric, const v1::Condition& condition);
  int TargetOf(const v1::Condition& condition);

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
  std::shared_ptr<const AccuracyPredictor> predictor_;
  bool needs_prediction_ = false;
  DeploymentRecipe recipe_;
  Costs smallest_;
  Costs largest_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_JOB_PLAN_H_
