// SPDX-License-Identifier: Apache-2.0
// Many workers in one process: each with a connection of its own to a controller, polls, heartbeats
// and made-up results, on gRPC's few threads and one timer.
#ifndef FORALL_BENCH_SIMULATED_FLEET_H_
#define FORALL_BENCH_SIMULATED_FLEET_H_

#include <grpcpp/security/credentials.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/forall/v1/fleet_service.pb.h"

namespace forall {

// Thread-safe.
class SimulatedFleet {
 public:
  struct Options {
    std::string address;
    // Of every worker's connection.
    std::shared_ptr<grpc::ChannelCredentials> credentials;
    int first_worker = 0;  // They are bench-0 and so on from here.
    int workers = 1;
    // Worker i serves devices/bench-(i modulo devices).
    int devices = 1;
    int callers = 32;
    int results_per_call = 8;
    std::vector<v1::Task::Kind> kinds;  // that they take; all when there are none
    // What every export yields: an artifact that was uploaded before.
    std::string artifact_sha256;
    int64_t artifact_bytes = 0;
  };
  // All workers registered and polling. Unavailable when the controller does not answer.
  static absl::StatusOr<std::unique_ptr<SimulatedFleet>> Start(const Options& options);
  ~SimulatedFleet();

  // Workers keep what they lease until they are told how to work.
  void Hold();
  // Results at once, but no more than `callers` completion calls at a time.
  void WorkAtOnce();
  // Every worker takes `seconds` on average for what it leased at once, evenly between half and one
  // and a half of that.
  void WorkFor(double seconds);

  struct Counts {
    int64_t exports = 0;    // stored
    int64_t latencies = 0;  // stored
    int64_t refused = 0;    // answered with another code, result by result
    int64_t failed_calls = 0;
  };
  Counts counts() const;

  // Empty unary calls per second that `callers` of the connections carry.
  double MeasureEmptyCalls(double seconds);

 private:
  class Impl;
  explicit SimulatedFleet(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

  const std::shared_ptr<Impl> impl_;
};

}  // namespace forall

#endif  // FORALL_BENCH_SIMULATED_FLEET_H_
