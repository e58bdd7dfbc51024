// SPDX-License-Identifier: Apache-2.0
#include "latency/transport/shell_transport.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "base/unique_id.h"
#include "latency/transport/sensors.h"
#include "latency/transport/shell_text.h"

namespace forall {
namespace {

constexpr absl::Duration kFirstPause = absl::Seconds(1);
constexpr absl::Duration kHelperTimeout = absl::Seconds(20);
constexpr int64_t kMostText = 1 << 20;
// A shell tells of a signal by an exit code above this one.
constexpr int kSignalBase = 128;
constexpr int kLastSignal = 31;

// In a subshell, so that the text may exit, and print its exit code behind the marker.
std::string WithMarker(const std::string& text, const std::string& marker) {
  return absl::StrCat("(\n", text, "\n)\nc=$?; printf '\\n", marker, " %d\\n' $c >&2; exit $c");
}

// Takes the marker's line off the end of the text.
std::optional<int> TakeMarker(const std::string& marker, std::string* text) {
  const size_t at = text->rfind(absl::StrCat("\n", marker, " "));
  if (at == std::string::npos) return std::nullopt;
  int code = 0;
  const size_t begin = at + marker.size() + 2;
  const std::string line = text->substr(begin, text->find('\n', begin) - begin);
  if (!absl::SimpleAtoi(line, &code) || code < 0 || code > 255) return std::nullopt;
  text->resize(at);
  return code;
}

ProgramEnd EndOf(int code) {
  ProgramEnd end;
  if (code > kSignalBase && code <= kSignalBase + kLastSignal) {
    end.signal = code - kSignalBase;
  } else {
    end.exit_code = code;
  }
  return end;
}

bool IsHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isxdigit(c); });
}

}  // namespace

absl::Status ShellTransport::Check(const ShellOptions& options) {
  if (options.directory.empty() || options.directory[0] != '/') {
    return absl::InvalidArgumentError(absl::StrCat("directory \"", options.directory,
                                                   "\" must be an absolute path on the device"));
  }
  FORALL_RETURN_IF_ERROR(ShellQuoted(options.directory).status());
  if (options.cpu_mask.size() > 64 || !IsHex(options.cpu_mask)) {
    return absl::InvalidArgumentError(
        absl::StrCat("cpu_mask \"", options.cpu_mask, "\" must be hexadecimal, such as f0"));
  }
  if (options.attempts < 1) return absl::InvalidArgumentError("attempts must be at least 1");
  return absl::OkStatus();
}

ShellTransport::ShellTransport(const ShellOptions& options)
    : shell_options_(options), directory_(absl::StrCat(options.directory, "/forall")) {}

absl::Status ShellTransport::WithRetries(const std::function<absl::Status()>& once) {
  absl::Duration pause = kFirstPause;
  for (int attempt = 1;; ++attempt) {
    const absl::Status status = once();
    if (!absl::IsUnavailable(status) || attempt >= shell_options_.attempts) return status;
    shell_options_.clock->SleepFor(pause);
    pause *= 2;
  }
}

absl::StatusOr<ProgramOutput> ShellTransport::RunScriptOnce(const Script& script) {
  const std::string marker = absl::StrCat("forall-end-", NewUniqueId());
  Script marked = script;
  marked.text = WithMarker(script.text, marker);
  FORALL_ASSIGN_OR_RETURN(ProgramOutput output, RunClient(marked));
  std::optional<int> code = TakeMarker(marker, &output.standard_error);
  if (!code.has_value()) {
    // An old adb daemon has one stream, through a terminal.
    std::string merged = absl::StrReplaceAll(output.standard_output, {{"\r\n", "\n"}});
    code = TakeMarker(marker, &merged);
    if (!code.has_value()) return ClientError(output);
    output.standard_output = std::move(merged);
  }
  output.end = EndOf(*code);
  return output;
}

absl::StatusOr<ProgramOutput> ShellTransport::RunScript(const Script& script) {
  ProgramOutput result;
  FORALL_RETURN_IF_ERROR(WithRetries([&]() -> absl::Status {
    FORALL_ASSIGN_OR_RETURN(result, RunScriptOnce(script));
    return absl::OkStatus();
  }));
  return result;
}

void ShellTransport::Kill(const std::string& pid_file) {
  // It leads a process group: sshd and adbd start each command as a session of its own. Where the
  // device cannot be reached there is nothing more to be done.
  RunScriptOnce(
      {.text = absl::StrCat("if [ -r ", pid_file, " ]; then p=$(cat ", pid_file,
                            "); kill -9 \"-$p\" || kill -9 -- \"-$p\" || kill -9 \"$p\"; rm -f ",
                            pid_file, "; fi"),
       .timeout = kHelperTimeout})
      .IgnoreError();
}

absl::StatusOr<ProgramOutput> ShellTransport::Run(const TransportRun& run) {
  if (run.argv.empty()) return absl::InvalidArgumentError("a program to run must have a name");
  std::vector<std::string> argv = run.argv;
  if (!shell_options_.cpu_mask.empty()) {
    argv.insert(argv.begin(), {"taskset", shell_options_.cpu_mask});
  }
  FORALL_ASSIGN_OR_RETURN(const std::string command, ShellCommand(argv));
  FORALL_ASSIGN_OR_RETURN(const std::string exports, ShellExports(run.environment));
  FORALL_ASSIGN_OR_RETURN(const std::string folder, ShellQuoted(directory_));
  const std::string pid_file = absl::StrCat(folder, "/", NewUniqueId(), ".pid");
  Script script;
  script.text =
      absl::StrCat("mkdir -p ", folder, " && echo $$ > ", pid_file, " || exit 126\n(", exports,
                   command, ") < /dev/null\nr=$?; rm -f ", pid_file, "; exit $r");
  script.cancelled = run.cancelled;
  const int64_t start = shell_options_.clock->SteadyNanos();
  bool left_over = false;
  ProgramOutput result;
  const absl::Status status = WithRetries([&]() -> absl::Status {
    if (run.cancelled && run.cancelled()) return absl::CancelledError("cancelled");
    if (left_over) Kill(pid_file);
    const absl::Duration spent = absl::Nanoseconds(shell_options_.clock->SteadyNanos() - start);
    script.timeout = run.timeout - spent;
    if (script.timeout <= absl::ZeroDuration()) {
      return absl::DeadlineExceededError("the device was not reached in time");
    }
    left_over = true;
    FORALL_ASSIGN_OR_RETURN(result, RunScriptOnce(script));
    left_over = false;
    return absl::OkStatus();
  });
  if (status.ok()) return result;
  if (left_over && !absl::IsUnavailable(status)) Kill(pid_file);
  if (absl::IsDeadlineExceeded(status)) {
    return absl::DeadlineExceededError(absl::StrCat("\"", run.argv[0], "\" did not end within ",
                                                    absl::FormatDuration(run.timeout)));
  }
  return WithContext(status, absl::StrCat("run \"", run.argv[0], "\" on ", Describe().target));
}

absl::Status ShellTransport::Upload(absl::string_view bytes, const std::string& path) {
  FORALL_ASSIGN_OR_RETURN(const std::string target, ShellQuoted(path));
  FORALL_ASSIGN_OR_RETURN(const ProgramOutput output,
                          RunScriptOnce({.text = absl::StrCat("cat > ", target),
                                         .standard_input = std::string(bytes)}));
  if (output.end.ok()) return absl::OkStatus();
  // The device's trouble, a full disk say, and no model's.
  return absl::FailedPreconditionError(
      absl::StrCat("cannot write ", path, " on the device: ", LastLine(output.standard_error)));
}

absl::StatusOr<std::string> ShellTransport::Download(const std::string& path, int64_t max_bytes) {
  FORALL_ASSIGN_OR_RETURN(const std::string source, ShellQuoted(path));
  FORALL_ASSIGN_OR_RETURN(ProgramOutput output,
                          RunScriptOnce({.text = absl::StrCat("cat < ", source),
                                         .most_output_bytes = std::max(max_bytes, kMostText)}));
  if (!output.end.ok()) {
    return absl::NotFoundError(
        absl::StrCat("cannot read ", path, " on the device: ", LastLine(output.standard_error)));
  }
  if (static_cast<int64_t>(output.standard_output.size()) > max_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat(path, " on the device has more than ", max_bytes, " bytes"));
  }
  return std::move(output.standard_output);
}

absl::Status ShellTransport::PushOnce(absl::string_view bytes, const std::string& hash,
                                      const std::string& path) {
  FORALL_ASSIGN_OR_RETURN(const std::string target, ShellQuoted(path));
  FORALL_ASSIGN_OR_RETURN(const std::string folder, ShellQuoted(directory_));
  const std::string temporary = absl::StrCat(path, ".", NewUniqueId(), ".part");
  FORALL_ASSIGN_OR_RETURN(const std::string part, ShellQuoted(temporary));
  // Succeeds when $f holds exactly the bytes, as far as the device can tell.
  const std::string verify =
      absl::StrCat("verify() { [ -f \"$1\" ] && [ $(wc -c < \"$1\") -eq ", bytes.size(),
                   " ] && { ! command -v sha256sum > /dev/null 2>&1 || "
                   "[ \"$(sha256sum < \"$1\" | cut -c1-64)\" = ",
                   hash, " ]; }; }\n");
  FORALL_ASSIGN_OR_RETURN(
      const ProgramOutput found,
      RunScriptOnce({.text = absl::StrCat(verify, "mkdir -p ", folder, " || exit 2\nif verify ",
                                          target, "; then touch ", target, "; echo there; fi")}));
  if (!found.end.ok()) {
    return absl::PermissionDeniedError(absl::StrCat(
        "cannot create ", directory_, " on the device: ", LastLine(found.standard_error)));
  }
  if (absl::StrContains(found.standard_output, "there")) return absl::OkStatus();
  FORALL_RETURN_IF_ERROR(Upload(bytes, temporary));
  std::string prune;
  if (shell_options_.cache_bytes > 0) {
    prune = absl::StrCat("; cd ", folder,
                         " && n=0 && ls -t | while read -r f; do [ -f \"$f\" ] || continue; "
                         "n=$((n + $(wc -c < \"$f\"))); case \"$f\" in ",
                         hash, ".*) continue;; esac; [ $n -le ", shell_options_.cache_bytes,
                         " ] || rm -f \"$f\"; done");
  }
  FORALL_ASSIGN_OR_RETURN(
      const ProgramOutput moved,
      RunScriptOnce(
          {.text = absl::StrCat(verify, "if verify ", part, " && mv -f ", part, " ", target,
                                "; then :", prune, "; exit 0; fi; rm -f ", part, "; exit 3")}));
  if (moved.end.ok()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("what arrived on the device as ", path,
                                          " is not what was sent: is its storage full or broken? ",
                                          LastLine(moved.standard_error)));
}

absl::StatusOr<std::string> ShellTransport::Push(absl::string_view bytes,
                                                 absl::string_view extension) {
  FORALL_RETURN_IF_ERROR(CheckExtension(extension));
  const std::string hash = Sha256Hex(bytes);
  const std::string path = absl::StrCat(directory_, "/", hash, ".", extension);
  FORALL_RETURN_IF_ERROR(WithRetries([&] { return PushOnce(bytes, hash, path); }));
  return path;
}

absl::StatusOr<std::string> ShellTransport::Fetch(const std::string& path, int64_t max_bytes) {
  std::string bytes;
  FORALL_RETURN_IF_ERROR(WithRetries([&]() -> absl::Status {
    FORALL_ASSIGN_OR_RETURN(bytes, Download(path, max_bytes));
    return absl::OkStatus();
  }));
  return bytes;
}

absl::StatusOr<std::string> ShellTransport::ReadText(const std::string& path) {
  FORALL_ASSIGN_OR_RETURN(const std::string source, ShellQuoted(path));
  FORALL_ASSIGN_OR_RETURN(ProgramOutput output, RunScript({.text = absl::StrCat("cat < ", source),
                                                           .timeout = kHelperTimeout,
                                                           .most_output_bytes = kMostText}));
  if (!output.end.ok()) {
    return absl::NotFoundError(
        absl::StrCat("cannot read ", path, " on the device: ", LastLine(output.standard_error)));
  }
  absl::StripTrailingAsciiWhitespace(&output.standard_output);
  return std::move(output.standard_output);
}

absl::StatusOr<SensorReadings> ShellTransport::ReadSensors() {
  FORALL_ASSIGN_OR_RETURN(const ProgramOutput output, RunScript({.text = ThermalZonesScript("/sys"),
                                                                 .timeout = kHelperTimeout}));
  SensorReadings readings;
  AddThermalZones(output.standard_output, &readings);
  return readings;
}

}  // namespace forall
