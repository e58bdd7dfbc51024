// SPDX-License-Identifier: Apache-2.0
// A controller in this process with a store in memory, a supernet without weights, and a worker
// that answers by a script: whole jobs in milliseconds, the same every time.
#ifndef FORALL_SEARCH_CONTROLLER_TESTING_CONTROLLER_HARNESS_H_
#define FORALL_SEARCH_CONTROLLER_TESTING_CONTROLLER_HARNESS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/testing/temp_dir.h"
#include "search/controller/controller.h"
#include "search/store/artifact_store.h"
#include "search/store/sqlite_result_store.h"

namespace forall::testing {

// Waits for the answer to what `call` asks, whatever thread gives it.
template <typename Response, typename Call>
absl::StatusOr<Response> Await(const Call& call) {
  struct Waiter {
    Mutex mu;
    CondVar changed;
    bool done ABSL_GUARDED_BY(mu) = false;
    absl::StatusOr<Response> answer ABSL_GUARDED_BY(mu) = absl::UnknownError("no answer");
  };
  const auto waiter = std::make_shared<Waiter>();
  call([waiter](absl::StatusOr<Response> answer) {
    MutexLock lock(&waiter->mu);
    waiter->answer = std::move(answer);
    waiter->done = true;
    waiter->changed.Signal();
  });
  MutexLock lock(&waiter->mu);
  while (!waiter->done) waiter->changed.Wait(&waiter->mu);
  // Moved: the thread that answered may be the last to let go of the waiter.
  return std::move(waiter->answer);
}

// Calls a method of the controller and waits for its answer.
template <typename Request, typename Response>
absl::StatusOr<Response> CallAndWait(Controller* controller,
                                     void (Controller::*method)(const Request&, Done<Response>),
                                     const Request& request) {
  return Await<Response>(
      [&](Done<Response> done) { (controller->*method)(request, std::move(done)); });
}

// Stands between controller and store, and fails or hangs on command. Thread-safe.
class FaultyStore : public ResultStore {
 public:
  enum class Fault {
    kNone,
    kLost,        // the batch is not applied: killed before the commit, or a full disk
    kUnanswered,  // it is applied, but the controller hears of a failure: killed after the commit
  };
  explicit FaultyStore(ResultStore* store) : store_(store) {}

  // Commit number `at` (from 1, counted from now) and all later ones fail so, until Heal.
  void FailFrom(int64_t at, Fault fault, absl::Status status);
  void Heal();
  // Commits are neither applied nor answered, until GoOn does that in their order: a disk that
  // hangs.
  void Hang();
  void GoOn();
  // How many commits wait for that.
  size_t held() const;
  int64_t commits() const;
  // How often LoadEvents was asked since IndexEvents went well.
  int64_t logs_read() const;
  bool failed() const;

  void CommitAsync(StoreBatch batch, std::function<void(absl::Status)> done) override;
  absl::Status Probe() override;
  absl::Status IndexEvents() override;
  absl::StatusOr<int64_t> BeginEpoch() override { return store_->BeginEpoch(); }
  absl::StatusOr<std::vector<LifeRecord>> LoadLives() override { return store_->LoadLives(); }
  absl::StatusOr<StoreIds> LoadIds() override { return store_->LoadIds(); }
  absl::StatusOr<std::vector<JobRecord>> LoadJobs() override { return store_->LoadJobs(); }
  absl::StatusOr<std::vector<TrialRecord>> LoadTrials(int64_t job) override {
    return store_->LoadTrials(job);
  }
  absl::StatusOr<std::vector<TaskRecord>> LoadTasks(int64_t job) override {
    return store_->LoadTasks(job);
  }
  absl::StatusOr<std::vector<EventRecord>> LoadEvents(int64_t job, int64_t after,
                                                      int64_t limit) override;
  absl::StatusOr<std::vector<MeasurementRecord>> LoadMeasurements() override {
    return store_->LoadMeasurements();
  }
  absl::StatusOr<MeasurementEvidence> LoadEvidence(int64_t id) override {
    return store_->LoadEvidence(id);
  }
  absl::StatusOr<std::vector<ArtifactRecord>> LoadArtifacts() override {
    return store_->LoadArtifacts();
  }
  absl::StatusOr<std::vector<SupernetRecord>> LoadSupernets() override {
    return store_->LoadSupernets();
  }
  absl::StatusOr<std::vector<ExportRecord>> LoadExports() override { return store_->LoadExports(); }
  absl::StatusOr<std::vector<BaselineRecord>> LoadBaselines() override {
    return store_->LoadBaselines();
  }
  absl::StatusOr<std::vector<DatasetRecord>> LoadDatasets() override {
    return store_->LoadDatasets();
  }
  absl::StatusOr<std::vector<AccuracyPartRecord>> LoadParts() override {
    return store_->LoadParts();
  }
  absl::StatusOr<std::vector<DeviceRecord>> LoadDevices() override { return store_->LoadDevices(); }

 private:
  ResultStore* const store_;
  mutable Mutex mu_;
  int64_t commits_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t logs_read_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t fail_from_ ABSL_GUARDED_BY(mu_) = 0;  // 0: never
  Fault fault_ ABSL_GUARDED_BY(mu_) = Fault::kNone;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
  bool failed_ ABSL_GUARDED_BY(mu_) = false;
  bool hangs_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::pair<StoreBatch, std::function<void(absl::Status)>>> held_ ABSL_GUARDED_BY(mu_);
};

// What the script says about a task: a pure function of the network and the kind. What is exported
// lies in `artifacts` then.
v1::TaskResult EvaluateTask(const v1::LeasedTask& leased, const ArtifactStore& artifacts);

// The wall clock steps when told to, as one that a person or a time server sets; the steady one
// does not. Thread-safe.
class SteppingClock : public FakeClock {
 public:
  absl::Time Now() override {
    MutexLock lock(&mu_);
    return FakeClock::Now() + stepped_;
  }
  void Step(absl::Duration by) {
    MutexLock lock(&mu_);
    stepped_ += by;
  }

 private:
  Mutex mu_;
  absl::Duration stepped_ ABSL_GUARDED_BY(mu_);
};

class ControllerHarness {
 public:
  static constexpr absl::Duration kHeartbeat = absl::Seconds(5);

  // In memory unless the options name a file. The supernet is of the family fashion_mnist, or of
  // `family`, whose networks all take the scripted worker as long.
  explicit ControllerHarness(SqliteResultStore::Options store = {.path = ":memory:"},
                             std::shared_ptr<const Family> family = nullptr);
  ~ControllerHarness();

  Controller* controller() { return controller_.get(); }
  FaultyStore* store() { return &faulty_; }
  SqliteResultStore* sqlite() { return sqlite_.get(); }
  ArtifactStore* artifacts() { return artifacts_.get(); }
  std::string artifacts_path() const { return folder_ / "artifacts"; }
  SteppingClock* clock() { return &clock_; }
  void Tick() { controller_->Tick(); }

  // Throws the controller away, as kill -9 would, and starts another one on what was stored.
  void Restart();
  // From the next Restart on.
  void set_max_workers(int workers) { max_workers_ = workers; }
  void set_max_waiting_bytes(size_t bytes) { max_waiting_bytes_ = bytes; }
  void set_keep_raw_samples(absl::Duration keep) { keep_raw_samples_ = keep; }

  // A spec that the harness's supernet and script can do.
  static v1::SearchJobSpec Spec(int trials);
  absl::StatusOr<v1::SearchJob> Submit(const v1::SearchJobSpec& spec,
                                       const std::string& request_id = "");
  absl::StatusOr<v1::SearchJob> Job(const std::string& name);
  std::vector<v1::Trial> Trials(const std::string& job);
  v1::QueryParetoFrontierResponse Frontier(const std::string& job);
  std::vector<v1::FrontierMember> FrontierMembers(const std::string& job);
  // "kind payload" per event: the log without its times.
  std::vector<std::string> Log(const std::string& job);

  static v1::RegisterWorkerRequest Registration(const std::string& worker,
                                                const std::string& device = "pc",
                                                const std::string& fingerprint = "f1");
  void Register(const std::string& worker, const std::string& device = "pc",
                const std::string& fingerprint = "f1");
  absl::StatusOr<v1::LeaseTasksResponse> Lease(const std::string& worker, int max = 1);
  absl::StatusOr<v1::TaskCompletion> Complete(const std::string& worker,
                                              const v1::TaskResult& result);
  v1::TaskResult Evaluate(const v1::LeasedTask& leased) {
    return EvaluateTask(leased, *artifacts_);
  }
  // What the script says about a part of an accuracy: every image is right or wrong whatever the
  // part, so that parts fit together.
  static v1::AccuracyResult EvaluateImages(const v1::Task& task);
  // Changes a result before it is sent.
  using Spoil = std::function<void(const v1::Task&, v1::TaskResult*)>;
  // Leases one task, does it, reports it. False when there was none. When the store fails, the
  // controller is restarted, and the worker goes on as a real one does: register, heartbeat with
  // what it holds, repeat the call.
  bool Step(const std::string& worker, const Spoil& spoil = nullptr);
  // Steps until the job has ended; fails the test after `limit` steps or when nothing moves.
  v1::SearchJob RunToEnd(const std::string& job, const std::string& worker = "w",
                         const Spoil& spoil = nullptr, int limit = 10'000);

 private:
  void Start();

  TempDir folder_;
  SteppingClock clock_;
  int max_workers_ = 20'000;
  size_t max_waiting_bytes_ = size_t{256} << 20;
  absl::Duration keep_raw_samples_ = absl::InfiniteDuration();
  std::unique_ptr<SqliteResultStore> sqlite_;
  FaultyStore faulty_;
  std::unique_ptr<ArtifactStore> artifacts_;
  std::unique_ptr<Controller> controller_;
};

}  // namespace forall::testing

#endif  // FORALL_SEARCH_CONTROLLER_TESTING_CONTROLLER_HARNESS_H_
