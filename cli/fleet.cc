// SPDX-License-Identifier: Apache-2.0
#include <iostream>
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/expressions.h"
#include "cli/inspect_format.h"
#include "cli/text_table.h"

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
  TextTable table(
      {"WORKER", "STATE", "DEVICE", "CLASS", "RUNTIME", "LEASED", "DONE", "FAILED", "SEEN"});
  for (const v1::Worker& worker : workers) {
    table.AddRow(
        {worker.name(), WorkerStateName(worker.state()), worker.device().name(),
         worker.device().device_class(),
         absl::StrCat(worker.profile().runtime(), " ", worker.profile().runtime_version()),
         absl::StrCat(worker.leased_tasks()), absl::StrCat(worker.completed_tasks()),
         absl::StrCat(worker.failed_tasks()),
         Ago(absl::FromUnixSeconds(worker.last_heartbeat_time().seconds()), Clock::Real()->Now())});
  }
  std::cout << table.Render();
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

}  // namespace

void AddFleetCommands(CLI::App* app, CommandContext* context) {
  CLI::App* workers = app->add_subcommand("workers", "List workers and their devices");
  workers->callback([context] { context->action = [context] { return ListWorkers(*context); }; });
  auto name = std::make_shared<std::string>();
  CLI::App* drain =
      app->add_subcommand("drain", "Let a worker finish what it has and leave, for maintenance");
  drain->add_option("worker", *name, "workers/ID or ID")->required();
  drain->callback(
      [name, context] { context->action = [name, context] { return Drain(*name, *context); }; });
}

}  // namespace forall
