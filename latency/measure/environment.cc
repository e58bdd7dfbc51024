// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/environment.h"

#include <sys/utsname.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/sha256.h"
#include "latency/measure/emulation.h"

namespace forall {
namespace {

constexpr int kMaxThermalZones = 64;

// "0-3,8" -> 5; 0 when it is not such a list.
int CountCpuList(absl::string_view list) {
  int count = 0;
  for (absl::string_view range : absl::StrSplit(list, ',')) {
    const std::vector<std::string> ends = absl::StrSplit(range, '-');
    int first = 0;
    int last = 0;
    if (!absl::SimpleAtoi(ends.front(), &first) || !absl::SimpleAtoi(ends.back(), &last)) return 0;
    if (ends.size() > 2 || last < first) return 0;
    count += last - first + 1;
  }
  return count;
}

template <typename T>
void AddField(const std::string& name, const std::optional<T>& value,
              std::map<std::string, std::string>* fields) {
  if (value.has_value()) (*fields)[name] = absl::StrCat(*value);
}

void AddWarnings(Environment* environment) {
  std::vector<std::string>& warnings = environment->warnings;
  if (!environment->emulation_evidence.empty()) {
    warnings.push_back(absl::StrCat("emulated (", environment->emulation_evidence,
                                    "): times say nothing about the processor; measure on it"));
  }
  if (environment->governor.empty()) {
    warnings.push_back("frequency governor unknown: the clock may change unseen");
  } else if (environment->governor != "performance") {
    warnings.push_back(absl::StrCat("frequency governor is '", environment->governor,
                                    "': set it to 'performance'"));
  }
  if (environment->turbo.value_or(false)) {
    warnings.push_back("turbo is on: speed depends on temperature and on the other cores");
  }
  if (!environment->temperature_celsius.has_value()) {
    warnings.push_back("temperature unknown: throttling shows only in the reference's drift");
  }
  if (environment->virtual_machine) {
    warnings.push_back("virtual machine: its host may take processor time and share caches");
  }
  if (environment->cpu_quota.has_value() && *environment->cpu_quota < environment->cores) {
    warnings.push_back(absl::StrCat("the control group may use ", *environment->cpu_quota, " of ",
                                    environment->cores,
                                    " cores: bursts beyond it are stopped, lift the limit"));
  }
  if (environment->load_average.value_or(0) > 0.5 * environment->cores) {
    warnings.push_back(absl::StrCat("load average is ", *environment->load_average, " on ",
                                    environment->cores, " cores: stop other programs"));
  }
  if (environment->memory_bytes.value_or(0) > 0 &&
      environment->memory_available_bytes.has_value() &&
      *environment->memory_available_bytes < *environment->memory_bytes / 20) {
    warnings.push_back("less than a twentieth of the memory is free: pages may be swapped");
  }
}

}  // namespace

std::optional<std::string> EnvironmentProbe::ReadLine(const std::string& path) const {
  std::ifstream file(absl::StrCat(root_, "/", path));
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  // Device-tree strings end in a NUL.
  while (!line.empty() && (line.back() == '\0' || absl::ascii_isspace(line.back())))
    line.pop_back();
  return line;
}

std::string EnvironmentProbe::ReadStart(const std::string& path) const {
  std::ifstream file(absl::StrCat(root_, "/", path), std::ios::binary);
  std::string bytes(64, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(file.gcount()));
  return bytes;
}

std::optional<int64_t> EnvironmentProbe::ReadInteger(const std::string& path) const {
  const std::optional<std::string> line = ReadLine(path);
  int64_t value = 0;
  if (!line.has_value() || !absl::SimpleAtoi(*line, &value)) return std::nullopt;
  return value;
}

void EnvironmentProbe::ReadCpuInfo(Environment* environment) const {
  std::ifstream file(absl::StrCat(root_, "/proc/cpuinfo"));
  std::map<std::string, std::string> first;  // Of the first core that has the key.
  int processors = 0;
  for (std::string line; std::getline(file, line);) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(line, absl::MaxSplits(':', 1));
    const std::string key(absl::StripAsciiWhitespace(pair.first));
    if (key == "processor") ++processors;
    first.try_emplace(key, absl::StripAsciiWhitespace(pair.second));
  }
  EmulationTraces traces{.program_machine = std::string(ProgramMachine()),
                         .executable_header = ReadStart("proc/thread-self/exe"),
                         .kernel_machine = ReadLine("proc/sys/kernel/arch").value_or("")};
  // A tree recorded elsewhere is of another processor than this program.
  if (root_.empty()) traces.cpu_info = first;
  environment->emulation_evidence = EvidenceOfEmulation(traces);
  if (const auto board = ReadLine("proc/device-tree/model"); !first["model name"].empty()) {
    environment->cpu_model = first["model name"];
  } else if (!first["CPU part"].empty()) {
    environment->cpu_model = absl::StrCat(board.has_value() ? *board + ", " : "", "implementer ",
                                          first["CPU implementer"], " part ", first["CPU part"]);
  } else {
    environment->cpu_model = board.value_or("unknown");
  }
  const std::string flags = absl::StrCat(" ", first["flags"], " ");
  environment->virtual_machine = absl::StrContains(flags, " hypervisor ");
  environment->cores = CountCpuList(ReadLine("sys/devices/system/cpu/online").value_or(""));
  if (environment->cores == 0) environment->cores = std::max(1, processors);
}

void EnvironmentProbe::ReadMemory(Environment* environment) const {
  std::ifstream file(absl::StrCat(root_, "/proc/meminfo"));
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    int64_t kibibytes = 0;
    if (words.size() < 2 || !absl::SimpleAtoi(words[1], &kibibytes)) continue;
    if (words[0] == "MemTotal:") environment->memory_bytes = kibibytes * 1024;
    if (words[0] == "MemAvailable:") environment->memory_available_bytes = kibibytes * 1024;
  }
}

void EnvironmentProbe::ReadFrequency(Environment* environment) const {
  const std::string cpu = "sys/devices/system/cpu/";
  environment->governor = ReadLine(cpu + "cpu0/cpufreq/scaling_governor").value_or("");
  environment->frequency_khz = ReadInteger(cpu + "cpu0/cpufreq/scaling_cur_freq");
  environment->max_frequency_khz = ReadInteger(cpu + "cpu0/cpufreq/cpuinfo_max_freq");
  for (int core = 0; core < environment->cores; ++core) {
    const auto cap = ReadInteger(absl::StrCat(cpu, "cpu", core, "/cpufreq/scaling_max_freq"));
    environment->frequency_caps_khz.push_back(cap.value_or(0));
  }
  if (const auto no_turbo = ReadInteger(cpu + "intel_pstate/no_turbo"); no_turbo.has_value()) {
    environment->turbo = *no_turbo == 0;
  } else if (const auto boost = ReadInteger(cpu + "cpufreq/boost"); boost.has_value()) {
    environment->turbo = *boost != 0;
  }
}

void EnvironmentProbe::ReadTemperature(Environment* environment) const {
  for (int zone = 0; zone < kMaxThermalZones; ++zone) {
    const auto millidegrees =
        ReadInteger(absl::StrCat("sys/class/thermal/thermal_zone", zone, "/temp"));
    if (!millidegrees.has_value())
      continue;  // Numbers have holes, and some zones refuse to be read.
    const double degrees = static_cast<double>(*millidegrees) / 1000;
    environment->temperature_celsius =
        std::max(degrees, environment->temperature_celsius.value_or(degrees));
  }
}

void EnvironmentProbe::ReadQuota(Environment* environment) const {
  const std::vector<std::string> words =
      absl::StrSplit(ReadLine("sys/fs/cgroup/cpu.max").value_or(""), ' ');
  double quota = 0;
  double period = 0;
  if (words.size() == 2 && absl::SimpleAtod(words[0], &quota) &&
      absl::SimpleAtod(words[1], &period) && period > 0) {
    environment->cpu_quota = quota / period;
  }
}

Environment EnvironmentProbe::Probe() const {
  Environment environment;
  if (struct utsname name = {}; uname(&name) == 0) environment.architecture = name.machine;
  environment.kernel = ReadLine("proc/sys/kernel/osrelease").value_or("unknown");
  ReadCpuInfo(&environment);
  ReadMemory(&environment);
  ReadFrequency(&environment);
  ReadTemperature(&environment);
  ReadQuota(&environment);
  const std::vector<std::string> load = absl::StrSplit(ReadLine("proc/loadavg").value_or(""), ' ');
  if (double value = 0; absl::SimpleAtod(load[0], &value)) environment.load_average = value;
  AddWarnings(&environment);
  return environment;
}

std::optional<CpuTimes> EnvironmentProbe::ReadCpuTimes() const {
  const auto line = ReadLine("proc/stat");
  const auto self = ReadLine("proc/self/stat");
  if (!line.has_value() || !self.has_value()) return std::nullopt;
  // cpu user nice system idle iowait irq softirq steal ...; guest time is part of user.
  const std::vector<std::string> words = absl::StrSplit(*line, ' ', absl::SkipEmpty());
  if (words.size() < 9 || words[0] != "cpu") return std::nullopt;
  std::vector<int64_t> ticks(8);
  CpuTimes times;
  for (size_t i = 0; i < ticks.size(); ++i) {
    if (!absl::SimpleAtoi(words[i + 1], &ticks[i])) return std::nullopt;
    times.total += ticks[i];
  }
  times.idle = ticks[3] + ticks[4];
  times.steal = ticks[7];
  // The program's name is in parentheses and may hold spaces; utime and stime are the 12th and 13th
  // words behind it.
  const size_t name_end = self->rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  const std::vector<std::string> rest =
      absl::StrSplit(self->substr(name_end + 1), ' ', absl::SkipEmpty());
  int64_t user = 0;
  int64_t system = 0;
  if (rest.size() < 13 || !absl::SimpleAtoi(rest[11], &user) ||
      !absl::SimpleAtoi(rest[12], &system)) {
    return std::nullopt;
  }
  times.own = user + system;
  return times;
}

bool LoadReport::TooHigh(int cores, int threads) const {
  const double idle_cores = std::max(0, cores - threads);
  return other_cores > std::max(0.25, 0.5 * idle_cores) || steal_share > 0.05;
}

std::optional<LoadReport> LoadBetween(const CpuTimes& before, const CpuTimes& after, int cores) {
  const double total = static_cast<double>(after.total - before.total);
  // A tick is usually 10 ms: with fewer than ten a core, a single one would look like load.
  if (cores < 1 || total < 10.0 * cores) return std::nullopt;
  const double busy = total - static_cast<double>(after.idle - before.idle) -
                      static_cast<double>(after.steal - before.steal);
  const double others = busy - static_cast<double>(after.own - before.own);
  return LoadReport{.other_cores = std::max(0.0, others / total * cores),
                    .steal_share = static_cast<double>(after.steal - before.steal) / total};
}

std::map<std::string, std::string> Environment::Fields() const {
  std::map<std::string, std::string> fields = {
      {"cpu_model", cpu_model},
      {"architecture", architecture},
      {"kernel", kernel},
      {"cores", absl::StrCat(cores)},
      {"virtual_machine", virtual_machine ? "yes" : "no"},
      {"governor", governor.empty() ? "unknown" : governor},
  };
  if (!emulation_evidence.empty()) fields["emulated"] = "yes";
  AddField("frequency_khz", frequency_khz, &fields);
  AddField("max_frequency_khz", max_frequency_khz, &fields);
  const auto lowest = std::min_element(frequency_caps_khz.begin(), frequency_caps_khz.end());
  if (lowest != frequency_caps_khz.end() && *lowest > 0) {
    fields["frequency_cap_khz"] = absl::StrCat(*lowest);
  }
  if (turbo.has_value()) fields["turbo"] = *turbo ? "on" : "off";
  AddField("temperature_celsius", temperature_celsius, &fields);
  AddField("load_average", load_average, &fields);
  AddField("memory_bytes", memory_bytes, &fields);
  AddField("memory_available_bytes", memory_available_bytes, &fields);
  AddField("cpu_quota", cpu_quota, &fields);
  if (!warnings.empty()) fields["warnings"] = absl::StrJoin(warnings, "; ");
  return fields;
}

std::string DeviceFingerprint(const Environment& environment) {
  constexpr int64_t kGibibyte = int64_t{1} << 30;
  // Rounded: what a kernel reserves for itself differs from one to the next.
  const int64_t gibibytes = (environment.memory_bytes.value_or(0) + kGibibyte / 2) / kGibibyte;
  return Sha256Hex(absl::StrCat("forall.device.v1\n", environment.cpu_model, "\n",
                                environment.architecture, "\n", environment.cores, "\n",
                                environment.max_frequency_khz.value_or(0), "\n", gibibytes, "\n",
                                environment.virtual_machine ? 1 : 0, "\n",
                                environment.emulation_evidence.empty() ? "" : "emulated\n"));
}

std::string ProfileHash(const Environment& environment, const BackendDescription& backend) {
  std::string text =
      absl::StrCat("forall.profile.v1\n", backend.runtime, "\n", backend.runtime_version, "\n",
                   backend.provider, "\n", backend.precision, "\n", backend.threads, "\n",
                   backend.batch, "\n", environment.governor, "\n");
  for (const auto& [name, value] : backend.settings) absl::StrAppend(&text, name, "=", value, "\n");
  return Sha256Hex(text);
}

}  // namespace forall
