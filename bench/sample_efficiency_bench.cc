// SPDX-License-Identifier: Apache-2.0
#include "bench/sample_efficiency_bench.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "search/pareto/hypervolume.h"
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

class World {
 public:
  static absl::StatusOr<World> Create(const std::string& predictor) {
    FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Family> published,
                            FindFamily("ofa_mbv3_w1.0"));
    nlohmann::json spec = nlohmann::json::parse(published->Spec());
    spec["name"] = "ofa_mbv3_w1.0_224";
    spec["resolutions"] = {kPixels};
    World world;
    FORALL_ASSIGN_OR_RETURN(world.family_, FamilyFromSpec(spec.dump()));
    FORALL_ASSIGN_OR_RETURN(
        const PredictorFile file,
        ImportPredictor(predictor, *world.family_, FeatureOrder::kKernelExpandResolution, {}));
    FORALL_ASSIGN_OR_RETURN(std::string bytes, SerializePredictor(file));
    FORALL_ASSIGN_OR_RETURN(world.predictor_,
                            AccuracyPredictor::Parse(std::move(bytes), predictor, world.family_));
    return world;
  }

  const SearchSpace& space() const { return family_->search_space(); }
  double Gmacs(const Architecture& a) const {
    const absl::StatusOr<Network> network = family_->Describe(a);
    return network.ok() ? 1e-9 * static_cast<double>(CountCosts(*network).macs) : 0;
  }
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
};

SamplerOptions OptionsFor(const World& world) {
  SamplerOptions options;
  options.cost = [&world](const Architecture& a) { return world.Gmacs(a); };
  options.objectives = {{SearchedMetric::Kind::kQuality, nullptr},
                        {SearchedMetric::Kind::kKnown, options.cost}};
  return options;
}

// Hypervolumes after each of `at` evaluations.
absl::StatusOr<std::vector<double>> Search(const World& world, const std::string& name,
                                           uint64_t seed, const SampleEfficiencyOptions& options) {
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<Sampler> sampler,
                          CreateSampler(name, OptionsFor(world), world.space(), seed));
  std::vector<double> found;
  std::vector<double> points;  // noise-free, both minimised
  std::vector<ScoredTrial> history;
  std::vector<Architecture> pending;
  int64_t proposed = 0;
  const int last = *std::max_element(options.at.begin(), options.at.end());
  while (static_cast<int>(history.size()) < last) {
    const int free = std::min<int>(options.parallel - static_cast<int>(pending.size()),
                                   last - static_cast<int>(proposed));
    for (Proposal& proposal : sampler->Propose({history, pending, free, proposed})) {
      pending.push_back(std::move(proposal.architecture));
      ++proposed;
    }
    if (pending.empty()) {
      return absl::InternalError(absl::StrCat(name, " has proposed nothing after ", proposed));
    }
    const Architecture done = pending.front();
    pending.erase(pending.begin());
    const double gmacs = world.Gmacs(done);
    points.insert(points.end(), {-world.TrueAccuracy(done), gmacs});
    history.push_back({static_cast<int64_t>(history.size()) + 1,
                       done,
                       {-world.MeasuredAccuracy(done), gmacs},
                       0});
    if (std::count(options.at.begin(), options.at.end(), history.size()) > 0) {
      FORALL_ASSIGN_OR_RETURN(const double volume,
                              Hypervolume({points, 2}, {-kWorstAccuracy, kWorstGmacs}));
      found.push_back(volume);
    }
  }
  return found;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]);
}

absl::Status RunSampler(const World& world, const std::string& name,
                        const SampleEfficiencyOptions& options) {
  std::vector<int> at = options.at;
  std::sort(at.begin(), at.end());
  at.erase(std::unique(at.begin(), at.end()), at.end());
  std::vector<std::vector<double>> by_checkpoint(at.size());
  std::vector<double> seconds;
  for (int i = 0; i < options.seeds; ++i) {
    const int64_t start = Clock::Real()->SteadyNanos();
    FORALL_ASSIGN_OR_RETURN(const std::vector<double> found,
                            Search(world, name, options.first_seed + i, options));
    seconds.push_back(1e-9 * static_cast<double>(Clock::Real()->SteadyNanos() - start));
    for (size_t c = 0; c < at.size(); ++c) by_checkpoint[c].push_back(found[c]);
  }
  for (size_t c = 0; c < at.size(); ++c) {
    const auto [low, high] = std::minmax_element(by_checkpoint[c].begin(), by_checkpoint[c].end());
    std::printf(
        "{\"benchmark\":\"sample-efficiency\",\"sampler\":\"%s\",\"evaluations\":%d,"
        "\"hypervolume_median\":%.4f,\"hypervolume_min\":%.4f,\"hypervolume_max\":%.4f,"
        "\"seeds\":%d,\"parallel\":%d}\n",
        name.c_str(), at[c], Median(by_checkpoint[c]), *low, *high, options.seeds,
        options.parallel);
  }
  std::printf(
      "{\"benchmark\":\"sample-efficiency\",\"sampler\":\"%s\",\"seconds_median\":%.2f,"
      "\"evaluations\":%d}\n",
      name.c_str(), Median(seconds), at.back());
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
  FORALL_ASSIGN_OR_RETURN(const World world, World::Create(options.predictor));
  for (const std::string& name : options.samplers.empty() ? SamplerNames() : options.samplers) {
    FORALL_RETURN_IF_ERROR(RunSampler(world, name, options));
  }
  return absl::OkStatus();
}

}  // namespace forall
