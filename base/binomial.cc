// SPDX-License-Identifier: Apache-2.0
#include "base/binomial.h"

#include <algorithm>
#include <cmath>

namespace forall {

double BinomialProbability(int64_t hits, int64_t trials, double share) {
  const double n = static_cast<double>(trials);
  const double k = static_cast<double>(hits);
  return std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) +
                  k * std::log(share) + (n - k) * std::log1p(-share));
}

double BinomialAtMost(int64_t hits, int64_t trials, double share) {
  if (hits < 0) return 0;
  if (hits >= trials) return 1;
  double sum = 0;
  for (int64_t i = 0; i <= hits; ++i) sum += BinomialProbability(i, trials, share);
  return std::min(1.0, sum);
}

int64_t FewestSamplesForPercentile(double percentile) {
  const double beyond = std::min(percentile, 100 - percentile) / 100;
  int64_t n = 2;
  while (BinomialAtMost(1, n, beyond) > 0.01) ++n;
  return n;
}

bool CoverageIsFarBelow95(int64_t hits, int64_t trials) {
  return BinomialAtMost(hits, trials, 0.95) < 0.001;
}

}  // namespace forall
