// SPDX-License-Identifier: Apache-2.0
#include "latency/child/child_link.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "base/json_depth.h"
#include "base/status_macros.h"
#include "latency/child/child_wire.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using Json = nlohmann::json;

constexpr absl::Duration kEndPatience = absl::Seconds(5);

constexpr char kCrash[] = "forall.dev/measuring-child-crash";

absl::Status Nonsense(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the measuring process said nonsense: ", what));
}

// Whether a backend or a session has such errors. The others mean something to those who hold the
// link: that they gave up themselves, or that the child did not answer in time.
bool IsOfASession(int64_t code) {
  switch (static_cast<absl::StatusCode>(code)) {
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnavailable:
      return true;
    default:
      return false;
  }
}

// DataLoss for nonsense, and for nothing else.
absl::StatusOr<std::string> Understand(const std::string& text, const std::string& key) {
  if (const absl::Status depth = CheckJsonDepth(text); !depth.ok()) {
    return Nonsense(depth.message());
  }
  try {
    const Json json = Json::parse(text);
    const auto event = json.at("event").get<std::string>();
    if (event == "result") return json.at(key).dump();
    if (event != "error") return std::string();
    const Json& code = json.at("code");
    if (!code.is_number_integer() || !IsOfASession(code.get<int64_t>())) {
      return Nonsense("no session fails like that");
    }
    return absl::Status(static_cast<absl::StatusCode>(code.get<int64_t>()),
                        json.at("message").get<std::string>());
  } catch (const Json::exception& e) {
    return Nonsense(e.what());
  }
}

}  // namespace

bool IsChildCrash(const absl::Status& status) { return status.GetPayload(kCrash).has_value(); }

void ChildLink::End() {
  // Closing is the child's sign to go; one that hangs is killed.
  if (socket_ >= 0) close(socket_);
  socket_ = -1;
  if (process_ == nullptr) return;
  if (!process_->Wait(absl::Milliseconds(50)).has_value()) process_->Stop(absl::ZeroDuration());
  process_.reset();
}

absl::Status ChildLink::Start(const std::function<bool()>& cancelled) {
  if (process_ != nullptr && process_->IsRunning()) return absl::OkStatus();
  End();
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return absl::UnavailableError(absl::StrCat("no socket: ", std::strerror(errno)));
  }
  socket_ = ends[0];
  ChildProcess::Options child;
  child.argv = options_.command;
  child.argv.push_back(ConfinementToText(options_.confinement));
  child.files = {{ends[1], kChildSocket}};
  child.memory_bytes = options_.memory_bytes;
  // It watches its socket instead: the signal would come with the end of this thread.
  child.death_signal = 0;
  absl::StatusOr<std::unique_ptr<ChildProcess>> process = ChildProcess::Start(child);
  close(ends[1]);
  if (!process.ok())
    return WithContext(process.status(), "the measuring process cannot be started");
  process_ = *std::move(process);
  absl::Status status = Send(options_.configuration, options_.reference_model);
  if (status.ok()) {
    const absl::StatusOr<std::string> ready =
        ReceiveText(options_.prepare_limit, cancelled, "the reference network was not loaded");
    const bool conversing = ready.ok();
    status = conversing ? Understand(*ready, "").status() : ready.status();
    if (conversing && !status.ok()) {
      End();  // It has no backend.
    }
  }
  if (status.ok() || absl::IsCancelled(status)) return status;
  std::string what = options_.reference_model.empty()
                         ? "no process of its own for a model"
                         : "the reference network cannot be timed in a process of its own";
  if (options_.memory_bytes > 0) {
    absl::StrAppend(&what, ", which may have ", options_.memory_bytes >> 20,
                    " MiB (memory_mib, --model-memory-limit)");
  }
  return absl::FailedPreconditionError(absl::StrCat(what, ": ", status.message()));
}

absl::Status ChildLink::Send(absl::string_view text, absl::string_view model) {
  absl::Status status = SendFrame(socket_, text);
  if (status.ok()) status = SendFrame(socket_, model);
  if (status.ok()) return status;
  if (!absl::IsDeadlineExceeded(status)) return CrashStatus();
  process_->Stop(absl::ZeroDuration());
  End();
  return absl::UnavailableError("the measuring process did not take its work");
}

absl::StatusOr<std::string> ChildLink::Receive(absl::Duration limit,
                                               const std::function<bool()>& cancelled,
                                               absl::string_view what, const std::string& key) {
  const absl::StatusOr<std::string> text = ReceiveText(limit, cancelled, what);
  if (absl::IsDeadlineExceeded(text.status())) {
    absl::Status overrun = absl::InvalidArgumentError(
        absl::StrCat("the model was stopped: ", text.status().message()));
    overrun.SetPayload(kCrash, absl::Cord());
    return overrun;
  }
  FORALL_RETURN_IF_ERROR(text.status());
  absl::StatusOr<std::string> value = Understand(*text, key);
  if (absl::IsDataLoss(value.status())) {
    process_->Stop(absl::ZeroDuration());
    End();
  }
  return value;
}

absl::StatusOr<std::string> ChildLink::ReceiveText(absl::Duration limit,
                                                   const std::function<bool()>& cancelled,
                                                   absl::string_view what) {
  absl::StatusOr<std::string> text = ReceiveFrame(socket_, limit, cancelled, kLargestAnswer);
  if (text.ok()) return text;
  if (absl::IsUnavailable(text.status())) return CrashStatus();
  process_->Stop(absl::ZeroDuration());
  End();
  if (!absl::IsDeadlineExceeded(text.status())) return text.status();
  return absl::DeadlineExceededError(absl::StrCat(what, " within ", absl::FormatDuration(limit)));
}

absl::Status ChildLink::CrashStatus() {
  const std::optional<ProgramEnd> end = process_->Wait(kEndPatience);
  End();
  const bool killed = end.has_value() && end->signal == SIGKILL;
  const bool asked = end.has_value() && (end->signal == SIGTERM || end->signal == SIGHUP ||
                                         end->signal == SIGINT || end->signal == SIGXCPU);
  if (asked) return absl::UnavailableError("the measuring process was stopped from outside");
  absl::Status status =
      killed ? absl::ResourceExhaustedError(
                   "the measuring process was killed from outside, most likely for want of memory")
             : absl::InvalidArgumentError(absl::StrCat(
                   "the model crashes the runtime: ",
                   end.has_value() ? end->ToString() : std::string("it closed its socket")));
  status.SetPayload(kCrash, absl::Cord());
  return status;
}

}  // namespace forall
