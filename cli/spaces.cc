// SPDX-License-Identifier: Apache-2.0
// What needs no controller: search spaces, and checkpoints that become supernet packages.
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "cli/text_table.h"
#include "space/cost_model.h"
#include "space/family.h"
#include "supernet/importer/checkpoint_import.h"
#include "supernet/package.h"

namespace forall {
namespace {

constexpr uint64_t kMaxSpecFile = uint64_t{4} << 20;

struct ImportOptions {
  std::string file;
  std::string family;
  std::string output;
  std::string dataset;
  std::string precision = "fp32";
  std::vector<std::string> notes;
};

absl::Status ImportSupernet(const ImportOptions& options) {
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Family> family, FamilyOf(options.family));
  PackageOptions package;
  package.precision = options.precision == "fp16" ? SafetensorsType::kF16 : SafetensorsType::kF32;
  package.dataset = options.dataset;
  package.notes["imported_from"] = std::filesystem::path(options.file).filename().string();
  for (const std::string& note : options.notes) {
    const size_t equals = note.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(absl::StrCat("--note: want KEY=TEXT, got \"", note, "\""));
    }
    package.notes[note.substr(0, equals)] = note.substr(equals + 1);
  }
  const absl::StatusOr<std::vector<NamedTensor>> imported = ImportCheckpoint(options.file, *family);
  if (!imported.ok()) return LocalFile(imported.status());
  const std::vector<NamedTensor>& tensors = *imported;
  const absl::StatusOr<std::string> written =
      WritePackage(options.output, *family, tensors, package);
  if (!written.ok()) return LocalFile(WithContext(written.status(), options.output));
  const std::string& hash = *written;
  int64_t values = 0;
  for (const NamedTensor& tensor : tensors) values += static_cast<int64_t>(tensor.values.size());
  const std::string name = family->search_space().id();
  std::cout << absl::StrFormat(
      "%s: %d tensors, %.2f M values, sha256 %s\n"
      "Serve it:        forall-controller --db forall.db --supernet %s\n"
      "or, running one: forall add-supernet %s %s/%s\n",
      options.output, tensors.size(), static_cast<double>(values) / 1e6, hash, options.output, name,
      options.output, kPackageWeightsFile);
  return absl::OkStatus();
}

std::string Millions(int64_t low, int64_t high) {
  return absl::StrFormat("%.2f-%.2f M", static_cast<double>(low) / 1e6,
                         static_cast<double>(high) / 1e6);
}

struct SpaceCosts {
  Costs smallest;
  Costs largest;
};

absl::StatusOr<SpaceCosts> CostsOf(const Family& family) {
  const SearchSpace& space = family.search_space();
  FORALL_ASSIGN_OR_RETURN(const Network smallest, family.Describe(space.Smallest()));
  FORALL_ASSIGN_OR_RETURN(const Network largest, family.Describe(space.Largest()));
  return SpaceCosts{CountCosts(smallest), CountCosts(largest)};
}

absl::Status ExplainSpace(const std::string& name, bool spec_only) {
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Family> family, FamilyOf(name));
  if (spec_only) {
    std::cout << family->Spec();
    return absl::OkStatus();
  }
  const SearchSpace& space = family->search_space();
  FORALL_ASSIGN_OR_RETURN(const SpaceCosts costs, CostsOf(*family));
  int64_t values = 0;
  for (const TensorSpec& tensor : family->tensors()) {
    int64_t elements = 1;
    for (const int64_t extent : tensor.shape) elements *= extent;
    values += elements;
  }
  std::cout << absl::StrFormat(
      "%s revision %d: 10^%.1f networks, %d classes, images of %d channel%s\n"
      "supernet    %d tensors, %.2f M values\n"
      "MACs        %s\n"
      "parameters  %s\n"
      "fp32 bytes  %s\n"
      "activations %s bytes at their peak, fp32\n\n",
      space.id(), space.revision(), space.Log10Size(), family->classes(), family->input_channels(),
      family->input_channels() == 1 ? "" : "s", family->tensors().size(),
      static_cast<double>(values) / 1e6, Millions(costs.smallest.macs, costs.largest.macs),
      Millions(costs.smallest.params, costs.largest.params),
      Millions(costs.smallest.model_bytes, costs.largest.model_bytes),
      Millions(costs.smallest.peak_activation_bytes, costs.largest.peak_activation_bytes));
  TextTable table({"DIMENSION", "OPTIONS", "ACTIVE"});
  for (const Dimension& dimension : space.dimensions()) {
    std::string active = "always";
    if (dimension.condition.has_value()) {
      active = absl::StrCat("when ", space.dimensions()[dimension.condition->dimension].name,
                            " >= ", dimension.condition->at_least);
    }
    std::string options = absl::StrJoin(dimension.options, " ");
    if (dimension.options.size() > 8) {
      options = absl::StrCat(dimension.options[0], " ", dimension.options[1], " ... ",
                             dimension.options.back(), " (", dimension.options.size(), ")");
    }
    table.AddRow({dimension.name, std::move(options), std::move(active)});
  }
  std::cout << table.Render(OutputWidth());
  return absl::OkStatus();
}

absl::Status ListSpaces() {
  TextTable table({"SEARCH SPACE", "NETWORKS", "MACS", "PARAMETERS", "DIMENSIONS"});
  for (const std::string& name : FamilyNames()) {
    FORALL_ASSIGN_OR_RETURN(const auto family, FindFamily(name));
    const SearchSpace& space = family->search_space();
    FORALL_ASSIGN_OR_RETURN(const SpaceCosts costs, CostsOf(*family));
    table.AddRow({name, absl::StrFormat("10^%.1f", space.Log10Size()),
                  Millions(costs.smallest.macs, costs.largest.macs),
                  Millions(costs.smallest.params, costs.largest.params),
                  absl::StrCat(space.dimensions().size())});
  }
  std::cout << table.Render(OutputWidth());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Family>> FamilyOf(const std::string& name_or_file) {
  absl::StatusOr<std::shared_ptr<const Family>> ready_made = FindFamily(name_or_file);
  if (ready_made.ok()) return ready_made;
  const absl::StatusOr<std::string> spec = ReadFile(name_or_file, kMaxSpecFile);
  if (!spec.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        ready_made.status().message(), "; nor is it a spec file: ", spec.status().message()));
  }
  absl::StatusOr<std::shared_ptr<const Family>> family = FamilyFromSpec(*spec);
  if (!family.ok()) return WithContext(family.status(), name_or_file);
  return family;
}

void AddSupernetCommand(CLI::App* app, CommandContext* context) {
  CLI::App* supernet = app->add_subcommand("supernet", "Work with supernet files, no controller");
  supernet->require_subcommand(1);
  auto options = std::make_shared<ImportOptions>();
  CLI::App* import = supernet->add_subcommand(
      "import", "Turn a PyTorch checkpoint or a safetensors file into a supernet package");
  import->footer(
      "The checkpoint is read as data: no Python runs, and one that needs code is refused by "
      "name.\n"
      "Example: forall supernet import ofa_mbv3_d234_e346_k357_w1.0 --family ofa_mbv3_w1.0 \\\n"
      "             --dataset imagenet --output supernets/ofa_mbv3_w1.0");
  import->add_option("file", options->file, "Checkpoint (.pth, either format) or .safetensors")
      ->required()
      ->check(CLI::ExistingFile);
  import->add_option("--family", options->family, "A space of `forall spaces`, or a spec file")
      ->required();
  import->add_option("--output,-o", options->output, "Directory of the new package")->required();
  import->add_option("--dataset", options->dataset, "What it was trained on");
  import->add_option("--precision", options->precision, "Of convolutions and matrices")
      ->check(CLI::IsMember({"fp32", "fp16"}))
      ->capture_default_str();
  import->add_option("--note", options->notes, "KEY=TEXT to keep in the package; may be repeated")
      ->allow_extra_args(false);
  import->callback([options, context] {
    context->needs_controller = false;
  context->action = [options] { return ImportSupernet(*options); };
});
}  // namespace forall

void AddSpacesCommand(CLI::App* app, CommandContext* context) {
  struct SpacesOptions {
    std::string name;
    bool spec = false;
  };
  auto options = std::make_shared<SpacesOptions>();
  CLI::App* command = app->add_subcommand("spaces", "List the search spaces, or explain one");
  command->add_option("space", options->name, "A ready-made space, or a spec file");
  command->add_flag("--spec", options->spec, "Print its spec, to start one of your own from")
      ->needs(command->get_option("space"));
  command->callback([options, context] {
    context->needs_controller = false;
    context->action = [options] {
      return options->name.empty() ? ListSpaces() : ExplainSpace(options->name, options->spec);
    };
  });
}

}  // namespace forall
