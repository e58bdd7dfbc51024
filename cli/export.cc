// SPDX-License-Identifier: Apache-2.0
// export and report: what a user takes home.
#include <cstdint>
#include <iostream>
#include <limits>
#include <memory>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/expressions.h"
#include "cli/subnet_files.h"
#include "cli/subnet_source.h"

namespace forall {
namespace {

struct OutputOptions {
  std::string name;
  std::string output;
};

struct ExportOptions {
  SubnetRequest subnet;
  std::string format;
  std::string output;
  std::string bundle;  // directory for all formats; instead of format and output
};

absl::Status WriteSubnet(SubnetFormat format, const std::string& path, FoundSubnet* subnet,
                         Client* client) {
  FORALL_ASSIGN_OR_RETURN(const std::string bytes, SubnetFile(format, subnet, client));
  FORALL_RETURN_IF_ERROR(LocalFile(WriteFileAtomically(path, bytes)));
  std::cout << path << "  " << bytes.size() << " bytes, sha256 " << Sha256Hex(bytes) << "\n";
  return absl::OkStatus();
}

absl::Status Export(const ExportOptions& options, const CommandContext& context) {
  SubnetFormat format = SubnetFormat::kOnnx;
  if (options.bundle.empty()) {
    FORALL_ASSIGN_OR_RETURN(format, SubnetFormatOf(options.format, options.output));
  }
  Client client(context.controller);
  FORALL_ASSIGN_OR_RETURN(FoundSubnet subnet, FindSubnet(options.subnet, &client));
  if (subnet.trial.has_value()) std::cerr << subnet.trial->name() << "\n";
  if (options.bundle.empty()) return WriteSubnet(format, options.output, &subnet, &client);
  FORALL_RETURN_IF_ERROR(LocalFile(CreateDirectories(options.bundle)));
  for (const SubnetFormatInfo& info : SubnetFormats()) {
    // A half-precision artifact is model.onnx already, and there are no float32 weights of it.
    const bool single =
        info.format == SubnetFormat::kOnnxHalf || info.format == SubnetFormat::kSafetensors;
    if (single && subnet.recipe != "fp32") continue;
    FORALL_RETURN_IF_ERROR(
        WriteSubnet(info.format, absl::StrCat(options.bundle, "/", info.file), &subnet, &client));
  }
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
  auto options = std::make_shared<ExportOptions>();
  SubnetRequest& subnet = options->subnet;
  subnet.data = DefaultData();
  CLI::App* command = app->add_subcommand(
      "export", "Take a subnet home: ONNX, fp16, net.config, PyTorch, model card");
  command->footer(
      "Of a trial, a job or a key, model.onnx is the very file that was measured. Of a file it is\n"
      "cut from the supernet and calibrated here, which needs no controller.\n"
      "Examples:\n"
      "  forall export 3/trials/17 -o model.onnx\n"
      "  forall export 3 --bundle winner               every format, of the frontier's knee\n"
      "  forall export a1-5f0c6f2e -o model.safetensors\n"
      "  forall export arch.json --supernet supernets/fashion_mnist -o model.onnx\n"
      "  forall export net.config --weights net.pth --family ofa_mbv3_w1.2 --resolution 224 \\\n"
      "                -o model.onnx");
  command
      ->add_option("subnet", subnet.subject,
                   "N/trials/M; a job N, which means its knee; a key a1-...; or a file: an "
                   "architecture as JSON, or a net.config")
      ->required();
  auto* output = command->add_option("--output,-o", options->output, "File to write");
  auto* bundle = command->add_option("--bundle", options->bundle, "Directory for all formats");
  bundle->excludes(output);
  command
      ->add_option(
          "--format", options->format,
          "onnx, onnx-fp16, net.config, safetensors, card.md or card.json; what the file's "
          "name says when absent")
      ->excludes(bundle);
  auto* supernet = command->add_option("--supernet", subnet.supernet,
                                       "Of an architecture file: a package, a weights file, or a "
                                       "supernet that the controller holds");
  command
      ->add_option("--weights", subnet.weights,
                   "Of an architecture file: weights of its own, .pth or .safetensors")
      ->excludes(supernet);
  command->add_option("--family", subnet.family, "With --weights: its space, or a spec file");
  command->add_option("--resolution", subnet.resolution, "Of a net.config: height and width")
      ->check(CLI::Range(1, 4096));
  command->add_option("--dataset", subnet.dataset,
                      "To calibrate on; what the supernet was trained on when absent");
  command->add_option("--data", subnet.data, "Folder that holds it")->capture_default_str();
  command->add_option("--calibration-images", subnet.calibration_images, "Training images")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 31))
      ->capture_default_str();
  command->add_option("--calibration-seed", subnet.calibration_seed, "Which of them")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  command->callback([options, output, bundle, context] {
    if (output->count() + bundle->count() == 0) {
      throw CLI::ValidationError("export", "say where to: --output FILE or --bundle DIRECTORY");
    }
    context->needs_controller = !IsLocal(options->subnet);
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
