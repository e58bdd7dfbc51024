// SPDX-License-Identifier: Apache-2.0
#include "latency/transport/adb_transport.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/unique_id.h"
#include "latency/transport/sensors.h"

namespace forall {
namespace {

constexpr absl::string_view kSplit = "forall-next-section";

bool IsSerial(absl::string_view text) {
  return !text.empty() && text[0] != '-' &&
         std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isgraph(c); });
}

std::string Words(const ProgramOutput& output) {
  const std::string words = LastLine(output.standard_error);
  return words.empty() ? LastLine(output.standard_output) : words;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> AdbTransport::Create(const Options& options) {
  if (!IsSerial(options.serial)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", options.serial, "\" is no serial number of a device: `adb devices` lists them"));
  }
  if (options.server_port < 0 || options.server_port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("server_port ", options.server_port, " is out of range"));
  }
  FORALL_RETURN_IF_ERROR(Check(options.shell));
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<ClientFolder> folder, ClientFolder::Create());
  return std::unique_ptr<Transport>(new AdbTransport(options, std::move(folder)));
}

AdbTransport::AdbTransport(Options options, std::unique_ptr<ClientFolder> folder)
    : ShellTransport(options.shell), options_(std::move(options)), folder_(std::move(folder)) {}

absl::StatusOr<ProgramOutput> AdbTransport::Adb(const std::vector<std::string>& arguments,
                                                const Script& limits) const {
  std::vector<std::string> argv = {options_.program};
  if (options_.server_port != 0) {
    argv.insert(argv.end(), {"-P", absl::StrCat(options_.server_port)});
  }
  argv.insert(argv.end(), {"-s", options_.serial});
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  absl::StatusOr<ProgramOutput> output = RunProgram({.argv = argv,
                                                     .timeout = limits.timeout,
                                                     .most_output_bytes = limits.most_output_bytes,
                                                     .cancelled = limits.cancelled});
  if (absl::IsNotFound(output.status())) {
    return absl::FailedPreconditionError(absl::StrCat(
        "\"", options_.program, "\" is not installed: install Android's platform tools (adb)"));
  }
  return output;
}

absl::StatusOr<ProgramOutput> AdbTransport::RunClient(const Script& script) {
  return Adb({"shell", "-n", script.text}, script);
}

absl::Status AdbTransport::ClientError(const ProgramOutput& output) {
  const std::string words = Words(output);
  if (absl::StrContains(output.standard_error, "unauthorized")) {
    return absl::PermissionDeniedError(absl::StrCat(
        "device ", options_.serial,
        " does not trust this machine yet: ", "confirm the question on its screen: ", words));
  }
  return absl::UnavailableError(absl::StrCat("cannot reach device ", options_.serial, " (",
                                             output.end.ToString(),
                                             "): ", words.empty() ? "adb said nothing" : words));
}

absl::Status AdbTransport::TransferError(const ProgramOutput& output,
                                         const std::string& path) const {
  const std::string all = absl::StrCat(output.standard_error, output.standard_output);
  const std::string message =
      absl::StrCat(path, " on device ", options_.serial, ": ", Words(output));
  if (absl::StrContains(all, "No such file") || absl::StrContains(all, "does not exist"))
    return absl::NotFoundError(message);
  if (absl::StrContains(all, "Permission denied") || absl::StrContains(all, "Read-only")) {
    return absl::PermissionDeniedError(message);
  }
  if (absl::StrContains(all, "No space left")) return absl::ResourceExhaustedError(message);
  return absl::UnavailableError(message);
}

absl::Status AdbTransport::Upload(absl::string_view bytes, const std::string& path) {
  const std::string local = *folder_ / NewUniqueId();
  FORALL_RETURN_IF_ERROR(WriteFileAtomically(local, bytes));
  const absl::StatusOr<ProgramOutput> output = Adb({"push", local, path}, {});
  unlink(local.c_str());
  if (!output.ok()) return output.status();
  return output->end.ok() ? absl::OkStatus() : TransferError(*output, path);
}

absl::StatusOr<std::string> AdbTransport::Download(const std::string& path, int64_t max_bytes) {
  const std::string local = *folder_ / NewUniqueId();
  FORALL_ASSIGN_OR_RETURN(const ProgramOutput output, Adb({"pull", path, local}, {}));
  absl::StatusOr<std::string> bytes = TransferError(output, path);
  if (output.end.ok()) bytes = ReadFile(local, static_cast<uint64_t>(max_bytes));
  unlink(local.c_str());
  return bytes;
}

absl::StatusOr<SensorReadings> AdbTransport::ReadSensors() {
  FORALL_ASSIGN_OR_RETURN(
      const ProgramOutput output,
      RunScript({.text = absl::StrCat("dumpsys thermalservice 2>/dev/null; echo ", kSplit, "\n",
                                      ThermalZonesScript("/sys"), "; echo ", kSplit,
                                      "\ndumpsys battery 2>/dev/null; :"),
                 .timeout = absl::Seconds(20)}));
  const std::vector<absl::string_view> parts = absl::StrSplit(output.standard_output, kSplit);
  SensorReadings readings;
  AddThermalService(parts[0], &readings);
  const bool service_tells = std::any_of(readings.begin(), readings.end(), [](const auto& reading) {
    return absl::EndsWith(reading.first, "_celsius");
  });
  if (parts.size() > 1 && !service_tells) AddThermalZones(parts[1], &readings);
  if (parts.size() > 2) AddBattery(parts[2], &readings);
  return readings;
}

}  // namespace forall
