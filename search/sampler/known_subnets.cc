// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/known_subnets.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <tuple>

#include "absl/container/flat_hash_set.h"
#include "base/log.h"
#include "search/pareto/nondominated_sort.h"
#include "search/pareto/pareto_filter.h"

namespace forall {
namespace {

// The first proposals of a job to which only costs are unknown. The first plan is made without the
// last three of them.
constexpr int kFirstCosts = 8;
// That are ranked where ranking takes the square of them.
constexpr int kCheapObjectives = 3;
constexpr size_t kMostRanked = 2000;

// Rows whose points may be compared with each other.
struct Group {
  std::vector<size_t> rows;
  std::vector<double> points;  // row-major
};

// `count` of `rows` at even distances, both ends included.
std::vector<size_t> Spread(absl::Span<const size_t> rows, size_t count) {
  if (rows.size() <= count) return {rows.begin(), rows.end()};
  std::vector<size_t> chosen;
  for (size_t i = 0; i < count; ++i) {
    chosen.push_back(rows[count == 1 ? 0 : i * (rows.size() - 1) / (count - 1)]);
  }
  return chosen;
}

// Places within the group, the least cost first.
std::vector<size_t> ByCost(const Group& group, absl::Span<const double> costs,
                           std::vector<size_t> places) {
  std::sort(places.begin(), places.end(), [&](size_t a, size_t b) {
    return std::make_tuple(costs[group.rows[a]], a) < std::make_tuple(costs[group.rows[b]], b);
  });
  return places;
}

std::vector<size_t> AllPlaces(const Group& group) {
  std::vector<size_t> places(group.rows.size());
  for (size_t i = 0; i < places.size(); ++i) places[i] = i;
  return places;
}

Group Thinned(const Group& group, absl::Span<const double> costs, size_t width) {
  Group thin;
  for (const size_t place : Spread(ByCost(group, costs, AllPlaces(group)), kMostRanked)) {
    thin.rows.push_back(group.rows[place]);
    const double* const point = group.points.data() + place * width;
    thin.points.insert(thin.points.end(), point, point + width);
  }
  return thin;
}

std::vector<size_t> Choose(const Group& group, absl::Span<const double> costs, size_t most) {
  if (group.rows.size() <= most) return group.rows;
  const size_t width = group.points.size() / group.rows.size();
  if (width > kCheapObjectives && group.rows.size() > kMostRanked) {
    return Choose(Thinned(group, costs, width), costs, most);
  }
  const absl::StatusOr<std::vector<int32_t>> ranks =
      NonDominatedSort({group.points, static_cast<int>(width)});
  FORALL_CHECK(ranks.ok()) << ranks.status();
  std::vector<size_t> places = AllPlaces(group);
  std::stable_sort(places.begin(), places.end(),
                   [&](size_t a, size_t b) { return (*ranks)[a] < (*ranks)[b]; });
  const size_t near = (2 * most + 2) / 3;
  std::vector<size_t> rest(places.begin() + static_cast<ptrdiff_t>(near), places.end());
  places.resize(near);
  rest = Spread(ByCost(group, costs, std::move(rest)), most - near);
  places.insert(places.end(), rest.begin(), rest.end());
  for (size_t& place : places) place = group.rows[place];
  return places;
}

// Both ends, then places ever closer between them (van der Corput's sequence), each once.
std::vector<size_t> EndsFirst(size_t size) {
  std::vector<size_t> order;
  absl::flat_hash_set<size_t> seen;
  const auto take = [&](size_t place) {
    if (place < size && seen.insert(place).second) order.push_back(place);
  };
  take(0);
  take(size - 1);
  for (size_t cells = 2; cells < 2 * size; cells *= 2) {
    for (size_t i = 1; i < cells; i += 2) take(i * (size - 1) / cells);
  }
  for (size_t place = 0; place < size; ++place) take(place);
  return order;
}

}  // namespace

std::vector<size_t> ChooseKnown(absl::Span<const ScoredTrial> rows, absl::Span<const double> costs,
                                size_t most) {
  // By how many objectives are missing, which ones, and whether a limit is broken.
  std::map<std::tuple<size_t, std::vector<bool>, bool>, Group> groups;
  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<double> point = rows[i].objectives;
    std::vector<bool> missing;
    for (double& value : point) {
      missing.push_back(!std::isfinite(value));
      if (missing.back()) value = costs[i];
    }
    const auto lacks = static_cast<size_t>(std::count(missing.begin(), missing.end(), true));
    if (lacks == point.size()) continue;
    const bool broken = !(rows[i].constraint_violation <= 0);
    Group& group = groups[{lacks, std::move(missing), broken}];
    group.rows.push_back(i);
    group.points.insert(group.points.end(), point.begin(), point.end());
  }
  std::vector<size_t> chosen;
  for (const auto& [key, group] : groups) {
    const std::vector<size_t> of_group = Choose(group, costs, most - chosen.size());
    chosen.insert(chosen.end(), of_group.begin(), of_group.end());
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

KnownSubnets::KnownSubnets(const AdmissibleRegion& region, const SamplerOptions& options,
                           absl::Span<const ScoredTrial> known)
    : space_(region.space()), initial_samples_(options.guided.initial_samples) {
  if (known.empty()) return;
  // How many values the least known quality has, and the least known cost.
  int64_t qualities = std::numeric_limits<int64_t>::max();
  int64_t costs = qualities;
  const auto count = [&](absl::Span<const SearchedMetric> metrics,
                         const std::vector<double> ScoredTrial::*values) {
    for (size_t i = 0; i < metrics.size(); ++i) {
      if (metrics[i].kind == SearchedMetric::Kind::kKnown) continue;
      const auto has = std::count_if(known.begin(), known.end(), [&](const ScoredTrial& row) {
        return (row.*values).size() == metrics.size() && std::isfinite((row.*values)[i]);
      });
      int64_t& least = metrics[i].kind == SearchedMetric::Kind::kCost ? costs : qualities;
      least = std::min<int64_t>(least, has);
    }
  };
  count(options.objectives, &ScoredTrial::objectives);
  count(options.limited, &ScoredTrial::limited);
  if (qualities < initial_samples_) return;
  if (costs >= initial_samples_) {
    initial_samples_ = 0;
  } else {
    initial_samples_ = std::min(initial_samples_, kFirstCosts);
    FindFirst(region, options, known);
  }
}

void KnownSubnets::FindFirst(const AdmissibleRegion& region, const SamplerOptions& options,
                             absl::Span<const ScoredTrial> known) {
  const size_t width = options.objectives.size();
  std::vector<const ScoredTrial*> rows;
  std::vector<double> points;
  for (const ScoredTrial& row : known) {
    if (row.objectives.size() != width || !(row.constraint_violation <= 0) ||
        !space_.Validate(row.architecture).ok() || !region.Contains(row.architecture)) {
      continue;
    }
    std::vector<double> point = row.objectives;
    for (size_t i = 0; i < width; ++i) {
      // A measured cost is in another unit than what stands for the others'.
      if (options.objectives[i].kind != SearchedMetric::Kind::kCost) continue;
      const auto& cost = options.objectives[i].value;
      point[i] = cost != nullptr ? cost(row.architecture) : options.cost(row.architecture);
    }
    if (!std::all_of(point.begin(), point.end(), [](double v) { return std::isfinite(v); })) {
      continue;
    }
    rows.push_back(&row);
    points.insert(points.end(), point.begin(), point.end());
  }
  const absl::StatusOr<std::vector<int32_t>> frontier =
      ParetoFilter({points, static_cast<int>(width)});
  FORALL_CHECK(frontier.ok()) << frontier.status();
  std::vector<std::pair<double, size_t>> members;
  for (const int32_t row : *frontier) {
    members.emplace_back(options.cost(rows[row]->architecture), row);
  }
  std::sort(members.begin(), members.end());
  for (const size_t place : EndsFirst(members.size())) {
    first_.push_back(space_.Canonical(rows[members[place].second]->architecture));
  }
}

std::vector<Architecture> KnownSubnets::First(const ProposeRequest& request) const {
  if (first_.empty()) return {};
  absl::flat_hash_set<std::vector<int32_t>> taken;
  const auto take = [&](const Architecture& architecture) {
    if (space_.Validate(architecture).ok()) taken.insert(space_.Canonical(architecture).choices);
  };
  for (const ScoredTrial& trial : request.history) take(trial.architecture);
  for (const Architecture& pending : request.pending) take(pending);
  std::vector<Architecture> left;
  for (const Architecture& architecture : first_) {
    if (!taken.contains(architecture.choices)) left.push_back(architecture);
  }
  return left;
}

}  // namespace forall
