// SPDX-License-Identifier: Apache-2.0
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/expressions.h"
#include "cli/inspect_format.h"
#include "cli/terminal.h"

namespace forall {
namespace {

absl::Status ListWorkers(const CommandContext& context) {
  Client client(context.controller);
  FORALL_ASSIGN_OR_RETURN(const std::vector<v1::Worker> workers, client.ListWorkers());
  if (workers.empty()) {
    std::cerr
        << "No workers. Start one on the machine with the hardware:\n  forall-worker --controller "
        << context.controller.address << "\n";
    return absl::OkStatus();
  }
  std::cout << WorkersTable(workers, Clock::Real()->Now(), OutputWidth());
  return absl::OkStatus();
}

absl::Status Drain(const std::string& name, const CommandContext& context) {
  Client client(context.controller);
  v1::DrainWorkerRequest request;
  request.set_name(WithCollection("workers", name));
  FORALL_ASSIGN_OR_RETURN(
      const v1::Worker worker,
      client.Call(client.fleet(), &v1::FleetService::Stub::DrainWorker, request));
  std::cout << worker.name() << " " << WorkerStateName(worker.state()) << "\n";
  return absl::OkStatus();
}

// "3 running, 1 paused": counts that are not 0, in the order of the enumeration.
template <typename State>
std::string Counts(const std::map<State, int>& counts, std::string (*name_of)(State)) {
  std::vector<std::string> parts;
  for (const auto& [state, count] : counts) {
    parts.push_back(absl::StrCat(count, " ", absl::AsciiStrToLower(name_of(state))));
  }
  return parts.empty() ? "none" : absl::StrJoin(parts, ", ");
}

std::string JobStateName(v1::SearchJob::State state) { return v1::SearchJob::State_Name(state); }
std::string StateNameOf(v1::Worker::State state) { return WorkerStateName(state); }

absl::Status ShowStatus(const CommandContext& context) {
  Client client(context.controller);
  FORALL_ASSIGN_OR_RETURN(const v1::GetServerStatusResponse server,
                          client.Call(client.fleet(), &v1::FleetService::Stub::GetServerStatus,
                                      v1::GetServerStatusRequest()));
  FORALL_ASSIGN_OR_RETURN(const std::vector<v1::SearchJob> jobs, client.ListJobs());
  FORALL_ASSIGN_OR_RETURN(const std::vector<v1::Worker> workers, client.ListWorkers());
  std::map<v1::SearchJob::State, int> job_states;
  for (const v1::SearchJob& job : jobs) ++job_states[job.state()];
  std::map<v1::Worker::State, int> worker_states;
  for (const v1::Worker& worker : workers) ++worker_states[worker.state()];
  const auto value = [&server](const char* name) {
    const auto it = server.values().find(name);
    return it == server.values().end() ? std::string("?") : it->second;
  };
  std::cout << "Controller  " << context.controller.address << ", start number " << value("epoch")
            << "\n"
            << "Jobs        " << Counts(job_states, &JobStateName) << "\n"
            << "Tasks       " << value("tasks_waiting") << " waiting, " << value("tasks_leased")
            << " with workers\n"
            << "Workers     " << Counts(worker_states, &StateNameOf) << "; "
            << value("polls_parked") << " idle\n"
            << "Store       " << value("measurements") << " measurements, "
            << value("commits_failed") << " failed commits since the start\n";
  if (value("read_only") == "true") {
    std::cout << "! nothing can be stored since " << value("read_only_since") << ": "
              << value("read_only_reason") << " (docs/operations.md)\n";
  }
  for (const v1::SearchJob& job : jobs) {
    if (HasEnded(job.state()) || job.waiting_reason().empty()) continue;
    std::cout << "! " << job.name() << " waits for " << job.waiting_reason() << "\n";
  }
  for (const v1::Worker& worker : workers) {
    if (worker.state() == v1::Worker::QUARANTINED) {
      std::cout << "! " << worker.name() << " is quarantined: " << worker.reason() << "\n";
    } else if (worker.state() == v1::Worker::LOST) {
      std::cout << "! " << worker.name() << " is lost, seen "
                << Ago(absl::FromUnixSeconds(worker.last_heartbeat_time().seconds()),
                       Clock::Real()->Now())
                << "\n";
    }
  }
  return absl::OkStatus();
}

}  // namespace

void AddFleetCommands(CLI::App* app, CommandContext* context) {
  CLI::App* workers = app->add_subcommand("workers", "List workers and their devices");
  workers->callback([context] { context->action = [context] { return ListWorkers(*context); }; });
  CLI::App* status = app->add_subcommand(
      "status", "What the controller has to do, and what somebody should look at");
  status->callback([context] { context->action = [context] { return ShowStatus(*context); }; });
  auto name = std::make_shared<std::string>();
  CLI::App* drain =
      app->add_subcommand("drain", "Let a worker finish what it has and leave, for maintenance");
  drain->add_option("worker", *name, "workers/ID or ID")->required();
  drain->callback(
      [name, context] { context->action = [name, context] { return Drain(*name, *context); }; });
}

}  // namespace forall
