// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/admissible_region.h"

#include <numeric>
#include <optional>
#include <utility>

namespace forall {
namespace {

constexpr int kWalks = 8;

// The network with active `dimension` moved by `step` options, if it has that option.
std::optional<Architecture> Moved(const SearchSpace& space, const Architecture& from, int dimension,
                                  int step) {
  if (!space.IsActive(from, dimension)) return std::nullopt;
  const int32_t choice = from.choices[dimension] + step;
  const size_t options = space.dimensions()[dimension].options.size();
  if (choice < 0 || choice >= static_cast<int32_t>(options)) return std::nullopt;
  Architecture moved = from;
  moved.choices[dimension] = choice;
  return space.Canonical(moved);
}

std::vector<int> ShuffledDimensions(const SearchSpace& space, Random* random) {
  std::vector<int> order(space.dimensions().size());
  std::iota(order.begin(), order.end(), 0);
  random->Shuffle(&order);
  return order;
}

// Random single steps from `corner` until `region` contains the network.
std::optional<Architecture> StepInside(const AdmissibleRegion& region, const Architecture& corner,
                                       int step, Random* random) {
  Architecture current = region.space().Canonical(corner);
  while (!region.Contains(current)) {
    std::optional<Architecture> next;
    for (const int dimension : ShuffledDimensions(region.space(), random)) {
      next = Moved(region.space(), current, dimension, step);
      if (next.has_value()) break;
    }
    if (!next.has_value()) return std::nullopt;
    current = *std::move(next);
  }
  return current;
}

// Steps of single dimensions that stay inside, until none is left. Each only ever moves one way, so
// it ends.
Architecture StepOutwards(const AdmissibleRegion& region, Architecture current, int step,
                          Random* random) {
  bool moved = true;
  while (moved) {
    moved = false;
    for (const int dimension : ShuffledDimensions(region.space(), random)) {
      std::optional<Architecture> next = Moved(region.space(), current, dimension, step);
      if (!next.has_value() || !region.Contains(*next)) continue;
      current = *std::move(next);
      moved = true;
    }
  }
  return current;
}

// How large a network is when nothing but the order of options is known: the sum over its active
// dimensions, those that depend on others counted once more for being there.
int64_t Size(const SearchSpace& space, const Architecture& architecture) {
  int64_t size = 0;
  for (size_t i = 0; i < space.dimensions().size(); ++i) {
    if (space.IsActive(architecture, static_cast<int>(i))) size += 1 + architecture.choices[i];
  }
  return size;
}

}  // namespace

AdmissibleRegion::AdmissibleRegion(SearchSpace space, Predicate admissible, uint64_t seed,
                                   const std::vector<Architecture>& anchors)
    : space_(std::move(space)), admissible_(std::move(admissible)) {
  AddEnd(space_.Smallest(), +1, seed, anchors);
  AddEnd(space_.Largest(), -1, seed + 1, anchors);
}

void AdmissibleRegion::AddEnd(const Architecture& corner, int inwards, uint64_t seed,
                              const std::vector<Architecture>& anchors) {
  std::optional<Architecture> best;
  const auto reach = [&](Architecture inside, Random* random) {
    Architecture end = StepOutwards(*this, std::move(inside), -inwards, random);
    if (!best.has_value() || inwards * (Size(space_, end) - Size(space_, *best)) < 0) {
      best = std::move(end);
    }
  };
  for (int walk = 0; walk < kWalks; ++walk) {
    Random random = Random::ForStream(seed, walk);
    std::optional<Architecture> inside = StepInside(*this, corner, inwards, &random);
    if (!inside.has_value()) continue;
    reach(*std::move(inside), &random);
    if (*best == space_.Canonical(corner)) break;
  }
  for (size_t i = 0; i < anchors.size(); ++i) {
    Random random = Random::ForStream(seed, kWalks + i);
    if (Contains(anchors[i])) reach(space_.Canonical(anchors[i]), &random);
  }
  if (best.has_value() && (ends_.empty() || ends_.front() != *best)) {
    ends_.push_back(*std::move(best));
  }
}

void AdmissibleRegion::WalkBack(const Architecture& outside, Random* random,
                                const std::function<bool(const Architecture&)>& visit) const {
  if (visit(space_.Canonical(outside)) || ends_.empty()) return;
  const Architecture& end = ends_[random->Uniform(ends_.size())];
  Architecture genotype = outside;
  Architecture last = space_.Canonical(outside);
  for (const int dimension : ShuffledDimensions(space_, random)) {
    genotype.choices[dimension] = end.choices[dimension];
    Architecture network = space_.Canonical(genotype);
    if (network == last) continue;
    if (visit(network)) return;
    last = std::move(network);
  }
}

}  // namespace forall
