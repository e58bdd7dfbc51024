// SPDX-License-Identifier: Apache-2.0
#include "search/inner/factored_sum.h"

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace forall {
namespace {

constexpr size_t kMostEntries = size_t{1} << 22;

// A table over positions in the domains of its dimensions, the last running fastest.
struct Table {
  std::vector<uint32_t> dimensions;
  std::vector<double> values;
};

// What was minimised away: the best position of `dimension` for each combination of the others.
struct Eliminated {
  uint32_t dimension = 0;
  std::vector<uint32_t> others;
  std::vector<State> best;
};

class Elimination {
 public:
  Elimination(const CandidateSpace& space, absl::Span<const State> fixed)
      : space_(space), domains_(space.width()) {
    for (size_t d = 0; d < space.width(); ++d) {
      domains_[d] =
          fixed.empty() || fixed[d] == kFree ? space.allowed(d) : std::vector<State>{fixed[d]};
    }
  }

  // Conditions become part of the table: its dimensions and all those above them.
  absl::Status Add(const FactoredSum& sum, const Factor& factor, double weight) {
    std::set<uint32_t> scope;
    for (const uint32_t d : factor.dimensions) {
      for (int above = static_cast<int>(d); above >= 0;
           above = space_.parent(static_cast<size_t>(above))) {
        scope.insert(static_cast<uint32_t>(above));
      }
    }
    Table table{{scope.begin(), scope.end()}, {}};
    size_t size = 0;
    if (const absl::Status status = Size(table.dimensions, &size); !status.ok()) return status;
    table.values.resize(size);
    std::vector<size_t> at(table.dimensions.size(), 0);
    std::vector<State> row(space_.width(), 0);
    for (double& value : table.values) {
      for (size_t i = 0; i < at.size(); ++i) {  // a parent comes before what depends on it
        const uint32_t d = table.dimensions[i];
        const int parent = space_.parent(d);
        row[d] = parent >= 0 && !space_.Activates(d, row[static_cast<size_t>(parent)])
                     ? space_.inactive(d)
                     : domains_[d][at[i]];
      }
      value = weight * factor.values[sum.Index(factor, row.data())];
      Advance(table.dimensions, &at);
    }
    Insert(std::move(table));
    return absl::OkStatus();
  }

  absl::StatusOr<Minimum> Run() {
    std::vector<bool> gone(space_.width(), false);
    for (size_t step = 0; step < space_.width(); ++step) {
      if (const absl::Status status = Eliminate(&gone); !status.ok()) return status;
    }
    Minimum minimum{constant_, std::vector<State>(space_.width(), 0)};
    std::vector<size_t> position(space_.width(), 0);
    for (size_t i = eliminated_.size(); i-- > 0;) {
      const Eliminated& entry = eliminated_[i];
      size_t index = 0;
      for (const uint32_t d : entry.others) index = index * domains_[d].size() + position[d];
      position[entry.dimension] = entry.best[index];
      minimum.row[entry.dimension] = domains_[entry.dimension][position[entry.dimension]];
    }
    space_.Settle(minimum.row.data(), nullptr);
    return minimum;
  }

 private:
  absl::Status Size(const std::vector<uint32_t>& dimensions, size_t* size) const {
    *size = 1;
    for (const uint32_t d : dimensions) {
      *size *= domains_[d].size();
      if (*size > kMostEntries) {
        return absl::ResourceExhaustedError(
            absl::StrCat("a table over ", dimensions.size(), " dimensions of ", space_.space().id(),
                         " would have more than ", kMostEntries,
                         " entries: they hang together too much to be minimised exactly"));
      }
    }
    return absl::OkStatus();
  }

  void Advance(const std::vector<uint32_t>& dimensions, std::vector<size_t>* at) const {
    for (size_t i = dimensions.size(); i-- > 0;) {
      if (++(*at)[i] < domains_[dimensions[i]].size()) return;
      (*at)[i] = 0;
    }
  }

  // Tables over equal dimensions are one.
  void Insert(Table table) {
    if (table.dimensions.empty()) {
      constant_ += table.values.front();
      return;
    }
    for (Table& other : tables_) {
      if (other.dimensions != table.dimensions) continue;
      for (size_t i = 0; i < table.values.size(); ++i) other.values[i] += table.values[i];
      return;
    }
    tables_.push_back(std::move(table));
  }

  std::vector<uint32_t> Neighbours(uint32_t dimension) const {
    std::set<uint32_t> found;
    for (const Table& table : tables_) {
      if (std::find(table.dimensions.begin(), table.dimensions.end(), dimension) !=
          table.dimensions.end()) {
        found.insert(table.dimensions.begin(), table.dimensions.end());
      }
    }
    found.erase(dimension);
    return {found.begin(), found.end()};
  }

  absl::Status Eliminate(std::vector<bool>* gone) {
    Eliminated entry;
    size_t least = std::numeric_limits<size_t>::max();
    absl::Status none = absl::OkStatus();
    for (size_t d = 0; d < space_.width(); ++d) {
      if ((*gone)[d]) continue;
      std::vector<uint32_t> others = Neighbours(static_cast<uint32_t>(d));
      size_t size = 0;
      if (const absl::Status status = Size(others, &size); !status.ok()) {
        none = status;
        continue;
      }
      if (size >= least) continue;
      least = size;
      entry.dimension = static_cast<uint32_t>(d);
      entry.others = std::move(others);
    }
    if (least == std::numeric_limits<size_t>::max()) return none;
    (*gone)[entry.dimension] = true;
    Insert(MinimizeAway(least, &entry));
    eliminated_.push_back(std::move(entry));
    return absl::OkStatus();
  }

  // Joins all tables with the dimension and takes the minimum over it.
  Table MinimizeAway(size_t size, Eliminated* entry) {
    const uint32_t dimension = entry->dimension;
    std::vector<Table> joined;
    for (size_t i = 0; i < tables_.size();) {
      const std::vector<uint32_t>& dimensions = tables_[i].dimensions;
      if (std::find(dimensions.begin(), dimensions.end(), dimension) == dimensions.end()) {
        ++i;
        continue;
      }
      joined.push_back(std::move(tables_[i]));
      tables_.erase(tables_.begin() + static_cast<std::ptrdiff_t>(i));
    }
    // How far each table moves per position of each of `others`, and of the dimension.
    std::vector<std::vector<size_t>> strides(joined.size());
    std::vector<size_t> own(joined.size(), 0);
    for (size_t t = 0; t < joined.size(); ++t) {
      strides[t].assign(entry->others.size(), 0);
      size_t stride = 1;
      for (size_t i = joined[t].dimensions.size(); i-- > 0;) {
        const uint32_t d = joined[t].dimensions[i];
        if (d == dimension) {
          own[t] = stride;
        } else {
          const auto it = std::lower_bound(entry->others.begin(), entry->others.end(), d);
          strides[t][static_cast<size_t>(it - entry->others.begin())] = stride;
        }
        stride *= domains_[d].size();
      }
    }
    Table result{entry->others, std::vector<double>(size)};
    entry->best.resize(size);
    std::vector<size_t> at(entry->others.size(), 0);
    for (size_t index = 0; index < size; ++index) {
      double least = std::numeric_limits<double>::infinity();
      for (size_t option = 0; option < domains_[dimension].size(); ++option) {
        double total = 0;
        for (size_t t = 0; t < joined.size(); ++t) {
          size_t offset = option * own[t];
          for (size_t i = 0; i < at.size(); ++i) offset += at[i] * strides[t][i];
          total += joined[t].values[offset];
        }
        if (total < least) {
          least = total;
          entry->best[index] = static_cast<State>(option);
        }
      }
      result.values[index] = least;
      Advance(entry->others, &at);
    }
    return result;
  }

  const CandidateSpace& space_;
  std::vector<std::vector<State>> domains_;
  std::vector<Table> tables_;
  std::vector<Eliminated> eliminated_;
  double constant_ = 0;
};

}  // namespace

FactoredSum::FactoredSum(const CandidateSpace& space) {
  for (size_t d = 0; d < space.width(); ++d) states_.push_back(space.inactive(d) + size_t{1});
}

Factor* FactoredSum::Add(std::vector<uint32_t> dimensions) {
  size_t size = 1;
  for (const uint32_t d : dimensions) size *= states_[d];
  factors_.push_back({std::move(dimensions), std::vector<double>(size, 0.0)});
  return &factors_.back();
}

void FactoredSum::Evaluate(const Candidates& candidates, absl::Span<double> values) const {
  for (size_t i = 0; i < candidates.size(); ++i) values[i] = Evaluate(candidates.row(i));
}

absl::StatusOr<Minimum> Minimize(const CandidateSpace& space, absl::Span<const WeightedSum> sums,
                                 absl::Span<const State> fixed) {
  Elimination elimination(space, fixed);
  double constant = 0;
  for (const WeightedSum& weighted : sums) {
    constant += weighted.weight * weighted.sum->constant();
    for (const Factor& factor : weighted.sum->factors()) {
      const absl::Status status = elimination.Add(*weighted.sum, factor, weighted.weight);
      if (!status.ok()) return status;
    }
  }
  absl::StatusOr<Minimum> minimum = elimination.Run();
  if (minimum.ok()) minimum->value += constant;
  return minimum;
}

}  // namespace forall
