// SPDX-License-Identifier: Apache-2.0
#include "bench/sample_efficiency_bench.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <limits>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "search/pareto/hypervolume.h"
#include "search/sampler/known_subnets.h"
#include "search/sampler/sampler.h"
#include "search/sampler/sampler_factory.h"
#include "space/cost_model.h"
#include "space/family.h"
#include "supernet/predictor/accuracy_predictor.h"
#include "supernet/predictor/predictor_import.h"

namespace forall {
namespace {

constexpr double kSlope = 1.03882096;
constexpr double kIntercept = -8.99301042;
constexpr double kNoise = 0.03;
constexpr double kWorstAccuracy = 70;
constexpr double kWorstGmacs = 0.6;
constexpr int kPixels = 224;
// Between the seed of a search and that of the one whose results it knows.
constexpr uint64_t kFormerSeed = 1000;

class World {
 public:
  static absl::StatusOr<World> Create(const std::string& predictor, const LatencyTable* table) {
    const std::string name = table == nullptr ? "ofa_mbv3_w1.0" : "ofa_mbv3_w1.2";
    FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Family> published, FindFamily(name));
    nlohmann::json spec = nlohmann::json::parse(published->Spec());
    spec["name"] = absl::StrCat(name, "_", kPixels);
    spec["resolutions"] = {kPixels};
    World world;
    FORALL_ASSIGN_OR_RETURN(world.family_, FamilyFromSpec(spec.dump()));
    FORALL_ASSIGN_OR_RETURN(
        const PredictorFile file,
        ImportPredictor(predictor, *world.family_, FeatureOrder::kKernelExpandResolution, {}));
    FORALL_ASSIGN_OR_RETURN(std::string bytes, SerializePredictor(file));
    FORALL_ASSIGN_OR_RETURN(world.predictor_,
                            AccuracyPredictor::Parse(std::move(bytes), predictor, world.family_));
    world.table_ = table;
    if (table != nullptr) {
      FORALL_ASSIGN_OR_RETURN(const Network largest,
                              world.family_->Describe(world.space().Largest()));
      FORALL_ASSIGN_OR_RETURN(world.worst_cost_, table->Sum(largest));
    }
    return world;
  }

  const SearchSpace& space() const { return family_->search_space(); }
  double Gmacs(const Architecture& a) const {
    const absl::StatusOr<Network> network = family_->Describe(a);
    return network.ok() ? 1e-9 * static_cast<double>(CountCosts(*network).macs) : 0;
  }
  bool has_device() const { return table_ != nullptr; }
  // Of the second objective; what is not to be had is infinitely dear.
  double Cost(const Architecture& a) const {
    if (table_ == nullptr) return Gmacs(a);
    const absl::StatusOr<Network> network = family_->Describe(a);
    if (!network.ok()) return std::numeric_limits<double>::infinity();
    return table_->Sum(*network).value_or(std::numeric_limits<double>::infinity());
  }
  double worst_cost() const { return worst_cost_; }
  double TrueAccuracy(const Architecture& a) const {
    return kSlope * predictor_->Predict(a).value_or(0) + kIntercept;
  }
  double MeasuredAccuracy(const Architecture& a) const {
    Random random(Fnv1a64(space().ToJson(a)));
    return TrueAccuracy(a) + kNoise * random.Gaussian();
  }

 private:
  World() = default;
  std::shared_ptr<const Family> family_;
  std::shared_ptr<const AccuracyPredictor> predictor_;
  const LatencyTable* table_ = nullptr;
  double worst_cost_ = kWorstGmacs;
};

SamplerOptions OptionsFor(const World& world, bool on_device) {
  SamplerOptions options;
  options.cost = [&world](const Architecture& a) { return world.Gmacs(a); };
  options.objectives = {{SearchedMetric::Kind::kQuality, nullptr},
                        {SearchedMetric::Kind::kKnown, options.cost}};
  if (on_device) options.objectives[1] = {SearchedMetric::Kind::kCost, nullptr};
  return options;
}

struct SearchTask {
  std::string sampler;
  uint64_t seed = 0;
  bool on_device = false;  // the cost is a measured latency
  int evaluations = 0;
  std::vector<ScoredTrial> known = {};
};

// All trials in order.
absl::StatusOr<std::vector<ScoredTrial>> Search(const World& world, const SearchTask& task,
                                                int parallel) {
  FORALL_ASSIGN_OR_RETURN(
      const std::unique_ptr<Sampler> sampler,
      CreateSampler(task.sampler, OptionsFor(world, task.on_device), world.space(), task.seed));
  std::vector<ScoredTrial> history;
  std::vector<Architecture> pending;
  int64_t proposed = 0;
  while (static_cast<int>(history.size()) < task.evaluations) {
    const int free = std::min<int>(parallel - static_cast<int>(pending.size()),
                                   task.evaluations - static_cast<int>(proposed));
    for (Proposal& proposal : sampler->Propose({history, pending, free, proposed, task.known})) {
      pending.push_back(std::move(proposal.architecture));
      ++proposed;
    }
    if (pending.empty()) {
      return absl::InternalError(
          absl::StrCat(task.sampler, " has proposed nothing after ", proposed));
    }
    const Architecture done = pending.front();
    pending.erase(pending.begin());
    history.push_back(
        {static_cast<int64_t>(history.size()) + 1,
         done,
         {-world.MeasuredAccuracy(done), task.on_device ? world.Cost(done) : world.Gmacs(done)},
         0});
  }
  return history;
}

// After each of `at` evaluations, noise-free.
absl::StatusOr<std::vector<double>> Hypervolumes(const World& world,
                                                 const std::vector<ScoredTrial>& history,
                                                 const std::vector<int>& at) {
  std::vector<double> found;
  std::vector<double> points;  // both minimised
  for (const ScoredTrial& trial : history) {
    points.insert(points.end(),
                  {-world.TrueAccuracy(trial.architecture), world.Cost(trial.architecture)});
    if (std::count(at.begin(), at.end(), trial.id) == 0) continue;
    FORALL_ASSIGN_OR_RETURN(const double volume,
                            Hypervolume({points, 2}, {-kWorstAccuracy, world.worst_cost()}));
    found.push_back(volume);
  }
  return found;
}

// What a search of another seed has measured, as a job's history is chosen.
absl::StatusOr<std::vector<ScoredTrial>> Former(const World& world, uint64_t seed,
                                                const SampleEfficiencyOptions& options) {
  const SearchTask task{"guided", seed + kFormerSeed, false, options.warm_from};
  FORALL_ASSIGN_OR_RETURN(std::vector<ScoredTrial> trials, Search(world, task, options.parallel));
  std::vector<double> costs;
  for (ScoredTrial& trial : trials) {
    costs.push_back(world.Gmacs(trial.architecture));
    if (world.has_device()) trial.objectives[1] = std::numeric_limits<double>::quiet_NaN();
  }
  std::vector<ScoredTrial> known;
  for (const size_t i : ChooseKnown(trials, costs)) known.push_back(std::move(trials[i]));
  return known;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

absl::Status RunSampler(const World& world, const std::string& name, bool warm,
                        const SampleEfficiencyOptions& options) {
  std::vector<int> at = options.at;
  std::sort(at.begin(), at.end());
  at.erase(std::unique(at.begin(), at.end()), at.end());
  std::vector<std::vector<double>> by_checkpoint(at.size());
  std::vector<double> seconds;
  for (int i = 0; i < options.seeds; ++i) {
    SearchTask task{name, options.first_seed + i, world.has_device(), at.back()};
    if (warm) {
      FORALL_ASSIGN_OR_RETURN(task.known, Former(world, task.seed, options));
    }
    const int64_t start = Clock::Real()->SteadyNanos();
    FORALL_ASSIGN_OR_RETURN(const std::vector<ScoredTrial> trials,
                            Search(world, task, options.parallel));
    FORALL_ASSIGN_OR_RETURN(const std::vector<double> found, Hypervolumes(world, trials, at));
    seconds.push_back(1e-9 * static_cast<double>(Clock::Real()->SteadyNanos() - start));
    for (size_t c = 0; c < at.size(); ++c) by_checkpoint[c].push_back(found[c]);
  }
  for (size_t c = 0; c < at.size(); ++c) {
    const auto [low, high] = std::minmax_element(by_checkpoint[c].begin(), by_checkpoint[c].end());
    std::printf(
        "{\"benchmark\":\"sample-efficiency\",\"sampler\":\"%s\",\"evaluations\":%d,"
        "\"hypervolume_median\":%.4f,\"hypervolume_min\":%.4f,\"hypervolume_max\":%.4f,"
        "\"seeds\":%d,\"parallel\":%d,\"warm_from\":%d}\n",
        name.c_str(), at[c], Median(by_checkpoint[c]), *low, *high, options.seeds, options.parallel,
        warm ? options.warm_from : 0);
  }
  std::printf(
      "{\"benchmark\":\"sample-efficiency\",\"sampler\":\"%s\",\"seconds_median\":%.2f,"
      "\"evaluations\":%d,\"warm_from\":%d}\n",
      name.c_str(), Median(seconds), at.back(), warm ? options.warm_from : 0);
  std::fflush(stdout);
  return absl::OkStatus();
}

}  // namespace

absl::Status RunSampleEfficiencyBench(const SampleEfficiencyOptions& options) {
  if (options.predictor.empty()) {
    return absl::InvalidArgumentError(
        "sample-efficiency needs --predictor FILE, the accuracy predictor that the once-for-all "
        "authors publish (acc_predictor.pth)");
  }
  FORALL_ASSIGN_OR_RETURN(const World world, World::Create(options.predictor, options.table));
  for (const std::string& name : options.samplers.empty() ? SamplerNames() : options.samplers) {
    FORALL_RETURN_IF_ERROR(RunSampler(world, name, /*warm=*/false, options));
    if (name != "guided" || options.warm_from == 0) continue;
    FORALL_RETURN_IF_ERROR(RunSampler(world, name, /*warm=*/true, options));
  }
  return absl::OkStatus();
}

}  // namespace forall
