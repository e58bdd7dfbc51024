// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <iostream>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "base/unique_id.h"
#include "cli/command.h"
#include "cli/error_words.h"
#include "cli/estimate_format.h"
#include "cli/expressions.h"
#include "cli/job_file.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

struct SubmitOptions {
  std::string file;
  std::string supernet;
  std::vector<std::string> objectives;
  std::vector<std::string> constraints;
  std::string sampler;
  std::optional<int32_t> trials;
  std::optional<int64_t> seed;
  std::string name;
  std::optional<int32_t> parallelism;
  std::optional<int32_t> priority;
  std::optional<float> weight;
  std::string request_id;
  std::string accuracy_predictor;
  bool cold_start = false;
  bool dry_run = false;
  bool json = false;
  std::vector<std::string> latency_tables;
};

// The file's job with what the flags say laid over it.
absl::StatusOr<v1::SearchJobSpec> MakeSpec(const SubmitOptions& options) {
  v1::SearchJobSpec spec;
  if (!options.file.empty()) {
    const absl::StatusOr<std::string> text = ReadFile(options.file, 1 << 20);
    if (absl::IsResourceExhausted(text.status())) {
      return absl::InvalidArgumentError(
          absl::StrCat(options.file, ": a job file is at most 1 MiB"));
    }
    FORALL_RETURN_IF_ERROR(LocalFile(text.status()));
    absl::StatusOr<v1::SearchJobSpec> parsed = ParseJobFile(*text);
    if (!parsed.ok()) return WithContext(parsed.status(), options.file);
    spec = *std::move(parsed);
  }
  if (!options.supernet.empty()) spec.set_supernet(WithCollection("supernets", options.supernet));
  if (!options.objectives.empty()) {
    spec.clear_objectives();
    for (const std::string& text : options.objectives) {
      FORALL_ASSIGN_OR_RETURN(*spec.add_objectives(), ParseObjective(text));
    }
  }
  if (!options.constraints.empty()) {
    spec.clear_constraints();
    for (const std::string& text : options.constraints) {
      FORALL_ASSIGN_OR_RETURN(*spec.add_constraints(), ParseConstraint(text));
    }
  }
  if (!options.sampler.empty()) spec.mutable_sampler()->set_algorithm(options.sampler);
  if (options.trials.has_value()) spec.mutable_budget()->set_max_trials(*options.trials);
  if (options.file.empty() && !options.trials.has_value()) {
    return absl::InvalidArgumentError("--trials: how many subnets to measure, e.g. --trials 200");
  }
  if (!options.trials.has_value() && spec.budget().max_trials() == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.file,
                     ": budget.max_trials is missing: how many subnets to measure, "
                     "e.g. budget: {max_trials: 200}, or --trials 200"));
  }
  if (spec.supernet().empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.file.empty()
                         ? "--supernet: which one to search"
                         : absl::StrCat(options.file, ": supernet is missing; or --supernet NAME"),
                     "; forall supernets lists them"));
  }
  if (options.seed.has_value()) spec.set_seed(*options.seed);
  if (!options.name.empty()) spec.set_display_name(options.name);
  if (!options.accuracy_predictor.empty()) {
    spec.set_accuracy_predictor(options.accuracy_predictor);
  }
  if (options.cold_start) spec.set_cold_start(true);
  if (!options.latency_tables.empty()) {
    spec.clear_latency_tables();
    for (const std::string& file : options.latency_tables) spec.add_latency_tables(file);
  }
  if (options.parallelism.has_value()) spec.set_parallelism(*options.parallelism);
  if (options.priority.has_value()) spec.set_priority(*options.priority);
  if (options.weight.has_value()) spec.set_weight(*options.weight);
  return spec;
}

absl::Status Estimate(v1::SearchJobSpec spec, bool json, Client* client) {
  v1::EstimateSearchJobRequest request;
  *request.mutable_spec() = std::move(spec);
  absl::StatusOr<v1::SearchJobEstimate> answer =
      client->Call(client->search(), &v1::SearchService::Stub::EstimateSearchJob, request);
  FORALL_RETURN_IF_ERROR(InUserWords(answer.status(), request.spec()));
  v1::SearchJobEstimate& estimate = *answer;
  for (std::string& warning : *estimate.mutable_warnings()) {
    warning = InUserWords(warning, request.spec());
  }
  std::cout << (json ? EstimateJson(estimate).dump(2) + "\n" : EstimateTable(estimate));
  return absl::OkStatus();
}

// What a guided job begins with; 0 too when it cannot be told, which the submission then explains.
int32_t KnownSubnets(const v1::SearchJobSpec& spec, Client* client) {
  const std::string& algorithm = spec.sampler().algorithm();
  if (spec.cold_start() || (!algorithm.empty() && algorithm != "guided")) return 0;
  v1::EstimateSearchJobRequest request;
  *request.mutable_spec() = spec;
  const absl::StatusOr<v1::SearchJobEstimate> estimate =
      client->Call(client->search(), &v1::SearchService::Stub::EstimateSearchJob, request);
  return estimate.ok() ? estimate->known_subnets() : 0;
}

// Files are given to the controller first; what it holds already is named by its hash.
absl::Status UploadFiles(Client* client, v1::SearchJobSpec* spec) {
  if (const std::string file = spec->accuracy_predictor(); !file.empty() && !IsSha256Hex(file)) {
    FORALL_RETURN_IF_ERROR(RefuseCheckpoint(file, "forall predictor import"));
    absl::StatusOr<std::string> uploaded = client->UploadArtifact(file);
    if (!uploaded.ok()) return WithContext(uploaded.status(), "accuracy_predictor");
    spec->set_accuracy_predictor(*uploaded);
  }
  for (int i = 0; i < spec->latency_tables_size(); ++i) {
    const std::string file = spec->latency_tables(i);
    if (IsSha256Hex(file)) continue;
    const std::string field = absl::StrCat("latency_tables[", i, "]");
    FORALL_RETURN_IF_ERROR(WithContext(ReadLatencyTable(file).status(), field));
    absl::StatusOr<std::string> uploaded = client->UploadArtifact(file);
    if (!uploaded.ok()) return WithContext(uploaded.status(), field);
    spec->set_latency_tables(i, *uploaded);
  }
  return absl::OkStatus();
}

absl::Status Submit(const SubmitOptions& options, const CommandContext& context) {
  if (options.json && !options.dry_run) {
    return absl::InvalidArgumentError("--json: is of --dry-run");
  }
  FORALL_ASSIGN_OR_RETURN(v1::SearchJobSpec spec, MakeSpec(options));
  Client client(context.controller);
  FORALL_RETURN_IF_ERROR(UploadFiles(&client, &spec));
  if (options.dry_run) return Estimate(std::move(spec), options.json, &client);
  const int32_t known = KnownSubnets(spec, &client);
  v1::SubmitSearchJobRequest request;
  *request.mutable_spec() = std::move(spec);
  // Unique, so that a call that the network repeats makes one job.
  request.set_request_id(options.request_id.empty() ? NewUniqueId() : options.request_id);
  const absl::StatusOr<v1::SearchJob> submitted =
      client.Call(client.search(), &v1::SearchService::Stub::SubmitSearchJob, request);
  if (absl::IsAborted(submitted.status()) || absl::IsDeadlineExceeded(submitted.status())) {
    return WithContext(
        submitted.status(),
        absl::StrCat("whether the job was accepted is not known; submit it again with "
                     "--request-id ",
                     request.request_id(), " and it becomes one job"));
  }
  FORALL_RETURN_IF_ERROR(InUserWords(submitted.status(), request.spec()));
  const v1::SearchJob& job = *submitted;
  std::cout << job.name() << "\n";
  for (const std::string& warning : job.warnings()) {
    std::cerr << "Warning: " << InUserWords(warning, job.spec()) << "\n";
  }
  if (known > 0) {
    std::cerr << "It begins with " << known << (known == 1 ? " subnet" : " subnets")
              << " of the supernet whose values are known (--cold-start: without them).\n";
  }
  std::cerr << "Submitted. Follow it with: forall watch " << job.name() << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddSubmitCommand(CLI::App* app, CommandContext* context) {
  auto options = std::make_shared<SubmitOptions>();
  CLI::App* command =
      app->add_subcommand("submit", "Start a search job, from a file, flags, or both");
  // Not checked here: a misspelt flag's value would be taken for a file that is not there.
  command->add_option("file", options->file, "Job as YAML or JSON; docs/jobs.md has the fields");
  command->add_option("--supernet", options->supernet, "Which supernet to search");
  command
      ->add_option("--objective", options->objectives,
                   "METRIC, METRIC@DEVICE or METRIC@class:LABEL; may be repeated")
      ->allow_extra_args(false);
  command
      ->add_option("--constraint", options->constraints,
                   "METRIC<=NUMBER or METRIC>=NUMBER; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--sampler", options->sampler,
                      "guided (default), nsga2, evolution or random");
  command->add_option("--trials", options->trials, "Subnets to measure");
  command->add_option("--seed", options->seed, "Same seed and results, same proposals")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()));
  command->add_option("--accuracy-predictor", options->accuracy_predictor,
                      "For predicted_accuracy_top1: a file of forall predictor import");
  command->add_flag("--dry-run", options->dry_run,
                    "Say what the job would cost, and start nothing");
  command->add_flag("--json", options->json, "With --dry-run: as JSON");
  command->add_flag("--cold-start", options->cold_start,
                    "Do not learn from what was measured on the supernet before");
  command
      ->add_option("--latency-table", options->latency_tables,
                   "A file of forall table build or import; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--name", options->name, "A name for people");
  command->add_option("--parallelism", options->parallelism,
                      "Trials in flight at once; 0: decided by the number of workers");
  command->add_option("--priority", options->priority,
                      "-100 to 100: its tasks go before all of lower priority; 0 when not given");
  command->add_option("--weight", options->weight,
                      "0.01 to 100: its share among one's own jobs of that priority; 1");
  command->add_option("--request-id", options->request_id,
                      "Repeating a submission with it returns the first one's job");
  command->footer(
      "Everything else (images for screening, time budget, test split, population, dataset) is a "
      "field\n"
      "of a job file: docs/jobs.md. Without a file, every subnet is classified on all validation "
      "images.");
  command->callback([options, context] {
    context->action = [options, context] { return Submit(*options, *context); };
  });
}

}  // namespace forall
