// SPDX-License-Identifier: Apache-2.0
#include "search/controller/job_validator.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/unknown_field_set.h"
#include "search/controller/job_fold.h"
#include "search/controller/latency_rules.h"
#include "search/controller/resource_names.h"
#include "search/sampler/sampler_factory.h"
#include "space/cost_model.h"
#include "space/metric_registry.h"
#include "space/recipe.h"

namespace forall {
namespace {

// Whole batches of every size that workers use.
constexpr int kPartMultiple = 64;
constexpr int kMaxTiers = 8;
constexpr int kMaxTables = 16;
constexpr int kMaxObjectives = 8;
constexpr int kMaxBounds = 32;  // of constraints, which have one or two
constexpr int kMaxTrials = 1'000'000;
constexpr int kMaxImages = 100'000'000;
constexpr int kMaxParallelism = 10'000;
constexpr int kMaxPriority = 100;
constexpr float kLeastWeight = 0.01F;
constexpr float kMostWeight = 100;
constexpr int kMaxPopulation = 100'000;
constexpr int kMaxBatch = 4096;
constexpr double kMaxGridGramsPerKwh = 10'000;  // ten times what burning coal gives
constexpr size_t kMaxText = 200;

template <typename... Parts>
absl::Status Invalid(const std::string& field, const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", parts...));
}

// All digits, and no 1e+06.
std::string Number(double value) { return absl::StrFormat("%.15g", value); }

std::string Quoted(const std::string& text) {
  return absl::StrCat("\"", absl::CHexEscape(absl::string_view(text).substr(0, 80)), "\"");
}

// A newer client's field that this build would silently ignore must not be accepted.
absl::Status CheckUnknownFields(const google::protobuf::Message& message, const std::string& path) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  const google::protobuf::UnknownFieldSet& unknown = reflection.GetUnknownFields(message);
  if (!unknown.empty()) {
    return Invalid(path, "field number ", unknown.field(0).number(),
                   " is not known to this controller; it may be older than the client");
  }
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const google::protobuf::FieldDescriptor* field : fields) {
    if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) continue;
    const std::string name = absl::StrCat(path, ".", field->name());
    if (!field->is_repeated()) {
      FORALL_RETURN_IF_ERROR(CheckUnknownFields(reflection.GetMessage(message, field), name));
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      FORALL_RETURN_IF_ERROR(CheckUnknownFields(reflection.GetRepeatedMessage(message, field, i),
                                                absl::StrCat(name, "[", i, "]")));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckRange(const std::string& field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return Invalid(field, "must be from ", low, " to ", high, ", got ", value);
}

absl::Status CheckText(const std::string& field, const std::string& text) {
  if (text.size() <= kMaxText) return absl::OkStatus();
  return Invalid(field, "at most ", kMaxText, " bytes, got ", text.size());
}

absl::Status CheckMetric(const std::string& field, const std::string& metric) {
  if (FindMetric(metric) != nullptr) return absl::OkStatus();
  if (metric.empty()) return Invalid(field, "required; one of ", KnownMetricIds());
  return Invalid(field, "no metric ", Quoted(metric), "; known are ", KnownMetricIds());
}

absl::Status CheckSplit(const std::string& field, const v1::Condition& condition) {
  if (condition.split().empty() || condition.split() == "validation") return absl::OkStatus();
  if (condition.split() == "test" || condition.split() == "train") {
    return Invalid(field,
                   "a search sees only \"validation\" (fidelity.test_split reports the test "
                   "split of the final frontier), got ",
                   Quoted(condition.split()));
  }
  return Invalid(field, "want \"validation\", got ", Quoted(condition.split()));
}

absl::Status CheckCondition(const std::string& field, const v1::Condition& condition,
                            const std::string& metric) {
  const MetricSource source = FindMetric(metric)->source;
  const bool on_device = !condition.device().empty() || !condition.device_class().empty() ||
                         !condition.profile().empty() || condition.batch() != 0;
  if (source == MetricSource::kTable && (!condition.profile().empty() || condition.batch() != 0)) {
    return Invalid(field, metric,
                   " holds under its table's conditions; leave profile and batch out");
  }
  if (on_device && source != MetricSource::kLatency && source != MetricSource::kTable) {
    return Invalid(field, metric,
                   " does not depend on device, device_class, profile or batch; leave "
                   "them out");
  }
  if (source == MetricSource::kTable && !condition.device().empty() &&
      !condition.device_class().empty()) {
    return Invalid(field, "name a table's device in device or in device_class, not in both");
  }
  if (!condition.device().empty() && !ParseDeviceName(condition.device()).ok()) {
    return Invalid(absl::StrCat(field, ".device"), "want devices/ID, got ",
                   Quoted(condition.device()));
  }
  FORALL_RETURN_IF_ERROR(CheckText(absl::StrCat(field, ".device_class"), condition.device_class()));
  FORALL_RETURN_IF_ERROR(CheckText(absl::StrCat(field, ".profile"), condition.profile()));
  FORALL_RETURN_IF_ERROR(CheckText(absl::StrCat(field, ".dataset"), condition.dataset()));
  FORALL_RETURN_IF_ERROR(
      CheckRange(absl::StrCat(field, ".batch"), condition.batch(), 0, kMaxBatch));
  if (!condition.recipe().empty() && !ParseRecipe(condition.recipe()).ok()) {
    return Invalid(absl::StrCat(field, ".recipe"),
                   ParseRecipe(condition.recipe()).status().message());
  }
  // A minus zero is not none, but would be shown as none.
  const bool has_grid =
      condition.grid_grams_per_kwh() != 0 || std::signbit(condition.grid_grams_per_kwh());
  if (has_grid && metric != kCarbon) {
    return Invalid(field, metric, " does not depend on a grid; leave grid_grams_per_kwh out");
  }
  if (!(condition.grid_grams_per_kwh() >= 0 &&
        condition.grid_grams_per_kwh() <= kMaxGridGramsPerKwh)) {
    return Invalid(absl::StrCat(field, ".grid_grams_per_kwh"), "must be from 0 to ",
                   kMaxGridGramsPerKwh, ", got ", Number(condition.grid_grams_per_kwh()));
  }
  if (source == MetricSource::kAccuracy)
    return CheckSplit(absl::StrCat(field, ".split"), condition);
  if (!condition.dataset().empty() || !condition.split().empty()) {
    return Invalid(field, metric, " does not depend on dataset or split; leave them out");
  }
  return absl::OkStatus();
}

absl::Status CheckObjective(const std::string& field, const v1::Objective& objective) {
  FORALL_RETURN_IF_ERROR(CheckMetric(absl::StrCat(field, ".metric"), objective.metric()));
  if (!v1::Objective::Goal_IsValid(objective.goal())) {
    return Invalid(absl::StrCat(field, ".goal"), "want MAXIMIZE or MINIMIZE, got ",
                   objective.goal());
  }
  return CheckCondition(absl::StrCat(field, ".condition"), objective.condition(),
                        objective.metric());
}

absl::Status CheckBound(const std::string& field, double bound) {
  if (std::isfinite(bound)) return absl::OkStatus();
  return Invalid(field, "must be a finite number, got ", bound);
}

absl::Status CheckConstraint(const std::string& field, const v1::Constraint& constraint) {
  FORALL_RETURN_IF_ERROR(CheckMetric(absl::StrCat(field, ".metric"), constraint.metric()));
  if (!constraint.has_at_most() && !constraint.has_at_least()) {
    return Invalid(field, "give at_most, at_least or both");
  }
  FORALL_RETURN_IF_ERROR(CheckBound(absl::StrCat(field, ".at_most"), constraint.at_most()));
  FORALL_RETURN_IF_ERROR(CheckBound(absl::StrCat(field, ".at_least"), constraint.at_least()));
  if (constraint.has_at_most() && constraint.at_most() < 0) {
    return Invalid(absl::StrCat(field, ".at_most"), "no ", constraint.metric(), " is below 0, got ",
                   Number(constraint.at_most()));
  }
  const bool percent = FindMetric(constraint.metric())->unit == "%";
  if (percent && constraint.has_at_least() && constraint.at_least() > 100) {
    return Invalid(absl::StrCat(field, ".at_least"), "no ", constraint.metric(),
                   " is above 100, got ", Number(constraint.at_least()));
  }
  if (constraint.has_at_most() && constraint.has_at_least() &&
      constraint.at_least() > constraint.at_most()) {
    return Invalid(field, "at_least ", Number(constraint.at_least()), " is above at_most ",
                   Number(constraint.at_most()));
  }
  return CheckCondition(absl::StrCat(field, ".condition"), constraint.condition(),
                        constraint.metric());
}

absl::Status CheckSampler(const v1::SamplerSpec& sampler) {
  const std::string& algorithm = sampler.algorithm();
  const std::vector<std::string> known = SamplerNames();
  if (!algorithm.empty() && std::find(known.begin(), known.end(), algorithm) == known.end()) {
    return Invalid("spec.sampler.algorithm", "want ", absl::StrJoin(known, ", "), ", got ",
                   Quoted(algorithm));
  }
  FORALL_RETURN_IF_ERROR(
      CheckRange("spec.sampler.population_size", sampler.population_size(), 0, kMaxPopulation));
  if (sampler.population_size() == 1) {
    return Invalid("spec.sampler.population_size",
                   "a population of one has no parents to choose "
                   "from; 0 takes the default");
  }
  const double probability = sampler.mutation_probability();
  if (!(probability >= 0 && probability <= 1)) {
    return Invalid("spec.sampler.mutation_probability", "must be from 0 to 1, got ", probability);
  }
  return absl::OkStatus();
}

absl::Status CheckBudget(const v1::SearchJobSpec& spec) {
  FORALL_RETURN_IF_ERROR(
      CheckRange("spec.budget.max_trials", spec.budget().max_trials(), 1, kMaxTrials));
  FORALL_RETURN_IF_ERROR(
      CheckRange("spec.budget.plateau_trials", spec.budget().plateau_trials(), 0, kMaxTrials));
  const double improvement = spec.budget().plateau_improvement();
  if (!(improvement >= 0 && improvement < 1)) {
    return Invalid("spec.budget.plateau_improvement", "must be from 0 to below 1, got ",
                   improvement);
  }
  if (spec.budget().plateau_trials() > 0 && spec.objectives_size() > JobFold::kCheapObjectives) {
    return Invalid("spec.budget.plateau_trials", "the hypervolume of ", spec.objectives_size(),
                   " objectives is not followed once the frontier is large, only that of up to ",
                   JobFold::kCheapObjectives, "; use max_trials or max_duration");
  }
  if (improvement > 0 && spec.budget().plateau_trials() == 0) {
    return Invalid("spec.budget.plateau_improvement",
                   "means nothing without spec.budget.plateau_trials");
  }
  if (!spec.budget().has_max_duration()) return absl::OkStatus();
  const google::protobuf::Duration& duration = spec.budget().max_duration();
  // The well-known type's own range; nanos alone could make it negative.
  if (duration.seconds() < 0 || duration.seconds() > 315'576'000'000 || duration.nanos() < 0 ||
      duration.nanos() > 999'999'999 || (duration.seconds() == 0 && duration.nanos() == 0)) {
    return Invalid("spec.budget.max_duration", "must be a positive duration");
  }
  return absl::OkStatus();
}

absl::Status CheckTiers(const v1::Fidelity& fidelity) {
  const std::string path = "spec.fidelity.";
  if (fidelity.tiers().empty()) return absl::OkStatus();
  if (fidelity.tiers_size() > kMaxTiers) {
    return Invalid(path + "tiers", "at most ", kMaxTiers, ", got ", fidelity.tiers_size());
  }
  for (int i = 0; i < fidelity.tiers_size(); ++i) {
    const std::string field = absl::StrCat(path, "tiers[", i, "]");
    FORALL_RETURN_IF_ERROR(CheckRange(field, fidelity.tiers(i), 1, kMaxImages));
    if (i > 0 && fidelity.tiers(i) <= fidelity.tiers(i - 1)) {
      return Invalid(field, "must be more images than the tier before, ", fidelity.tiers(i - 1),
                     ", got ", fidelity.tiers(i));
    }
  }
  if (fidelity.screening_images() != 0 && fidelity.screening_images() != fidelity.tiers(0)) {
    return Invalid(path + "screening_images", "is the first of the tiers, ", fidelity.tiers(0),
                   "; leave it out, got ", fidelity.screening_images());
  }
  const int32_t last = fidelity.tiers(fidelity.tiers_size() - 1);
  if (fidelity.final_images() != 0 && last >= fidelity.final_images()) {
    return Invalid(path + "final_images", "must be more images than the last tier, ", last,
                   " (0 means all)");
  }
  return absl::OkStatus();
}

// Races are run over top-1 outcomes image by image; of top-5 only counts are known.
absl::Status CheckRaceable(const v1::SearchJobSpec& spec) {
  if (spec.fidelity().tiers().empty()) return absl::OkStatus();
  bool top1 = false;
  for (int i = 0; i < spec.objectives_size(); ++i) {
    top1 |= spec.objectives(i).metric() == "accuracy_top1";
    if (spec.objectives(i).metric() == "accuracy_top5") {
      return Invalid(absl::StrCat("spec.objectives[", i, "]"),
                     "fidelity.tiers race over accuracy_top1; with accuracy_top5 as an objective "
                     "use fidelity.screening_images");
    }
  }
  if (top1) return absl::OkStatus();
  return Invalid("spec.fidelity.tiers", "need accuracy_top1 as an objective");
}

absl::Status CheckFidelity(const v1::Fidelity& fidelity) {
  const std::string path = "spec.fidelity.";
  FORALL_RETURN_IF_ERROR(
      CheckRange(path + "screening_images", fidelity.screening_images(), 0, kMaxImages));
  FORALL_RETURN_IF_ERROR(CheckRange(path + "final_images", fidelity.final_images(), 0, kMaxImages));
  FORALL_RETURN_IF_ERROR(
      CheckRange(path + "calibration_images", fidelity.calibration_images(), 0, kMaxImages));
  if (fidelity.calibration_seed() < 0) {
    return Invalid(path + "calibration_seed", "must not be negative, got ",
                   fidelity.calibration_seed());
  }
  FORALL_RETURN_IF_ERROR(CheckRange(path + "part_images", fidelity.part_images(), 0, kMaxImages));
  if (fidelity.part_images() % kPartMultiple != 0) {
    return Invalid(path + "part_images", "must be a multiple of ", kPartMultiple, ", e.g. ",
                   (fidelity.part_images() / kPartMultiple + 1) * kPartMultiple, ", got ",
                   fidelity.part_images());
  }
  FORALL_RETURN_IF_ERROR(CheckTiers(fidelity));
  const bool all_screened = fidelity.screening_images() == 0 && fidelity.tiers().empty();
  if (fidelity.final_images() != 0 &&
      (all_screened || fidelity.screening_images() > fidelity.final_images())) {
    return Invalid(path + "final_images", "fewer images than screening_images (0 means all)");
  }
  FORALL_RETURN_IF_ERROR(CheckLatencyRules(path + "screening_latency", fidelity.screening_latency(),
                                           /*final=*/false));
  return CheckLatencyRules(path + "final_latency", fidelity.final_latency(), /*final=*/true);
}

std::string ConditionKey(const v1::Condition& condition) {
  return absl::StrCat(condition.device(), "\n", condition.device_class(), "\n", condition.profile(),
                      "\n", condition.dataset(), "\n",
                      condition.split().empty() ? "validation" : condition.split(), "\n",
                      condition.recipe(), "\n", std::max(condition.batch(), 1), "\n",
                      condition.grid_grams_per_kwh());
}

// The conditions of all objectives and constraints, with their paths.
std::vector<std::pair<std::string, const v1::Condition*>> Conditions(
    const v1::SearchJobSpec& spec) {
  std::vector<std::pair<std::string, const v1::Condition*>> conditions;
  for (int i = 0; i < spec.objectives_size(); ++i) {
    conditions.emplace_back(absl::StrCat("spec.objectives[", i, "].condition"),
                            &spec.objectives(i).condition());
  }
  for (int i = 0; i < spec.constraints_size(); ++i) {
    conditions.emplace_back(absl::StrCat("spec.constraints[", i, "].condition"),
                            &spec.constraints(i).condition());
  }
  return conditions;
}

// What the job names, else what the first condition that names one does.
std::string DatasetOf(const v1::SearchJobSpec& spec) {
  std::string dataset = spec.dataset();
  for (const auto& [field, condition] : Conditions(spec)) {
    if (dataset.empty()) dataset = condition->dataset();
  }
  return dataset;
}

absl::Status CheckOneDatasetAndRecipe(const v1::SearchJobSpec& spec) {
  const std::string dataset = DatasetOf(spec);
  const std::string recipe = spec.recipe().empty() ? "fp32" : spec.recipe();
  for (const auto& [field, condition] : Conditions(spec)) {
    if (!condition->dataset().empty() && condition->dataset() != dataset) {
      return Invalid(field + ".dataset", "a job uses one dataset, here ", Quoted(dataset), ", got ",
                     Quoted(condition->dataset()));
    }
    if (!condition->recipe().empty() && condition->recipe() != recipe) {
      return Invalid(field + ".recipe", "a job uses one recipe, here ", Quoted(recipe));
    }
  }
  return absl::OkStatus();
}

bool Uses(const v1::SearchJobSpec& spec, MetricSource source) {
  const auto is_of = [source](const auto& item) {
    return FindMetric(item.metric())->source == source;
  };
  return std::any_of(spec.objectives().begin(), spec.objectives().end(), is_of) ||
         std::any_of(spec.constraints().begin(), spec.constraints().end(), is_of);
}

absl::Status CheckPredictor(const v1::SearchJobSpec& spec) {
  const std::string& sha256 = spec.accuracy_predictor();
  if (!sha256.empty() && !IsSha256Hex(sha256)) {
    return Invalid("spec.accuracy_predictor", "want the SHA-256 of an uploaded predictor, got ",
                   Quoted(sha256));
  }
  if (!sha256.empty() || !Uses(spec, MetricSource::kPrediction)) return absl::OkStatus();
  return Invalid("spec.accuracy_predictor",
                 "predicted_accuracy_top1 needs one; forall predictor import makes it of a "
                 "checkpoint, and accuracy_predictor in a job file names it");
}

absl::Status CheckTables(const v1::SearchJobSpec& spec) {
  if (spec.latency_tables_size() > kMaxTables) {
    return Invalid("spec.latency_tables", "at most ", kMaxTables, ", got ",
                   spec.latency_tables_size());
  }
  for (int i = 0; i < spec.latency_tables_size(); ++i) {
    const std::string field = absl::StrCat("spec.latency_tables[", i, "]");
    if (!IsSha256Hex(spec.latency_tables(i))) {
      return Invalid(field, "want the SHA-256 of an uploaded table, got ",
                     Quoted(spec.latency_tables(i)));
    }
    for (int j = 0; j < i; ++j) {
      if (spec.latency_tables(i) == spec.latency_tables(j)) {
        return Invalid(field, "is there twice");
      }
    }
  }
  if (!spec.latency_tables().empty() || !Uses(spec, MetricSource::kTable)) return absl::OkStatus();
  return Invalid("spec.latency_tables",
                 "predicted_latency_ms needs the device's table; forall table import makes it of "
                 "published ones, and latency_tables in a job file names it");
}

// Two bounds on one number must leave something between them.
absl::Status CheckTogether(const std::string& prefix,
                           const google::protobuf::RepeatedPtrField<v1::Constraint>& constraints,
                           int i, int j) {
  const v1::Constraint& a = constraints[i];
  const v1::Constraint& b = constraints[j];
  if (a.metric() != b.metric() || ConditionKey(a.condition()) != ConditionKey(b.condition())) {
    return absl::OkStatus();
  }
  for (const bool forth : {true, false}) {
    const v1::Constraint& low = forth ? a : b;
    const v1::Constraint& high = forth ? b : a;
    if (!low.has_at_least() || !high.has_at_most() || low.at_least() <= high.at_most()) continue;
    return Invalid(absl::StrCat(prefix, "constraints[", i, "]"), "contradicts ", prefix,
                   "constraints[", j, "]: no subnet has ", a.metric(), ">=", Number(low.at_least()),
                   " and ", a.metric(), "<=", Number(high.at_most()),
                   "; relax or drop one of them");
  }
  return absl::OkStatus();
}

absl::Status CheckWeight(const v1::SearchJobSpec& spec) {
  const float weight = spec.weight();
  if (!spec.has_weight() || (weight >= kLeastWeight && weight <= kMostWeight)) {
    return absl::OkStatus();
  }
  return Invalid("spec.weight", "want ", kLeastWeight, " to ", kMostWeight,
                 " (1 when left out), got ", weight);
}

}  // namespace

absl::Status CheckStoredSpec(const v1::SearchJobSpec& spec) {
  struct Bound {
    const char* field;
    int64_t value;
    int64_t low;
    int64_t high;
  };
  const v1::Fidelity& fidelity = spec.fidelity();
  std::vector<Bound> bounds = {
      {"spec.objectives", spec.objectives_size(), 1, kMaxObjectives},
      {"spec.constraints", spec.constraints_size(), 0, kMaxBounds},
      {"spec.latency_tables", spec.latency_tables_size(), 0, kMaxTables},
      {"spec.fidelity.tiers", fidelity.tiers_size(), 0, kMaxTiers},
      {"spec.budget.max_trials", spec.budget().max_trials(), 1, kMaxTrials},
      {"spec.budget.plateau_trials", spec.budget().plateau_trials(), 0, kMaxTrials},
      {"spec.sampler.population_size", spec.sampler().population_size(), 0, kMaxPopulation},
      {"spec.parallelism", spec.parallelism(), 0, kMaxParallelism},
      {"spec.priority", spec.priority(), -kMaxPriority, kMaxPriority},
      {"spec.fidelity.screening_images", fidelity.screening_images(), 0, kMaxImages},
      {"spec.fidelity.final_images", fidelity.final_images(), 0, kMaxImages},
      {"spec.fidelity.calibration_images", fidelity.calibration_images(), 0, kMaxImages},
      {"spec.fidelity.part_images", fidelity.part_images(), 0, kMaxImages}};
  for (const int32_t images : fidelity.tiers()) {
    bounds.push_back({"spec.fidelity.tiers", images, 1, kMaxImages});
  }
  for (const auto& [field, condition] : Conditions(spec)) {
    bounds.push_back({"spec: a condition's batch", condition->batch(), 0, kMaxBatch});
  }
  for (const Bound& bound : bounds) {
    const absl::Status status = CheckRange(bound.field, bound.value, bound.low, bound.high);
    if (!status.ok()) return absl::DataLossError(status.message());
  }
  if (const absl::Status weight = CheckWeight(spec); !weight.ok()) {
    return absl::DataLossError(weight.message());
  }
  for (const v1::Constraint& constraint : spec.constraints()) {
    if (std::isfinite(constraint.at_most()) && std::isfinite(constraint.at_least())) continue;
    return absl::DataLossError("spec.constraints: a bound is not finite");
  }
  const double probability = spec.sampler().mutation_probability();
  if (probability >= 0 && probability <= 1) return absl::OkStatus();
  return absl::DataLossError("spec.sampler.mutation_probability: must be from 0 to 1");
}

absl::Status ValidateObjectives(
    const google::protobuf::RepeatedPtrField<v1::Objective>& objectives,
    const google::protobuf::RepeatedPtrField<v1::Constraint>& constraints,
    const std::string& prefix) {
  // Sizes first: nothing below runs over a list of a million.
  if (objectives.size() > kMaxObjectives) {
    return Invalid(prefix + "objectives", "at most ", kMaxObjectives, ", got ", objectives.size());
  }
  if (constraints.size() > kMaxBounds) {
    return Invalid(prefix + "constraints", "at most ", kMaxBounds, ", got ", constraints.size());
  }
  // A job file gives each a line of its own: what it shows must be as good as what was given.
  int bounds = 0;
  for (const v1::Constraint& constraint : constraints) {
    bounds += (constraint.has_at_most() ? 1 : 0) + (constraint.has_at_least() ? 1 : 0);
  }
  if (bounds > kMaxBounds) {
    return Invalid(prefix + "constraints", "at most ", kMaxBounds, " bounds, got ", bounds);
  }
  std::set<std::string> seen;
  for (int i = 0; i < objectives.size(); ++i) {
    const std::string field = absl::StrCat(prefix, "objectives[", i, "]");
    FORALL_RETURN_IF_ERROR(CheckObjective(field, objectives[i]));
    if (!seen.insert(absl::StrCat(objectives[i].metric(), "\n",
                                  ConditionKey(objectives[i].condition())))
             .second) {
      return Invalid(field, objectives[i].metric(),
                     " under this condition is an objective already; give each one once");
    }
  }
  for (int i = 0; i < constraints.size(); ++i) {
    FORALL_RETURN_IF_ERROR(
        CheckConstraint(absl::StrCat(prefix, "constraints[", i, "]"), constraints[i]));
    for (int j = 0; j < i; ++j) {
      FORALL_RETURN_IF_ERROR(CheckTogether(prefix, constraints, i, j));
    }
  }
  return absl::OkStatus();
}

namespace {

// Energy becomes carbon in a grid that somebody names; a question about what was measured may leave
// it open.
absl::Status CheckGrids(const v1::SearchJobSpec& spec) {
  const auto check = [](const std::string& field, const auto& wanted) {
    if (wanted.metric() != kCarbon || wanted.condition().grid_grams_per_kwh() > 0) {
      return absl::OkStatus();
    }
    return Invalid(absl::StrCat(field, ".condition.grid_grams_per_kwh"),
                   "required for carbon_mg: grams of CO2 equivalent per kWh of the device's grid, "
                   "e.g. carbon_mg:grid=386");
  };
  for (int i = 0; i < spec.objectives_size(); ++i) {
    FORALL_RETURN_IF_ERROR(check(absl::StrCat("spec.objectives[", i, "]"), spec.objectives(i)));
  }
  for (int i = 0; i < spec.constraints_size(); ++i) {
    FORALL_RETURN_IF_ERROR(check(absl::StrCat("spec.constraints[", i, "]"), spec.constraints(i)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ValidateSearchJobSpec(const v1::SearchJobSpec& spec) {
  FORALL_RETURN_IF_ERROR(ValidateObjectives(spec.objectives(), spec.constraints(), "spec."));
  if (spec.objectives().empty()) {
    return Invalid("spec.objectives", "give at least one, e.g. metric \"accuracy_top1\"");
  }
  FORALL_RETURN_IF_ERROR(CheckGrids(spec));
  FORALL_RETURN_IF_ERROR(CheckUnknownFields(spec, "spec"));
  FORALL_RETURN_IF_ERROR(CheckText("spec.display_name", spec.display_name()));
  if (!ParseSupernetName(spec.supernet()).ok()) {
    return Invalid("spec.supernet", "want supernets/ID, got ", Quoted(spec.supernet()));
  }
  FORALL_RETURN_IF_ERROR(CheckSampler(spec.sampler()));
  FORALL_RETURN_IF_ERROR(CheckBudget(spec));
  FORALL_RETURN_IF_ERROR(CheckText("spec.dataset", spec.dataset()));
  FORALL_RETURN_IF_ERROR(CheckFidelity(spec.fidelity()));
  FORALL_RETURN_IF_ERROR(CheckRaceable(spec));
  FORALL_RETURN_IF_ERROR(CheckRange("spec.parallelism", spec.parallelism(), 0, kMaxParallelism));
  FORALL_RETURN_IF_ERROR(CheckRange("spec.priority", spec.priority(), -kMaxPriority, kMaxPriority));
  FORALL_RETURN_IF_ERROR(CheckWeight(spec));
  if (!spec.recipe().empty() && !ParseRecipe(spec.recipe()).ok()) {
    return Invalid("spec.recipe", ParseRecipe(spec.recipe()).status().message());
  }
  FORALL_RETURN_IF_ERROR(CheckPredictor(spec));
  FORALL_RETURN_IF_ERROR(CheckTables(spec));
  return CheckOneDatasetAndRecipe(spec);
}

void FillDefaults(const std::string& dataset, v1::SearchJobSpec* spec) {
  if (spec->dataset().empty()) spec->set_dataset(DatasetOf(*spec));
  if (spec->dataset().empty()) spec->set_dataset(dataset);
  if (spec->recipe().empty()) spec->set_recipe("fp32");
  if (spec->sampler().algorithm().empty()) spec->mutable_sampler()->set_algorithm("guided");
  v1::Fidelity* fidelity = spec->mutable_fidelity();
  if (!fidelity->tiers().empty()) fidelity->set_screening_images(fidelity->tiers(0));
  if (fidelity->calibration_images() == 0) fidelity->set_calibration_images(1000);
  for (v1::Objective& objective : *spec->mutable_objectives()) {
    const MetricInfo& metric = *FindMetric(objective.metric());
    if (objective.goal() == v1::Objective::GOAL_UNSPECIFIED) {
      objective.set_goal(metric.higher_is_better ? v1::Objective::MAXIMIZE
                                                 : v1::Objective::MINIMIZE);
    }
  }
}

absl::Status CheckFeasible(const v1::SearchJobSpec& spec, const Family& family) {
  const SearchSpace& space = family.search_space();
  FORALL_ASSIGN_OR_RETURN(const Network smallest, family.Describe(space.Smallest()));
  FORALL_ASSIGN_OR_RETURN(const Network largest, family.Describe(space.Largest()));
  FORALL_ASSIGN_OR_RETURN(const DeploymentRecipe recipe, ParseRecipe(spec.recipe()));
  const Costs low = CountCosts(smallest, recipe);
  const Costs high = CountCosts(largest, recipe);
  for (int i = 0; i < spec.constraints_size(); ++i) {
    const v1::Constraint& constraint = spec.constraints(i);
    if (FindMetric(constraint.metric())->source != MetricSource::kExactCost) continue;
    const double least = ExactCost(low, constraint.metric());
    const double most = ExactCost(high, constraint.metric());
    const std::string field = absl::StrCat("spec.constraints[", i, "]");
    if (constraint.has_at_most() && constraint.at_most() < least) {
      return absl::FailedPreconditionError(
          absl::StrCat(field, ".at_most: no subnet has ", constraint.metric(), " of at most ",
                       Number(constraint.at_most()), "; the nearest bound that can be met is ",
                       static_cast<int64_t>(least), " (the smallest subnet)"));
    }
    if (constraint.has_at_least() && constraint.at_least() > most) {
      return absl::FailedPreconditionError(
          absl::StrCat(field, ".at_least: no subnet has ", constraint.metric(), " of at least ",
                       Number(constraint.at_least()), "; the nearest bound that can be met is ",
                       static_cast<int64_t>(most), " (the largest subnet)"));
    }
  }
  return absl::OkStatus();
}

}  // namespace forall
