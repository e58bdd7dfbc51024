// SPDX-License-Identifier: Apache-2.0
#include "search/controller/frontier_contest.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "search/controller/paired_test.h"

namespace forall {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Largest p-value at which a paired difference counts as established.
constexpr double kEstablished = 0.025;
// A little less, for bounds that must hold whatever was rounded.
constexpr double kSurelyEstablished = 0.0249;

enum class Chance { kNone, kEqual, kBetter };

// What there is to compare of a trial in one objective.
struct Side {
  Reading reading;
  const MeasurementRecord* evidence = nullptr;
  const std::string* bits = nullptr;  // nullptr when they are not known
};

// Fills `sides`, one per objective.
void ReadSides(const MeasurementIndex& index, const FrontierObjectives& objectives, TrialRef trial,
               absl::Span<Side> sides) {
  for (size_t i = 0; i < sides.size(); ++i) {
    Side& side = sides[i];
    side = Side();
    objectives.readers[i].Read(trial, &side.reading);
    // Intervals say all there is to say of what is minimised.
    if (!objectives.maximize[i]) continue;
    side.evidence = objectives.readers[i].Evidence(trial);
    if (side.evidence == nullptr) continue;
    const std::string& bits = index.Bitmap(side.evidence->id);
    if (!bits.empty()) side.bits = &bits;
  }
}

double WorseEnd(const Reading& reading, bool maximize) {
  return maximize ? -reading.low : reading.high;
}
double BetterEnd(const Reading& reading, bool maximize) {
  return maximize ? -reading.high : reading.low;
}

// Whether `ours` out of `images` is established to be more than `lead` fewer, wherever the images
// are that divide the two. They weigh the least when as many as can be divide them: `other` right
// where the member is wrong, or has nothing left to be right on.
bool SurelyBetter(int64_t ours, int64_t images, int64_t lead) {
  const int64_t only_other = std::min(ours - lead, images - ours);
  return SecondIsBetterPValue({only_other, only_other + lead}) <= kSurelyEstablished;
}

// An accuracy, in percent, below which nobody measured on the same images could take the member's
// place by the paired test.
double PairedFloor(const Side& member) {
  if (member.bits == nullptr) return kInfinity;
  const int64_t images = member.evidence->sample_count;
  const int64_t ours = std::llround(member.reading.measured / 100 * static_cast<double>(images));
  if (ours < 1 || ours > images || !SurelyBetter(ours, images, ours)) return -kInfinity;
  // The smallest lead that is enough: the larger it is, the surer.
  int64_t low = 0;
  int64_t high = ours;
  while (high - low > 1) {
    const int64_t lead = low + (high - low) / 2;
    (SurelyBetter(ours, images, lead) ? high : low) = lead;
  }
  return 100 * (static_cast<double>(ours - high) + 0.5) / static_cast<double>(images);
}

// The member's side of Hope: who does not reach it in every objective cannot take its place.
double Bar(const Side& member, bool maximize) {
  const double end = WorseEnd(member.reading, maximize);
  return maximize ? std::max(end, -PairedFloor(member)) : end;
}

bool Reaches(const float* hope, const double* bar, size_t objectives) {
  bool reaches = true;
  for (size_t i = 0; i < objectives; ++i) reaches &= hope[i] <= bar[i];
  return reaches;
}

// Says of most points that reach no member's bars in all objectives that they do not. A grid over
// two objectives holds per cell the highest bars in the others of the members that a point in that
// cell may reach; with one or two objectives it is finer, and a cell is all that there is to know.
class BarGrid {
 public:
  BarGrid(const std::vector<double>& bars, size_t objectives) : objectives_(objectives) {
    const size_t axes = objectives < 3 ? 1 : 2;
    cells_per_axis_ = axes == 1 ? 1024 : 64;
    for (size_t axis = 0; axis < axes; ++axis) axes_.push_back(MakeAxis(bars, axis));
    const size_t cells = axes == 1 ? cells_per_axis_ : cells_per_axis_ * cells_per_axis_;
    highest_.assign(cells * objectives, -kInfinity);
    for (size_t at = 0; at < bars.size(); at += objectives) {
      double* const cell = highest_.data() + CellOf(&bars[at]) * objectives;
      for (size_t i = 0; i < objectives; ++i) cell[i] = std::max(cell[i], bars[at + i]);
    }
    // A member can be reached from its own cell and from all before it.
    for (size_t axis = 0; axis < axes; ++axis) Accumulate(axis == 0 ? 1 : cells_per_axis_);
  }

  bool MayReach(const float* hope) const {
    return Reaches(hope, highest_.data() + CellOf(hope) * objectives_, objectives_);
  }

 private:
  struct Axis {
    double low = 0;
    double scale = 0;
  };
  Axis MakeAxis(const std::vector<double>& bars, size_t axis) const {
    double low = kInfinity;
    double high = -kInfinity;
    for (size_t at = axis; at < bars.size(); at += objectives_) {
      if (!std::isfinite(bars[at])) continue;
      low = std::min(low, bars[at]);
      high = std::max(high, bars[at]);
    }
    const double scale = static_cast<double>(cells_per_axis_ - 1) / (high - low);
    return high > low && std::isfinite(scale) ? Axis{low, scale} : Axis{0, 0};
  }
  // Never larger for a smaller value.
  template <typename T>
  size_t CellOf(const T* point) const {
    size_t cell = 0;
    for (size_t axis = axes_.size(); axis-- > 0;) {
      const Axis& a = axes_[axis];
      const double last = static_cast<double>(cells_per_axis_ - 1);
      // A scale of 0 puts everything, infinities too, into cell 0.
      const double at = a.scale == 0 ? 0 : (point[axis] - a.low) * a.scale;
      cell = cell * cells_per_axis_ + static_cast<size_t>(std::clamp(at, 0.0, last));
    }
    return cell;
  }
  void Accumulate(size_t step) {
    const size_t cells = highest_.size() / objectives_;
    for (size_t cell = cells; cell-- > 0;) {
      const size_t next = cell + step;
      if (cell / step % cells_per_axis_ == cells_per_axis_ - 1) continue;
      for (size_t i = 0; i < objectives_; ++i) {
        double& here = highest_[cell * objectives_ + i];
        here = std::max(here, highest_[next * objectives_ + i]);
      }
    }
  }

  const size_t objectives_;
  size_t cells_per_axis_ = 0;
  std::vector<Axis> axes_;
  std::vector<double> highest_;  // by cell, a value per objective
};

// Rivals of all members, some at a time, so that both stay in the cache; one objective's hopes
// beside each other, so that many are compared at once.
class RivalBlock {
 public:
  // `bars` has those of each member, as many as objectives. The block is full at `size` rivals.
  RivalBlock(const std::vector<double>& bars, size_t objectives, size_t size)
      : objectives_(objectives), hopes_(objectives * size), candidates_(size), misses_(size) {
    for (const double bar : bars) bars_.push_back(AtMost(bar));
  }

  // Whether the block is full now.
  bool Add(size_t candidate, const float* hope) {
    candidates_[size_] = candidate;
    for (size_t i = 0; i < objectives_; ++i) hopes_[i * candidates_.size() + size_] = hope[i];
    return ++size_ == candidates_.size();
  }
  void Clear() { size_ = 0; }

  size_t candidate(size_t rival) const { return candidates_[rival]; }

  // Calls visit(rival), a place in the block, in order, until it returns true.
  template <typename Visit>
  void ForEachThatReaches(size_t member, Visit visit) {
    int32_t* const misses = misses_.data();
    std::fill_n(misses, size_, 0);
    for (size_t i = 0; i < objectives_; ++i) {
      const float bar = bars_[member * objectives_ + i];
      const float* const hopes = hopes_.data() + i * candidates_.size();
      int32_t all = 1;
      for (size_t r = 0; r < size_; ++r) {
        misses[r] |= static_cast<int32_t>(!(hopes[r] <= bar));
        all &= misses[r];
      }
      if (all != 0) return;
    }
    for (size_t r = 0; r < size_; ++r) {
      if (misses[r] == 0 && visit(r)) return;
    }
  }

 private:
  // The largest float that is not above: floats reach the one if and only if they reach the other.
  static float AtMost(double bar) {
    const auto rounded = static_cast<float>(bar);
    return rounded > bar ? std::nextafter(rounded, -std::numeric_limits<float>::infinity())
                         : rounded;
  }

  const size_t objectives_;
  std::vector<float> bars_;
  std::vector<float> hopes_;
  std::vector<size_t> candidates_;
  std::vector<int32_t> misses_;  // by rival: whether it falls short of a bar
  size_t size_ = 0;
};

Chance ByIntervals(const Reading& other, const Reading& member, bool maximize) {
  const double theirs = BetterEnd(other, maximize);
  const double ours = WorseEnd(member, maximize);
  if (theirs > ours) return Chance::kNone;
  return theirs < ours ? Chance::kBetter : Chance::kEqual;
}

// By the images that both have seen, where there are such; otherwise by their intervals.
Chance ByImages(const Side& other, const Side& member) {
  // Not on the images that two of different fidelity share: on those the finalist was selected.
  if (other.bits == nullptr || member.bits == nullptr ||
      other.evidence->sample_count != member.evidence->sample_count ||
      other.evidence->key.dataset != member.evidence->key.dataset ||
      other.evidence->key.split != member.evidence->key.split) {
    return ByIntervals(other.reading, member.reading, /*maximize=*/true);
  }
  const Discordance discordance =
      CountDiscordance(*other.bits, *member.bits, member.evidence->sample_count);
  // The better of two is never established to be the worse: no need to ask how likely that is.
  if (discordance.only_first < discordance.only_second &&
      SecondIsBetterPValue(discordance) <= kEstablished) {
    return Chance::kNone;
  }
  return discordance.only_first > 0 ? Chance::kBetter : Chance::kEqual;
}

bool CouldReplace(absl::Span<const Side> other, absl::Span<const Side> member,
                  const std::vector<bool>& maximize) {
  bool better = false;
  // The cheap comparisons first: they exclude most.
  for (const bool paired : {false, true}) {
    for (size_t i = 0; i < maximize.size(); ++i) {
      if (maximize[i] != paired) continue;
      const Chance chance =
          paired ? ByImages(other[i], member[i])
                 : ByIntervals(other[i].reading, member[i].reading, /*maximize=*/false);
      if (chance == Chance::kNone) return false;
      better |= chance == Chance::kBetter;
    }
  }
  return better;
}

}  // namespace

float Hope(const Reading& reading, bool maximize) {
  // The paired test sees the accuracy as it was measured, not an estimate.
  const double hope = maximize ? -std::max(reading.high, reading.measured) : reading.low;
  // Two units in the last place, and what is smaller than any: below, whichever way it was rounded.
  const float rounded = static_cast<float>(hope);
  return rounded - std::abs(rounded) * 2 * std::numeric_limits<float>::epsilon() -
         std::numeric_limits<float>::min();
}

std::vector<bool> FindReplaceable(const MeasurementIndex& index,
                                  const FrontierObjectives& objectives,
                                  const FrontierCandidates& candidates,
                                  absl::Span<const size_t> members, size_t block_size,
                                  absl::FunctionRef<bool(TrialRef)> may_replace) {
  const size_t k = objectives.size();
  std::vector<bool> replaceable(members.size(), false);
  if (members.empty()) return replaceable;
  std::vector<Side> sides(members.size() * k);
  std::vector<double> bars;
  const auto sides_of = [k](std::vector<Side>& all, size_t at) {
    return absl::MakeSpan(all).subspan(at * k, k);
  };
  for (size_t m = 0; m < members.size(); ++m) {
    ReadSides(index, objectives, candidates.trials[members[m]], sides_of(sides, m));
    for (size_t i = 0; i < k; ++i) bars.push_back(Bar(sides[m * k + i], objectives.maximize[i]));
  }
  const BarGrid grid(bars, k);
  RivalBlock block(bars, k, block_size);
  // Who reaches one member mostly reaches several: what there is to compare is looked up once.
  std::vector<Side> rival_sides(block_size * k);
  std::vector<bool> is_read(block_size);
  const auto meet = [&] {
    is_read.assign(block_size, false);
    for (size_t m = 0; m < members.size(); ++m) {
      if (replaceable[m]) continue;
      block.ForEachThatReaches(m, [&](size_t rival) {
        if (block.candidate(rival) == members[m]) return false;
        const TrialRef trial = candidates.trials[block.candidate(rival)];
        const absl::Span<Side> theirs = sides_of(rival_sides, rival);
        if (!is_read[rival]) ReadSides(index, objectives, trial, theirs);
        is_read[rival] = true;
        replaceable[m] =
            CouldReplace(theirs, sides_of(sides, m), objectives.maximize) && may_replace(trial);
        return bool{replaceable[m]};
      });
    }
    block.Clear();
  };
  for (size_t rival = 0; rival < candidates.trials.size(); ++rival) {
    const float* const hope = candidates.hopes.data() + rival * k;
    if (!grid.MayReach(hope)) continue;
    if (block.Add(rival, hope)) meet();
  }
  meet();
  return replaceable;
}

}  // namespace forall
