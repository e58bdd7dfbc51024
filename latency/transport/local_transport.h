// SPDX-License-Identifier: Apache-2.0
// The device is this machine.
#ifndef FORALL_LATENCY_TRANSPORT_LOCAL_TRANSPORT_H_
#define FORALL_LATENCY_TRANSPORT_LOCAL_TRANSPORT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "latency/transport/transport.h"

namespace forall {

// Thread-safe.
class LocalTransport : public Transport {
 public:
  struct Options {
    // Files go into the folder "forall" below; it is created.
    std::string directory = {};
    // Files there that were not used for longest go once all of them exceed it; 0: no limit.
    int64_t cache_bytes = int64_t{4} << 30;
    // In place of /sys, for tests.
    std::string sysfs = "/sys";
  };
  // InvalidArgument without a directory; the errors of creating it.
  static absl::StatusOr<std::unique_ptr<Transport>> Create(const Options& options);

  absl::StatusOr<ProgramOutput> Run(const TransportRun& run) override;
  absl::StatusOr<std::string> Push(absl::string_view bytes, absl::string_view extension) override;
  absl::StatusOr<std::string> Fetch(const std::string& path, int64_t max_bytes) override;
  absl::StatusOr<std::string> ReadText(const std::string& path) override;
  absl::StatusOr<SensorReadings> ReadSensors() override;
  const std::string& directory() const override { return directory_; }
  TransportDescription Describe() const override { return {.kind = "local"}; }

 private:
  LocalTransport(Options options, std::string directory)
      : options_(std::move(options)), directory_(std::move(directory)) {}
  void Prune(const std::string& kept);

  const Options options_;
  const std::string directory_;
};

}  // namespace forall

#endif  // FORALL_LATENCY_TRANSPORT_LOCAL_TRANSPORT_H_
