// SPDX-License-Identifier: Apache-2.0
#include "cli/table_build.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "cli/client.h"
#include "cli/network_timings.h"
#include "cli/terminal.h"
#include "latency/table/space_parts.h"
#include "space/identity.h"

namespace forall {
namespace {

constexpr double kTwoSided95 = 1.959963984540054;
// Of a validation's networks, how many must have a measurement.
constexpr double kLeastMeasured = 0.8;
constexpr int64_t kLeastValidation = 10;
constexpr int64_t kMostValidation = 10000;
constexpr char kFitPurpose[] = "fit";
constexpr char kValidationPurpose[] = "validation";
constexpr size_t kMostListed = 5;

struct BuildOptions {
  MeasureOptions measure;
  std::string space;
  std::string output;
  std::string yaml;
  std::string label;
  std::vector<int32_t> resolutions;
  int64_t fit_networks = 100;
  int64_t validation_networks = 30;
};

struct ValidateOptions {
  MeasureOptions measure;
  std::string file;
  std::string space;
  std::string csv;
  int64_t networks = 200;
};

// A whole network and what its table keys are.
struct WholeNetwork {
  Architecture architecture;
  std::vector<std::string> keys;
  int32_t resolution = 0;
};

v1::MeasureNetworksRequest RequestOf(const MeasureOptions& options, const Family& family) {
  v1::MeasureNetworksRequest request;
  absl::string_view device = options.device;
  if (absl::ConsumePrefix(&device, "class:")) {
    request.set_device_class(std::string(device));
  } else {
    absl::ConsumePrefix(&device, "devices/");
    request.set_device(absl::StrCat("devices/", device));
  }
  request.set_profile(options.runtime_profile);
  request.set_spec(family.Spec());
  request.set_latency_profile(options.profile);
  request.set_recipe(options.recipe);
  request.set_batch(options.batch);
  return request;
}

v1::NetworkSubject SubjectOf(const Architecture& architecture, int32_t part) {
  v1::NetworkSubject subject;
  for (const int32_t choice : architecture.choices) subject.add_choices(choice);
  subject.set_part(part);
  return subject;
}

absl::StatusOr<std::vector<WholeNetwork>> DescribeAll(const Family& family,
                                                      std::vector<Architecture> architectures) {
  std::vector<WholeNetwork> networks;
  for (Architecture& architecture : architectures) {
    FORALL_ASSIGN_OR_RETURN(const Network network, family.Describe(architecture));
    FORALL_ASSIGN_OR_RETURN(std::vector<std::string> keys, TableKeys(network));
    networks.push_back(
        {std::move(architecture), std::move(keys), static_cast<int32_t>(network.input.height)});
  }
  return networks;
}

absl::StatusOr<NetworkTimings> Measure(Client* client, const v1::MeasureNetworksRequest& common,
                                       const std::vector<v1::NetworkSubject>& subjects) {
  TimingProgress progress(&std::cerr, TerminalWidth(STDERR_FILENO));
  return MeasureAll(
      [client](const v1::MeasureNetworksRequest& request) {
        return client->Call(client->search(), &v1::SearchService::Stub::MeasureNetworks, request);
      },
      common, subjects, &progress);
}

// The networks that were measured; says how many were not, and which numbers are noisy. An error
// when it is a smaller share than `least`.
absl::StatusOr<std::vector<TimedNetwork>> TimedOf(const std::vector<WholeNetwork>& networks,
                                                  const v1::NetworkTiming* timings,
                                                  const char* purpose, double least) {
  std::vector<TimedNetwork> timed;
  int64_t noisy = 0;
  std::string error;
  for (size_t i = 0; i < networks.size(); ++i) {
    if (timings[i].state() != v1::NetworkTiming::MEASURED) {
      error = timings[i].error();
      continue;
    }
    noisy += timings[i].measurement().verdict().state() == v1::Verdict::NOISY ? 1 : 0;
    timed.push_back({networks[i].keys, networks[i].resolution, timings[i].measurement().value()});
  }
  const size_t lost = networks.size() - timed.size();
  if (lost > 0 || noisy > 0) {
    std::cerr << absl::StrFormat("%s: of %d networks %d could not be measured%s, %d are noisy\n",
                                 purpose, networks.size(), lost,
                                 error.empty() ? "" : absl::StrCat(" (", error, ")"), noisy);
  }
  if (static_cast<double>(timed.size()) < least * static_cast<double>(networks.size())) {
    return absl::InternalError(
        absl::StrCat("too few of the ", purpose, " networks could be measured: ", timed.size(),
                     " of ", networks.size(), "; the last because: ", error,
                     ". Run it again a minute later: what was measured is kept"));
  }
  return timed;
}

LatencyRow RowOf(const v1::Measurement& measurement) {
  LatencyRow row;
  row.mean_ms = measurement.value();
  row.count = measurement.sample_count();
  // So that deviation / sqrt(count) is the interval's standard error.
  row.stddev_ms = (measurement.interval().high() - measurement.interval().low()) /
                  (2 * kTwoSided95) *
                  std::sqrt(static_cast<double>(std::max<int64_t>(1, row.count)));
  row.noisy = measurement.verdict().state() == v1::Verdict::NOISY;
  return row;
}

std::string Day(absl::Time time) { return absl::FormatTime("%Y-%m-%d", time, absl::UTCTimeZone()); }
std::string Second(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

// Fills in what holds of the whole table.
void Describe(const BuildOptions& options, const Family& family, const NetworkTimings& measured,
              LatencyTable* table) {
  absl::Time begin = absl::InfiniteFuture();
  absl::Time end = absl::InfinitePast();
  std::set<std::string> builds;
  std::set<std::string> baselines;
  int64_t noisy = 0;
  for (const v1::NetworkTiming& timing : measured.timings) {
    if (timing.state() != v1::NetworkTiming::MEASURED) continue;
    const v1::Measurement& measurement = timing.measurement();
    const absl::Time time = absl::FromUnixSeconds(measurement.measure_time().seconds());
    begin = std::min(begin, time);
    end = std::max(end, time);
    builds.insert(measurement.worker_build());
    baselines.insert(measurement.baseline_id());
    noisy += measurement.verdict().state() == v1::Verdict::NOISY ? 1 : 0;
  }
  absl::string_view label = options.measure.device;
  absl::ConsumePrefix(&label, "class:");
  absl::ConsumePrefix(&label, "devices/");
  const v1::RuntimeProfile& profile = measured.profile;
  table->conditions.device = options.label.empty() ? std::string(label) : options.label;
  table->conditions.runtime =
      absl::StrCat(profile.runtime(), " ", profile.runtime_version(), ", ", profile.provider());
  table->conditions.threads = std::max(1, profile.threads());
  table->conditions.batch = options.measure.batch;
  table->conditions.date = Day(end);
  const SearchSpace& space = family.search_space();
  std::map<std::string, std::string>& provenance = table->provenance;
  provenance["space"] = space.id();
  provenance["space_revision"] = absl::StrCat(space.revision());
  provenance["measured_device"] = measured.device.name();
  provenance["device_class"] = measured.device.device_class();
  provenance["device_description"] = measured.device.description();
  provenance["device_fingerprint"] = measured.device.fingerprint();
  provenance["profile"] = profile.hash();
  provenance["power_mode"] = profile.power_mode();
  provenance["recipe"] = options.measure.recipe;
  provenance["latency_profile"] = options.measure.profile;
  provenance["forall_build"] = absl::StrJoin(builds, ", ");
  provenance["baseline"] = absl::StrJoin(baselines, ", ");
  provenance["measured_from"] = Second(begin);
  provenance["measured_to"] = Second(end);
  provenance["noisy_measurements"] = absl::StrCat(noisy);
  provenance["seed"] = absl::StrCat(options.measure.seed);
  provenance["fit_networks"] = absl::StrCat(options.fit_networks);
  provenance["validation_networks"] = absl::StrCat(options.validation_networks);
  std::erase_if(provenance, [](const auto& entry) { return entry.second.empty(); });
}

// Of a file that could not be written at the end.
absl::Status NothingIsLost(const absl::Status& written) {
  if (written.ok()) return written;
  const absl::Status local = LocalFile(written);
  return absl::Status(local.code(),
                      absl::StrCat(local.message(),
                                   "; the controller keeps what was measured: mend that, or name "
                                   "another place, and run it again, which then takes seconds"));
}

absl::Status WriteYaml(const std::string& folder, const LatencyTable& table) {
  for (const auto& [resolution, rows] : table.resolutions) {
    FORALL_ASSIGN_OR_RETURN(const std::string text, WritePublishedTable(table, resolution));
    const std::string path = absl::StrCat(folder, "/", resolution, "_lookup_table.yaml");
    FORALL_RETURN_IF_ERROR(NothingIsLost(WriteFileAtomically(path, text)));
    std::cout << path << "\n";
  }
  return absl::OkStatus();
}

absl::Status NotGood(const TableValidation& validation, const std::string& consequence) {
  const TableQuality& quality = validation.corrected.value_or(validation.additive);
  return absl::InternalError(absl::StrFormat(
      "the table is not good: %.1f %% of %d networks are within %g %% of what they took, %g %% "
      "must be%s",
      100 * quality.within_bound, validation.networks, 100 * validation.bound, 100 * kGoodShare,
      consequence));
}

absl::Status FolderIsThere(const std::string& path) {
  if (access(path.c_str(), W_OK | X_OK) == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(path.empty() ? "." : path, " is no folder that can be written to"));
}

// Everything that a table is made of, in the order in which it is measured.
struct BuildPlan {
  std::vector<std::pair<int32_t, SpacePart>> rows;  // resolution and row
  std::vector<WholeNetwork> fit;
  std::vector<WholeNetwork> validation;

  std::vector<v1::NetworkSubject> Subjects() const {
    std::vector<v1::NetworkSubject> subjects;
    for (const auto& [resolution, row] : rows) {
      subjects.push_back(SubjectOf(row.architecture, row.part + 1));
    }
    for (const std::vector<WholeNetwork>* networks : {&fit, &validation}) {
      for (const WholeNetwork& network : *networks) {
        subjects.push_back(SubjectOf(network.architecture, 0));
      }
    }
    return subjects;
  }
};

absl::StatusOr<BuildPlan> PlanOf(const BuildOptions& options, const Family& family) {
  std::vector<int32_t> resolutions = options.resolutions;
  if (resolutions.empty()) {
    FORALL_ASSIGN_OR_RETURN(resolutions, ResolutionsOf(family));
  }
  std::sort(resolutions.begin(), resolutions.end());
  resolutions.erase(std::unique(resolutions.begin(), resolutions.end()), resolutions.end());
  BuildPlan plan;
  for (const int32_t resolution : resolutions) {
    FORALL_ASSIGN_OR_RETURN(std::vector<SpacePart> rows, SpaceParts(family, resolution));
    for (SpacePart& row : rows) plan.rows.emplace_back(resolution, std::move(row));
  }
  std::set<std::string> seen;
  const auto sample = [&](int64_t count,
                          const char* purpose) -> absl::StatusOr<std::vector<WholeNetwork>> {
    FORALL_ASSIGN_OR_RETURN(
        std::vector<Architecture> architectures,
        SampleNetworks(family, resolutions, count, options.measure.seed, purpose, &seen));
    return DescribeAll(family, std::move(architectures));
  };
  FORALL_ASSIGN_OR_RETURN(plan.validation, sample(options.validation_networks, kValidationPurpose));
  FORALL_ASSIGN_OR_RETURN(plan.fit, sample(options.fit_networks, kFitPurpose));
  FORALL_RETURN_IF_ERROR(CheckSampled(family, static_cast<int64_t>(plan.validation.size()),
                                      static_cast<int64_t>(plan.fit.size()), options.fit_networks));
  return plan;
}

// Better now than after half an hour.
absl::Status CheckBuild(const BuildOptions& options) {
  if (options.fit_networks != 0 && options.fit_networks < kLeastNetworksToFit) {
    return absl::InvalidArgumentError(absl::StrCat("--fit-subnets: 0 for no correction, or from ",
                                                   kLeastNetworksToFit, " to ",
                                                   kMostNetworksToFit));
  }
  const size_t slash = options.output.rfind('/');
  std::string folder = ".";
  if (slash != std::string::npos) folder = slash == 0 ? "/" : options.output.substr(0, slash);
  FORALL_RETURN_IF_ERROR(FolderIsThere(folder));
  // Not after hours.
  struct stat info = {};
  if (stat(options.output.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--output: ", options.output, " is no regular file: name another"));
  }
  return options.yaml.empty() ? absl::OkStatus() : FolderIsThere(options.yaml);
}

absl::Status FillRows(const BuildPlan& plan, const NetworkTimings& measured, LatencyTable* table) {
  std::vector<std::string> lost;
  for (size_t i = 0; i < plan.rows.size(); ++i) {
    const auto& [resolution, row] = plan.rows[i];
    const v1::NetworkTiming& timing = measured.timings[i];
    if (timing.state() == v1::NetworkTiming::MEASURED) {
      table->resolutions[resolution][row.key] = RowOf(timing.measurement());
    } else {
      lost.push_back(absl::StrCat(row.key, " (", timing.error(), ")"));
    }
  }
  if (lost.empty()) return absl::OkStatus();
  const size_t count = lost.size();
  lost.resize(std::min(count, kMostListed));
  return absl::InternalError(absl::StrCat(
      count, " of ", plan.rows.size(),
      " rows could not be measured, and a table with holes is none: ", absl::StrJoin(lost, "; "),
      count > kMostListed ? "; ..." : "",
      ". Run it again a minute later: what was measured is kept"));
}

absl::Status Build(const BuildOptions& options, const CommandContext& context) {
  FORALL_ASSIGN_OR_RETURN(const double bound, ParseBound(options.measure.bound));
  FORALL_RETURN_IF_ERROR(CheckBuild(options));
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Family> family, FamilyOf(options.space));
  FORALL_ASSIGN_OR_RETURN(const BuildPlan plan, PlanOf(options, *family));
  std::cerr << absl::StrFormat(
      "%d rows of %s, %d networks to correct and %d to validate them with\n", plan.rows.size(),
      family->search_space().id(), plan.fit.size(), plan.validation.size());
  Client client(context.controller);
  FORALL_ASSIGN_OR_RETURN(const NetworkTimings measured,
                          Measure(&client, RequestOf(options.measure, *family), plan.Subjects()));

  LatencyTable table;
  FORALL_RETURN_IF_ERROR(FillRows(plan, measured, &table));
  Describe(options, *family, measured, &table);
  const v1::NetworkTiming* const fit = measured.timings.data() + plan.rows.size();
  if (!plan.fit.empty()) {
    FORALL_ASSIGN_OR_RETURN(const std::vector<TimedNetwork> timed,
                            TimedOf(plan.fit, fit, kFitPurpose, /*least=*/0));
    std::string why_not;
    FORALL_ASSIGN_OR_RETURN(table.correction, FitIfEnough(table, timed, &why_not));
    if (!table.correction.has_value()) {
      std::cerr << "the table has no correction: " << why_not << "\n";
      table.provenance["no_correction"] = why_not;
    }
  }
  FORALL_ASSIGN_OR_RETURN(
      const std::vector<TimedNetwork> timed,
      TimedOf(plan.validation, fit + plan.fit.size(), kValidationPurpose, kLeastMeasured));
  FORALL_ASSIGN_OR_RETURN(table.validation, JudgeTable(table, timed, bound, options.measure.seed));
  FORALL_RETURN_IF_ERROR(
      NothingIsLost(WriteFileAtomically(options.output, SerializeLatencyTable(table))));
  std::cout << QualityText(*table.validation) << "\n"
            << absl::StrFormat("%s: %d rows\n", options.output, table.rows());
  if (!options.yaml.empty()) FORALL_RETURN_IF_ERROR(WriteYaml(options.yaml, table));
  if (table.validation->good) return absl::OkStatus();
  return NotGood(*table.validation,
                 ". What was written is marked so; try --profile final, more --fit-subnets, or a "
                 "quieter device");
}

std::string CsvText(const LatencyTable& table, const Family& family,
                    const std::vector<WholeNetwork>& networks, const NetworkTimings& measured) {
  std::string csv = "resolution,additive_ms,corrected_ms,measured_ms,verdict,architecture\n";
  for (size_t i = 0; i < networks.size(); ++i) {
    const v1::NetworkTiming& timing = measured.timings[i];
    if (timing.state() != v1::NetworkTiming::MEASURED) continue;
    const WholeNetwork& network = networks[i];
    const absl::StatusOr<double> corrected = table.CorrectedSum(network.keys, network.resolution);
    absl::StrAppend(&csv, network.resolution, ",",
                    table.AdditiveSum(network.keys, network.resolution).value_or(0), ",",
                    corrected.ok() ? absl::StrCat(*corrected) : "", ",",
                    timing.measurement().value(), ",",
                    v1::Verdict::State_Name(timing.measurement().verdict().state()), ",",
                    ArchKey(family.search_space(), network.architecture), "\n");
  }
  return csv;
}

// What the table says of itself; "" for nothing.
std::string Says(const LatencyTable& table, const std::string& name) {
  const auto value = table.provenance.find(name);
  return value == table.provenance.end() ? "" : value->second;
}

// 0 where the table does not say it.
absl::StatusOr<uint64_t> CountIn(const LatencyTable& table, const std::string& name,
                                 uint64_t most) {
  const std::string text = Says(table, name);
  uint64_t count = 0;
  if (!text.empty() && (!absl::SimpleAtoi(text, &count) || count > most)) {
    return absl::InvalidArgumentError(absl::StrCat("provenance.", name, ": \"", text,
                                                   "\" is no number from 0 to ", most,
                                                   "; build the table anew"));
  }
  return count;
}

std::vector<int32_t> ResolutionsIn(const LatencyTable& table) {
  std::vector<int32_t> resolutions;
  for (const auto& [resolution, rows] : table.resolutions) resolutions.push_back(resolution);
  return resolutions;
}

absl::StatusOr<std::shared_ptr<const Family>> FamilyOfTable(const ValidateOptions& options,
                                                            const LatencyTable& table) {
  const std::string space = Says(table, "space");
  if (!options.space.empty()) {
    FORALL_ASSIGN_OR_RETURN(std::shared_ptr<const Family> family, FamilyOf(options.space));
    const std::string& id = family->search_space().id();
    if (space.empty() || space == id) return family;
    return absl::InvalidArgumentError(
        absl::StrCat("--space: ", options.file, " is a table of ", space, ", not of ", id));
  }
  if (!space.empty()) return FamilyOf(space);
  return absl::InvalidArgumentError(
      absl::StrCat(options.file, " does not say which space it is of; say it with --space"));
}

absl::Status Validate(ValidateOptions options, const CommandContext& context) {
  FORALL_ASSIGN_OR_RETURN(const double bound, ParseBound(options.measure.bound));
  FORALL_ASSIGN_OR_RETURN(const LatencyTable table, ReadLatencyTable(options.file));
  FORALL_RETURN_IF_ERROR(WithContext(TakeFromTable(table, &options.measure), options.file));
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Family> family,
                          FamilyOfTable(options, table));
  absl::StatusOr<std::set<std::string>> seen = NetworksOf(table, *family);
  if (!seen.ok()) return WithContext(seen.status(), options.file);
  FORALL_ASSIGN_OR_RETURN(std::vector<Architecture> architectures,
                          SampleNetworks(*family, ResolutionsIn(table), options.networks,
                                         options.measure.seed, "fresh validation", &*seen));
  if (static_cast<int64_t>(architectures.size()) < kLeastValidation) {
    return absl::FailedPreconditionError(absl::StrCat(
        family->search_space().id(), " has only ", architectures.size(), " networks that ",
        options.file, " was not made with, at least ", kLeastValidation,
        " are needed; build it with fewer --fit-subnets and --validate-subnets"));
  }
  FORALL_ASSIGN_OR_RETURN(const std::vector<WholeNetwork> networks,
                          DescribeAll(*family, std::move(architectures)));
  for (const WholeNetwork& network : networks) {
    const absl::Status sum = table.AdditiveSum(network.keys, network.resolution).status();
    if (!sum.ok()) return LocalFile(WithContext(sum, options.file));
  }
  std::vector<v1::NetworkSubject> subjects;
  for (const WholeNetwork& network : networks) {
    subjects.push_back(SubjectOf(network.architecture, 0));
  }
  Client client(context.controller);
  const absl::StatusOr<NetworkTimings> measured =
      Measure(&client, RequestOf(options.measure, *family), subjects);
  if (absl::IsFailedPrecondition(measured.status()) &&
      absl::StrContains(measured.status().message(), "profile: ")) {
    return WithContext(
        measured.status(),
        absl::StrCat(options.file, " was measured with ", table.conditions.runtime, ", profile ",
                     options.measure.runtime_profile, ", and is valid for it alone"));
  }
  FORALL_RETURN_IF_ERROR(measured.status());
  const std::string fingerprint = Says(table, "device_fingerprint");
  if (!fingerprint.empty() && fingerprint != measured->device.fingerprint()) {
    std::cerr << measured->device.name()
              << " has changed since the table was measured: its fingerprint is another\n";
  }
  FORALL_ASSIGN_OR_RETURN(
      const std::vector<TimedNetwork> timed,
      TimedOf(networks, measured->timings.data(), kValidationPurpose, kLeastMeasured));
  FORALL_ASSIGN_OR_RETURN(const TableValidation validation,
                          JudgeTable(table, timed, bound, options.measure.seed));
  std::cout << QualityText(validation);
  if (!options.csv.empty()) {
    FORALL_RETURN_IF_ERROR(
        LocalFile(WriteFileAtomically(options.csv, CsvText(table, *family, networks, *measured))));
  }
  return validation.good ? absl::OkStatus() : NotGood(validation, "");
}

void AddMeasureOptions(CLI::App* command, MeasureOptions* options) {
  command->add_option("--profile", options->profile, "How long to measure")
      ->check(CLI::IsMember({"screening", "standard", "final"}))
      ->capture_default_str();
  command->add_option("--recipe", options->recipe, "How networks are deployed")
      ->check(CLI::IsMember({"fp32", "fp16"}))
      ->capture_default_str();
  command->add_option("--batch", options->batch, "Images at once")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Of the random networks")
      ->check(CLI::Range(uint64_t{0}, kMostTableCount).description(""))
      ->capture_default_str();
  command
      ->add_option("--bound", options->bound,
                   "A table is good when 95 % of the networks are predicted so well")
      ->capture_default_str();
}

}  // namespace

absl::Status TakeFromTable(const LatencyTable& table, MeasureOptions* options) {
  const auto contradiction = [](const char* flag, absl::string_view said,
                                absl::string_view of_table) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, " ", said, ": the table is of ", of_table,
                     "; leave the flag out, or build a table of what it says"));
  };
  const std::string device = Says(table, "measured_device");
  if (device.empty()) {
    if (options->device.empty()) options->device = table.conditions.device;
  } else {
    absl::string_view said = options->device;
    const bool same = absl::ConsumePrefix(&said, "class:")
                          ? said == Says(table, "device_class")
                          : said.empty() || absl::StripPrefix(said, "devices/") ==
                                                absl::StripPrefix(device, "devices/");
    if (!same) return contradiction("--device", options->device, device);
    options->device = device;
  }
  const std::string recipe = Says(table, "recipe");
  if (options->recipe.empty()) options->recipe = recipe.empty() ? "fp32" : recipe;
  if (!recipe.empty() && options->recipe != recipe) {
    return contradiction("--recipe", options->recipe, recipe);
  }
  if (options->batch == 0) options->batch = table.conditions.batch;
  if (options->batch != table.conditions.batch) {
    return contradiction("--batch", absl::StrCat(options->batch),
                         absl::StrCat("batch ", table.conditions.batch));
  }
  if (options->profile.empty()) options->profile = Says(table, "latency_profile");
  if (options->profile.empty()) options->profile = "standard";
  options->runtime_profile = Says(table, "profile");
  return absl::OkStatus();
}

absl::StatusOr<std::set<std::string>> NetworksOf(const LatencyTable& table, const Family& family) {
  FORALL_ASSIGN_OR_RETURN(const uint64_t seed, CountIn(table, "seed", kMostTableCount));
  FORALL_ASSIGN_OR_RETURN(const uint64_t validation,
                          CountIn(table, "validation_networks", kMostValidation));
  FORALL_ASSIGN_OR_RETURN(const uint64_t fit, CountIn(table, "fit_networks", kMostNetworksToFit));
  std::set<std::string> seen;
  for (const auto& [purpose, count] :
       {std::pair(kValidationPurpose, validation), std::pair(kFitPurpose, fit)}) {
    FORALL_RETURN_IF_ERROR(SampleNetworks(family, ResolutionsIn(table), static_cast<int64_t>(count),
                                          seed, purpose, &seen)
                               .status());
  }
  return seen;
}

absl::Status CheckSampled(const Family& family, int64_t validation, int64_t fit,
                          int64_t fit_wanted) {
  if (validation >= kLeastValidation && (fit_wanted == 0 || fit >= kLeastNetworksToFit)) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(absl::StrCat(
      family.search_space().id(), " has too few different networks at these resolutions: ",
      validation, " were found to validate with, of which ", kLeastValidation,
      fit_wanted == 0
          ? absl::StrCat(" are needed")
          : absl::StrCat(" are needed, and ", fit, " others to correct the sums by, of which ",
                         kLeastNetworksToFit, " are needed; try --validate-subnets ",
                         kLeastValidation, ", or --fit-subnets 0 for no correction")));
}

absl::StatusOr<std::optional<TableCorrection>> FitIfEnough(const LatencyTable& table,
                                                           const std::vector<TimedNetwork>& timed,
                                                           std::string* why_not) {
  if (static_cast<int64_t>(timed.size()) < kLeastNetworksToFit) {
    *why_not = absl::StrCat("only ", timed.size(), " networks to fit to could be measured, ",
                            kLeastNetworksToFit, " are needed");
    return std::nullopt;
  }
  FORALL_ASSIGN_OR_RETURN(TableCorrection correction, FitCorrection(table, timed));
  return correction;
}

absl::StatusOr<double> ParseBound(absl::string_view text) {
  absl::string_view number = absl::StripAsciiWhitespace(text);
  const bool percent = absl::ConsumeSuffix(&number, "%");
  double value = 0;
  if (!absl::SimpleAtod(absl::StripAsciiWhitespace(number), &value) || !(value > 0) ||
      value > (percent ? 100 : 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--bound ", text, ": want a share such as 10% or 0.1"));
  }
  return percent ? value / 100 : value;
}

absl::StatusOr<std::vector<Architecture>> SampleNetworks(const Family& family,
                                                         const std::vector<int32_t>& resolutions,
                                                         int64_t count, uint64_t seed,
                                                         absl::string_view purpose,
                                                         std::set<std::string>* seen) {
  if (resolutions.empty()) return absl::InvalidArgumentError("no resolution to take networks of");
  const SearchSpace& space = family.search_space();
  Random random = Random::ForStream(seed, Fnv1a64(purpose));
  std::vector<Architecture> sampled;
  for (int64_t tries = 0; tries < 100 * count + 1000; ++tries) {
    if (static_cast<int64_t>(sampled.size()) == count) break;
    const Architecture drawn = space.Sample(&random);
    const int32_t resolution = resolutions[random.Uniform(resolutions.size())];
    FORALL_ASSIGN_OR_RETURN(Architecture architecture, AtResolution(family, drawn, resolution));
    architecture = space.Canonical(architecture);
    if (seen->insert(ArchKey(space, architecture)).second) {
      sampled.push_back(std::move(architecture));
    }
  }
  return sampled;
}

std::string QualityText(const TableValidation& validation) {
  const TableQuality& additive = validation.additive;
  const TableQuality corrected = validation.corrected.value_or(TableQuality());
  std::string text =
      absl::StrFormat("%-28s %10s", absl::StrCat(validation.networks, " networks"), "additive");
  if (validation.corrected.has_value()) absl::StrAppendFormat(&text, " %10s", "corrected");
  text += "\n";
  const auto line = [&](const std::string& name, double TableQuality::*field, bool percent) {
    const auto number = [&](double value) {
      // Not "-0.0".
      const double shown = std::abs(value) < 5e-4 ? 0 : value;
      return percent ? absl::StrFormat("%.1f %%", 100 * shown) : absl::StrFormat("%.4f", value);
    };
    absl::StrAppendFormat(&text, "%-28s %10s", name, number(additive.*field));
    if (validation.corrected.has_value()) {
      absl::StrAppendFormat(&text, " %10s", number(corrected.*field));
    }
    text += "\n";
  };
  line("mean error", &TableQuality::mean_relative_error, true);
  line("largest error", &TableQuality::largest_relative_error, true);
  line("bias", &TableQuality::bias, true);
  line("within 5 %", &TableQuality::within_5_percent, true);
  line("within 10 %", &TableQuality::within_10_percent, true);
  line("within 15 %", &TableQuality::within_15_percent, true);
  line(absl::StrFormat("within the bound, %g %%", 100 * validation.bound),
       &TableQuality::within_bound, true);
  line("Kendall's tau", &TableQuality::kendall_tau, false);
  line("Spearman's rho", &TableQuality::spearman_rho, false);
  return text;
}

void AddTableBuild(CLI::App* table, CommandContext* context) {
  auto options = std::make_shared<BuildOptions>();
  CLI::App* command = table->add_subcommand(
      "build", "Measure one on a worker's device; exit code 1 if it is not good");
  command->footer(
      "Measures every block of the space, corrects the sums by whole networks and validates them "
      "by\n"
      "others. Needs a controller and a worker with the device. Stop it at any time and run it "
      "again:\n"
      "nothing is measured twice.\n"
      "Example: forall table build --device pi5-lab --space ofa_mbv3_w1.0 --resolution 224 -o "
      "pi5.json");
  command
      ->add_option("--device", options->measure.device,
                   "As `forall workers` lists it, or class:LABEL of one device")
      ->required();
  command->add_option("--space", options->space, "A space of `forall spaces`, or a spec file")
      ->required();
  command->add_option("--output,-o", options->output, "File to write")->required();
  command->add_option("--yaml", options->yaml,
                      "Also files for the once-for-all authors' tools, into this folder");
  command
      ->add_option("--resolution", options->resolutions,
                   "Only these, not all of the space; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--label", options->label,
                      "What jobs call the table by; the device's name unless given");
  command
      ->add_option("--fit-subnets", options->fit_networks,
                   "Whole networks that correct the sums; 0: no correction")
      ->check(CLI::Range(int64_t{0}, kMostNetworksToFit))
      ->capture_default_str();
  command
      ->add_option("--validate-subnets", options->validation_networks,
                   "Other networks that both are judged by")
      ->check(CLI::Range(kLeastValidation, kMostValidation))
      ->capture_default_str();
  options->measure.profile = "standard";
  options->measure.recipe = "fp32";
  options->measure.batch = 1;
  AddMeasureOptions(command, &options->measure);
  command->callback([options, context] {
    context->action = [options, context] { return Build(*options, *context); };
  });
}

void AddTableValidate(CLI::App* table, CommandContext* context) {
  auto options = std::make_shared<ValidateOptions>();
  options->measure.seed = 1000;
  CLI::App* command = table->add_subcommand(
      "validate", "Compare one with fresh random networks; exit code 1 if not good");
  command->add_option("file", options->file, "A table of `forall table build` or `import`")
      ->required();
  command->add_option("--device", options->measure.device,
                      "As for `build`; what the table was measured on unless given");
  command->add_option("--space", options->space,
                      "As for `build`; what the table says unless given");
  command->add_option("--subnets", options->networks, "How many networks")
      ->check(CLI::Range(kLeastValidation, kMostValidation))
      ->capture_default_str();
  command->add_option("--csv", options->csv, "Every network's sums and time, into this file");
  AddMeasureOptions(command, &options->measure);
  for (const char* option : {"--profile", "--recipe", "--batch"}) {
    command->get_option(option)->default_str("the table's");
  }
  command->callback([options, context] {
    context->action = [options, context] { return Validate(*options, *context); };
  });
}

}  // namespace forall
