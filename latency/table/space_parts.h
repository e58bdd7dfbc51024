// SPDX-License-Identifier: Apache-2.0
// Everything that a lookup table of a search space has rows for, and where to find it.
#ifndef FORALL_LATENCY_TABLE_SPACE_PARTS_H_
#define FORALL_LATENCY_TABLE_SPACE_PARTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "space/family.h"

namespace forall {

// A layer or block that networks of a family have at one resolution.
struct SpacePart {
  std::string key;            // as TableKeys
  Architecture architecture;  // a network that has it
  int32_t part = 0;           // which of its keys, from 0 on, as TableKeys and PartsOf
};

// The family's resolutions, ascending; FailedPrecondition when it does not search one.
absl::StatusOr<std::vector<int32_t>> ResolutionsOf(const Family& family);

// All of them, each key once, sorted by key: exactly what networks of the family are made of at
// `resolution`. FailedPrecondition for a family that tables cannot describe, InvalidArgument for a
// resolution that it does not have.
absl::StatusOr<std::vector<SpacePart>> SpaceParts(const Family& family, int32_t resolution);

// The architecture with that resolution. InvalidArgument for one that the family does not have.
absl::StatusOr<Architecture> AtResolution(const Family& family, Architecture architecture,
                                          int32_t resolution);

}  // namespace forall

#endif  // FORALL_LATENCY_TABLE_SPACE_PARTS_H_
