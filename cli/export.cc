// SPDX-License-Identifier: Apache-2.0
// export and report: what a user takes home.
#include <iostream>
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/expressions.h"

namespace forall {
namespace {

struct OutputOptions {
  std::string name;
  std::string output;
};

absl::Status Export(const OutputOptions& options, const CommandContext& context) {
  Client client(context.controller);
  v1::ExportSubnetRequest request;
  request.set_name(WithCollection("searchJobs", options.name));
  FORALL_ASSIGN_OR_RETURN(
      const v1::ExportSubnetResponse response,
      client.Call(client.search(), &v1::SearchService::Stub::ExportSubnet, request));
  FORALL_RETURN_IF_ERROR(client.DownloadArtifact(response.artifact_sha256(), options.output));
  std::cout << options.output << "  " << response.trial().name() << "  sha256 "
            << response.artifact_sha256() << "\n";
  return absl::OkStatus();
}

absl::Status Report(const OutputOptions& options, const CommandContext& context) {
  Client client(context.controller);
  FORALL_ASSIGN_OR_RETURN(const std::string page,
                          client.GetReport(WithCollection("searchJobs", options.name)));
  FORALL_RETURN_IF_ERROR(LocalFile(WriteFileAtomically(options.output, page)));
  std::cout << options.output << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddExportCommand(CLI::App* app, CommandContext* context) {
  auto options = std::make_shared<OutputOptions>();
  CLI::App* command =
      app->add_subcommand("export", "Take a subnet home as ONNX: the very file that was measured");
  command
      ->add_option("subnet", options->name,
                   "N/trials/M (or searchJobs/N/trials/M); a job alone means its knee")
      ->required();
  command->add_option("--output,-o", options->output, "File to write")->required();
  command->callback([options, context] {
    context->action = [options, context] { return Export(*options, *context); };
  });
}

void AddReportCommand(CLI::App* app, CommandContext* context) {
  auto options = std::make_shared<OutputOptions>();
  CLI::App* command = app->add_subcommand("report", "Write a job's report: one HTML file");
  command->add_option("job", options->name, "searchJobs/N or N")->required();
  command->add_option("--output,-o", options->output, "File to write")->required();
  command->callback([options, context] {
    context->action = [options, context] { return Report(*options, *context); };
  });
}

}  // namespace forall
