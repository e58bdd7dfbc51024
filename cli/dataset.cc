// SPDX-License-Identifier: Apache-2.0
// dataset add, dataset list: folders that workers and the trainer read. Needs no controller.
#include "data/dataset.h"

#include <iostream>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/text_table.h"
#include "data/prepared_dataset.h"

namespace forall {
namespace {

struct DatasetOptions {
  std::string name;
  std::string path;
  std::string format;
  double validation_share = 0.1;
  std::string data = DefaultData();
};

absl::Status AddDataset(const DatasetOptions& options) {
  PrepareOptions prepare;
  prepare.name = options.name;
  prepare.validation_share = options.validation_share;
  FORALL_ASSIGN_OR_RETURN(prepare.source, ParseDatasetSource(options.format));
  const absl::StatusOr<PreparedSizes> sizes = PrepareDataset(prepare, options.path, options.data);
  if (!sizes.ok()) return LocalFile(sizes.status());
  std::cout << absl::StrFormat(
      "%s/%s: %d classes, %d images for training, %d for validation, %d for testing\n"
      "Workers find it with --data %s; train on it with forall-train --dataset %s --data %s\n",
      options.data, options.name, sizes->classes, sizes->train, sizes->validation, sizes->test,
      options.data, options.name, options.data);
  return absl::OkStatus();
}

absl::Status ListDatasets(const DatasetOptions& options) {
  TextTable table({"DATASET", "CLASSES", "IMAGE", "TRAIN", "VALIDATION", "TEST"});
  std::vector<std::string> names = PreparedNames(options.data);
  names.insert(names.begin(), "fashion_mnist");
  for (const std::string& name : names) {
    std::vector<std::string> row = {name};
    for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest}) {
      const auto dataset = OpenDataset(name, split, options.data);
      if (!dataset.ok()) {
        if (!absl::IsNotFound(dataset.status())) std::cerr << dataset.status().message() << "\n";
        break;
      }
      if (row.size() == 1) {
        const int side = (*dataset)->native_resolution();
        row.push_back(absl::StrCat((*dataset)->classes()));
        row.push_back(absl::StrCat((*dataset)->channels(), "x", side, "x", side));
      }
      row.push_back(absl::StrCat((*dataset)->size()));
    }
    if (row.size() == 6) table.AddRow(std::move(row));
  }
  std::cout << table.Render();
  return absl::OkStatus();
}

}  // namespace

void AddDatasetCommand(CLI::App* app, CommandContext* context) {
  CLI::App* dataset = app->add_subcommand("dataset", "Datasets of this machine, no controller");
  dataset->require_subcommand(1);
  auto options = std::make_shared<DatasetOptions>();
  CLI::App* add = dataset->add_subcommand(
      "add", "Read a published set of small images once, split it, and keep it for workers");
  add->footer(
      "Example: forall dataset add cifar10 cifar-10-batches-bin --format cifar10 --data "
      "build/deps\n"
      "Its test images become the test split; validation is held out of its training images.");
  add->add_option("name", options->name, "Name to give it")->required();
  add->add_option("path", options->path, "Folder with the published files")
      ->required()
      ->check(CLI::ExistingDirectory);
  add->add_option("--format", options->format, "idx (MNIST family, also .gz), cifar10, cifar100")
      ->required();
  add->add_option("--validation", options->validation_share, "Share of training images held out")
      ->capture_default_str();
  CLI::App* list = dataset->add_subcommand("list", "What is in the folder of datasets");
  for (CLI::App* command : {add, list}) {
    command->add_option("--data", options->data, "Folder of datasets ($FORALL_DATA)")
        ->capture_default_str();
  }
  add->callback([options, context] {
    context->needs_controller = false;
    context->action = [options] { return AddDataset(*options); };
  });
  list->callback([options, context] {
    context->needs_controller = false;
    context->action = [options] { return ListDatasets(*options); };
  });
}

}  // namespace forall
