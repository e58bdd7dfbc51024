// SPDX-License-Identifier: Apache-2.0
// forall quickstart: a whole search on one machine. Starts a controller and a worker, submits a
// job, watches it, prints the frontier and writes frontier.json, report.html and model.onnx.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/child_process.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/unique_id.h"
#include "cli/command.h"
#include "cli/frontier_format.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

std::atomic<bool> interrupted{false};

struct QuickstartOptions {
  std::string output = "quickstart";
  int32_t trials = 120;
  int64_t seed = 1;
  int32_t screening_images = 2500;
};

// Seconds per stage, in order.
class StageClock {
 public:
  StageClock() { ReadBuildStages(); }

  void Begin(const std::string& name) {
    End();
    current_ = name;
    start_ns_ = Clock::Real()->SteadyNanos();
  }
  void End() {
    if (current_.empty()) return;
    const double seconds = static_cast<double>(Clock::Real()->SteadyNanos() - start_ns_) * 1e-9;
    stages_.emplace_back(current_, seconds);
    current_.clear();
  }
  const std::vector<std::pair<std::string, double>>& stages() const { return stages_; }

 private:
  // What tools/quickstart.sh timed before this program existed: lines "name<TAB>seconds".
  void ReadBuildStages() {
    const char* path = std::getenv("FORALL_STAGE_LOG");
    if (path == nullptr) return;
    const absl::StatusOr<std::string> log = ReadFile(path, 1 << 20);
    if (!log.ok()) return;
    for (const absl::string_view line : absl::StrSplit(*log, '\n', absl::SkipEmpty())) {
      const std::vector<std::string> fields = absl::StrSplit(line, '\t');
      double seconds = 0;
      if (fields.size() == 2 && absl::SimpleAtod(fields[1], &seconds)) {
        stages_.emplace_back(fields[0], seconds);
      }
    }
  }

  std::vector<std::pair<std::string, double>> stages_;
  std::string current_;
  int64_t start_ns_ = 0;
};

// Not owned.
struct Children {
  ChildProcess* controller;
  ChildProcess* worker;
  std::string logs;  // folder
};

std::string ProgramFolder() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path().string();
}

// The repository that this program was built in: the nearest folder upwards that has the supernet.
absl::StatusOr<std::string> RepositoryFolder(const std::string& programs) {
  for (std::filesystem::path folder = programs; folder.has_relative_path();
       folder = folder.parent_path()) {
    if (std::filesystem::exists(folder / "supernets/fashion_mnist/weights.safetensors")) {
      return folder.string();
    }
  }
  return absl::NotFoundError(
      "supernets/fashion_mnist is not there: run the program out of the repository's build folder");
}

// The controller writes its address when it listens; a dead controller never will.
absl::StatusOr<std::string> AwaitPort(const std::string& port_file, ChildProcess* controller,
                                      const std::string& log) {
  for (int i = 0; i < 600; ++i) {
    const absl::StatusOr<std::string> port = ReadFile(port_file, 1024);
    if (port.ok() && !port->empty()) {
      return absl::StrCat("127.0.0.1:", absl::StripAsciiWhitespace(*port));
    }
    if (!controller->IsRunning()) {
      return absl::InternalError(absl::StrCat("the controller ended at once; see ", log));
    }
    Clock::Real()->SleepFor(absl::Milliseconds(50));
  }
  return absl::DeadlineExceededError(
      absl::StrCat("the controller did not start within 30 s; see ", log));
}

v1::SearchJobSpec MakeSpec(const QuickstartOptions& options) {
  v1::SearchJobSpec spec;
  spec.set_display_name("quickstart");
  spec.set_supernet("supernets/fashion_mnist");
  spec.add_objectives()->set_metric("accuracy_top1");
  spec.add_objectives()->set_metric("latency_ms");
  // Half of what the largest subnet takes: what a small device affords, and two cores in five
  // minutes.
  v1::Constraint* limit = spec.add_constraints();
  limit->set_metric("macs");
  limit->set_at_most(40e6);
  spec.mutable_budget()->set_max_trials(options.trials);
  spec.set_seed(options.seed);
  // So that a second run makes the same proposals, and has them measured already.
  spec.set_cold_start(true);
  spec.mutable_fidelity()->set_screening_images(options.screening_images);
  // Measured on this supernet: top-1 within 0.12 points (RMS) of 4,000 images (supernet/export.h).
  spec.mutable_fidelity()->set_calibration_images(500);
  spec.mutable_fidelity()->set_test_split(true);
  return spec;
}

// What an interrupted run has left: a job that asks for the same goes on, others are cancelled, so
// that they take no time from this one.
absl::StatusOr<v1::SearchJob> SubmitOrResume(Client* client, const v1::SearchJobSpec& spec) {
  FORALL_ASSIGN_OR_RETURN(const std::vector<v1::SearchJob> jobs, client->ListJobs());
  for (const v1::SearchJob& job : jobs) {
    if (HasEnded(job.state())) continue;
    v1::SearchJobSpec filled = job.spec();  // as accepted: defaults are filled in
    filled.MergeFrom(spec);
    *filled.mutable_objectives() = job.spec().objectives();
    *filled.mutable_constraints() = spec.constraints();
    if (filled.SerializeAsString() == job.spec().SerializeAsString()) {
      std::cerr << "goes on with " << job.name() << ", which an earlier run left unfinished\n";
      if (job.state() != v1::SearchJob::PAUSED) return job;
      v1::ResumeSearchJobRequest resume;
      resume.set_name(job.name());
      return client->Call(client->search(), &v1::SearchService::Stub::ResumeSearchJob, resume);
    }
    std::cerr << "cancels " << job.name() << ", which an earlier run left unfinished\n";
    v1::CancelSearchJobRequest cancel;
    cancel.set_name(job.name());
    FORALL_RETURN_IF_ERROR(
        client->Call(client->search(), &v1::SearchService::Stub::CancelSearchJob, cancel).status());
  }
  v1::SubmitSearchJobRequest submit;
  *submit.mutable_spec() = spec;
  submit.set_request_id(NewUniqueId());
  return client->Call(client->search(), &v1::SearchService::Stub::SubmitSearchJob, submit);
}

// Follows the job, timing the search and the final measurements as stages of their own.
absl::StatusOr<v1::SearchJob> WatchToEnd(Client* client, const std::string& name,
                                         StageClock* stages, const Children& children) {
  ProgressPrinter printer(&std::cerr, TerminalWidth(STDERR_FILENO));
  v1::SearchJob job;
  bool finalizing = false;
  const absl::Status status = client->WatchJob(
      name,
      [&](const v1::SearchJobUpdate& update) {
        job = update.search_job();
        // The worker is under way already: nobody has to start one.
        if (!job.waiting_reason().empty() && job.measured_trials() + job.infeasible_trials() == 0) {
          job.set_waiting_reason("the worker that was just started");
        }
        printer.Update(job, Clock::Real()->Now());
        if (job.state() == v1::SearchJob::FINALIZING && !finalizing) {
          finalizing = true;
          stages->Begin("finalize");
        }
      },
      [&] {
        return interrupted || !children.worker->IsRunning() || !children.controller->IsRunning();
      });
  printer.Finish();
  if (interrupted)
    return absl::CancelledError("interrupted; what was measured is kept, run it again to go on");
  for (const auto& [child, what] :
       {std::pair(children.controller, "controller"), std::pair(children.worker, "worker")}) {
    if (!HasEnded(job.state()) && !child->IsRunning()) {
      return absl::InternalError(
          absl::StrCat("the ", what, " ended before the job did; see ", children.logs, "/", what,
                       ".log, then run it again: ", "what was measured is kept"));
    }
  }
  FORALL_RETURN_IF_ERROR(status);
  if (job.state() != v1::SearchJob::SUCCEEDED) {
    return absl::InternalError(absl::StrCat("the job ", StateName(job.state()), ": ", job.error()));
  }
  return job;
}

absl::Status WriteFrontierJson(const QuickstartOptions& options, const v1::SearchJob& job,
                               const v1::QueryParetoFrontierResponse& frontier,
                               const StageClock& stages) {
  nlohmann::ordered_json json;
  json["search_job"] = job.name();
  json["supernet"] = job.spec().supernet();
  json["measured_subnets"] = job.measured_trials();
  json["reused_subnets"] = job.reused_trials();
  json["seed"] = job.spec().seed();
  for (const auto& [name, seconds] : stages.stages()) json["seconds"][name] = seconds;
  json.update(FrontierJson(frontier));
  return WriteFileAtomically(absl::StrCat(options.output, "/frontier.json"), json.dump(2) + "\n");
}

absl::Status Quickstart(const QuickstartOptions& options) {
  FORALL_RETURN_IF_ERROR(LocalFile(CreateDirectories(options.output)));
  const std::string programs = ProgramFolder();
  FORALL_ASSIGN_OR_RETURN(const std::string source, RepositoryFolder(programs));
  const std::string port_file = options.output + "/controller.port";
  const std::string controller_log = options.output + "/controller.log";
  const std::string worker_log = options.output + "/worker.log";
  std::filesystem::remove(port_file);

  struct sigaction on_interrupt = {};
  on_interrupt.sa_handler = [](int) { interrupted = true; };
  sigaction(SIGINT, &on_interrupt, nullptr);
  sigaction(SIGTERM, &on_interrupt, nullptr);

  StageClock stages;
  stages.Begin("start");
  FORALL_ASSIGN_OR_RETURN(
      const auto controller,
      ChildProcess::Start({programs + "/forall-controller", "--db", options.output + "/forall.db",
                           "--listen", "127.0.0.1:0", "--port-file", port_file, "--supernet",
                           source + "/supernets/fashion_mnist"},
                          controller_log));
  FORALL_ASSIGN_OR_RETURN(const std::string address,
                          AwaitPort(port_file, controller.get(), controller_log));
  FORALL_ASSIGN_OR_RETURN(
      const auto worker,
      ChildProcess::Start(
          {.argv = {programs + "/forall-worker", "--controller", address, "--data",
                    source + "/build/deps/fashion-mnist", "--cache", options.output + "/cache"},
           .log_path = worker_log,
           // What is set for another controller is not for this one.
           .environment = {"FORALL_TLS_CA=", "FORALL_TLS_CERT=", "FORALL_TLS_KEY=",
                           "FORALL_TOKEN_FILE=", "FORALL_TOKEN="}}));
  Client client(ControllerEndpoint{.address = address});

  FORALL_ASSIGN_OR_RETURN(const v1::SearchJob submitted,
                          SubmitOrResume(&client, MakeSpec(options)));
  std::cerr << submitted.name() << ": " << options.trials << " subnets of "
            << submitted.spec().supernet()
            << " with at most 40 M MACs, accuracy against latency on this machine\n";
  stages.Begin("search");
  FORALL_ASSIGN_OR_RETURN(const v1::SearchJob job,
                          WatchToEnd(&client, submitted.name(), &stages,
                                     {controller.get(), worker.get(), options.output}));
  stages.Begin("report");
  v1::QueryParetoFrontierRequest query;
  query.set_parent(job.name());
  FORALL_ASSIGN_OR_RETURN(
      const v1::QueryParetoFrontierResponse frontier,
      client.Call(client.search(), &v1::SearchService::Stub::QueryParetoFrontier, query));
  v1::ExportSubnetRequest knee;
  knee.set_name(job.name());
  FORALL_ASSIGN_OR_RETURN(
      const v1::ExportSubnetResponse exported,
      client.Call(client.search(), &v1::SearchService::Stub::ExportSubnet, knee));
  FORALL_RETURN_IF_ERROR(
      client.DownloadArtifact(exported.artifact_sha256(), options.output + "/model.onnx"));
  FORALL_ASSIGN_OR_RETURN(const std::string report, client.GetReport(job.name()));
  FORALL_RETURN_IF_ERROR(WriteFileAtomically(options.output + "/report.html", report));
  stages.End();
  FORALL_RETURN_IF_ERROR(WriteFrontierJson(options, job, frontier, stages));

  std::cout << "\n" << FrontierTable(frontier, OutputWidth()) << "\n";
  for (const auto& [name, seconds] : stages.stages()) {
    std::cout << absl::StrFormat("%-20s %7.1f s\n", name, seconds);
  }
  std::cout << "\n"
            << job.measured_trials() << " subnets measured (" << job.reused_trials()
            << " of them known from earlier runs)\n"
            << options.output << "/report.html    open it in a browser\n"
            << options.output << "/frontier.json  the same for programs\n"
            << options.output << "/model.onnx     the knee (*), " << exported.trial().name()
            << "\n";
  worker->Stop(absl::Seconds(10));
  controller->Stop(absl::Seconds(10));
  return absl::OkStatus();
}

}  // namespace

void AddQuickstartCommand(CLI::App* app, CommandContext* context) {
  auto options = std::make_shared<QuickstartOptions>();
  CLI::App* command =
      app->add_subcommand("quickstart", "A whole search on this machine with the supernet shipped");
  command->add_option("--output", options->output, "Folder for results and the database")
      ->capture_default_str();
  command->add_option("--trials", options->trials, "Subnets to measure")
      ->envname("FORALL_QUICKSTART_TRIALS")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Another seed explores other subnets")
      ->capture_default_str();
  command
      ->add_option("--screening-images", options->screening_images,
                   "Validation images for the first look at a subnet")
      ->capture_default_str();
  command->callback([options, context] {
    context->needs_controller = false;
    context->action = [options] { return Quickstart(*options); };
  });
}

}  // namespace forall
