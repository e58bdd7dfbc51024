// SPDX-License-Identifier: Apache-2.0
// The one rule by which images are held out of published training images.
#ifndef FORALL_DATA_HELD_OUT_H_
#define FORALL_DATA_HELD_OUT_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "data/dataset.h"

namespace forall {

// The split of every image, given its class: of each class the rounded `validation_share` goes to
// validation and the rounded `test_share` to the test split, in an order that `name` (the
// dataset's) seeds; the rest is for training.
std::vector<Split> HoldOut(absl::Span<const uint32_t> labels, int classes, double validation_share,
                           double test_share, absl::string_view name);

}  // namespace forall

#endif  // FORALL_DATA_HELD_OUT_H_
