// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/fresh_proposals.h"

#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"

namespace forall {
namespace {

constexpr double kEnumerableLog10Size = 4.31;  // 20,000 networks
constexpr int kFallbackAttempts = 64;
constexpr double kFallbackMutation = 0.1;

// Within one space and revision two networks have one ArchKey exactly when their canonical choices
// are equal, and comparing choices needs no hashing of text.
using Known = absl::flat_hash_set<std::vector<int32_t>>;

void Remember(const SearchSpace& space, const Architecture& architecture, Known* known) {
  if (!space.Validate(architecture).ok()) return;
  known->insert(space.Canonical(architecture).choices);
}

// All networks that are not known, in a fixed order.
class Enumeration {
 public:
  Enumeration(const SearchSpace& space, const Known& known)
      : space_(space), known_(known), current_(space.Smallest()) {
    Extend(0);
  }
  std::vector<Architecture> Take() { return std::move(unknown_); }

 private:
  void Extend(size_t dimension) {
    if (dimension == space_.dimensions().size()) {
      if (!known_.contains(current_.choices)) unknown_.push_back(current_);
      return;
    }
    // Conditions look at earlier dimensions only, which are settled here.
    const int index = static_cast<int>(dimension);
    const size_t options =
        space_.IsActive(current_, index) ? space_.dimensions()[dimension].options.size() : 1;
    for (size_t option = 0; option < options; ++option) {
      current_.choices[dimension] = static_cast<int32_t>(option);
      Extend(dimension + 1);
    }
    current_.choices[dimension] = 0;
  }

  const SearchSpace& space_;
  const Known& known_;
  Architecture current_;
  std::vector<Architecture> unknown_;
};

class Finder {
 public:
  Finder(const AdmissibleRegion& region, const Known& known, Random* random)
      : region_(region), known_(known), random_(random) {}

  std::optional<Architecture> FromDraws(int64_t index, const Patience& patience,
                                        const Draw& draw) const {
    for (int attempt = 0; attempt < patience.attempts; ++attempt) {
      const Architecture idea = draw(index, attempt, random_);
      const bool repair = attempt >= patience.repair_after;
      if (std::optional<Architecture> found = Accept(idea, repair)) return found;
    }
    return std::nullopt;
  }

  std::optional<Architecture> FromFallback() const {
    const std::vector<Architecture>& ends = region_.ends();
    for (int attempt = 0; attempt < kFallbackAttempts; ++attempt) {
      const Architecture idea = attempt % 2 == 0 || ends.empty()
                                    ? region_.space().Sample(random_)
                                    : region_.space().Mutate(ends[random_->Uniform(ends.size())],
                                                             kFallbackMutation, random_);
      if (std::optional<Architecture> found = Accept(idea, /*repair=*/true)) return found;
    }
    return std::nullopt;
  }

  std::optional<Architecture> FromEnumeration() const {
    if (region_.space().Log10Size() > kEnumerableLog10Size) return std::nullopt;
    std::vector<Architecture> unknown = Enumeration(region_.space(), known_).Take();
    random_->Shuffle(&unknown);
    for (Architecture& candidate : unknown) {
      if (region_.Contains(candidate)) return std::move(candidate);
    }
    return std::nullopt;
  }

 private:
  std::optional<Architecture> Accept(const Architecture& idea, bool repair) const {
    std::optional<Architecture> found;
    const auto visit = [&](const Architecture& candidate) {
      if (known_.contains(candidate.choices) || !region_.Contains(candidate)) return false;
      found = candidate;
      return true;
    };
    if (repair) {
      region_.WalkBack(idea, random_, visit);
    } else {
      visit(region_.space().Canonical(idea));
    }
    return found;
  }

  const AdmissibleRegion& region_;
  const Known& known_;
  Random* random_;
};

}  // namespace

std::vector<Proposal> FreshProposals(const AdmissibleRegion& region, const ProposeRequest& request,
                                     uint64_t seed, const Patience& patience, const Draw& draw) {
  std::vector<Proposal> proposals;
  if (request.slots <= 0) return proposals;
  Known known;
  known.reserve(request.history.size() + request.pending.size() + request.slots);
  for (const ScoredTrial& trial : request.history) {
    Remember(region.space(), trial.architecture, &known);
  }
  for (const Architecture& pending : request.pending) Remember(region.space(), pending, &known);

  for (int slot = 0; slot < request.slots; ++slot) {
    const int64_t index = request.proposed_so_far + slot;
    Random random = Random::ForStream(seed, static_cast<uint64_t>(index));
    const Finder finder(region, known, &random);
    std::optional<Architecture> found = finder.FromDraws(index, patience, draw);
    if (!found.has_value()) found = finder.FromFallback();
    if (!found.has_value()) found = finder.FromEnumeration();
    if (!found.has_value()) break;
    known.insert(found->choices);
    proposals.push_back({*std::move(found)});
  }
  return proposals;
}

}  // namespace forall
