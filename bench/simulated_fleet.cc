// SPDX-License-Identifier: Apache-2.0
#include "bench/simulated_fleet.h"

#include <google/protobuf/arena.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/thread.h"
#include "proto/forall/v1/fleet_service.grpc.pb.h"
#include "space/identity.h"

namespace forall {
namespace {

constexpr double kReferenceNs = 1e6;
constexpr int kWaitSeconds = 50;
constexpr int kRegistrationsAtOnce = 64;

int64_t Now() { return Clock::Real()->SteadyNanos(); }

// What results of one run share: a worker's own costs are not what is measured here.
v1::LatencyResult MakeLatency() {
  v1::LatencyResult result;
  result.set_reference_median_ns(kReferenceNs);
  result.set_runs(64);
  result.set_warmup_runs(20);
  result.set_outliers(1);
  result.set_calibrated_reference_ns(kReferenceNs);
  result.mutable_verdict()->set_state(v1::Verdict::TRUSTED);
  result.set_reference_sha256(Sha256Hex("the reference network"));
  auto& environment = *result.mutable_environment();
  environment["governor"] = "performance";
  environment["load_average"] = "0.42";
  environment["temperature_celsius"] = "51.0";
  environment["frequency_khz"] = "2450000";
  environment["core"] = "1";
  environment["warnings"] = "no turbo control, a virtual machine";
  return result;
}

void SetRatio(double ratio, v1::LatencyResult* result) {
  result->set_ratio(ratio);
  result->set_ratio_low(ratio * 0.995);
  result->set_ratio_high(ratio * 1.005);
  result->set_median_ns(kReferenceNs * ratio);
  result->set_median_low_ns(kReferenceNs * ratio * 0.995);
  result->set_median_high_ns(kReferenceNs * ratio * 1.005);
}

// What a worker keeps of a leased task.
struct HeldTask {
  std::string name;
  std::string token;
  bool is_export = false;
  std::string calibration_id;  // of an export
  double ratio = 0;            // of a latency
};

HeldTask ToHeld(const v1::LeasedTask& leased) {
  const v1::Task& task = leased.task();
  HeldTask held{task.name(), leased.lease().token(), task.kind() == v1::Task::EXPORT, "", 0};
  if (held.is_export) {
    held.calibration_id =
        CalibrationId(task.calibration_dataset(), "train", task.calibration_images(),
                      kCalibrationBatch, static_cast<uint64_t>(task.calibration_seed()));
  } else {
    held.ratio = 0.5 + 2 * Random(Fnv1a64(task.graph_key())).Double();
  }
  return held;
}

std::vector<HeldTask> ToHeldTasks(const v1::LeaseTasksResponse& response) {
  std::vector<HeldTask> held;
  held.reserve(static_cast<size_t>(response.tasks_size()));
  for (const v1::LeasedTask& task : response.tasks()) held.push_back(ToHeld(task));
  return held;
}

}  // namespace

class SimulatedFleet::Impl : public std::enable_shared_from_this<SimulatedFleet::Impl> {
 public:
  explicit Impl(const Options& options) : options_(options) {}

  absl::Status Start() {
    timer_ = Thread("fleet-timer", [this] { TimerLoop(); });
    for (int i = 0; i < options_.workers; ++i) {
      auto worker = std::make_unique<Worker>();
      worker->name = absl::StrCat("workers/bench-", options_.first_worker + i);
      grpc::ChannelArguments arguments;
      // Otherwise all of them would share one connection.
      arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
      arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
      arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
      arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
      arguments.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // as a worker does
      worker->channel =
          grpc::CreateCustomChannel(options_.address, options_.credentials, arguments);
      worker->stub = v1::FleetService::NewStub(worker->channel);
      workers_.push_back(std::move(worker));
    }
    MutexLock lock(&mu_);
    while (next_registration_ < options_.workers && next_registration_ < kRegistrationsAtOnce) {
      RegisterNext();
    }
    while (registered_ < options_.workers && failure_.ok()) changed_.Wait(&mu_);
    return failure_;
  }

  void Stop() {
    {
      MutexLock lock(&mu_);
      stopping_ = true;
      for (const std::unique_ptr<Worker>& worker : workers_) {
        if (worker->poll != nullptr) worker->poll->TryCancel();
      }
      changed_.SignalAll();
      while (calls_ > 0) changed_.Wait(&mu_);
    }
    timer_.Join();
  }

  void SetMode(bool at_once, double seconds) {
    std::vector<int> starting;
    {
      MutexLock lock(&mu_);
      at_once_ = at_once;
      think_seconds_ = seconds;
      if (think_seconds_ > 0) {
        // Spread over one round, as they would be after a while.
        for (const int worker : ready_) CompleteAt(worker, think_seconds_ * random_.Double());
        ready_.clear();
      }
      starting = TakeReady();
    }
    for (const int worker : starting) Complete(worker, true);
  }

  Counts counts() const {
    MutexLock lock(&mu_);
    return counts_;
  }

  double MeasureEmptyCalls(double seconds) {
    struct State {
      Mutex mu;
      CondVar changed;
      int64_t answered ABSL_GUARDED_BY(mu) = 0;
      int open ABSL_GUARDED_BY(mu) = 0;
      int64_t end_ns = 0;
      std::vector<std::unique_ptr<grpc::GenericStub>> stubs;
    };
    struct EmptyCall {
      grpc::ClientContext context;
      grpc::Slice nothing;
      grpc::ByteBuffer request{&nothing, 1};  // an empty message, not a missing one
      grpc::ByteBuffer response;
    };
    const auto state = std::make_shared<State>();
    const int callers = std::min(options_.callers, options_.workers);
    for (int i = 0; i < callers; ++i) {
      state->stubs.push_back(std::make_unique<grpc::GenericStub>(workers_[i]->channel));
    }
    const std::function<void(int)> call_once = [&call_once, state](int caller) {
      const auto call = std::make_shared<EmptyCall>();
      state->stubs[caller]->UnaryCall(
          &call->context, "/grpc.health.v1.Health/Check", {}, &call->request, &call->response,
          [state, &call_once, caller, call](const grpc::Status& status) {
            const bool go_on = status.ok() && Now() < state->end_ns;
            if (go_on) call_once(caller);
            MutexLock lock(&state->mu);
            state->answered += status.ok();
            state->open -= !go_on;
            if (state->open == 0) state->changed.Signal();
          });
    };
    const int64_t start = Now();
    state->end_ns = start + static_cast<int64_t>(seconds * 1e9);
    {
      MutexLock lock(&state->mu);
      state->open = callers;
    }
    for (int i = 0; i < callers; ++i) call_once(i);
    MutexLock lock(&state->mu);
    while (state->open > 0) state->changed.Wait(&state->mu);
    return static_cast<double>(state->answered) / (1e-9 * static_cast<double>(Now() - start));
  }

 private:
  struct Worker {
    std::string name;
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<v1::FleetService::Stub> stub;
    grpc::ClientContext* poll = nullptr;  // guarded by mu_
    // Changed under mu_ by whoever ends the worker's poll or completion, and read without it by
    // whoever starts the next.
    std::vector<HeldTask> held;
  };
  template <typename Request, typename Response>
  struct Call {
    grpc::ClientContext context;
    google::protobuf::Arena arena;
    Request& request = *google::protobuf::Arena::CreateMessage<Request>(&arena);
    Response& response = *google::protobuf::Arena::CreateMessage<Response>(&arena);
  };
  // Of a completion: used again and again, for its parts are many.
  class Completion {
   public:
    Completion() : arena_(first_, sizeof(first_)) {}

    void Begin() {
      context.emplace();
      response = google::protobuf::Arena::CreateMessage<v1::CompleteTasksResponse>(&arena_);
    }
    void End() {
      context.reset();
      arena_.Reset();
    }

    std::optional<grpc::ClientContext> context;
    v1::CompleteTasksRequest request;  // what all latencies have in common stays in it
    v1::CompleteTasksResponse* response = nullptr;

   private:
    alignas(std::max_align_t) char first_[size_t{16} << 10];  // of 8 tasks
    google::protobuf::Arena arena_;
  };

  void RegisterNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const int index = next_registration_++;
    const auto call =
        std::make_shared<Call<v1::RegisterWorkerRequest, v1::RegisterWorkerResponse>>();
    v1::RegisterWorkerRequest& request = call->request;
    const std::string device =
        absl::StrCat("bench-", (options_.first_worker + index) % options_.devices);
    request.set_worker_id(workers_[index]->name.substr(std::string("workers/").size()));
    request.mutable_device()->set_name("devices/" + device);
    request.mutable_device()->set_device_class(device);
    request.mutable_device()->set_fingerprint("made-up");
    request.mutable_profile()->set_hash("made-up");
    request.mutable_profile()->set_runtime("none");
    request.set_build("bench");
    request.add_datasets("fashion_mnist");
    for (const v1::Task::Kind kind : options_.kinds) request.add_kinds(kind);
    call->context.set_deadline(absl::ToChronoTime(Clock::Real()->Now() + absl::Seconds(30)));
    ++calls_;
    workers_[index]->stub->async()->RegisterWorker(
        &call->context, &call->request, &call->response,
        [self = shared_from_this(), call, index](const grpc::Status& status) {
          self->OnRegistered(index, status, call->response);
        });
  }

  void OnRegistered(int index, const grpc::Status& status,
                    const v1::RegisterWorkerResponse& response) {
    MutexLock lock(&mu_);
    --calls_;
    if (!status.ok()) {
      failure_ = absl::UnavailableError(
          absl::StrCat("a simulated worker cannot register: ", status.error_message()));
    } else {
      ++registered_;
      heartbeat_seconds_ = static_cast<double>(response.heartbeat_interval().seconds());
      At(heartbeat_seconds_ * random_.Double(), [this, index] {
        mu_.AssertHeld();
        Heartbeat(index);
      });
      Poll(index);
      if (next_registration_ < options_.workers && !stopping_) RegisterNext();
    }
    changed_.SignalAll();
  }

  void Heartbeat(int index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const auto call = std::make_shared<Call<v1::HeartbeatRequest, v1::HeartbeatResponse>>();
    call->request.set_worker(workers_[index]->name);
    for (const HeldTask& task : workers_[index]->held) {
      v1::HeldLease* lease = call->request.add_leases();
      lease->set_task(task.name);
      lease->set_token(task.token);
    }
    ++calls_;
    workers_[index]->stub->async()->Heartbeat(
        &call->context, &call->request, &call->response,
        [self = shared_from_this(), call, index](const grpc::Status& status) {
          MutexLock lock(&self->mu_);
          --self->calls_;
          self->counts_.failed_calls += !status.ok();
          self->changed_.SignalAll();
          self->At(self->heartbeat_seconds_ * (0.9 + 0.2 * self->random_.Double()), [self, index] {
            self->mu_.AssertHeld();
            self->Heartbeat(index);
          });
        });
  }

  void Poll(int index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (stopping_) return;
    const auto call = std::make_shared<Call<v1::LeaseTasksRequest, v1::LeaseTasksResponse>>();
    call->request.set_worker(workers_[index]->name);
    call->request.set_max_tasks(options_.results_per_call);
    call->request.mutable_wait()->set_seconds(kWaitSeconds);
    call->context.set_deadline(
        absl::ToChronoTime(Clock::Real()->Now() + absl::Seconds(kWaitSeconds + 30)));
    workers_[index]->poll = &call->context;
    ++calls_;
    workers_[index]->stub->async()->LeaseTasks(
        &call->context, &call->request, &call->response,
        [self = shared_from_this(), call, index](const grpc::Status& status) {
          self->OnPolled(index, status, call->response);
        });
  }

  void OnPolled(int index, const grpc::Status& status, const v1::LeaseTasksResponse& response) {
    std::vector<HeldTask> leased = ToHeldTasks(response);
    std::vector<int> starting;
    {
      MutexLock lock(&mu_);
      --calls_;
      changed_.SignalAll();
      workers_[index]->poll = nullptr;
      if (stopping_) return;
      if (!status.ok()) {
        ++counts_.failed_calls;
        At(1, [this, index] {
          mu_.AssertHeld();
          Poll(index);
        });
        return;
      }
      Take(index, std::move(leased));
      starting = TakeReady();
    }
    for (const int worker : starting) Complete(worker, true);
  }

  // What a poll or a completion leased.
  void Take(int index, std::vector<HeldTask> leased) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    workers_[index]->held = std::move(leased);
    if (workers_[index]->held.empty()) return Poll(index);
    if (think_seconds_ > 0) {
      CompleteAt(index, think_seconds_ * (0.5 + random_.Double()));
    } else {
      ready_.push_back(index);
    }
  }

  void CompleteAt(int index, double seconds) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    At(seconds, [this, index] {
      mu_.AssertHeld();
      ++calls_;
      CompleteBy(TakeSpare(), index, false);
    });
  }

  // The workers that are to complete what they hold, by calls to Complete without the lock.
  std::vector<int> TakeReady() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    std::vector<int> starting;
    while (at_once_ && !stopping_ && !ready_.empty() && completing_ < options_.callers) {
      starting.push_back(ready_.front());
      ready_.pop_front();
      ++completing_;
      ++calls_;
    }
    return starting;
  }

  std::unique_ptr<Completion> TakeSpare() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (spare_.empty()) return std::make_unique<Completion>();
    std::unique_ptr<Completion> call = std::move(spare_.back());
    spare_.pop_back();
    return call;
  }

  void Complete(int index, bool counted) ABSL_LOCKS_EXCLUDED(mu_) {
    std::unique_ptr<Completion> call;
    {
      MutexLock lock(&mu_);
      call = TakeSpare();
    }
    CompleteBy(std::move(call), index, counted);
  }

  void CompleteBy(std::unique_ptr<Completion> spare, int index, bool counted) {
    Worker& worker = *workers_[index];
    Completion* const call = spare.release();
    call->Begin();
    v1::CompleteTasksRequest& request = call->request;
    request.set_worker(worker.name);
    request.set_max_next_tasks(options_.results_per_call);
    const int results = static_cast<int>(worker.held.size());
    while (request.results_size() < results) request.add_results();
    while (request.results_size() > results) request.mutable_results()->RemoveLast();
    for (int i = 0; i < results; ++i) {
      const HeldTask& task = worker.held[i];
      v1::TaskResult* result = request.mutable_results(i);
      result->set_task(task.name);
      result->set_lease_token(task.token);
      if (task.is_export) {
        v1::ExportResult* exported = result->mutable_export_result();
        exported->set_artifact_sha256(options_.artifact_sha256);
        exported->set_size_bytes(options_.artifact_bytes);
        exported->set_calibration_id(task.calibration_id);
      } else {
        if (!result->has_latency_result()) *result->mutable_latency_result() = latency_;
        SetRatio(task.ratio, result->mutable_latency_result());
      }
    }
    worker.stub->async()->CompleteTasks(
        &*call->context, &request, call->response,
        [self = shared_from_this(), call, index, counted](const grpc::Status& status) {
          self->OnCompleted(std::unique_ptr<Completion>(call), index, counted, status);
        });
  }

  void OnCompleted(std::unique_ptr<Completion> call, int index, bool counted,
                   const grpc::Status& status) {
    Counts counts;
    counts.failed_calls = !status.ok();
    for (int i = 0; i < call->response->completions_size(); ++i) {
      if (call->response->completions(i).code() != 0) {
        ++counts.refused;
      } else {
        ++(workers_[index]->held[i].is_export ? counts.exports : counts.latencies);
      }
    }
    std::vector<HeldTask> leased = ToHeldTasks(call->response->next());
    call->End();
    std::vector<int> starting;
    {
      MutexLock lock(&mu_);
      --calls_;
      if (counted) --completing_;
      counts_.failed_calls += counts.failed_calls;
      counts_.refused += counts.refused;
      counts_.exports += counts.exports;
      counts_.latencies += counts.latencies;
      spare_.push_back(std::move(call));
      Take(index, std::move(leased));
      starting = TakeReady();
      changed_.SignalAll();
    }
    for (const int worker : starting) Complete(worker, true);
  }

  void At(double seconds, std::function<void()> action) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (stopping_) return;
    const int64_t due = Now() + static_cast<int64_t>(seconds * 1e9);
    const bool first = timers_.empty() || due < timers_.begin()->first;
    timers_.emplace(due, std::move(action));
    if (first) timer_changed_.Signal();
  }

  void TimerLoop() {
    MutexLock lock(&mu_);
    while (!stopping_) {
      const int64_t now = Now();
      while (!timers_.empty() && timers_.begin()->first <= now && !stopping_) {
        const std::function<void()> action = std::move(timers_.begin()->second);
        timers_.erase(timers_.begin());
        action();
      }
      const int64_t due = timers_.empty() ? now + 100'000'000 : timers_.begin()->first;
      timer_changed_.WaitWithTimeout(
          &mu_, absl::Nanoseconds(std::clamp<int64_t>(due - Now(), 1, 100'000'000)));
    }
    timers_.clear();
  }

  const Options options_;
  const v1::LatencyResult latency_ = MakeLatency();
  std::vector<std::unique_ptr<Worker>> workers_;
  mutable Mutex mu_;
  CondVar changed_;
  CondVar timer_changed_;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  int next_registration_ ABSL_GUARDED_BY(mu_) = 0;
  int registered_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t calls_ ABSL_GUARDED_BY(mu_) = 0;  // under way
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool at_once_ ABSL_GUARDED_BY(mu_) = false;
  double think_seconds_ ABSL_GUARDED_BY(mu_) = 0;
  double heartbeat_seconds_ ABSL_GUARDED_BY(mu_) = 5;
  int completing_ ABSL_GUARDED_BY(mu_) = 0;
  std::deque<int> ready_ ABSL_GUARDED_BY(mu_);
  std::vector<std::unique_ptr<Completion>> spare_ ABSL_GUARDED_BY(mu_);
  Counts counts_ ABSL_GUARDED_BY(mu_);
  Random random_ ABSL_GUARDED_BY(mu_){1};
  std::multimap<int64_t, std::function<void()>> timers_ ABSL_GUARDED_BY(mu_);
  Thread timer_;
};

absl::StatusOr<std::unique_ptr<SimulatedFleet>> SimulatedFleet::Start(const Options& options) {
  const auto impl = std::make_shared<Impl>(options);
  std::unique_ptr<SimulatedFleet> fleet(new SimulatedFleet(impl));
  const absl::Status started = impl->Start();
  if (!started.ok()) return started;
  return fleet;
}

SimulatedFleet::~SimulatedFleet() {
  impl_->Stop();
  // The last callbacks may still be on their way out, on threads of gRPC's that outlive main.
  while (impl_.use_count() > 1) Clock::Real()->SleepFor(absl::Milliseconds(1));
}

void SimulatedFleet::Hold() { impl_->SetMode(false, 0); }
void SimulatedFleet::WorkAtOnce() { impl_->SetMode(true, 0); }
void SimulatedFleet::WorkFor(double seconds) { impl_->SetMode(false, seconds); }
SimulatedFleet::Counts SimulatedFleet::counts() const { return impl_->counts(); }
double SimulatedFleet::MeasureEmptyCalls(double seconds) {
  return impl_->MeasureEmptyCalls(seconds);
}

}  // namespace forall
