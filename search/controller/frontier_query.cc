// SPDX-License-Identifier: Apache-2.0
#include "search/controller/frontier_query.h"

#include <algorithm>
#include <cmath>
#include <limits>
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
#include "search/controller/derived_metric.h"
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

// That of the condition, or else the job's own where it has one only.
absl::StatusOr<std::string> GridOf(const Scope& scope, const v1::Condition& condition,
                                   const std::string& field) {
  if (condition.grid_grams_per_kwh() > 0) return GridName(condition.grid_grams_per_kwh());
  std::set<double> grids;
  if (scope.job != nullptr) {
    for (const MetricSlot& slot : scope.job->fold().plan().slots()) {
      if (slot.metric->id == kCarbon) grids.insert(slot.grid_grams_per_kwh);
    }
  }
  if (grids.size() == 1) return GridName(*grids.begin());
  return absl::InvalidArgumentError(
      absl::StrCat(field, ".condition.grid_grams_per_kwh: required for carbon_mg",
                   scope.job == nullptr ? "" : " of a job that asks for none or several",
                   ", e.g. carbon_mg:grid=386"));
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
    if (metric == kCarbon) {
      FORALL_ASSIGN_OR_RETURN(wanted.key.dataset, GridOf(scope, condition, field));
    }
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

// The candidates of a question, and among them its frontier. Trials come in by the hundred
// thousand: what can be no member is dropped a block at a time, while the block is in the cache.
class Collector {
 public:
  // Room is made for `most` candidates; members are filtered at about `block` of them at a time.
  Collector(const Question& question, size_t most, size_t block)
      : question_(question),
        block_(block),
        next_filter_(block),
        readings_(question.objectives.size()),
        point_(question.objectives.size()) {
    candidates_.trials.reserve(most);
    candidates_.hopes.reserve(most * readings_.size());
  }

  // Adds the trial when it has all values and meets the limits; it can be a member when `eligible`.
  absl::Status Add(TrialRef trial, bool eligible) {
    for (const MetricReader& reader : question_.objectives.readers) {
      reader.Prefetch({trial.job, trial.trial + kAhead});
    }
    Reading limited;
    for (const Limit& limit : question_.limits) {
      if (!limit.reader.Read(trial, &limited) || !Holds(limit.constraint, limited.value)) {
        return absl::OkStatus();
      }
    }
    const FrontierObjectives& objectives = question_.objectives;
    for (size_t i = 0; i < objectives.size(); ++i) {
      if (!objectives.readers[i].Read(trial, &readings_[i])) return absl::OkStatus();
    }
    candidates_.trials.push_back(trial);
    for (size_t i = 0; i < objectives.size(); ++i) {
      candidates_.hopes.push_back(Hope(readings_[i], objectives.maximize[i]));
      point_[i] = objectives.maximize[i] ? -readings_[i].value : readings_[i].value;
    }
    if (!eligible || Beaten(pivots_, point_.data())) return absl::OkStatus();
    points_.insert(points_.end(), point_.begin(), point_.end());
    rows_.push_back(static_cast<int32_t>(candidates_.trials.size()) - 1);
    return rows_.size() >= next_filter_ ? Filter(/*more=*/true) : absl::OkStatus();
  }

  // Leaves the members: their places among the candidates, ascending, and their points. Of equal
  // points the first stays. `more` are to come.
  absl::Status Filter(bool more) {
    FORALL_ASSIGN_OR_RETURN(const std::vector<int32_t> kept, ParetoFilter(points()));
    const size_t k = readings_.size();
    if (more) ChoosePivots(kept);
    for (size_t i = 0; i < kept.size(); ++i) {
      const size_t from = static_cast<size_t>(kept[i]);
      rows_[i] = rows_[from];
      std::copy_n(points_.begin() + static_cast<int64_t>(from * k), k,
                  points_.begin() + static_cast<int64_t>(i * k));
    }
    rows_.resize(kept.size());
    points_.resize(kept.size() * k);
    next_filter_ = 2 * kept.size() + block_;
    return absl::OkStatus();
  }

  const FrontierCandidates& candidates() const { return candidates_; }
  const std::vector<int32_t>& rows() const { return rows_; }
  PointsView points() const { return {points_, static_cast<int>(readings_.size())}; }

 private:
  static constexpr size_t kPivots = 4;
  static constexpr uint32_t kAhead = 16;

  // Whether one of the members dominates the point.
  bool Beaten(absl::Span<const double> members, const double* point) const {
    const size_t k = point_.size();
    for (size_t at = 0; at < members.size(); at += k) {
      bool worse = false;
      bool better = false;
      for (size_t i = 0; i < k; ++i) {
        worse |= members[at + i] < point[i];
        better |= !(members[at + i] <= point[i]);
      }
      if (worse && !better) return true;
    }
    return false;
  }

  // A few members that dominate the most of a sample between them: of what comes next they spare
  // the filter most.
  void ChoosePivots(const std::vector<int32_t>& kept) {
    constexpr size_t kSample = 128;
    constexpr size_t kTried = 32;
    const size_t k = point_.size();
    const size_t step = std::max<size_t>(1, rows_.size() / kSample);
    std::vector<size_t> sample;
    for (size_t at = 0; at < rows_.size(); at += step) sample.push_back(at);
    pivots_.clear();
    for (size_t chosen = 0; chosen < kPivots; ++chosen) {
      absl::Span<const double> best;
      ptrdiff_t most = 0;
      for (size_t m = 0; m < kept.size(); m += std::max<size_t>(1, kept.size() / kTried)) {
        const absl::Span<const double> member(&points_[static_cast<size_t>(kept[m]) * k], k);
        const ptrdiff_t beats = std::count_if(sample.begin(), sample.end(), [&](size_t at) {
          return Beaten(member, &points_[at * k]);
        });
        if (beats > most) {
          most = beats;
          best = member;
        }
      }
      if (most == 0) return;
      pivots_.insert(pivots_.end(), best.begin(), best.end());
      std::erase_if(sample, [&](size_t at) { return Beaten(best, &points_[at * k]); });
    }
  }

  const Question& question_;
  const size_t block_;
  size_t next_filter_;
  FrontierCandidates candidates_;
  std::vector<int32_t> rows_;
  std::vector<double> points_;
  std::vector<Reading> readings_;
  std::vector<double> point_;
  std::vector<double> pivots_;  // points of members
};

absl::StatusOr<Collector> Collect(const Registry& registry, const Scope& scope,
                                  const Question& question, size_t block) {
  size_t most = 0;
  for (const JobFold* job : scope.jobs) most += job->rows().size();
  Collector collector(question, most, block);
  absl::Status status;
  VisitTrials(registry, scope, [&](TrialRef ref) {
    bool eligible = true;
    if (scope.job != nullptr) {
      const TrialEntry& trial = TrialOf(scope, ref);
      // A job's frontier keeps the job's hard constraints, under any objectives.
      if (trial.state != TrialState::kMeasured) return;
      // Of its own objectives, only what its frontier holds can be a member.
      eligible = !scope.own_objectives || scope.jobs[ref.job]->OnFrontier(trial.record.ordinal);
    }
    status.Update(collector.Add(ref, eligible));
  });
  FORALL_RETURN_IF_ERROR(status);
  FORALL_RETURN_IF_ERROR(collector.Filter(/*more=*/false));
  return collector;
}

// Whether what is behind the member is itself in doubt.
bool IsDoubtful(const Scope& scope, const Question& question, TrialRef ref) {
  const TrialEntry& trial = TrialOf(scope, ref);
  // Over all jobs, the evidence may be another's, which did get its final numbers.
  if (scope.job != nullptr && !trial.finalize_error.empty()) return true;
  for (const MetricReader& reader : question.objectives.readers) {
    const MeasurementRecord* const evidence = reader.Evidence(ref);
    if (evidence == nullptr) continue;
    if (evidence->verdict != VerdictState::kTrusted || !IsFinal(trial, *evidence)) return true;
  }
  return false;
}

// Of each row whether its place is in doubt.
std::vector<bool> FindContested(const Registry& registry, const Scope& scope,
                                const Question& question, const FrontierCandidates& candidates,
                                absl::Span<const int32_t> rows, size_t block) {
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
      registry.index, question.objectives, candidates, members, block, [&](TrialRef rival) {
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
    const MetricReader& reader = question.objectives.readers[static_cast<size_t>(i)];
    Reading reading;
    reader.Read(ref, &reading);
    member->add_values(reading.value);
    const MeasurementRecord* const evidence = reader.Evidence(ref);
    *member->add_measurements() =
        evidence != nullptr ? MeasurementView(registry, *evidence)
                            : KnownView(plan, trial, KnownSlot(plan, response->objectives(i)));
  }
  member->set_certainty(contested ? v1::FrontierMember::CONTESTED : v1::FrontierMember::CERTAIN);
  member->set_knee(knee);
}

absl::Status AddMembers(const Registry& registry, const Scope& scope, const Question& question,
                        const FrontierBlocks& blocks, v1::QueryParetoFrontierResponse* response) {
  FORALL_ASSIGN_OR_RETURN(const Collector collector,
                          Collect(registry, scope, question, blocks.points));
  const FrontierCandidates& candidates = collector.candidates();
  const PointsView points = collector.points();
  const int objectives = response->objectives_size();
  response->set_considered_trials(static_cast<int32_t>(candidates.trials.size()));
  if (points.size() == 0) return absl::OkStatus();
  std::vector<int32_t> order(collector.rows().size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return points[a][0] < points[b][0]; });
  std::vector<int32_t> rows;
  std::vector<double> frontier;
  for (const int32_t member : order) {
    rows.push_back(collector.rows()[static_cast<size_t>(member)]);
    frontier.insert(frontier.end(), points[member], points[member] + objectives);
  }
  FORALL_ASSIGN_OR_RETURN(const int32_t knee, KneeRow(PointsView{frontier, objectives}));
  const std::vector<bool> contested =
      FindContested(registry, scope, question, candidates, rows, blocks.rivals);
  for (size_t i = 0; i < rows.size(); ++i) {
    AddMember(registry, scope, question, candidates.trials[static_cast<size_t>(rows[i])],
              contested[i], static_cast<int32_t>(i) == knee, response);
  }
  return absl::OkStatus();
}

// How far beyond its bound, as a share of the bound.
double RelativeExcess(const v1::Constraint& constraint, double value) {
  const double bound = constraint.has_at_most() && value > constraint.at_most()
                           ? constraint.at_most()
                           : constraint.at_least();
  return std::abs(value - bound) / (bound == 0 ? 1 : std::abs(bound));
}

// How a trial stands to the constraints.
struct Distance {
  TrialRef trial;
  bool complete = true;  // it has all values that were asked for
  double excess = 0;     // summed over the constraints that it breaks
  std::vector<v1::ClosestTrial::Miss> misses;
};

Distance DistanceOf(const Question& question, const std::vector<Limit>& own_limits,
                    TrialRef trial) {
  Distance distance{trial, true, 0, {}};
  Reading reading;
  const auto look_at = [&](const Limit& limit, bool own) {
    if (!limit.reader.Read(trial, &reading)) {
      distance.complete = false;
      return;
    }
    // The job judged what it measured, not an estimate.
    const double value = own ? reading.measured : reading.value;
    if (Holds(limit.constraint, value)) return;
    v1::ClosestTrial::Miss& miss = distance.misses.emplace_back();
    *miss.mutable_constraint() = limit.constraint;
    miss.set_value(value);
    miss.set_relative_excess(RelativeExcess(limit.constraint, value));
    distance.excess += miss.relative_excess();
  };
  for (const Limit& limit : own_limits) look_at(limit, true);
  for (const Limit& limit : question.limits) look_at(limit, false);
  for (const MetricReader& reader : question.objectives.readers) {
    distance.complete &= reader.Read(trial, &reading);
  }
  return distance;
}

void AddClosestTrial(const Registry& registry, const Scope& scope, const Question& question,
                     Distance distance, v1::QueryParetoFrontierResponse* response) {
  v1::ClosestTrial* const closest = response->add_closest();
  const JobFold& job = *scope.jobs[distance.trial.job];
  *closest->mutable_trial() = TrialView(registry, job, TrialOf(scope, distance.trial));
  for (const MetricReader& reader : question.objectives.readers) {
    Reading reading;
    const bool known = reader.Read(distance.trial, &reading);
    closest->add_values(known ? reading.value : std::numeric_limits<double>::quiet_NaN());
  }
  std::stable_sort(
      distance.misses.begin(), distance.misses.end(),
      [](const auto& a, const auto& b) { return a.relative_excess() > b.relative_excess(); });
  for (v1::ClosestTrial::Miss& miss : distance.misses) *closest->add_misses() = std::move(miss);
}

// Where nothing meets the constraints: what misses them by the least.
void AddClosest(const Registry& registry, const Scope& scope, const Question& question,
                v1::QueryParetoFrontierResponse* response) {
  constexpr size_t kMost = 3;
  std::vector<Limit> own_limits;
  for (int i = 0; scope.job != nullptr && i < scope.job->fold().plan().spec().constraints_size();
       ++i) {
    const JobPlan& plan = scope.job->fold().plan();
    own_limits.push_back(
        {plan.spec().constraints(i),
         MetricReader(scope.job->fold(), plan.limits()[static_cast<size_t>(i)].slot)});
  }
  if (own_limits.empty() && question.limits.empty()) return;
  // What a job stopped measuring once it had broken a limit only counts where nothing else does.
  const auto nearer = [](const Distance& a, const Distance& b) {
    if (a.complete != b.complete) return a.complete;
    return a.excess < b.excess;
  };
  std::vector<Distance> nearest;
  VisitTrials(registry, scope, [&](TrialRef ref) {
    if (scope.job != nullptr) {
      const TrialEntry& trial = TrialOf(scope, ref);
      const TrialState state = trial.state;
      if (!trial.failure.empty() ||
          (state != TrialState::kMeasured && state != TrialState::kInfeasible)) {
        return;
      }
    }
    Distance distance = DistanceOf(question, own_limits, ref);
    if (distance.misses.empty()) return;
    nearest.insert(std::upper_bound(nearest.begin(), nearest.end(), distance, nearer),
                   std::move(distance));
    if (nearest.size() > kMost) nearest.pop_back();
  });
  for (Distance& distance : nearest) {
    if (distance.complete != nearest.front().complete) break;
    AddClosestTrial(registry, scope, question, std::move(distance), response);
  }
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
  if (!IsPredicted(*FindMetric(metric))) return absl::OkStatus();
  const MetricSource source = FindMetric(metric)->source;
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
    const Registry& registry, const v1::QueryParetoFrontierRequest& request,
    const FrontierBlocks& blocks) {
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
  FORALL_RETURN_IF_ERROR(AddMembers(registry, scope, question, blocks, &response));
  if (response.considered_trials() == 0) AddClosest(registry, scope, question, &response);
  return response;
}

}  // namespace forall
