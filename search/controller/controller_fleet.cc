// SPDX-License-Identifier: Apache-2.0
// Calls of the fleet: workers, leases, results.
#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/cut_text.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "search/controller/controller.h"
#include "search/controller/controller_answer.h"
#include "search/controller/derived_metric.h"
#include "search/controller/measurement_maker.h"
#include "search/controller/resource_names.h"
#include "search/controller/resource_views.h"

namespace forall {
namespace {

constexpr int kMaxDatasets = 64;
constexpr int kMaxProperties = 200;
constexpr size_t kMaxText = 1024;
constexpr size_t kLeastDevices = 1000;  // that are taken, however few workers are
constexpr size_t kMaxTexts = 65536;     // of one worker, which is kept as long as its device
constexpr size_t kMaxInstance = 64;
constexpr size_t kMaxFailureMessage = 4096;  // the rest is cut off
constexpr int kMaxTasksPerLease = 16;
constexpr int kMaxResults = 64;
constexpr int kMaxHeldLeases = 1024;
constexpr size_t kPageBytes = 2 << 20;
constexpr int kDefaultLatencies = 20;  // of an inspection
// Work is long done elsewhere, and whoever comes back registers anew.
constexpr absl::Duration kForgottenAfter = absl::Hours(1);
constexpr int kMaxLatencies = WorkerLatencies::kLast;
constexpr absl::Duration kMaxWait = absl::Seconds(60);

template <typename... Parts>
absl::Status Invalid(absl::string_view field, const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", parts...));
}

google::protobuf::Duration ToProtoDuration(absl::Duration duration) {
  google::protobuf::Duration proto;
  proto.set_seconds(absl::ToInt64Seconds(duration));
  proto.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(duration - absl::Seconds(proto.seconds()))));
  return proto;
}

// "w" and "workers/w" are both understood.
absl::StatusOr<std::string> WorkerId(absl::string_view name) {
  absl::string_view id = name;
  absl::ConsumePrefix(&id, "workers/");
  FORALL_RETURN_IF_ERROR(CheckId(id, "worker"));
  return std::string(id);
}

absl::Status CheckRegistration(const v1::RegisterWorkerRequest& request) {
  FORALL_RETURN_IF_ERROR(CheckId(request.worker_id(), "worker_id"));
  const v1::Device& device = request.device();
  if (!ParseDeviceName(device.name()).ok()) {
    return Invalid("device.name",
                   "required, as devices/ID with ID of lower-case letters, digits, "
                   "'-', '_', '.', at most 63");
  }
  if (device.fingerprint().empty()) return Invalid("device.fingerprint", "required");
  if (request.profile().hash().empty()) return Invalid("profile.hash", "required");
  if (device.properties_size() > kMaxProperties) {
    return Invalid("device.properties", "at most ", kMaxProperties, " pairs");
  }
  if (request.datasets_size() > kMaxDatasets) return Invalid("datasets", "at most ", kMaxDatasets);
  const v1::RuntimeProfile& profile = request.profile();
  std::vector<const std::string*> texts = {&device.device_class(), &device.description(),
                                           &device.fingerprint(),  &profile.hash(),
                                           &profile.runtime(),     &profile.runtime_version(),
                                           &profile.provider(),    &profile.precision(),
                                           &profile.power_mode(),  &request.build()};
  for (const std::string& dataset : request.datasets()) texts.push_back(&dataset);
  if (profile.settings_size() > kMaxProperties) {
    return Invalid("profile.settings", "at most ", kMaxProperties, " pairs");
  }
  for (const auto* pairs : {&device.properties(), &profile.settings()}) {
    for (const auto& [name, value] : *pairs) {
      texts.push_back(&name);
      texts.push_back(&value);
    }
  }
  size_t bytes = 0;
  for (const std::string* text : texts) {
    bytes += text->size();
    if (text->size() > kMaxText) {
      return Invalid("device, profile, build and datasets", "a text of more than ", kMaxText,
                     " bytes");
    }
  }
  if (bytes > kMaxTexts) {
    return Invalid("device, profile, build and datasets", "at most ", kMaxTexts,
                   " bytes of texts in all, got ", bytes);
  }
  if (request.instance().size() > kMaxInstance ||
      !std::all_of(request.instance().begin(), request.instance().end(), absl::ascii_isprint)) {
    return Invalid("instance", "at most ", kMaxInstance, " printable ASCII characters");
  }
  if (request.protocol_version() < 0) {
    return Invalid("protocol_version", "positive, or 0, got ", request.protocol_version());
  }
  if (request.kinds_size() > 16) return Invalid("kinds", "at most 16");
  for (const int kind : request.kinds()) {
    if (kind == v1::Task::KIND_UNSPECIFIED || !v1::Task::Kind_IsValid(kind)) {
      return Invalid("kinds", "EXPORT, ACCURACY or LATENCY, got ", kind);
    }
  }
  return absl::OkStatus();
}

bool TakesLatency(const v1::RegisterWorkerRequest& request) {
  return request.kinds().empty() ||
         std::count(request.kinds().begin(), request.kinds().end(), v1::Task::LATENCY) > 0;
}

// What a worker speaks; those of before the question speak 1.
int ProtocolVersionOf(const v1::RegisterWorkerRequest& request) {
  return std::max(1, request.protocol_version());
}

absl::Status CheckProtocol(const v1::RegisterWorkerRequest& request) {
  constexpr int kMin = Controller::kMinProtocolVersion;
  constexpr int kMax = Controller::kMaxProtocolVersion;
  const int version = ProtocolVersionOf(request);
  if (version >= kMin && version <= kMax) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(WorkerName(request.worker_id()), " (build ", request.build(),
                   ") speaks protocol version ", version, ", this controller versions ", kMin,
                   " to ", kMax, ": upgrade the ", version > kMax ? "controller" : "worker"));
}

DeviceRecord DeviceOf(const v1::Device& device, std::string id) {
  DeviceRecord record;
  record.id = std::move(id);
  record.device_class = device.device_class();
  record.description = device.description();
  record.fingerprint = device.fingerprint();
  record.properties.insert(device.properties().begin(), device.properties().end());
  return record;
}

bool SameDevice(const DeviceRecord& a, const DeviceRecord& b) {
  return a.device_class == b.device_class && a.description == b.description &&
         a.fingerprint == b.fingerprint && a.properties == b.properties;
}

// Whether the failure would be the same everywhere.
bool IsOwnFault(const v1::TaskFailure& failure) {
  return failure.reason() == v1::TaskFailure::DETERMINISTIC ||
         failure.reason() == v1::TaskFailure::OUT_OF_MEMORY;
}

LeaseEnd EndOf(const v1::TaskResult& result) {
  if (!result.has_failure()) return LeaseEnd::kCompleted;
  if (IsOwnFault(result.failure())) return LeaseEnd::kFailedForGood;
  return result.failure().reason() == v1::TaskFailure::WORKER_UNABLE ? LeaseEnd::kUnable
                                                                     : LeaseEnd::kFailed;
}

// What is recorded of a result that cannot be taken.
v1::TaskResult FailureInsteadOf(const v1::TaskResult& result, v1::TaskFailure::Reason reason,
                                const std::string& message) {
  v1::TaskResult failed;
  failed.set_task(result.task());
  failed.set_lease_token(result.lease_token());
  failed.mutable_failure()->set_reason(reason);
  failed.mutable_failure()->set_message(message);
  return failed;
}

// What the device's worker says that it measures beside latency_ms; ids that this build does not
// know are of no use.
std::vector<std::string> MeasuredMetrics(const v1::Device& device) {
  std::vector<std::string> metrics;
  const auto measures = device.properties().find("measures");
  if (measures == device.properties().end()) return metrics;
  for (const absl::string_view id : absl::StrSplit(measures->second, ',', absl::SkipEmpty())) {
    const MetricInfo* const metric = FindMetric(absl::StripAsciiWhitespace(id));
    if (metric != nullptr && metric->source == MetricSource::kLatency) {
      metrics.push_back(metric->id);
    }
  }
  return metrics;
}

MeasuredBy Measurer(const std::string& worker, const v1::Worker& resource,
                    const std::string& lease_token, absl::Time now) {
  MeasuredBy by;
  by.worker = worker;
  by.build = resource.build();
  by.device = ParseDeviceName(resource.device().name()).value_or("");
  by.device_class = resource.device().device_class();
  by.device_fingerprint = resource.device().fingerprint();
  by.profile = resource.profile().hash();
  by.lease_token = lease_token;
  by.time = now;
  return by;
}

}  // namespace

absl::Status Controller::RefuseWorkerLocked(const v1::RegisterWorkerRequest& request,
                                            const std::vector<std::string>& clashes) {
  FORALL_RETURN_IF_ERROR(CheckProtocol(request));
  const std::string& id = request.worker_id();
  if (const absl::Duration taken = leases_->TakenFor(id, request.instance());
      taken > absl::ZeroDuration()) {
    const WorkerInfo& other = workers_[id];
    const absl::Time since = absl::FromUnixSeconds(other.resource.register_time().seconds());
    return absl::AlreadyExistsError(absl::StrCat(
        WorkerName(id), " is another process, registered ",
        absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", since, absl::UTCTimeZone()),
        other.peer.empty() ? "" : " from ", other.peer, " and last heard of ",
        absl::ToInt64Seconds(Now() - leases_->FindWorker(id)->last_seen),
        " s ago: two processes cannot be one worker. Give this one another --id; or end the other, "
        "and this one may take over once that has been silent for another ",
        absl::ToInt64Seconds(absl::Ceil(taken, absl::Seconds(1))), " s"));
  }
  const v1::Device& device = request.device();
  for (const std::string& other_id : clashes) {
    if (!leases_->IsServing(other_id)) continue;
    const WorkerInfo& other = workers_[other_id];
    const v1::Device& served = other.resource.device();
    return absl::FailedPreconditionError(absl::StrCat(
        device.name(), " is served by ", WorkerName(other_id),
        other.peer.empty() ? "" : absl::StrCat(" from ", other.peer), " as other hardware (\"",
        served.description(), "\", this one is \"", device.description(),
        "\"): latencies of both would pass for one device's. Give this one another --device; or, "
        "where the device itself was changed, end the other worker first; this one may "
        "register once that has been silent for ",
        absl::ToInt64Seconds(absl::Ceil(leases_->lease_time(), absl::Seconds(1))), " s"));
  }
  if (workers_.count(id) == 0 && !MakeRoomForWorkerLocked()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("this controller has ", workers_.size(),
                     " workers and takes no more: raise its "
                     "--max-workers, or end workers that are not needed (each stops counting ",
                     absl::FormatDuration(kForgottenAfter), " after it was last heard of)"));
  }
  // Devices are kept for good, with what they say of themselves.
  if (TakesLatency(request) &&
      registry_->devices.size() >=
          std::max(kLeastDevices, static_cast<size_t>(options_.max_workers)) &&
      registry_->devices.count(ParseDeviceName(device.name()).value_or("")) == 0) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "this controller knows ", registry_->devices.size(),
        " devices and takes no more: start the worker with the --device of one that it knows, or "
        "raise the controller's --max-workers"));
  }
  return absl::OkStatus();
}

bool Controller::MakeRoomForWorkerLocked() {
  const auto full = [this] {
    mu_.AssertHeld();
    return static_cast<int>(workers_.size()) >= options_.max_workers;
  };
  for (auto it = workers_.begin(); full() && it != workers_.end();) {
    it = leases_->ForgetWorker(it->first, kForgottenAfter) ? workers_.erase(it) : std::next(it);
  }
  return !full();
}

std::vector<std::string> Controller::ClashesLocked(const v1::RegisterWorkerRequest& request) {
  std::vector<std::string> clashes;
  // Whoever measures no latencies says nothing of the device's.
  if (!TakesLatency(request)) return clashes;
  const v1::Device& device = request.device();
  for (const auto& [id, other] : workers_) {
    const v1::Device& served = other.resource.device();
    if (id != request.worker_id() && other.takes_latency && served.name() == device.name() &&
        served.fingerprint() != device.fingerprint()) {
      clashes.push_back(id);
    }
  }
  return clashes;
}

void Controller::NoteDeviceLocked(DeviceRecord record) {
  DeviceRecord& known = registry_->devices[record.id];
  if (SameDevice(known, record)) return;
  if (!known.fingerprint.empty() && known.fingerprint != record.fingerprint) {
    FORALL_LOG(WARNING) << "device changed, a new baseline begins device=" << DeviceName(record.id)
                        << " fingerprint=" << record.fingerprint << " before=" << known.fingerprint;
  }
  known = record;
  open_.batch.upsert_devices.push_back(std::move(record));
}

absl::StatusOr<v1::RegisterWorkerResponse> Controller::RegisterLocked(
    const std::string& peer, const v1::RegisterWorkerRequest& request) {
  const std::vector<std::string> clashes = ClashesLocked(request);
  FORALL_RETURN_IF_ERROR(RefuseWorkerLocked(request, clashes));
  const std::string& id = request.worker_id();
  FORALL_ASSIGN_OR_RETURN(const std::string device, ParseDeviceName(request.device().name()));
  WorkerInfo info;
  info.takes_latency = TakesLatency(request);
  // They were silent, and may be back one day: not beside this one.
  for (const std::string& other : clashes) leases_->Expel(other);
  v1::Worker& resource = info.resource;
  resource.set_name(WorkerName(id));
  *resource.mutable_device() = request.device();
  *resource.mutable_profile() = request.profile();
  resource.set_build(request.build());
  resource.set_protocol_version(ProtocolVersionOf(request));
  *resource.mutable_datasets() = request.datasets();
  *resource.mutable_register_time() = ToTimestamp(Now());
  WorkerOffer offer;
  offer.metrics = MeasuredMetrics(request.device());
  info.metrics = offer.metrics;
  info.peer = peer;
  workers_[id] = std::move(info);

  offer.device = device;
  offer.device_fingerprint = request.device().fingerprint();
  offer.profile = request.profile().hash();
  offer.datasets.assign(request.datasets().begin(), request.datasets().end());
  for (const int kind : request.kinds()) offer.kinds.push_back(static_cast<TaskKind>(kind));
  leases_->RegisterWorker(id, std::move(offer), request.instance());

  // What a device is, those say who measure its latencies.
  if (TakesLatency(request)) NoteDeviceLocked(DeviceOf(request.device(), device));
  FORALL_LOG(INFO) << "worker registered worker=" << id << " device=" << DeviceName(device)
                   << " profile=" << request.profile().hash() << " build=" << request.build();
  for (const auto& [job_id, job] : registry_->jobs) {
    if (job->fold().ended()) continue;
    if (TakesLatency(request)) {
      job->OnDevice(device, request.device().fingerprint());
    } else {
      job->Pump();
    }
  }
  v1::RegisterWorkerResponse response;
  *response.mutable_worker() = WorkerViewLocked(id);
  *response.mutable_heartbeat_interval() = ToProtoDuration(options_.heartbeat_interval);
  response.set_epoch(epoch_);
  response.set_min_protocol_version(kMinProtocolVersion);
  response.set_max_protocol_version(kMaxProtocolVersion);
  return response;
}

void Controller::RegisterWorkerFrom(const std::string& peer,
                                    const v1::RegisterWorkerRequest& request,
                                    Done<v1::RegisterWorkerResponse> done) {
  if (const absl::Status valid = CheckRegistration(request); !valid.ok()) return done(valid);
  Answer<v1::RegisterWorkerResponse>(request.ByteSizeLong(), std::move(done),
                                     [&]() -> absl::StatusOr<v1::RegisterWorkerResponse> {
                                       mu_.AssertHeld();
                                       return RegisterLocked(peer, request);
                                     });
}

v1::LeaseTasksResponse Controller::LeaseResponseLocked(const std::vector<Grant>& grants,
                                                       bool drain) {
  v1::LeaseTasksResponse response;
  response.set_drain(drain);
  for (const Grant& grant : grants) {
    const v1::Task* wire = networks_->Find(grant.task);
    if (wire == nullptr) {
      const auto it = registry_->tasks.find(grant.task);
      if (it == registry_->tasks.end() || it->second.wire == nullptr) continue;
      it->second.record.attempts = grant.previous_attempts + 1;
      wire = it->second.wire.get();
    }
    v1::LeasedTask* leased = response.add_tasks();
    *leased->mutable_task() = *wire;
    if (const std::string* spec = networks_->FindSpec(grant.task)) {
      leased->mutable_task()->set_network_spec(*spec);
    }
    leased->mutable_task()->set_name(TaskName(grant.task));
    leased->mutable_task()->set_previous_attempts(grant.previous_attempts);
    leased->mutable_lease()->set_token(grant.token);
    *leased->mutable_lease()->mutable_expire_time() = ToTimestamp(grant.expire_time);
  }
  return response;
}

int64_t Controller::LeaseTasks(const v1::LeaseTasksRequest& request,
                               Done<v1::LeaseTasksResponse> done) {
  const absl::StatusOr<std::string> worker = WorkerId(request.worker());
  if (!worker.ok()) {
    done(worker.status());
    return 0;
  }
  if (request.max_tasks() < 1 || request.max_tasks() > kMaxTasksPerLease) {
    done(Invalid("max_tasks", "from 1 to ", kMaxTasksPerLease, ", got ", request.max_tasks()));
    return 0;
  }
  const absl::Duration wait = std::clamp(
      absl::Seconds(request.wait().seconds()) + absl::Nanoseconds(request.wait().nanos()),
      absl::ZeroDuration(), kMaxWait);
  absl::StatusOr<v1::LeaseTasksResponse> answer =
      absl::UnavailableError("the controller is stopping");
  int64_t poll = 0;
  Outbox outbox;
  {
    MutexLock lock(&mu_);
    if (!stopping_) {
      // Grants live in memory alone: this answer waits for no commit.
      absl::StatusOr<std::vector<Grant>> grants = std::vector<Grant>();
      if (absl::Status same = leases_->CheckInstance(*worker, request.instance()); same.ok()) {
        grants = leases_->Lease(*worker, request.max_tasks());
      } else {
        grants = std::move(same);
      }
      const bool drain =
          grants.ok() && leases_->FindWorker(*worker)->state == WorkerState::kDraining;
      if (!grants.ok()) {
        answer = grants.status();
      } else if (!grants->empty() || drain || wait == absl::ZeroDuration()) {
        answer = LeaseResponseLocked(*grants, drain);
        if (grants->empty() && !drain) {
          *answer->mutable_retry_delay() = ToProtoDuration(options_.heartbeat_interval / 5);
        }
      } else {
        poll = leases_->Park(*worker, request.max_tasks(), wait);
        polls_[poll] = done;
        KickLocked(&outbox);
      }
    }
  }
  Run(&outbox);
  if (poll == 0) {
    if (answer.ok()) ObserveGrant(outbox.entered_ns, answer->tasks_size());
    done(std::move(answer));
  }
  return poll;
}

void Controller::CancelPoll(int64_t poll) {
  MutexLock lock(&mu_);
  polls_.erase(poll);
  leases_->CancelPoll(poll);
}

void Controller::Heartbeat(const v1::HeartbeatRequest& request, Done<v1::HeartbeatResponse> done) {
  const absl::StatusOr<std::string> worker = WorkerId(request.worker());
  if (!worker.ok()) return done(worker.status());
  if (request.leases_size() > kMaxHeldLeases) {
    return done(Invalid("leases", "at most ", kMaxHeldLeases, ", got ", request.leases_size()));
  }
  if (const absl::Status valid = CheckReadings(request); !valid.ok()) return done(valid);
  absl::StatusOr<v1::HeartbeatResponse> answer =
      absl::UnavailableError("the controller is stopping");
  Outbox outbox;
  {
    MutexLock lock(&mu_);
    if (!stopping_) {
      std::vector<std::pair<int64_t, std::string>> held;
      for (const v1::HeldLease& lease : request.leases()) {
        // A name that is none of ours is a lease that is lost.
        held.emplace_back(ParseTaskName(lease.task()).value_or(0), lease.token());
      }
      absl::StatusOr<LeaseTable::HeartbeatReply> reply = LeaseTable::HeartbeatReply();
      if (absl::Status same = leases_->CheckInstance(*worker, request.instance()); same.ok()) {
        reply = leases_->Heartbeat(*worker, held);
      } else {
        reply = std::move(same);
      }
      if (reply.ok()) {
        workers_[*worker].news.NoteReadings(request.readings(), Now());
        v1::HeartbeatResponse response;
        for (const std::string& token : reply->lost_tokens) {
          if (!IsEndingLocked(*worker, token)) response.add_lost_tokens(token);
        }
        response.set_drain(reply->drain);
        *response.mutable_next_heartbeat() = ToProtoDuration(options_.heartbeat_interval);
        response.set_epoch(epoch_);
        answer = std::move(response);
      } else {
        answer = reply.status();
      }
      KickLocked(&outbox);
    }
  }
  Run(&outbox);
  done(std::move(answer));
}

bool Controller::IsEndingLocked(const std::string& worker, const std::string& token) const {
  for (const std::vector<EndedLease>* const leases :
       {&open_.ended_leases, &committing_round_.ended_leases, &leases_to_restore_}) {
    for (const EndedLease& lease : *leases) {
      if (lease.token == token && lease.worker == worker) return true;
    }
  }
  return false;
}

absl::Status Controller::AlreadyClosedLocked(const TaskEntry& task, const v1::TaskResult& result,
                                             const std::string& fingerprint) {
  const TaskRecord& record = task.record;
  if (record.completed_token.empty() || record.completed_token != result.lease_token()) {
    return absl::AbortedError(
        absl::StrCat(result.task(), " is not open any more",
                     record.error.empty() ? "" : absl::StrCat(": ", record.error),
                     "; this result is not counted"));
  }
  if (record.result_fingerprint == fingerprint) {
    const absl::Status numbers = CheckNumbers(result);  // as RejectLocked answered
    return numbers.ok() ? numbers : absl::InvalidArgumentError(numbers.message());
  }
  return absl::AlreadyExistsError(
      absl::StrCat(result.task(), " was completed with another result under this lease"));
}

absl::Status Controller::CheckArtifact(const v1::ExportResult& result) const {
  const absl::StatusOr<int64_t> size = options_.artifacts->Size(result.artifact_sha256());
  if (!size.ok() && !absl::IsNotFound(size.status()) && !absl::IsInvalidArgument(size.status())) {
    return size.status();
  }
  if (!size.ok()) {
    return Invalid("export_result.artifact_sha256",
                   "there is no such artifact; upload it before completing the task");
  }
  if (*size == result.size_bytes()) return absl::OkStatus();
  return Invalid("export_result.size_bytes", "the artifact has ", *size, " bytes, got ",
                 result.size_bytes());
}

absl::Status Controller::CompleteLocked(const std::string& worker, const v1::TaskResult& result,
                                        const std::string& fingerprint,
                                        const absl::Status& artifact) {
  FORALL_ASSIGN_OR_RETURN(const int64_t id, ParseTaskName(result.task()));
  if (NetworkTasks::IsNetworkTask(id))
    return CompleteNetworkLocked(worker, id, result, fingerprint);
  const auto it = registry_->tasks.find(id);
  if (it == registry_->tasks.end()) {
    return absl::AbortedError(absl::StrCat("there is no ", result.task()));
  }
  TaskEntry& task = it->second;
  const bool repeated =
      !result.lease_token().empty() && task.record.completed_token == result.lease_token();
  if (repeated || task.record.state != TaskState::kOpen)
    return AlreadyClosedLocked(task, result, fingerprint);
  const absl::Status judged = CheckResult(*task.wire, result);
  if (absl::IsOutOfRange(judged)) return RejectLocked(worker, result, judged, fingerprint, &task);
  FORALL_RETURN_IF_ERROR(judged);
  FORALL_RETURN_IF_ERROR(leases_->CheckLease(id, result.lease_token(), worker));
  FORALL_RETURN_IF_ERROR(artifact);
  const std::string mismatch = MismatchLocked(*task.wire, result);
  if (mismatch.empty()) {
    AcceptLocked(worker, result, fingerprint, &task);
    return absl::OkStatus();
  }
  // Its numbers are good for nothing here; another worker's may be.
  AcceptLocked(worker, FailureInsteadOf(result, v1::TaskFailure::WORKER_UNABLE, mismatch),
               fingerprint, &task);
  return absl::OkStatus();
}

absl::Status Controller::RejectLocked(const std::string& worker, const v1::TaskResult& result,
                                      const absl::Status& judged, const std::string& fingerprint,
                                      TaskEntry* task) {
  FORALL_RETURN_IF_ERROR(leases_->CheckLease(task->record.id, result.lease_token(), worker));
  const std::string why = absl::StrCat("its result cannot be true: ", judged.message());
  AcceptLocked(worker, FailureInsteadOf(result, v1::TaskFailure::TRANSIENT, why), fingerprint,
               task);
  return absl::InvalidArgumentError(judged.message());
}

std::string Controller::MismatchLocked(const v1::Task& wire, const v1::TaskResult& result) const {
  if (result.has_export_result()) {
    const std::string expected = CalibrationIdOf(wire);
    const std::string& reported = result.export_result().calibration_id();
    if (reported == expected) return "";
    return absl::StrCat("it calibrates BatchNorm in another way (", reported, " instead of ",
                        expected, "): update it");
  }
  if (!result.has_accuracy_result()) return "";
  const std::string& checksum = result.accuracy_result().dataset_checksum();
  const auto known = registry_->datasets.find({wire.dataset(), wire.split()});
  if (known == registry_->datasets.end()) return "";
  const int64_t images = result.accuracy_result().split_images();
  if (images != 0 && known->second.images != 0 && images != known->second.images) {
    return absl::StrCat("its ", wire.split(), " split of dataset \"", wire.dataset(), "\" has ",
                        images, " images, that measured with before has ", known->second.images);
  }
  if (known->second.checksum == checksum) return "";
  return absl::StrCat("its ", wire.split(), " images of dataset \"", wire.dataset(),
                      "\" are others (checksum ", checksum, ") than those measured with before (",
                      known->second.checksum, ")");
}

void Controller::AcceptLocked(const std::string& worker, const v1::TaskResult& result,
                              const std::string& fingerprint, TaskEntry* task) {
  open_.ended_leases.push_back({task->record.id, result.lease_token(), worker, EndOf(result)});
  task->record.completed_by = worker;
  task->record.completed_token = result.lease_token();
  task->record.result_fingerprint = fingerprint;
  if (result.has_failure()) return AcceptFailureLocked(worker, result, task);
  const std::unique_ptr<const v1::Task> wire = std::move(task->wire);  // It is about to be closed.
  JobController* const job = registry_->jobs[task->record.job_id].get();
  task->record.seconds = leases_->SecondsHeld(task->record.id);
  registry_->durations.Add(Work::Of(*wire, result.accuracy_result().images()),
                           task->record.seconds);
  leases_->Complete(task->record.id);
  ++metrics_.tasks_completed;
  CloseTaskLocked(task, TaskState::kDone, "");
  if (result.has_export_result()) {
    AcceptExportLocked(result, task->record.id, *wire, job);
  } else {
    AcceptMeasurementsLocked(worker, result, *task, *wire, job);
  }
}

void Controller::AcceptExportLocked(const v1::TaskResult& result, int64_t task,
                                    const v1::Task& wire, JobController* job) {
  ExportRecord record;
  record.supernet_sha256 = wire.supernet_sha256();
  record.arch_key = wire.arch_key();
  record.recipe = wire.recipe();
  record.calibration_id = CalibrationIdOf(wire);
  record.artifact_sha256 = result.export_result().artifact_sha256();
  record.size_bytes = result.export_result().size_bytes();
  open_.batch.insert_artifacts.push_back({record.artifact_sha256, record.size_bytes, Now()});
  registry_->index.AddExport(record);
  // Two jobs may have exported the same at once: everybody goes on with the one that came first.
  const std::string artifact =
      registry_->index
          .FindExport(record.supernet_sha256, record.arch_key, record.recipe, record.calibration_id)
          ->artifact_sha256;
  open_.batch.insert_exports.push_back(std::move(record));
  job->OnExported(task, artifact);
}

void Controller::AcceptMeasurementsLocked(const std::string& worker, const v1::TaskResult& result,
                                          const TaskEntry& task, const v1::Task& wire,
                                          JobController* job) {
  const MeasuredBy by = Measurer(worker, workers_[worker].resource, result.lease_token(), Now());
  std::vector<MeasurementRecord> records;
  if (result.has_accuracy_result()) {
    const v1::AccuracyResult& accuracy = result.accuracy_result();
    NoteDatasetLocked(wire, accuracy);
    if (!IsWhole(wire, accuracy)) {
      AccuracyPartRecord part = PartOf(wire, accuracy, by, task.record.id);
      open_.batch.insert_parts.push_back(part);
      registry_->index.AddPart(std::move(part));
      return job->OnPart(task.record.id);
    }
    records = AccuracyMeasurements(wire, accuracy, by);
  } else {
    records = LatencyRecordsLocked(wire, result.latency_result(), by);
  }
  for (MeasurementRecord& record : records) {
    record.job_id = task.record.job_id;
    record.trial_id = task.record.trial_id;
    record.task_id = task.record.id;
  }
  const std::vector<int64_t> ids = StoreMeasurementsLocked(std::move(records), EvidenceOf(result));
  for (const int64_t id : ids) {
    const MeasurementRecord& record = *registry_->index.Find(id);
    if (record.verdict != VerdictState::kRejected) continue;
    return job->OnRejected(
        task.record.id, ids,
        absl::StrCat(record.key.metric, ": ", absl::StrJoin(record.reasons, ", ")));
  }
  job->OnMeasured(task.record.id, ids);
}

std::vector<MeasurementRecord> Controller::LatencyRecordsLocked(const v1::Task& wire,
                                                                const v1::LatencyResult& latency,
                                                                const MeasuredBy& by) {
  BaselineRecord baseline = MakeBaseline(wire, latency, by);
  const BaselineRecord* known = registry_->index.FindBaseline(baseline.id);
  if (known != nullptr) {
    baseline = *known;
  } else if (latency.verdict().state() == v1::Verdict::REJECTED) {
    baseline.id.clear();  // What nobody can trust begins no baseline.
  } else {
    registry_->index.AddBaseline(baseline);
    open_.batch.insert_baselines.push_back(baseline);
  }
  workers_[by.worker].news.NoteLatency(latency, baseline.id, by.time);
  ++verdicts_[{by.worker, static_cast<VerdictState>(latency.verdict().state())}];
  return LatencyMeasurements(wire, latency, by, baseline);
}

absl::Status Controller::CompleteNetworkLocked(const std::string& worker, int64_t id,
                                               const v1::TaskResult& result,
                                               const std::string& fingerprint) {
  const v1::Task* const open = networks_->Find(id);
  const std::string& token = result.lease_token();
  if (open == nullptr) return networks_->Closed(id, token, fingerprint);
  const v1::Task wire = *open;
  const absl::Status judged = CheckResult(wire, result);
  if (!judged.ok() && !absl::IsOutOfRange(judged)) return judged;
  FORALL_RETURN_IF_ERROR(leases_->CheckLease(id, token, worker));
  if (!judged.ok() || result.has_failure()) {
    v1::TaskFailure failure = result.failure();
    if (!judged.ok()) {
      failure.set_reason(v1::TaskFailure::TRANSIENT);
      failure.set_message(absl::StrCat("its result cannot be true: ", judged.message()));
    }
    failure.set_message(CutText(failure.message(), kMaxFailureMessage));
    if (FailTaskLocked(worker, id, failure)) {
      networks_->Failed(id, token, fingerprint, failure.message());
    }
    return judged.ok() ? judged : absl::InvalidArgumentError(judged.message());
  }
  leases_->Complete(id);
  ++metrics_.tasks_completed;
  const MeasuredBy by = Measurer(worker, workers_[worker].resource, token, Now());
  const std::vector<int64_t> ids = StoreMeasurementsLocked(
      LatencyRecordsLocked(wire, result.latency_result(), by), EvidenceOf(result));
  const MeasurementRecord& record = *registry_->index.Find(ids[0]);
  std::string rejected;
  if (record.verdict == VerdictState::kRejected) {
    rejected = record.reasons.empty() ? "no reason given" : absl::StrJoin(record.reasons, ", ");
  }
  networks_->Completed(id, token, fingerprint, rejected);
  return absl::OkStatus();
}

void Controller::NoteDatasetLocked(const v1::Task& wire, const v1::AccuracyResult& result) {
  int64_t images = result.split_images();
  if (images == 0 && wire.images() == 0) images = result.images();
  const DatasetRecord dataset{wire.dataset(), wire.split(), result.dataset_checksum(), Now(),
                              images};
  const auto [known, is_new] =
      registry_->datasets.try_emplace({wire.dataset(), wire.split()}, dataset);
  if (!is_new && (known->second.images != 0 || images == 0)) return;
  known->second.images = images;
  open_.batch.insert_datasets.push_back(known->second);
  if (images != 0) registry_->index.NoteAllImages(wire.dataset(), wire.split(), images);
}

std::vector<int64_t> Controller::StoreMeasurementsLocked(std::vector<MeasurementRecord> records,
                                                         MeasurementEvidence evidence) {
  std::vector<int64_t> ids;
  for (MeasurementRecord& record : records) {
    record.id = ++registry_->ids.measurement;
    ids.push_back(record.id);
    open_.batch.insert_measurements.push_back(record);
    registry_->index.Add(std::move(record));
  }
  const MeasurementRecord& first = *registry_->index.Find(ids[0]);
  if (!evidence.top1_bitmap.empty()) {
    registry_->index.AddBitmap(first.id, evidence.top1_bitmap);
    // Its bits are those of the parts: they need not wait any longer.
    for (const int64_t task : registry_->index.RemoveParts(first.key.subject, first.key.dataset,
                                                           first.key.split, first.sample_count)) {
      open_.batch.delete_parts.push_back(task);
    }
  }
  evidence.measurement_id = first.id;
  open_.batch.insert_evidence.push_back(std::move(evidence));
  return ids;
}

void Controller::JoinAccuracy(int64_t job, int64_t trial_id, const v1::Task& wire) {
  mu_.AssertHeld();
  const int64_t all = registry_->index.AllImages(wire.dataset(), wire.split());
  const int64_t images = wire.images() == 0 ? all : std::min<int64_t>(wire.images(), all);
  const AccuracyCover cover =
      registry_->index.Cover(wire.artifact_sha256(), wire.dataset(), wire.split(), images);
  // Whoever came last completed it.
  const AccuracyPartRecord* last = nullptr;
  MeasurementEvidence evidence;
  for (const AccuracyPiece& piece : cover.pieces) {
    std::string from = piece.part == nullptr
                           ? absl::StrCat("measurement ", piece.measurement->id)
                           : absl::StrCat(TaskName(piece.part->task_id), " ", piece.part->worker);
    evidence.environment[absl::StrCat("images ", piece.first_image, " to ",
                                      piece.first_image + piece.images - 1)] = std::move(from);
    if (piece.part == nullptr) continue;
    if (last == nullptr || piece.part->time >= last->time) last = piece.part;
  }
  FORALL_CHECK(cover.missing.empty() && last != nullptr) << "an accuracy is joined with a gap";
  MeasuredBy by;
  by.worker = last->worker;
  by.build = last->worker_build;
  by.lease_token = last->lease_token;
  by.time = last->time;
  const v1::AccuracyResult joined = Join(cover.pieces);
  std::vector<MeasurementRecord> records = AccuracyMeasurements(wire, joined, by);
  for (MeasurementRecord& record : records) {
    record.job_id = job;
    record.trial_id = trial_id;
    record.task_id = last->task_id;
  }
  evidence.top1_bitmap = joined.top1_bitmap();
  AccuracySources sources = SourcesIn(evidence.environment);
  const std::vector<int64_t> ids = StoreMeasurementsLocked(std::move(records), std::move(evidence));
  registry_->index.NoteSources(ids[0], std::move(sources));
}

int64_t Controller::DeriveMeasurement(int64_t source, const MetricInfo& metric,
                                      double grid_grams_per_kwh) {
  mu_.AssertHeld();
  MeasurementRecord derived = Derive(*registry_->index.Find(source), metric, grid_grams_per_kwh);
  derived.id = ++registry_->ids.measurement;
  derived.task_id = 0;  // No task yielded it.
  const int64_t id = derived.id;
  MeasurementEvidence evidence;
  evidence.measurement_id = id;
  evidence.environment["derived_from"] = absl::StrCat("measurement ", source);
  open_.batch.insert_measurements.push_back(derived);
  open_.batch.insert_evidence.push_back(std::move(evidence));
  registry_->index.Add(std::move(derived));
  return id;
}

void Controller::AcceptFailureLocked(const std::string& worker, const v1::TaskResult& result,
                                     TaskEntry* task) {
  v1::TaskFailure failure = result.failure();
  failure.set_message(CutText(failure.message(), kMaxFailureMessage));
  const int64_t id = task->record.id;
  JobController* const job = registry_->jobs[task->record.job_id].get();
  const bool last = FailTaskLocked(worker, id, failure);
  if (last) {
    CloseTaskLocked(task, TaskState::kFailed, failure.message());
  } else {
    open_.batch.update_tasks.push_back(task->record);
  }
  job->OnFailed(id, worker, failure.reason(), failure.message(), last);
}

bool Controller::FailTaskLocked(const std::string& worker, int64_t id,
                                const v1::TaskFailure& failure) {
  bool last = IsOwnFault(failure);
  FailureOutcome outcome;
  if (last) {
    outcome = leases_->FailForGood(id, failure.message());
    ++metrics_.tasks_failed;
  } else {
    outcome =
        leases_->Fail(id, failure.reason() == v1::TaskFailure::WORKER_UNABLE, failure.message());
    last = outcome.poisoned;
    ++(last ? metrics_.tasks_poisoned : metrics_.tasks_retried);
  }
  metrics_.workers_quarantined += outcome.quarantined;
  if (outcome.quarantined) {
    FORALL_LOG(WARNING) << "worker quarantined worker=" << worker << " error=\""
                        << failure.message() << "\"";
  }
  FORALL_LOG(WARNING) << "task failed task=" << TaskName(id) << " worker=" << worker
                      << " reason=" << v1::TaskFailure::Reason_Name(failure.reason())
                      << " last=" << last << " error=\"" << failure.message() << "\"";
  return last;
}

void Controller::CompleteTasks(const v1::CompleteTasksRequest& request,
                               Done<v1::CompleteTasksResponse> done) {
  const absl::StatusOr<std::string> worker = WorkerId(request.worker());
  if (!worker.ok()) return done(worker.status());
  if (request.results().empty() || request.results_size() > kMaxResults) {
    return done(Invalid("results", "from 1 to ", kMaxResults, ", got ", request.results_size()));
  }
  if (request.max_next_tasks() < 0 || request.max_next_tasks() > kMaxTasksPerLease) {
    return done(Invalid("max_next_tasks", "from 0 to ", kMaxTasksPerLease, ", got ",
                        request.max_next_tasks()));
  }
  if (request.max_next_tasks() > 0) done = AndLeaseNext(request, std::move(done));
  // Before anybody waits for the lock; in vain where the call is refused.
  // Before the lock is taken: what takes long, and what may wait for a disk.
  std::vector<std::string> fingerprints;
  std::vector<absl::Status> artifacts;
  fingerprints.reserve(request.results_size());
  artifacts.reserve(request.results_size());
  for (const v1::TaskResult& result : request.results()) {
    fingerprints.push_back(ResultFingerprint(result));
    artifacts.push_back(result.has_export_result() ? CheckArtifact(result.export_result())
                                                   : absl::OkStatus());
  }
  Answer<v1::CompleteTasksResponse>(
      request.ByteSizeLong(), std::move(done), [&]() -> absl::StatusOr<v1::CompleteTasksResponse> {
        mu_.AssertHeld();
        FORALL_RETURN_IF_ERROR(leases_->CheckInstance(*worker, request.instance()));
        v1::CompleteTasksResponse response;
        for (int i = 0; i < request.results_size(); ++i) {
          const v1::TaskResult& result = request.results(i);
          const absl::Status status =
              CompleteLocked(*worker, result, fingerprints[i], artifacts[i]);
          v1::TaskCompletion* completion = response.add_completions();
          completion->set_task(result.task());
          completion->set_code(static_cast<int32_t>(status.code()));
          completion->set_message(std::string(status.message()));
        }
        return response;
      });
}

Done<v1::CompleteTasksResponse> Controller::AndLeaseNext(const v1::CompleteTasksRequest& request,
                                                         Done<v1::CompleteTasksResponse> done) {
  v1::LeaseTasksRequest next;
  next.set_worker(request.worker());
  next.set_instance(request.instance());
  next.set_max_tasks(request.max_next_tasks());
  return [this, next, done = std::move(done)](absl::StatusOr<v1::CompleteTasksResponse> answer) {
    if (answer.ok()) {
      LeaseTasks(next, [&answer](absl::StatusOr<v1::LeaseTasksResponse> leased) {
        if (leased.ok()) *answer->mutable_next() = *std::move(leased);
      });
    }
    done(std::move(answer));
  };
}

void Controller::ReleaseTask(const v1::ReleaseTaskRequest& request,
                             Done<v1::ReleaseTaskResponse> done) {
  const absl::StatusOr<std::string> worker = WorkerId(request.worker());
  if (!worker.ok()) return done(worker.status());
  const absl::StatusOr<int64_t> task = ParseTaskName(request.task());
  if (!task.ok()) return done(task.status());
  absl::Status released = absl::UnavailableError("the controller is stopping");
  Outbox outbox;
  {
    MutexLock lock(&mu_);
    // Leases live in memory alone: this answer waits for no commit.
    if (!stopping_) {
      released = leases_->CheckInstance(*worker, request.instance());
      if (released.ok()) released = leases_->Release(*task, request.lease_token(), *worker);
    }
    KickLocked(&outbox);
  }
  Run(&outbox);
  if (!released.ok()) return done(released);
  done(v1::ReleaseTaskResponse());
}

v1::Worker Controller::WorkerViewLocked(const std::string& worker) {
  v1::Worker view = workers_[worker].resource;
  const std::optional<WorkerStatus> status = leases_->FindWorker(worker);
  if (!status.has_value()) return view;
  view.set_state(static_cast<v1::Worker::State>(status->state));
  view.set_reason(status->reason);
  *view.mutable_last_heartbeat_time() = ToTimestamp(status->last_seen);
  view.set_leased_tasks(status->leases);
  view.set_completed_tasks(status->completed);
  view.set_failed_tasks(status->failed);
  return view;
}

void Controller::ListWorkers(const v1::ListWorkersRequest& request,
                             Done<v1::ListWorkersResponse> done) {
  Read<v1::ListWorkersResponse>(
      request.ByteSizeLong(), std::move(done),
      [this, request]() -> absl::StatusOr<v1::ListWorkersResponse> {
        mu_.AssertHeld();
        FORALL_ASSIGN_OR_RETURN(const int32_t size, CheckPageSize(request.page_size(), 100));
        FORALL_ASSIGN_OR_RETURN(const std::string after,
                                page_tokens_->Read({"workers"}, request.page_token()));
        v1::ListWorkersResponse response;
        std::string last;
        // A page stays below what clients accept, however much workers say of themselves.
        size_t bytes = 0;
        for (auto it = workers_.upper_bound(after); it != workers_.end(); ++it) {
          if (response.workers_size() == size || bytes > kPageBytes) {
            response.set_next_page_token(page_tokens_->Make({"workers"}, last));
            break;
          }
          last = it->first;
          *response.add_workers() = WorkerViewLocked(last);
          bytes += response.workers(response.workers_size() - 1).ByteSizeLong();
        }
        return response;
      });
}

void Controller::InspectWorker(const v1::InspectWorkerRequest& request,
                               Done<v1::WorkerInspection> done) {
  Read<v1::WorkerInspection>(
      request.ByteSizeLong(), std::move(done),
      [this, request]() -> absl::StatusOr<v1::WorkerInspection> {
        mu_.AssertHeld();
        FORALL_ASSIGN_OR_RETURN(const std::string worker, ParseWorkerName(request.name()));
        if (request.latencies() < 0 || request.latencies() > kMaxLatencies) {
          return Invalid("latencies", "from 1 to ", kMaxLatencies, ", or 0 for ", kDefaultLatencies,
                         ", got ", request.latencies());
        }
        const auto known = workers_.find(worker);
        if (known == workers_.end()) {
          return absl::NotFoundError(absl::StrCat("there is no ", WorkerName(worker)));
        }
        return InspectionOf(*registry_, WorkerViewLocked(worker), known->second.news,
                            request.latencies() == 0 ? kDefaultLatencies : request.latencies());
      });
}

void Controller::DrainWorker(const v1::DrainWorkerRequest& request, Done<v1::Worker> done) {
  Read<v1::Worker>(
      request.ByteSizeLong(), std::move(done), [this, request]() -> absl::StatusOr<v1::Worker> {
        mu_.AssertHeld();
        FORALL_ASSIGN_OR_RETURN(const std::string worker, ParseWorkerName(request.name()));
        if (!request.instance().empty()) {
          FORALL_RETURN_IF_ERROR(leases_->CheckInstance(worker, request.instance()));
        }
        FORALL_RETURN_IF_ERROR(leases_->DrainWorker(worker));
        FORALL_LOG(INFO) << "worker drains worker=" << worker;
        return WorkerViewLocked(worker);
      });
}

void Controller::GetServerStatus(const v1::GetServerStatusRequest& /*request*/,
                                 Done<v1::GetServerStatusResponse> done) {
  v1::GetServerStatusResponse response;
  const auto set = [&](const char* name, const auto& value) {
    (*response.mutable_values())[name] = absl::StrCat(value);
  };
  {
    // Counts, which need not be durable: answered whatever becomes of the store.
    MutexLock lock(&mu_);
    set("epoch", epoch_);
    set("heartbeat_interval", absl::FormatDuration(options_.heartbeat_interval));
    set("jobs", registry_->jobs.size());
    set("tasks_waiting", leases_->waiting_tasks());
    set("tasks_leased", leases_->leased_tasks());
    set("polls_parked", leases_->parked_polls());
    set("workers", workers_.size());
    set("workers_active", leases_->ActiveWorkers());
    set("measurements", registry_->index.size());
    set("commits", metrics_.commits.load());
    set("commits_failed", metrics_.failed_commits.load());
    set("commit_running_seconds", CommitRunningSecondsLocked());
    set("read_only", read_only_.has_value() ? "true" : "false");
    if (read_only_.has_value()) {
      set("read_only_reason", read_only_->why.message());
      set("read_only_since",
          absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", read_only_->since, absl::UTCTimeZone()));
      set("read_only_attempts", read_only_->attempts);
    }
  }
  done(std::move(response));
}

}  // namespace forall
