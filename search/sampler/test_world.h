// SPDX-License-Identifier: Apache-2.0
// A synthetic world for sampler tests: a space of the shape of OFA's (stages with depths, blocks
// with kernels and expansions), an exact cost, and a quality with diminishing returns whose best
// spending differs from block to block, so that the frontier has to be searched for.
#ifndef FORALL_SEARCH_SAMPLER_TEST_WORLD_H_
#define FORALL_SEARCH_SAMPLER_TEST_WORLD_H_

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "search/sampler/sampler.h"
#include "space/search_space.h"

namespace forall {

class TestWorld {
 public:
  explicit TestWorld(int stages = 4) : stages_(stages), space_(MakeSpace(stages)) {
    Random random(2024);
    for (int i = 0; i < stages * kBlocks; ++i) worth_.push_back(std::exp(random.Gaussian()));
  }

  const SearchSpace& space() const { return space_; }

  double Cost(const Architecture& a) const {
    double cost = 2;
    VisitBlocks(a, [&](int /*block*/, int kernel, int expand) { cost += expand * (4 + kernel); });
    return cost;
  }

  // To be minimised, like the cost.
  double Error(const Architecture& a) const {
    double error = 0;
    for (const double worth : worth_) error += worth;
    VisitBlocks(a, [&](int block, int kernel, int expand) {
      error -= worth_[block] * (1 - 1 / (0.4 * expand + 0.1 * kernel));
    });
    return error;
  }

  ScoredTrial Measure(int64_t id, const Architecture& a) const {
    return {id, a, {Error(a), Cost(a)}, 0};
  }

  SamplerOptions Options() const {
    SamplerOptions options;
    options.cost = [this](const Architecture& a) { return Cost(a); };
    options.objectives = {{SearchedMetric::Kind::kQuality, nullptr},
                          {SearchedMetric::Kind::kKnown, options.cost}};
    options.guided.candidates = 1000;  // a small world, and tests must be quick
    return options;
  }

 private:
  static constexpr int kBlocks = 4;  // of a stage, at most

  static SearchSpace MakeSpace(int stages) {
    std::vector<Dimension> dimensions;
    for (int s = 0; s < stages; ++s) {
      const int depth = static_cast<int>(dimensions.size());
      dimensions.push_back({absl::StrCat("d", s), {2, 3, 4}, std::nullopt});
      for (int32_t b = 1; b <= kBlocks; ++b) {
        std::optional<ActivationCondition> deep;
        if (b > 2) deep = ActivationCondition{depth, b};
        dimensions.push_back({absl::StrCat("k", s, ".", b), {3, 5, 7}, deep});
        dimensions.push_back({absl::StrCat("e", s, ".", b), {3, 4, 6}, deep});
      }
    }
    return SearchSpace::Create("test_world", 1, std::move(dimensions)).value();
  }

  template <typename Visit>
  void VisitBlocks(const Architecture& a, Visit visit) const {
    int dimension = 0;
    for (int s = 0; s < stages_; ++s) {
      ++dimension;
      for (int b = 0; b < kBlocks; ++b, dimension += 2) {
        if (!space_.IsActive(a, dimension)) continue;
        visit(s * kBlocks + b, space_.Value(a, dimension), space_.Value(a, dimension + 1));
      }
    }
  }

  int stages_;
  SearchSpace space_;
  std::vector<double> worth_;
};

// Runs a job with `slots` trials under way at any time until `budget` have finished or nothing more
// is proposed. `finish` picks which of the trials under way, oldest first, ends next.
template <typename Measure, typename Finish>
std::vector<ScoredTrial> RunJob(const Sampler& sampler, int budget, int slots, Measure measure,
                                Finish finish) {
  std::vector<ScoredTrial> history;
  std::vector<Architecture> pending;
  std::vector<int64_t> ids;  // of pending
  int64_t proposed = 0;
  while (static_cast<int>(history.size()) < budget) {
    const int free = slots - static_cast<int>(pending.size());
    for (Proposal& proposal : sampler.Propose({history, pending, free, proposed})) {
      pending.push_back(std::move(proposal.architecture));
      ids.push_back(++proposed);
    }
    if (pending.empty()) break;
    const int next = finish(ids);
    history.push_back(measure(ids[next], pending[next]));
    pending.erase(pending.begin() + next);
    ids.erase(ids.begin() + next);
  }
  return history;
}

// Trials finish in the order of their proposal.
template <typename Measure>
std::vector<ScoredTrial> RunJob(const Sampler& sampler, int budget, int slots, Measure measure) {
  return RunJob(sampler, budget, slots, measure, [](const std::vector<int64_t>&) { return 0; });
}

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_TEST_WORLD_H_
