// SPDX-License-Identifier: Apache-2.0
// A search space is data: named dimensions, each with options and a condition under which it is
// active. Everything generic (sampling, mutation, crossover, encoding, canonical form, keys) works
// on dimensions alone, so that a new kind of choice is a new dimension and never new code.
#ifndef FORALL_SPACE_SEARCH_SPACE_H_
#define FORALL_SPACE_SEARCH_SPACE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/random.h"

namespace forall {

// A dimension is active when the chosen option of dimension `dimension` (an index into
// SearchSpace::dimensions()) has a value of at least `at_least`.
struct ActivationCondition {
  int dimension = 0;
  int32_t at_least = 0;
};

// One choice, e.g. "d3" (depth of stage 3, options 2, 3, 4) or "k3.4" (kernel of its fourth block,
// active when d3 is at least 4).
struct Dimension {
  std::string name;
  std::vector<int32_t> options;  // ascending, at least one
  std::optional<ActivationCondition> condition;
};

// A point of a search space, as it travels on the wire and lies in the store.
struct Architecture {
  std::string search_space;
  int32_t revision = 0;
  // For each dimension of the space, in its order, the index of the chosen option.
  std::vector<int32_t> choices;

  friend bool operator==(const Architecture& a, const Architecture& b) {
    return a.search_space == b.search_space && a.revision == b.revision && a.choices == b.choices;
  }
  friend bool operator!=(const Architecture& a, const Architecture& b) { return !(a == b); }
};

// Immutable after construction; thread-safe.
class SearchSpace {
 public:
  // InvalidArgument when a dimension has no options, options that do not ascend, a name used twice,
  // or a condition on itself or on a later dimension.
  static absl::StatusOr<SearchSpace> Create(std::string id, int32_t revision,
                                            std::vector<Dimension> dimensions);

  const std::string& id() const { return id_; }
  int32_t revision() const { return revision_; }
  const std::vector<Dimension>& dimensions() const { return dimensions_; }
  // Index of the dimension called `name`, or nullopt.
  std::optional<int> FindDimension(absl::string_view name) const;

  // InvalidArgument naming the field: another space or revision, a wrong number of choices, a
  // choice out of range. Every function below wants a valid architecture.
  absl::Status Validate(const Architecture& architecture) const;

  bool IsActive(const Architecture& architecture, int dimension) const;
  // The option's value, e.g. 5 for kernel 5.
  int32_t Value(const Architecture& architecture, int dimension) const {
    return dimensions_[dimension].options[architecture.choices[dimension]];
  }
  // Choices of inactive dimensions set to option 0: two genotypes of one network become equal.
  Architecture Canonical(const Architecture& architecture) const;

  Architecture Smallest() const;
  Architecture Largest() const;
  // Every dimension drawn independently and uniformly; canonical.
  Architecture Sample(Random* random) const;
  // Every active dimension is redrawn with `probability` (the redraw may repeat the old option, as
  // in OFA's evolution finder); dimensions that become active are drawn afresh. When nothing
  // changed, one random active dimension that has a choice is moved to another option: a mutant
  // always differs from its parent. Canonical.
  Architecture Mutate(const Architecture& parent, double probability, Random* random) const;
  // Uniform crossover: each dimension from either parent; canonical.
  Architecture Crossover(const Architecture& a, const Architecture& b, Random* random) const;

  // One-hot per dimension in order of dimensions; the block of an inactive dimension is all zeros.
  std::vector<float> Encode(const Architecture& architecture) const;
  int EncodedSize() const { return encoded_size_; }

  // log10 of the number of distinct networks (canonical architectures).
  double Log10Size() const;

  // {"search_space": id, "revision": n, "choices": {"d1": 3, "k1.1": 5, ...}} with option values,
  // active dimensions only: readable, and one network has one text.
  std::string ToJson(const Architecture& architecture) const;
  // Reads that form; inactive dimensions may be left out or given. InvalidArgument names the
  // missing, unknown or ill-valued dimension and lists the options.
  absl::StatusOr<Architecture> FromJson(absl::string_view text) const;

 private:
  SearchSpace() = default;
  std::string id_;
  int32_t revision_ = 0;
  std::vector<Dimension> dimensions_;
  absl::flat_hash_map<std::string, int> index_;
  int encoded_size_ = 0;
};

}  // namespace forall

#endif  // FORALL_SPACE_SEARCH_SPACE_H_
