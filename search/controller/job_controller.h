// SPDX-License-Identifier: Apache-2.0
// The life of one job: every decision that follows from its log. Propose while there are free
// slots, lead each trial through export, accuracy and latency or reuse what is known, spend the
// budget, measure frontier members at final fidelity until the frontier holds no other, finish.
//
// A latency target without a device is bound to the first device that serves it (the submission is
// refused when several do at that time); from then on the job's numbers come from this device,
// fingerprint and profile alone. Should the device change (new fingerprint), the job fails: its
// latencies could not be compared any more; accuracies and exports are reused by the next one.
#ifndef FORALL_SEARCH_CONTROLLER_JOB_CONTROLLER_H_
#define FORALL_SEARCH_CONTROLLER_JOB_CONTROLLER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "search/controller/job_event.h"
#include "search/controller/job_fold.h"
#include "search/controller/job_host.h"
#include "search/queue/fair_order.h"
#include "search/sampler/sampler.h"

namespace forall {

// Thread-compatible: the controller's lock guards it.
class JobController {
 public:
  // A latency that nobody can trust is measured again; after so many the trial has failed.
  static constexpr int kMaxRejections = 3;

  // `index` and `host` are not owned and must outlive it. `files` are what the spec
  // names, none where they cannot be had (CannotPropose). InvalidArgument when the record's spec is
  // not one that this build accepts.
  static absl::StatusOr<std::unique_ptr<JobController>> Create(JobRecord record,
                                                               std::shared_ptr<const Family> family,
                                                               JobFiles files,
                                                               MeasurementIndex* index,
                                                               JobHost* host);

  // Loading: the log's events in order, then the tasks that are open, then Pump.
  absl::Status Replay(const EventRecord& record);
  absl::Status RestoreTask(const TaskRecord& record, const v1::Task& wire);
  // Something that proposing needs is gone: the next Pump fails the job with this message if it is
  // running. What was proposed and measured stays as it is.
  void CannotPropose(std::string why) { cannot_propose_ = std::move(why); }

  // Who has submitted it, for the log of a new job.
  void SubmittedBy(std::string tenant) { tenant_ = std::move(tenant); }
  const std::string& tenant() const { return fold_.sequence() == 0 ? tenant_ : fold_.tenant(); }
  // Its part of the workers.
  JobShare Share() const;
  // What was doubtful at submission, for the log of a new job.
  void Warn(std::vector<std::string> warnings) { warnings_ = std::move(warnings); }
  const std::vector<std::string>& warnings() const {
    return fold_.sequence() == 0 ? warnings_ : fold_.warnings();
  }

  // Does whatever can be done now: binds, proposes, creates tasks, decides. Bounded: what is left
  // is asked for by JobHost::PumpAgain.
  void Pump();
  // Takes up every undecided trial again, after loading.
  void AdvanceAll();

  // Results of an open task of this job; they end with Pump. The measurements are in the index.
  void OnExported(int64_t task, const std::string& artifact);
  // The task was a part of an accuracy, which is in the index.
  void OnPart(int64_t task);
  void OnMeasured(int64_t task, const std::vector<int64_t>& measurements);
  void OnRejected(int64_t task, const std::vector<int64_t>& measurements, const std::string& why);
  // `last`: the task is not tried again.
  void OnFailed(int64_t task, const std::string& worker, v1::TaskFailure::Reason reason,
                const std::string& message, bool last);
  // These tasks of other jobs, which this one may have waited for, are over (JobHost::AddTask).
  // What they yielded, if anything, is in the index; what is still missing gets tasks anew.
  void OnShared(const std::vector<int64_t>& tasks);
  // The device has registered, perhaps with another fingerprint.
  void OnDevice(const std::string& device, const std::string& fingerprint);

  // Of these, which are in the index as retracted, the job rests on some: it goes on without them.
  // What is undecided again is measured again, unless the job has ended.
  void OnRetracted(const RetractionEffect& effect, const std::string& why);

  // FailedPrecondition when the job is not in a state to.
  absl::Status Pause();
  absl::Status Resume();
  absl::Status Cancel();

  // True when the sampler finds a subnet that meets the exact constraints. For a job without
  // trials.
  bool CanPropose() const;
  const JobFold& fold() const { return fold_; }
  // For people: what it waits for as far as the job itself knows.
  std::string WaitingReason() const;
  // The same of why it proposes no more, before budget.max_trials; "" while it does, and where that
  // is spent.
  std::string StopReason() const;

 private:
  struct OpenTask {
    int64_t trial = 0;  // ordinal
    TaskKind kind = TaskKind::kExport;
    int target = -1;
    std::string fidelity = {};
    std::string split = {};
    bool part = false;  // of an accuracy, with these images
    int64_t first_image = 0;
    int64_t end_image = 0;
    bool own = true;  // false: another job's, whose result this one waits for
  };

  JobController(JobFold fold, std::unique_ptr<Sampler> sampler, JobHost* host);
  void Emit(JobEvent event);
  void SetState(JobState state, const std::string& message);
  void Bind();
  void LearnHistory();
  // Whether as much was proposed as may be in flight.
  bool FillSlots();
  JobEvent ProposedEvent(int64_t ordinal, const Proposal& proposal);
  bool TimeIsUp() const;
  bool BudgetIsSpent() const;
  int Parallelism() const;
  void Advance(int64_t ordinal);
  // Of a trial that is decided without its accuracy: an earlier job has measured it.
  bool AccuracyIsKnown(int64_t ordinal) const;
  void Decide(int64_t ordinal, TrialState state, const std::string& message,
              int64_t stopped_by = 0);
  void Finalize();
  std::string FinalFailure(int64_t ordinal) const;
  bool HaveFinalLatencies(int64_t ordinal);
  void AdvanceFinal(int64_t ordinal);
  void AdvanceContest(int64_t ordinal);
  void CloseFinal(int64_t ordinal);
  bool AdvanceTestSplit(int64_t ordinal);
  void StartFinalizing();
  std::string WhyNothingWasMeasured() const;

  // True when the artifact is known; else sees to an export.
  bool EnsureArtifact(int64_t ordinal);
  bool ReuseExport(int64_t ordinal);
  // True when the accuracies are known at this fidelity; reuses them where it can.
  bool HaveAccuracy(int64_t ordinal, const std::string& fidelity);
  // The same for given metrics of one split, once the artifact is known.
  bool HaveAccuraciesOf(int64_t ordinal, const std::string& fidelity, const std::string& split,
                        const std::vector<std::string>& metrics);
  // Empty unless all of them are known.
  std::vector<int64_t> FindAccuracies(const v1::Task& wire,
                                      const std::vector<std::string>& metrics) const;
  bool HaveLatency(int64_t ordinal, int target, const std::string& fidelity);
  bool ReuseLatency(int64_t ordinal, int target, const std::string& subject, FidelityLevel level);
  int64_t Images(int64_t ordinal, const std::string& fidelity) const;
  std::string ScreeningFidelity() const;

  void Open(int64_t id, OpenTask task);
  void Close(std::map<int64_t, OpenTask>::iterator it);
  // Cancels it, or waits no longer for it.
  void Drop(std::map<int64_t, OpenTask>::iterator it);
  // In order of id.
  std::vector<int64_t> OpenTasksOf(int64_t ordinal) const;
  bool HasOpenTask(int64_t ordinal, TaskKind kind, int target, const std::string& fidelity,
                   const std::string& split) const;
  v1::Task WireTask(int64_t ordinal, TaskKind kind, const std::string& fidelity) const;
  void AddExportTask(int64_t ordinal);
  v1::Task AccuracyWire(int64_t ordinal, const std::string& fidelity,
                        const std::string& split) const;
  // Whatever is missing of the evaluation, as one task or as parts; not what has to do with any of
  // the `begun` images, of which parts are open.
  void AddAccuracyTasks(int64_t ordinal, const v1::Task& wire,
                        absl::Span<const AccuracyCover::Range> begun);
  void AddLatencyTask(int64_t ordinal, int target, const std::string& fidelity);
  void AddTask(int64_t ordinal, const v1::Task& wire, const TaskNeeds& needs, OpenTask open);
  void CancelTasksOf(int64_t ordinal);
  // Accuracy tasks of one evaluation only.
  void CancelEvaluation(int64_t ordinal, const std::string& fidelity, const std::string& split);
  void AfterResult(int64_t ordinal);

  JobFold fold_;
  std::unique_ptr<Sampler> sampler_;
  JobHost* host_;
  // Until this object was made, by the wall clock, the only one that outlives a process; from then
  // on by the steady one.
  absl::Duration spent_before_;
  int64_t begun_ns_ = 0;
  std::map<int64_t, OpenTask> open_tasks_;
  std::set<std::pair<int64_t, int64_t>> tasks_of_trials_;  // (trial, task) of each of them
  // Trials for which another job's part is over: it may be missing while others are open.
  std::set<int64_t> parts_over_;
  std::string cannot_propose_;         // "" while it can
  std::string tenant_;                 // until the log has it
  std::vector<std::string> warnings_;  // until the log has them
  bool exhausted_ = false;             // the sampler knew nothing more for the history so far
};

// Puts what a sampler predicted of a proposal into its event, in the objectives' own orientation.
// Nothing unless all of it is finite and there is one for each objective: JSON has no NaN, and a
// log that cannot be read back stops every job of the store.
void SetExpected(const JobPlan& plan, absl::Span<const Prediction> predicted, JobEvent* event);

// What keys an export besides supernet, architecture and recipe.
std::string CalibrationKey(const v1::SearchJobSpec& spec);
// The same of an EXPORT task: what its worker must report.
std::string CalibrationIdOf(const v1::Task& wire);
// What keys a screening latency of the trial: its graph at the target's batch.
std::string LatencyGraphKey(const JobPlan& plan, const TrialEntry& trial, int target);
// What the metric of a slot with a bound target, measured of `subject`, is found under.
MeasurementKey LatencyKeyOf(const JobFold& fold, const MetricSlot& slot,
                            const std::string& subject);
// What a worker must offer for a task. `fingerprint` of the device, for latencies.
TaskNeeds NeedsOf(const v1::Task& wire, const std::string& fingerprint);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_JOB_CONTROLLER_H_
