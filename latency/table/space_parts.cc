// SPDX-License-Identifier: Apache-2.0
#include "latency/table/space_parts.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "latency/table/latency_table.h"

namespace forall {

absl::StatusOr<std::vector<int32_t>> ResolutionsOf(const Family& family) {
  const SearchSpace& space = family.search_space();
  const std::optional<int> r = space.FindDimension("r");
  if (r.has_value()) return space.dimensions()[*r].options;
  return absl::FailedPreconditionError(
      absl::StrCat(space.id(), " has no dimension \"r\", the resolution that tables are for"));
}

absl::StatusOr<Architecture> AtResolution(const Family& family, Architecture architecture,
                                          int32_t resolution) {
  FORALL_ASSIGN_OR_RETURN(const std::vector<int32_t> resolutions, ResolutionsOf(family));
  const auto option = std::find(resolutions.begin(), resolutions.end(), resolution);
  if (option == resolutions.end()) {
    return absl::InvalidArgumentError(absl::StrCat("resolution ", resolution, ": ",
                                                   family.search_space().id(), " has ",
                                                   absl::StrJoin(resolutions, ", ")));
  }
  architecture.choices[*family.search_space().FindDimension("r")] =
      static_cast<int32_t>(option - resolutions.begin());
  return architecture;
}

absl::StatusOr<std::vector<SpacePart>> SpaceParts(const Family& family, int32_t resolution) {
  const SearchSpace& space = family.search_space();
  FORALL_ASSIGN_OR_RETURN(const Architecture base,
                          AtResolution(family, space.Largest(), resolution));
  std::map<std::string, SpacePart> parts;
  // A block's key depends on its own kernel and expansion and on where it stands, which no other
  // choice moves: every pair of them, all blocks at once, with all blocks there.
  const std::vector<Dimension>& dimensions = space.dimensions();
  size_t kernels = 1;
  size_t expansions = 1;
  for (const Dimension& dimension : dimensions) {
    if (absl::StartsWith(dimension.name, "k")) {
      kernels = std::max(kernels, dimension.options.size());
    } else if (absl::StartsWith(dimension.name, "e")) {
      expansions = std::max(expansions, dimension.options.size());
    }
  }
  for (size_t k = 0; k < kernels; ++k) {
    for (size_t e = 0; e < expansions; ++e) {
      Architecture architecture = base;
      for (size_t i = 0; i < dimensions.size(); ++i) {
        const size_t options = dimensions[i].options.size();
        if (absl::StartsWith(dimensions[i].name, "k")) {
          architecture.choices[i] = static_cast<int32_t>(std::min(k, options - 1));
        } else if (absl::StartsWith(dimensions[i].name, "e")) {
          architecture.choices[i] = static_cast<int32_t>(std::min(e, options - 1));
        }
      }
      FORALL_ASSIGN_OR_RETURN(const Network network, family.Describe(architecture));
      FORALL_ASSIGN_OR_RETURN(const std::vector<std::string> keys, TableKeys(network));
      for (size_t i = 0; i < keys.size(); ++i) {
        parts.try_emplace(keys[i], SpacePart{keys[i], architecture, static_cast<int32_t>(i)});
      }
    }
  }
  std::vector<SpacePart> sorted;
  for (auto& [key, part] : parts) sorted.push_back(std::move(part));
  return sorted;
}

}  // namespace forall
