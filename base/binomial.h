// SPDX-License-Identifier: Apache-2.0
// Probabilities of a binomial distribution, and its lower tail.
#ifndef FORALL_BASE_BINOMIAL_H_
#define FORALL_BASE_BINOMIAL_H_

#include <cstdint>

namespace forall {

// P(X = hits) of `trials` independent ones that each succeed with probability `share`, 0 < share <
// 1, 0 <= hits <= trials. By logarithms, so that many trials do not underflow early.
double BinomialProbability(int64_t hits, int64_t trials, double share);

// P(X <= hits) the same. 1 for hits >= trials, 0 for negative hits.
double BinomialAtMost(int64_t hits, int64_t trials, double share);

// Fewest samples for which a percentile in (0, 100) is worth reporting: with 99 % probability at
// least two lie beyond it, on the side where there are fewer. 64 for the 90th, 662 for the 99th.
int64_t FewestSamplesForPercentile(double percentile);

// Whether so few hits of intervals that claim 95 % come about less than once in a thousand times.
bool CoverageIsFarBelow95(int64_t hits, int64_t trials);

}  // namespace forall

#endif  // FORALL_BASE_BINOMIAL_H_
