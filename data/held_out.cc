// SPDX-License-Identifier: Apache-2.0
#include "data/held_out.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/random.h"

namespace forall {

std::vector<Split> HoldOut(absl::Span<const uint32_t> labels, int classes, double validation_share,
                           double test_share, absl::string_view name) {
  std::vector<std::vector<size_t>> by_class(static_cast<size_t>(classes));
  for (size_t i = 0; i < labels.size(); ++i) by_class[labels[i]].push_back(i);
  std::vector<Split> splits(labels.size(), Split::kTrain);
  for (size_t c = 0; c < by_class.size(); ++c) {
    Random::ForStream(Fnv1a64(absl::StrCat("forall split ", name)), c).Shuffle(&by_class[c]);
    const double images = static_cast<double>(by_class[c].size());
    const auto validation = static_cast<size_t>(std::llround(validation_share * images));
    const auto test = static_cast<size_t>(std::llround(test_share * images));
    for (size_t i = 0; i < validation + test && i < by_class[c].size(); ++i) {
      splits[by_class[c][i]] = i < validation ? Split::kValidation : Split::kTest;
    }
  }
  return splits;
}

}  // namespace forall
