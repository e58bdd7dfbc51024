// SPDX-License-Identifier: Apache-2.0
// What the machine says about itself before and during a measurement: the things that make
// latencies move. Read from procfs and sysfs under a root that tests replace by a recorded tree.
#ifndef FORALL_LATENCY_MEASURE_ENVIRONMENT_H_
#define FORALL_LATENCY_MEASURE_ENVIRONMENT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "latency/backend/backend.h"

namespace forall {

// Absent: the machine does not say.
struct Environment {
  std::string cpu_model;     // "AMD EPYC 9B14"; "unknown" when nothing names it.
  std::string architecture;  // "x86_64"
  std::string kernel;        // "6.1.0-18-amd64"
  int cores = 0;             // Online.
  bool virtual_machine = false;
  // What shows that an emulator executes this program (emulation.h); "" when nothing does.
  std::string emulation_evidence;
  std::string governor;  // Of the first core; "" when absent.
  std::optional<int64_t> frequency_khz;
  std::optional<int64_t> max_frequency_khz;
  // What the kernel allows at the moment, core by core, 0 where it does not say; heat lowers it.
  std::vector<int64_t> frequency_caps_khz;
  std::optional<bool> turbo;
  std::optional<double> temperature_celsius;  // Hottest zone.
  std::optional<double> load_average;         // One minute.
  std::optional<int64_t> memory_bytes;
  std::optional<int64_t> memory_available_bytes;
  // Cores' worth of time that the process's control group may use, where limited.
  std::optional<double> cpu_quota;
  // What is likely to make numbers noisy, one sentence each, with what to do.
  std::vector<std::string> warnings;

  // Name and value of everything known, warnings joined: for storing and showing.
  std::map<std::string, std::string> Fields() const;
};

// Where the machine's processor time went, in clock ticks since boot.
struct CpuTimes {
  int64_t total = 0;
  int64_t idle = 0;
  int64_t steal = 0;  // Taken by the host of a virtual machine.
  int64_t own = 0;    // By this process.
};

struct LoadReport {
  double other_cores = 0;  // Cores' worth of time that other programs used.
  double steal_share = 0;  // Of all processor time.

  // More than half of the cores that `threads` leaves idle (at least a quarter of a core), or more
  // than a twentieth stolen.
  bool TooHigh(int cores, int threads) const;
};

// Absent when too little time passed to tell, or the machine does not count.
std::optional<LoadReport> LoadBetween(const CpuTimes& before, const CpuTimes& after, int cores);

// Thread-safe (immutable).
class EnvironmentProbe {
 public:
  // `root` holds proc/ and sys/; "" is the machine itself.
  explicit EnvironmentProbe(std::string root = "") : root_(std::move(root)) {}

  // Never fails: what cannot be read is absent, and a warning says so where it matters.
  Environment Probe() const;
  std::optional<CpuTimes> ReadCpuTimes() const;

 private:
  std::optional<std::string> ReadLine(const std::string& path) const;
  // At most 64 bytes.
  std::string ReadStart(const std::string& path) const;
  std::optional<int64_t> ReadInteger(const std::string& path) const;
  void ReadCpuInfo(Environment* environment) const;
  void ReadMemory(Environment* environment) const;
  void ReadFrequency(Environment* environment) const;
  void ReadTemperature(Environment* environment) const;
  void ReadQuota(Environment* environment) const;

  const std::string root_;
};

// 64 hex digits of what makes one board another: processor, architecture, cores, highest frequency,
// memory in GiB, virtualisation and emulation. When it changes, old latencies no longer hold for
// the device.
std::string DeviceFingerprint(const Environment& environment);

// 64 hex digits of runtime and version, provider, precision, threads, batch, settings and governor:
// the profile under which a latency holds.
std::string ProfileHash(const Environment& environment, const BackendDescription& backend);

}  // namespace forall

#endif  // FORALL_LATENCY_MEASURE_ENVIRONMENT_H_
