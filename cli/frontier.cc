// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <iostream>
#include <memory>
#include <vector>

#include "CLI/CLI.hpp"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/error_words.h"
#include "cli/expressions.h"
#include "cli/frontier_format.h"
#include "cli/jobs_format.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

struct FrontierOptions {
  std::string job;
  std::string supernet;
  std::vector<std::string> objectives;
  std::vector<std::string> constraints;
  std::string format = "table";
};

// On standard error: of a job that has ended without a frontier, how and why; below a table, how
// many trials were lost.
absl::Status SayWhatIsMissing(const std::string& name, bool table, Client* client) {
  FORALL_ASSIGN_OR_RETURN(const v1::SearchJob job, client->GetJob(name));
  if (HasEnded(job.state()) && job.measured_trials() == 0) {
    std::cerr << job.name() << " " << StateName(job.state()) << " with nothing measured in full"
              << (job.error().empty() ? "" : ": ") << job.error() << "\n";
  }
  if (table) std::cerr << LostTrialsText(job);
  return absl::OkStatus();
}

absl::Status ShowFrontier(const FrontierOptions& options, const CommandContext& context) {
  v1::QueryParetoFrontierRequest request;
  if (!options.job.empty()) request.set_parent(WithCollection("searchJobs", options.job));
  if (!options.supernet.empty())
    request.set_supernet(WithCollection("supernets", options.supernet));
  if (options.job.empty() && options.supernet.empty()) {
    return absl::InvalidArgumentError(
        "name a job, or --supernet NAME with --objective for everything ever measured on it");
  }
  for (const std::string& text : options.objectives) {
    FORALL_ASSIGN_OR_RETURN(*request.add_objectives(), ParseObjective(text));
  }
  for (const std::string& text : options.constraints) {
    FORALL_ASSIGN_OR_RETURN(*request.add_constraints(), ParseConstraint(text));
  }
  Client client(context.controller);
  const absl::StatusOr<v1::QueryParetoFrontierResponse> answer =
      client.Call(client.search(), &v1::SearchService::Stub::QueryParetoFrontier, request);
  FORALL_RETURN_IF_ERROR(InUserWords(answer.status(), request));
  const v1::QueryParetoFrontierResponse& frontier = *answer;
  if (options.format == "json") {
    std::cout << FrontierJson(frontier).dump(2) << "\n";
  } else if (options.format == "csv") {
    std::cout << FrontierCsv(frontier);
    std::cerr << ClosestText(frontier, TerminalWidth(STDERR_FILENO));
  } else {
    std::cout << FrontierTable(frontier, OutputWidth());
  }
  std::cout << std::flush;
  const bool table = options.format == "table";
  if (options.job.empty() || (!table && !frontier.members().empty())) return absl::OkStatus();
  return SayWhatIsMissing(request.parent(), table, &client);
}

}  // namespace

void AddFrontierCommand(CLI::App* app, CommandContext* context) {
  auto options = std::make_shared<FrontierOptions>();
  CLI::App* command = app->add_subcommand(
      "frontier", "The subnets that no other measured one beats, by any objectives");
  command->add_option("job", options->job, "searchJobs/N or N; without it --supernet");
  command->add_option("--supernet", options->supernet, "Over every job of this supernet");
  command
      ->add_option("--objective", options->objectives,
                   "METRIC, METRIC@DEVICE or METRIC@class:LABEL; may be repeated; the job's own by "
                   "default")
      ->allow_extra_args(false);
  command
      ->add_option("--constraint", options->constraints,
                   "METRIC<=NUMBER or METRIC>=NUMBER, on top of the job's own; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--format", options->format, "table, csv or json")
      ->check(CLI::IsMember({"table", "csv", "json"}))
      ->capture_default_str();
  command->callback([options, context] {
    context->action = [options, context] { return ShowFrontier(*options, *context); };
  });
}

}  // namespace forall
