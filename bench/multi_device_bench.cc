// SPDX-License-Identifier: Apache-2.0
#include "bench/multi_device_bench.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "search/inner/candidates.h"
#include "search/inner/compiled_table.h"
#include "search/inner/factored_cost.h"
#include "search/pareto/hypervolume.h"
#include "search/predictor/objective_predictor.h"
#include "search/sampler/sampler.h"
#include "search/sampler/sampler_factory.h"
#include "space/cost_model.h"
#include "space/family.h"
#include "supernet/predictor/accuracy_predictor.h"
#include "supernet/predictor/predictor_import.h"

namespace forall {
namespace {

constexpr double kAccuracyNoise = 0.03;
constexpr double kLatencyNoise = 0.01;
constexpr double kRowError = 0.15;
constexpr double kWorstAccuracy = 75;
constexpr size_t kTested = 1000;

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

class World {
 public:
  static absl::StatusOr<World> Create(const SearchBenchOptions& options) {
    if (options.tables.size() < 2) {
      return absl::InvalidArgumentError(
          "--tables: name two devices' tables or more, e.g. --tables note10 --tables jetson");
    }
    std::vector<LatencyTable> tables;
    for (const std::string& path : options.tables) {
      FORALL_ASSIGN_OR_RETURN(LatencyTable table, ReadTables(path, options));
      tables.push_back(std::move(table));
    }
    World world;
    FORALL_RETURN_IF_ERROR(world.MakeFamily(options.space, tables));
    for (LatencyTable& table : tables) {
      // Others are not in the space.
      std::erase_if(table.resolutions, [&](const auto& entry) {
        return std::find(world.resolutions_.begin(), world.resolutions_.end(), entry.first) ==
               world.resolutions_.end();
      });
      FORALL_ASSIGN_OR_RETURN(auto compiled, CompiledTable::Compile(table, world.family_));
      world.tables_.push_back(std::move(compiled));
      world.rows_.push_back(std::move(table));
    }
    return world;
  }

  absl::Status ReadPredictor(const SearchBenchOptions& options) {
    if (options.predictor.empty()) {
      return absl::InvalidArgumentError("--predictor: name the published accuracy predictor");
    }
    FORALL_ASSIGN_OR_RETURN(const FeatureOrder order, ParseFeatureOrder(options.features));
    FORALL_ASSIGN_OR_RETURN(const PredictorFile file,
                            ImportPredictor(options.predictor, *family_, order, {}));
    FORALL_ASSIGN_OR_RETURN(std::string bytes, SerializePredictor(file));
    FORALL_ASSIGN_OR_RETURN(predictor_,
                            AccuracyPredictor::Parse(std::move(bytes), options.predictor, family_));
    return absl::OkStatus();
  }

  const SearchSpace& space() const { return family_->search_space(); }
  const std::shared_ptr<const Family>& family() const { return family_; }
  size_t devices() const { return tables_.size(); }
  const CompiledTable& table(size_t device) const { return *tables_[device]; }
  const LatencyTable& rows(size_t device) const { return rows_[device]; }
  double Gmacs(const Architecture& a) const {
    const absl::StatusOr<Network> network = family_->Describe(a);
    return network.ok() ? 1e-9 * static_cast<double>(CountCosts(*network).macs) : 0;
  }
  double TrueAccuracy(const Architecture& a) const { return predictor_->Predict(a).value_or(0); }
  double TrueLatency(const Architecture& a, size_t device) const {
    return tables_[device]->Estimate(a);
  }
  // Normal noise that belongs to a network and a purpose.
  double Noise(const Architecture& a, const std::string& purpose) const {
    return Random(Fnv1a64(absl::StrCat(purpose, space().ToJson(a)))).Gaussian();
  }
  double MeasuredAccuracy(const Architecture& a) const {
    return TrueAccuracy(a) + kAccuracyNoise * Noise(a, "accuracy");
  }
  double MeasuredLatency(const Architecture& a, size_t device) const {
    const std::string& name = tables_[device]->conditions().device;
    return TrueLatency(a, device) * (1 + kLatencyNoise * Noise(a, name));
  }

 private:
  World() = default;
  absl::Status MakeFamily(const std::string& name, const std::vector<LatencyTable>& tables) {
    FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Family> published, FindFamily(name));
    const SearchSpace& space = published->search_space();
    const std::optional<int> r = space.FindDimension("r");
    if (!r.has_value()) return absl::InvalidArgumentError("--space: it has one resolution only");
    for (const int32_t resolution : space.dimensions()[*r].options) {
      if (std::all_of(tables.begin(), tables.end(), [&](const LatencyTable& table) {
            return table.resolutions.contains(resolution);
          })) {
        resolutions_.push_back(resolution);
      }
    }
    if (resolutions_.empty()) {
      return absl::InvalidArgumentError("--tables: no resolution of the space is in all of them");
    }
    nlohmann::json spec = nlohmann::json::parse(published->Spec());
    spec["name"] = absl::StrCat(name, "_tables");
    spec["resolutions"] = resolutions_;
    FORALL_ASSIGN_OR_RETURN(family_, FamilyFromSpec(spec.dump()));
    return absl::OkStatus();
  }

  std::shared_ptr<const Family> family_;
  std::vector<int32_t> resolutions_;
  std::shared_ptr<const AccuracyPredictor> predictor_;
  std::vector<std::shared_ptr<const CompiledTable>> tables_;
  std::vector<LatencyTable> rows_;
};

// A search for some of the devices: what it evaluated, in order.
absl::StatusOr<std::vector<Architecture>> Search(const World& world, const std::string& name,
                                                 const std::vector<size_t>& devices, uint64_t seed,
                                                 int evaluations, int parallel) {
  SamplerOptions options;
  options.cost = [&world](const Architecture& a) { return world.Gmacs(a); };
  options.objectives = {{SearchedMetric::Kind::kQuality, nullptr}};
  for (size_t i = 0; i < devices.size(); ++i) {
    options.objectives.push_back({SearchedMetric::Kind::kCost, nullptr});
  }
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<Sampler> sampler,
                          CreateSampler(name, std::move(options), world.space(), seed));
  std::vector<Architecture> evaluated;
  std::vector<ScoredTrial> history;
  std::vector<Architecture> pending;
  int64_t proposed = 0;
  while (static_cast<int>(history.size()) < evaluations) {
    const int free = std::min<int>(parallel - static_cast<int>(pending.size()),
                                   evaluations - static_cast<int>(proposed));
    for (Proposal& proposal : sampler->Propose({history, pending, free, proposed})) {
      pending.push_back(std::move(proposal.architecture));
      ++proposed;
    }
    if (pending.empty()) {
      return absl::InternalError(absl::StrCat(name, " has proposed nothing after ", proposed));
    }
    const Architecture done = pending.front();
    pending.erase(pending.begin());
    std::vector<double> objectives = {-world.MeasuredAccuracy(done)};
    for (const size_t device : devices) objectives.push_back(world.MeasuredLatency(done, device));
    history.push_back({static_cast<int64_t>(history.size()) + 1, done, std::move(objectives), 0});
    evaluated.push_back(done);
  }
  return evaluated;
}

absl::StatusOr<double> DeviceHypervolume(const World& world, size_t device,
                                         const std::vector<Architecture>& networks) {
  std::vector<double> points;
  const double slowest = world.table(device).most();
  for (const Architecture& network : networks) {
    points.insert(points.end(),
                  {-world.TrueAccuracy(network), world.TrueLatency(network, device) / slowest});
  }
  return Hypervolume({points, 2}, {-kWorstAccuracy, 1.0});
}

std::vector<Architecture> First(const std::vector<Architecture>& networks, size_t count) {
  return {networks.begin(), networks.begin() + static_cast<int64_t>(count)};
}

struct Results {
  // By mode, device and number of evaluations, one for each seed.
  std::map<std::tuple<std::string, size_t, int>, std::vector<double>> hypervolumes;
  std::map<std::string, std::vector<double>> seconds;
};

absl::Status RunSeed(const World& world, const std::string& sampler, uint64_t seed,
                     const MultiDeviceOptions& options, Results* results) {
  const int last = *std::max_element(options.at.begin(), options.at.end());
  const size_t devices = world.devices();
  const auto timed = [&](const std::string& mode, const std::vector<size_t>& of, int evaluations) {
    const int64_t start = Clock::Real()->SteadyNanos();
    auto found = Search(world, sampler, of, seed, evaluations, options.parallel);
    results->seconds[mode].push_back(1e-9 *
                                     static_cast<double>(Clock::Real()->SteadyNanos() - start));
    return found;
  };
  std::vector<size_t> all;
  std::vector<std::vector<Architecture>> single;
  for (size_t device = 0; device < devices; ++device) {
    all.push_back(device);
    FORALL_ASSIGN_OR_RETURN(std::vector<Architecture> found,
                            timed("separate", {device}, last / static_cast<int>(devices)));
    single.push_back(std::move(found));
  }
  FORALL_ASSIGN_OR_RETURN(const std::vector<Architecture> joint, timed("joint", all, last));
  for (const int at : options.at) {
    const size_t share = static_cast<size_t>(at) / devices;
    std::vector<Architecture> pooled;
    for (const std::vector<Architecture>& found : single) {
      pooled.insert(pooled.end(), found.begin(), found.begin() + static_cast<int64_t>(share));
    }
    for (size_t device = 0; device < devices; ++device) {
      const auto note = [&](const std::string& mode,
                            const std::vector<Architecture>& networks) -> absl::Status {
        FORALL_ASSIGN_OR_RETURN(const double volume, DeviceHypervolume(world, device, networks));
        results->hypervolumes[{mode, device, at}].push_back(volume);
        return absl::OkStatus();
      };
      FORALL_RETURN_IF_ERROR(note("joint", First(joint, static_cast<size_t>(at))));
      FORALL_RETURN_IF_ERROR(note("separate", First(single[device], share)));
      FORALL_RETURN_IF_ERROR(note("shared", pooled));
    }
  }
  return absl::OkStatus();
}

void Print(const World& world, const std::string& sampler, const Results& results) {
  for (const auto& [key, volumes] : results.hypervolumes) {
    const auto& [mode, device, at] = key;
    const auto [low, high] = std::minmax_element(volumes.begin(), volumes.end());
    std::printf("%s\n", nlohmann::ordered_json{{"benchmark", "multi-device"},
                                               {"sampler", sampler},
                                               {"mode", mode},
                                               {"device", world.table(device).conditions().device},
                                               {"evaluations", at},
                                               {"hypervolume_median", Median(volumes)},
                                               {"hypervolume_min", *low},
                                               {"hypervolume_max", *high},
                                               {"seeds", volumes.size()}}
                            .dump()
                            .c_str());
  }
  for (const auto& [mode, seconds] : results.seconds) {
    std::printf(
        "{\"benchmark\":\"multi-device\",\"sampler\":\"%s\",\"mode\":\"%s\",\"seconds_median\":"
        "%.2f}\n",
        sampler.c_str(), mode.c_str(), Median(seconds));
  }
  std::fflush(stdout);
}

// The same table, each row off by a factor of its own.
LatencyTable Distorted(LatencyTable table) {
  for (auto& [resolution, rows] : table.resolutions) {
    for (auto& [key, row] : rows) {
      // One layer is off alike at every resolution where it stands.
      row.mean_ms *= std::exp(kRowError * Random(Fnv1a64(key)).Gaussian());
    }
  }
  return table;
}

// What a latency is learned as a correction of.
struct Prior {
  std::string name;
  std::optional<FactoredCost> cost;
};

absl::StatusOr<std::vector<Prior>> Priors(const World& world, const CandidateSpace& space) {
  std::vector<Prior> priors;
  priors.push_back({"none", std::nullopt});
  FORALL_ASSIGN_OR_RETURN(
      FactoredCost macs,
      FactoredCost::Compile(
          space, [&](const Architecture& a) -> absl::StatusOr<double> { return world.Gmacs(a); }));
  priors.push_back({"macs", std::move(macs)});
  for (size_t device = 0; device < world.devices(); ++device) {
    FORALL_ASSIGN_OR_RETURN(
        FactoredCost cost,
        FactoredCost::Compile(space, [&](const Architecture& a) -> absl::StatusOr<double> {
          return world.TrueLatency(a, device);
        }));
    priors.push_back(
        {absl::StrCat("table of ", world.table(device).conditions().device), std::move(cost)});
  }
  return priors;
}

double RelativeError(const ObjectivePredictor& predictor, const Candidates& rows,
                     const std::vector<double>& latencies) {
  double squares = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const double off = predictor.Mean(rows.row(i)) / latencies[i] - 1;
    squares += off * off;
  }
  return std::sqrt(squares / static_cast<double>(rows.size()));
}

absl::Status RunPriorsOf(const World& world, size_t device, const CandidateSpace& space,
                         const std::vector<Prior>& priors, const MultiDeviceOptions& options) {
  FORALL_ASSIGN_OR_RETURN(const auto truth,
                          CompiledTable::Compile(Distorted(world.rows(device)), world.family()));
  const auto draw = [&](size_t count, uint64_t seed, bool noise, std::vector<double>* latencies) {
    Random random(seed);
    Candidates rows(space.width());
    std::vector<State> row(space.width());
    for (size_t i = 0; i < count; ++i) {
      space.Draw(4 * (2 * random.Double() - 1), &random, row.data());
      rows.Append(row.data());
      const Architecture a = space.ToArchitecture(row.data());
      const double factor = 1 + (noise ? kLatencyNoise * world.Noise(a, "end to end") : 0);
      latencies->push_back(truth->Estimate(a) * factor);
    }
    return rows;
  };
  std::vector<double> expected;
  const Candidates tested = draw(kTested, 0x7e57, false, &expected);
  for (const Prior& prior : priors) {
    for (const int at : options.at) {
      std::vector<double> errors;
      for (int i = 0; i < options.seeds; ++i) {
        std::vector<double> measured;
        const Candidates rows =
            draw(static_cast<size_t>(at), options.first_seed + i, true, &measured);
        const auto learned =
            LearnCost(space, rows, measured, prior.cost.has_value() ? &*prior.cost : nullptr);
        if (learned == nullptr) return absl::InternalError("a latency could not be learned");
        errors.push_back(RelativeError(*learned, tested, expected));
      }
      std::printf("%s\n",
                  nlohmann::ordered_json{{"benchmark", "table-prior"},
                                         {"device", world.table(device).conditions().device},
                                         {"prior", prior.name},
                                         {"measurements", at},
                                         {"error_median", Median(errors)},
                                         {"seeds", options.seeds}}
                      .dump()
                      .c_str());
      std::fflush(stdout);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckAt(const MultiDeviceOptions& options, size_t least) {
  for (const int at : options.at) {
    if (static_cast<size_t>(at) < least) {
      return absl::InvalidArgumentError(absl::StrCat("--at: at least ", least, ", got ", at));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunMultiDeviceBench(const MultiDeviceOptions& options) {
  FORALL_ASSIGN_OR_RETURN(World world, World::Create(options.search));
  FORALL_RETURN_IF_ERROR(world.ReadPredictor(options.search));
  FORALL_RETURN_IF_ERROR(CheckAt(options, world.devices()));
  for (const std::string& sampler : options.samplers) {
    Results results;
    for (int i = 0; i < options.seeds; ++i) {
      FORALL_RETURN_IF_ERROR(RunSeed(world, sampler, options.first_seed + i, options, &results));
    }
    Print(world, sampler, results);
  }
  return absl::OkStatus();
}

absl::Status RunTablePriorBench(const MultiDeviceOptions& options) {
  FORALL_ASSIGN_OR_RETURN(const World world, World::Create(options.search));
  FORALL_RETURN_IF_ERROR(CheckAt(options, 1));
  FORALL_ASSIGN_OR_RETURN(const CandidateSpace space, CandidateSpace::Create(world.space()));
  FORALL_ASSIGN_OR_RETURN(const std::vector<Prior> priors, Priors(world, space));
  for (size_t device = 0; device < world.devices(); ++device) {
    FORALL_RETURN_IF_ERROR(RunPriorsOf(world, device, space, priors, options));
  }
  return absl::OkStatus();
}

}  // namespace forall
