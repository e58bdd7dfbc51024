// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iostream>
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/expressions.h"
#include "cli/progress.h"
#include "cli/text_table.h"

namespace forall {
namespace {

absl::Status ListJobs(const CommandContext& context) {
  Client client(context.controller);
  FORALL_ASSIGN_OR_RETURN(const std::vector<v1::SearchJob> jobs, client.ListJobs());
  if (jobs.empty()) {
    std::cerr << "No jobs yet. Start one: forall submit --help\n";
    return absl::OkStatus();
  }
  const bool races = std::any_of(jobs.begin(), jobs.end(), [](const v1::SearchJob& job) {
    return !job.tier_trials().empty();
  });
  const bool spares = std::any_of(jobs.begin(), jobs.end(), [](const v1::SearchJob& job) {
    return job.spared_accuracies() > 0;
  });
  std::vector<std::string> header = {"JOB",        "STATE",  "MEASURED",
                                     "INFEASIBLE", "REUSED", "FRONTIER"};
  if (spares) header.emplace_back("SPARED");
  if (races) header.emplace_back("TIERS");
  for (const char* column : {"CREATED", "OBJECTIVES", "NAME"}) header.emplace_back(column);
  TextTable table(std::move(header));
  for (const v1::SearchJob& job : jobs) {
    const std::string objectives = absl::StrJoin(
        job.spec().objectives(), " ",
        [](std::string* out, const v1::Objective& o) { out->append(ObjectiveText(o)); });
    std::vector<std::string> row = {
        job.name(), StateName(job.state()),
        absl::StrCat(job.measured_trials(), "/", job.spec().budget().max_trials()),
        absl::StrCat(job.infeasible_trials()),
        // Why a job was over at once: all was known, or nothing had to be measured.
        Measures(job.spec()) ? absl::StrCat(job.reused_trials()) : "none needed",
        absl::StrCat(job.frontier_size())};
    if (spares) row.push_back(absl::StrCat(job.spared_accuracies()));
    // "60 > 31": so many were measured at each tier of images.
    if (races) row.push_back(absl::StrJoin(job.tier_trials(), " > "));
    row.push_back(absl::FormatTime(
        "%m-%d %H:%M", absl::FromUnixSeconds(job.create_time().seconds()), absl::LocalTimeZone()));
    row.push_back(objectives);
    row.push_back(job.spec().display_name());
    table.AddRow(std::move(row));
  }
  std::cout << table.Render();
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
  CLI::App* command = app->add_subcommand("jobs", "List jobs, newest first");
  command->callback([context] { context->action = [context] { return ListJobs(*context); }; });
  AddStateCommand<v1::CancelSearchJobRequest>(app, context, "cancel",
                                              "Stop a job; what it measured stays",
                                              &v1::SearchService::Stub::CancelSearchJob);
  AddStateCommand<v1::PauseSearchJobRequest>(app, context, "pause", "Propose nothing new for now",
                                             &v1::SearchService::Stub::PauseSearchJob);
  AddStateCommand<v1::ResumeSearchJobRequest>(app, context, "resume", "Go on with a paused job",
                                              &v1::SearchService::Stub::ResumeSearchJob);
}

}  // namespace forall
