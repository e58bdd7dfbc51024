// SPDX-License-Identifier: Apache-2.0
// dataset add, dataset list: folders that workers and the trainer read. Needs no controller.
#include "data/dataset.h"

#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "cli/text_table.h"
#include "data/folder/folder_description.h"
#include "data/folder/image_folder.h"
#include "data/prepared_dataset.h"

namespace forall {
namespace {

struct DatasetOptions {
  std::string name;
  std::string path;
  std::string format;
  double validation_share = 0.1;
  bool skip_corrupt = false;
  std::string class_names;
  std::string data = DefaultData();
};

// One line of standard error every two seconds, and the last; nothing for what is quick.
class AddProgress {
 public:
  void Report(int64_t done, int64_t total, int64_t bad) {
    const int64_t now = Clock::Real()->SteadyNanos();
    if (now - last_ns_ < 2'000'000'000 && (done < total || last_ns_ == start_ns_)) return;
    last_ns_ = now;
    const double seconds = static_cast<double>(now - start_ns_) * 1e-9;
    std::cerr << absl::StrFormat("%d of %d images read (%.0f %%), %.0f a second%s\n", done, total,
                                 100.0 * static_cast<double>(done) / static_cast<double>(total),
                                 static_cast<double>(done) / seconds,
                                 bad == 0 ? "" : absl::StrFormat(", %d cannot be decoded", bad));
  }

 private:
  const int64_t start_ns_ = Clock::Real()->SteadyNanos();
  int64_t last_ns_ = start_ns_;
};

absl::StatusOr<PreparedSizes> AddFolder(const DatasetOptions& options) {
  FolderOptions folder;
  folder.name = options.name;
  folder.validation_share = options.validation_share;
  folder.skip_corrupt = options.skip_corrupt;
  folder.class_names = options.class_names;
  AddProgress progress;
  folder.progress = [&](int64_t done, int64_t total, int64_t bad) {
    progress.Report(done, total, bad);
  };
  FolderFindings findings;
  absl::StatusOr<PreparedSizes> sizes =
      PrepareImageFolder(folder, options.path, options.data, &findings);
  for (const std::string& image : findings.corrupt) std::cerr << image << "\n";
  if (findings.ignored > 0) {
    std::cerr << absl::StrFormat(
        "%d files are not called .jpg, .jpeg or .png and were not looked at, e.g. %s\n",
        findings.ignored, findings.ignored_example);
  }
  if (sizes.ok() && !findings.corrupt.empty()) {
    std::cerr << absl::StrFormat("%d corrupt images were left out\n", findings.corrupt.size());
  }
  return sizes;
}

absl::StatusOr<PreparedSizes> AddSmallImages(const DatasetOptions& options) {
  if (options.skip_corrupt || !options.class_names.empty()) {
    return absl::InvalidArgumentError(
        "--skip-corrupt and --class-names belong to --format imagefolder");
  }
  PrepareOptions prepare;
  prepare.name = options.name;
  prepare.validation_share = options.validation_share;
  FORALL_ASSIGN_OR_RETURN(prepare.source, ParseDatasetSource(options.format));
  return PrepareDataset(prepare, options.path, options.data);
}

absl::Status AddDataset(const DatasetOptions& options) {
  const bool folder = options.format == kFolderSource;
  const std::vector<std::string> known = PreparedNames(options.data);
  const bool replaces = std::find(known.begin(), known.end(), options.name) != known.end();
  const absl::StatusOr<PreparedSizes> sizes = folder ? AddFolder(options) : AddSmallImages(options);
  if (!sizes.ok()) return LocalFile(sizes.status());
  if (replaces) std::cerr << "the former dataset " << options.name << " was replaced\n";
  std::cout << absl::StrFormat(
      "%s/%s: %d classes, %d images for training, %d for validation, %d for testing\n"
      "Workers find it with --data %s",
      options.data, options.name, sizes->classes, sizes->train, sizes->validation, sizes->test,
      options.data);
  if (!folder) {
    std::cout << absl::StrFormat("; train on it with forall-train --dataset %s --data %s",
                                 options.name, options.data);
  }
  std::cout << "\n";
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
        const std::optional<StoredPixels> stored = (*dataset)->stored_pixels();
        row.push_back(absl::StrCat((*dataset)->classes()));
        row.push_back(stored.has_value() ? absl::StrCat((*dataset)->channels(), "x", stored->side,
                                                        "x", stored->side)
                                         : "files");
      }
      row.push_back(absl::StrCat((*dataset)->size()));
    }
    if (row.size() == 6) table.AddRow(std::move(row));
  }
  std::cout << table.Render(OutputWidth());
  for (const std::string& name : names) {
    for (const std::string& image : SkippedImages(absl::StrCat(options.data, "/", name))) {
      std::cout << name << " leaves out " << image << "\n";
    }
  }
  return absl::OkStatus();
}

}  // namespace

void AddDatasetCommand(CLI::App* app, CommandContext* context) {
  CLI::App* dataset = app->add_subcommand("dataset", "Datasets of this machine, no controller");
  dataset->require_subcommand(1);
  auto options = std::make_shared<DatasetOptions>();
  CLI::App* add = dataset->add_subcommand(
      "add", "Read a set of images once, split it, and keep it for workers");
  add->footer(
      "Example: forall dataset add cifar10 cifar-10-batches-bin --format cifar10 --data "
      "build/deps\n"
      "         forall dataset add imagenet PATH --format imagefolder (PATH/train/CLASS/*.JPEG and "
      "PATH/val/CLASS/*.JPEG; the images stay where they are)\n"
      "Its test images (val) become the test split; validation is held out of its training "
      "images.");
  add->add_option("name", options->name, "Name to give it")->required();
  add->add_option("path", options->path, "Folder with the published files or the images")
      ->required()
      ->check(CLI::ExistingDirectory);
  add->add_option("--format", options->format,
                  "idx (MNIST family, also .gz), cifar10, cifar100, imagefolder (JPEG and PNG)")
      ->required();
  add->add_option("--validation", options->validation_share, "Share of training images held out")
      ->capture_default_str();
  add->add_flag("--skip-corrupt", options->skip_corrupt,
                "imagefolder: leave images out that cannot be decoded");
  add->add_option("--class-names", options->class_names,
                  "imagefolder: file of lines FOLDER NAME, e.g. LOC_synset_mapping.txt")
      ->check(CLI::ExistingFile);
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
