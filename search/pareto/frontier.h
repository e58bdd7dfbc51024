// SPDX-License-Identifier: Apache-2.0
// A frontier that grows with the results. Invariant (5) of docs/architecture.md: it never holds a
// dominated or a duplicate point. Of equal points the first to come stays.
#ifndef FORALL_SEARCH_PARETO_FRONTIER_H_
#define FORALL_SEARCH_PARETO_FRONTIER_H_

#include <cstdint>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace forall {

// Thread-compatible. Points cannot be taken back: what a retracted one had displaced is gone, so a
// retraction means building a new frontier from what is left (ParetoFilter).
class Frontier {
 public:
  struct Member {
    int64_t id = 0;
    std::vector<double> point;  // all objectives minimised
  };

  struct Insertion {
    bool inserted = false;
    // Members that the new point dominates, in no order; they have left the frontier.
    std::vector<int64_t> displaced;
  };

  // InvalidArgument when objectives < 1.
  static absl::StatusOr<Frontier> Create(int objectives);

  // O(log size) amortised for two objectives, O(size) otherwise. The id is the caller's and is not
  // looked at. InvalidArgument, changing nothing: a wrong number of objectives, or a NaN.
  absl::StatusOr<Insertion> Insert(int64_t id, absl::Span<const double> point);

  // Some member is nowhere worse than `point`: Insert would refuse it. Wants a valid point.
  bool Covers(absl::Span<const double> point) const;

  // In ascending lexicographic order.
  std::vector<Member> Members() const;
  int64_t size() const;
  int objectives() const { return objectives_; }

 private:
  struct Tail {
    double value;  // second objective
    int64_t id;
  };

  explicit Frontier(int objectives) : objectives_(objectives) {}
  Insertion InsertPlane(int64_t id, absl::Span<const double> point);
  Insertion InsertAny(int64_t id, absl::Span<const double> point);

  int objectives_;
  // Two objectives: by the first, the second strictly descending. Otherwise the two vectors.
  absl::btree_map<double, Tail> plane_;
  std::vector<int64_t> ids_;
  std::vector<double> rows_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_PARETO_FRONTIER_H_
