// SPDX-License-Identifier: Apache-2.0
// forall: the command line of the service.
#include <cstdlib>
#include <iostream>

#include "CLI/CLI.hpp"
#include "cli/command.h"
#include "cli/error_words.h"
#include "net/controller_access.h"

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
of the supernet keeps), 6 not allowed (no token, or one of another role).

FORALL_TOKEN holds a token for controllers that want one; it is no flag, because command lines are
read by every user of a machine.)";

}  // namespace

int main(int argc, char** argv) {
  forall::CommandContext context;
  CLI::App app{"forall: which subnet of a once-for-all supernet should run on that device?",
               "forall"};
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("forall ") + FORALL_VERSION);
  app.get_formatter()->column_width(34);
  forall::ControllerAccess access;
  app.add_option("--controller", access.address, "Address of the controller, HOST:PORT")
      ->envname("FORALL_CONTROLLER")
      ->capture_default_str();
  app.add_option("--tls-ca", access.tls_ca,
                 "Use TLS: PEM file of the authorities of the controller's certificate, or "
                 "\"system\" (FORALL_TLS_CA)");
  app.add_option("--tls-cert", access.tls_certificate,
                 "A certificate of one's own, PEM (FORALL_TLS_CERT)");
  app.add_option("--tls-key", access.tls_key, "Its private key, PEM (FORALL_TLS_KEY)");
  app.add_option("--token-file", access.token_file, "File with one's token (FORALL_TOKEN_FILE)");
  app.fallthrough();

  forall::AddSubmitCommand(&app, &context);
  forall::AddWatchCommand(&app, &context);
  forall::AddJobCommands(&app, &context);
  forall::AddFrontierCommand(&app, &context);
  forall::AddLedgerCommand(&app, &context);
  forall::AddExportCommand(&app, &context);
  forall::AddReportCommand(&app, &context);
  forall::AddFleetCommands(&app, &context);
  forall::AddMeasurementsCommand(&app, &context);
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
  if (context.needs_controller) {
    const absl::Status address = forall::CheckAddress(access.address);
    if (!address.ok()) {
      std::cerr << "forall: --controller: " << std::string(address.message()) << "\n";
      return forall::ExitCode(address);
    }
    forall::FillFromEnvironment([](const char* name) -> const char* { return std::getenv(name); },
                                &access);
    const auto credentials = forall::MakeChannelCredentials(access);
    if (!credentials.ok()) {
      std::cerr << "forall: " << std::string(credentials.status().message()) << "\n";
      return 2;  // A flag or a file of this machine, whatever is wrong with it.
    }
    context.controller = {access.address, *credentials};
  }
  const absl::Status status = context.action();
  if (status.ok()) return 0;
  std::cerr << "forall: " << forall::WithoutField(status.message()) << "\n";
  const std::string advice = forall::Advice(status, context);
  if (!advice.empty()) std::cerr << advice << "\n";
  return forall::ExitCode(status);
}
