// SPDX-License-Identifier: Apache-2.0
#include "search/controller/frontier_query.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "search/controller/job_validator.h"
#include "search/controller/paired_test.h"
#include "search/controller/resource_names.h"
#include "search/controller/resource_views.h"
#include "search/pareto/knee.h"
#include "search/pareto/pareto_filter.h"
#include "space/identity.h"
#include "space/recipe.h"

namespace forall {
namespace {

// Largest p-value at which a paired difference counts as established.
constexpr double kEstablished = 0.025;

// A metric under a condition that leaves nothing open.
struct Wanted {
  const MetricInfo* metric = nullptr;
  bool maximize = false;
  MeasurementKey key;                      // without its subject
  std::optional<DeploymentRecipe> recipe;  // that of the key, parsed
};

struct Candidate {
  const JobFold* fold = nullptr;
  const TrialEntry* trial = nullptr;
  // Of the objectives, as the frontier compares them: where other trials of the job have final
  // accuracies, a screened one's is an estimate (JobFold::FinalEstimate).
  std::vector<double> values;
  std::vector<const MeasurementRecord*> evidence;  // nullptr for exact costs
};

struct Scope {
  std::vector<Candidate> candidates;
  // How many of the first candidates can be members; the others only contest them.
  size_t eligible = 0;
  const JobController* job = nullptr;  // nullptr: everything on the supernet
  std::string dataset;
  std::string recipe = "fp32";
  bool predicted = false;       // an objective or a limit is a prediction: nothing is certain
  bool own_objectives = false;  // those of the job
};

bool Counts(const MeasurementRecord& record) {
  return record.retracted_by.empty() && record.verdict != VerdictState::kRejected;
}

absl::StatusOr<Scope> FindScope(const Registry& registry,
                                const v1::QueryParetoFrontierRequest& request) {
  Scope scope;
  if (!request.parent().empty()) {
    FORALL_ASSIGN_OR_RETURN(const int64_t id, ParseJobName(request.parent()));
    const auto job = registry.jobs.find(id);
    if (job == registry.jobs.end()) {
      return absl::NotFoundError(absl::StrCat("parent: there is no ", JobName(id)));
    }
    scope.job = job->second.get();
    const JobFold& fold = scope.job->fold();
    scope.dataset = fold.plan().spec().dataset();
    scope.recipe = fold.plan().spec().recipe();
    for (const TrialEntry& trial : fold.trials())
      scope.candidates.push_back({&fold, &trial, {}, {}});
    return scope;
  }
  if (request.supernet().empty()) {
    return absl::InvalidArgumentError(
        "parent: give a job, or supernet for all that was measured on it");
  }
  FORALL_ASSIGN_OR_RETURN(const std::string id, ParseSupernetName(request.supernet()));
  const auto supernet = registry.supernets.find(id);
  if (supernet == registry.supernets.end()) {
    return absl::NotFoundError(absl::StrCat("supernet: there is no ", request.supernet()));
  }
  scope.dataset = supernet->second.record.dataset;
  absl::flat_hash_set<absl::string_view> seen;
  for (const auto& [job_id, job] : registry.jobs) {
    const JobFold& fold = job->fold();
    if (fold.record().supernet_sha256 != supernet->second.record.sha256) continue;
    for (const TrialEntry& trial : fold.trials()) {
      const std::string& artifact = trial.record.artifact_sha256;
      if (!seen.insert(artifact.empty() ? trial.record.arch_key : artifact).second) continue;
      scope.candidates.push_back({&fold, &trial, {}, {}});
    }
  }
  return scope;
}

using Place = std::tuple<std::string, std::string, std::string>;  // device, fingerprint, profile

// Where latencies under this condition were measured and still count.
std::set<Place> PlacesOf(const Registry& registry, const v1::Condition& condition) {
  std::set<Place> places;
  for (const LatencyPlace& place : registry.index.latency_places()) {
    if (!condition.device().empty() && condition.device() != DeviceName(place.device)) continue;
    if (!condition.device_class().empty() && condition.device_class() != place.device_class) {
      continue;
    }
    if (!condition.profile().empty() && condition.profile() != place.profile) continue;
    const auto device = registry.devices.find(place.device);
    if (device == registry.devices.end() ||
        device->second.fingerprint != place.device_fingerprint) {
      continue;
    }
    places.emplace(place.device, place.device_fingerprint, place.profile);
  }
  return places;
}

// The job's own place for a condition it has a target for, or nullptr.
const TargetBinding* BindingFor(const Scope& scope, const v1::Condition& condition) {
  if (scope.job == nullptr) return nullptr;
  const JobFold& fold = scope.job->fold();
  for (size_t i = 0; i < fold.bindings().size(); ++i) {
    const std::optional<TargetBinding>& binding = fold.bindings()[i];
    const LatencyTarget& target = fold.plan().targets()[i];
    if (!binding.has_value() || target.batch != std::max(condition.batch(), 1)) continue;
    const bool device_fits =
        condition.device().empty()
            ? fold.bindings().size() == 1 ||
                  (target.device.empty() && target.device_class == condition.device_class())
            : condition.device() == DeviceName(binding->device);
    const bool profile_fits =
        condition.profile().empty() || condition.profile() == binding->profile;
    if (device_fits && profile_fits) return &*binding;
  }
  return nullptr;
}

absl::Status ResolvePlace(const Registry& registry, const Scope& scope,
                          const v1::Condition& condition, const std::string& field,
                          MeasurementKey* key) {
  if (const TargetBinding* binding = BindingFor(scope, condition); binding != nullptr) {
    key->device = binding->device;
    key->device_fingerprint = binding->fingerprint;
    key->profile = binding->profile;
    return absl::OkStatus();
  }
  const std::set<Place> places = PlacesOf(registry, condition);
  if (places.size() > 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        field, ".condition: latencies were measured in several places; name device and profile: ",
        absl::StrJoin(places, ", ", [](std::string* out, const Place& place) {
          absl::StrAppend(out, DeviceName(std::get<0>(place)), " profile ", std::get<2>(place));
        })));
  }
  // None: no trial has the value, which makes an empty frontier and no error.
  if (!places.empty())
    std::tie(key->device, key->device_fingerprint, key->profile) = *places.begin();
  return absl::OkStatus();
}

absl::StatusOr<Wanted> Resolve(const Registry& registry, const Scope& scope,
                               const std::string& metric, const v1::Condition& condition,
                               const std::string& field) {
  Wanted wanted;
  wanted.metric = FindMetric(metric);
  wanted.maximize = wanted.metric->higher_is_better;
  wanted.key.metric = metric;
  wanted.key.recipe = condition.recipe().empty() ? scope.recipe : condition.recipe();
  if (const auto recipe = ParseRecipe(wanted.key.recipe); recipe.ok()) wanted.recipe = *recipe;
  if (wanted.metric->source == MetricSource::kAccuracy) {
    wanted.key.dataset = condition.dataset().empty() ? scope.dataset : condition.dataset();
    wanted.key.split = condition.split().empty() ? "validation" : condition.split();
  }
  if (wanted.metric->source == MetricSource::kLatency) {
    wanted.key.batch = std::max(condition.batch(), 1);
    FORALL_RETURN_IF_ERROR(ResolvePlace(registry, scope, condition, field, &wanted.key));
  }
  return wanted;
}

bool Matches(const MeasurementRecord& record, const Wanted& wanted) {
  const MeasurementKey& key = record.key;
  if (!Counts(record) || key.metric != wanted.key.metric || key.recipe != wanted.key.recipe)
    return false;
  if (wanted.metric->source == MetricSource::kAccuracy) {
    return key.dataset == wanted.key.dataset && key.split == wanted.key.split;
  }
  return !wanted.key.device.empty() && key.device == wanted.key.device &&
         key.device_fingerprint == wanted.key.device_fingerprint &&
         key.profile == wanted.key.profile && key.batch == wanted.key.batch;
}

// Higher fidelity, then more samples behind it, then newer.
bool Better(const MeasurementRecord& a, const MeasurementRecord& b) {
  if (a.fidelity != b.fidelity) return a.fidelity == FidelityLevel::kFinal;
  if (a.key.metric != "latency_ms" && a.sample_count != b.sample_count) {
    return a.sample_count > b.sample_count;
  }
  return a.id > b.id;
}

const MeasurementRecord* BestMeasurement(const Registry& registry, const Candidate& candidate,
                                         const Wanted& wanted) {
  const TrialRecord& trial = candidate.trial->record;
  const MeasurementRecord* best = nullptr;
  const auto consider = [&](absl::string_view subject) {
    for (const MeasurementRecord* record : registry.index.About(subject)) {
      if (Matches(*record, wanted) && (best == nullptr || Better(*record, *best))) best = record;
    }
  };
  if (!trial.artifact_sha256.empty()) consider(trial.artifact_sha256);
  if (wanted.metric->source != MetricSource::kLatency || !wanted.recipe.has_value()) return best;
  // The trial keeps its graph's key at batch 1 under its job's recipe.
  if (wanted.key.batch == 1 && wanted.key.recipe == candidate.fold->plan().spec().recipe()) {
    consider(trial.graph_key);
  } else {
    consider(
        GraphKey(trial.arch_key, candidate.trial->resolution, wanted.key.batch, *wanted.recipe));
  }
  return best;
}

// Whether the trial's job takes the measurement for a final one: a number that another job took at
// final fidelity can be this one's screening, and the other way round.
bool IsFinal(const TrialEntry& trial, const MeasurementRecord& evidence) {
  const auto holds = [&](const std::vector<int64_t>& ids) {
    return std::find(ids.begin(), ids.end(), evidence.id) != ids.end();
  };
  if (holds(trial.final)) return true;
  return !holds(trial.screening) && evidence.fidelity == FidelityLevel::kFinal;
}

// The value as it is compared: what was only screened is estimated where its job has final ones.
double Compared(const Candidate& candidate, const MeasurementRecord& evidence) {
  if (IsFinal(*candidate.trial, evidence)) return evidence.value;
  return candidate.fold->FinalEstimate(evidence.key.metric, evidence.value);
}

// False when the candidate lacks the value.
bool Lookup(const Registry& registry, const Candidate& candidate, const Wanted& wanted,
            double* value, const MeasurementRecord** evidence) {
  *evidence = nullptr;
  if (IsKnownUnmeasured(*wanted.metric)) {
    const std::optional<double> known = KnownValue(*candidate.trial, *wanted.metric);
    *value = known.value_or(0);
    return known.has_value();
  }
  *evidence = BestMeasurement(registry, candidate, wanted);
  if (*evidence == nullptr) return false;
  *value = Compared(candidate, **evidence);
  return true;
}

// Fills the values of the candidates that have all and meet the limits; drops the others, and with
// `measured_only` those that their job did not find feasible.
absl::Status FillAsked(const Registry& registry, const v1::QueryParetoFrontierResponse& asked,
                       const google::protobuf::RepeatedPtrField<v1::Constraint>& constraints,
                       bool measured_only, Scope* scope) {
  std::vector<Wanted> objectives;
  std::vector<Wanted> limits;
  for (int i = 0; i < asked.objectives_size(); ++i) {
    const v1::Objective& objective = asked.objectives(i);
    FORALL_ASSIGN_OR_RETURN(Wanted wanted,
                            Resolve(registry, *scope, objective.metric(), objective.condition(),
                                    absl::StrCat("objectives[", i, "]")));
    objectives.push_back(std::move(wanted));
  }
  for (int i = 0; i < constraints.size(); ++i) {
    FORALL_ASSIGN_OR_RETURN(
        Wanted wanted, Resolve(registry, *scope, constraints[i].metric(),
                               constraints[i].condition(), absl::StrCat("constraints[", i, "]")));
    limits.push_back(std::move(wanted));
  }
  const auto has_all = [&](Candidate& candidate) {
    if (measured_only && candidate.trial->record.state != TrialState::kMeasured) return false;
    for (int i = 0; i < constraints.size(); ++i) {
      double value = 0;
      const MeasurementRecord* ignored = nullptr;
      if (!Lookup(registry, candidate, limits[i], &value, &ignored)) return false;
      if (constraints[i].has_at_most() && value > constraints[i].at_most()) return false;
      if (constraints[i].has_at_least() && value < constraints[i].at_least()) return false;
    }
    for (const Wanted& wanted : objectives) {
      double value = 0;
      const MeasurementRecord* evidence = nullptr;
      if (!Lookup(registry, candidate, wanted, &value, &evidence)) return false;
      candidate.values.push_back(value);
      candidate.evidence.push_back(evidence);
    }
    return true;
  };
  std::vector<Candidate> complete;
  for (Candidate& candidate : scope->candidates) {
    if (has_all(candidate)) complete.push_back(std::move(candidate));
  }
  scope->candidates = std::move(complete);
  scope->eligible = scope->candidates.size();
  return absl::OkStatus();
}

// The job's own numbers: what its frontier was made of.
void FillOwn(Scope* scope) {
  const JobFold& fold = scope->job->fold();
  scope->own_objectives = true;
  std::vector<Candidate> measured;
  for (Candidate& candidate : scope->candidates) {
    if (candidate.trial->record.state != TrialState::kMeasured) continue;
    for (const JobPlan::Goal& goal : fold.plan().objectives()) {
      const MeasurementRecord* evidence = fold.Evidence(*candidate.trial, goal.slot);
      candidate.values.push_back(evidence == nullptr ? *fold.Value(*candidate.trial, goal.slot)
                                                     : Compared(candidate, *evidence));
      candidate.evidence.push_back(evidence);
    }
    measured.push_back(std::move(candidate));
  }
  // Only those that the job's frontier holds can be members: they come first.
  const auto end = std::stable_partition(
      measured.begin(), measured.end(),
      [&](const Candidate& candidate) { return fold.OnFrontier(candidate.trial->record.ordinal); });
  scope->eligible = end - measured.begin();
  scope->candidates = std::move(measured);
}

std::vector<double> Oriented(const Candidate& candidate, const std::vector<bool>& maximize) {
  std::vector<double> point;
  for (size_t i = 0; i < maximize.size(); ++i) {
    point.push_back(maximize[i] ? -candidate.values[i] : candidate.values[i]);
  }
  return point;
}

// The oriented value at the better or the worse end of its interval.
double End(const Candidate& candidate, size_t i, bool maximize, bool better) {
  const MeasurementRecord* evidence = candidate.evidence[i];
  const double shift = evidence == nullptr ? 0 : candidate.values[i] - evidence->value;
  const double low = evidence == nullptr ? candidate.values[i] : evidence->low + shift;
  const double high = evidence == nullptr ? candidate.values[i] : evidence->high + shift;
  if (maximize) return better ? -high : -low;
  return better ? low : high;
}

enum class Chance { kNone, kEqual, kBetter };

// Both ends of every candidate's intervals side by side: each member is compared with all of them,
// and the records they come from lie all over the memory.
class Ends {
 public:
  Ends(const std::vector<Candidate>& candidates, const std::vector<bool>& maximize)
      : objectives_(maximize.size()) {
    for (const bool better : {true, false}) {
      std::vector<double>& ends = better ? better_ : worse_;
      ends.reserve(candidates.size() * objectives_);
      for (const Candidate& candidate : candidates) {
        for (size_t i = 0; i < objectives_; ++i) {
          ends.push_back(End(candidate, i, maximize[i], better));
        }
      }
    }
  }
  // How candidate `other` could compare with candidate `member` in objective `i`, by intervals.
  Chance ChanceOf(size_t other, size_t member, size_t i) const {
    const double theirs = better_[other * objectives_ + i];
    const double ours = worse_[member * objectives_ + i];
    if (theirs > ours) return Chance::kNone;
    return theirs < ours ? Chance::kBetter : Chance::kEqual;
  }

 private:
  const size_t objectives_;
  std::vector<double> better_;
  std::vector<double> worse_;
};

// The same by the images that both have seen, where there are such; otherwise `ends`, which is what
// their intervals say.
Chance PairedChanceOf(const Registry& registry, const Candidate& other, const Candidate& member,
                      size_t i, bool maximize, Chance ends) {
  if (maximize && other.evidence[i] != nullptr && member.evidence[i] != nullptr) {
    const std::string& theirs = registry.index.Bitmap(other.evidence[i]->id);
    const std::string& ours = registry.index.Bitmap(member.evidence[i]->id);
    const MeasurementKey& a = other.evidence[i]->key;
    const MeasurementKey& b = member.evidence[i]->key;
    // Not on the images that two of different fidelity share: on those the finalist was selected.
    if (!theirs.empty() && a.dataset == b.dataset && a.split == b.split &&
        other.evidence[i]->sample_count == member.evidence[i]->sample_count) {
      const Discordance discordance =
          CountDiscordance(theirs, ours, member.evidence[i]->sample_count);
      if (SecondIsBetterPValue(discordance) <= kEstablished) return Chance::kNone;
      return discordance.only_first > 0 ? Chance::kBetter : Chance::kEqual;
    }
  }
  return ends;
}

bool CouldReplace(const Registry& registry, const std::vector<Candidate>& candidates,
                  const Ends& ends, size_t other, size_t member,
                  const std::vector<bool>& maximize) {
  bool better = false;
  // The cheap comparisons first: they exclude most.
  for (const bool paired : {false, true}) {
    for (size_t i = 0; i < maximize.size(); ++i) {
      if (maximize[i] != paired) continue;
      Chance chance = ends.ChanceOf(other, member, i);
      if (paired) {
        chance =
            PairedChanceOf(registry, candidates[other], candidates[member], i, maximize[i], chance);
      }
      if (chance == Chance::kNone) return false;
      better |= chance == Chance::kBetter;
    }
  }
  return better;
}

bool IsContested(const Registry& registry, const Scope& scope, const Ends& ends, size_t member,
                 const std::vector<bool>& maximize) {
  const std::vector<Candidate>& candidates = scope.candidates;
  const Candidate& candidate = candidates[member];
  // Over all jobs, the evidence may be another's, which did get its final numbers.
  if (scope.job != nullptr && !candidate.trial->finalize_error.empty()) return true;
  for (const MeasurementRecord* evidence : candidate.evidence) {
    if (evidence == nullptr) continue;
    if (evidence->verdict != VerdictState::kTrusted || !IsFinal(*candidate.trial, *evidence)) {
      return true;
    }
  }
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (i == member || !CouldReplace(registry, candidates, ends, i, member, maximize)) continue;
    // What a race over these objectives has ruled out can replace nobody.
    if (scope.own_objectives && candidates[i].fold->StoppedBy(*candidates[i].trial) != 0) continue;
    return true;
  }
  return false;
}

absl::Status AddMembers(const Registry& registry, const Scope& scope,
                        v1::QueryParetoFrontierResponse* response) {
  const std::vector<Candidate>& candidates = scope.candidates;
  std::vector<bool> maximize;
  for (const v1::Objective& objective : response->objectives()) {
    maximize.push_back(objective.goal() == v1::Objective::MAXIMIZE);
  }
  const int objectives = static_cast<int>(maximize.size());
  response->set_considered_trials(static_cast<int32_t>(candidates.size()));
  if (scope.eligible == 0) return absl::OkStatus();
  std::vector<double> points;
  for (size_t i = 0; i < scope.eligible; ++i) {
    const std::vector<double> point = Oriented(candidates[i], maximize);
    points.insert(points.end(), point.begin(), point.end());
  }
  FORALL_ASSIGN_OR_RETURN(std::vector<int32_t> rows, ParetoFilter(PointsView{points, objectives}));
  std::stable_sort(rows.begin(), rows.end(), [&](int32_t a, int32_t b) {
    return points[static_cast<size_t>(a) * objectives] <
           points[static_cast<size_t>(b) * objectives];
  });
  std::vector<double> frontier;
  for (const int32_t row : rows) {
    const auto begin = points.begin() + static_cast<int64_t>(row) * objectives;
    frontier.insert(frontier.end(), begin, begin + objectives);
  }
  FORALL_ASSIGN_OR_RETURN(const int32_t knee, KneeRow(PointsView{frontier, objectives}));
  const Ends ends(candidates, maximize);
  for (size_t i = 0; i < rows.size(); ++i) {
    const Candidate& candidate = candidates[rows[i]];
    v1::FrontierMember* member = response->add_members();
    *member->mutable_trial() = TrialView(registry, *candidate.fold, *candidate.trial);
    for (int objective = 0; objective < objectives; ++objective) {
      const MeasurementRecord* evidence = candidate.evidence[objective];
      member->add_values(candidate.values[objective]);
      *member->add_measurements() =
          evidence != nullptr
              ? MeasurementView(registry, *evidence)
              : KnownView(*candidate.trial, *FindMetric(response->objectives(objective).metric()));
    }
    member->set_certainty(scope.predicted || IsContested(registry, scope, ends, rows[i], maximize)
                              ? v1::FrontierMember::CONTESTED
                              : v1::FrontierMember::CERTAIN);
    member->set_knee(static_cast<int32_t>(i) == knee);
  }
  return absl::OkStatus();
}

// Of objectives or of constraints.
template <typename Items>
bool RestsOnPrediction(const Items& items) {
  return std::any_of(items.begin(), items.end(), [](const auto& item) {
    return FindMetric(item.metric())->source == MetricSource::kPrediction;
  });
}

// Predictions are of the predictor that a job names: those of two jobs cannot be compared.
absl::Status CheckPredictions(const Scope& scope, const v1::QueryParetoFrontierRequest& request) {
  const bool has_predictor =
      scope.job != nullptr && !scope.job->fold().plan().spec().accuracy_predictor().empty();
  const auto check = [&](const std::string& field, const std::string& metric) -> absl::Status {
    if (has_predictor || FindMetric(metric)->source != MetricSource::kPrediction) {
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(absl::StrCat(
        field, ".metric: ", metric,
        scope.job == nullptr ? " can only be asked of one job, whose predictor it is of"
                             : " needs a job that names an accuracy predictor"));
  };
  for (int i = 0; i < request.objectives_size(); ++i) {
    FORALL_RETURN_IF_ERROR(
        check(absl::StrCat("objectives[", i, "]"), request.objectives(i).metric()));
  }
  for (int i = 0; i < request.constraints_size(); ++i) {
    FORALL_RETURN_IF_ERROR(
        check(absl::StrCat("constraints[", i, "]"), request.constraints(i).metric()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::QueryParetoFrontierResponse> QueryFrontier(
    const Registry& registry, const v1::QueryParetoFrontierRequest& request) {
  FORALL_RETURN_IF_ERROR(ValidateObjectives(request.objectives(), request.constraints(), ""));
  FORALL_ASSIGN_OR_RETURN(Scope scope, FindScope(registry, request));
  FORALL_RETURN_IF_ERROR(CheckPredictions(scope, request));
  v1::QueryParetoFrontierResponse response;
  const bool own_objectives = request.objectives().empty() && scope.job != nullptr;
  if (request.objectives().empty() && scope.job == nullptr) {
    return absl::InvalidArgumentError(
        "objectives: name at least one when the question is over a whole supernet");
  }
  *response.mutable_objectives() =
      own_objectives ? scope.job->fold().plan().spec().objectives() : request.objectives();
  for (v1::Objective& objective : *response.mutable_objectives()) {
    if (objective.goal() != v1::Objective::GOAL_UNSPECIFIED) continue;
    objective.set_goal(FindMetric(objective.metric())->higher_is_better ? v1::Objective::MAXIMIZE
                                                                        : v1::Objective::MINIMIZE);
  }
  scope.predicted =
      RestsOnPrediction(response.objectives()) || RestsOnPrediction(request.constraints()) ||
      (scope.job != nullptr && RestsOnPrediction(scope.job->fold().plan().spec().constraints()));
  if (own_objectives && request.constraints().empty()) {
    FillOwn(&scope);
    response.set_hypervolume(scope.job->fold().hypervolume());
  } else {
    // A job's frontier keeps the job's hard constraints, under any objectives.
    FORALL_RETURN_IF_ERROR(FillAsked(registry, response, request.constraints(),
                                     /*measured_only=*/scope.job != nullptr, &scope));
  }
  FORALL_RETURN_IF_ERROR(AddMembers(registry, scope, &response));
  return response;
}

}  // namespace forall
