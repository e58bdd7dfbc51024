// SPDX-License-Identifier: Apache-2.0
#include "search/pareto/expected_hypervolume.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "search/pareto/hypervolume_gain.h"

namespace forall {
namespace {

absl::Status CheckCounts(const PointsView& points, absl::Span<const int64_t> counts, int orders) {
  if (orders < 1) return absl::InvalidArgumentError("orders: at least 1");
  int64_t last = 0;
  for (const int64_t count : counts) {
    if (count <= last || count > points.size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "counts: must ascend from 1 to ", points.size(), ", got ", count, " after ", last));
    }
    last = count;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<HypervolumeBand>> ExpectedHypervolume(
    const PointsView& points, const std::vector<double>& reference,
    absl::Span<const int64_t> counts, int orders, uint64_t seed) {
  FORALL_RETURN_IF_ERROR(CheckPoints(points));
  FORALL_ASSIGN_OR_RETURN(const HypervolumeGain empty, HypervolumeGain::Create(reference));
  if (points.objectives != static_cast<int>(reference.size())) {
    return absl::InvalidArgumentError(absl::StrCat("reference: has ", reference.size(),
                                                   " objectives, the points ", points.objectives));
  }
  FORALL_RETURN_IF_ERROR(CheckCounts(points, counts, orders));
  std::vector<std::vector<double>> volumes(counts.size());
  for (int i = 0; i < orders; ++i) {
    std::vector<int64_t> order(points.size());
    std::iota(order.begin(), order.end(), int64_t{0});
    Random random = Random::ForStream(seed, static_cast<uint64_t>(i));
    random.Shuffle(&order);
    HypervolumeGain gain = empty;
    double volume = 0;
    size_t next = 0;
    for (int64_t n = 0; next < counts.size(); ++n) {
      const absl::Span<const double> point(points[order[n]], reference.size());
      const double gained = gain.Gain(point);
      if (gained > 0) gain.Add(point);
      volume += gained;
      if (counts[next] == n + 1) volumes[next++].push_back(volume);
    }
  }
  std::vector<HypervolumeBand> bands;
  for (size_t i = 0; i < counts.size(); ++i) {
    std::vector<double>& sorted = volumes[i];
    std::sort(sorted.begin(), sorted.end());
    const double mean = std::accumulate(sorted.begin(), sorted.end(), 0.0) / orders;
    const size_t tail = sorted.size() / 10;
    bands.push_back({counts[i], mean, sorted[tail], sorted[sorted.size() - 1 - tail]});
  }
  return bands;
}

}  // namespace forall
