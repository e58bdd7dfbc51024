// SPDX-License-Identifier: Apache-2.0
#include "tests/faults/scripted_worker.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/sha256.h"
#include "grpcpp/grpcpp.h"
#include "proto/forall/v1/artifact_service.grpc.pb.h"
#include "proto/forall/v1/fleet_service.grpc.pb.h"
#include "space/identity.h"

namespace forall::testing {
namespace {

constexpr double kReferenceNs = 1e6;
constexpr int64_t kAllImages = 10'000;

// In [0, 1), of the subnet and a purpose.
double Draw(const v1::Task& task, const char* purpose) {
  return Random(Fnv1a64(absl::StrCat(task.arch_key(), purpose, task.split()))).Double();
}

int64_t Images(const v1::Task& task) { return task.images() > 0 ? task.images() : kAllImages; }

bool IsPart(const v1::Task& task) {
  return task.part_images() > 0 && task.part_images() < Images(task);
}

// Image by image, so that parts fit together.
void FillPart(const v1::Task& task, v1::AccuracyResult* result) {
  const double skill = 0.8 + 0.15 * Draw(task, "accuracy");
  const int64_t images = std::min<int64_t>(task.part_images(), Images(task) - task.first_image());
  std::string bitmap(static_cast<size_t>(images + 7) / 8, '\0');
  int64_t correct = 0;
  for (int64_t i = 0; i < images; ++i) {
    if (Draw(task, absl::StrCat("image ", task.first_image() + i).c_str()) >= skill) continue;
    bitmap[i / 8] = static_cast<char>(static_cast<unsigned char>(bitmap[i / 8]) | 1u << (i % 8));
    ++correct;
  }
  result->set_images(images);
  result->set_top1_correct(correct);
  result->set_top5_correct(images);
  result->set_top1_bitmap(bitmap);
}

std::string ArtifactBytes(const v1::Task& task) {
  return absl::StrCat("subnet ", task.arch_key(), " of ", task.supernet_sha256());
}

double ScriptedAccuracy(const v1::Task& task) {
  const int64_t images = Images(task);
  return 100.0 * std::floor(static_cast<double>(images) * (0.8 + 0.15 * Draw(task, "accuracy"))) /
         static_cast<double>(images);
}

double ScriptedLatencyRatio(const v1::Task& task) { return 0.5 + 2 * Draw(task, "latency"); }

void FillLatency(const v1::Task& task, v1::LatencyResult* result) {
  const double ratio = ScriptedLatencyRatio(task);
  result->set_ratio(ratio);
  result->set_ratio_low(ratio * 0.995);
  result->set_ratio_high(ratio * 1.005);
  result->set_reference_median_ns(kReferenceNs);
  result->set_median_ns(kReferenceNs * ratio);
  result->set_median_low_ns(kReferenceNs * ratio * 0.995);
  result->set_median_high_ns(kReferenceNs * ratio * 1.005);
  result->set_runs(12);
  result->set_warmup_runs(10);
  for (int i = 0; i < 12; ++i) {
    result->add_samples_ns(kReferenceNs * ratio);
    result->add_reference_samples_ns(kReferenceNs);
  }
  result->mutable_verdict()->set_state(v1::Verdict::TRUSTED);
  result->set_reference_sha256(Sha256Hex("the reference network"));
}

using Acknowledged = std::function<void(const std::string& what, double value)>;

struct Session {
  std::unique_ptr<v1::FleetService::Stub> fleet;
  std::unique_ptr<v1::ArtifactService::Stub> artifacts;
  bool registered = false;
  std::optional<Random> mischief;

  // Never without mischief.
  bool Chance(double probability) {
    return mischief.has_value() && mischief->Bernoulli(probability);
  }

  static std::unique_ptr<grpc::ClientContext> Context() {
    auto context = std::make_unique<grpc::ClientContext>();
    context->set_deadline(absl::ToChronoTime(Clock::Real()->Now() + absl::Seconds(5)));
    return context;
  }
};

bool Register(const std::string& id, Session* session) {
  v1::RegisterWorkerRequest request;
  request.set_worker_id(id);
  request.mutable_device()->set_name("devices/scripted");
  request.mutable_device()->set_device_class("x86-64");
  request.mutable_device()->set_fingerprint("scripted");
  request.mutable_profile()->set_hash("scripted");
  request.mutable_profile()->set_runtime("scripted");
  request.set_build("test");
  request.add_datasets("fashion_mnist");
  v1::RegisterWorkerResponse response;
  const auto context = Session::Context();
  if (!session->fleet->RegisterWorker(context.get(), request, &response).ok()) return false;
  session->registered = true;
  // It holds nothing: what a former life of it had leased is free at once.
  v1::HeartbeatRequest heartbeat;
  heartbeat.set_worker("workers/" + id);
  v1::HeartbeatResponse reply;
  const auto heartbeat_context = Session::Context();
  return session->fleet->Heartbeat(heartbeat_context.get(), heartbeat, &reply).ok();
}

bool Upload(const std::string& bytes, Session* session) {
  const auto context = Session::Context();
  v1::Artifact artifact;
  const auto stream = session->artifacts->UploadArtifact(context.get(), &artifact);
  v1::UploadArtifactRequest chunk;
  chunk.set_sha256(Sha256Hex(bytes));
  chunk.set_size_bytes(static_cast<int64_t>(bytes.size()));
  chunk.set_content(bytes);
  stream->Write(chunk);
  stream->WritesDone();
  return stream->Finish().ok();
}

// The work itself. False when what it made could not be uploaded.
bool Work(const v1::Task& task, Session* session, v1::TaskResult* result, double* value) {
  if (task.kind() == v1::Task::EXPORT) {
    const std::string bytes = ArtifactBytes(task);
    if (!Upload(bytes, session)) return false;
    result->mutable_export_result()->set_artifact_sha256(Sha256Hex(bytes));
    result->mutable_export_result()->set_size_bytes(static_cast<int64_t>(bytes.size()));
    result->mutable_export_result()->set_calibration_id(
        CalibrationId(task.calibration_dataset(), "train", task.calibration_images(),
                      kCalibrationBatch, static_cast<uint64_t>(task.calibration_seed())));
  } else if (task.kind() == v1::Task::ACCURACY) {
    v1::AccuracyResult* accuracy = result->mutable_accuracy_result();
    accuracy->set_split_images(kAllImages);
    if (IsPart(task)) {
      FillPart(task, accuracy);
    } else {
      *value = ScriptedAccuracy(task);
      accuracy->set_images(Images(task));
      accuracy->set_top1_correct(std::llround(*value / 100 * static_cast<double>(Images(task))));
      accuracy->set_top5_correct(Images(task));
    }
  } else {
    *value = ScriptedLatencyRatio(task) * kReferenceNs * 1e-6;
    FillLatency(task, result->mutable_latency_result());
  }
  return true;
}

// What became of one result; nothing when the call failed. Where `next` is given, the answer may
// lease one more task, which goes there.
std::optional<int> Send(const std::string& id, const v1::TaskResult& result, Session* session,
                        std::vector<v1::LeasedTask>* next = nullptr) {
  v1::CompleteTasksRequest complete;
  complete.set_worker("workers/" + id);
  *complete.add_results() = result;
  if (next != nullptr) complete.set_max_next_tasks(1);
  v1::CompleteTasksResponse completed;
  const auto context = Session::Context();
  const grpc::Status status = session->fleet->CompleteTasks(context.get(), complete, &completed);
  if (!status.ok()) return std::nullopt;
  for (const v1::LeasedTask& task : completed.next().tasks()) next->push_back(task);
  return completed.completions(0).code();
}

// A result that cannot be, for a task that was not tried before: a second one would soon be poison.
bool Falsify(const v1::Task& task, Session* session, v1::TaskResult* result) {
  if (task.kind() == v1::Task::EXPORT || task.previous_attempts() > 0 || !session->Chance(0.05)) {
    return false;
  }
  if (result->has_latency_result()) {
    const double values[] = {std::numeric_limits<double>::quiet_NaN(), 0.0, -1.0,
                             std::numeric_limits<double>::infinity()};
    result->mutable_latency_result()->set_ratio(values[session->mischief->Uniform(4)]);
  } else {
    v1::AccuracyResult* accuracy = result->mutable_accuracy_result();
    accuracy->set_top1_correct(accuracy->images() + 1);
  }
  return true;
}

// After a result was taken: the same again, and others under its lease.
void Pester(const std::string& id, const v1::TaskResult& taken, Session* session,
            const Acknowledged& acknowledged) {
  const auto expect = [&](const char* kind, const v1::TaskResult& result, int expected) {
    acknowledged(absl::StrCat("mischief ", kind), 1);
    const std::optional<int> code = Send(id, result, session);
    if (code.has_value() && *code != expected) {
      acknowledged(absl::StrCat("fault ", kind, " of ", taken.task()), *code);
    }
  };
  if (session->Chance(0.2)) expect("repeated", taken, grpc::StatusCode::OK);
  if (session->Chance(0.1)) {
    v1::TaskResult other = taken;
    other.mutable_failure()->set_reason(v1::TaskFailure::DETERMINISTIC);
    other.mutable_failure()->set_message("it did not work after all");
    expect("changed", other, grpc::StatusCode::ALREADY_EXISTS);
  }
  if (session->Chance(0.1)) {
    v1::TaskResult other = taken;
    other.set_lease_token("1-999999");
    expect("never leased", other, grpc::StatusCode::ABORTED);
  }
}

// Works on one task and reports it; what the answer leases goes to `next`. False when a call
// failed: the controller gives the task out again.
bool DoTask(const std::string& id, const v1::LeasedTask& leased, Session* session,
            const Acknowledged& acknowledged, std::vector<v1::LeasedTask>* next) {
  const v1::Task& task = leased.task();
  if (session->Chance(0.03)) {
    acknowledged("mischief dropped", 1);
    return true;
  }
  if (session->Chance(0.05)) {
    acknowledged("mischief given back", 1);
    v1::ReleaseTaskRequest release;
    release.set_worker("workers/" + id);
    release.set_task(task.name());
    release.set_lease_token(leased.lease().token());
    v1::ReleaseTaskResponse released;
    const auto context = Session::Context();
    return session->fleet->ReleaseTask(context.get(), release, &released).ok();
  }
  v1::TaskResult result;
  result.set_task(task.name());
  result.set_lease_token(leased.lease().token());
  double value = 0;
  if (!Work(task, session, &result, &value)) return false;
  if (session->Chance(0.02)) {
    acknowledged("mischief held too long", 1);
    Clock::Real()->SleepFor(absl::Milliseconds(900));
  }
  v1::TaskResult false_result = result;
  if (Falsify(task, session, &false_result)) {
    acknowledged("mischief falsified", 1);
    const std::optional<int> code = Send(id, false_result, session);
    if (code == grpc::StatusCode::OK) acknowledged("fault falsified " + task.name(), 0);
    return code.has_value();
  }
  const std::optional<int> code = Send(id, result, session, next);
  if (!code.has_value()) return false;
  if (*code != grpc::StatusCode::OK) return true;
  acknowledged("taken " + task.name(), 1);
  // A part is no measurement yet.
  if (task.kind() != v1::Task::EXPORT && !IsPart(task)) {
    acknowledged(absl::StrCat(task.trial(), " ", v1::Task::Kind_Name(task.kind()), " ",
                              task.fidelity(), " ", task.split()),
                 value);
  }
  Pester(id, result, session, acknowledged);
  return true;
}

// Registers when needed, leases, works and reports. False when anything failed.
bool WorkOnce(const std::string& id, Session* session, const Acknowledged& acknowledged) {
  if (!session->registered && !Register(id, session)) return false;
  v1::LeaseTasksRequest lease;
  lease.set_worker("workers/" + id);
  lease.set_max_tasks(session->mischief.has_value() ? 4 : 1);
  lease.mutable_wait()->set_nanos(100'000'000);
  v1::LeaseTasksResponse response;
  const auto context = Session::Context();
  if (!session->fleet->LeaseTasks(context.get(), lease, &response).ok()) return false;
  std::vector<v1::LeasedTask> tasks(response.tasks().begin(), response.tasks().end());
  if (session->mischief.has_value()) session->mischief->Shuffle(&tasks);
  while (!tasks.empty()) {
    std::vector<v1::LeasedTask> next;
    for (const v1::LeasedTask& task : tasks) {
      if (!DoTask(id, task, session, acknowledged, &next)) return false;
    }
    tasks = std::move(next);
  }
  return true;
}

}  // namespace

void RunScriptedWorker(const std::string& id, const std::string& address,
                       const Acknowledged& acknowledged, std::optional<uint64_t> mischief) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 10);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 10);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 20);
  const auto channel =
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  Session session;
  if (mischief.has_value()) session.mischief.emplace(*mischief);
  session.fleet = v1::FleetService::NewStub(channel);
  session.artifacts = v1::ArtifactService::NewStub(channel);
  while (true) {
    if (WorkOnce(id, &session, acknowledged)) continue;
    session.registered = false;
    Clock::Real()->SleepFor(absl::Milliseconds(5));
  }
}

}  // namespace forall::testing
