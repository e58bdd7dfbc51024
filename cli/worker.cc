// SPDX-License-Identifier: Apache-2.0
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/clock.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/expressions.h"
#include "cli/inspect_format.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

struct InspectOptions {
  std::string worker;
  int last = 20;
  std::string format = "table";
};

// What the worker measured beside its last latencies, as the trials tell that they were made for.
// A trial that is gone by now tells nothing.
absl::StatusOr<std::vector<v1::Measurement>> FindBeside(const v1::WorkerInspection& inspection,
                                                        Client* client) {
  std::vector<v1::Measurement> beside;
  std::set<std::string> seen;
  for (const v1::Measurement& latency : inspection.latencies()) {
    if (latency.trial().empty() || !seen.insert(latency.trial()).second) continue;
    v1::GetTrialRequest request;
    request.set_name(latency.trial());
    const absl::StatusOr<v1::Trial> trial =
        client->Call(client->search(), &v1::SearchService::Stub::GetTrial, request);
    if (absl::IsNotFound(trial.status())) continue;
    FORALL_RETURN_IF_ERROR(trial.status());
    for (v1::Measurement& measurement : MeasuredBeside(*trial, inspection.worker().name())) {
      beside.push_back(std::move(measurement));
    }
  }
  return beside;
}

absl::Status InspectWorker(const InspectOptions& options, const CommandContext& context) {
  v1::InspectWorkerRequest request;
  request.set_name(WithCollection("workers", options.worker));
  request.set_latencies(options.last);
  Client client(context.controller);
  FORALL_ASSIGN_OR_RETURN(
      const v1::WorkerInspection inspection,
      client.Call(client.fleet(), &v1::FleetService::Stub::InspectWorker, request));
  FORALL_ASSIGN_OR_RETURN(const std::vector<v1::Measurement> beside,
                          FindBeside(inspection, &client));
  if (options.format == "json") {
    // A worker's texts may be no UTF-8.
    std::cout << InspectionJson(inspection, beside)
                     .dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace)
              << "\n";
  } else {
    std::cout << InspectionText(inspection, beside, Clock::Real()->Now());
  }
  return absl::OkStatus();
}

}  // namespace

void AddWorkerCommand(CLI::App* app, CommandContext* context) {
  CLI::App* worker = app->add_subcommand("worker", "Look at one worker");
  worker->require_subcommand(1);
  auto options = std::make_shared<InspectOptions>();
  CLI::App* inspect = worker->add_subcommand(
      "inspect", "Its device, clocks and temperatures, baselines and drift, and its last verdicts");
  inspect->add_option("worker", options->worker, "workers/ID or ID, as forall workers lists them")
      ->required();
  inspect->add_option("--last", options->last, "How many of its last latencies")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  inspect->add_option("--format", options->format, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  inspect->callback([options, context] {
    context->action = [options, context] { return InspectWorker(*options, *context); };
  });
}

}  // namespace forall
