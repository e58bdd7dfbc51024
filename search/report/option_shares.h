// SPDX-License-Identifier: Apache-2.0
// How often each option of a search space is chosen by given architectures, and how often it would
// be by chance.
#ifndef FORALL_SEARCH_REPORT_OPTION_SHARES_H_
#define FORALL_SEARCH_REPORT_OPTION_SHARES_H_

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "space/search_space.h"

namespace forall {

struct OptionShare {
  std::string option;
  double chosen = 0;   // of all choices in the group that are active; the shares add up to 1
  double uniform = 0;  // the same, expected of SearchSpace::Sample
};

// Dimensions whose names begin with the same letters ("k1.1", "k3.4"), taken together.
struct OptionGroup {
  std::string letters;  // "k"; the whole name when it begins with no letter
  int dimensions = 0;
  // Ascending. By value where all dimensions of the group have the same options, otherwise by
  // place: "smallest", "2nd", ..., "largest" (with at most two options only the ends).
  std::vector<OptionShare> options;
};

// In the order of the space's dimensions; groups in which there is nothing to choose are left out,
// and so are architectures that are not valid. Empty without valid ones. The expectation is exact:
// what makes a dimension active is drawn as independently as all else.
std::vector<OptionGroup> OptionShares(const SearchSpace& space,
                                      absl::Span<const Architecture> architectures);

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_OPTION_SHARES_H_
