// SPDX-License-Identifier: Apache-2.0
#include "search/controller/testing/controller_harness.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "gtest/gtest.h"
#include "search/controller/job_validator.h"
#include "search/controller/resource_names.h"
#include "space/cost_model.h"
#include "space/family.h"
#include "space/metric_registry.h"

namespace forall::testing {
namespace {

constexpr int64_t kAllImages = 10'000;

std::unique_ptr<SqliteResultStore> OpenStore(const SqliteResultStore::Options& options) {
  absl::StatusOr<std::unique_ptr<SqliteResultStore>> store = SqliteResultStore::Create(options);
  FORALL_CHECK(store.ok()) << store.status();
  return *std::move(store);
}

std::shared_ptr<const Family> TestFamily() { return FindFamily("fashion_mnist").value(); }

// Of a network of another space, what takes a megaMAC.
Costs CostsOf(const v1::Architecture& wire) {
  Architecture architecture{wire.search_space(), wire.revision(), {}};
  architecture.choices.assign(wire.choices().begin(), wire.choices().end());
  const absl::StatusOr<Network> network = TestFamily()->Describe(architecture);
  return network.ok() ? CountCosts(*network) : Costs{.macs = 1'000'000};
}

// In [-1, 1), of the network and a purpose.
double Noise(const std::string& key, const char* purpose) {
  return 2 * Random(Fnv1a64(absl::StrCat(key, purpose))).Double() - 1;
}

}  // namespace

void FaultyStore::FailFrom(int64_t at, Fault fault, absl::Status status) {
  MutexLock lock(&mu_);
  fail_from_ = commits_ + at;
  fault_ = fault;
  status_ = std::move(status);
  failed_ = false;
}

void FaultyStore::Heal() {
  MutexLock lock(&mu_);
  fail_from_ = 0;
  failed_ = false;
}

void FaultyStore::Hang() {
  MutexLock lock(&mu_);
  hangs_ = true;
}

void FaultyStore::GoOn() {
  std::vector<std::pair<StoreBatch, std::function<void(absl::Status)>>> held;
  {
    MutexLock lock(&mu_);
    hangs_ = false;
    held.swap(held_);
  }
  for (auto& [batch, done] : held) CommitAsync(std::move(batch), std::move(done));
}

size_t FaultyStore::held() const {
  MutexLock lock(&mu_);
  return held_.size();
}

int64_t FaultyStore::commits() const {
  MutexLock lock(&mu_);
  return commits_;
}

bool FaultyStore::failed() const {
  MutexLock lock(&mu_);
  return failed_;
}

void FaultyStore::CommitAsync(StoreBatch batch, std::function<void(absl::Status)> done) {
  Fault fault = Fault::kNone;
  absl::Status status;
  {
    MutexLock lock(&mu_);
    if (hangs_) {
      held_.emplace_back(std::move(batch), std::move(done));
      return;
    }
    ++commits_;
    if (fail_from_ != 0 && commits_ >= fail_from_) {
      // Only the first commit after a kill can have been applied without an answer.
      fault = failed_ ? Fault::kLost : fault_;
      status = status_;
      failed_ = true;
    }
  }
  if (fault == Fault::kLost) {
    // Through the store all the same, so that it is answered on its thread.
    store_->CommitAsync(StoreBatch(), [done, status](const absl::Status&) { done(status); });
    return;
  }
  store_->CommitAsync(std::move(batch), [done, fault, status](const absl::Status& committed) {
    done(fault == Fault::kUnanswered ? status : committed);
  });
}

int64_t FaultyStore::logs_read() const {
  MutexLock lock(&mu_);
  return logs_read_;
}

absl::Status FaultyStore::Probe() {
  {
    MutexLock lock(&mu_);
    if (fail_from_ != 0 && commits_ + 1 >= fail_from_) return status_;
  }
  return store_->Probe();
}

absl::Status FaultyStore::IndexEvents() {
  {
    MutexLock lock(&mu_);
    if (fail_from_ != 0 && commits_ + 1 >= fail_from_) return status_;
    logs_read_ = 0;
  }
  return store_->IndexEvents();
}

absl::StatusOr<std::vector<EventRecord>> FaultyStore::LoadEvents(int64_t job, int64_t after,
                                                                 int64_t limit) {
  {
    MutexLock lock(&mu_);
    ++logs_read_;
  }
  return store_->LoadEvents(job, after, limit);
}

ControllerHarness::ControllerHarness(SqliteResultStore::Options store,
                                     std::shared_ptr<const Family> family)
    : sqlite_(OpenStore(store)), faulty_(sqlite_.get()) {
  artifacts_ = ArtifactStore::Create({.folder = folder_ / "artifacts"}).value();
  const std::string sha256 = artifacts_->Put("the weights of a supernet").value();
  StoreBatch batch;
  batch.insert_artifacts.push_back({sha256, 25, clock_.Now()});
  batch.insert_supernets.push_back({"fashion_mnist", sha256,
                                    (family == nullptr ? TestFamily() : family)->Spec(),
                                    "fashion_mnist", clock_.Now()});
  const absl::Status stored = sqlite_->Commit(std::move(batch));
  FORALL_CHECK(stored.ok()) << stored;
  Start();
}

ControllerHarness::~ControllerHarness() { controller_.reset(); }

void ControllerHarness::Start() {
  absl::StatusOr<std::unique_ptr<Controller>> controller =
      Controller::Create({.store = &faulty_,
                          .artifacts = artifacts_.get(),
                          .clock = &clock_,
                          .heartbeat_interval = kHeartbeat,
                          .max_waiting_bytes = max_waiting_bytes_,
                          .max_workers = max_workers_,
                          .keep_raw_samples = keep_raw_samples_,
                          .background = false});
  FORALL_CHECK(controller.ok()) << controller.status();
  controller_ = *std::move(controller);
}

void ControllerHarness::Restart() {
  // A controller that ends in order stores what it has collected; one that is killed does not.
  if (!faulty_.failed()) {
    faulty_.FailFrom(1, FaultyStore::Fault::kLost, absl::UnavailableError("killed"));
  }
  controller_.reset();
  faulty_.Heal();
  Start();
}

v1::SearchJobSpec ControllerHarness::Spec(int trials) {
  v1::SearchJobSpec spec;
  spec.set_supernet("supernets/fashion_mnist");
  spec.add_objectives()->set_metric("accuracy_top1");
  spec.add_objectives()->set_metric("latency_ms");
  spec.mutable_sampler()->set_algorithm("nsga2");
  spec.mutable_budget()->set_max_trials(trials);
  spec.mutable_fidelity()->set_screening_images(2500);
  spec.set_seed(7);
  return spec;
}

absl::StatusOr<v1::SearchJob> ControllerHarness::Submit(const v1::SearchJobSpec& spec,
                                                        const std::string& request_id) {
  v1::SubmitSearchJobRequest request;
  *request.mutable_spec() = spec;
  request.set_request_id(request_id);
  return CallAndWait(controller(), &Controller::SubmitSearchJob, request);
}

absl::StatusOr<v1::SearchJob> ControllerHarness::Job(const std::string& name) {
  v1::GetSearchJobRequest request;
  request.set_name(name);
  return CallAndWait(controller(), &Controller::GetSearchJob, request);
}

std::vector<v1::Trial> ControllerHarness::Trials(const std::string& job) {
  std::vector<v1::Trial> trials;
  v1::ListTrialsRequest request;
  request.set_parent(job);
  request.set_page_size(7);
  do {
    const absl::StatusOr<v1::ListTrialsResponse> page =
        CallAndWait(controller(), &Controller::ListTrials, request);
    EXPECT_THAT(page, IsOk());
    if (!page.ok()) break;
    trials.insert(trials.end(), page->trials().begin(), page->trials().end());
    request.set_page_token(page->next_page_token());
  } while (!request.page_token().empty());
  return trials;
}

v1::QueryParetoFrontierResponse ControllerHarness::Frontier(const std::string& job) {
  v1::QueryParetoFrontierRequest request;
  request.set_parent(job);
  const absl::StatusOr<v1::QueryParetoFrontierResponse> frontier =
      CallAndWait(controller(), &Controller::QueryParetoFrontier, request);
  EXPECT_THAT(frontier, IsOk());
  return frontier.ok() ? *frontier : v1::QueryParetoFrontierResponse();
}

std::vector<v1::FrontierMember> ControllerHarness::FrontierMembers(const std::string& job) {
  const v1::QueryParetoFrontierResponse frontier = Frontier(job);
  return {frontier.members().begin(), frontier.members().end()};
}

std::vector<std::string> ControllerHarness::Log(const std::string& job) {
  std::vector<std::string> log;
  const absl::StatusOr<std::vector<EventRecord>> events =
      sqlite_->LoadEvents(ParseJobName(job).value(), 0, 1'000'000);
  EXPECT_THAT(events, IsOk());
  for (const EventRecord& event : *events) {
    log.push_back(absl::StrCat(event.sequence, " ", event.kind, " ", event.payload));
  }
  return log;
}

v1::RegisterWorkerRequest ControllerHarness::Registration(const std::string& worker,
                                                          const std::string& device,
                                                          const std::string& fingerprint) {
  v1::RegisterWorkerRequest request;
  request.set_worker_id(worker);
  request.mutable_device()->set_name(DeviceName(device));
  request.mutable_device()->set_device_class("x86-64");
  request.mutable_device()->set_fingerprint(fingerprint);
  request.mutable_profile()->set_hash("p1");
  request.add_datasets("fashion_mnist");
  request.set_build("0.1.0");
  return request;
}

void ControllerHarness::Register(const std::string& worker, const std::string& device,
                                 const std::string& fingerprint) {
  FORALL_EXPECT_OK(CallAndWait(controller(), &Controller::RegisterWorker,
                               Registration(worker, device, fingerprint)));
}

absl::StatusOr<v1::LeaseTasksResponse> ControllerHarness::Lease(const std::string& worker,
                                                                int max) {
  v1::LeaseTasksRequest request;
  request.set_worker(WorkerName(worker));
  request.set_max_tasks(max);
  absl::StatusOr<v1::LeaseTasksResponse> answer;
  // Without a wait it is answered at once, on this thread.
  controller_->LeaseTasks(request, [&answer](absl::StatusOr<v1::LeaseTasksResponse> response) {
    answer = std::move(response);
  });
  return answer;
}

absl::StatusOr<v1::TaskCompletion> ControllerHarness::Complete(const std::string& worker,
                                                               const v1::TaskResult& result) {
  v1::CompleteTasksRequest request;
  request.set_worker(WorkerName(worker));
  *request.add_results() = result;
  absl::StatusOr<v1::CompleteTasksResponse> response =
      CallAndWait(controller(), &Controller::CompleteTasks, request);
  if (!response.ok()) return response.status();
  return response->completions(0);
}

v1::TaskResult EvaluateTask(const v1::LeasedTask& leased, const ArtifactStore& artifacts) {
  const v1::Task& task = leased.task();
  v1::TaskResult result;
  result.set_task(task.name());
  result.set_lease_token(leased.lease().token());
  const double mmacs = static_cast<double>(CostsOf(task.architecture()).macs) * 1e-6;
  if (task.kind() == v1::Task::EXPORT) {
    const std::string content =
        absl::StrCat("onnx of ", task.arch_key(), " ", task.recipe(), " ", CalibrationIdOf(task));
    result.mutable_export_result()->set_artifact_sha256(artifacts.Put(content).value());
    result.mutable_export_result()->set_size_bytes(static_cast<int64_t>(content.size()));
    result.mutable_export_result()->set_calibration_id(CalibrationIdOf(task));
  } else if (task.kind() == v1::Task::ACCURACY) {
    const int64_t images = task.images() == 0 ? kAllImages : task.images();
    if (task.part_images() > 0 && task.part_images() < images) {
      *result.mutable_accuracy_result() = ControllerHarness::EvaluateImages(task);
      return result;
    }
    // Screening errs by up to half a point, the full set by a tenth of that.
    const double error = images == kAllImages ? 0.05 : 0.5;
    const double accuracy = 86 + 8 * (1 - std::exp(-mmacs / 20)) +
                            error * Noise(task.arch_key(), task.fidelity().c_str());
    v1::AccuracyResult* accuracies = result.mutable_accuracy_result();
    accuracies->set_images(images);
    accuracies->set_top1_correct(std::llround(accuracy / 100 * static_cast<double>(images)));
    accuracies->set_top5_correct(images);
    accuracies->set_split_images(kAllImages);
  } else {
    const double ratio =
        0.1 + mmacs / 30 * (1 + 0.05 * Noise(task.graph_key(), task.fidelity().c_str()));
    v1::LatencyResult* latency = result.mutable_latency_result();
    latency->set_ratio(ratio);
    latency->set_ratio_low(ratio * 0.99);
    latency->set_ratio_high(ratio * 1.01);
    latency->set_reference_median_ns(2e6);
    latency->set_median_ns(ratio * 2e6);
    latency->set_runs(20);
    latency->mutable_verdict()->set_state(v1::Verdict::TRUSTED);
    for (int i = 0; i < 20; ++i) latency->add_samples_ns(ratio * 2e6);
    latency->set_reference_sha256(std::string(64, 'a'));
    for (const std::string& id : task.metrics()) {
      const MetricInfo& metric = *FindMetric(id);
      if (!metric.derived_from.empty()) continue;
      // Multiples of the latency that differ from metric to metric, with batch and without.
      const double factor = metric.percentile > 0 ? metric.percentile / 50 : id == kEnergy ? 20 : 5;
      v1::MeasuredValue* const value = latency->add_values();
      value->set_metric(id);
      value->set_value(ratio * factor);
      value->set_low(value->value() * 0.98);
      value->set_high(value->value() * 1.02);
      value->set_samples(metric.percentile > 0 ? 700 : 5);
      value->mutable_verdict()->set_state(v1::Verdict::TRUSTED);
    }
  }
  return result;
}

v1::AccuracyResult ControllerHarness::EvaluateImages(const v1::Task& task) {
  const double mmacs = static_cast<double>(CostsOf(task.architecture()).macs) * 1e-6;
  const double skill = 0.86 + 0.08 * (1 - std::exp(-mmacs / 20));
  const int64_t total = task.images() == 0 ? kAllImages : task.images();
  v1::AccuracyResult result;
  result.set_images(std::min<int64_t>(task.part_images() > 0 ? task.part_images() : total,
                                      total - task.first_image()));
  result.set_split_images(kAllImages);
  std::string bitmap(static_cast<size_t>(result.images() + 7) / 8, '\0');
  for (int64_t i = 0; i < result.images(); ++i) {
    const int64_t image = task.first_image() + i;
    const bool right =
        0.5 + 0.5 * Noise(absl::StrCat(task.arch_key(), " ", image), "right") < skill;
    const bool near = image % 20 != 0;
    if (right) {
      bitmap[i / 8] = static_cast<char>(static_cast<unsigned char>(bitmap[i / 8]) | 1u << (i % 8));
    }
    result.set_top1_correct(result.top1_correct() + (right ? 1 : 0));
    result.set_top5_correct(result.top5_correct() + (right || near ? 1 : 0));
  }
  result.set_top1_bitmap(bitmap);
  return result;
}

bool ControllerHarness::Step(const std::string& worker, const Spoil& spoil) {
  const absl::StatusOr<v1::LeaseTasksResponse> leased = Lease(worker);
  EXPECT_THAT(leased, IsOk());
  if (!leased.ok() || leased->tasks().empty()) return false;
  v1::TaskResult result = Evaluate(leased->tasks(0));
  if (spoil != nullptr) spoil(leased->tasks(0).task(), &result);
  absl::StatusOr<v1::TaskCompletion> completion = Complete(worker, result);
  if (!completion.ok() && store()->failed()) {
    Restart();
    Register(worker);
    v1::HeartbeatRequest heartbeat;
    heartbeat.set_worker(worker);
    v1::HeldLease* held = heartbeat.add_leases();
    held->set_task(result.task());
    held->set_token(result.lease_token());
    FORALL_EXPECT_OK(CallAndWait(controller(), &Controller::Heartbeat, heartbeat));
    completion = Complete(worker, result);
  }
  EXPECT_THAT(completion, IsOk());
  if (completion.ok()) {
    EXPECT_EQ(completion->code(), 0) << completion->message();
  }
  return true;
}

v1::SearchJob ControllerHarness::RunToEnd(const std::string& job, const std::string& worker,
                                          const Spoil& spoil, int limit) {
  for (int i = 0; i < limit && Step(worker, spoil); ++i) {
  }
  const absl::StatusOr<v1::SearchJob> ended = Job(job);
  EXPECT_THAT(ended, IsOk());
  EXPECT_TRUE(ended->has_end_time()) << ended->ShortDebugString();
  return *ended;
}

}  // namespace forall::testing
