// SPDX-License-Identifier: Apache-2.0
// forall: the command line of the service.
#include <iostream>

#include "CLI/CLI.hpp"
#include "cli/command.h"
#include "cli/error_words.h"

namespace {

constexpr char kFooter[] = R"(
A first search, with a controller and a worker running:
  forall submit --supernet fashion_mnist --objective accuracy_top1 --objective latency_ms \
                --trials 120
  forall watch  searchJobs/1
  forall frontier searchJobs/1
  forall export searchJobs/1 --output model.onnx     # the knee of its frontier
  forall report searchJobs/1 --output report.html

Names may be given short: 1 for searchJobs/1, fashion_mnist for supernets/fashion_mnist.
Exit codes: 0 done, 1 failed, 2 bad argument (also: constraints that contradict each
other), 3 controller not reachable, 4 not found, 5 not possible now (state; a bound that no subnet
of the supernet keeps).)";

}  // namespace

int main(int argc, char** argv) {
  forall::CommandContext context;
  CLI::App app{"forall: which subnet of a once-for-all supernet should run on that device?",
               "forall"};
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("forall ") + FORALL_VERSION);
  app.get_formatter()->column_width(34);
  app.add_option("--controller", context.controller, "Address of the controller, HOST:PORT")
      ->envname("FORALL_CONTROLLER")
      ->capture_default_str();
  app.fallthrough();

  forall::AddSubmitCommand(&app, &context);
  forall::AddWatchCommand(&app, &context);
  forall::AddJobCommands(&app, &context);
  forall::AddFrontierCommand(&app, &context);
  forall::AddLedgerCommand(&app, &context);
  forall::AddExportCommand(&app, &context);
  forall::AddReportCommand(&app, &context);
  forall::AddFleetCommands(&app, &context);
  forall::AddWorkerCommand(&app, &context);
  forall::AddSupernetCommands(&app, &context);
  forall::AddSupernetCommand(&app, &context);
  forall::AddPredictorCommand(&app, &context);
  forall::AddDatasetCommand(&app, &context);
  forall::AddTableCommand(&app, &context);
  forall::AddSpacesCommand(&app, &context);
  forall::AddQuickstartCommand(&app, &context);
  app.footer(kFooter);  // last, or every subcommand's help would repeat it

  if (argc == 2 && std::string(argv[1]) == "help") {
    std::cout << app.help();
    return 0;
  }
  const std::string wrong = forall::UnknownCommand(app, argc, argv);
  if (!wrong.empty()) {
    std::cerr << "forall: " << wrong << "\n";
    return 2;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // 0 for --help; every wrong use is 2, whatever the library numbers it.
    if (error.get_exit_code() != 0) std::cerr << "forall: ";
    return app.exit(error) == 0 ? 0 : 2;
  }
  const absl::Status address =
      context.needs_controller ? forall::CheckAddress(context.controller) : absl::OkStatus();
  if (!address.ok()) {
    std::cerr << "forall: --controller: " << std::string(address.message()) << "\n";
    return forall::ExitCode(address);
  }
  const absl::Status status = context.action();
  if (status.ok()) return 0;
  std::cerr << "forall: " << forall::WithoutField(status.message()) << "\n";
  const std::string advice = forall::Advice(status, context);
  if (!advice.empty()) std::cerr << advice << "\n";
  return forall::ExitCode(status);
}
