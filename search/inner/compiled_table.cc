// SPDX-License-Identifier: Apache-2.0
#include "search/inner/compiled_table.h"

#include <algorithm>
#include <cmath>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "space/cost_model.h"

namespace forall {
namespace {

bool IsTime(double ms) { return ms > 0 && std::isfinite(ms); }

// A layer that takes no time was not measured, and a search would be drawn to it.
absl::Status CheckPositive(const LatencyTable& table) {
  for (const auto& [resolution, rows] : table.resolutions) {
    for (const auto& [key, row] : rows) {
      if (IsTime(row.mean_ms)) continue;
      return absl::InvalidArgumentError(absl::StrCat("resolutions.", resolution, ".", key,
                                                     ".mean: must be positive, got ", row.mean_ms));
    }
  }
  if (!table.correction.has_value()) return absl::OkStatus();
  for (const auto& [resolution, rows] : table.correction->rows_ms) {
    for (const auto& [key, row] : rows) {
      if (IsTime(row)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("correction.rows.", resolution, ".", key, ": must be positive, got ", row));
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> LeftOut(const CandidateSpace& space) {
  std::vector<std::string> left_out;
  const std::vector<Dimension>& dimensions = space.space().dimensions();
  for (size_t d = 0; d < dimensions.size(); ++d) {
    std::vector<int32_t> missing;
    for (size_t o = 0; o < dimensions[d].options.size(); ++o) {
      const std::vector<State>& allowed = space.allowed(d);
      if (!std::binary_search(allowed.begin(), allowed.end(), static_cast<State>(o))) {
        missing.push_back(dimensions[d].options[o]);
      }
    }
    if (missing.empty()) continue;
    left_out.push_back(absl::StrCat(dimensions[d].name, " ", absl::StrJoin(missing, ", ")));
  }
  return left_out;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const CompiledTable>> CompiledTable::Compile(
    LatencyTable table, std::shared_ptr<const Family> family) {
  FORALL_RETURN_IF_ERROR(CheckPositive(table));
  auto compiled = absl::WrapUnique(new CompiledTable(std::move(table), std::move(family)));
  FORALL_RETURN_IF_ERROR(compiled->CompileSpace());
  // The rows are positive: only the constant can take more than they give.
  if (!IsTime(compiled->least()) || !IsTime(compiled->most())) {
    return absl::InvalidArgumentError(
        absl::StrCat("correction.intercept: with ",
                     compiled->table_.correction.value_or(TableCorrection()).intercept_ms,
                     " ms networks would take from ", compiled->least(), " to ", compiled->most(),
                     " ms; build the table anew"));
  }
  const Architecture fastest = compiled->Fastest();
  compiled->ms_per_mac_ = compiled->least() / compiled->MacsOf(fastest);
  return std::shared_ptr<const CompiledTable>(std::move(compiled));
}

absl::Status CompiledTable::CompileSpace() {
  const SearchSpace& space = family_->search_space();
  // A family of other blocks is not a table with missing rows.
  FORALL_ASSIGN_OR_RETURN(const Network largest, family_->Describe(space.Largest()));
  FORALL_RETURN_IF_ERROR(TableKeys(largest).status());
  absl::StatusOr<CandidateSpace> usable =
      CandidateSpace::Usable(space, [this](const Architecture& a) { return Sum(a).status(); });
  if (!usable.ok()) return WhyNothingFits();
  space_ = *std::move(usable);
  FORALL_ASSIGN_OR_RETURN(
      FactoredCost cost,
      FactoredCost::Compile(*space_, [this](const Architecture& a) { return Sum(a); }));
  cost_ = std::move(cost);
  left_out_ = LeftOut(*space_);
  return absl::OkStatus();
}

// What the largest network lacks at a resolution that the table has.
absl::Status CompiledTable::WhyNothingFits() const {
  const SearchSpace& space = family_->search_space();
  Architecture largest = space.Largest();
  absl::Status why = Sum(largest).status();
  const std::optional<int> r = space.FindDimension("r");
  for (size_t o = 0; r.has_value() && o < space.dimensions()[*r].options.size(); ++o) {
    if (!table_.resolutions.contains(space.dimensions()[*r].options[o])) continue;
    largest.choices[*r] = static_cast<int32_t>(o);
    why = Sum(largest).status();
  }
  return absl::NotFoundError(absl::StrCat("no network of ", space.id(),
                                          " can be summed: ", why.message(),
                                          "; is it a table of another search space?"));
}

absl::StatusOr<double> CompiledTable::Sum(const Architecture& architecture) const {
  // Cheaper than to describe a network that has no rows.
  const SearchSpace& space = family_->search_space();
  if (const std::optional<int> r = space.FindDimension("r");
      r.has_value() && !table_.resolutions.contains(space.Value(architecture, *r))) {
    return absl::NotFoundError(
        absl::StrCat("the table has no rows for resolution ", space.Value(architecture, *r)));
  }
  FORALL_ASSIGN_OR_RETURN(const Network network, family_->Describe(architecture));
  return table_.Sum(network);
}

std::optional<double> CompiledTable::Of(const Architecture& architecture) const {
  std::vector<State> row(space_->width());
  if (!space_->ToRow(architecture, row.data()).ok()) return std::nullopt;
  return cost_->Evaluate(row.data());
}

double CompiledTable::MacsOf(const Architecture& architecture) const {
  const absl::StatusOr<Network> network = family_->Describe(architecture);
  return network.ok() ? static_cast<double>(CountCosts(*network).macs) : 0;
}

double CompiledTable::Estimate(const Architecture& architecture) const {
  if (const std::optional<double> known = Of(architecture); known.has_value()) return *known;
  return ms_per_mac_ * MacsOf(architecture);
}

}  // namespace forall
