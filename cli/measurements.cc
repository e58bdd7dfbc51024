// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <iostream>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "base/clock.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/expressions.h"
#include "cli/retraction.h"
#include "cli/terminal.h"

namespace forall {
namespace {

struct RetractOptions {
  std::string worker;
  std::string device;
  std::string build;
  std::string since;
  std::string until;
  std::string reason;
  bool dry_run = false;
  bool yes = false;
};

absl::Status SetMoment(const std::string& text, const char* flag,
                       google::protobuf::Timestamp* stamp) {
  FORALL_ASSIGN_OR_RETURN(const absl::Time time, ParseMoment(text, Clock::Real()->Now(), flag));
  stamp->set_seconds(absl::ToUnixSeconds(time));
  stamp->set_nanos(static_cast<int32_t>(
      absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(stamp->seconds()))));
  return absl::OkStatus();
}

absl::StatusOr<v1::RetractMeasurementsRequest> RequestOf(const RetractOptions& options) {
  v1::RetractMeasurementsRequest request;
  if (!options.worker.empty()) request.set_worker(WithCollection("workers", options.worker));
  if (!options.device.empty()) request.set_device(WithCollection("devices", options.device));
  request.set_worker_build(options.build);
  if (!options.since.empty()) {
    FORALL_RETURN_IF_ERROR(SetMoment(options.since, "--since", request.mutable_since()));
  }
  if (!options.until.empty()) {
    FORALL_RETURN_IF_ERROR(SetMoment(options.until, "--until", request.mutable_until()));
  }
  request.set_reason(options.reason);
  return request;
}

absl::Status Retract(const RetractOptions& options, const CommandContext& context) {
  FORALL_ASSIGN_OR_RETURN(v1::RetractMeasurementsRequest request, RequestOf(options));
  Client client(context.controller);
  request.set_dry_run(true);
  FORALL_ASSIGN_OR_RETURN(
      v1::RetractMeasurementsResponse response,
      client.Call(client.fleet(), &v1::FleetService::Stub::RetractMeasurements, request));
  if (options.dry_run || response.measurements() == 0) {
    std::cout << RetractionText(response, /*done=*/false, OutputWidth());
    return absl::OkStatus();
  }
  if (options.reason.empty()) {
    return absl::InvalidArgumentError("--reason: required: why, and who says so");
  }
  if (!options.yes) {
    std::cerr << RetractionText(response, /*done=*/false, TerminalWidth(STDERR_FILENO));
    if (isatty(STDIN_FILENO) == 0) {
      return absl::InvalidArgumentError(
          "a retraction cannot be taken back: say --yes, or --dry-run to see what it would do");
    }
    std::cerr << "It cannot be taken back. Type yes to go on: ";
    std::string answer;
    std::getline(std::cin, answer);
    if (answer != "yes") return absl::CancelledError("nothing was retracted");
  }
  request.set_dry_run(false);
  FORALL_ASSIGN_OR_RETURN(
      response, client.Call(client.fleet(), &v1::FleetService::Stub::RetractMeasurements, request));
  std::cout << RetractionText(response, /*done=*/true, OutputWidth());
  return absl::OkStatus();
}

}  // namespace

void AddMeasurementsCommand(CLI::App* app, CommandContext* context) {
  CLI::App* measurements = app->add_subcommand("measurements", "What was measured");
  measurements->require_subcommand(1);
  auto options = std::make_shared<RetractOptions>();
  CLI::App* retract = measurements->add_subcommand(
      "retract",
      "Take the numbers of a faulty worker, device or build out of every frontier and search, for "
      "good; running jobs measure again. Name what is meant by at least one of the first five; "
      "drain "
      "the worker first (forall drain)");
  retract->add_option("--worker", options->worker, "workers/ID or ID: measured by it");
  retract->add_option("--device", options->device, "devices/ID or ID: latencies on it");
  retract->add_option("--build", options->build, "Build of the worker, as it reported it");
  retract->add_option("--since", options->since,
                      "Stored since: 2026-11-29T14:30:00Z, 2026-11-29, or how long ago: 2h, 3d");
  retract->add_option("--until", options->until, "Stored before; as --since");
  retract->add_option("--reason", options->reason,
                      "Required: why, and who says so; it stays with each measurement");
  retract->add_flag("--dry-run", options->dry_run, "Only say what would be done, by job");
  retract->add_flag("--yes", options->yes, "Do not ask");
  retract->callback([options, context] {
    context->action = [options, context] { return Retract(*options, *context); };
  });
}

}  // namespace forall
