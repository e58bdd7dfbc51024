// SPDX-License-Identifier: Apache-2.0
#include "cli/client.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mutex.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "base/thread.h"
#include "cli/command.h"
#include "net/artifact_chunk.h"
#include "net/host_port.h"

namespace forall {
namespace {

constexpr int kPageSize = 1000;

std::shared_ptr<grpc::Channel> OpenChannel(const ControllerEndpoint& controller) {
  grpc::ChannelArguments arguments;
  // A page of trials with their measurements can be large.
  arguments.SetMaxReceiveMessageSize(256 << 20);
  // A controller that restarts is back within a second or two.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  // A controller whose machine has gone does not close its connections.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  // A proxy for the web is none for this machine itself.
  if (IsLoopback(controller.address).value_or(false)) {
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  }
  return grpc::CreateCustomChannel(controller.address, controller.credentials, arguments);
}

}  // namespace

bool HasEnded(v1::SearchJob::State state) {
  return state == v1::SearchJob::SUCCEEDED || state == v1::SearchJob::CANCELLED ||
         state == v1::SearchJob::FAILED;
}

Client::Client(const ControllerEndpoint& controller, absl::Duration timeout)
    : address_(controller.address),
      timeout_(timeout),
      channel_(OpenChannel(controller)),
      search_(v1::SearchService::NewStub(channel_)),
      fleet_(v1::FleetService::NewStub(channel_)),
      artifacts_(v1::ArtifactService::NewStub(channel_)) {}

void Client::TellIfWaiting() {
  if (told_waiting_) return;
  const auto soon = absl::ToChronoTime(Clock::Real()->Now() + absl::Seconds(1));
  if (channel_->WaitForConnected(soon) || told_waiting_.exchange(true)) return;
  // In the place of a line of progress that may stand there.
  if (isatty(STDERR_FILENO) == 1) std::cerr << "\r\033[K";
  std::cerr << "waiting up to " << absl::FormatDuration(timeout_) << " for a controller at "
            << address_ << "\n";
}

absl::Status Client::ToStatus(const grpc::Status& status) const {
  if (status.ok()) return absl::OkStatus();
  const grpc_connectivity_state state = channel_->GetState(false);
  const bool connected = state == GRPC_CHANNEL_READY || state == GRPC_CHANNEL_IDLE;
  const bool unreachable = status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                           status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED;
  if (unreachable && !connected) {
    return absl::UnavailableError(
        absl::StrCat("no controller answers at ", address_, " (", status.error_message(), ")"));
  }
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    return absl::AbortedError(absl::StrCat("the controller at ", address_,
                                           " cannot serve this now: ", status.error_message(),
                                           "; see its log, then try again"));
  }
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

absl::StatusOr<std::vector<v1::SearchJob>> Client::ListJobs() {
  std::vector<v1::SearchJob> jobs;
  v1::ListSearchJobsRequest request;
  request.set_page_size(kPageSize);
  do {
    FORALL_ASSIGN_OR_RETURN(v1::ListSearchJobsResponse page,
                            Call(search(), &v1::SearchService::Stub::ListSearchJobs, request));
    for (v1::SearchJob& job : *page.mutable_search_jobs()) jobs.push_back(std::move(job));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return jobs;
}

absl::StatusOr<std::vector<v1::Trial>> Client::ListTrials(const std::string& job) {
  std::vector<v1::Trial> trials;
  FORALL_RETURN_IF_ERROR(
      ForEachTrial(job, [&](v1::Trial&& trial) { trials.push_back(std::move(trial)); }));
  return trials;
}

absl::StatusOr<v1::SearchJob> Client::GetJob(const std::string& name) {
  v1::GetSearchJobRequest request;
  request.set_name(name);
  return Call(search(), &v1::SearchService::Stub::GetSearchJob, request);
}

absl::Status Client::ForEachTrial(const std::string& job,
                                  const std::function<void(v1::Trial&& trial)>& take) {
  v1::ListTrialsRequest request;
  request.set_parent(job);
  request.set_page_size(kPageSize);
  do {
    FORALL_ASSIGN_OR_RETURN(v1::ListTrialsResponse page,
                            Call(search(), &v1::SearchService::Stub::ListTrials, request));
    for (v1::Trial& trial : *page.mutable_trials()) take(std::move(trial));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return absl::OkStatus();
}

absl::StatusOr<std::vector<v1::Worker>> Client::ListWorkers() {
  std::vector<v1::Worker> workers;
  v1::ListWorkersRequest request;
  request.set_page_size(kPageSize);
  do {
    FORALL_ASSIGN_OR_RETURN(v1::ListWorkersResponse page,
                            Call(fleet(), &v1::FleetService::Stub::ListWorkers, request));
    for (v1::Worker& worker : *page.mutable_workers()) workers.push_back(std::move(worker));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return workers;
}

namespace {

// Cancels the call that is under way once `stop` says so. Its thread ends with it.
class StopWatch {
 public:
  explicit StopWatch(std::function<bool()> stop) : stop_(std::move(stop)) {
    if (stop_ != nullptr) thread_ = Thread("stop", [this] { Loop(); });
  }
  ~StopWatch() {
    {
      MutexLock lock(&mu_);
      over_ = true;
      changed_.SignalAll();
    }
    thread_.Join();
  }

  // The call to cancel, or nullptr. False when it was stopped already.
  bool Guard(grpc::ClientContext* context) {
    MutexLock lock(&mu_);
    context_ = context;
    return !stopped_;
  }
  bool stopped() const {
    MutexLock lock(&mu_);
    return stopped_;
  }

 private:
  void Loop() {
    MutexLock lock(&mu_);
    while (!over_ && !stopped_) {
      if (stop_()) {
        stopped_ = true;
        if (context_ != nullptr) context_->TryCancel();
      } else {
        changed_.WaitWithTimeout(&mu_, absl::Milliseconds(200));
      }
    }
  }

  const std::function<bool()> stop_;
  mutable Mutex mu_;
  CondVar changed_;
  bool over_ ABSL_GUARDED_BY(mu_) = false;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mu_) = nullptr;
  Thread thread_;
};

}  // namespace

absl::Status Client::WatchJob(const std::string& name,
                              const std::function<void(const v1::SearchJobUpdate&)>& update,
                              const std::function<bool()>& stop) {
  constexpr absl::Duration kPatience = absl::Minutes(2);
  v1::WatchSearchJobRequest request;
  request.set_name(name);
  StopWatch stop_watch(stop);
  TellIfWaiting();
  absl::Time give_up = Clock::Real()->Now() + timeout_;
  while (true) {
    grpc::Status status(grpc::StatusCode::UNAVAILABLE, "the connection cannot be made");
    if (channel_->WaitForConnected(absl::ToChronoTime(Clock::Real()->Now() + absl::Seconds(1)))) {
      grpc::ClientContext context;
      if (!stop_watch.Guard(&context)) return absl::CancelledError("stopped watching");
      const auto stream = search_->WatchSearchJob(&context, request);
      v1::SearchJobUpdate message;
      bool ended = false;
      while (!ended && stream->Read(&message)) {
        give_up = Clock::Real()->Now() + kPatience;
        request.set_after_event_sequence(message.search_job().event_sequence());
        update(message);
        ended = HasEnded(message.search_job().state());
      }
      if (ended) context.TryCancel();
      status = stream->Finish();
      stop_watch.Guard(nullptr);
      if (ended) return absl::OkStatus();
    }
    if (stop_watch.stopped()) return absl::CancelledError("stopped watching");
    const bool broken = status.ok() || status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                        status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED ||
                        status.error_code() == grpc::StatusCode::CANCELLED;
    if (!broken || Clock::Real()->Now() > give_up) return ToStatus(status);
    Clock::Real()->SleepFor(kRetryPause);
  }
}

absl::Status Client::DownloadArtifact(const std::string& sha256, const std::string& path) {
  FORALL_ASSIGN_OR_RETURN(const std::string content, FetchArtifact(sha256));
  return LocalFile(WriteFileAtomically(path, content));
}

absl::StatusOr<std::string> Client::FetchArtifact(const std::string& sha256) {
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(absl::ToChronoTime(Clock::Real()->Now() + absl::Minutes(10)));
  v1::DownloadArtifactRequest request;
  request.set_sha256(sha256);
  const auto stream = artifacts_->DownloadArtifact(&context, request);
  std::string content;
  v1::DownloadArtifactResponse chunk;
  while (stream->Read(&chunk)) content += chunk.content();
  FORALL_RETURN_IF_ERROR(ToStatus(stream->Finish()));
  if (Sha256Hex(content) != sha256) {
    return absl::DataLossError(absl::StrCat("the artifact that arrived is not ", sha256,
                                            "; try again, and check the controller's disk"));
  }
  return content;
}

absl::StatusOr<std::string> Client::UploadArtifact(const std::string& path) {
  absl::StatusOr<std::string> read = ReadFile(path);
  if (!read.ok()) return LocalFile(read.status());
  const std::string content = *std::move(read);
  const std::string sha256 = Sha256Hex(content);
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(absl::ToChronoTime(Clock::Real()->Now() + absl::Minutes(10)));
  v1::Artifact artifact;
  const auto stream = artifacts_->UploadArtifact(&context, &artifact);
  v1::UploadArtifactRequest request;
  request.set_sha256(sha256);
  request.set_size_bytes(static_cast<int64_t>(content.size()));
  for (size_t offset = 0; offset == 0 || offset < content.size(); offset += kArtifactChunkBytes) {
    request.set_content(content.substr(offset, kArtifactChunkBytes));
    if (!stream->Write(request)) break;  // The server has its answer already; Finish tells it.
    request.Clear();
  }
  stream->WritesDone();
  FORALL_RETURN_IF_ERROR(ToStatus(stream->Finish()));
  return sha256;
}

absl::StatusOr<std::string> Client::GetReport(const std::string& job) {
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(absl::ToChronoTime(Clock::Real()->Now() + absl::Minutes(1)));
  v1::GetReportRequest request;
  request.set_name(job);
  const auto stream = search_->GetReport(&context, request);
  std::string page;
  v1::ReportChunk chunk;
  while (stream->Read(&chunk)) page += chunk.content();
  FORALL_RETURN_IF_ERROR(ToStatus(stream->Finish()));
  return page;
}

}  // namespace forall
