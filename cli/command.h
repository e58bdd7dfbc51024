// SPDX-License-Identifier: Apache-2.0
// What every subcommand of `forall` is: a function that adds itself to the parser and leaves an
// action behind. One file per command or per pair that belongs together.
#ifndef FORALL_CLI_COMMAND_H_
#define FORALL_CLI_COMMAND_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/client.h"
#include "latency/table/latency_table.h"
#include "space/family.h"

namespace CLI {
class App;
}

namespace forall {

// Filled while the command line is parsed; `action` then does the work.
struct CommandContext {
  ControllerEndpoint controller;
  std::function<absl::Status()> action;
  bool needs_controller = true;  // a command that works on this machine's files alone says no
};

void AddSubmitCommand(CLI::App* app, CommandContext* context);
void AddWatchCommand(CLI::App* app, CommandContext* context);
void AddJobCommands(CLI::App* app, CommandContext* context);  // jobs, trial, cancel, ...
void AddFrontierCommand(CLI::App* app, CommandContext* context);
void AddLedgerCommand(CLI::App* app, CommandContext* context);
void AddExportCommand(CLI::App* app, CommandContext* context);
void AddReportCommand(CLI::App* app, CommandContext* context);
void AddFleetCommands(CLI::App* app, CommandContext* context);  // workers, drain
void AddMeasurementsCommand(CLI::App* app, CommandContext* context);
void AddWorkerCommand(CLI::App* app, CommandContext* context);
void AddSupernetCommands(CLI::App* app, CommandContext* context);  // supernets, add-supernet
void AddSupernetCommand(CLI::App* app, CommandContext* context);
void AddDatasetCommand(CLI::App* app, CommandContext* context);
void AddPredictorCommand(CLI::App* app, CommandContext* context);
void AddTableCommand(CLI::App* app, CommandContext* context);
void AddSpacesCommand(CLI::App* app, CommandContext* context);
void AddQuickstartCommand(CLI::App* app, CommandContext* context);

// What is wrong with the first word of a command line that names no subcommand, with the nearest
// ones; "" when it names one, or there is none.
std::string UnknownCommand(const CLI::App& app, int argc, const char* const* argv);
// InvalidArgument unless HOST:PORT with a port from 1 to 65535; Unavailable when nobody knows the
// host.
absl::Status CheckAddress(const std::string& address);
// A ready-made space by its name, or a spec file's. InvalidArgument says which are known.
absl::StatusOr<std::shared_ptr<const Family>> FamilyOf(const std::string& name_or_file);
// The folder that holds datasets unless --data says otherwise: FORALL_DATA, else build/deps.
std::string DefaultData();
// InvalidArgument naming the file and `command`, which makes what is wanted of it, when it is a
// PyTorch checkpoint; OK for everything else, a file that cannot be read included.
absl::Status RefuseCheckpoint(const std::string& path, const std::string& command);
// A table of `forall table import`. InvalidArgument naming the file, and what makes one, for
// anything else, a published table included.
absl::StatusOr<LatencyTable> ReadLatencyTable(const std::string& path);
// What went wrong with a file of this machine, rather than with something on the controller.
absl::Status LocalFile(const absl::Status& status);

// Exit codes, as `forall --help` lists them.
int ExitCode(const absl::Status& status);
// What to do next, or "" when the message says it all.
std::string Advice(const absl::Status& status, const CommandContext& context);

}  // namespace forall

#endif  // FORALL_CLI_COMMAND_H_
