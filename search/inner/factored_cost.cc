// SPDX-License-Identifier: Apache-2.0
#include "search/inner/factored_cost.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr uint64_t kSeed = 0x0fac7042;
constexpr int kRounds = 4;
constexpr int kVerified = 200;
constexpr double kTolerance = 1e-9;
constexpr size_t kMostEntries = size_t{1} << 18;
constexpr size_t kMostCliques = 4096;

// Adjacency: bit j of graph[i].
using Graph = std::vector<std::vector<bool>>;

class Compiler {
 public:
  Compiler(const CandidateSpace& space, const CostOracle& oracle)
      : space_(space),
        oracle_(oracle),
        random_(kSeed),
        graph_(space.width(), std::vector<bool>(space.width(), false)),
        sum_(space) {
    for (size_t d = 0; d < space.width(); ++d) reference_.push_back(space.allowed(d).back());
  }

  absl::StatusOr<FactoredSum> Run() {
    for (size_t d = 0; d < space_.width(); ++d) {
      if (space_.allowed(d).size() < 2 || !Reachable(d)) continue;
      searched_.push_back(d);
      for (int round = 0; round < kRounds; ++round) FORALL_RETURN_IF_ERROR(FindInteractions(d));
    }
    FORALL_RETURN_IF_ERROR(FillTables());
    FORALL_RETURN_IF_ERROR(Verify());
    return std::move(sum_);
  }

 private:
  // Rows here hold an option for every dimension, active or not.
  absl::StatusOr<double> Cost(const std::vector<State>& options) {
    std::vector<State> row = options;
    space_.Settle(row.data(), nullptr);
    const uint64_t key = space_.Key(row.data());
    if (const auto known = known_.find(key); known != known_.end()) return known->second;
    FORALL_ASSIGN_OR_RETURN(const double cost, oracle_(space_.ToArchitecture(row.data())));
    if (!std::isfinite(cost)) return absl::InvalidArgumentError("a cost is not finite");
    known_[key] = cost;
    scale_ = std::max(scale_, std::abs(cost));
    return cost;
  }

  bool Differ(double a, double b) const { return std::abs(a - b) > kTolerance * scale_; }

  bool Reachable(size_t d) const {
    const int parent = space_.parent(d);
    return parent < 0 || (Reachable(static_cast<size_t>(parent)) &&
                          space_.Activates(d, space_.allowed(static_cast<size_t>(parent)).back()));
  }

  // Random options with which dimension d is active; other ones than `before` has wherever there
  // are any.
  std::vector<State> DrawActive(size_t d, const std::vector<State>* before) {
    std::vector<size_t> chain;  // d and what it depends on, upwards
    for (int i = static_cast<int>(d); i >= 0; i = space_.parent(static_cast<size_t>(i))) {
      chain.push_back(static_cast<size_t>(i));
    }
    std::vector<State> row(space_.width());
    std::vector<State> options;
    for (size_t i = 0; i < row.size(); ++i) {
      options.clear();
      const auto above = std::find(chain.begin(), chain.end(), i);
      for (const State option : space_.allowed(i)) {
        const bool activates = above == chain.end() || above == chain.begin() ||
                               space_.Activates(*(above - 1), option);
        if (activates && (before == nullptr || (*before)[i] != option)) options.push_back(option);
      }
      row[i] = options.empty() ? (*before)[i] : options[random_.Uniform(options.size())];
    }
    return row;
  }

  // The effect of a change of d is taken along a path from one random network to another, dimension
  // by dimension of those before d; where it changes, that dimension interacts with d. What depends
  // on d comes after it and stays.
  absl::Status FindInteractions(size_t d) {
    const std::vector<State> from = DrawActive(d, nullptr);
    std::vector<State> to = DrawActive(d, &from);
    for (size_t i = 0; i < d; ++i) {
      if (graph_[d][i]) to[i] = from[i];
    }
    const std::vector<State>& options = space_.allowed(d);
    const size_t first = random_.Uniform(options.size());
    const size_t second = (first + 1 + random_.Uniform(options.size() - 1)) % options.size();
    const auto effect = [&](size_t taken) -> absl::StatusOr<double> {
      std::vector<State> row = from;
      std::copy(to.begin(), to.begin() + static_cast<std::ptrdiff_t>(taken), row.begin());
      row[d] = options[first];
      FORALL_ASSIGN_OR_RETURN(const double one, Cost(row));
      row[d] = options[second];
      FORALL_ASSIGN_OR_RETURN(const double other, Cost(row));
      return one - other;
    };
    FORALL_ASSIGN_OR_RETURN(const double begin, effect(0));
    FORALL_ASSIGN_OR_RETURN(const double end, effect(d));
    return Bisect(d, effect, 0, begin, d, end);
  }

  template <typename Effect>
  absl::Status Bisect(size_t d, const Effect& effect, size_t low, double at_low, size_t high,
                      double at_high) {
    if (!Differ(at_low, at_high)) return absl::OkStatus();
    if (high == low + 1) {
      graph_[d][low] = graph_[low][d] = true;
      return absl::OkStatus();
    }
    const size_t middle = (low + high) / 2;
    FORALL_ASSIGN_OR_RETURN(const double at_middle, effect(middle));
    FORALL_RETURN_IF_ERROR(Bisect(d, effect, low, at_low, middle, at_middle));
    return Bisect(d, effect, middle, at_middle, high, at_high);
  }

  absl::Status TooEntangled() const {
    return absl::FailedPreconditionError(
        absl::StrCat("the cost is no sum of terms over a few dimensions of ", space_.space().id(),
                     " each: too many dimensions act on each other"));
  }

  // Bron and Kerbosch's enumeration with a pivot.
  void AddCliques(std::vector<size_t>* clique, std::vector<size_t> candidates,
                  std::vector<size_t> seen) {
    if (cliques_.size() > kMostCliques) return;
    if (candidates.empty()) {
      if (seen.empty()) cliques_.push_back(*clique);
      return;
    }
    const auto within = [&](size_t d, const std::vector<size_t>& list) {
      std::vector<size_t> result;
      for (const size_t i : list) {
        if (graph_[d][i]) result.push_back(i);
      }
      return result;
    };
    size_t pivot = candidates.front();
    size_t most = 0;
    for (const std::vector<size_t>* list : {&candidates, &seen}) {
      for (const size_t d : *list) {
        if (const size_t count = within(d, candidates).size(); count >= most) {
          most = count;
          pivot = d;
        }
      }
    }
    for (const size_t d : std::vector<size_t>(candidates)) {
      if (graph_[pivot][d]) continue;
      clique->push_back(d);
      AddCliques(clique, within(d, candidates), within(d, seen));
      clique->pop_back();
      candidates.erase(std::find(candidates.begin(), candidates.end(), d));
      seen.push_back(d);
    }
  }

  absl::Status FillTables() {
    FORALL_ASSIGN_OR_RETURN(const double constant, Cost(reference_));
    sum_.AddConstant(constant);
    std::vector<size_t> clique;
    if (!searched_.empty()) AddCliques(&clique, searched_, {});
    size_t entries = 0;
    for (std::vector<size_t>& dimensions : cliques_) {
      std::sort(dimensions.begin(), dimensions.end());
      size_t size = 1;
      for (const size_t d : dimensions) size *= size_t{space_.inactive(d)} + 1;
      entries += size;
      if (entries > kMostEntries || cliques_.size() > kMostCliques) return TooEntangled();
    }
    std::sort(cliques_.begin(), cliques_.end());
    for (const std::vector<size_t>& dimensions : cliques_) {
      FORALL_RETURN_IF_ERROR(FillTable(dimensions));
    }
    return absl::OkStatus();
  }

  // What a group adds to the reference beyond the groups before it. A dimension that is not active
  // counts as one that stands at the reference.
  absl::Status FillTable(const std::vector<size_t>& dimensions) {
    const absl::Span<double> values =
        sum_.Add(std::vector<uint32_t>(dimensions.begin(), dimensions.end()));
    const Factor& factor = sum_.factors().back();
    std::vector<size_t> at(dimensions.size(), 0);
    std::vector<State> row = reference_;
    bool more = true;
    while (more) {  // over allowed options
      for (size_t i = 0; i < at.size(); ++i) {
        row[dimensions[i]] = space_.allowed(dimensions[i])[at[i]];
      }
      std::vector<State> settled = row;
      space_.Settle(settled.data(), nullptr);
      FORALL_ASSIGN_OR_RETURN(const double cost, Cost(row));
      // This table's own entry, and those of what is not active, are still zero.
      values[factor.Index(row.data())] = cost - sum_.Evaluate(settled.data());
      more = false;
      for (size_t i = at.size(); i-- > 0 && !more;) {
        more = ++at[i] < space_.allowed(dimensions[i]).size();
        if (!more) at[i] = 0;
      }
    }
    row = reference_;
    for (const size_t d : dimensions) row[d] = 0;
    std::vector<State> active = reference_;
    for (double& value : values) {
      for (const size_t d : dimensions) {
        active[d] = row[d] == space_.inactive(d) ? reference_[d] : row[d];
      }
      value = values[factor.Index(active.data())];
      for (size_t i = dimensions.size(); i-- > 0;) {
        if (row[dimensions[i]]++ < space_.inactive(dimensions[i])) break;
        row[dimensions[i]] = 0;
      }
    }
    return absl::OkStatus();
  }

  absl::Status Verify() {
    std::vector<State> row(space_.width());
    for (int i = 0; i < kVerified; ++i) {
      space_.Draw(3.0 * (i % 3 - 1), &random_, row.data());
      const Architecture architecture = space_.ToArchitecture(row.data());
      FORALL_ASSIGN_OR_RETURN(const double cost, oracle_(architecture));
      const double found = sum_.Evaluate(row.data());
      if (!(std::abs(cost - found) <= 100 * kTolerance * scale_)) {
        return absl::FailedPreconditionError(
            absl::StrCat("the cost is no sum of terms over a few dimensions of ",
                         space_.space().id(), " each: it is ", cost, " where such a sum gives ",
                         found, ", for ", space_.space().ToJson(architecture)));
      }
    }
    return absl::OkStatus();
  }

  const CandidateSpace& space_;
  const CostOracle& oracle_;
  Random random_;
  Graph graph_;
  FactoredSum sum_;
  std::vector<State> reference_;
  std::vector<size_t> searched_;  // dimensions with a choice
  std::vector<std::vector<size_t>> cliques_;
  absl::flat_hash_map<uint64_t, double> known_;
  double scale_ = 0;
};

}  // namespace

FactoredCost::FactoredCost(const CandidateSpace& space, FactoredSum sum, Minimum cheapest,
                           Minimum dearest)
    : space_(&space),
      sum_(std::move(sum)),
      cheapest_(std::move(cheapest)),
      dearest_(std::move(dearest)) {}

absl::StatusOr<FactoredCost> FactoredCost::Compile(const CandidateSpace& space,
                                                   const CostOracle& oracle) {
  FORALL_ASSIGN_OR_RETURN(FactoredSum sum, Compiler(space, oracle).Run());
  return FromSum(space, std::move(sum));
}

absl::StatusOr<FactoredCost> FactoredCost::FromSum(const CandidateSpace& space, FactoredSum sum) {
  FORALL_ASSIGN_OR_RETURN(const Minimizer minimizer, Minimizer::Create(space, {&sum}));
  Minimum cheapest = minimizer.Run({1.0});
  Minimum dearest = minimizer.Run({-1.0});
  dearest.value = -dearest.value;
  return FactoredCost(space, std::move(sum), std::move(cheapest), std::move(dearest));
}

absl::StatusOr<Minimum> FactoredCost::Cheapest(absl::Span<const State> fixed) const {
  FORALL_ASSIGN_OR_RETURN(const Minimizer minimizer, Minimizer::Create(*space_, {&sum_}, fixed));
  return minimizer.Run({1.0});
}

absl::StatusOr<Minimum> FactoredCost::Dearest(absl::Span<const State> fixed) const {
  FORALL_ASSIGN_OR_RETURN(const Minimizer minimizer, Minimizer::Create(*space_, {&sum_}, fixed));
  Minimum dearest = minimizer.Run({-1.0});
  dearest.value = -dearest.value;
  return dearest;
}

// Moves one or two dimensions at a time, always to what leaves the least distance to the interval.
bool FactoredCost::StepInto(double low, double high, State* row) const {
  const size_t width = space_->width();
  std::vector<State> best(row, row + width);
  std::vector<State> child(width);
  const auto distance = [&](const State* at) {
    const double cost = Evaluate(at);
    return std::max({low - cost, cost - high, 0.0});
  };
  double least = distance(row);
  const auto consider = [&] {
    if (const double d = distance(child.data()); d < least) {
      least = d;
      best = child;
    }
  };
  std::vector<State> from;  // stays while `best` moves on
  for (bool moved = true; moved && least > 0;) {
    from = best;
    for (size_t d = 0; d < width && least > 0; ++d) {
      if (from[d] == space_->inactive(d)) continue;
      for (const State option : space_->allowed(d)) {
        child = from;
        child[d] = option;
        space_->Settle(child.data(), nullptr);
        consider();
        const std::vector<State> one = child;
        for (size_t e = d + 1; e < width && least > 0; ++e) {
          if (one[e] == space_->inactive(e)) continue;
          for (const State other : space_->allowed(e)) {
            child = one;
            child[e] = other;
            space_->Settle(child.data(), nullptr);
            consider();
          }
        }
      }
    }
    moved = best != from;
  }
  if (least == 0) std::copy(best.begin(), best.end(), row);
  return least == 0;
}

absl::Status FactoredCost::Repair(double low, double high, State* row) const {
  constexpr int kSteps = 60;
  const double before = Evaluate(row);
  if (before >= low && before <= high) return absl::OkStatus();
  if (low > high || cheapest_.value > high || dearest_.value < low) {
    return absl::OutOfRangeError(
        absl::StrCat("no network costs between ", low, " and ", high, "; the nearest costs ",
                     cheapest_.value > high ? cheapest_.value : dearest_.value));
  }
  FactoredSum steps(*space_);
  for (uint32_t d = 0; d < space_->width(); ++d) {
    const absl::Span<double> values = steps.Add({d});
    if (row[d] == space_->inactive(d)) continue;
    for (int state = 0; state < space_->inactive(d); ++state) {
      values[static_cast<size_t>(state)] = std::abs(state - row[d]);
    }
  }
  FORALL_ASSIGN_OR_RETURN(const Minimizer minimizer, Minimizer::Create(*space_, {&steps, &sum_}));
  // Grows until the cost is at or past the interval, then is halved into it.
  const double sign = before > high ? 1 : -1;
  std::vector<State> near(row, row + space_->width());
  std::vector<State> past = before > high ? cheapest_.row : dearest_.row;
  double least = 0;
  double most = -1;
  double lambda = 1 / (dearest_.value - cheapest_.value);
  for (int step = 0; step < kSteps; ++step) {
    const Minimum minimum = minimizer.Run({1.0, sign * lambda});
    const double cost = Evaluate(minimum.row.data());
    if (cost >= low && cost <= high) {
      std::copy(minimum.row.begin(), minimum.row.end(), row);
      return absl::OkStatus();
    }
    const bool not_yet = sign > 0 ? cost > high : cost < low;
    (not_yet ? near : past) = minimum.row;
    (not_yet ? least : most) = lambda;
    lambda = most < 0 ? 2 * lambda : (least + most) / 2;
    if (most > 0 && most - least < 1e-6 * most) break;
  }
  for (std::vector<State>* start : {&near, &past}) {
    if (!StepInto(low, high, start->data())) continue;
    std::copy(start->begin(), start->end(), row);
    return absl::OkStatus();
  }
  return absl::NotFoundError(
      absl::StrCat("no network that costs between ", low, " and ", high, " was met"));
}

}  // namespace forall
