// SPDX-License-Identifier: Apache-2.0
#include "cli/client.h"

#include <algorithm>
#include <iostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr size_t kChunkBytes = 512 << 10;
constexpr int kPageSize = 1000;

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  // A page of trials with their measurements can be large.
  arguments.SetMaxReceiveMessageSize(256 << 20);
  // A controller that restarts is back within a second or two.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace

bool HasEnded(v1::SearchJob::State state) {
  return state == v1::SearchJob::SUCCEEDED || state == v1::SearchJob::CANCELLED ||
         state == v1::SearchJob::FAILED;
}

Client::Client(std::string address, absl::Duration timeout)
    : address_(std::move(address)),
      timeout_(timeout),
      channel_(OpenChannel(address_)),
      search_(v1::SearchService::NewStub(channel_)),
      fleet_(v1::FleetService::NewStub(channel_)),
      artifacts_(v1::ArtifactService::NewStub(channel_)) {}

void Client::TellIfWaiting() {
  if (told_waiting_) return;
  const auto soon = absl::ToChronoTime(Clock::Real()->Now() + absl::Seconds(1));
  if (channel_->WaitForConnected(soon) || told_waiting_.exchange(true)) return;
  std::cerr << "waiting up to " << absl::FormatDuration(timeout_) << " for a controller at "
            << address_ << "\n";
}

absl::Status Client::ToStatus(const grpc::Status& status) const {
  if (status.ok()) return absl::OkStatus();
  const grpc_connectivity_state state = channel_->GetState(false);
  const bool connected = state == GRPC_CHANNEL_READY || state == GRPC_CHANNEL_IDLE;
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE ||
      (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED && !connected)) {
    return absl::UnavailableError(
        absl::StrCat("no controller answers at ", address_, " (", status.error_message(), ")"));
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
  v1::ListTrialsRequest request;
  request.set_parent(job);
  request.set_page_size(kPageSize);
  do {
    FORALL_ASSIGN_OR_RETURN(v1::ListTrialsResponse page,
                            Call(search(), &v1::SearchService::Stub::ListTrials, request));
    for (v1::Trial& trial : *page.mutable_trials()) trials.push_back(std::move(trial));
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return trials;
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

absl::Status Client::WatchJob(const std::string& name,
                              const std::function<bool(const v1::SearchJobUpdate&)>& update) {
  v1::WatchSearchJobRequest request;
  request.set_name(name);
  absl::Time last_contact = Clock::Real()->Now();
  while (true) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    const auto stream = search_->WatchSearchJob(&context, request);
    v1::SearchJobUpdate message;
    bool ended = false;
    while (!ended && stream->Read(&message)) {
      last_contact = Clock::Real()->Now();
      request.set_after_event_sequence(message.search_job().event_sequence());
      ended = !update(message) || HasEnded(message.search_job().state());
    }
    if (ended) {
      context.TryCancel();
      return absl::OkStatus();
    }
    const grpc::Status status = stream->Finish();
    const bool broken = status.ok() || status.error_code() == grpc::StatusCode::UNAVAILABLE ||
                        status.error_code() == grpc::StatusCode::CANCELLED;
    if (!broken || Clock::Real()->Now() - last_contact > absl::Minutes(2)) return ToStatus(status);
    Clock::Real()->SleepFor(absl::Milliseconds(200));
  }
}

absl::Status Client::DownloadArtifact(const std::string& sha256, const std::string& path) {
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
  return WriteFileAtomically(path, content);
}

absl::StatusOr<std::string> Client::UploadArtifact(const std::string& path) {
  FORALL_ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  const std::string sha256 = Sha256Hex(content);
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(absl::ToChronoTime(Clock::Real()->Now() + absl::Minutes(10)));
  v1::Artifact artifact;
  const auto stream = artifacts_->UploadArtifact(&context, &artifact);
  v1::UploadArtifactRequest request;
  request.set_sha256(sha256);
  request.set_size_bytes(static_cast<int64_t>(content.size()));
  for (size_t offset = 0; offset == 0 || offset < content.size(); offset += kChunkBytes) {
    request.set_content(content.substr(offset, kChunkBytes));
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
