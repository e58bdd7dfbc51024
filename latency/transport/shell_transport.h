// SPDX-License-Identifier: Apache-2.0
// What ssh and adb have in common: a client program that has a shell on the device run a script.
#ifndef FORALL_LATENCY_TRANSPORT_SHELL_TRANSPORT_H_
#define FORALL_LATENCY_TRANSPORT_SHELL_TRANSPORT_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "latency/transport/transport.h"

namespace forall {

// Thread-safe if the subclass is.
//
// Every script ends by printing its exit code behind a marker that is new each time: a program that
// exits with ssh's own 255 is told from a lost connection, and an adb daemon that knows no exit
// codes still gives them. Without the marker the connection was lost: tried again after 1, 2, 4,
// ... seconds by the clock, a program left over on the device being killed first. A program must
// therefore bear being run anew.
class ShellTransport : public Transport {
 public:
  struct ShellOptions {
    // On the device; files go into the folder "forall" below. Created when it is first needed.
    std::string directory = {};
    // As in LocalTransport.
    int64_t cache_bytes = int64_t{4} << 30;
    // Hexadecimal, as taskset takes it: the cores on which Run's programs run. "": any.
    std::string cpu_mask = {};
    int attempts = 4;
    Clock* clock = Clock::Real();
  };

  absl::StatusOr<ProgramOutput> Run(const TransportRun& run) override;
  absl::StatusOr<std::string> Push(absl::string_view bytes, absl::string_view extension) override;
  absl::StatusOr<std::string> Fetch(const std::string& path, int64_t max_bytes) override;
  absl::StatusOr<std::string> ReadText(const std::string& path) override;
  absl::StatusOr<SensorReadings> ReadSensors() override;
  const std::string& directory() const override { return directory_; }

 protected:
  struct Script {
    std::string text = {};
    std::string standard_input = {};
    absl::Duration timeout = absl::Minutes(10);
    std::function<bool()> cancelled = {};
    int64_t most_output_bytes = int64_t{16} << 20;
  };

  // InvalidArgument for a directory that is not absolute, a mask that is none.
  static absl::Status Check(const ShellOptions& options);
  explicit ShellTransport(const ShellOptions& options);

  // Runs the client program once, connecting first where that is needed. Its output as it is; the
  // errors of RunProgram, and of connecting.
  virtual absl::StatusOr<ProgramOutput> RunClient(const Script& script) = 0;
  // Why the client came back without the script's marker: Unavailable to have it tried again.
  virtual absl::Status ClientError(const ProgramOutput& output) = 0;
  // Brings bytes to a new file, or gets a file that exists. By the shell unless overridden.
  virtual absl::Status Upload(absl::string_view bytes, const std::string& path);
  virtual absl::StatusOr<std::string> Download(const std::string& path, int64_t max_bytes);

  // Calls `once` until it is not Unavailable or attempts are spent.
  absl::Status WithRetries(const std::function<absl::Status()>& once);
  // The script's output and exit code. Unavailable when the connection was lost; no retries.
  absl::StatusOr<ProgramOutput> RunScriptOnce(const Script& script);
  absl::StatusOr<ProgramOutput> RunScript(const Script& script);

 private:
  // The shell that wrote its process id there, and all it started.
  void Kill(const std::string& pid_file);
  absl::Status PushOnce(absl::string_view bytes, const std::string& hash, const std::string& path);

  const ShellOptions shell_options_;
  const std::string directory_;
};

}  // namespace forall

#endif  // FORALL_LATENCY_TRANSPORT_SHELL_TRANSPORT_H_
