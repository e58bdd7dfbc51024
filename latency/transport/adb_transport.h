// SPDX-License-Identifier: Apache-2.0
// An Android device reached by the adb client, over USB or the network.
#ifndef FORALL_LATENCY_TRANSPORT_ADB_TRANSPORT_H_
#define FORALL_LATENCY_TRANSPORT_ADB_TRANSPORT_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "latency/transport/client_folder.h"
#include "latency/transport/shell_transport.h"

namespace forall {

// Thread-safe. Also for devices before Android 7, whose shell gives no exit codes and one stream
// for both: that is then all standard output.
class AdbTransport : public ShellTransport {
 public:
  struct Options {
    // /data/local/tmp is where the shell's user may write and execute.
    ShellOptions shell = {.directory = "/data/local/tmp"};
    // As `adb devices` lists it.
    std::string serial = {};
    // 0: adb's own server, which it starts when there is none.
    int server_port = 0;
    std::string program = "adb";
  };
  // InvalidArgument for options that cannot be meant. Connects to nothing yet.
  static absl::StatusOr<std::unique_ptr<Transport>> Create(const Options& options);

  // The thermal service, else the kernel's thermal zones; the battery.
  absl::StatusOr<SensorReadings> ReadSensors() override;
  TransportDescription Describe() const override {
    return {.kind = "adb", .target = options_.serial};
  }

 protected:
  absl::StatusOr<ProgramOutput> RunClient(const Script& script) override;
  absl::Status ClientError(const ProgramOutput& output) override;
  absl::Status Upload(absl::string_view bytes, const std::string& path) override;
  absl::StatusOr<std::string> Download(const std::string& path, int64_t max_bytes) override;

 private:
  AdbTransport(Options options, std::unique_ptr<ClientFolder> folder);
  absl::StatusOr<ProgramOutput> Adb(const std::vector<std::string>& arguments,
                                    const Script& limits) const;
  absl::Status TransferError(const ProgramOutput& output, const std::string& path) const;

  const Options options_;
  const std::unique_ptr<ClientFolder> folder_;
};

}  // namespace forall

#endif  // FORALL_LATENCY_TRANSPORT_ADB_TRANSPORT_H_
