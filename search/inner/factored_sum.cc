// SPDX-License-Identifier: Apache-2.0
#include "search/inner/factored_sum.h"

#include <algorithm>
#include <limits>
#include <set>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr size_t kMostEntries = size_t{1} << 22;

}  // namespace

FactoredSum::FactoredSum(const CandidateSpace& space) {
  for (size_t d = 0; d < space.width(); ++d) states_.push_back(space.inactive(d) + 1u);
}

absl::Span<double> FactoredSum::Add(absl::Span<const uint32_t> dimensions) {
  Factor factor;
  factor.dimensions.assign(dimensions.begin(), dimensions.end());
  factor.strides.resize(dimensions.size());
  factor.offset = values_.size();
  uint32_t size = 1;
  for (size_t i = dimensions.size(); i-- > 0;) {
    factor.strides[i] = size;
    size *= states_[dimensions[i]];
  }
  factor.size = size;
  values_.resize(factor.offset + size, 0.0);
  if (dimensions.size() <= kNarrow) {
    Narrow narrow;
    std::copy(dimensions.begin(), dimensions.end(), narrow.dimensions);
    std::copy(factor.strides.begin(), factor.strides.end(), narrow.strides);
    narrow.offset = factor.offset;
    most_slots_ = std::max(most_slots_, dimensions.size());
    narrow_.push_back(narrow);
  } else {
    wide_.push_back(factor);
  }
  factors_.push_back(std::move(factor));
  return absl::MakeSpan(values_).subspan(factors_.back().offset);
}

void FactoredSum::Evaluate(const Candidates& candidates, absl::Span<double> values) const {
  for (size_t i = 0; i < candidates.size(); ++i) values[i] = Evaluate(candidates.row(i));
}

class MinimizerBuilder {
 public:
  MinimizerBuilder(const CandidateSpace& space, absl::Span<const State> fixed)
      : space_(space), result_(space) {
    for (size_t d = 0; d < space.width(); ++d) {
      result_.domains_.push_back(fixed.empty() || fixed[d] == kFree ? space.allowed(d)
                                                                    : std::vector<State>{fixed[d]});
    }
  }

  absl::Status Add(const FactoredSum& sum) {
    const size_t index = result_.constants_.size();
    result_.constants_.push_back(sum.constant());
    for (const Factor& factor : sum.factors()) {
      FORALL_RETURN_IF_ERROR(AddTable(index, factor, sum.values(factor)));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Minimizer> Build() {
    for (size_t t = 0; t < result_.tables_.size(); ++t) open_.push_back(t);
    std::vector<bool> gone(space_.width(), false);
    for (size_t step = 0; step < space_.width(); ++step) {
      FORALL_RETURN_IF_ERROR(Eliminate(&gone));
    }
    return std::move(result_);
  }

 private:
  absl::Status Size(const std::vector<uint32_t>& dimensions, size_t* size) const {
    *size = 1;
    for (const uint32_t d : dimensions) {
      *size *= result_.domains_[d].size();
      if (*size <= kMostEntries) continue;
      return absl::ResourceExhaustedError(
          absl::StrCat("a table over ", dimensions.size(), " dimensions of ", space_.space().id(),
                       " would have more than ", kMostEntries,
                       " entries: they hang together too much to be minimised exactly"));
    }
    return absl::OkStatus();
  }

  void Advance(const std::vector<uint32_t>& dimensions, std::vector<size_t>* at) const {
    for (size_t i = dimensions.size(); i-- > 0;) {
      if (++(*at)[i] < result_.domains_[dimensions[i]].size()) return;
      (*at)[i] = 0;
    }
  }

  // Conditions become part of the table: its dimensions and all those above them.
  absl::Status AddTable(size_t sum, const Factor& factor, absl::Span<const double> of_factor) {
    std::set<uint32_t> scope;
    for (const uint32_t d : factor.dimensions) {
      for (int above = static_cast<int>(d); above >= 0;
           above = space_.parent(static_cast<size_t>(above))) {
        scope.insert(static_cast<uint32_t>(above));
      }
    }
    Minimizer::Table table{{scope.begin(), scope.end()}, 0, {}};
    FORALL_RETURN_IF_ERROR(Size(table.dimensions, &table.size));
    std::vector<double> values(table.size);
    std::vector<size_t> at(table.dimensions.size(), 0);
    std::vector<State> row(space_.width(), 0);
    for (double& value : values) {
      for (size_t i = 0; i < at.size(); ++i) {  // a parent comes before what depends on it
        const uint32_t d = table.dimensions[i];
        const int parent = space_.parent(d);
        row[d] = parent >= 0 && !space_.Activates(d, row[static_cast<size_t>(parent)])
                     ? space_.inactive(d)
                     : result_.domains_[d][at[i]];
      }
      value = of_factor[factor.Index(row.data())];
      Advance(table.dimensions, &at);
    }
    // Tables over the same dimensions are one.
    auto same = std::find_if(
        result_.tables_.begin(), result_.tables_.end(),
        [&](const Minimizer::Table& other) { return other.dimensions == table.dimensions; });
    if (same == result_.tables_.end()) {
      same = result_.tables_.insert(same, std::move(table));
    }
    same->terms.emplace_back(sum, std::move(values));
    return absl::OkStatus();
  }

  bool Mentions(size_t table, uint32_t dimension) const {
    const std::vector<uint32_t>& dimensions = result_.tables_[table].dimensions;
    return std::binary_search(dimensions.begin(), dimensions.end(), dimension);
  }

  std::vector<uint32_t> Neighbours(uint32_t dimension) const {
    std::set<uint32_t> found;
    for (const size_t t : open_) {
      if (!Mentions(t, dimension)) continue;
      found.insert(result_.tables_[t].dimensions.begin(), result_.tables_[t].dimensions.end());
    }
    found.erase(dimension);
    return {found.begin(), found.end()};
  }

  // The dimension whose table is smallest goes first.
  absl::Status Eliminate(std::vector<bool>* gone) {
    Minimizer::Step step;
    step.size = std::numeric_limits<size_t>::max();
    absl::Status none;
    for (uint32_t d = 0; d < space_.width(); ++d) {
      if ((*gone)[d]) continue;
      std::vector<uint32_t> others = Neighbours(d);
      size_t size = 0;
      if (const absl::Status status = Size(others, &size); !status.ok()) {
        none = status;
      } else if (size < step.size) {
        step.size = size;
        step.dimension = d;
        step.others = std::move(others);
      }
    }
    if (step.size == std::numeric_limits<size_t>::max()) return none;
    (*gone)[step.dimension] = true;
    for (const size_t t : open_) {
      if (Mentions(t, step.dimension)) AddInput(t, &step);
    }
    open_.erase(std::remove_if(open_.begin(), open_.end(),
                               [&](size_t t) { return Mentions(t, step.dimension); }),
                open_.end());
    step.output = result_.tables_.size();
    open_.push_back(step.output);
    result_.tables_.push_back({step.others, step.size, {}});
    result_.steps_.push_back(std::move(step));
    return absl::OkStatus();
  }

  void AddInput(size_t table, Minimizer::Step* step) const {
    const std::vector<uint32_t>& dimensions = result_.tables_[table].dimensions;
    std::vector<uint32_t> strides(step->others.size(), 0);
    uint32_t stride = 1;
    for (size_t i = dimensions.size(); i-- > 0;) {
      if (dimensions[i] == step->dimension) {
        step->strides.push_back(stride);
      } else {
        const auto it = std::lower_bound(step->others.begin(), step->others.end(), dimensions[i]);
        strides[static_cast<size_t>(it - step->others.begin())] = stride;
      }
      stride *= static_cast<uint32_t>(result_.domains_[dimensions[i]].size());
    }
    step->inputs.push_back(table);
    std::vector<size_t> at(step->others.size(), 0);
    for (size_t position = 0; position < step->size; ++position) {
      uint32_t offset = 0;
      for (size_t i = 0; i < at.size(); ++i) offset += static_cast<uint32_t>(at[i]) * strides[i];
      step->offsets.push_back(offset);
      Advance(step->others, &at);
    }
  }

  const CandidateSpace& space_;
  Minimizer result_;
  std::vector<size_t> open_;  // tables that no step has joined yet
};

absl::StatusOr<Minimizer> Minimizer::Create(const CandidateSpace& space,
                                            absl::Span<const FactoredSum* const> sums,
                                            absl::Span<const State> fixed) {
  MinimizerBuilder builder(space, fixed);
  for (const FactoredSum* sum : sums) FORALL_RETURN_IF_ERROR(builder.Add(*sum));
  return builder.Build();
}

Minimum Minimizer::Run(absl::Span<const double> weights) const {
  std::vector<std::vector<double>> values(tables_.size());
  for (size_t t = 0; t < tables_.size(); ++t) {
    values[t].resize(tables_[t].size, 0.0);
    for (const auto& [sum, of_sum] : tables_[t].terms) {
      for (size_t i = 0; i < of_sum.size(); ++i) values[t][i] += weights[sum] * of_sum[i];
    }
  }
  std::vector<std::vector<State>> best(steps_.size());
  for (size_t s = 0; s < steps_.size(); ++s) {
    const Step& step = steps_[s];
    std::vector<double>& output = values[step.output];
    best[s].resize(step.size);
    for (size_t position = 0; position < step.size; ++position) {
      double least = std::numeric_limits<double>::infinity();
      for (uint32_t option = 0; option < domains_[step.dimension].size(); ++option) {
        double total = 0;
        for (size_t t = 0; t < step.inputs.size(); ++t) {
          total += values[step.inputs[t]]
                         [step.offsets[t * step.size + position] + option * step.strides[t]];
        }
        if (total < least) {
          least = total;
          best[s][position] = static_cast<State>(option);
        }
      }
      output[position] = least;
    }
  }
  Minimum minimum{0, std::vector<State>(space_->width(), 0)};
  for (size_t sum = 0; sum < constants_.size(); ++sum) {
    minimum.value += weights[sum] * constants_[sum];
  }
  // What depends on nothing more is a part of the minimum.
  for (const Step& step : steps_) {
    if (step.others.empty()) minimum.value += values[step.output][0];
  }
  std::vector<size_t> position(space_->width(), 0);
  for (size_t s = steps_.size(); s-- > 0;) {
    const Step& step = steps_[s];
    size_t index = 0;
    for (const uint32_t d : step.others) index = index * domains_[d].size() + position[d];
    position[step.dimension] = best[s][index];
    minimum.row[step.dimension] = domains_[step.dimension][position[step.dimension]];
  }
  space_->Settle(minimum.row.data(), nullptr);
  return minimum;
}

}  // namespace forall
