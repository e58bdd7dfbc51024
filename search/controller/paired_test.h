// SPDX-License-Identifier: Apache-2.0
// Whether one classifier is better than another on the same images: an exact paired test. It sees
// far smaller differences than two intervals side by side, since most images are easy or hard for
// both.
#ifndef FORALL_SEARCH_CONTROLLER_PAIRED_TEST_H_
#define FORALL_SEARCH_CONTROLLER_PAIRED_TEST_H_

#include <cstdint>

#include "absl/strings/string_view.h"

namespace forall {

// Images that only one of the two got right.
struct Discordance {
  int64_t only_first = 0;
  int64_t only_second = 0;
};
// Over the first `images` bits of two bitmaps, which hold at least so many.
Discordance CountDiscordance(absl::string_view first, absl::string_view second, int64_t images);

// McNemar's exact test, one-sided: the probability of seeing the second one ahead by at least this
// much if each image that divides them were a fair coin (McNemar, "Note on the sampling error of
// the difference between correlated proportions or percentages", Psychometrika 1947). 1 when no
// image divides them.
double SecondIsBetterPValue(const Discordance& discordance);

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_PAIRED_TEST_H_
