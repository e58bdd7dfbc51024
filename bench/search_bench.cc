// SPDX-License-Identifier: Apache-2.0
#include "bench/search_bench.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "latency/table/latency_table.h"
#include "nlohmann/json.hpp"
#include "search/inner/candidates.h"
#include "search/inner/factored_cost.h"
#include "search/inner/frontier_search.h"
#include "search/inner/perceptron.h"
#include "search/inner/predictor_scorer.h"
#include "space/cost_model.h"
#include "space/family.h"
#include "supernet/predictor/accuracy_predictor.h"
#include "supernet/predictor/predictor_import.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMillion = 1e6;

absl::StatusOr<double> Milliseconds(const std::string& unit) {
  if (unit == "s") return 1000.0;
  if (unit == "ms") return 1.0;
  if (unit == "us") return 1e-3;
  if (unit == "ns") return 1e-6;
  return absl::InvalidArgumentError(absl::StrCat("--unit: s, ms, us or ns, not \"", unit, "\""));
}

}  // namespace

absl::StatusOr<LatencyTable> ReadTables(const std::string& path,
                                        const SearchBenchOptions& options) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) {
    FORALL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    absl::StatusOr<LatencyTable> table = ParseLatencyTable(text);
    return table.ok() ? std::move(table) : WithContext(table.status(), path);
  }
  FORALL_ASSIGN_OR_RETURN(const double milliseconds, Milliseconds(options.unit));
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".yaml" || extension == ".yml" || extension == ".json") {
      files.insert(entry.path().string());
    }
  }
  LatencyTable table;
  table.conditions.device = options.device.empty()
                                ? std::filesystem::path(path).lexically_normal().filename().string()
                                : options.device;
  for (const std::string& file : files) {
    FORALL_ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
    absl::StatusOr<LatencyRows> rows = ParsePublishedTable(text, milliseconds);
    if (!rows.ok()) return WithContext(rows.status(), file);
    FORALL_RETURN_IF_ERROR(WithContext(AddRows(*std::move(rows), &table), file));
  }
  if (table.resolutions.empty()) {
    return absl::NotFoundError(absl::StrCat("--tables: ", path, " holds no lookup table"));
  }
  return table;
}

namespace {

absl::StatusOr<std::shared_ptr<const AccuracyPredictor>> ReadPredictor(
    const SearchBenchOptions& options, const std::shared_ptr<const Family>& family) {
  FORALL_ASSIGN_OR_RETURN(std::string bytes, ReadFile(options.predictor));
  // A safetensors file begins with the length of its header, which is JSON.
  if (bytes.size() < 9 || bytes[8] != '{') {
    FORALL_ASSIGN_OR_RETURN(const FeatureOrder order, ParseFeatureOrder(options.features));
    FORALL_ASSIGN_OR_RETURN(const PredictorFile file,
                            ImportPredictor(options.predictor, *family, order, {}));
    FORALL_ASSIGN_OR_RETURN(bytes, SerializePredictor(file));
  }
  return AccuracyPredictor::Parse(std::move(bytes), options.predictor, family);
}

// What is searched: a family, its predictor, and one cost.
struct Subject {
  std::shared_ptr<const Family> family;
  std::shared_ptr<const AccuracyPredictor> predictor;
  CostOracle cost;
  Json source;  // where the cost comes from
};

CostOracle MegaMacs(std::shared_ptr<const Family> family) {
  return [family = std::move(family)](const Architecture& a) -> absl::StatusOr<double> {
    FORALL_ASSIGN_OR_RETURN(const Network network, family->Describe(a));
    return static_cast<double>(CountCosts(network).macs) / kMillion;
  };
}

CostOracle TableLatency(std::shared_ptr<const Family> family, LatencyTable table) {
  return [family = std::move(family),
          table = std::move(table)](const Architecture& a) -> absl::StatusOr<double> {
    // Cheaper than to describe a network that has no rows.
    const SearchSpace& space = family->search_space();
    if (const std::optional<int> r = space.FindDimension("r");
        r.has_value() && table.resolutions.count(space.Value(a, *r)) == 0) {
      return absl::NotFoundError(
          absl::StrCat("the tables have no rows for resolution ", space.Value(a, *r)));
    }
    FORALL_ASSIGN_OR_RETURN(const Network network, family->Describe(a));
    return table.Sum(network);
  };
}

absl::StatusOr<Subject> ReadSubject(const SearchBenchOptions& options) {
  if (options.predictor.empty()) {
    return absl::InvalidArgumentError("--predictor: name an accuracy predictor's file");
  }
  Subject subject;
  FORALL_ASSIGN_OR_RETURN(subject.family, FindFamily(options.space));
  FORALL_ASSIGN_OR_RETURN(subject.predictor, ReadPredictor(options, subject.family));
  if (options.objective == "macs") {
    subject.cost = MegaMacs(subject.family);
    subject.source = {{"objective", "macs"}, {"unit", "MMACs"}};
    return subject;
  }
  if (options.objective != "latency") {
    return absl::InvalidArgumentError(
        absl::StrCat("--objective: latency or macs, not \"", options.objective, "\""));
  }
  if (options.tables.size() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--tables: name one folder of lookup tables, or use --objective macs; got ",
                     options.tables.size()));
  }
  FORALL_ASSIGN_OR_RETURN(LatencyTable table, ReadTables(options.tables.front(), options));
  subject.source = {{"objective", "latency"}, {"device", table.conditions.device}, {"unit", "ms"}};
  if (!table.conditions.runtime.empty()) subject.source["runtime"] = table.conditions.runtime;
  subject.cost = TableLatency(subject.family, std::move(table));
  return subject;
}

absl::StatusOr<CandidateSpace> SearchedSpace(const Subject& subject) {
  return CandidateSpace::Usable(subject.family->search_space(),
                                [&](const Architecture& a) -> absl::Status {
                                  if (!subject.predictor->Knows(a)) {
                                    return absl::NotFoundError("the predictor does not know it");
                                  }
                                  return subject.cost(a).status();
                                });
}

void Print(Json line, const Json& source) {
  line.update(source);
  std::printf("%s\n", line.dump().c_str());
}

// The best of the frontier within the bound, predicted once more, exactly.
absl::Status PrintAnswer(const Subject& subject, const CandidateSpace& space,
                         const FrontierSearchResult& result, double bound) {
  const FrontierPoint* best = nullptr;
  for (const FrontierPoint& point : result.frontier) {
    if (point.costs[0] <= bound && (best == nullptr || point.score > best->score)) best = &point;
  }
  if (best == nullptr) {
    Print({{"bound", bound}, {"predicted_accuracy", nullptr}}, subject.source);
    return absl::OkStatus();
  }
  const Architecture architecture = space.ToArchitecture(best->row.data());
  FORALL_ASSIGN_OR_RETURN(const double cost, subject.cost(architecture));
  const std::optional<double> percent = subject.predictor->Predict(architecture);
  if (!percent.has_value()) return absl::InternalError("a network without a prediction was kept");
  Print({{"bound", bound},
         {"predicted_accuracy", *percent / 100},
         {"cost", cost},
         {"architecture", Json::parse(space.space().ToJson(architecture))}},
        subject.source);
  return absl::OkStatus();
}

}  // namespace

absl::Status RunOfaSearch(const SearchBenchOptions& options) {
  if (options.bounds.empty()) {
    return absl::InvalidArgumentError("--bounds: name at least one, e.g. --bounds 15,20,25");
  }
  FORALL_ASSIGN_OR_RETURN(const Subject subject, ReadSubject(options));
  FORALL_ASSIGN_OR_RETURN(const CandidateSpace space, SearchedSpace(subject));
  FORALL_ASSIGN_OR_RETURN(const FactoredCost cost, FactoredCost::Compile(space, subject.cost));
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<PredictorScorer> scorer,
                          PredictorScorer::Create(space, *subject.predictor));

  const double cheapest = cost.cheapest().value;
  SearchedCost searched;
  searched.cost = &cost;
  for (const double bound : options.bounds) {
    if (bound >= cheapest) searched.marks.push_back(bound);
  }
  FrontierSearchResult result;
  if (!searched.marks.empty()) {
    searched.high = *std::max_element(searched.marks.begin(), searched.marks.end());
    FrontierSearchOptions search;
    search.budget = options.budget;
    search.seed = options.seed;
    FORALL_ASSIGN_OR_RETURN(result, SearchFrontier(space, {searched}, *scorer, search));
  }
  for (const double bound : options.bounds) {
    if (bound < cheapest) {
      Print(
          {{"bound", bound}, {"predicted_accuracy", nullptr}, {"nearest_feasible_bound", cheapest}},
          subject.source);
    } else {
      FORALL_RETURN_IF_ERROR(PrintAnswer(subject, space, result, bound));
    }
  }
  const double seconds =
      static_cast<double>(Clock::Real()->SteadyNanos() - options.started_ns) * 1e-9;
  Print({{"seconds", seconds},
         {"candidates", result.scored},
         {"candidates_per_second", static_cast<double>(result.scored) / seconds},
         {"instruction_set", InstructionSetName(BestInstructionSet())},
         {"space", options.space}},
        subject.source);
  return absl::OkStatus();
}

}  // namespace forall
