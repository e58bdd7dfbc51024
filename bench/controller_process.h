// SPDX-License-Identifier: Apache-2.0
// A real forall-controller as a process of its own, with a store on disk, for benchmarks: its
// threads, memory and processor time are its alone.
#ifndef FORALL_BENCH_CONTROLLER_PROCESS_H_
#define FORALL_BENCH_CONTROLLER_PROCESS_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/child_process.h"
#include "net/controller_access.h"

namespace forall {

// Thread-compatible. Its folder goes with it.
class ControllerProcess {
 public:
  // The one beside this program. FailedPrecondition: there is none. Unavailable with its last words
  // when it does not serve.
  static absl::StatusOr<std::unique_ptr<ControllerProcess>> Start(const std::string& supernet,
                                                                  bool mtls);
  ~ControllerProcess();

  std::string db() const { return folder_ + "/forall.db"; }
  std::string address() const;
  // As somebody who may do everything.
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> WorkerCredentials() const;

  // By name, with labels.
  absl::StatusOr<std::map<std::string, double>> Metrics() const;

  struct Usage {
    int threads = 0;
    int descriptors = 0;
    double rss_mib = 0;
    double cpu_seconds = 0;
  };
  absl::StatusOr<Usage> ReadUsage() const;

  // Stores what every export of a simulated fleet then yields.
  absl::Status UploadArtifact(const std::string& bytes) const;

 private:
  explicit ControllerProcess(std::string folder);
  std::string Proc(const char* file) const;
  // A certificate for the controller, one for all workers, and a token for whoever submits.
  absl::Status MakeIdentities(const std::string& program);
  absl::Status WaitForPorts();

  const std::string folder_;
  ControllerAccess user_;
  ControllerAccess worker_;
  std::unique_ptr<ChildProcess> process_;
  std::shared_ptr<grpc::Channel> channel_;
  int port_ = 0;
  int metrics_port_ = 0;
};

// DeadlineExceeded naming `what` when `reached` stays false.
absl::Status Patience(absl::Duration patience, const std::string& what,
                      const std::function<absl::StatusOr<bool>()>& reached);

// One unary call.
template <typename Stub, typename Request, typename Response>
absl::Status Call(Stub* stub,
                  grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                  const Request& request, Response* response) {
  grpc::ClientContext context;
  const grpc::Status status = (stub->*method)(&context, request, response);
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace forall

#endif  // FORALL_BENCH_CONTROLLER_PROCESS_H_
