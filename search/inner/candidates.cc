// SPDX-License-Identifier: Apache-2.0
#include "search/inner/candidates.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr size_t kMostOptions = 254;

// Uniform in [0, bound) but for a bias of less than bound / 2^32, which no search notices; without
// a division.
size_t Below(size_t bound, Random* random) {
  return static_cast<size_t>(((random->Next() >> 32) * bound) >> 32);
}

}  // namespace

absl::StatusOr<CandidateSpace> CandidateSpace::Create(SearchSpace space,
                                                      std::vector<std::vector<State>> allowed) {
  CandidateSpace result(std::move(space));
  const std::vector<Dimension>& dimensions = result.space_.dimensions();
  allowed.resize(dimensions.size());
  for (size_t d = 0; d < dimensions.size(); ++d) {
    const size_t options = dimensions[d].options.size();
    if (options > kMostOptions) {
      return absl::InvalidArgumentError(absl::StrCat("dimension ", dimensions[d].name, " has ",
                                                     options, " options; a candidate's has up to ",
                                                     kMostOptions));
    }
    if (allowed[d].empty()) {
      for (size_t o = 0; o < options; ++o) allowed[d].push_back(static_cast<State>(o));
    }
    if (!std::is_sorted(allowed[d].begin(), allowed[d].end()) || allowed[d].back() >= options) {
      return absl::InvalidArgumentError(absl::StrCat(
          "allowed options of dimension ", dimensions[d].name, " must ascend below ", options));
    }
    result.inactive_.push_back(static_cast<State>(options));
    result.parent_.push_back(-1);
    result.least_.push_back(0);
    if (allowed[d].size() > 1) result.movable_.push_back(static_cast<uint32_t>(d));
    if (const auto& condition = dimensions[d].condition; condition.has_value()) {
      const std::vector<int32_t>& above =
          dimensions[static_cast<size_t>(condition->dimension)].options;
      result.parent_[d] = condition->dimension;
      result.least_[d] = static_cast<State>(
          std::lower_bound(above.begin(), above.end(), condition->at_least) - above.begin());
      const auto parent = static_cast<uint32_t>(condition->dimension);
      result.conditions_.push_back({static_cast<uint32_t>(d), parent, result.least_[d],
                                    result.inactive_[parent], result.inactive_[d]});
    }
  }
  result.below_.resize(dimensions.size());
  for (const Condition& condition : result.conditions_) {
    for (int above = static_cast<int>(condition.parent); above >= 0;
         above = result.parent_[static_cast<size_t>(above)]) {
      result.below_[static_cast<size_t>(above)].push_back(condition);
    }
  }
  for (size_t d = 0; d < dimensions.size(); ++d) {
    if (d > 0 && !result.below_[d].empty()) ++result.stages_;
    result.stage_.push_back(result.stages_);
  }
  ++result.stages_;
  result.allowed_ = std::move(allowed);
  return result;
}

absl::StatusOr<CandidateSpace> CandidateSpace::Usable(
    SearchSpace space, const std::function<absl::Status(const Architecture&)>& usable) {
  const std::vector<Dimension>& dimensions = space.dimensions();
  // Some usable network to vary: an end, or an end with one dimension changed.
  const std::vector<Architecture> ends = {space.Largest(), space.Smallest()};
  std::vector<Architecture> bases;
  absl::Status last;
  for (const Architecture& end : ends) {
    Architecture base = end;
    last = usable(base);
    for (size_t d = 0; !last.ok() && d < dimensions.size(); ++d) {
      for (size_t o = dimensions[d].options.size(); !last.ok() && o-- > 0;) {
        base = end;
        base.choices[d] = static_cast<int32_t>(o);
        base = space.Canonical(base);
        last = usable(base);
      }
    }
    if (last.ok()) bases.push_back(std::move(base));
  }
  if (bases.empty()) {
    return absl::NotFoundError(
        absl::StrCat("no network of ", space.id(), " can be searched: ", last.message()));
  }
  std::vector<std::vector<State>> allowed(dimensions.size());
  for (size_t d = 0; d < dimensions.size(); ++d) {
    for (size_t o = 0; o < dimensions[d].options.size(); ++o) {
      const bool found = std::any_of(bases.begin(), bases.end(), [&](Architecture base) {
        base.choices[d] = static_cast<int32_t>(o);
        return space.IsActive(base, static_cast<int>(d)) && usable(space.Canonical(base)).ok();
      });
      if (found) allowed[d].push_back(static_cast<State>(o));
    }
  }
  return Create(std::move(space), std::move(allowed));
}

absl::Status CandidateSpace::ToRow(const Architecture& architecture, State* row) const {
  FORALL_RETURN_IF_ERROR(space_.Validate(architecture));
  for (size_t d = 0; d < width(); ++d) row[d] = static_cast<State>(architecture.choices[d]);
  Settle(row, nullptr);
  for (size_t d = 0; d < width(); ++d) {
    if (row[d] != inactive_[d] &&
        !std::binary_search(allowed_[d].begin(), allowed_[d].end(), row[d])) {
      const Dimension& dimension = space_.dimensions()[d];
      return absl::InvalidArgumentError(absl::StrCat("option ", dimension.options[row[d]], " of ",
                                                     dimension.name, " is not searched"));
    }
  }
  return absl::OkStatus();
}

Architecture CandidateSpace::ToArchitecture(const State* row) const {
  Architecture architecture = space_.Smallest();
  for (size_t d = 0; d < width(); ++d) {
    if (row[d] != inactive_[d]) architecture.choices[d] = row[d];
  }
  return architecture;
}

void CandidateSpace::Settle(State* row, Random* random) const { Settle(conditions_, row, random); }

void CandidateSpace::Settle(const std::vector<Condition>& conditions, State* row,
                            Random* random) const {
  for (const Condition& condition : conditions) {
    const uint32_t d = condition.dimension;
    const State above = row[condition.parent];
    if (above < condition.least || above == condition.inactive_parent) {
      row[d] = condition.inactive;
    } else if (row[d] == condition.inactive) {
      row[d] =
          random == nullptr ? allowed_[d].back() : allowed_[d][Below(allowed_[d].size(), random)];
    }
  }
}

uint64_t CandidateSpace::Key(const State* row) const {
  uint64_t key = width();
  size_t d = 0;
  for (; d + 8 <= width(); d += 8) {
    uint64_t word = 0;
    std::memcpy(&word, row + d, 8);
    key = SplitMix64(key ^ word);
  }
  uint64_t rest = 0;
  std::memcpy(&rest, row + d, width() - d);
  return SplitMix64(key ^ rest);
}

void CandidateSpace::Draw(double tilt, Random* random, State* row) const {
  for (size_t d = 0; d < width(); ++d) {
    const std::vector<State>& options = allowed_[d];
    const size_t n = options.size();
    double u = random->Double();
    if (tilt != 0 && n > 1) {
      // Inverse of the continuous density exp(tilt * x) on [0, 1], cut into n equal parts.
      u = std::log1p(u * std::expm1(tilt)) / tilt;
    }
    row[d] = options[std::min(n - 1, static_cast<size_t>(u * static_cast<double>(n)))];
  }
  Settle(row, random);
}

void CandidateSpace::Mutate(int changes, Random* random, State* row) const {
  if (movable_.empty()) return;
  for (int change = 0; change < changes; ++change) {
    size_t d = movable_[Below(movable_.size(), random)];
    for (int attempt = 0; row[d] == inactive_[d] && attempt < 16; ++attempt) {
      d = movable_[Below(movable_.size(), random)];
    }
    if (row[d] == inactive_[d]) continue;
    const std::vector<State>& options = allowed_[d];
    // One of the others: the last one stands in for the present one.
    State moved = options[Below(options.size() - 1, random)];
    if (moved == row[d]) moved = options.back();
    row[d] = moved;
    if (!below_[d].empty()) Settle(below_[d], row, random);
  }
}

void CandidateSpace::CrossStages(const State* a, const State* b, Random* random,
                                 State* child) const {
  std::memcpy(child, a, width());
  uint64_t bits = random->Next();
  for (size_t d = 0; d < width(); ++d) {
    if (d > 0 && stage_[d] % 64 == 0 && stage_[d] != stage_[d - 1]) bits = random->Next();
    if ((bits >> (stage_[d] % 64)) & 1) child[d] = b[d];
  }
  Settle(child, random);
}

void CandidateSpace::Cross(const State* a, const State* b, Random* random, State* child) const {
  uint64_t bits = 0;
  for (size_t d = 0; d < width(); ++d) {
    if (d % 64 == 0) bits = random->Next();
    child[d] = (bits >> (d % 64)) & 1 ? b[d] : a[d];
  }
  Settle(child, random);
}

}  // namespace forall
