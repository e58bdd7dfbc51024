// SPDX-License-Identifier: Apache-2.0
// The part of Worker that keeps it known to the controller.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "evaluator/worker/worker.h"

namespace forall {
namespace {

absl::Duration FromMessage(const google::protobuf::Duration& message) {
  return absl::Seconds(message.seconds()) + absl::Nanoseconds(message.nanos());
}

// Between a heartbeat storm and a lease that always runs out.
absl::Duration SaneInterval(absl::Duration interval) {
  return std::clamp(interval, absl::Milliseconds(1), absl::Minutes(1));
}

// Refusals that the same request will meet again.
bool IsFinal(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return true;
    default:
      return false;
  }
}

// Refusals that may end by themselves.
bool IsForNow(const absl::Status& status) {
  return absl::IsAlreadyExists(status) || absl::IsFailedPrecondition(status);
}

// Whether the controller speaks what this worker does. One that names no versions does: it is older
// than the question.
absl::Status CheckVersions(const v1::RegisterWorkerResponse& response) {
  const int least = response.min_protocol_version();
  const int most = response.max_protocol_version();
  if (least == 0 && most == 0) return absl::OkStatus();
  if (least <= kProtocolVersion && kProtocolVersion <= most) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "it speaks protocol versions ", least, " to ", most, ", this worker version ",
      kProtocolVersion, ": upgrade the ", kProtocolVersion < least ? "worker" : "controller"));
}

}  // namespace

void Worker::HeartbeatLoop() {
  Backoff backoff(options_.backoff);
  // What is in the way is seldom gone in a second, and each try is a line in the audit log.
  Backoff::Options seldom = options_.backoff;
  seldom.longest *= 5;
  Backoff refused(seldom);
  while (true) {
    bool register_first = false;
    {
      MutexLock lock(&mu_);
      if (finished_) return;
      register_first = unregistered_;
    }
    absl::Status status = register_first ? Register() : absl::OkStatus();
    if (IsFinal(status)) {
      MutexLock lock(&mu_);
      refusal_ = status;
      NoteChange();
      return;
    }
    // At once after a registration: it lists the leases that this worker goes on holding.
    if (status.ok()) status = Heartbeat();
    if (absl::IsFailedPrecondition(status) && !register_first) NoteTakeover(status);
    NoteConnection(status);

    MutexLock lock(&mu_);
    absl::Duration delay = heartbeat_interval_;
    if (status.ok()) {
      backoff.Reset();
      refused.Reset();
    } else if (absl::IsNotFound(status) && !unregistered_) {
      // A controller that started anew: it is waiting for a registration.
      unregistered_ = true;
      continue;
    } else if (IsForNow(status)) {
      delay = refused.Next();
    } else {
      delay = std::min(delay, backoff.Next());
    }
    const int64_t until = options_.clock->SteadyNanos() + absl::ToInt64Nanoseconds(delay);
    // Other changes wake this thread too; only these two are its business.
    while (!finished_ && !(unregistered_ && status.ok())) {
      const absl::Duration left = absl::Nanoseconds(until - options_.clock->SteadyNanos());
      if (left <= absl::ZeroDuration()) break;
      changed_.WaitWithTimeout(&mu_, left);
    }
  }
}

absl::Status Worker::Register() {
  const absl::StatusOr<v1::RegisterWorkerResponse> response =
      options_.fleet->Register(options_.registration);
  if (!response.ok()) return response.status();
  FORALL_RETURN_IF_ERROR(CheckVersions(*response));
  next_reading_ns_ = 0;  // this controller may have none
  MutexLock lock(&mu_);
  name_ = response->worker().name();
  if (response->has_heartbeat_interval()) {
    heartbeat_interval_ = SaneInterval(FromMessage(response->heartbeat_interval()));
  }
  FORALL_LOG(INFO) << "registered worker=" << name_
                   << " device=" << options_.registration.device().name()
                   << " controller=" << options_.controller << " epoch=" << response->epoch()
                   << " heartbeat_interval=" << absl::FormatDuration(heartbeat_interval_);
  return absl::OkStatus();
}

absl::Status Worker::Heartbeat() {
  v1::HeartbeatRequest request;
  {
    MutexLock lock(&mu_);
    request.set_worker(name_);
  }
  request.set_instance(options_.registration.instance());
  for (v1::HeldLease& lease : leases_.List()) *request.add_leases() = std::move(lease);
  AddReadings(&request);
  const absl::StatusOr<v1::HeartbeatResponse> response = options_.fleet->Heartbeat(request);
  if (!response.ok()) return response.status();
  for (const std::string& token : response->lost_tokens()) {
    if (leases_.MarkLost(token)) {
      FORALL_LOG(INFO) << "lease is no longer ours lease=" << token;
    }
  }
  if (response->drain()) Drain();
  MutexLock lock(&mu_);
  if (response->has_next_heartbeat()) {
    heartbeat_interval_ = SaneInterval(FromMessage(response->next_heartbeat()));
  }
  if (unregistered_) {
    unregistered_ = false;
    ++generation_;
  }
  NoteChange();
  return absl::OkStatus();
}

void Worker::AddReadings(v1::HeartbeatRequest* request) {
  const int64_t now = options_.clock->SteadyNanos();
  if (!options_.read_machine || now < next_reading_ns_) return;
  // A task that is held is about to be timed, if it is not yet.
  if (leases_.HoldsAny(v1::Task::LATENCY)) return;
  for (const auto& [name, value] : options_.read_machine()) {
    (*request->mutable_readings())[name] = value;
  }
  next_reading_ns_ = now + absl::ToInt64Nanoseconds(options_.reading_period);
}

void Worker::NoteTakeover(const absl::Status& status) {
  FORALL_LOG(ERROR) << "this process is not the worker any more, and drops what it was doing: "
                    << status.message();
  leases_.MarkAllLost();
  MutexLock lock(&mu_);
  unregistered_ = true;
  NoteChange();
}

void Worker::NoteConnection(const absl::Status& status) {
  const Connection now = status.ok() || absl::IsNotFound(status) ? Connection::kFine
                         : IsFinal(status) || IsForNow(status)   ? Connection::kRefused
                                                                 : Connection::kUnreachable;
  bool was_refused = false;
  {
    MutexLock lock(&mu_);
    if (now == connection_) return;
    was_refused = connection_ == Connection::kRefused;
    connection_ = now;
  }
  if (now == Connection::kFine) {
    FORALL_LOG(INFO) << (was_refused ? "the controller takes this worker now controller="
                                     : "controller is back controller=")
                     << options_.controller;
  } else if (now == Connection::kRefused) {
    FORALL_LOG(ERROR) << "the controller at " << options_.controller
                      << " refuses this worker: " << status.message()
                      << (IsForNow(status) ? ". Trying again until it does not." : "");
  } else {
    FORALL_LOG(WARNING) << "cannot reach the controller at " << options_.controller << ": "
                        << status.message()
                        << (absl::IsResourceExhausted(status)
                                ? ". Trying again until it can."
                                : "; is forall-controller running there? Trying again until it "
                                  "answers.");
  }
}

void Worker::AwaitRegistration(int64_t generation, const StopSignal& stop) {
  {
    MutexLock lock(&mu_);
    if (generation_ == generation) {
      unregistered_ = true;
      NoteChange();
    }
  }
  const auto over = [&] { return this->generation() != generation || stop.stopped(); };
  // `stop` may depend on the time, of which nobody tells.
  while (!over()) WaitUnless(over, options_.backoff.longest);
}

bool Worker::registered() const {
  MutexLock lock(&mu_);
  return !unregistered_;
}

int64_t Worker::generation() const {
  MutexLock lock(&mu_);
  return generation_;
}

}  // namespace forall
