// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/expressions.h"
#include "cli/jobs_format.h"
#include "cli/progress.h"
#include "cli/terminal.h"

namespace forall {
namespace {

absl::Status ListJobs(const CommandContext& context) {
  Client client(context.controller);
  FORALL_ASSIGN_OR_RETURN(const std::vector<v1::SearchJob> jobs, client.ListJobs());
  if (jobs.empty()) {
    std::cerr << "No jobs yet. Start one: forall submit --help\n";
    return absl::OkStatus();
  }
  std::cout << JobsTable(jobs, absl::LocalTimeZone(), OutputWidth());
  return absl::OkStatus();
}

absl::Status ShowJob(const std::string& name, const CommandContext& context) {
  Client client(context.controller);
  FORALL_ASSIGN_OR_RETURN(const v1::SearchJob job,
                          client.GetJob(WithCollection("searchJobs", name)));
  TrialReasons reasons;
  if (job.infeasible_trials() + job.failed_trials() > 0) {
    FORALL_RETURN_IF_ERROR(
        client.ForEachTrial(job.name(), [&reasons](v1::Trial&& trial) { reasons.Add(trial); }));
  }
  std::cout << JobText(job, reasons, OutputWidth());
  return absl::OkStatus();
}

absl::Status ShowTrial(const std::string& name, const CommandContext& context) {
  Client client(context.controller);
  v1::GetTrialRequest request;
  request.set_name(WithCollection("searchJobs", name));
  FORALL_ASSIGN_OR_RETURN(
      const v1::Trial trial,
      client.Call(client.search(), &v1::SearchService::Stub::GetTrial, request));
  std::cout << TrialText(trial, OutputWidth());
  return absl::OkStatus();
}

// Asks, unless the answer is known, whether what the text says is to be deleted.
absl::Status ConfirmDeletion(const std::string& text, bool yes) {
  if (yes) return absl::OkStatus();
  std::cerr << text;
  if (isatty(STDIN_FILENO) == 0) {
    return absl::InvalidArgumentError("a deletion cannot be taken back: say --yes");
  }
  std::cerr << "It cannot be taken back. Type yes to go on: ";
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "yes" ? absl::OkStatus() : absl::CancelledError("nothing was deleted");
}

absl::Status DeleteSupernet(const std::string& name, bool yes, const CommandContext& context) {
  Client client(context.controller);
  v1::DeleteSupernetRequest request;
  request.set_name(name);
  request.set_dry_run(true);
  const auto call = [&] {
    return client.Call(client.search(), &v1::SearchService::Stub::DeleteSupernet, request);
  };
  FORALL_ASSIGN_OR_RETURN(v1::DeleteSupernetResponse response, call());
  FORALL_RETURN_IF_ERROR(ConfirmDeletion(
      SupernetDeletionText(name, response, /*done=*/false, TerminalWidth(STDERR_FILENO)), yes));
  request.set_dry_run(false);
  FORALL_ASSIGN_OR_RETURN(response, call());
  std::cout << SupernetDeletionText(name, response, /*done=*/true, OutputWidth());
  return absl::OkStatus();
}

absl::Status DeleteJob(const std::string& name, bool yes, const CommandContext& context) {
  if (absl::StartsWith(name, "supernets/")) return DeleteSupernet(name, yes, context);
  Client client(context.controller);
  FORALL_ASSIGN_OR_RETURN(const v1::SearchJob job,
                          client.GetJob(WithCollection("searchJobs", name)));
  if (!job.has_end_time()) {
    return absl::FailedPreconditionError(
        absl::StrCat(job.name(), " is ", StateName(job.state()),
                     ": wait for its end, or end it first with forall cancel ", name));
  }
  FORALL_RETURN_IF_ERROR(
      ConfirmDeletion(DeletionText(job, /*done=*/false, TerminalWidth(STDERR_FILENO)), yes));
  v1::DeleteSearchJobRequest request;
  request.set_name(job.name());
  FORALL_RETURN_IF_ERROR(
      client.Call(client.search(), &v1::SearchService::Stub::DeleteSearchJob, request).status());
  std::cout << DeletionText(job, /*done=*/true, OutputWidth());
  return absl::OkStatus();
}

template <typename Request>
using JobMethod = grpc::Status (v1::SearchService::Stub::*)(grpc::ClientContext*, const Request&,
                                                            v1::SearchJob*);

// cancel, pause, resume: one name in, the job out.
template <typename Request>
void AddStateCommand(CLI::App* app, CommandContext* context, const char* verb, const char* help,
                     JobMethod<Request> method) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = app->add_subcommand(verb, help);
  command->add_option("job", *name, "searchJobs/N or N")->required();
  command->callback([=] {
    context->action = [=]() -> absl::Status {
      Client client(context->controller);
      Request request;
      request.set_name(WithCollection("searchJobs", *name));
      FORALL_ASSIGN_OR_RETURN(const v1::SearchJob job,
                              client.Call(client.search(), method, request));
      std::cout << job.name() << " " << StateName(job.state()) << "\n";
      return absl::OkStatus();
    };
  });
}

}  // namespace

void AddJobCommands(CLI::App* app, CommandContext* context) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = app->add_subcommand(
      "jobs", "List jobs, newest first; or one, and why trials of it are infeasible or failed");
  command->add_option("job", *name, "searchJobs/N or N: only this one");
  command->callback([=] {
    context->action = [=] { return name->empty() ? ListJobs(*context) : ShowJob(*name, *context); };
  });
  auto trial = std::make_shared<std::string>();
  command = app->add_subcommand("trial", "One subnet of a job: why it failed, what was measured");
  command->add_option("trial", *trial, "searchJobs/N/trials/M or N/trials/M")->required();
  command->callback([=] { context->action = [=] { return ShowTrial(*trial, *context); }; });
  AddStateCommand<v1::CancelSearchJobRequest>(app, context, "cancel",
                                              "Stop a job; what it measured stays",
                                              &v1::SearchService::Stub::CancelSearchJob);
  AddStateCommand<v1::PauseSearchJobRequest>(app, context, "pause", "Propose nothing new for now",
                                             &v1::SearchService::Stub::PauseSearchJob);
  AddStateCommand<v1::ResumeSearchJobRequest>(app, context, "resume", "Go on with a paused job",
                                              &v1::SearchService::Stub::ResumeSearchJob);
  auto deleted = std::make_shared<std::string>();
  auto yes = std::make_shared<bool>(false);
  command = app->add_subcommand("delete",
                                "Remove a job that has ended, for good; what was measured stays. "
                                "Or a supernet that no job uses, with all its numbers");
  command->add_option("name", *deleted, "searchJobs/N or N; supernets/NAME")->required();
  command->add_flag("--yes", *yes, "Do not ask");
  command->callback([=] { context->action = [=] { return DeleteJob(*deleted, *yes, *context); }; });
}

}  // namespace forall
