// SPDX-License-Identifier: Apache-2.0
// Lookup tables: import, lint, sum, which need no controller.
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/table_build.h"
#include "cli/terminal.h"
#include "cli/wrapped_text.h"
#include "latency/table/latency_table.h"
#include "latency/table/table_lint.h"
#include "space/net_config.h"

namespace forall {
namespace {

constexpr uint64_t kMaxTableFile = uint64_t{256} << 20;
constexpr size_t kMostFindings = 20;

const std::map<std::string, double>& Units() {
  static const auto* units =
      new std::map<std::string, double>{{"s", 1000.0}, {"ms", 1.0}, {"us", 1e-3}, {"ns", 1e-6}};
  return *units;
}

absl::StatusOr<std::string> ReadLocal(const std::string& path, uint64_t most) {
  absl::StatusOr<std::string> text = ReadFile(path, most);
  if (!text.ok()) return LocalFile(text.status());
  return text;
}

struct TableImportOptions {
  std::vector<std::string> files;
  std::string output;
  std::string unit;
  TableConditions conditions;
};

absl::Status ImportTable(const TableImportOptions& options) {
  LatencyTable table;
  table.conditions = options.conditions;
  for (const std::string& path : options.files) {
    FORALL_ASSIGN_OR_RETURN(const std::string text, ReadLocal(path, kMaxTableFile));
    absl::StatusOr<LatencyRows> rows = ParsePublishedTable(text, Units().at(options.unit));
    if (!rows.ok()) return WithContext(rows.status(), path);
    FORALL_RETURN_IF_ERROR(WithContext(AddRows(*std::move(rows), &table), path));
  }
  FORALL_RETURN_IF_ERROR(
      LocalFile(WriteFileAtomically(options.output, SerializeLatencyTable(table))));
  std::cout << absl::StrFormat("%s: %d rows\nCheck it: forall table lint %s --space SPACE\n",
                               options.output, table.rows(), options.output);
  return absl::OkStatus();
}

struct LintOptions {
  std::string file;
  std::string space;
  std::vector<int32_t> resolutions;
  std::vector<std::string> others;
};

absl::Status Lint(const LintOptions& options) {
  FORALL_ASSIGN_OR_RETURN(const LatencyTable table, ReadLatencyTable(options.file));
  std::map<int32_t, std::vector<std::string>> required;
  if (!options.space.empty()) {
    FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Family> family, FamilyOf(options.space));
    // By default those that the table has: published ones hold a few of a space's resolutions.
    std::vector<int32_t> resolutions = options.resolutions;
    if (resolutions.empty()) {
      for (const auto& [resolution, rows] : table.resolutions) resolutions.push_back(resolution);
    }
    for (const int32_t resolution : resolutions) {
      FORALL_ASSIGN_OR_RETURN(required[resolution], SpaceKeys(*family, resolution));
    }
  }
  std::vector<NamedTable> others;
  for (const std::string& path : options.others) {
    FORALL_ASSIGN_OR_RETURN(LatencyTable other, ReadLatencyTable(path));
    others.push_back({path, std::move(other)});
  }
  const std::vector<TableFinding> findings = LintTable(table, required, others);
  const auto print = [width = OutputWidth()](absl::string_view head, const std::string& text) {
    std::cout << WrappedText(head, text, head.size() + 4, LineWidth(width));
  };
  print("",
        absl::StrFormat("%s: %d rows, %s, %s, %d %s, batch %d, %s", options.file, table.rows(),
                        table.conditions.device, table.conditions.runtime, table.conditions.threads,
                        table.conditions.threads == 1 ? "thread" : "threads",
                        table.conditions.batch, table.conditions.date));
  for (const TableProblem problem : {TableProblem::kMissing, TableProblem::kNotPositive,
                                     TableProblem::kCopied, TableProblem::kNotMonotone}) {
    size_t count = 0;
    for (const TableFinding& finding : findings) {
      if (finding.problem != problem) continue;
      if (count == 0) {
        std::cout << "\n";
        print("", absl::StrCat(TableProblemName(problem), ": ", TableProblemMeaning(problem)));
      }
      if (count++ >= kMostFindings) continue;
      print("  ", absl::StrCat(finding.resolution, " ", finding.key, " ", finding.detail));
    }
    if (count > kMostFindings) std::cout << "  and " << count - kMostFindings << " more\n";
  }
  if (findings.empty()) {
    std::cout << "nothing found\n";
    return absl::OkStatus();
  }
  return absl::InternalError(absl::StrCat(findings.size(), " findings"));
}

struct SumOptions {
  std::string file;
  std::string space;
  std::string architecture;
  int32_t resolution = 0;
};

absl::Status PrintSum(const SumOptions& options) {
  FORALL_ASSIGN_OR_RETURN(const LatencyTable table, ReadLatencyTable(options.file));
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Family> family, FamilyOf(options.space));
  FORALL_ASSIGN_OR_RETURN(const std::string text, ReadLocal(options.architecture, 4 << 20));
  absl::StatusOr<Architecture> architecture =
      options.resolution > 0 ? ParseNetConfig(text, *family, options.resolution)
                             : family->ParseArchitecture(text);
  if (!architecture.ok()) return WithContext(architecture.status(), options.architecture);
  FORALL_ASSIGN_OR_RETURN(const Network network, family->Describe(*architecture));
  const absl::StatusOr<double> sum = table.Sum(network);
  if (!sum.ok()) return LocalFile(WithContext(sum.status(), options.file));
  std::cout << absl::StrFormat("%.6f ms, the %ssum of %d layers on %s\n", *sum,
                               table.correction.has_value() ? "corrected " : "",
                               TableKeys(network)->size(), table.conditions.device);
  return absl::OkStatus();
}

void AddImport(CLI::App* table, CommandContext* context) {
  auto options = std::make_shared<TableImportOptions>();
  CLI::App* command =
      table->add_subcommand("import", "Turn published tables (YAML or JSON) into one of forall's");
  command->footer(
      "What the files do not say has to be said: a table without its conditions cannot be "
      "compared.\n"
      "Example: forall table import *_lookup_table.yaml --unit ms --device \"Note10, Snapdragon "
      "855\" \\\n"
      "             --runtime \"TF-Lite, CPU\" --threads 1 --batch 1 --date 2020 -o note10.json");
  command->add_option("files", options->files, "The tables of one device")
      ->required()
      ->check(CLI::ExistingFile);
  command->add_option("--unit", options->unit, "Of the files' numbers")
      ->required()
      ->check(CLI::IsMember(Units()));
  command->add_option("--device", options->conditions.device, "What was measured")->required();
  command->add_option("--runtime", options->conditions.runtime, "Runtime, version, processor")
      ->required();
  command->add_option("--threads", options->conditions.threads, "Threads of the runtime")
      ->required()
      ->check(CLI::Range(1, 1000000));
  command->add_option("--batch", options->conditions.batch, "Images at once")
      ->required()
      ->check(CLI::Range(1, 1000000));
  command->add_option("--date", options->conditions.date, "When, as precisely as is known")
      ->required();
  command->add_option("--output,-o", options->output, "File to write")->required();
  command->callback([options, context] {
    context->needs_controller = false;
    context->action = [options] { return ImportTable(*options); };
  });
}

void AddLint(CLI::App* table, CommandContext* context) {
  auto options = std::make_shared<LintOptions>();
  CLI::App* command = table->add_subcommand(
      "lint", "Find missing, impossible, copied, suspect rows; exit code 1 if any");
  command->add_option("file", options->file, "A table of `forall table import`")->required();
  command->add_option("--space", options->space,
                      "Which layers must be there: a space or spec file");
  command
      ->add_option("--resolution", options->resolutions,
                   "Only these resolutions, not all that the table has; may be repeated")
      ->allow_extra_args(false);
  command
      ->add_option("--against", options->others,
                   "Table of another device, to find copied rows; may be repeated")
      ->allow_extra_args(false);
  command->callback([options, context] {
    context->needs_controller = false;
    context->action = [options] { return Lint(*options); };
  });
}

void AddSum(CLI::App* table, CommandContext* context) {
  auto options = std::make_shared<SumOptions>();
  CLI::App* command =
      table->add_subcommand("sum", "A network's latency by the table: the sum over its layers");
  command->add_option("file", options->file, "A table of `forall table import`")->required();
  command
      ->add_option("architecture", options->architecture,
                   "JSON: forall's or OFA's notation, or a net.config with --net-config-resolution")
      ->required();
  command->add_option("--space", options->space, "A space of `forall spaces`, or a spec file")
      ->required();
  command->add_option("--net-config-resolution", options->resolution,
                      "The file is a net.config, taken at this resolution");
  command->callback([options, context] {
    context->needs_controller = false;
    context->action = [options] { return PrintSum(*options); };
  });
}

}  // namespace

absl::StatusOr<LatencyTable> ReadLatencyTable(const std::string& path) {
  FORALL_ASSIGN_OR_RETURN(const std::string text, ReadLocal(path, kMaxTableFile));
  absl::StatusOr<LatencyTable> table = ParseLatencyTable(text);
  if (!table.ok()) {
    return WithContext(
        table.status(),
        absl::StrCat(path, ": no table of forall's (forall table import or build makes one)"));
  }
  return table;
}

void AddTableCommand(CLI::App* app, CommandContext* context) {
  CLI::App* table = app->add_subcommand("table", "Latency lookup tables");
  table->require_subcommand(1);
  AddImport(table, context);
  AddLint(table, context);
  AddSum(table, context);
  AddTableBuild(table, context);
  AddTableValidate(table, context);
}

}  // namespace forall
