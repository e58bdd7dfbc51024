// SPDX-License-Identifier: Apache-2.0
#include "search/controller/job_controller.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "search/controller/resource_names.h"
#include "search/sampler/sampler_factory.h"

namespace forall {
namespace {

// So that one call never holds the controller's lock for long.
constexpr int kProposalsPerPump = 64;
constexpr int kMinParallelism = 4;

absl::StatusOr<std::unique_ptr<Sampler>> MakeSampler(const std::shared_ptr<const JobPlan>& plan) {
  const v1::SearchJobSpec& spec = plan->spec();
  SamplerOptions options;
  options.admissible = [plan](const Architecture& architecture) {
    return plan->Admissible(architecture);
  };
  options.anchors = plan->Anchors();
  options.cost = [plan](const Architecture& architecture) {
    return static_cast<double>(plan->CostsOf(architecture).macs);
  };
  options.objectives = JobPlan::SearchedObjectives(plan);
  options.limited = JobPlan::SearchedLimits(plan);
  if (spec.sampler().population_size() > 0) {
    options.evolution.population = spec.sampler().population_size();
    options.nsga2.population = spec.sampler().population_size();
  }
  if (spec.sampler().mutation_probability() > 0) {
    options.evolution.mutation_probability = spec.sampler().mutation_probability();
    options.nsga2.mutation_probability = spec.sampler().mutation_probability();
  }
  return CreateSampler(spec.sampler().algorithm(), std::move(options),
                       plan->family().search_space(), static_cast<uint64_t>(spec.seed()));
}

absl::Duration MaxDuration(const v1::SearchJobSpec& spec) {
  const google::protobuf::Duration& duration = spec.budget().max_duration();
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobController>> JobController::Create(
    JobRecord record, std::shared_ptr<const Family> family, JobFiles files, MeasurementIndex* index,
    JobHost* host) {
  v1::SearchJobSpec spec;
  if (!spec.ParseFromString(record.spec)) {
    return absl::DataLossError(absl::StrCat("the spec of job ", record.id, " cannot be read"));
  }
  FORALL_ASSIGN_OR_RETURN(std::shared_ptr<const JobPlan> plan,
                          JobPlan::Create(spec, std::move(family), std::move(files)));
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<Sampler> sampler, MakeSampler(plan));
  return std::unique_ptr<JobController>(new JobController(
      JobFold(std::move(record), std::move(plan), index), std::move(sampler), host));
}

JobController::JobController(JobFold fold, std::unique_ptr<Sampler> sampler, JobHost* host)
    : fold_(std::move(fold)), sampler_(std::move(sampler)), host_(host) {
  // Without a host it is only looked at.
  if (host == nullptr) return;
  spent_before_ = std::max(absl::ZeroDuration(), host->Now() - fold_.record().create_time);
  begun_ns_ = host->SteadyNanos();
}

absl::Status JobController::Replay(const EventRecord& record) {
  FORALL_ASSIGN_OR_RETURN(const JobEvent event, FromRecord(record));
  return fold_.Apply(event);
}

absl::Status JobController::RestoreTask(const TaskRecord& record, const v1::Task& wire) {
  FORALL_ASSIGN_OR_RETURN(const TrialId trial, ParseTrialName(wire.trial()));
  if (fold_.FindTrial(trial.ordinal) == nullptr) {
    return absl::DataLossError(
        absl::StrCat("task ", record.id, " is of ", wire.trial(), ", which was never proposed"));
  }
  OpenTask open{trial.ordinal,
                record.kind,
                -1,
                wire.fidelity(),
                wire.split(),
                wire.part_images() > 0,
                wire.first_image(),
                int64_t{wire.first_image()} + wire.part_images()};
  for (size_t i = 0; record.kind == TaskKind::kLatency && i < fold_.bindings().size(); ++i) {
    const std::optional<TargetBinding>& binding = fold_.bindings()[i];
    if (binding.has_value() && DeviceName(binding->device) == wire.device() &&
        binding->profile == wire.profile() && fold_.plan().targets()[i].batch == wire.batch()) {
      open.target = static_cast<int>(i);
    }
  }
  if (record.kind == TaskKind::kLatency && open.target < 0) {
    return absl::DataLossError(absl::StrCat("task ", record.id, " is for no latency of its job"));
  }
  Open(record.id, std::move(open));
  return absl::OkStatus();
}

void JobController::Emit(JobEvent event) {
  event.sequence = fold_.sequence() + 1;
  event.time = host_->Now();
  const absl::Status applied = fold_.Apply(event);
  // Only events that follow are emitted: this is our own invariant, not anybody's input.
  FORALL_CHECK(applied.ok()) << applied;
  if (event.kind == "decided") {
    event.hypervolume = fold_.hypervolume();
    event.frontier = static_cast<int64_t>(fold_.frontier().size());
    exhausted_ = false;
  }
  host_->batch()->append_events.push_back(ToRecord(fold_.record().id, event));
}

void JobController::SetState(JobState state, const std::string& message) {
  Emit({.kind = "state", .state = static_cast<int>(state), .message = message});
  host_->batch()->update_jobs.push_back(fold_.record());
  // Models and compiled tables of some megabytes, of no more use.
  if (fold_.ended() || fold_.record().state == JobState::kFinalizing) sampler_.reset();
  if (fold_.ended()) {
    for (const auto& [id, open] : open_tasks_) {
      if (!open.own) host_->LeaveTask(id, fold_.record().id);
    }
    parts_over_.clear();
    tasks_of_trials_.clear();
    open_tasks_.clear();  // What still comes is kept as a measurement, and changes no ended job.
  }
  FORALL_LOG(INFO) << "job changed state job=" << JobName(fold_.record().id)
                   << " state=" << v1::SearchJob::State_Name(static_cast<int>(state))
                   << (message.empty()              ? ""
                       : state == JobState::kFailed ? " error=\""
                                                    : " reason=\"")
                   << message << (message.empty() ? "" : "\"");
  host_->JobStateChanged(fold_.record().id, state);
}

JobShare JobController::Share() const {
  const v1::SearchJobSpec& spec = fold_.plan().spec();
  return {spec.priority(), tenant(), spec.has_weight() ? spec.weight() : 1};
}

void JobController::Pump() {
  if (fold_.sequence() == 0) {
    Emit({.kind = "submitted", .tenant = std::move(tenant_), .warnings = std::move(warnings_)});
  }
  if (fold_.record().state == JobState::kRunning && !cannot_propose_.empty()) {
    SetState(JobState::kFailed, cannot_propose_);
  }
  if (fold_.record().state == JobState::kRunning) {
    Bind();
    bool done = true;
    if (fold_.AllBound()) {
      LearnHistory();
      done = FillSlots();
    }
    if (done && fold_.active().empty() && BudgetIsSpent()) StartFinalizing();
  }
  if (fold_.record().state == JobState::kFinalizing) Finalize();
}

void JobController::AdvanceAll() {
  const absl::btree_set<int64_t> active = fold_.active();
  for (const int64_t ordinal : active) Advance(ordinal);
}

void JobController::Bind() {
  for (size_t i = 0; i < fold_.bindings().size(); ++i) {
    if (fold_.bindings()[i].has_value()) continue;
    const std::optional<TargetBinding> found = host_->FindDevice(fold_.plan().targets()[i]);
    if (!found.has_value()) continue;
    Emit({.kind = "bound",
          .target = static_cast<int>(i),
          .device = found->device,
          .fingerprint = found->fingerprint,
          .profile = found->profile});
  }
}

// The measurements go into the log: whatever the store learns later, this job's view stays.
void JobController::LearnHistory() {
  const v1::SearchJobSpec& spec = fold_.plan().spec();
  if (!fold_.trials().empty() || !fold_.known().empty() || spec.cold_start() ||
      spec.sampler().algorithm() != "guided") {
    return;
  }
  std::vector<KnownSubnet> subnets = host_->History(fold_);
  if (!subnets.empty()) Emit({.kind = "known", .subnets = std::move(subnets)});
}

bool JobController::TimeIsUp() const {
  return fold_.plan().spec().budget().has_max_duration() &&
         spent_before_ + absl::Nanoseconds(host_->SteadyNanos() - begun_ns_) >=
             MaxDuration(fold_.plan().spec());
}

bool JobController::BudgetIsSpent() const {
  return static_cast<int64_t>(fold_.trials().size()) >= fold_.plan().spec().budget().max_trials() ||
         exhausted_ || TimeIsUp() || fold_.plateau_reached();
}

std::string JobController::StopReason() const {
  const v1::Budget& budget = fold_.plan().spec().budget();
  if (!fold_.stop_reason().empty()) return fold_.stop_reason();
  if (static_cast<int64_t>(fold_.trials().size()) >= budget.max_trials()) return "";
  if (fold_.plateau_reached()) {
    return absl::StrCat("the last ", budget.plateau_trials(),
                        " subnets have hardly added hypervolume (budget.plateau_trials)");
  }
  // A job that has ended is not overtaken by the clock.
  if (fold_.record().state != JobState::kRunning) return "";
  if (exhausted_) {
    return absl::StrCat("no further subnet was found that meets the exact constraints, after ",
                        fold_.trials().size());
  }
  if (!TimeIsUp()) return "";
  return absl::StrCat("budget.max_duration of ",
                      absl::FormatDuration(MaxDuration(fold_.plan().spec())), " is over");
}

int JobController::Parallelism() const {
  const int wanted = fold_.plan().spec().parallelism();
  return wanted > 0 ? wanted : std::max(kMinParallelism, 2 * host_->ActiveWorkers());
}

bool JobController::CanPropose() const {
  ProposeRequest request;
  request.slots = 1;
  return !sampler_->Propose(request).empty();
}

void SetExpected(const JobPlan& plan, absl::Span<const Prediction> predicted, JobEvent* event) {
  if (predicted.size() != plan.objectives().size()) return;
  for (const Prediction& prediction : predicted) {
    if (!std::isfinite(prediction.mean) || !std::isfinite(prediction.deviation)) return;
  }
  for (size_t i = 0; i < predicted.size(); ++i) {
    const bool maximize = plan.objectives()[i].maximize;
    event->expected.push_back(maximize ? -predicted[i].mean : predicted[i].mean);
    event->deviations.push_back(predicted[i].deviation);
  }
}

JobEvent JobController::ProposedEvent(int64_t ordinal, const Proposal& proposal) {
  JobEvent event{.kind = "proposed",
                 .trial = ordinal,
                 .trial_id = host_->NewTrialId(),
                 .choices = proposal.architecture.choices};
  if (const auto predicted = fold_.plan().PredictedAccuracy(proposal.architecture)) {
    event.values = {*predicted};
  }
  event.latencies = fold_.plan().PredictedLatencies(proposal.architecture);
  SetExpected(fold_.plan(), proposal.predicted, &event);
  return event;
}

bool JobController::FillSlots() {
  const int parallelism = Parallelism();
  int made = 0;
  // Of the active trials, in their order. Kept from one proposal to the next: with hundreds of
  // trials in flight copying them all each time took longer than anything else here.
  std::vector<Architecture> pending;
  while (!BudgetIsSpent() && static_cast<int>(fold_.active().size()) < parallelism) {
    if (made >= kProposalsPerPump) {
      host_->PumpAgain(fold_.record().id);
      return false;
    }
    if (pending.size() != fold_.active().size()) {
      pending.clear();
      for (const int64_t ordinal : fold_.active()) {
        pending.push_back(fold_.FindTrial(ordinal)->architecture);
      }
    }
    ProposeRequest request;
    request.history = fold_.history();
    request.known = fold_.known();
    request.pending = pending;
    request.proposed_so_far = static_cast<int64_t>(fold_.trials().size());
    // One at a time: it may be decided at once, which the next one has to know. Otherwise the same
    // log would lead to other proposals where there is room for more.
    request.slots = 1;
    const std::vector<Proposal> proposals = sampler_->Propose(request);
    if (proposals.empty()) exhausted_ = true;
    for (const Proposal& proposal : proposals) {
      const int64_t ordinal = static_cast<int64_t>(fold_.trials().size()) + 1;
      Emit(ProposedEvent(ordinal, proposal));
      host_->batch()->insert_trials.push_back(fold_.FindTrial(ordinal)->record);
      Advance(ordinal);
      // Decided at once, it is active no more; no other trial has changed.
      if (fold_.active().count(ordinal) > 0) pending.push_back(proposal.architecture);
      ++made;
    }
  }
  return true;
}

std::string JobController::ScreeningFidelity() const {
  const v1::Fidelity& fidelity = fold_.plan().spec().fidelity();
  return fidelity.screening_images() == fidelity.final_images() ? "final" : "screening";
}

void JobController::Advance(int64_t ordinal) {
  const TrialEntry* trial = fold_.FindTrial(ordinal);
  if (trial->state != TrialState::kActive) return;
  if (!trial->failure.empty()) return Decide(ordinal, trial->failure_state, trial->failure);
  for (const auto& [key, count] : trial->rejections) {
    if (count >= kMaxRejections) {
      return Decide(ordinal, TrialState::kFailed,
                    absl::StrCat("its latency was rejected ", count,
                                 " times: the device is too unsteady to measure it (",
                                 trial->rejection, ")"));
    }
  }
  // Not short-circuited: what does not wait for each other goes on side by side.
  bool complete = true;
  for (size_t target = 0; target < fold_.plan().targets().size(); ++target) {
    complete &= HaveLatency(ordinal, static_cast<int>(target), "screening");
  }
  // A latency that breaks a limit spares the accuracy, which costs more.
  if (fold_.plan().limits_latency()) {
    if (!complete) return;
    const std::string broken = fold_.BrokenLatencyLimit(*fold_.FindTrial(ordinal));
    if (!broken.empty()) return Decide(ordinal, TrialState::kInfeasible, broken);
  }
  complete &= HaveAccuracy(ordinal, ScreeningFidelity());
  if (!complete) return;
  trial = fold_.FindTrial(ordinal);
  const std::string broken = fold_.plan().DescribeViolation(*fold_.Values(*trial));
  if (!broken.empty()) return Decide(ordinal, TrialState::kInfeasible, broken);
  const int64_t better = fold_.FindBetter(*trial);
  if (better == 0 && fold_.HasNextTier(*trial)) {
    Emit({.kind = "climbed", .trial = ordinal});
    return Advance(ordinal);
  }
  Decide(ordinal, TrialState::kMeasured, "", better);
}

bool JobController::AccuracyIsKnown(int64_t ordinal) const {
  const TrialEntry& trial = *fold_.FindTrial(ordinal);
  std::vector<std::string> metrics;
  for (size_t slot = 0; slot < fold_.plan().slots().size(); ++slot) {
    const MetricInfo& metric = *fold_.plan().slots()[slot].metric;
    if (metric.source != MetricSource::kAccuracy) continue;
    if (fold_.Evidence(trial, static_cast<int>(slot)) == nullptr) metrics.push_back(metric.id);
  }
  if (metrics.empty() || trial.artifact_sha256.empty()) return false;
  return !FindAccuracies(AccuracyWire(ordinal, ScreeningFidelity(), "validation"), metrics).empty();
}

void JobController::Decide(int64_t ordinal, TrialState state, const std::string& message,
                           int64_t stopped_by) {
  const TrialEntry* trial = fold_.FindTrial(ordinal);
  JobEvent event{.kind = "decided", .trial = ordinal, .state = static_cast<int>(state)};
  // Where nothing is measured there is nothing to reuse.
  event.reused = (state == TrialState::kMeasured || state == TrialState::kInfeasible) &&
                 fold_.plan().measures() && !trial->needed_measuring;
  event.accuracy_known = state == TrialState::kInfeasible && AccuracyIsKnown(ordinal);
  event.message = message;
  event.stopped_by = stopped_by;
  if (const auto values = fold_.Values(*trial); values.has_value()) event.values = *values;
  Emit(std::move(event));
  if (state != TrialState::kMeasured) CancelTasksOf(ordinal);
}

void JobController::StartFinalizing() {
  if (fold_.measured() > 0) return SetState(JobState::kFinalizing, StopReason());
  SetState(JobState::kFailed, WhyNothingWasMeasured());
}

std::string JobController::WhyNothingWasMeasured() const {
  for (const TrialEntry& trial : fold_.trials()) {
    if (trial.error.empty()) continue;
    return absl::StrCat("of ", fold_.trials().size(), " trials, ", fold_.infeasible(),
                        " break a constraint and ", fold_.failed(),
                        " could not be measured; the first one: ", trial.error);
  }
  if (!exhausted_ && TimeIsUp()) {
    const std::string waited = WaitingReason();
    return absl::StrCat("budget.max_duration of ",
                        absl::FormatDuration(MaxDuration(fold_.plan().spec())),
                        " was over before anything was measured",
                        waited.empty() ? "" : absl::StrCat("; it waited for ", waited));
  }
  return "no subnet was found that meets the exact constraints together; relax one of them";
}

void JobController::Finalize() {
  // Trials that a retraction has reopened come first: they may belong to the frontier.
  if (!fold_.active().empty()) return;
  // In waves, so that it does not matter in which order a wave's results arrive: final numbers can
  // put other trials on the frontier, which are the next wave.
  while (true) {
    const absl::btree_set<int64_t> wave = fold_.finalizing();
    for (const int64_t ordinal : wave) AdvanceFinal(ordinal);
    const absl::btree_set<int64_t> contesting = fold_.contesting();
    for (const int64_t ordinal : contesting) AdvanceContest(ordinal);
    if (!fold_.finalizing().empty() || !fold_.contesting().empty()) return;
    const std::vector<int64_t> members = fold_.frontier();
    for (const int64_t ordinal : members) {
      if (fold_.FindTrial(ordinal)->finalized) continue;
      Emit({.kind = "finalizing", .trial = ordinal});
    }
    if (!fold_.finalizing().empty()) continue;
    // Whoever is as good as a member but for a latency that was only screened is timed as
    // carefully.
    for (const int64_t ordinal : fold_.Contesting()) Emit({.kind = "contesting", .trial = ordinal});
    if (fold_.contesting().empty()) break;
  }
  bool tested = true;
  for (const int64_t ordinal : fold_.frontier()) tested &= AdvanceTestSplit(ordinal);
  if (tested) SetState(JobState::kSucceeded, "");
}

// Why final numbers of a trial cannot be had; "" while they can.
std::string JobController::FinalFailure(int64_t ordinal) const {
  const TrialEntry& trial = *fold_.FindTrial(ordinal);
  for (const auto& [key, count] : trial.rejections) {
    if (key.second == "final" && count >= kMaxRejections) {
      return absl::StrCat("its final latency was rejected ", count, " times (", trial.rejection,
                          ")");
    }
  }
  return trial.failure;
}

bool JobController::HaveFinalLatencies(int64_t ordinal) {
  bool complete = true;
  for (size_t target = 0; target < fold_.plan().targets().size(); ++target) {
    complete &= HaveLatency(ordinal, static_cast<int>(target), "final");
  }
  return complete;
}

void JobController::AdvanceFinal(int64_t ordinal) {
  const std::string failure = FinalFailure(ordinal);
  if (failure.empty()) {
    const bool accuracy = HaveAccuracy(ordinal, "final");
    if (!HaveFinalLatencies(ordinal) || !accuracy) return;
  }
  Emit({.kind = "finalized", .trial = ordinal, .message = failure});
  CloseFinal(ordinal);
}

void JobController::AdvanceContest(int64_t ordinal) {
  if (FinalFailure(ordinal).empty() && !HaveFinalLatencies(ordinal)) return;
  Emit({.kind = "contested", .trial = ordinal});
  CloseFinal(ordinal);
}

void JobController::CloseFinal(int64_t ordinal) {
  CancelTasksOf(ordinal);
  const std::string broken =
      fold_.plan().DescribeViolation(*fold_.Values(*fold_.FindTrial(ordinal)));
  if (!broken.empty()) {
    Decide(ordinal, TrialState::kInfeasible, absl::StrCat("at final fidelity ", broken));
  }
}

bool JobController::AdvanceTestSplit(int64_t ordinal) {
  const TrialEntry* trial = fold_.FindTrial(ordinal);
  if (!trial->failure.empty()) {
    CancelEvaluation(ordinal, "final", "test");
    return true;
  }
  if (!fold_.plan().spec().fidelity().test_split() || !fold_.plan().needs_accuracy() ||
      trial->test_measured) {
    return true;
  }
  return HaveAccuraciesOf(ordinal, "final", "test", {"accuracy_top1", "accuracy_top5"});
}

void JobController::AfterResult(int64_t ordinal) {
  Advance(ordinal);
  Pump();
}

void JobController::OnExported(int64_t task, const std::string& artifact) {
  const auto it = open_tasks_.find(task);
  if (it == open_tasks_.end()) return;
  const int64_t ordinal = it->second.trial;
  Close(it);
  Emit({.kind = "exported", .trial = ordinal, .task = task, .artifact = artifact});
  AfterResult(ordinal);
}

void JobController::OnPart(int64_t task) {
  const auto it = open_tasks_.find(task);
  if (it == open_tasks_.end()) return;
  const OpenTask open = it->second;
  Close(it);
  Emit({.kind = "part",
        .trial = open.trial,
        .task = task,
        .fidelity = open.fidelity,
        .split = open.split});
  AfterResult(open.trial);
}

void JobController::OnMeasured(int64_t task, const std::vector<int64_t>& measurements) {
  const auto it = open_tasks_.find(task);
  if (it == open_tasks_.end()) return;
  const OpenTask open = it->second;
  Close(it);
  Emit({.kind = "measured",
        .trial = open.trial,
        .task = task,
        .target = open.target,
        .measurements = measurements,
        .fidelity = open.fidelity,
        .split = open.split});
  AfterResult(open.trial);
}

void JobController::OnRejected(int64_t task, const std::vector<int64_t>& measurements,
                               const std::string& why) {
  const auto it = open_tasks_.find(task);
  if (it == open_tasks_.end()) return;
  const OpenTask open = it->second;
  Close(it);
  Emit({.kind = "rejected",
        .trial = open.trial,
        .task = task,
        .target = open.target,
        .measurements = measurements,
        .fidelity = open.fidelity,
        .message = why});
  AfterResult(open.trial);
}

void JobController::OnFailed(int64_t task, const std::string& worker,
                             v1::TaskFailure::Reason reason, const std::string& message,
                             bool last) {
  const auto it = open_tasks_.find(task);
  if (it == open_tasks_.end()) return;
  const int64_t ordinal = it->second.trial;
  const bool own_fault =
      reason == v1::TaskFailure::DETERMINISTIC || reason == v1::TaskFailure::OUT_OF_MEMORY;
  if (last) Close(it);
  Emit({.kind = "failed",
        .trial = ordinal,
        .task = task,
        .state = static_cast<int>(own_fault ? TrialState::kInfeasible : TrialState::kFailed),
        .last = last,
        .worker = worker,
        .reason = v1::TaskFailure::Reason_Name(reason),
        .message = message});
  if (last) AfterResult(ordinal);
}

void JobController::OnShared(const std::vector<int64_t>& tasks) {
  std::vector<int64_t> trials;
  for (const int64_t task : tasks) {
    const auto it = open_tasks_.find(task);
    if (it == open_tasks_.end()) continue;
    trials.push_back(it->second.trial);
    if (it->second.part) parts_over_.insert(it->second.trial);
    Close(it);
  }
  for (const int64_t ordinal : trials) Advance(ordinal);
  if (!trials.empty()) Pump();
}

void JobController::OnDevice(const std::string& device, const std::string& fingerprint) {
  if (fold_.ended()) return;
  for (const std::optional<TargetBinding>& binding : fold_.bindings()) {
    if (!binding.has_value() || binding->device != device || binding->fingerprint == fingerprint) {
      continue;
    }
    SetState(JobState::kFailed,
             absl::StrCat(DeviceName(device), " changed (fingerprint ", binding->fingerprint,
                          " to ", fingerprint,
                          "), so that new latencies could not be compared with those "
                          "measured before; submit the job again: accuracies are reused"));
    return;
  }
  Pump();
}

void JobController::OnRetracted(const RetractionEffect& effect, const std::string& why) {
  Emit({.kind = "retracted", .measurements = effect.measurements, .message = why});
  if (fold_.ended()) return;
  // The sampler may know more for another history.
  exhausted_ = false;
  AdvanceAll();
  Pump();
}

absl::Status JobController::Pause() {
  if (fold_.record().state != JobState::kRunning) {
    return absl::FailedPreconditionError(absl::StrCat(
        JobName(fold_.record().id), " is not running, only a running job can be paused"));
  }
  SetState(JobState::kPaused, "");
  return absl::OkStatus();
}

absl::Status JobController::Resume() {
  if (fold_.record().state != JobState::kPaused) {
    return absl::FailedPreconditionError(
        absl::StrCat(JobName(fold_.record().id), " is not paused"));
  }
  SetState(JobState::kRunning, "");
  Pump();
  return absl::OkStatus();
}

absl::Status JobController::Cancel() {
  if (fold_.record().state == JobState::kCancelled) return absl::OkStatus();
  if (fold_.ended()) {
    return absl::FailedPreconditionError(
        absl::StrCat(JobName(fold_.record().id), " has already ended"));
  }
  SetState(JobState::kCancelled, "");
  return absl::OkStatus();
}

std::string JobController::WaitingReason() const {
  if (fold_.record().state != JobState::kRunning) return "";
  for (size_t i = 0; i < fold_.bindings().size(); ++i) {
    if (fold_.bindings()[i].has_value()) continue;
    const LatencyTarget& target = fold_.plan().targets()[i];
    const std::string measures =
        target.metrics.empty()
            ? ""
            : absl::StrCat(" and measures ", absl::StrJoin(target.metrics, ", "));
    if (!target.device.empty()) {
      return absl::StrCat("a worker that serves ", target.device, measures);
    }
    const std::string metrics =
        target.metrics.empty() ? "latencies" : absl::StrJoin(target.metrics, ", ");
    if (!target.device_class.empty()) {
      return absl::StrCat("one device of class ", target.device_class, " to measure ", metrics,
                          " on");
    }
    return absl::StrCat("one device to measure ", metrics, " on: start a worker");
  }
  return "";
}

}  // namespace forall
