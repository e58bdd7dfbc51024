// SPDX-License-Identifier: Apache-2.0
// predictor import, predictor predict: files of this machine, no controller.
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/subnet_source.h"
#include "supernet/predictor/accuracy_predictor.h"
#include "supernet/predictor/predictor_import.h"

namespace forall {
namespace {

struct PredictorOptions {
  std::string file;
  std::string family;
  std::string order = "kernel-expand-resolution";
  std::vector<int32_t> resolutions;
  std::string output;
  std::vector<std::string> architectures;
  int32_t resolution = 0;
};

absl::Status Import(const PredictorOptions& options) {
  FORALL_ASSIGN_OR_RETURN(const auto family, FamilyOf(options.family));
  FORALL_ASSIGN_OR_RETURN(const FeatureOrder order, ParseFeatureOrder(options.order));
  const absl::StatusOr<PredictorFile> file =
      ImportPredictor(options.file, *family, order, options.resolutions);
  if (!file.ok()) return LocalFile(file.status());
  FORALL_ASSIGN_OR_RETURN(const std::string bytes, SerializePredictor(*file));
  // What is written must be usable.
  FORALL_ASSIGN_OR_RETURN(const auto predictor,
                          AccuracyPredictor::Parse(bytes, options.file, family));
  FORALL_RETURN_IF_ERROR(LocalFile(WriteFileAtomically(options.output, bytes)));
  const SearchSpace& space = family->search_space();
  std::cout << options.output << "  " << file->layers.size() << " layers, "
            << file->layers.front().in << " features of " << space.id();
  const std::optional<double> largest = predictor->Predict(space.Largest());
  if (largest.has_value()) {
    std::cout << absl::StrFormat("; predicts %.2f %% for its largest network", *largest);
  }
  std::cout << "\n";
  return absl::OkStatus();
}

absl::Status Predict(const PredictorOptions& options) {
  FORALL_ASSIGN_OR_RETURN(const auto family, FamilyOf(options.family));
  absl::StatusOr<std::string> bytes = ReadFile(options.file);
  if (!bytes.ok()) return LocalFile(bytes.status());
  FORALL_ASSIGN_OR_RETURN(const auto predictor,
                          AccuracyPredictor::Parse(*std::move(bytes), options.file, family));
  for (const std::string& file : options.architectures) {
    FORALL_ASSIGN_OR_RETURN(const Architecture architecture,
                            ReadArchitecture(file, *family, options.resolution));
    const std::optional<double> predicted = predictor->Predict(architecture);
    if (!predicted.has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(
          file, ": the predictor was not trained for one of its options, e.g. its resolution"));
    }
    std::cout << absl::StrFormat("%s  predicted top-1 accuracy %.4f %%\n", file, *predicted);
  }
  return absl::OkStatus();
}

}  // namespace

void AddPredictorCommand(CLI::App* app, CommandContext* context) {
  CLI::App* command =
      app->add_subcommand("predictor", "Work with accuracy predictors, no controller");
  command->require_subcommand(1);
  auto options = std::make_shared<PredictorOptions>();
  CLI::App* import = command->add_subcommand(
      "import", "Turn a published accuracy predictor's checkpoint into a file that jobs take");
  import->footer(
      "Example: forall predictor import acc_predictor.pth --family ofa_mbv3_w1.2 -o "
      "predictor.safetensors\n"
      "A job then maximises predicted_accuracy_top1 with accuracy_predictor: "
      "predictor.safetensors");
  import->add_option("file", options->file, "Checkpoint (.pth, either format)")
      ->required()
      ->check(CLI::ExistingFile);
  import
      ->add_option("--order", options->order,
                   "Of its features: kernel-expand-resolution (the authors' tutorial) or "
                   "resolution-kernel-expand (their later encoder)")
      ->capture_default_str();
  import
      ->add_option("--resolutions", options->resolutions,
                   "That it was trained for, ascending; when absent 112 to 224 in steps of 16, "
                   "with the later order the space's own")
      ->delimiter(',');
  import->add_option("--output,-o", options->output, "File to write")->required();
  CLI::App* predict = command->add_subcommand("predict", "What a predictor says of architectures");
  predict->add_option("file", options->file, "A file of forall predictor import")
      ->required()
      ->check(CLI::ExistingFile);
  predict->add_option("architectures", options->architectures, "Architecture or net.config files")
      ->required();
  predict->add_option("--resolution", options->resolution, "Of a net.config: height and width");
  for (CLI::App* each : {import, predict}) {
    each->add_option("--family", options->family, "Its space of `forall spaces`, or a spec file")
        ->required();
    each->callback([=] {
      context->needs_controller = false;
      context->action = [=] { return each == import ? Import(*options) : Predict(*options); };
    });
  }
}

}  // namespace forall
