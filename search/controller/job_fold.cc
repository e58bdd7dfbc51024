// SPDX-License-Identifier: Apache-2.0
#include "search/controller/job_fold.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "search/controller/paired_test.h"
#include "search/pareto/hypervolume.h"
#include "space/identity.h"
#include "space/recipe.h"

namespace forall {
namespace {

// What budget.plateau_improvement is when it is not given.
constexpr double kPlateauImprovement = 0.0005;

constexpr int64_t kCheapMembers = 50;

Frontier NewFrontier(const JobPlan& plan) {
  // A plan has at least one objective, which is all that Create asks for.
  return *Frontier::Create(std::max<int>(1, static_cast<int>(plan.objectives().size())));
}

absl::Status Broken(const JobEvent& event, const std::string& why) {
  return absl::DataLossError(
      absl::StrCat("event ", event.sequence, " (", event.kind, ") does not follow: ", why));
}

// The edges of a job's life. CANCELLED and FAILED can be reached from every state that is no end.
bool MayBecome(JobState from, JobState to) {
  if (from == JobState::kSucceeded || from == JobState::kCancelled || from == JobState::kFailed) {
    return false;
  }
  switch (to) {
    case JobState::kRunning:
      return from == JobState::kPaused;
    case JobState::kPaused:
    case JobState::kFinalizing:
      return from == JobState::kRunning;
    case JobState::kSucceeded:
      return from == JobState::kFinalizing;
    case JobState::kCancelled:
    case JobState::kFailed:
      return true;
  }
  return false;
}

// A measured trial may still turn out infeasible when its final numbers break a limit.
bool MayBecome(TrialState from, TrialState to) {
  if (to <= TrialState::kActive || to > TrialState::kCancelled) return false;
  if (from == TrialState::kActive) return true;
  return from == TrialState::kMeasured && to == TrialState::kInfeasible;
}

}  // namespace

JobFold::JobFold(JobRecord record, std::shared_ptr<const JobPlan> plan, MeasurementIndex* index)
    : record_(std::move(record)),
      plan_(std::move(plan)),
      index_(index),
      bindings_(plan_->targets().size()),
      tier_trials_(plan_->spec().fidelity().tiers_size()),
      points_(NewFrontier(*plan_)),
      both_(plan_->slots().size()) {
  record_.state = JobState::kRunning;
  record_.error.clear();
  record_.end_time.reset();
  for (const JobPlan::Goal& goal : plan_->objectives()) {
    const MetricInfo& metric = *plan_->slots()[goal.slot].metric;
    double low = 0;
    double high = 0;
    if (metric.source == MetricSource::kAccuracy || metric.source == MetricSource::kPrediction) {
      high = 100;
    }
    if (metric.source == MetricSource::kExactCost) {
      low = ExactCost(plan_->smallest_costs(), metric.id);
      high = ExactCost(plan_->largest_costs(), metric.id);
    }
    reference_.push_back(goal.maximize ? low : high);
    ideal_.push_back(goal.maximize ? high : low);
  }
}

bool IsKnownUnmeasured(const MetricInfo& metric) {
  return metric.source == MetricSource::kExactCost || IsPredicted(metric);
}

std::optional<double> KnownValue(const TrialEntry& trial, const MetricSlot& slot) {
  switch (slot.metric->source) {
    case MetricSource::kExactCost:
      return ExactCost(trial.costs, slot.metric->id);
    case MetricSource::kPrediction:
      return trial.predicted_accuracy;
    case MetricSource::kTable:
      if (slot.table < 0 || slot.table >= static_cast<int>(trial.predicted_latencies.size())) {
        return std::nullopt;
      }
      return trial.predicted_latencies[slot.table];
    case MetricSource::kAccuracy:
    case MetricSource::kLatency:
      return std::nullopt;
  }
  return std::nullopt;
}

const TrialEntry* JobFold::FindTrial(int64_t ordinal) const {
  if (ordinal < 1 || ordinal > static_cast<int64_t>(trials_.size())) return nullptr;
  return &trials_[ordinal - 1];
}

const std::vector<SubjectId>& JobFold::Graphs(int32_t batch, const DeploymentRecipe& recipe) const {
  std::vector<SubjectId>& graphs = graphs_[{batch, RecipeText(recipe)}];
  for (size_t i = graphs.size(); i < trials_.size(); ++i) {
    graphs.push_back(index_->NumberOf(
        GraphKey(trials_[i].record.arch_key, trials_[i].resolution, batch, recipe)));
  }
  return graphs;
}

bool JobFold::AllBound() const {
  return std::all_of(bindings_.begin(), bindings_.end(),
                     [](const auto& binding) { return binding.has_value(); });
}

bool JobFold::ended() const {
  return record_.state == JobState::kSucceeded || record_.state == JobState::kCancelled ||
         record_.state == JobState::kFailed;
}

absl::Status JobFold::Apply(const JobEvent& event) {
  if (event.sequence != sequence_ + 1) {
    return Broken(event, absl::StrCat("the log so far ends at ", sequence_));
  }
  if (event.kind == "proposed") {
    FORALL_RETURN_IF_ERROR(Propose(event));
  } else if (event.kind == "bound") {
    if (event.target < 0 || event.target >= static_cast<int>(bindings_.size())) {
      return Broken(event, "there is no such latency target");
    }
    bindings_[event.target] = TargetBinding{event.device, event.fingerprint, event.profile};
  } else if (event.kind == "known") {
    FORALL_RETURN_IF_ERROR(Know(event));
  } else if (event.kind == "state") {
    FORALL_RETURN_IF_ERROR(ChangeState(event));
  } else if (event.kind == "retracted") {
    FORALL_RETURN_IF_ERROR(Retract(event));
  } else if (event.kind == "submitted") {
    tenant_ = event.tenant;
    warnings_ = event.warnings;
  } else {
    if (FindTrial(event.trial) == nullptr) {
      return Broken(event, absl::StrCat("trial ", event.trial, " was never proposed"));
    }
    TrialEntry* trial = &trials_[event.trial - 1];
    trial->changed = event.sequence;
    if (event.kind == "exported") {
      trial->artifact_sha256 = event.artifact;
      rows_[event.trial - 1].artifact =
          event.artifact.empty() ? kNoSubject : index_->NumberOf(event.artifact);
      trial->needed_measuring |= event.task != 0;
    } else if (event.kind == "part") {
      trial->needed_measuring |= trial->state == TrialState::kActive;
    } else if (event.kind == "measured") {
      FORALL_RETURN_IF_ERROR(Measured(event, trial));
    } else if (event.kind == "climbed") {
      if (trial->state != TrialState::kActive || !HasNextTier(*trial)) {
        return Broken(event, "there is no further tier for the trial");
      }
      ++trial->tier;
    } else if (event.kind == "rejected") {
      ++trial->rejections[{event.target, event.fidelity}];
      trial->rejection = event.message;
      trial->measurements.insert(trial->measurements.end(), event.measurements.begin(),
                                 event.measurements.end());
      trial->needed_measuring = true;
    } else if (event.kind == "failed") {
      if (event.last && event.state != static_cast<int>(TrialState::kInfeasible) &&
          event.state != static_cast<int>(TrialState::kFailed)) {
        return Broken(event, absl::StrCat("no trial ends in state ", event.state, " by a failure"));
      }
      trial->needed_measuring = true;
      if (!event.last) trial->attempt_failure = absl::StrCat(event.worker, ": ", event.message);
      if (event.last && trial->failure.empty()) {
        trial->failure = event.message.empty() ? "its task failed" : event.message;
        trial->failure_state = static_cast<TrialState>(event.state);
      }
    } else if (event.kind == "decided") {
      FORALL_RETURN_IF_ERROR(Decide(event, trial));
    } else if (event.kind == "finalizing") {
      trial->finalizing = true;
      finalizing_.insert(event.trial);
    } else if (event.kind == "finalized") {
      trial->finalized = true;
      finalizing_.erase(event.trial);
      trial->finalize_error = event.message;
    } else if (event.kind == "contesting") {
      trial->contested = true;
      contesting_.insert(event.trial);
    } else if (event.kind == "contested") {
      contesting_.erase(event.trial);
    } else {
      return Broken(event, "this build does not know the kind");
    }
  }
  sequence_ = event.sequence;
  record_.update_time = event.time;
  return absl::OkStatus();
}

absl::Status JobFold::Propose(const JobEvent& event) {
  if (event.trial != static_cast<int64_t>(trials_.size()) + 1) {
    return Broken(event, "trials are numbered without gaps");
  }
  const SearchSpace& space = plan_->family().search_space();
  TrialEntry trial;
  trial.architecture = {space.id(), space.revision(), event.choices};
  FORALL_RETURN_IF_ERROR(space.Validate(trial.architecture));
  FORALL_ASSIGN_OR_RETURN(const Network network, plan_->family().Describe(trial.architecture));
  const DeploymentRecipe& recipe = plan_->recipe();
  trial.costs = CountCosts(network, recipe);
  if (!event.values.empty()) trial.predicted_accuracy = event.values[0];
  if (event.latencies.size() != plan_->table_targets().size()) {
    return Broken(event, "it has another number of predicted latencies than the job");
  }
  trial.predicted_latencies = event.latencies;
  if (!event.expected.empty() && (event.expected.size() != plan_->objectives().size() ||
                                  event.deviations.size() != event.expected.size())) {
    return Broken(event, "it expects another number of objectives than the job has");
  }
  for (size_t i = 0; i < event.expected.size(); ++i) {
    trial.expected.push_back({event.expected[i], event.deviations[i]});
  }
  trial.resolution = static_cast<int32_t>(network.input.height);
  TrialRecord& record = trial.record;
  record.id = event.trial_id;
  record.job_id = record_.id;
  record.ordinal = event.trial;
  record.search_space = space.id();
  record.revision = space.revision();
  record.choices = event.choices;
  record.arch_key = ArchKey(space, trial.architecture);
  record.graph_key = GraphKey(record.arch_key, trial.resolution, 1, recipe);
  record.create_time = event.time;
  if (!keys_.insert(record.arch_key).second) return Broken(event, "the network is a trial already");
  trial.screening.resize(plan_->slots().size());
  trial.final.resize(plan_->slots().size());
  trial.changed = event.sequence;
  active_.insert(event.trial);
  rows_.push_back({.graph = index_->NumberOf(record.graph_key)});
  costs_.push_back(trial.costs);
  trials_.push_back(std::move(trial));
  return absl::OkStatus();
}

absl::Status JobFold::Know(const JobEvent& event) {
  if (!trials_.empty() || !known_.empty()) return Broken(event, "the search has begun");
  const SearchSpace& space = plan_->family().search_space();
  for (const KnownSubnet& subnet : event.subnets) {
    ScoredTrial known;
    known.architecture = {space.id(), space.revision(), subnet.choices};
    FORALL_RETURN_IF_ERROR(space.Validate(known.architecture));
    if (subnet.measurements.size() != plan_->slots().size()) {
      return Broken(event, "it has measurements of another number of metrics than the job");
    }
    TrialEntry entry;
    entry.costs = plan_->CostsOf(known.architecture);
    if (plan_->needs_prediction()) {
      entry.predicted_accuracy = plan_->PredictedAccuracy(known.architecture);
    }
    entry.predicted_latencies = plan_->PredictedLatencies(known.architecture);
    std::vector<double> values;
    for (size_t slot = 0; slot < subnet.measurements.size(); ++slot) {
      const MetricInfo& metric = *plan_->slots()[slot].metric;
      const int64_t id = subnet.measurements[slot];
      std::optional<double> value = KnownValue(entry, plan_->slots()[slot]);
      if (id != 0) {
        const MeasurementRecord* const measurement = index_->Find(id);
        if (measurement == nullptr || measurement->key.metric != metric.id ||
            id > record_.history_snapshot) {
          return Broken(event, absl::StrCat("there was no measurement ", id, " of ", metric.id,
                                            " when the job was submitted"));
        }
        value = measurement->value;
      }
      values.push_back(value.value_or(std::numeric_limits<double>::quiet_NaN()));
    }
    known.objectives = plan_->Oriented(values);
    known.limited = plan_->OrientedLimited(values);
    known.constraint_violation = plan_->Violation(values);
    known_.push_back(std::move(known));
    known_measurements_.push_back(subnet.measurements);
    for (const int64_t id : subnet.measurements) {
      if (id != 0) named_beside_trials_.push_back(id);
    }
  }
  return absl::OkStatus();
}

absl::Status JobFold::Measured(const JobEvent& event, TrialEntry* trial) {
  trial->needed_measuring |= event.task != 0 && trial->state == TrialState::kActive;
  for (const int64_t id : event.measurements) {
    const MeasurementRecord* measurement = index_->Find(id);
    if (measurement == nullptr) {
      return Broken(event, absl::StrCat("measurement ", id, " is not in the store"));
    }
    trial->measurements.push_back(id);
    if (event.split == "test") {
      trial->test_measured = true;
      continue;
    }
    for (size_t slot = 0; slot < plan_->slots().size(); ++slot) {
      if (plan_->slots()[slot].metric->id != measurement->key.metric ||
          plan_->slots()[slot].target != event.target) {
        continue;
      }
      if (event.fidelity != "final" &&
          plan_->slots()[slot].metric->source == MetricSource::kAccuracy) {
        if (trial->tiers_measured <= trial->tier &&
            trial->tier < plan_->spec().fidelity().tiers_size()) {
          ++tier_trials_[trial->tier];
        }
        trial->tiers_measured = trial->tier + 1;
      }
      TrialRow& row = rows_[event.trial - 1];
      row.has_final |= event.fidelity == "final";
      row.screened_finally |=
          event.fidelity != "final" && measurement->fidelity == FidelityLevel::kFinal;
      CountBoth(*trial, slot, -1);
      (event.fidelity == "final" ? trial->final : trial->screening)[slot] = id;
      CountBoth(*trial, slot, 1);
    }
  }
  if (event.fidelity == "final" && trial->state == TrialState::kMeasured) RebuildFrontier();
  return absl::OkStatus();
}

absl::Status JobFold::Decide(const JobEvent& event, TrialEntry* trial) {
  const TrialState to = static_cast<TrialState>(event.state);
  const TrialState from = trial->state;
  if (!MayBecome(from, to)) {
    return Broken(event, absl::StrCat("a trial cannot go from state ", static_cast<int>(from),
                                      " to ", event.state));
  }
  const std::optional<std::vector<double>> values = Values(*trial);
  if (to == TrialState::kMeasured && !values.has_value()) {
    return Broken(event, "a value of the trial is missing");
  }
  if (event.stopped_by != 0) {
    const TrialEntry* better = FindTrial(event.stopped_by);
    if (better == nullptr || better->state != TrialState::kMeasured || better == trial) {
      return Broken(event, "the trial that stopped it was not measured");
    }
  }
  trial->state = to;
  trial->error = event.message;
  trial->end_time = event.time;
  trial->reused = event.reused;
  trial->stopped_by = event.stopped_by;
  ++counts_[event.state];
  if (from != TrialState::kActive) {
    --counts_[static_cast<int>(from)];
    RebuildFrontier();
    return absl::OkStatus();
  }
  active_.erase(event.trial);
  if (to == TrialState::kCancelled) return absl::OkStatus();
  reused_ += event.reused;
  // Infeasible by what was measured first: the rest is not known, and not wanted.
  const bool gated = to == TrialState::kInfeasible && !values.has_value() && trial->failure.empty();
  trial->spared_accuracy = gated && !event.accuracy_known;
  spared_accuracies_ += trial->spared_accuracy ? 1 : 0;
  ScoredTrial scored;
  scored.id = event.trial;
  scored.architecture = trial->architecture;
  if (values.has_value() || gated) {
    const std::vector<double> known = KnownValues(*trial);
    scored.objectives = plan_->Oriented(known);
    scored.limited = plan_->OrientedLimited(known);
    scored.constraint_violation = plan_->Violation(known);
  }
  if (!trial->failure.empty() || scored.objectives.empty()) {
    scored.constraint_violation = std::numeric_limits<double>::infinity();
  }
  history_.push_back(std::move(scored));
  if (to == TrialState::kMeasured) {
    decided_.push_back(event.trial);
    LearnScale(*trial);
    if (AddToFrontier(*trial)) PublishFrontier();
    hypervolume_history_.emplace_back(event.trial, hypervolume_);
  }
  hypervolumes_.push_back(hypervolume_);
  plateau_reached_ |= IsPlateau();
  return absl::OkStatus();
}

absl::Status JobFold::ChangeState(const JobEvent& event) {
  const JobState to = static_cast<JobState>(event.state);
  if (!MayBecome(record_.state, to)) {
    return Broken(event, absl::StrCat("a job cannot go from state ",
                                      static_cast<int>(record_.state), " to ", event.state));
  }
  record_.state = to;
  record_.error.clear();
  if (to == JobState::kFinalizing) {
    start_finalizing_ = event.time;
    stop_reason_ = event.message;
  } else {
    record_.error = event.message;
  }
  if (ended()) {
    record_.end_time = event.time;
    known_ = {};  // Nothing is proposed any more.
    known_measurements_ = {};
    for (const int64_t ordinal : active_) {
      TrialEntry& trial = trials_[ordinal - 1];
      trial.state = TrialState::kCancelled;
      trial.end_time = event.time;
      trial.changed = event.sequence;
    }
    active_.clear();
  }
  return absl::OkStatus();
}

RetractionEffect JobFold::EffectOfRetracting(const absl::flat_hash_set<int64_t>& gone) const {
  RetractionEffect effect;
  std::set<int64_t> measurements;
  for (const TrialEntry& trial : trials_) {
    bool changed = false;
    for (const int64_t id : trial.measurements) {
      if (!gone.contains(id)) continue;
      measurements.insert(id);
      changed = true;
    }
    if (!changed) continue;
    const int64_t ordinal = trial.record.ordinal;
    effect.changed.push_back(ordinal);
    bool value_changed = false;
    bool complete = true;
    for (size_t slot = 0; slot < plan_->slots().size(); ++slot) {
      if (IsKnownUnmeasured(*plan_->slots()[slot].metric)) continue;
      const auto stays = [&](int64_t id) { return id != 0 && !gone.contains(id); };
      value_changed |= gone.contains(trial.final[slot]) || gone.contains(trial.screening[slot]);
      complete &= stays(trial.final[slot]) || stays(trial.screening[slot]);
    }
    if (!value_changed || !trial.failure.empty()) continue;
    const TrialState state = trial.state;
    if (state == TrialState::kMeasured && !complete) {
      (ended() ? effect.lost : effect.remeasured).push_back(ordinal);
    } else if (state == TrialState::kInfeasible && !ended()) {
      effect.remeasured.push_back(ordinal);
    }
  }
  for (const std::vector<int64_t>& known : known_measurements_) {
    bool dropped = false;
    for (const int64_t id : known) {
      if (!gone.contains(id)) continue;
      measurements.insert(id);
      dropped = true;
    }
    effect.dropped_known += dropped ? 1 : 0;
  }
  effect.measurements.assign(measurements.begin(), measurements.end());
  return effect;
}

void JobFold::AddNamedTo(absl::flat_hash_set<int64_t>* ids) const {
  ids->insert(named_beside_trials_.begin(), named_beside_trials_.end());
  for (const TrialEntry& trial : trials_) {
    ids->insert(trial.measurements.begin(), trial.measurements.end());
  }
}

absl::Status JobFold::Retract(const JobEvent& event) {
  const absl::flat_hash_set<int64_t> gone(event.measurements.begin(), event.measurements.end());
  const RetractionEffect effect = EffectOfRetracting(gone);
  if (effect.measurements.size() != gone.size()) {
    return Broken(event, "the job does not rest on what was retracted");
  }
  size_t kept = 0;
  for (size_t i = 0; i < known_.size(); ++i) {
    const std::vector<int64_t>& ids = known_measurements_[i];
    if (std::any_of(ids.begin(), ids.end(), [&](int64_t id) { return gone.contains(id); }))
      continue;
    if (kept != i) {
      known_[kept] = std::move(known_[i]);
      known_measurements_[kept] = std::move(known_measurements_[i]);
    }
    ++kept;
  }
  known_.resize(kept);
  known_measurements_.resize(kept);

  const bool scale = std::any_of(
      effect.changed.begin(), effect.changed.end(),
      [&](int64_t ordinal) { return !decided_.empty() && decided_.front() == ordinal; });
  for (const int64_t ordinal : effect.changed) {
    TrialEntry& trial = trials_[ordinal - 1];
    trial.changed = event.sequence;
    LoseMeasurements(gone, &trial);
  }
  for (const int64_t ordinal : effect.remeasured) Reopen(&trials_[ordinal - 1]);
  for (const int64_t ordinal : effect.lost) {
    TrialEntry& trial = trials_[ordinal - 1];
    --counts_[static_cast<int>(trial.state)];
    trial.state = TrialState::kFailed;
    ++counts_[static_cast<int>(trial.state)];
    trial.error = absl::StrCat("a measurement of it was retracted: ", event.message);
  }
  std::erase_if(decided_, [&](int64_t ordinal) {
    return trials_[ordinal - 1].state != TrialState::kMeasured &&
           trials_[ordinal - 1].state != TrialState::kInfeasible;
  });
  std::erase_if(history_, [&](const ScoredTrial& scored) {
    return trials_[scored.id - 1].state == TrialState::kActive;
  });
  RebuildHistory(scale);
  warnings_.push_back(absl::StrCat(gone.size(), gone.size() == 1 ? " measurement" : " measurements",
                                   " that this job rested on ", gone.size() == 1 ? "was" : "were",
                                   " retracted (", event.message, "): ", effect.remeasured.size(),
                                   " of its trials measured again, ", effect.lost.size(), " lost"));
  return absl::OkStatus();
}

void JobFold::LoseMeasurements(const absl::flat_hash_set<int64_t>& gone, TrialEntry* trial) {
  for (const int64_t id : trial->measurements) {
    const MeasurementRecord* const record = index_->Find(id);
    if (gone.contains(id)) named_beside_trials_.push_back(id);
    if (gone.contains(id) && record != nullptr && record->key.split == "test") {
      trial->test_measured = false;
    }
  }
  std::erase_if(trial->measurements, [&](int64_t id) { return gone.contains(id); });
  TrialRow& row = rows_[trial->record.ordinal - 1];
  row.has_final = false;
  row.screened_finally = false;
  for (size_t slot = 0; slot < plan_->slots().size(); ++slot) {
    CountBoth(*trial, slot, -1);
    if (gone.contains(trial->final[slot])) {
      trial->final[slot] = 0;
      trial->finalized = false;
      trial->finalize_error = "a final measurement of it was retracted";
      // It may be measured finally again, unless that is under way.
      trial->finalizing = finalizing_.count(trial->record.ordinal) > 0;
      trial->contested = contesting_.count(trial->record.ordinal) > 0;
    }
    if (gone.contains(trial->screening[slot])) trial->screening[slot] = 0;
    CountBoth(*trial, slot, 1);
    row.has_final |= trial->final[slot] != 0;
    const MeasurementRecord* const screening = index_->Find(trial->screening[slot]);
    row.screened_finally |= screening != nullptr && screening->fidelity == FidelityLevel::kFinal;
  }
}

// A decided trial is undecided again.
void JobFold::Reopen(TrialEntry* trial) {
  --counts_[static_cast<int>(trial->state)];
  reused_ -= trial->reused ? 1 : 0;
  spared_accuracies_ -= trial->spared_accuracy ? 1 : 0;
  trial->state = TrialState::kActive;
  trial->error.clear();
  trial->end_time.reset();
  trial->reused = false;
  trial->stopped_by = 0;
  trial->spared_accuracy = false;
  trial->finalizing = false;
  trial->finalized = false;
  trial->finalize_error.clear();
  trial->contested = false;
  finalizing_.erase(trial->record.ordinal);
  contesting_.erase(trial->record.ordinal);
  active_.insert(trial->record.ordinal);
}

void JobFold::RebuildHistory(bool scale) {
  if (scale) {
    scaled_ = false;
    for (size_t i = 0; i < plan_->objectives().size(); ++i) {
      const JobPlan::Goal& goal = plan_->objectives()[i];
      const MetricSource source = plan_->slots()[goal.slot].metric->source;
      if (source != MetricSource::kLatency && source != MetricSource::kTable) continue;
      (goal.maximize ? ideal_ : reference_)[i] = 0;
    }
  }
  points_ = NewFrontier(*plan_);
  hypervolumes_.clear();
  hypervolume_history_.clear();
  plateau_reached_ = false;
  hypervolume_ = 0;
  for (const ScoredTrial& scored : history_) {
    const TrialEntry& trial = trials_[scored.id - 1];
    if (trial.state == TrialState::kMeasured) {
      LearnScale(trial);
      AddToFrontier(trial);
      hypervolume_ = ComputeHypervolume();
      hypervolume_history_.emplace_back(scored.id, hypervolume_);
    }
    hypervolumes_.push_back(hypervolume_);
    plateau_reached_ |= IsPlateau();
  }
  PublishFrontier();
}

const MeasurementRecord* JobFold::Evidence(const TrialEntry& trial, int slot) const {
  const int64_t id = trial.final[slot] != 0 ? trial.final[slot] : trial.screening[slot];
  return id == 0 ? nullptr : index_->Find(id);
}

const MeasurementRecord* JobFold::SearchedEvidence(const TrialEntry& trial, int slot) const {
  const int64_t id = trial.screening[slot];
  return id == 0 ? Evidence(trial, slot) : index_->Find(id);
}

std::optional<double> JobFold::Value(const TrialEntry& trial, int slot) const {
  const MetricInfo& metric = *plan_->slots()[slot].metric;
  if (IsKnownUnmeasured(metric)) return KnownValue(trial, plan_->slots()[slot]);
  const MeasurementRecord* measurement = Evidence(trial, slot);
  if (measurement == nullptr) return std::nullopt;
  return measurement->value;
}

std::optional<std::vector<double>> JobFold::Values(const TrialEntry& trial) const {
  std::vector<double> values;
  for (size_t slot = 0; slot < plan_->slots().size(); ++slot) {
    const std::optional<double> value = Value(trial, static_cast<int>(slot));
    if (!value.has_value()) return std::nullopt;
    values.push_back(*value);
  }
  return values;
}

std::vector<double> JobFold::KnownValues(const TrialEntry& trial) const {
  std::vector<double> values;
  for (size_t slot = 0; slot < plan_->slots().size(); ++slot) {
    values.push_back(
        Value(trial, static_cast<int>(slot)).value_or(std::numeric_limits<double>::quiet_NaN()));
  }
  return values;
}

std::string JobFold::BrokenLatencyLimit(const TrialEntry& trial) const {
  for (const JobPlan::Limit& limit : plan_->limits()) {
    const MetricSlot& slot = plan_->slots()[limit.slot];
    if (slot.target < 0) continue;
    const MeasurementRecord* const evidence = Evidence(trial, limit.slot);
    if (evidence == nullptr) continue;
    if (limit.at_most.has_value() && evidence->low > *limit.at_most) {
      return absl::StrCat(plan_->SlotName(slot), " ", evidence->value, " is above ", *limit.at_most,
                          " even at the lower end of its interval, ", evidence->low);
    }
    if (limit.at_least.has_value() && evidence->high < *limit.at_least) {
      return absl::StrCat(plan_->SlotName(slot), " ", evidence->value, " is below ",
                          *limit.at_least, " even at the upper end of its interval, ",
                          evidence->high);
    }
  }
  return "";
}

bool JobFold::IsPlateau() const {
  const v1::Budget& budget = plan_->spec().budget();
  const size_t trials = static_cast<size_t>(budget.plateau_trials());
  if (trials == 0 || hypervolumes_.size() <= trials) return false;
  const double before = hypervolumes_[hypervolumes_.size() - 1 - trials];
  // Before anything feasible was found there is nothing that could have grown.
  if (before <= 0) return false;
  const double share =
      budget.plateau_improvement() > 0 ? budget.plateau_improvement() : kPlateauImprovement;
  return hypervolumes_.back() < before * (1 + share);
}

bool JobFold::HasFinal(const TrialEntry& trial, int slot) const {
  return IsKnownUnmeasured(*plan_->slots()[slot].metric) || trial.final[slot] != 0;
}

bool JobFold::AllFinal(const TrialEntry& trial) const {
  for (size_t slot = 0; slot < plan_->slots().size(); ++slot) {
    if (!HasFinal(trial, static_cast<int>(slot))) return false;
  }
  return true;
}

int32_t JobFold::ScreeningImages(const TrialEntry& trial) const {
  const v1::Fidelity& fidelity = plan_->spec().fidelity();
  return trial.tier < fidelity.tiers_size() ? fidelity.tiers(trial.tier)
                                            : fidelity.screening_images();
}

bool JobFold::HasNextTier(const TrialEntry& trial) const {
  if (trial.tiers_measured != trial.tier + 1 ||
      trial.tier + 1 >= plan_->spec().fidelity().tiers_size()) {
    return false;
  }
  for (size_t slot = 0; slot < plan_->slots().size(); ++slot) {
    if (plan_->slots()[slot].metric->source != MetricSource::kAccuracy) continue;
    const MeasurementRecord* evidence = Evidence(trial, static_cast<int>(slot));
    if (evidence == nullptr || evidence->sample_count < ScreeningImages(trial)) return false;
  }
  return true;
}

bool JobFold::NoWorseElsewhere(const TrialEntry& rival, const TrialEntry& trial) const {
  for (const JobPlan::Goal& goal : plan_->objectives()) {
    const MetricInfo& metric = *plan_->slots()[goal.slot].metric;
    if (metric.source == MetricSource::kAccuracy) continue;
    double theirs = *Value(rival, goal.slot);
    double ours = *Value(trial, goal.slot);
    if (metric.source == MetricSource::kLatency) {
      const MeasurementRecord* their = Evidence(rival, goal.slot);
      const MeasurementRecord* our = Evidence(trial, goal.slot);
      if (their->id == our->id) continue;
      theirs = goal.maximize ? their->low : their->high;
      ours = goal.maximize ? our->high : our->low;
    }
    if (goal.maximize ? theirs < ours : theirs > ours) return false;
  }
  return true;
}

int64_t JobFold::FindBetter(const TrialEntry& trial) const {
  constexpr double kWronglyStopped = 0.05;
  const auto slot = std::find_if(plan_->objectives().begin(), plan_->objectives().end(),
                                 [&](const JobPlan::Goal& goal) {
                                   return plan_->slots()[goal.slot].metric->id == "accuracy_top1";
                                 });
  const int tiers = plan_->spec().fidelity().tiers_size();
  if (tiers == 0 || slot == plan_->objectives().end()) return 0;
  const MeasurementRecord* ours = Evidence(trial, slot->slot);
  if (ours == nullptr || index_->Bitmap(ours->id).empty()) return 0;
  int64_t rivals = 0;
  int64_t best = 0;
  double lowest = 1;
  for (const int64_t ordinal : decided_) {
    const TrialEntry& rival = trials_[ordinal - 1];
    if (rival.state != TrialState::kMeasured || &rival == &trial) continue;
    const MeasurementRecord* theirs = Evidence(rival, slot->slot);
    if (theirs == nullptr || index_->Bitmap(theirs->id).empty() ||
        !NoWorseElsewhere(rival, trial)) {
      continue;
    }
    ++rivals;
    const Discordance discordance =
        CountDiscordance(index_->Bitmap(ours->id), index_->Bitmap(theirs->id),
                         std::min(ours->sample_count, theirs->sample_count));
    const double p = SecondIsBetterPValue(discordance);
    if (p >= lowest) continue;
    lowest = p;
    best = ordinal;
  }
  // Bonferroni: every look at every rival is a chance to be misled.
  return lowest * static_cast<double>(tiers * std::max<int64_t>(rivals, 1)) <= kWronglyStopped
             ? best
             : 0;
}

int64_t JobFold::StoppedBy(const TrialEntry& trial) const {
  const TrialEntry* better = FindTrial(trial.stopped_by);
  return better != nullptr && better->state == TrialState::kMeasured ? trial.stopped_by : 0;
}

void JobFold::LearnScale(const TrialEntry& trial) {
  if (scaled_) return;
  scaled_ = true;
  const auto share = [](int64_t more, int64_t less) {
    return less > 0 ? std::max(1.0, static_cast<double>(more) / static_cast<double>(less)) : 1.0;
  };
  const double growth = share(plan_->largest_costs().macs, trial.costs.macs);
  const double shrinkage = share(trial.costs.macs, plan_->smallest_costs().macs);
  for (size_t i = 0; i < plan_->objectives().size(); ++i) {
    const JobPlan::Goal& goal = plan_->objectives()[i];
    const MetricInfo& metric = *plan_->slots()[goal.slot].metric;
    if (metric.source != MetricSource::kLatency && metric.source != MetricSource::kTable) continue;
    // A rate is the higher the smaller a subnet is.
    const double farthest =
        *Value(trial, goal.slot) * (metric.higher_is_better ? shrinkage : growth);
    (goal.maximize ? ideal_ : reference_)[i] = farthest;
  }
}

FinalEstimator JobFold::EstimatorOf(absl::string_view metric) const {
  for (size_t slot = 0; slot < both_.size(); ++slot) {
    const MetricInfo& info = *plan_->slots()[slot].metric;
    if (info.id != metric || info.source != MetricSource::kAccuracy) continue;
    if (both_[slot].count == 0) return {};
    const double count = static_cast<double>(both_[slot].count);
    return {true, both_[slot].final / count, both_[slot].screening / count};
  }
  return {};
}

void JobFold::CountBoth(const TrialEntry& trial, size_t slot, int sign) {
  if (trial.final[slot] == 0 || trial.screening[slot] == 0) return;
  both_[slot].count += sign;
  both_[slot].screening += sign * index_->Find(trial.screening[slot])->value;
  both_[slot].final += sign * index_->Find(trial.final[slot])->value;
}

bool JobFold::AddToFrontier(const TrialEntry& trial) {
  const std::optional<std::vector<double>> values = Values(trial);
  if (!values.has_value() || StoppedBy(trial) != 0) return false;
  // Values are finite: results are checked before they are stored.
  const absl::StatusOr<Frontier::Insertion> insertion =
      points_.Insert(trial.record.ordinal, plan_->Oriented(ComparedValues(trial, *values)));
  return insertion.ok() && insertion->inserted;
}

std::vector<double> JobFold::ComparedValues(const TrialEntry& trial,
                                            std::vector<double> values) const {
  for (size_t slot = 0; slot < values.size(); ++slot) {
    if (HasFinal(trial, static_cast<int>(slot))) continue;
    values[slot] = FinalEstimate(plan_->slots()[slot].metric->id, values[slot]);
  }
  return values;
}

// How far towards the favourable ends of their intervals a trial's screened latencies must come out
// for it to join the frontier, 0 to 1; nullopt where they cannot help it.
std::optional<double> JobFold::LuckToJoin(const TrialEntry& trial) const {
  const std::optional<std::vector<double>> measured = Values(trial);
  if (!measured.has_value() || StoppedBy(trial) != 0) return std::nullopt;
  const std::vector<double> values = ComparedValues(trial, *measured);
  std::vector<double> hopes = values;
  for (const JobPlan::Goal& goal : plan_->objectives()) {
    const MeasurementRecord* const evidence = Evidence(trial, goal.slot);
    if (plan_->slots()[goal.slot].target < 0 || HasFinal(trial, goal.slot)) continue;
    hopes[goal.slot] = goal.maximize ? evidence->high : evidence->low;
  }
  const auto covered = [&](double luck) {
    std::vector<double> point = values;
    for (size_t i = 0; i < point.size(); ++i) point[i] += luck * (hopes[i] - point[i]);
    return points_.Covers(plan_->Oriented(point));
  };
  if (hopes == values || covered(1)) return std::nullopt;
  double low = 0;
  double high = 1;
  for (int i = 0; i < 20; ++i) {
    const double middle = (low + high) / 2;
    (covered(middle) ? low : high) = middle;
  }
  return high;
}

std::vector<int64_t> JobFold::Contesting() const {
  std::vector<std::pair<double, int64_t>> places;
  size_t named = 0;
  for (const int64_t ordinal : decided_) {
    const TrialEntry& trial = trials_[ordinal - 1];
    named += trial.contested;
    if (trial.state != TrialState::kMeasured || trial.contested || trial.finalized ||
        OnFrontier(ordinal)) {
      continue;
    }
    const std::optional<double> luck = LuckToJoin(trial);
    if (luck.has_value()) places.emplace_back(*luck, ordinal);
  }
  std::sort(places.begin(), places.end());
  std::vector<int64_t> ordinals;
  for (size_t i = 0; i < places.size() && named + i < frontier_.size(); ++i) {
    ordinals.push_back(places[i].second);
  }
  return ordinals;
}

void JobFold::RebuildFrontier() {
  points_ = NewFrontier(*plan_);
  for (const int64_t ordinal : decided_) {
    const TrialEntry& trial = trials_[ordinal - 1];
    if (trial.state == TrialState::kMeasured) AddToFrontier(trial);
  }
  PublishFrontier();
}

void JobFold::PublishFrontier() {
  frontier_.clear();
  on_frontier_.clear();
  for (const Frontier::Member& member : points_.Members()) {
    frontier_.push_back(member.id);
    on_frontier_.insert(member.id);
  }
  hypervolume_ = ComputeHypervolume();
}

std::vector<double> JobFold::Scaled(absl::Span<const double> oriented) const {
  std::vector<double> scaled;
  for (size_t i = 0; i < oriented.size(); ++i) {
    const double value = plan_->objectives()[i].maximize ? -oriented[i] : oriented[i];
    const double range = reference_[i] - ideal_[i];
    scaled.push_back(range == 0 ? 1 : (value - ideal_[i]) / range);
  }
  return scaled;
}

double JobFold::ComputeHypervolume() const {
  const int objectives = static_cast<int>(plan_->objectives().size());
  if (objectives > kCheapObjectives && points_.size() > kCheapMembers) return 0;
  std::vector<double> scaled;
  for (const Frontier::Member& member : points_.Members()) {
    const std::vector<double> point = Scaled(member.point);
    scaled.insert(scaled.end(), point.begin(), point.end());
  }
  const std::vector<double> worst(objectives, 1.0);
  const absl::StatusOr<double> volume = Hypervolume(PointsView{scaled, objectives}, worst);
  return volume.ok() ? *volume : 0;
}

int64_t JobFold::FinalizedFrontierMembers() const {
  int64_t count = 0;
  for (const int64_t ordinal : frontier_) {
    const TrialEntry& trial = trials_[ordinal - 1];
    count += trial.finalized && trial.finalize_error.empty();
  }
  return count;
}

}  // namespace forall
