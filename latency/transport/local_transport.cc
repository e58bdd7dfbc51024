// SPDX-License-Identifier: Apache-2.0
#include "latency/transport/local_transport.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <tuple>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "latency/transport/sensors.h"
#include "latency/transport/shell_text.h"

namespace forall {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostText = 1 << 20;
constexpr int kNotExecutableExitCode = 126;
constexpr int kNotFoundExitCode = 127;

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> LocalTransport::Create(const Options& options) {
  if (options.directory.empty()) {
    return absl::InvalidArgumentError("a local device needs a directory for its files");
  }
  std::error_code error;
  const fs::path absolute = fs::absolute(options.directory, error);
  if (error) return absl::InvalidArgumentError(error.message());
  const std::string directory = (absolute / "forall").string();
  FORALL_RETURN_IF_ERROR(CreateDirectories(directory));
  return std::unique_ptr<Transport>(new LocalTransport(options, directory));
}

absl::StatusOr<ProgramOutput> LocalTransport::Run(const TransportRun& run) {
  absl::StatusOr<ProgramOutput> output = RunProgram({.argv = run.argv,
                                                     .environment = run.environment,
                                                     .timeout = run.timeout,
                                                     .cancelled = run.cancelled});
  const bool denied = absl::IsPermissionDenied(output.status());
  if (!absl::IsNotFound(output.status()) && !denied) return output;
  // As a shell says it: the ways to a device look alike.
  ProgramOutput missing;
  missing.end.exit_code = denied ? kNotExecutableExitCode : kNotFoundExitCode;
  missing.standard_error = std::string(output.status().message());
  return missing;
}

absl::StatusOr<std::string> LocalTransport::Push(absl::string_view bytes,
                                                 absl::string_view extension) {
  FORALL_RETURN_IF_ERROR(CheckExtension(extension));
  const std::string hash = Sha256Hex(bytes);
  const std::string path = absl::StrCat(directory_, "/", hash, ".", extension);
  const absl::StatusOr<std::string> there = Sha256OfFile(path);
  if (there.ok() && *there == hash) {
    std::error_code ignored;  // It is only younger than it looks.
    fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
    return path;
  }
  FORALL_RETURN_IF_ERROR(WriteFileAtomically(path, bytes));
  Prune(path);
  return path;
}

void LocalTransport::Prune(const std::string& kept) {
  if (options_.cache_bytes <= 0) return;
  std::vector<std::tuple<fs::file_time_type, std::string, int64_t>> files;
  std::error_code error;
  for (fs::directory_iterator entry(directory_, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code gone;
    if (!entry->is_regular_file(gone)) continue;
    const auto time = entry->last_write_time(gone);
    const auto size = static_cast<int64_t>(entry->file_size(gone));
    if (!gone) files.emplace_back(time, entry->path().string(), size);
  }
  std::sort(files.rbegin(), files.rend());
  int64_t total = 0;
  for (const auto& [time, path, size] : files) {
    total += size;
    if (total > options_.cache_bytes && path != kept) fs::remove(path, error);
  }
}

absl::StatusOr<std::string> LocalTransport::Fetch(const std::string& path, int64_t max_bytes) {
  return ReadFile(path, static_cast<uint64_t>(max_bytes));
}

absl::StatusOr<std::string> LocalTransport::ReadText(const std::string& path) {
  FORALL_ASSIGN_OR_RETURN(std::string text, ReadFile(path, kMostText));
  absl::StripTrailingAsciiWhitespace(&text);
  return text;
}

absl::StatusOr<SensorReadings> LocalTransport::ReadSensors() {
  FORALL_ASSIGN_OR_RETURN(const std::string root, ShellQuoted(options_.sysfs));
  FORALL_ASSIGN_OR_RETURN(
      const ProgramOutput output,
      Run({.argv = {"sh", "-c", ThermalZonesScript(root)}, .timeout = absl::Seconds(10)}));
  SensorReadings readings;
  AddThermalZones(output.standard_output, &readings);
  return readings;
}

}  // namespace forall
