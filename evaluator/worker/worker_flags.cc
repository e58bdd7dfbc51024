// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/worker_flags.h"

#include <functional>
#include <map>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "evaluator/worker/device_probe.h"
#include "net/host_port.h"

namespace forall {
namespace {

constexpr char kUsage[] = R"(usage: forall-worker [--controller HOST:PORT] [FLAGS]

Measures subnets on this machine for a forall controller: exports them, classifies images with them
and times them. It asks the controller for work and needs no open port. Stop it with Ctrl-C or
SIGTERM: it finishes or gives back what it has (a second signal stops it at once).

  --controller HOST:PORT   the controller (default: $FORALL_CONTROLLER, else 127.0.0.1:7411)
  --tls-ca FILE            use TLS: the authorities of the controller's certificate, PEM, or
                           "system" (default: $FORALL_TLS_CA)
  --tls-cert FILE          this machine's certificate, which says as which workers it may act, and
  --tls-key FILE           its private key, PEM (default: $FORALL_TLS_CERT, $FORALL_TLS_KEY)
  --token-file FILE        a token instead (default: $FORALL_TOKEN_FILE, or the token in
                           $FORALL_TOKEN); docs/security.md
  --id NAME                this worker, the same after every restart, and one process at a time;
                           two workers on one machine need two names (default: the machine's name)
  --device NAME            the board that the numbers belong to (default: the machine's name)
  --device-class LABEL     what similar boards share (default: x86-64 or aarch64)
  --data DIR               folder with datasets (default: $FORALL_DATA, else build/deps, where
                           tools/setup.sh puts fashion-mnist)
  --cache DIR              folder for supernets and subnets that were fetched, and for NAME.instance,
                           by which a restarted worker is known again (default:
                           $XDG_CACHE_HOME/forall, else ~/.cache/forall, else /tmp/forall-cache)
  --cache-mib N            largest size of that folder (default 4096)
  --threads N              cores for exports and accuracies (default: all); timing uses one, or as
                           many as a --timing file says
  --timing FILE            time as FILE says: on another device with its own program by ssh or adb,
                           or on this one by another execution provider or with other settings
                           (docs/device-recipes.md). Takes latency tasks only. May be given several
                           times: each file is a worker of its own at the controller
  --local                  with --timing: serve this machine as well
  --sysfs DIR              read power sensors from the sys/ in this folder, e.g. one that a
                           container was given or a recorded one (default: the machine's own)
  --measure-as USER[:GROUP]
                           when root: whom the process that loads models to time becomes (default:
                           nobody). GROUP is its only one: video, say, where a GPU is that group's.
                           docs/security.md has what else is taken from that process
  --model-memory-limit MIB largest memory of that process; a model that needs more is refused as out
                           of memory (default: what the machine has; memory_mib in a --timing file)
  --kinds LIST             tasks to take, of export,accuracy,latency (default: all)
  --check                  say what would be served, as far as this machine can tell without going to
                           another device or the controller, and leave: 0, or 2 naming the file and
                           the key that is wrong
  --providers              print which execution providers ONNX Runtime offers here, and leave
  --verbose                log more
  --version                print the version
  --help                   print this

Timing and other work never overlap on one machine, whatever the number of workers: they take turns
by a lock, /tmp/forall-timing.lock unless FORALL_TIMING_LOCK names another file.

Images decoded from folders of JPEG and PNG files are kept in their dataset's folder, up to 64 GiB
of each, unless FORALL_IMAGE_CACHE (a folder, or "off") and FORALL_IMAGE_CACHE_GIB say otherwise.

examples
  forall-worker
  forall-worker --controller 10.0.0.5:7411 --device pi5-lab --data ~/datasets
  forall-worker --id pc-timing --kinds latency
  forall-worker --timing orin.json --timing pixel.json --check
  forall-worker --timing orin.json --device orin-1 --device-class jetson-orin
  forall-worker --local --timing orin.json --timing pixel.json   # which say what they are called
)";

std::string FromEnvironment(const char* (*getenv)(const char*), const char* name,
                            const std::string& otherwise) {
  const char* const value = getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : value;
}

std::string DefaultCache(const char* (*getenv)(const char*)) {
  const std::string cache = FromEnvironment(getenv, "XDG_CACHE_HOME", "");
  if (!cache.empty()) return absl::StrCat(cache, "/forall");
  const std::string home = FromEnvironment(getenv, "HOME", "");
  return home.empty() ? "/tmp/forall-cache" : absl::StrCat(home, "/.cache/forall");
}

absl::Status ReadNumber(absl::string_view flag, absl::string_view text, int64_t largest,
                        int64_t* value) {
  if (absl::SimpleAtoi(text, value) && *value >= 1 && *value <= largest) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": expected a number from 1 to ", largest, ", not \"", text, "\""));
}

absl::Status ReadKinds(absl::string_view text, std::vector<v1::Task::Kind>* kinds) {
  for (const absl::string_view name : absl::StrSplit(text, ',')) {
    v1::Task::Kind kind = v1::Task::KIND_UNSPECIFIED;
    if (!v1::Task::Kind_Parse(absl::AsciiStrToUpper(name), &kind) ||
        kind == v1::Task::KIND_UNSPECIFIED) {
      return absl::InvalidArgumentError(
          absl::StrCat("--kinds: \"", name, "\" is none of export, accuracy, latency"));
    }
    kinds->push_back(kind);
  }
  return absl::OkStatus();
}

absl::Status ReadFlag(const std::string& name, const std::string& value, WorkerFlags* flags) {
  const std::map<std::string, std::string*> texts = {{"--controller", &flags->access.address},
                                                     {"--tls-ca", &flags->access.tls_ca},
                                                     {"--tls-cert", &flags->access.tls_certificate},
                                                     {"--tls-key", &flags->access.tls_key},
                                                     {"--token-file", &flags->access.token_file},
                                                     {"--id", &flags->id},
                                                     {"--device", &flags->device},
                                                     {"--data", &flags->data},
                                                     {"--device-class", &flags->device_class},
                                                     {"--cache", &flags->cache},
                                                     {"--measure-as", &flags->measure_as},
                                                     {"--sysfs", &flags->sysfs}};
  if (const auto text = texts.find(name); text != texts.end()) {
    if (value.empty()) return absl::InvalidArgumentError(absl::StrCat(name, " needs a value"));
    *text->second = value;
    if (name == "--data") flags->data_named = true;
    if (name == "--id" || name == "--device") return CheckWorkerId(name, value);
    return absl::OkStatus();
  }
  if (name == "--timing") {
    if (value.empty()) return absl::InvalidArgumentError("--timing needs a value");
    flags->timing.push_back(value);
    return absl::OkStatus();
  }
  if (name == "--cache-mib") return ReadNumber(name, value, 1 << 30, &flags->cache_mib);
  if (name == "--model-memory-limit") {
    return ReadNumber(name, value, 1 << 30, &flags->model_memory_mib);
  }
  if (name == "--kinds") return ReadKinds(value, &flags->kinds);
  int64_t threads = 0;
  FORALL_RETURN_IF_ERROR(ReadNumber(name, value, 1024, &threads));
  flags->threads = static_cast<int>(threads);
  return absl::OkStatus();
}

// What times by a file takes latency tasks only: its datasets are for workers that have the cores
// to themselves.
absl::Status CheckTiming(const WorkerFlags& flags) {
  if (flags.timing.empty() && flags.local) {
    return absl::InvalidArgumentError("--local: goes with --timing; without it, it is the default");
  }
  if (flags.timing.empty() || flags.local) return absl::OkStatus();
  for (const v1::Task::Kind kind : flags.kinds) {
    if (kind != v1::Task::LATENCY) {
      return absl::InvalidArgumentError(
          "--timing: takes latency tasks only; --local or another worker does the rest");
    }
  }
  if (flags.timing.size() > 1 &&
      !(flags.device.empty() && flags.device_class.empty() && flags.id.empty())) {
    return absl::InvalidArgumentError(
        "--id, --device and --device-class: with several --timing files, each file says its own "
        "(\"worker\", \"device\" and \"device_class\")");
  }
  return absl::OkStatus();
}

bool IsSwitch(const std::string& name, WorkerFlags* flags, bool** value) {
  const std::map<std::string, bool*> switches = {{"--verbose", &flags->verbose},
                                                 {"--version", &flags->version},
                                                 {"--local", &flags->local},
                                                 {"--providers", &flags->providers},
                                                 {"--check", &flags->check},
                                                 {"--help", &flags->help},
                                                 {"-h", &flags->help}};
  const auto found = switches.find(name);
  if (found == switches.end()) return false;
  *value = found->second;
  return true;
}

bool TakesValue(const std::string& name) {
  for (const char* known :
       {"--controller", "--tls-ca", "--tls-cert", "--tls-key", "--token-file", "--id", "--device",
        "--device-class", "--data", "--cache", "--cache-mib", "--threads", "--kinds", "--sysfs",
        "--timing", "--measure-as", "--model-memory-limit"}) {
    if (name == known) return true;
  }
  return false;
}

}  // namespace

std::string WorkerUsage() { return kUsage; }

absl::StatusOr<WorkerFlags> ParseWorkerFlags(const std::vector<std::string>& arguments,
                                             const char* (*getenv)(const char*)) {
  WorkerFlags flags;
  flags.access.address = FromEnvironment(getenv, "FORALL_CONTROLLER", flags.access.address);
  flags.data = FromEnvironment(getenv, "FORALL_DATA", "");
  flags.data_named = !flags.data.empty();
  if (!flags.data_named) flags.data = "build/deps";
  flags.cache = DefaultCache(getenv);
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::vector<std::string> parts = absl::StrSplit(arguments[i], absl::MaxSplits('=', 1));
    const std::string& name = parts[0];
    bool* value = nullptr;
    if (parts.size() == 1 && IsSwitch(name, &flags, &value)) {
      *value = true;
      continue;
    }
    if (!TakesValue(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("unknown argument \"", arguments[i], "\"; forall-worker --help lists them"));
    }
    if (parts.size() == 1 && i + 1 == arguments.size()) {
      return absl::InvalidArgumentError(absl::StrCat(name, " needs a value"));
    }
    FORALL_RETURN_IF_ERROR(ReadFlag(name, parts.size() == 2 ? parts[1] : arguments[++i], &flags));
  }
  FORALL_RETURN_IF_ERROR(CheckTiming(flags));
  // Otherwise it would be looked for, for ever, at a port that nobody named.
  if (!flags.help && !flags.version && !flags.providers && !flags.check) {
    FORALL_RETURN_IF_ERROR(WithContext(ParseHostPort(flags.access.address, 1).status(),
                                       "--controller (or FORALL_CONTROLLER)"));
  }
  FillFromEnvironment(getenv, &flags.access);
  return flags;
}

}  // namespace forall
