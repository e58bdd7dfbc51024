// SPDX-License-Identifier: Apache-2.0
#include "latency/child/measuring_child.h"

#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/child_process.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "base/thread.h"
#include "latency/child/child_wire.h"
#include "latency/measure/session.h"
#include "latency/sensor/peak_memory.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using Json = nlohmann::json;

constexpr int kPriority = -10;
constexpr int64_t kKibibyte = 1024;
// Buffers have their size after the first run; some of a slow model.
constexpr absl::Duration kFirstRuns = absl::Milliseconds(50);
// Of a start of this program, on a machine however slow.
constexpr absl::Duration kTryLimit = absl::Minutes(2);

// A hung inference hears nothing: another thread, asleep until then, notices the parent's death.
void EndWithParent() {
  struct pollfd wait = {kChildSocket, POLLRDHUP, 0};
  while (poll(&wait, 1, -1) < 0 && errno == EINTR) {
  }
  _exit(0);
}

// "" when it was granted.
std::string RaisePriority() {
  if (setpriority(PRIO_PROCESS, 0, kPriority) == 0) return "";
  return absl::StrCat("a higher priority was refused: ", std::strerror(errno));
}

absl::Duration ProcessTime() {
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return absl::DurationFromTimeval(usage.ru_utime) + absl::DurationFromTimeval(usage.ru_stime);
}

int64_t PeakResidentBytes() {
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * kKibibyte;
}

std::string ErrorText(const absl::Status& status) {
  return Json{{"event", "error"},
              {"code", static_cast<int>(status.code())},
              {"message", std::string(status.message())}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

int PrintRefusals(const absl::StatusOr<std::vector<std::string>>& refusals) {
  if (!refusals.ok()) {
    std::fprintf(stderr, "%s\n", std::string(refusals.status().message()).c_str());
    return 1;
  }
  for (const std::string& refusal : *refusals) std::printf("%s\n", refusal.c_str());
  std::fflush(stdout);
  return 0;
}

class Child {
 public:
  Child(const BackendFactory& factory, std::string priority_refusal,
        absl::StatusOr<std::vector<std::string>> confined)
      : factory_(factory),
        priority_refusal_(std::move(priority_refusal)),
        confined_(std::move(confined)) {}

  // The end of the conversation is no error.
  absl::Status Serve() {
    FORALL_RETURN_IF_ERROR(Begin());
    while (true) {
      FORALL_ASSIGN_OR_RETURN(const std::string request,
                              ReceiveFrame(kChildSocket, absl::InfiniteDuration()));
      FORALL_ASSIGN_OR_RETURN(const std::string model,
                              ReceiveFrame(kChildSocket, absl::InfiniteDuration()));
      FORALL_RETURN_IF_ERROR(Answer(request, model));
    }
  }

 private:
  absl::Status Begin() {
    FORALL_ASSIGN_OR_RETURN(const std::string configuration,
                            ReceiveFrame(kChildSocket, absl::InfiniteDuration()));
    FORALL_ASSIGN_OR_RETURN(std::string reference,
                            ReceiveFrame(kChildSocket, absl::InfiniteDuration()));
    absl::Status status = confined_.status();
    if (status.ok()) {
      absl::StatusOr<std::unique_ptr<LatencyBackend>> backend = factory_(configuration);
      status = backend.status();
      if (status.ok()) backend_ = *std::move(backend);
    }
    // Without a reference: whatever else was ever loaded would be in a model's memory.
    if (status.ok() && !reference.empty()) {
      LocalSessions::Options options;
      options.backend = backend_.get();
      options.reference_model = std::move(reference);
      sessions_ = std::make_unique<LocalSessions>(std::move(options));
      sessions_->set_on_prepared(
          [] { SendFrame(kChildSocket, R"({"event":"prepared"})").IgnoreError(); });
      status = sessions_->Check();
    }
    if (!status.ok()) return SendFrame(kChildSocket, ErrorText(status));
    return SendFrame(kChildSocket, R"({"event":"ready"})");
  }

  absl::Status Answer(const std::string& request, const std::string& model) {
    if (backend_ == nullptr) return absl::FailedPreconditionError("there is no backend");
    if (sessions_ == nullptr) return AnswerAlone(request, model);
    FORALL_ASSIGN_OR_RETURN(const Profile profile, ProfileFromJson(request));
    absl::StatusOr<SessionSamples> samples;
    try {
      samples = sessions_->Run(model, profile, {});
    } catch (const std::bad_alloc&) {
      samples = absl::ResourceExhaustedError("out of memory");
    }
    if (!samples.ok()) return SendFrame(kChildSocket, ErrorText(samples.status()));
    const absl::Duration now = ProcessTime();
    samples->other_process_time = now - accounted_;
    accounted_ = now;
    samples->notes["peak_resident_bytes"] = absl::StrCat(PeakResidentBytes());
    if (!priority_refusal_.empty()) samples->notes["priority_refused"] = priority_refusal_;
    if (!confined_->empty()) {
      samples->notes["confinement_refused"] = absl::StrJoin(*confined_, "; ");
    }
    return SendFrame(kChildSocket,
                     absl::StrCat(R"({"event":"result","samples":)", SamplesToJson(*samples), "}"));
  }

  absl::Status AnswerAlone(const std::string& text, const std::string& model) {
    FORALL_ASSIGN_OR_RETURN(const LoneRequest request, LoneRequestFromJson(text));
    absl::StatusOr<LoneAnswer> answer;
    try {
      answer = request.load ? LoadAlone(model) : RunAlone(request.duration);
    } catch (const std::bad_alloc&) {
      answer = absl::ResourceExhaustedError("out of memory");
    }
    if (!answer.ok()) return SendFrame(kChildSocket, ErrorText(answer.status()));
    return SendFrame(kChildSocket, absl::StrCat(R"({"event":"result",")", kLoneAnswer, R"(":)",
                                                LoneAnswerToJson(*answer), "}"));
  }

  // The model's bytes are here already, so that only what loading and running need is counted.
  absl::StatusOr<LoneAnswer> LoadAlone(const std::string& model) {
    LocalSessions::Options options;
    options.backend = backend_.get();
    PeakMemoryProbe probe;
    const absl::Status reset = probe.Reset();
    // What is resident now, since the peak begins with it.
    const absl::StatusOr<PeakMemory> before = reset.ok() ? probe.Read() : reset;
    LocalSessions alone(std::move(options));
    FORALL_ASSIGN_OR_RETURN(lone_, alone.LoadAlone(model, {}));
    FORALL_RETURN_IF_ERROR(lone_->RunFor(kFirstRuns, {}).status());
    const absl::StatusOr<PeakMemory> after = probe.Read();
    LoneAnswer answer;
    if (before.ok() && after.ok()) {
      answer.peak_bytes = after->bytes - before->bytes;
    } else {
      answer.no_memory = std::string((before.ok() ? after : before).status().message());
    }
    return answer;
  }

  absl::StatusOr<LoneAnswer> RunAlone(absl::Duration duration) {
    if (lone_ == nullptr) return absl::FailedPreconditionError("no model was loaded");
    const absl::Duration before = ProcessTime();
    FORALL_ASSIGN_OR_RETURN(const LoneRun run, lone_->RunFor(duration, {}));
    LoneAnswer answer;
    answer.inferences = run.inferences;
    answer.process_time = ProcessTime() - before;
    return answer;
  }

  const BackendFactory& factory_;
  const std::string priority_refusal_;
  const absl::StatusOr<std::vector<std::string>> confined_;
  std::unique_ptr<LatencyBackend> backend_;
  std::unique_ptr<LocalSessions> sessions_;  // nullptr: models are loaded alone
  std::unique_ptr<LoneModel> lone_;
  absl::Duration accounted_;  // processor time that was reported
};

}  // namespace

int MeasuringChildMain(const BackendFactory& factory, int argc, char** argv,
                       const std::function<void()>& preload) {
  const absl::StatusOr<Confinement> confinement = ConfinementFromText(argc > 2 ? argv[2] : "");
  if (!confinement.ok()) {
    std::fprintf(stderr, "%s: %s\n", kMeasuringChild, confinement.status().ToString().c_str());
    return 2;
  }
  if (argc > 3 && std::string(argv[3]) == kTryConfinement) {
    // Not by return: what a sanitizer does at the end is refused here.
    _exit(PrintRefusals(Confine(*confinement, {})));
  }
  // Without it the child is merely not the first to be killed.
  std::ofstream("/proc/self/oom_score_adj") << 1000;
  std::string priority_refusal = RaisePriority();
  absl::StatusOr<std::vector<std::string>> confined = Confine(*confinement, preload);
  Thread watcher("parent", &EndWithParent);
  const absl::Status status =
      Child(factory, std::move(priority_refusal), std::move(confined)).Serve();
  // The watcher never returns, and there is nothing to tidy.
  _exit(absl::IsUnavailable(status) ? 0 : 1);
}

void PreloadRuntime() { OnnxRuntimeBackend::Create({}).status().IgnoreError(); }

absl::StatusOr<std::unique_ptr<LatencyBackend>> MakeBackend(absl::string_view configuration) {
  try {
    const Json json = Json::parse(configuration.begin(), configuration.end());
    if (json.at("backend").get<std::string>() != "onnxruntime") {
      return absl::InvalidArgumentError(
          absl::StrCat("no such backend in this process: ", configuration));
    }
    OnnxRuntimeBackend::Options options;
    options.threads = json.at("threads").get<int>();
    options.provider = json.at("provider").get<std::string>();
    options.batch = json.at("batch").get<int>();
    options.precision = json.at("precision").get<std::string>();
    options.provider_options =
        json.at("provider_options").get<std::map<std::string, std::string>>();
    options.session_config = json.at("session_config").get<std::map<std::string, std::string>>();
    options.allow_cpu_fallback = json.at("allow_cpu_fallback").get<bool>();
    options.engine_cache = json.at("engine_cache").get<std::string>();
    return OnnxRuntimeBackend::Create(options);
  } catch (const Json::exception& e) {
    return absl::InvalidArgumentError(
        absl::StrCat("a backend's configuration cannot be read: ", e.what()));
  }
}

std::string BackendConfiguration(const OnnxRuntimeBackend::Options& options) {
  return Json{{"backend", "onnxruntime"},
              {"threads", options.threads},
              {"provider", options.provider},
              {"batch", options.batch},
              {"precision", options.precision},
              {"provider_options", options.provider_options},
              {"session_config", options.session_config},
              {"allow_cpu_fallback", options.allow_cpu_fallback},
              {"engine_cache", options.engine_cache}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::vector<std::string> MeasuringChildCommand() {
  std::vector<std::string> command;
  const char* const launcher = getenv("FORALL_LAUNCHER");
  if (launcher != nullptr && *launcher != '\0') {
    command = absl::StrSplit(launcher, ' ', absl::SkipEmpty());
  } else {
    // Not the file's name: after an upgrade in place that is another build, or nothing.
    command.push_back("/proc/self/exe");
  }
  command.push_back(kMeasuringChild);
  return command;
}

absl::StatusOr<std::vector<std::string>> TryConfinement(const std::vector<std::string>& command,
                                                        const Confinement& confinement) {
  ProgramOptions program;
  program.argv = command;
  program.argv.push_back(ConfinementToText(confinement));
  program.argv.push_back(kTryConfinement);
  program.timeout = kTryLimit;
  const absl::StatusOr<ProgramOutput> output = RunProgram(program);
  std::string trouble;
  if (!output.ok()) {
    trouble = std::string(output.status().message());
  } else if (!output->end.ok()) {
    trouble = LastLine(output->standard_error);
    if (trouble.empty()) trouble = output->end.ToString();
  }
  if (!trouble.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("models cannot be kept in a process of their own: ", trouble));
  }
  return std::vector<std::string>(absl::StrSplit(output->standard_output, '\n', absl::SkipEmpty()));
}

}  // namespace forall
