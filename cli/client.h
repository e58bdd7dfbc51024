// SPDX-License-Identifier: Apache-2.0
// A connection to a controller: stubs, deadlines, and gRPC's errors as absl::Status.
#ifndef FORALL_CLI_CLIENT_H_
#define FORALL_CLI_CLIENT_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "grpcpp/grpcpp.h"
#include "proto/forall/v1/artifact_service.grpc.pb.h"
#include "proto/forall/v1/fleet_service.grpc.pb.h"
#include "proto/forall/v1/search_service.grpc.pb.h"

namespace forall {

inline constexpr char kDefaultController[] = "127.0.0.1:7411";

// Where a controller is, and what it is shown.
struct ControllerEndpoint {
  std::string address = kDefaultController;
  // Of net/controller_access.h.
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
};

// Thread-safe. Unary calls have a deadline of `timeout` and are repeated until then while the
// controller cannot be reached or is unavailable: they change nothing, or are idempotent. After
// that, Unavailable says which address was tried.
class Client {
 public:
  explicit Client(const ControllerEndpoint& controller, absl::Duration timeout = absl::Seconds(20));

  const std::string& address() const { return address_; }
  v1::SearchService::Stub* search() { return search_.get(); }
  v1::FleetService::Stub* fleet() { return fleet_.get(); }
  v1::ArtifactService::Stub* artifacts() { return artifacts_.get(); }

  // Call(client.search(), &v1::SearchService::Stub::GetSearchJob, request).
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub* stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request) {
    TellIfWaiting();
    const absl::Time deadline = Clock::Real()->Now() + timeout_;
    while (true) {
      grpc::ClientContext context;
      context.set_wait_for_ready(true);
      context.set_deadline(absl::ToChronoTime(deadline));
      Response response;
      const grpc::Status status = (stub->*method)(&context, request, &response);
      if (status.ok()) return response;
      if (status.error_code() != grpc::StatusCode::UNAVAILABLE ||
          Clock::Real()->Now() + kRetryPause > deadline) {
        return ToStatus(status);
      }
      Clock::Real()->SleepFor(kRetryPause);
    }
  }

  // NotFound. By its whole name.
  absl::StatusOr<v1::SearchJob> GetJob(const std::string& name);
  // Every job, following the pages.
  absl::StatusOr<std::vector<v1::SearchJob>> ListJobs();
  absl::StatusOr<std::vector<v1::Trial>> ListTrials(const std::string& job);
  // The same, one after the other.
  absl::Status ForEachTrial(const std::string& job,
                            const std::function<void(v1::Trial&& trial)>& take);
  absl::StatusOr<std::vector<v1::Worker>> ListWorkers();

  // Calls `update` for every update of the job until it ends; reconnects and resumes when the
  // connection breaks. Asks `stop` several times a second, from a thread of its own, and returns
  // Cancelled soon after it says true. Unavailable when no controller answers: within `timeout` at
  // first, within two minutes after a connection was lost.
  absl::Status WatchJob(const std::string& name,
                        const std::function<void(const v1::SearchJobUpdate&)>& update,
                        const std::function<bool()>& stop = nullptr);

  // Downloads an artifact and checks its SHA-256 (DataLoss when it differs).
  absl::StatusOr<std::string> FetchArtifact(const std::string& sha256);
  // The same into a file, which is written atomically.
  absl::Status DownloadArtifact(const std::string& sha256, const std::string& path);
  // Uploads a file; returns its SHA-256.
  absl::StatusOr<std::string> UploadArtifact(const std::string& path);
  // The report page of a job.
  absl::StatusOr<std::string> GetReport(const std::string& job);

  absl::Status ToStatus(const grpc::Status& status) const;

 private:
  static constexpr absl::Duration kRetryPause = absl::Milliseconds(300);

  // Says on stderr, once, that nobody answers yet, when that is so after a second.
  void TellIfWaiting();

  std::string address_;
  absl::Duration timeout_;
  std::shared_ptr<grpc::Channel> channel_;
  std::atomic<bool> told_waiting_{false};
  std::unique_ptr<v1::SearchService::Stub> search_;
  std::unique_ptr<v1::FleetService::Stub> fleet_;
  std::unique_ptr<v1::ArtifactService::Stub> artifacts_;
};

// True for SUCCEEDED, CANCELLED and FAILED.
bool HasEnded(v1::SearchJob::State state);

}  // namespace forall

#endif  // FORALL_CLI_CLIENT_H_
