// SPDX-License-Identifier: Apache-2.0
#include <iostream>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/expressions.h"
#include "cli/ledger_format.h"
#include "cli/terminal.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

absl::Status ShowLedger(const std::string& job, const std::string& format,
                        const CommandContext& context) {
  v1::GetPredictionLedgerRequest request;
  request.set_name(WithCollection("searchJobs", job));
  Client client(context.controller);
  FORALL_ASSIGN_OR_RETURN(
      const v1::PredictionLedger ledger,
      client.Call(client.search(), &v1::SearchService::Stub::GetPredictionLedger, request));
  if (format == "json") {
    std::cout << LedgerJson(ledger).dump(2) << "\n";
  } else {
    std::cout << LedgerTable(ledger, OutputWidth());
  }
  return absl::OkStatus();
}

}  // namespace

void AddLedgerCommand(CLI::App* app, CommandContext* context) {
  auto job = std::make_shared<std::string>();
  auto format = std::make_shared<std::string>("table");
  CLI::App* command =
      app->add_subcommand("ledger", "What a job predicted of its trials against what was measured");
  command->add_option("job", *job, "searchJobs/N or N")->required();
  command->add_option("--format", *format, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  command->callback([=] { context->action = [=] { return ShowLedger(*job, *format, *context); }; });
}

}  // namespace forall
