// SPDX-License-Identifier: Apache-2.0
// Candidates of the inner search: architectures as rows of a flat matrix of bytes, made by the
// million without an allocation each.
//
// A row holds one state per dimension of the space: the index of its option, or one past the last
// option where the dimension is not active. Rows are therefore canonical by construction: equal
// rows are equal networks, and a table over states needs no conditions.
#ifndef FORALL_SEARCH_INNER_CANDIDATES_H_
#define FORALL_SEARCH_INNER_CANDIDATES_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/random.h"
#include "space/search_space.h"

namespace forall {

using State = uint8_t;

// A row-major matrix of states. A value; thread-compatible.
class Candidates {
 public:
  explicit Candidates(size_t width) : width_(width) {}

  size_t width() const { return width_; }
  size_t size() const { return size_; }
  State* row(size_t i) { return states_.data() + i * width_; }
  const State* row(size_t i) const { return states_.data() + i * width_; }
  void Resize(size_t size) {
    size_ = size;
    states_.resize(size * width_);
  }
  void Append(const State* row) {
    states_.insert(states_.end(), row, row + width_);
    ++size_;
  }
  void Clear() { Resize(0); }

 private:
  size_t width_;
  size_t size_ = 0;
  std::vector<State> states_;
};

// A search space as rows, some of its options left out. Immutable; thread-safe.
class CandidateSpace {
 public:
  // `allowed[d]` are the options of dimension d that the search may use, ascending; none given, or
  // an empty list, means all. InvalidArgument: more than 254 options of one dimension, or an option
  // that is not there.
  static absl::StatusOr<CandidateSpace> Create(SearchSpace space,
                                               std::vector<std::vector<State>> allowed = {});

  // Leaves out every option of which no network is usable, as far as one look per option tells:
  // each stands in the largest and in the smallest network, all else being usable. That finds what
  // a table or a predictor does not know at all, such as a resolution. NotFound, with the last
  // answer of `usable`, when no network was usable.
  static absl::StatusOr<CandidateSpace> Usable(
      SearchSpace space, const std::function<absl::Status(const Architecture&)>& usable);

  const SearchSpace& space() const { return space_; }
  size_t width() const { return inactive_.size(); }
  const std::vector<State>& allowed(size_t dimension) const { return allowed_[dimension]; }
  // The state of a dimension that is not active; the states before it are its options.
  State inactive(size_t dimension) const { return inactive_[dimension]; }
  // The dimension whose option decides whether `dimension` is active, or -1.
  int parent(size_t dimension) const { return parent_[dimension]; }
  // Whether a row with this state of the parent activates `dimension`.
  bool Activates(size_t dimension, State parent_state) const {
    return parent_state != inactive_[static_cast<size_t>(parent_[dimension])] &&
           parent_state >= least_[dimension];
  }

  // InvalidArgument as SearchSpace::Validate, or naming a choice that is left out of this search.
  absl::Status ToRow(const Architecture& architecture, State* row) const;
  // Canonical.
  Architecture ToArchitecture(const State* row) const;

  // Makes activity follow from the options of the dimensions above: what lost its condition becomes
  // inactive, what gained it is drawn, or set to the largest option without `random`.
  void Settle(State* row, Random* random) const;
  uint64_t Key(const State* row) const;

  // Every dimension independently and uniformly, `tilt` times towards large options (negative:
  // small ones): option i of n has a chance in proportion to exp(tilt * i / (n - 1)).
  void Draw(double tilt, Random* random, State* row) const;
  // Moves `changes` random active dimensions to another option each; the row may come out unchanged
  // where a later change undoes an earlier one, or where nothing can move.
  void Mutate(int changes, Random* random, State* row) const;
  // Each stage from either parent. A stage is a dimension that others depend on and what follows it
  // up to the next such dimension: the depth of an OFA stage with its kernels and widths.
  void CrossStages(const State* a, const State* b, Random* random, State* child) const;
  // Each dimension from either parent.
  void Cross(const State* a, const State* b, Random* random, State* child) const;

 private:
  explicit CandidateSpace(SearchSpace space) : space_(std::move(space)) {}

  SearchSpace space_;
  std::vector<std::vector<State>> allowed_;
  std::vector<State> inactive_;
  std::vector<int> parent_;
  std::vector<State> least_;  // of a conditional dimension: the parent's least state
  // On a dimension that has a parent.
  struct Condition {
    uint32_t dimension = 0;
    uint32_t parent = 0;
    State least = 0;  // of the parent
    State inactive_parent = 0;
    State inactive = 0;
  };
  void Settle(const std::vector<Condition>& conditions, State* row, Random* random) const;

  std::vector<Condition> conditions_;          // ascending
  std::vector<std::vector<Condition>> below_;  // of all that depends on a dimension in the end
  std::vector<uint32_t> movable_;              // dimensions with more than one allowed option
  std::vector<uint32_t> stage_;
  uint32_t stages_ = 0;
};

}  // namespace forall

#endif  // FORALL_SEARCH_INNER_CANDIDATES_H_
