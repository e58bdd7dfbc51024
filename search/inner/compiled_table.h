// SPDX-License-Identifier: Apache-2.0
// A latency lookup table compiled for a family: what a subnet takes by it, corrected where the
// table has a correction, in about a microsecond, and exactly what the fastest and the slowest one
// take.
#ifndef FORALL_SEARCH_INNER_COMPILED_TABLE_H_
#define FORALL_SEARCH_INNER_COMPILED_TABLE_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "latency/table/latency_table.h"
#include "search/inner/candidates.h"
#include "search/inner/factored_cost.h"
#include "space/family.h"

namespace forall {

// Immutable; thread-safe.
class CompiledTable {
 public:
  // Options of the space that the table does not know at all, such as a resolution, are left out.
  // NotFound, naming missing rows, when no network can be summed, or when the table has holes: some
  // networks of the options that it knows cannot be. FailedPrecondition for a family that such
  // tables cannot describe; InvalidArgument for a row that is not positive, measured or corrected,
  // and for a correction by which some network would take no time.
  static absl::StatusOr<std::shared_ptr<const CompiledTable>> Compile(
      LatencyTable table, std::shared_ptr<const Family> family);

  CompiledTable(const CompiledTable&) = delete;
  CompiledTable& operator=(const CompiledTable&) = delete;

  const TableConditions& conditions() const { return table_.conditions; }
  // Of a table that forall measured.
  const std::optional<TableValidation>& validation() const { return table_.validation; }
  // LatencyTable::Sum to the last digits; nullopt for a network with an option that was left out.
  std::optional<double> Of(const Architecture& architecture) const;

  // Exactly, over all networks that can be summed; in ms.
  double least() const { return cost_->cheapest().value; }
  double most() const { return cost_->dearest().value; }
  Architecture Fastest() const { return space_->ToArchitecture(cost_->cheapest().row.data()); }

  // "r 112, 128" for each dimension with options that are left out; none when every network of the
  // family can be summed.
  const std::vector<std::string>& left_out() const { return left_out_; }
  // For every network of the family: the table's latency, or where it has none, as much of its
  // fastest network's as there are multiply-accumulates of that one's. In ms.
  double Estimate(const Architecture& architecture) const;

 private:
  CompiledTable(LatencyTable table, std::shared_ptr<const Family> family)
      : table_(std::move(table)), family_(std::move(family)) {}
  absl::StatusOr<double> Sum(const Architecture& architecture) const;
  absl::Status CompileSpace();
  absl::Status WhyNothingFits() const;
  double MacsOf(const Architecture& architecture) const;

  LatencyTable table_;
  std::shared_ptr<const Family> family_;
  std::optional<CandidateSpace> space_;
  std::optional<FactoredCost> cost_;
  std::vector<std::string> left_out_;
  double ms_per_mac_ = 0;
};

}  // namespace forall

#endif  // FORALL_SEARCH_INNER_COMPILED_TABLE_H_
