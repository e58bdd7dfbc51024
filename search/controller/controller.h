// SPDX-License-Identifier: Apache-2.0
// The controller: everything that the services do, without gRPC. Start here.
//
// How state moves. One lock guards all of it. A call changes memory at once and collects what must
// be stored in the open round; at most one round is being committed at a time, and the next one
// fills up meanwhile (that is the group commit). Whatever a client is told, it is told once the
// round that holds it is durable: reads, too, wait for the rounds that were open when they looked.
// A task may be leased once it is durable. No lock is held while the store works or a client is
// answered.
//
// When a commit fails (disk full), memory is ahead of the store: whoever wanted to change something
// gets the error, and memory is read anew from the store, as after a restart. Nothing acknowledged
// is lost. From then on the controller is read-only: reads are answered from what is durable (those
// that wait meanwhile are computed anew), leases are renewed and handed out, everything that would
// have to be stored is refused. The controller tries the store itself, at first at once, then after
// 1, 2, 4, ... 30 s, and goes on where it was as soon as a write is durable.
#ifndef FORALL_SEARCH_CONTROLLER_CONTROLLER_H_
#define FORALL_SEARCH_CONTROLLER_CONTROLLER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "proto/forall/v1/fleet_service.pb.h"
#include "proto/forall/v1/search_service.pb.h"
#include "search/controller/commit_round.h"
#include "search/controller/job_host.h"
#include "search/controller/measurement_maker.h"
#include "search/controller/metrics.h"
#include "search/controller/network_tasks.h"
#include "search/controller/page_tokens.h"
#include "search/controller/random_baseline.h"
#include "search/controller/registry.h"
#include "search/controller/worker_inspection.h"
#include "search/queue/lease_table.h"
#include "search/store/artifact_store.h"
#include "search/store/result_store.h"

namespace forall {

// Called exactly once, on the caller's thread or one of the controller's, without any lock; must
// not block.
template <typename T>
using Done = std::function<void(absl::StatusOr<T>)>;

// Who asks.
struct Principal {
  std::string tenant = {};  // "": nobody in particular
  bool admin = true;        // may do to others' jobs what they may
};

// Thread-safe. Methods are named after the RPCs, whose errors proto/forall/v1 lists.
class Controller : private JobHost {
 public:
  struct Options {
    ResultStore* store = nullptr;              // not owned, must outlive
    const ArtifactStore* artifacts = nullptr;  // not owned, must outlive
    Clock* clock = Clock::Real();              // not owned, must outlive
    absl::Duration heartbeat_interval = absl::Seconds(5);
    // Calls that may wait for the store at once. Beyond, calls that need it are ResourceExhausted
    // at once, so that a disk that hangs does not gather calls without end.
    int max_waiting_calls = 10'000;
    // Nor requests of so many bytes together, as they are on the wire: what is kept of them takes
    // more. One alone is always taken.
    size_t max_waiting_bytes = size_t{256} << 20;
    // Registered at once, those not heard of for an hour not counted: memory is kept for each.
    int max_workers = 20'000;
    std::map<std::string, double> tenant_weights = {};  // search/queue/fair_order.h
    // Raw samples of latencies that are older are dropped, a few at every Tick. Infinite: kept.
    absl::Duration keep_raw_samples = absl::InfiniteDuration();
    // False: no thread of its own; the owner calls Tick. For tests.
    bool background = true;
  };

  // Begins a new epoch and loads everything. Errors as the store's; DataLoss when its content
  // contradicts itself.
  static absl::StatusOr<std::unique_ptr<Controller>> Create(Options options);
  ~Controller() override;

  // Answers parked polls, waits for what is being stored, refuses what comes later. Idempotent.
  void Stop();
  // Ends leases and polls whose time is up, stops proposing where time is up, reads memory anew
  // after a failed commit, tries a store that could not be written. Its own thread does it.
  void Tick();

  // Nothing can be stored at present. GetServerStatus says why and since when.
  bool read_only() const;
  // `changed` is called, without any lock, after read_only() has changed; it must not block. One at
  // a time; an empty one ends it, but does not wait for a call that is under way.
  void WatchReadOnly(std::function<void()> changed);

  // Search: jobs and trials.
  void SubmitSearchJob(const v1::SubmitSearchJobRequest& request, Done<v1::SearchJob> done) {
    SubmitSearchJobAs({}, request, std::move(done));
  }
  void SubmitSearchJobAs(const Principal& by, const v1::SubmitSearchJobRequest& request,
                         Done<v1::SearchJob> done);
  void EstimateSearchJob(const v1::EstimateSearchJobRequest& request,
                         Done<v1::SearchJobEstimate> done);
  void GetSearchJob(const v1::GetSearchJobRequest& request, Done<v1::SearchJob> done);
  void ListSearchJobs(const v1::ListSearchJobsRequest& request,
                      Done<v1::ListSearchJobsResponse> done);
  void CancelSearchJob(const v1::CancelSearchJobRequest& request, Done<v1::SearchJob> done);
  void PauseSearchJob(const v1::PauseSearchJobRequest& request, Done<v1::SearchJob> done);
  void ResumeSearchJob(const v1::ResumeSearchJobRequest& request, Done<v1::SearchJob> done);
  void DeleteSearchJob(const v1::DeleteSearchJobRequest& request,
                       Done<v1::DeleteSearchJobResponse> done) {
    DeleteSearchJobAs({}, request, std::move(done));
  }
  // PermissionDenied: somebody else has submitted it.
  void DeleteSearchJobAs(const Principal& by, const v1::DeleteSearchJobRequest& request,
                         Done<v1::DeleteSearchJobResponse> done);
  void ListTrials(const v1::ListTrialsRequest& request, Done<v1::ListTrialsResponse> done);
  void GetTrial(const v1::GetTrialRequest& request, Done<v1::Trial> done);
  void QueryParetoFrontier(const v1::QueryParetoFrontierRequest& request,
                           Done<v1::QueryParetoFrontierResponse> done);
  void GetPredictionLedger(const v1::GetPredictionLedgerRequest& request,
                           Done<v1::PredictionLedger> done);
  void ExportSubnet(const v1::ExportSubnetRequest& request, Done<v1::ExportSubnetResponse> done);

  // Watching: the job after event `after` with (at most 100 of) the trials that changed since;
  // search_job.event_sequence is what to pass next. `more` events may be there already.
  struct JobUpdate {
    v1::SearchJobUpdate update;
    bool more = false;
    bool ended = false;
    size_t ByteSizeLong() const { return update.ByteSizeLong(); }
  };
  void GetUpdate(const std::string& name, int64_t after, Done<JobUpdate> done);
  // `changed` is called, without any lock, after each commit that changed the job and when what it
  // waits for has changed; it must not block.
  int64_t Subscribe(int64_t job, std::function<void()> changed);
  // Does not wait for a call that is under way.
  void Unsubscribe(int64_t subscription);

  // Catalog.
  void GetSupernet(const v1::GetSupernetRequest& request, Done<v1::Supernet> done);
  void ListSupernets(const v1::ListSupernetsRequest& request, Done<v1::ListSupernetsResponse> done);
  void CreateSupernet(const v1::CreateSupernetRequest& request, Done<v1::Supernet> done);
  void DeleteSupernet(const v1::DeleteSupernetRequest& request,
                      Done<v1::DeleteSupernetResponse> done);
  void GetSearchSpace(const v1::GetSearchSpaceRequest& request, Done<v1::SearchSpace> done);
  void MeasureNetworks(const v1::MeasureNetworksRequest& request,
                       Done<v1::MeasureNetworksResponse> done);
  // After a file came into the artifact store.
  void RecordArtifact(const std::string& sha256, int64_t size_bytes, Done<int64_t> done);

  // Protocol versions of workers that are spoken (RegisterWorkerRequest.protocol_version).
  static constexpr int kMinProtocolVersion = 1;
  static constexpr int kMaxProtocolVersion = 2;

  // Fleet. `peer`, for messages, is where the call came from; "" when that is not known.
  void RegisterWorker(const v1::RegisterWorkerRequest& request,
                      Done<v1::RegisterWorkerResponse> done) {
    RegisterWorkerFrom("", request, std::move(done));
  }
  void RegisterWorkerFrom(const std::string& peer, const v1::RegisterWorkerRequest& request,
                          Done<v1::RegisterWorkerResponse> done);
  // Returns the number of the parked poll, or 0 when it was answered already.
  int64_t LeaseTasks(const v1::LeaseTasksRequest& request, Done<v1::LeaseTasksResponse> done);
  // The caller has gone: the poll gets nothing more. `done` may still be called.
  void CancelPoll(int64_t poll);
  void Heartbeat(const v1::HeartbeatRequest& request, Done<v1::HeartbeatResponse> done);
  void CompleteTasks(const v1::CompleteTasksRequest& request, Done<v1::CompleteTasksResponse> done);
  void ReleaseTask(const v1::ReleaseTaskRequest& request, Done<v1::ReleaseTaskResponse> done);
  void ListWorkers(const v1::ListWorkersRequest& request, Done<v1::ListWorkersResponse> done);
  void InspectWorker(const v1::InspectWorkerRequest& request, Done<v1::WorkerInspection> done);
  void DrainWorker(const v1::DrainWorkerRequest& request, Done<v1::Worker> done);
  void GetServerStatus(const v1::GetServerStatusRequest& request,
                       Done<v1::GetServerStatusResponse> done);
  void RetractMeasurements(const v1::RetractMeasurementsRequest& request,
                           Done<v1::RetractMeasurementsResponse> done);

  // Counters, gauges and histograms of now, for a monitoring system: cheap enough to be asked for
  // every few seconds.
  std::vector<MetricFamily> CollectMetrics();

  // Everything that a report shows, at one moment.
  struct JobSnapshot {
    v1::SearchJob job;
    std::vector<v1::Trial> trials;
    v1::QueryParetoFrontierResponse frontier;
    std::vector<v1::Device> devices;
    std::string supernet_sha256;
    std::shared_ptr<const Family> family;
    // (trials measured, hypervolume then), in order.
    std::vector<std::pair<int64_t, double>> hypervolume_history;
    std::vector<v1::Worker> workers;
    v1::PredictionLedger ledger;
    RandomBaseline random;
    // About what it keeps in memory, by what grows with the job.
    size_t ByteSizeLong() const;
  };
  void GetSnapshot(const std::string& name, Done<JobSnapshot> done);

 private:
  // Things to run once the lock is released. Made before the lock is taken.
  struct Outbox {
    const int64_t entered_ns = Clock::Real()->SteadyNanos();
    std::function<void()> commit;  // begins one; comes first, so that the disk has something to do
    std::vector<std::function<void()>> actions;

    void push_back(std::function<void()> action) { actions.push_back(std::move(action)); }
  };
  struct WorkerInfo {
    v1::Worker resource;  // as it registered
    std::string peer;     // from where, or ""
    bool takes_latency = true;
    std::vector<std::string> metrics;  // that its device measures beside latency_ms
    WorkerNews news;
  };
  struct Subscription {
    int64_t job = 0;
    std::function<void()> changed;
    std::string waiting_reason;  // when it was last told of one
  };

  explicit Controller(Options options);
  absl::Status Load();

  // Runs `compute` under the lock and answers when what it did is durable. For calls that change
  // something: refused while the store cannot be written. `request_bytes` are kept until then.
  template <typename T, typename Compute>
  void Answer(size_t request_bytes, Done<T> done, Compute compute);
  // The same for calls that change nothing, or nothing that is stored: answered also while the
  // store cannot be written, and computed anew when what it saw was not kept. `compute` outlives
  // the call that made it. The answer, too, counts among the bytes that wait.
  template <typename T>
  void Read(size_t request_bytes, Done<T> done, std::function<absl::StatusOr<T>()> compute);
  // Why a call that would wait for the store is not taken now; OK while there is room.
  absl::Status OverloadLocked(size_t request_bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What to tell who wanted something stored; OK while the store can be written.
  absl::Status RefusalLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static void Run(Outbox* outbox);
  // Whether WhenDurableLocked would keep the answer for a commit.
  bool WouldWaitLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void WhenDurableLocked(std::function<void(absl::Status)> answer, size_t bytes, Outbox* outbox)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The answers thread: runs what OnCommitted leaves to it. answers_mu_ may be taken under mu_, and
  // never the other way round.
  void AnswerLoop();
  void LeaveToAnswersThread(Outbox* outbox);
  // Starts a commit when there is something to commit and none runs, and hands out tasks.
  void KickLocked(Outbox* outbox) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void DeliverLocked(const std::vector<Delivery>& deliveries, Outbox* outbox)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // `rest_kept`: of the round only the deletions failed.
  void OnCommitted(const absl::Status& status, bool rest_kept = false);
  void ObserveGrant(int64_t since_ns, size_t grants);
  // Of the commit that the store is at now, or 0.
  double CommitRunningSecondsLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CollectQueueLocked(MetricFamily* family, bool age) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void QueueTasksLocked(std::vector<QueuedTask> tasks) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void PumpUnfinishedLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes over what was read from the store; nothing is to be stored yet.
  void AdoptRegistryLocked(std::unique_ptr<Registry> registry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Goes on with every job from there.
  void ResumeJobsLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void BecomeReadOnlyLocked(const absl::Status& why, Outbox* outbox)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // After another attempt at the store has failed.
  void BackOffLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReleaseReadsLocked(Outbox* outbox) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  bool Reload();
  void TryStore();
  void SweepLocked(Outbox* outbox) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void BackgroundLoop();

  absl::StatusOr<JobController*> FindJobLocked(const std::string& name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // For people: what a job that is not ended waits for; empty when it goes on.
  std::string WaitingReasonLocked(const JobController& job) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::string DescribeStuckLocked(const StuckTask& stuck) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Workers come and go without a commit: watchers are told here.
  void NotifyOfWaitingLocked(Outbox* outbox) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  v1::SearchJob JobViewLocked(const JobController& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<v1::SearchJob> SubmitLocked(const std::string& tenant,
                                             const v1::SubmitSearchJobRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<v1::DeleteSearchJobResponse> DeleteLocked(const Principal& by,
                                                           const std::string& name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<v1::SearchJobEstimate> EstimateLocked(const v1::SearchJobSpec& spec)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // What the spec's supernet stands for; fills in what the spec leaves to it.
  absl::StatusOr<SupernetEntry> FindSupernetLocked(v1::SearchJobSpec* spec)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The job of a filled-in spec, of which nothing is stored or remembered yet; or why there can be
  // none.
  absl::StatusOr<std::unique_ptr<JobController>> DraftLocked(const v1::SearchJobSpec& spec,
                                                             const SupernetEntry& supernet,
                                                             JobRecord* record)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Warnings, each naming the field, about latencies of a class that no device has.
  std::vector<std::string> UnknownClassesLocked(const v1::SearchJobSpec& spec) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Why the device of a target that only lacks its metrics cannot have the job; OK while there is
  // no such device.
  absl::Status CheckCanMeasureLocked(const std::string& field, LatencyTarget target) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status CheckTargetsLocked(const v1::SearchJobSpec& spec) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<std::unique_ptr<Registry>> ReadStore();
  // Errors name the field of the spec.
  absl::StatusOr<JobFiles> LoadFiles(const v1::SearchJobSpec& spec,
                                     const std::shared_ptr<const Family>& family);
  absl::StatusOr<std::shared_ptr<const AccuracyPredictor>> LoadPredictor(
      const std::string& sha256, const std::shared_ptr<const Family>& family)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(files_mu_);
  absl::StatusOr<std::shared_ptr<const CompiledTable>> LoadTable(
      const std::string& sha256, const std::shared_ptr<const Family>& family)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(files_mu_);
  absl::StatusOr<v1::Trial> TrialByKeyLocked(const std::string& key)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<v1::ExportSubnetResponse> ExportLocked(const std::string& name)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<v1::Supernet> CreateSupernetLocked(const std::string& id,
                                                    const std::string& sha256,
                                                    std::shared_ptr<const Family> family,
                                                    const std::string& dataset)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<v1::DeleteSupernetResponse> DeleteSupernetLocked(
      const v1::DeleteSupernetRequest& request) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Looks at the next measurements, and drops raw samples of those that are old.
  void DropOldSamplesLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Datasets of which no measurement and no part counts.
  void ForgetUnusedDatasetsLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  v1::RetractMeasurementsResponse RetractLocked(const std::vector<int64_t>& ids,
                                                const v1::RetractMeasurementsRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Forgets workers that have long been silent, as far as it needs to. False when all that there
  // are count.
  bool MakeRoomForWorkerLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Other workers that measure latencies of the same device as other hardware.
  std::vector<std::string> ClashesLocked(const v1::RegisterWorkerRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Why this worker, which clashes with those, may not register now, whatever its request is worth;
  // OK when it may.
  absl::Status RefuseWorkerLocked(const v1::RegisterWorkerRequest& request,
                                  const std::vector<std::string>& clashes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void NoteDeviceLocked(DeviceRecord record) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::StatusOr<v1::RegisterWorkerResponse> RegisterLocked(
      const std::string& peer, const v1::RegisterWorkerRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // `done`, told what the worker may do next as well.
  Done<v1::CompleteTasksResponse> AndLeaseNext(const v1::CompleteTasksRequest& request,
                                               Done<v1::CompleteTasksResponse> done);
  v1::LeaseTasksResponse LeaseResponseLocked(const std::vector<Grant>& grants, bool drain)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Whether a result has ended the lease and is not durable yet: the worker must keep the result,
  // for the lease comes back should the commit fail.
  bool IsEndingLocked(const std::string& worker, const std::string& token) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  v1::Worker WorkerViewLocked(const std::string& worker) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // `fingerprint` is the result's, `artifact` what CheckArtifact says of an export's.
  absl::Status CompleteLocked(const std::string& worker, const v1::TaskResult& result,
                              const std::string& fingerprint, const absl::Status& artifact)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The same for a task of no job.
  absl::Status CompleteNetworkLocked(const std::string& worker, int64_t id,
                                     const v1::TaskResult& result, const std::string& fingerprint)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // A record without ids of a checked latency; begins a baseline where there is none.
  std::vector<MeasurementRecord> LatencyRecordsLocked(const v1::Task& wire,
                                                      const v1::LatencyResult& latency,
                                                      const MeasuredBy& by)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Which worker stands for the device that the request names: one that is active where there is
  // one.
  absl::StatusOr<const v1::Worker*> FindMeasurerLocked(const v1::MeasureNetworksRequest& request)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // A result with numbers that cannot be: the attempt has failed. What to answer.
  absl::Status RejectLocked(const std::string& worker, const v1::TaskResult& result,
                            const absl::Status& judged, const std::string& fingerprint,
                            TaskEntry* task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status AlreadyClosedLocked(const TaskEntry& task, const v1::TaskResult& result,
                                   const std::string& fingerprint)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Status CheckArtifact(const v1::ExportResult& result) const;
  // Why the result cannot stand beside others, empty when it can.
  std::string MismatchLocked(const v1::Task& wire, const v1::TaskResult& result) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // `fingerprint` is of the result as it was sent.
  void AcceptLocked(const std::string& worker, const v1::TaskResult& result,
                    const std::string& fingerprint, TaskEntry* task)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AcceptExportLocked(const v1::TaskResult& result, int64_t task, const v1::Task& wire,
                          JobController* job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AcceptMeasurementsLocked(const std::string& worker, const v1::TaskResult& result,
                                const TaskEntry& task, const v1::Task& wire, JobController* job)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Learns which images a name and a split stand for.
  void NoteDatasetLocked(const v1::Task& wire, const v1::AccuracyResult& result)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Gives the records their ids and stores them; the first one gets the evidence. Returns the ids.
  std::vector<int64_t> StoreMeasurementsLocked(std::vector<MeasurementRecord> records,
                                               MeasurementEvidence evidence)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void AcceptFailureLocked(const std::string& worker, const v1::TaskResult& result, TaskEntry* task)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Ends the lease; whether the task will not be tried again.
  bool FailTaskLocked(const std::string& worker, int64_t id, const v1::TaskFailure& failure)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The open task of another job that the job, which wants what `wire` asks for, can wait for; 0
  // when there is none.
  int64_t FindInFlightLocked(uint64_t hash, int64_t job, const v1::Task& wire,
                             const std::string& fingerprint) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Jobs whose wait for others' tasks is over go on. Before a round is committed: what they take
  // over is in the round of the result itself.
  void AdvanceWaitersLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // QueuedTask.work.
  int32_t WorkOfLocked(const v1::Task& wire) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void CloseTaskLocked(TaskEntry* task, TaskState state, const std::string& error)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // JobHost; the jobs call these under the lock.
  absl::Time Now() override;
  int64_t SteadyNanos() override;
  int64_t NewTrialId() override;
  StoreBatch* batch() override;
  const MeasurementIndex& index() const override;
  int ActiveWorkers() const override;
  std::optional<TargetBinding> FindDevice(const LatencyTarget& target) const override;
  std::vector<KnownSubnet> History(const JobFold& fold) const override;
  AwaitedTask AddTask(int64_t job, int64_t trial_id, TaskKind kind, const v1::Task& wire,
                      const TaskNeeds& needs) override;
  void LeaveTask(int64_t task, int64_t job) override;
  void JoinAccuracy(int64_t job, int64_t trial_id, const v1::Task& wire) override;
  int64_t DeriveMeasurement(int64_t source, const MetricInfo& metric,
                            double grid_grams_per_kwh) override;
  void CancelTask(int64_t task) override;
  void PumpAgain(int64_t job) override;
  void JobStateChanged(int64_t job, JobState state) override;
  std::vector<TargetBinding> DevicesForLocked(const LatencyTarget& target) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  int64_t epoch_ = 0;

  mutable Mutex mu_;
  CondVar changed_;  // committing_, stopping_ or broken_ changed
  std::unique_ptr<Registry> registry_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<const PageTokens> page_tokens_;  // never changes after Load
  std::unique_ptr<LeaseTable> leases_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<NetworkTasks> networks_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, WorkerInfo> workers_ ABSL_GUARDED_BY(mu_);
  std::map<int64_t, Done<v1::LeaseTasksResponse>> polls_ ABSL_GUARDED_BY(mu_);
  std::map<int64_t, Subscription> subscriptions_ ABSL_GUARDED_BY(mu_);
  int64_t next_subscription_ ABSL_GUARDED_BY(mu_) = 1;
  CommitRound open_ ABSL_GUARDED_BY(mu_);
  // The round being committed; its batch has gone to the store.
  CommitRound committing_round_ ABSL_GUARDED_BY(mu_);
  std::vector<int64_t> committing_jobs_ ABSL_GUARDED_BY(mu_);
  bool committing_ ABSL_GUARDED_BY(mu_) = false;
  // Why memory must be read anew; OK while it need not.
  absl::Status broken_ ABSL_GUARDED_BY(mu_);
  // Reading it anew has failed.
  bool unreadable_ ABSL_GUARDED_BY(mu_) = false;
  // Why nothing can be stored, since when, and how often the store was tried since.
  struct ReadOnly {
    absl::Status why;
    absl::Time since;
    int64_t attempts = 0;
  };
  std::optional<ReadOnly> read_only_ ABSL_GUARDED_BY(mu_);
  std::function<void()> read_only_changed_ ABSL_GUARDED_BY(mu_);
  // Zero after a commit that was kept.
  absl::Duration back_off_ ABSL_GUARDED_BY(mu_);
  int64_t next_attempt_ns_ ABSL_GUARDED_BY(mu_) = 0;
  // Reads that wait until memory is read anew.
  std::vector<std::function<void()>> parked_reads_ ABSL_GUARDED_BY(mu_);
  size_t parked_bytes_ ABSL_GUARDED_BY(mu_) = 0;  // of their requests
  // Of sweeps while nothing could be stored.
  std::vector<int64_t> swept_poisoned_ ABSL_GUARDED_BY(mu_);
  std::vector<int64_t> swept_dropped_ ABSL_GUARDED_BY(mu_);
  std::set<int64_t> unfinished_ ABSL_GUARDED_BY(mu_);  // jobs to be pumped again
  // Of rounds that were not kept, until memory is read anew.
  std::vector<EndedLease> leases_to_restore_ ABSL_GUARDED_BY(mu_);
  // Where the next look for old raw samples begins, in the index's all(), and how many this pass
  // over all of them has dropped; when the next pass may begin.
  size_t samples_place_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t samples_dropped_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t next_samples_pass_ns_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  ControllerMetrics metrics_;
  int64_t commit_started_ns_ ABSL_GUARDED_BY(mu_) = 0;
  // Of latencies, by worker and verdict.
  std::map<std::pair<std::string, VerdictState>, int64_t> verdicts_ ABSL_GUARDED_BY(mu_);
  // Guards what jobs share alone; taken with mu_ held or not, never the other way round.
  Mutex files_mu_;
  // Those that some job holds, by artifact and family.
  using FileKey = std::pair<std::string, const Family*>;
  std::map<FileKey, std::weak_ptr<const AccuracyPredictor>> predictors_ ABSL_GUARDED_BY(files_mu_);
  std::map<FileKey, std::weak_ptr<const CompiledTable>> tables_ ABSL_GUARDED_BY(files_mu_);
  // What is to be run after commits, oldest first: by a thread of its own, so that the store's can
  // go on with the next one.
  Mutex answers_mu_;
  CondVar answers_changed_;
  std::vector<std::function<void()>> answers_ ABSL_GUARDED_BY(answers_mu_);
  bool answers_end_ ABSL_GUARDED_BY(answers_mu_) = false;
  Thread answering_;
  Thread background_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_CONTROLLER_H_
