// SPDX-License-Identifier: Apache-2.0
#include "latency/device/command_device.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/json_members.h"
#include "base/status_macros.h"
#include "latency/backend/recipe.h"
#include "latency/transport/adb_transport.h"
#include "latency/transport/local_transport.h"
#include "latency/transport/ssh_transport.h"

namespace forall {
namespace {

using Json = JsonMembers::Json;

constexpr int kMostRuns = 10000;
constexpr int kLongestSeconds = 24 * 3600;
constexpr absl::Duration kProbeTimeout = absl::Seconds(20);

absl::StatusOr<std::unique_ptr<Transport>> InTransport(
    absl::StatusOr<std::unique_ptr<Transport>> transport) {
  if (transport.ok()) return transport;
  return WithContext(transport.status(), "transport");
}

absl::StatusOr<std::unique_ptr<Transport>> MakeTransport(const Json& json) {
  JsonMembers members(json, "transport.");
  FORALL_RETURN_IF_ERROR(members.status());
  const std::string kind = members.Text("kind");
  if (kind == "local") {
    LocalTransport::Options options;
    options.directory = members.Text("directory");
    FORALL_RETURN_IF_ERROR(members.Finish());
    return InTransport(LocalTransport::Create(options));
  }
  if (kind == "ssh") {
    SshTransport::Options options;
    options.shell.directory = members.Text("directory");
    options.shell.cpu_mask = members.Text("cpu_mask");
    options.host = members.Text("host");
    options.user = members.Text("user");
    options.port = members.Number("port", 65535, 0);
    options.known_hosts = members.Text("known_hosts");
    options.identity = members.Text("identity");
    FORALL_RETURN_IF_ERROR(members.Finish());
    return InTransport(SshTransport::Create(options));
  }
  if (kind == "adb") {
    AdbTransport::Options options;
    options.shell.directory = members.Text("directory", options.shell.directory);
    options.shell.cpu_mask = members.Text("cpu_mask");
    options.serial = members.Text("serial");
    options.server_port = members.Number("server_port", 65535, 0);
    FORALL_RETURN_IF_ERROR(members.Finish());
    return InTransport(AdbTransport::Create(options));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("transport.kind: \"", kind, "\" is none of local, ssh, adb"));
}

struct Description {
  CommandBackend::Options options;
  std::unique_ptr<Transport> transport;
};

absl::StatusOr<Description> Parse(absl::string_view text) {
  FORALL_ASSIGN_OR_RETURN(const Json json, JsonMembers::ParseObject(text, "a device file"));
  JsonMembers members(json, "");
  // A device file's own, which others read.
  for (const char* const name : {"device", "device_class", "worker", "gate"}) members.Find(name);
  const Json* const transport_json = members.Find("transport");
  const Json* const recipe_json = members.Find("recipe");
  Description description;
  CommandBackend::Options& options = description.options;
  options.precision = members.Text("precision", options.precision);
  options.threads = members.Number("threads", 1024, options.threads);
  options.runs_per_call = members.Number("runs_per_call", kMostRuns, options.runs_per_call, 2);
  options.build_timeout =
      absl::Seconds(members.Number("build_timeout_seconds", kLongestSeconds, 1200));
  options.run_timeout = absl::Seconds(members.Number("run_timeout_seconds", kLongestSeconds, 120));
  if (transport_json == nullptr) {
    members.Complain("transport",
                     "required: the way to the device (or \"runtime\": "
                     "\"onnxruntime\", for this machine)");
  }
  if (recipe_json == nullptr) members.Complain("recipe", "required: what to run there");
  if (json.contains("program")) {
    members.Complain("program",
                     "belongs to the recipe: {\"recipe\": {\"recipe\": \"trtexec\", "
                     "\"program\": ...}, ...}");
  }
  FORALL_RETURN_IF_ERROR(members.Finish());
  const std::string recipe =
      recipe_json->is_string() ? recipe_json->get<std::string>() : recipe_json->dump();
  absl::StatusOr<std::shared_ptr<const Recipe>> made = MakeRecipe(recipe);
  if (!made.ok()) return WithContext(made.status(), "recipe");
  options.recipe = *std::move(made);
  FORALL_ASSIGN_OR_RETURN(description.transport, MakeTransport(*transport_json));
  options.transport = description.transport.get();
  return description;
}

std::string WayOf(const TransportDescription& description) {
  return description.target.empty() ? description.kind
                                    : absl::StrCat(description.kind, " ", description.target);
}

// All that its command lines begin with, once each.
std::vector<std::string> ProgramsOf(const Recipe& recipe) {
  const RecipeValues values;
  std::vector<CommandLine> lines = recipe.RunCommands(values);
  if (recipe.traits().builds) lines.push_back(recipe.BuildCommand(values));
  lines.push_back(recipe.VersionCommand());
  std::vector<std::string> programs;
  for (const CommandLine& line : lines) {
    if (line.empty() || std::count(programs.begin(), programs.end(), line[0]) > 0) continue;
    programs.push_back(line[0]);
  }
  return programs;
}

// Prints name=value, the value being empty where the device does not tell.
constexpr char kProbeScript[] = R"sh(
say() { echo "$1=$(eval "$2" 2>/dev/null | head -n 1)";
}
say architecture 'uname -m'
say kernel 'uname -r'
say cores nproc
say board 'tr -d "\0" </proc/device-tree/model || getprop ro.product.model'
say processor 'grep -m 1 -E "^(model name|Hardware)" /proc/cpuinfo | cut -d : -f 2'
say memory_kib 'grep -m 1 MemTotal /proc/meminfo | tr -dc 0-9'
say governor 'cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor'
say max_frequency_khz 'cat /sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq'
exit 0
)sh";

std::map<std::string, std::string> NamedValues(absl::string_view text) {
  std::map<std::string, std::string> values;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits('=', 1));
    values[std::string(parts.first)] = std::string(absl::StripAsciiWhitespace(parts.second));
  }
  return values;
}

}  // namespace

absl::Status CommandDevice::Check(absl::string_view json) { return Parse(json).status(); }

absl::StatusOr<CommandOutline> CommandDevice::Outline(absl::string_view json) {
  FORALL_ASSIGN_OR_RETURN(const Description description, Parse(json));
  FORALL_ASSIGN_OR_RETURN(const Json file, JsonMembers::ParseObject(json, "a device file"));
  const CommandBackend::Options& options = description.options;
  const Recipe::Traits& traits = options.recipe->traits();
  CommandOutline outline;
  const TransportDescription way = description.transport->Describe();
  outline.way = WayOf(way);
  outline.recipe = traits.name;
  outline.provider = traits.provider;
  outline.precision = options.precision;
  outline.threads = options.threads;
  outline.runs_per_call = options.runs_per_call;
  for (const std::string& program : ProgramsOf(*options.recipe)) {
    if (way.kind == "local") {
      outline.programs.emplace_back("recipe", program);
    } else {
      outline.programs_there.push_back(program);
    }
  }
  if (!traits.convert.empty()) outline.programs.emplace_back("recipe.convert", traits.convert[0]);
  if (way.kind != "local") outline.programs.emplace_back("transport.kind", way.kind);
  for (const char* const key : {"known_hosts", "identity"}) {
    const auto named = file.at("transport").find(key);
    if (named == file.at("transport").end()) continue;
    outline.files.emplace_back(absl::StrCat("transport.", key), named->get<std::string>());
  }
  return outline;
}

absl::StatusOr<std::unique_ptr<CommandDevice>> CommandDevice::Open(
    absl::string_view json, std::function<bool()> cancelled) {
  FORALL_ASSIGN_OR_RETURN(Description description, Parse(json));
  description.options.cancelled = std::move(cancelled);
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<CommandBackend> backend,
                          CommandBackend::Create(std::move(description.options)));
  return std::unique_ptr<CommandDevice>(
      new CommandDevice(std::move(description.transport), std::move(backend)));
}

std::string CommandDevice::way() const { return WayOf(transport_->Describe()); }

absl::StatusOr<Environment> CommandDevice::Probe() {
  FORALL_ASSIGN_OR_RETURN(
      const ProgramOutput output,
      transport_->Run({.argv = {"sh", "-c", kProbeScript}, .timeout = kProbeTimeout}));
  std::map<std::string, std::string> values = NamedValues(output.standard_output);
  int64_t number = 0;
  if (values["architecture"].empty() || !absl::SimpleAtoi(values["cores"], &number)) {
    return absl::FailedPreconditionError(
        absl::StrCat("the device's shell does not tell what the device is (", output.end.ToString(),
                     "): ", LastLine(output.standard_error)));
  }
  Environment environment;
  environment.architecture = values["architecture"];
  environment.kernel = values["kernel"];
  environment.governor = values["governor"];
  environment.cpu_model = values["board"].empty() ? values["processor"] : values["board"];
  if (environment.cpu_model.empty()) environment.cpu_model = "unknown";
  environment.cores = static_cast<int>(number);
  if (absl::SimpleAtoi(values["memory_kib"], &number)) environment.memory_bytes = number * 1024;
  if (absl::SimpleAtoi(values["max_frequency_khz"], &number)) {
    environment.max_frequency_khz = number;
  }
  return environment;
}

std::map<std::string, std::string> CommandDevice::ReadSensors() {
  std::map<std::string, std::string> texts;
  const absl::StatusOr<SensorReadings> readings = transport_->ReadSensors();
  if (!readings.ok()) return texts;
  for (const auto& [name, value] : *readings) texts[name] = absl::StrCat(value);
  return texts;
}

}  // namespace forall
