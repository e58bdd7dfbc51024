// SPDX-License-Identifier: Apache-2.0
// Which subnets are trained when: the phases of a training, each with its share of the steps, its
// learning rate and the options that may be drawn.
#ifndef FORALL_SUPERNET_TRAIN_CURRICULUM_H_
#define FORALL_SUPERNET_TRAIN_CURRICULUM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/random.h"
#include "space/search_space.h"
#include "supernet/train/train_options.h"

namespace forall {

// What a dimension makes elastic, read off its name: "r" resolution, "k..." kernel, "d..." depth;
// everything else ("e..." expansion, "w..." width) counts as width.
enum class Elasticity { kResolution, kKernel, kDepth, kWidth };
Elasticity ElasticityOf(const Dimension& dimension);

struct Phase {
  std::string
      name;  // "sandwich", "alone", or of progressive shrinking "full", "kernel", "depth 1", ...
  int64_t begin = 0;  // first step
  int64_t steps = 0;
  double lr = 0;            // the highest
  double warmup_steps = 0;  // of the rise to it
  int subnets = 1;          // trained per step
  // For each dimension the least option that is drawn; every larger one is drawn too.
  std::vector<int32_t> least;
  // Channels are sorted by importance before the first step. Where not empty, only as many of them
  // as a network with these options has.
  bool sorts_channels = false;
  std::vector<int32_t> sorted_within;
};

// The phases of a schedule of `total_steps`, without gaps. Progressive shrinking (Cai et al.,
// "Once-for-All", ICLR 2020, section 3.3 and appendix; train_ofa_net.py of its authors) trains the
// full network, then lets kernels, depths (first the largest two, then all) and widths (likewise)
// become elastic, one subnet a step for kernels, two for depths, four for widths; resolutions are
// elastic throughout. A phase that adds nothing to the one before it (a space without that choice,
// or with two options of it) is left out, and its share goes to the others. None when no phase that
// stays has a share.
std::vector<Phase> PlanPhases(const TrainOptions& options, const SearchSpace& space,
                              int64_t steps_per_epoch);

// The phase of `step`; the last one from its beginning on.
const Phase& PhaseAt(const std::vector<Phase>& phases, int64_t step);

// Every dimension drawn independently and uniformly from the options that the phase allows;
// canonical.
Architecture SampleWithin(const SearchSpace& space, const Phase& phase, Random* random);

// Both schedules rise for warmup_steps and fall over the phase's remaining ones (TrainOptions).
double LearningRate(const Phase& phase, Schedule schedule, int64_t step);

}  // namespace forall

#endif  // FORALL_SUPERNET_TRAIN_CURRICULUM_H_
