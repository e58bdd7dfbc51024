// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <iostream>
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/expressions.h"
#include "cli/progress.h"
#include "cli/terminal.h"

namespace forall {
namespace {

// What `forall frontier` takes to look at every job of the supernet.
std::string EverythingKnown(const v1::SearchJobSpec& spec) {
  std::string text = absl::StrCat("--supernet ", absl::StripPrefix(spec.supernet(), "supernets/"));
  for (const v1::Objective& objective : spec.objectives()) {
    absl::StrAppend(&text, " --objective ", ObjectiveText(objective));
  }
  return text;
}

absl::Status Watch(const std::string& name, const CommandContext& context) {
  Client client(context.controller);
  ProgressPrinter printer(&std::cerr, TerminalWidth(STDERR_FILENO));
  v1::SearchJob last;
  const absl::Status status =
      client.WatchJob(WithCollection("searchJobs", name), [&](const v1::SearchJobUpdate& update) {
        last = update.search_job();
        printer.Update(last, Clock::Real()->Now());
      });
  printer.Finish();
  FORALL_RETURN_IF_ERROR(status);
  if (last.state() == v1::SearchJob::SUCCEEDED) {
    std::cerr << "Done: " << last.measured_trials() << " subnets measured"
              << (last.infeasible_trials() > 0
                      ? absl::StrCat(", ", last.infeasible_trials(), " more break a constraint")
                      : "")
              << (last.spared_accuracies() > 0
                      ? absl::StrCat(" (", last.spared_accuracies(),
                                     " by their latency alone, which spared their accuracy)")
                      : "")
              << "; " << last.frontier_size() << " on the frontier. "
              << (last.stop_reason().empty()
                      ? ""
                      : absl::StrCat("It stopped early: ", last.stop_reason(), ". "))
              << "Next: forall frontier " << last.name() << "\n";
    if (last.reused_trials() > 0) {
      std::cerr << last.reused_trials() << " of them needed nothing new: earlier jobs had measured "
                << "them. Over all that is known: forall frontier " << EverythingKnown(last.spec())
                << "\n";
    }
    return absl::OkStatus();
  }
  if (last.state() == v1::SearchJob::CANCELLED)
    return absl::CancelledError("the job was cancelled");
  return absl::InternalError(absl::StrCat("the job failed: ", last.error()));
}

}  // namespace

void AddWatchCommand(CLI::App* app, CommandContext* context) {
  auto name = std::make_shared<std::string>();
  CLI::App* command =
      app->add_subcommand("watch", "Follow a job: progress, time left, hypervolume; ends with it");
  command->add_option("job", *name, "searchJobs/N or N")->required();
  command->callback(
      [name, context] { context->action = [name, context] { return Watch(*name, *context); }; });
}

}  // namespace forall
