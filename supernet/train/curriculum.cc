// SPDX-License-Identifier: Apache-2.0
#include "supernet/train/curriculum.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace forall {
namespace {

constexpr double kPi = 3.14159265358979323846;

std::vector<int32_t> LargestOptions(const SearchSpace& space) {
  std::vector<int32_t> options;
  for (const Dimension& dimension : space.dimensions()) {
    options.push_back(static_cast<int32_t>(dimension.options.size()) - 1);
  }
  return options;
}

// Lets the largest `count` options of every dimension of this kind be drawn.
void Release(const SearchSpace& space, Elasticity elasticity, int32_t count,
             std::vector<int32_t>* least) {
  for (size_t i = 0; i < least->size(); ++i) {
    const Dimension& dimension = space.dimensions()[i];
    if (ElasticityOf(dimension) != elasticity) continue;
    const int32_t options = static_cast<int32_t>(dimension.options.size());
    (*least)[i] = std::min((*least)[i], std::max(0, options - count));
  }
}

Phase WholeSchedule(const TrainOptions& options, const SearchSpace& space, const char* name,
                    int64_t total_steps, double warmup_steps) {
  Phase phase;
  phase.name = name;
  phase.steps = total_steps;
  phase.lr = options.lr;
  phase.warmup_steps = warmup_steps;
  phase.least.assign(space.dimensions().size(), 0);
  return phase;
}

// The phases with their shares in place of steps.
struct Draft {
  Phase phase;
  double share = 0;
};

std::vector<Draft> DraftProgressive(const TrainOptions& options, const SearchSpace& space) {
  constexpr int32_t kAll = 1 << 20;
  const struct {
    const char* name;
    Elasticity elasticity;
    int32_t options;
    int subnets;
  } table[] = {
      {"full", Elasticity::kResolution, kAll, 1}, {"kernel", Elasticity::kKernel, kAll, 1},
      {"depth 1", Elasticity::kDepth, 2, 2},      {"depth 2", Elasticity::kDepth, kAll, 2},
      {"width 1", Elasticity::kWidth, 2, 4},      {"width 2", Elasticity::kWidth, kAll, 4}};
  std::vector<Draft> drafts;
  std::vector<int32_t> least = LargestOptions(space);
  for (size_t i = 0; i < std::size(table); ++i) {
    const std::vector<int32_t> before = least;
    Release(space, table[i].elasticity, table[i].options, &least);
    if (i > 0 && least == before) continue;
    Phase phase;
    phase.name = table[i].name;
    phase.lr = options.lr * options.phase_lr[i];
    phase.subnets = table[i].subnets;
    phase.least = least;
    phase.sorts_channels = table[i].elasticity == Elasticity::kWidth;
    if (phase.sorts_channels && table[i].options == kAll) {
      // What the former phase could leave out keeps its order: only the rest is sorted again.
      phase.sorted_within = LargestOptions(space);
      for (size_t d = 0; d < before.size(); ++d) {
        if (ElasticityOf(space.dimensions()[d]) == Elasticity::kWidth) {
          phase.sorted_within[d] = before[d];
        }
      }
    }
    drafts.push_back({std::move(phase), options.phase_shares[i]});
  }
  return drafts;
}

}  // namespace

Elasticity ElasticityOf(const Dimension& dimension) {
  switch (dimension.name.empty() ? '\0' : dimension.name[0]) {
    case 'r':
      return Elasticity::kResolution;
    case 'k':
      return Elasticity::kKernel;
    case 'd':
      return Elasticity::kDepth;
    default:
      return Elasticity::kWidth;
  }
}

std::vector<Phase> PlanPhases(const TrainOptions& options, const SearchSpace& space,
                              int64_t steps_per_epoch) {
  const int64_t total = steps_per_epoch * options.schedule_epochs;
  const double warmup = options.warmup_epochs * static_cast<double>(steps_per_epoch);
  if (options.method != TrainMethod::kProgressive) {
    const char* name = options.method == TrainMethod::kAlone ? "alone" : "sandwich";
    return {WholeSchedule(options, space, name, total,
                          std::min(warmup, static_cast<double>(total) / 2))};
  }
  std::vector<Draft> drafts = DraftProgressive(options, space);
  double shares = 0;
  for (const Draft& draft : drafts) shares += draft.share;
  std::vector<Phase> phases;
  if (shares <= 0) return phases;
  double done = 0;
  for (Draft& draft : drafts) {
    done += draft.share;
    Phase phase = std::move(draft.phase);
    phase.begin = phases.empty() ? 0 : phases.back().begin + phases.back().steps;
    phase.steps = std::llround(static_cast<double>(total) * done / shares) - phase.begin;
    // As long as asked for where training begins afresh; later a short one, as the authors' 5 of
    // 125 epochs.
    const double length = static_cast<double>(phase.steps);
    phase.warmup_steps = phases.empty() ? std::min(warmup, length / 2) : length * 0.04;
    if (phase.steps == 0) continue;
    // Only what a former phase did sort keeps its order.
    if (phases.empty() || !phases.back().sorts_channels) phase.sorted_within.clear();
    phases.push_back(std::move(phase));
  }
  return phases;
}

const Phase& PhaseAt(const std::vector<Phase>& phases, int64_t step) {
  size_t i = phases.size() - 1;
  while (i > 0 && phases[i].begin > step) --i;
  return phases[i];
}

Architecture SampleWithin(const SearchSpace& space, const Phase& phase, Random* random) {
  Architecture architecture = space.Largest();
  for (size_t i = 0; i < phase.least.size(); ++i) {
    const int32_t options = static_cast<int32_t>(space.dimensions()[i].options.size());
    const uint64_t count = static_cast<uint64_t>(options - phase.least[i]);
    architecture.choices[i] = phase.least[i] + static_cast<int32_t>(random->Uniform(count));
  }
  return space.Canonical(architecture);
}

double LearningRate(const Phase& phase, Schedule schedule, int64_t step) {
  const double total = static_cast<double>(phase.steps);
  const double rise = phase.warmup_steps;
  const double now = static_cast<double>(step - phase.begin);
  if (now < rise) {
    const double done = std::min(1.0, (now + 1) / rise);
    if (schedule == Schedule::kCosine) return phase.lr * done;
    const double least = phase.lr / 25;
    return least + (phase.lr - least) * (1 - std::cos(kPi * done)) / 2;
  }
  const double done = std::min(1.0, (now - rise) / std::max(1.0, total - rise));
  const double least = phase.lr * 1e-4;
  return least + (phase.lr - least) * (1 + std::cos(kPi * done)) / 2;
}

}  // namespace forall
