// SPDX-License-Identifier: Apache-2.0
#include "search/controller/frontier_query.h"

#include <algorithm>
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
#include "search/controller/frontier_contest.h"
#include "search/controller/job_validator.h"
#include "search/controller/metric_reader.h"
#include "search/controller/resource_names.h"
#include "search/controller/resource_views.h"
#include "search/pareto/knee.h"
#include "search/pareto/pareto_filter.h"
#include "space/recipe.h"

namespace forall {
namespace {

// A metric under a condition that leaves nothing open.
struct Wanted {
  const MetricInfo* metric = nullptr;
  int slot = -1;  // of a predicted latency: that of its job
  bool maximize = false;
  MeasurementKey key;                      // without its subject
  std::optional<DeploymentRecipe> recipe;  // that of the key, parsed
};

struct Scope {
  std::vector<const JobFold*> jobs;
  const JobController* job = nullptr;  // nullptr: everything on the supernet
  std::string dataset;
  std::string recipe = "fp32";
  bool predicted = false;       // an objective or a limit is a prediction: nothing is certain
  bool own_objectives = false;  // those of the job
};

// A constraint, and the values that it is on.
struct Limit {
  v1::Constraint constraint;
  MetricReader reader;
};

struct Question {
  FrontierObjectives objectives;
  std::vector<Limit> limits;  // asked for beside the job's own
};

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
    scope.jobs.push_back(&fold);
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
  for (const auto& [job_id, job] : registry.jobs) {
    const JobFold& fold = job->fold();
    if (fold.record().supernet_sha256 == supernet->second.record.sha256)
      scope.jobs.push_back(&fold);
  }
  return scope;
}

// Calls visit(TrialRef) for the job's trials in order; over a supernet, for the first trial of
// every artifact, and of every architecture that was not exported, in order of jobs.
template <typename Visit>
void VisitTrials(const Registry& registry, const Scope& scope, Visit visit) {
  std::vector<bool> seen_artifact(static_cast<size_t>(registry.index.subjects()), false);
  absl::flat_hash_set<absl::string_view> seen_architecture;
  for (uint32_t job = 0; job < scope.jobs.size(); ++job) {
    const std::vector<TrialRow>& rows = scope.jobs[job]->rows();
    for (uint32_t trial = 0; trial < rows.size(); ++trial) {
      if (scope.job == nullptr) {
        const SubjectId artifact = rows[trial].artifact;
        if (artifact == kNoSubject) {
          const std::string& key = scope.jobs[job]->trials()[trial].record.arch_key;
          if (!seen_architecture.insert(key).second) continue;
        } else if (seen_artifact[static_cast<size_t>(artifact)]) {
          continue;
        } else {
          seen_artifact[static_cast<size_t>(artifact)] = true;
        }
      }
      visit(TrialRef{job, trial});
    }
  }
}

const TrialEntry& TrialOf(const Scope& scope, TrialRef ref) {
  return scope.jobs[ref.job]->trials()[ref.trial];
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
  if (wanted.metric->source == MetricSource::kTable) {
    wanted.slot = scope.job->fold().plan().FindTableSlot(condition);
  }
  if (wanted.metric->source == MetricSource::kLatency) {
    wanted.key.batch = std::max(condition.batch(), 1);
    FORALL_RETURN_IF_ERROR(ResolvePlace(registry, scope, condition, field, &wanted.key));
  }
  return wanted;
}

MetricReader ReaderOf(const Registry& registry, const Scope& scope, const Wanted& wanted) {
  if (wanted.slot >= 0) return MetricReader(scope.job->fold(), wanted.slot);
  return MetricReader(registry.index, scope.jobs, *wanted.metric, wanted.key, wanted.recipe);
}

absl::StatusOr<Question> AskedQuestion(
    const Registry& registry, const Scope& scope, const v1::QueryParetoFrontierResponse& asked,
    const google::protobuf::RepeatedPtrField<v1::Constraint>& constraints) {
  Question question;
  for (int i = 0; i < asked.objectives_size(); ++i) {
    const v1::Objective& objective = asked.objectives(i);
    FORALL_ASSIGN_OR_RETURN(const Wanted wanted,
                            Resolve(registry, scope, objective.metric(), objective.condition(),
                                    absl::StrCat("objectives[", i, "]")));
    question.objectives.readers.push_back(ReaderOf(registry, scope, wanted));
  }
  for (int i = 0; i < constraints.size(); ++i) {
    FORALL_ASSIGN_OR_RETURN(const Wanted wanted, Resolve(registry, scope, constraints[i].metric(),
                                                         constraints[i].condition(),
                                                         absl::StrCat("constraints[", i, "]")));
    question.limits.push_back({constraints[i], ReaderOf(registry, scope, wanted)});
  }
  return question;
}

// The job's own numbers: what its frontier was made of.
Question OwnQuestion(const JobFold& fold) {
  Question question;
  for (const JobPlan::Goal& goal : fold.plan().objectives()) {
    question.objectives.readers.emplace_back(fold, goal.slot);
  }
  return question;
}

bool Holds(const v1::Constraint& constraint, double value) {
  if (constraint.has_at_most() && value > constraint.at_most()) return false;
  return !constraint.has_at_least() || value >= constraint.at_least();
}

// Adds the trial when it has all values and meets the limits.
void AddCandidate(const Question& question, TrialRef trial, std::vector<Reading>* readings,
                  FrontierCandidates* candidates) {
  Reading limited;
  for (const Limit& limit : question.limits) {
    if (!limit.reader.Read(trial, &limited) || !Holds(limit.constraint, limited.value)) return;
  }
  const FrontierObjectives& objectives = question.objectives;
  readings->resize(objectives.size());
  for (size_t i = 0; i < objectives.size(); ++i) {
    if (!objectives.readers[i].Read(trial, &(*readings)[i])) return;
  }
  candidates->trials.push_back(trial);
  for (size_t i = 0; i < objectives.size(); ++i) {
    const Reading& reading = (*readings)[i];
    candidates->points.push_back(objectives.maximize[i] ? -reading.value : reading.value);
    candidates->hopes.push_back(Hope(reading, objectives.maximize[i]));
  }
}

// The trials that can be members come first; the others only contest them. `eligible` is how many.
FrontierCandidates FindCandidates(const Registry& registry, const Scope& scope,
                                  const Question& question, size_t* eligible) {
  FrontierCandidates candidates;
  std::vector<Reading> readings;
  // A job's frontier keeps the job's hard constraints, under any objectives.
  const auto counts = [&](TrialRef trial) {
    return scope.job == nullptr || TrialOf(scope, trial).record.state == TrialState::kMeasured;
  };
  const auto on_frontier = [&](TrialRef trial) {
    return scope.jobs[trial.job]->OnFrontier(TrialOf(scope, trial).record.ordinal);
  };
  VisitTrials(registry, scope, [&](TrialRef trial) {
    if (!counts(trial) || (scope.own_objectives && !on_frontier(trial))) return;
    AddCandidate(question, trial, &readings, &candidates);
  });
  *eligible = candidates.trials.size();
  if (!scope.own_objectives) return candidates;
  VisitTrials(registry, scope, [&](TrialRef trial) {
    if (counts(trial) && !on_frontier(trial)) {
      AddCandidate(question, trial, &readings, &candidates);
    }
  });
  return candidates;
}

// Whether what is behind the member is itself in doubt.
bool IsDoubtful(const Scope& scope, const Question& question, TrialRef ref) {
  const TrialEntry& trial = TrialOf(scope, ref);
  // Over all jobs, the evidence may be another's, which did get its final numbers.
  if (scope.job != nullptr && !trial.finalize_error.empty()) return true;
  for (const MetricReader& reader : question.objectives.readers) {
    Reading reading;
    reader.Read(ref, &reading);
    if (reading.evidence == nullptr) continue;
    if (reading.evidence->verdict != VerdictState::kTrusted || !IsFinal(trial, *reading.evidence)) {
      return true;
    }
  }
  return false;
}

// Of each row whether its place is in doubt.
std::vector<bool> FindContested(const Registry& registry, const Scope& scope,
                                const Question& question, const FrontierCandidates& candidates,
                                absl::Span<const int32_t> rows) {
  std::vector<bool> contested(rows.size(), scope.predicted);
  std::vector<size_t> members;
  std::vector<size_t> places;
  for (size_t i = 0; i < rows.size() && !scope.predicted; ++i) {
    const size_t member = static_cast<size_t>(rows[i]);
    contested[i] = IsDoubtful(scope, question, candidates.trials[member]);
    if (contested[i]) continue;
    members.push_back(member);
    places.push_back(i);
  }
  const std::vector<bool> replaceable = FindReplaceable(
      registry.index, question.objectives, candidates, members, [&](TrialRef rival) {
        // What a race over these objectives has ruled out can replace nobody.
        return !scope.own_objectives ||
               scope.jobs[rival.job]->StoppedBy(TrialOf(scope, rival)) == 0;
      });
  for (size_t i = 0; i < places.size(); ++i) contested[places[i]] = replaceable[i];
  return contested;
}

// Of what a job knows without measuring.
MetricSlot KnownSlot(const JobPlan& plan, const v1::Objective& objective) {
  if (const int slot = plan.FindTableSlot(objective.condition());
      slot >= 0 && objective.metric() == plan.slots()[slot].metric->id) {
    return plan.slots()[slot];
  }
  return {FindMetric(objective.metric())};
}

void AddMember(const Registry& registry, const Scope& scope, const Question& question, TrialRef ref,
               bool contested, bool knee, v1::QueryParetoFrontierResponse* response) {
  const TrialEntry& trial = TrialOf(scope, ref);
  const JobPlan& plan = scope.jobs[ref.job]->plan();
  v1::FrontierMember* member = response->add_members();
  *member->mutable_trial() = TrialView(registry, *scope.jobs[ref.job], trial);
  for (int i = 0; i < response->objectives_size(); ++i) {
    Reading reading;
    question.objectives.readers[static_cast<size_t>(i)].Read(ref, &reading);
    member->add_values(reading.value);
    *member->add_measurements() =
        reading.evidence != nullptr
            ? MeasurementView(registry, *reading.evidence)
            : KnownView(plan, trial, KnownSlot(plan, response->objectives(i)));
  }
  member->set_certainty(contested ? v1::FrontierMember::CONTESTED : v1::FrontierMember::CERTAIN);
  member->set_knee(knee);
}

absl::Status AddMembers(const Registry& registry, const Scope& scope, const Question& question,
                        v1::QueryParetoFrontierResponse* response) {
  size_t eligible = 0;
  const FrontierCandidates candidates = FindCandidates(registry, scope, question, &eligible);
  const int objectives = response->objectives_size();
  response->set_considered_trials(static_cast<int32_t>(candidates.trials.size()));
  if (eligible == 0) return absl::OkStatus();
  const PointsView points{
      absl::MakeConstSpan(candidates.points).first(eligible * static_cast<size_t>(objectives)),
      objectives};
  FORALL_ASSIGN_OR_RETURN(std::vector<int32_t> rows, ParetoFilter(points));
  std::stable_sort(rows.begin(), rows.end(),
                   [&](int32_t a, int32_t b) { return points[a][0] < points[b][0]; });
  std::vector<double> frontier;
  for (const int32_t row : rows) {
    frontier.insert(frontier.end(), points[row], points[row] + objectives);
  }
  FORALL_ASSIGN_OR_RETURN(const int32_t knee, KneeRow(PointsView{frontier, objectives}));
  const std::vector<bool> contested = FindContested(registry, scope, question, candidates, rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    AddMember(registry, scope, question, candidates.trials[static_cast<size_t>(rows[i])],
              contested[i], static_cast<int32_t>(i) == knee, response);
  }
  return absl::OkStatus();
}

// Of objectives or of constraints.
template <typename Items>
bool RestsOnPrediction(const Items& items) {
  return std::any_of(items.begin(), items.end(),
                     [](const auto& item) { return IsPredicted(*FindMetric(item.metric())); });
}

// Predictions are of the predictor and of the tables that a job names: those of two jobs cannot be
// compared.
absl::Status CheckPrediction(const Scope& scope, const std::string& field,
                             const std::string& metric, const v1::Condition& condition) {
  const MetricSource source = FindMetric(metric)->source;
  if (source != MetricSource::kPrediction && source != MetricSource::kTable) {
    return absl::OkStatus();
  }
  if (scope.job == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ".metric: ", metric, " can only be asked of one job, whose ",
                     source == MetricSource::kTable ? "table" : "predictor", " it is of"));
  }
  const JobPlan& plan = scope.job->fold().plan();
  if (source == MetricSource::kPrediction && plan.spec().accuracy_predictor().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ".metric: ", metric, " needs a job that names an accuracy predictor"));
  }
  if (source == MetricSource::kTable && plan.FindTableSlot(condition) < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        field, ".condition: ", metric, plan.table_targets().empty() ? "" : " of this device",
        " is neither an objective nor a constraint of ", JobName(scope.job->fold().record().id)));
  }
  return absl::OkStatus();
}

absl::Status CheckPredictions(const Scope& scope, const v1::QueryParetoFrontierRequest& request) {
  for (int i = 0; i < request.objectives_size(); ++i) {
    FORALL_RETURN_IF_ERROR(CheckPrediction(scope, absl::StrCat("objectives[", i, "]"),
                                           request.objectives(i).metric(),
                                           request.objectives(i).condition()));
  }
  for (int i = 0; i < request.constraints_size(); ++i) {
    FORALL_RETURN_IF_ERROR(CheckPrediction(scope, absl::StrCat("constraints[", i, "]"),
                                           request.constraints(i).metric(),
                                           request.constraints(i).condition()));
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
  scope.own_objectives = own_objectives && request.constraints().empty();
  Question question;
  if (scope.own_objectives) {
    question = OwnQuestion(scope.job->fold());
    response.set_hypervolume(scope.job->fold().hypervolume());
  } else {
    FORALL_ASSIGN_OR_RETURN(question,
                            AskedQuestion(registry, scope, response, request.constraints()));
  }
  for (const v1::Objective& objective : response.objectives()) {
    question.objectives.maximize.push_back(objective.goal() == v1::Objective::MAXIMIZE);
  }
  FORALL_RETURN_IF_ERROR(AddMembers(registry, scope, question, &response));
  return response;
}

}  // namespace forall
