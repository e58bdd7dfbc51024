// SPDX-License-Identifier: Apache-2.0
#include "search/controller/paired_test.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace forall {

Discordance CountDiscordance(absl::string_view first, absl::string_view second) {
  Discordance discordance;
  for (size_t i = 0; i < std::min(first.size(), second.size()); ++i) {
    const unsigned a = static_cast<unsigned char>(first[i]);
    const unsigned b = static_cast<unsigned char>(second[i]);
    discordance.only_first += std::popcount(a & ~b);
    discordance.only_second += std::popcount(b & ~a);
  }
  return discordance;
}

double SecondIsBetterPValue(const Discordance& discordance) {
  const int64_t n = discordance.only_first + discordance.only_second;
  // P(X <= k) for X ~ Binomial(n, 1/2). Beyond the middle the other tail is the one that can be
  // summed from its largest term downwards: P(X <= k) = 1 - P(X <= n - k - 1).
  const int64_t k = discordance.only_first;
  if (n == 0 || k == n) return 1;
  if (2 * k > n) return 1 - SecondIsBetterPValue({n - k - 1, k + 1});
  const double count = static_cast<double>(n);
  const double at = static_cast<double>(k);
  double term = std::exp(std::lgamma(count + 1) - std::lgamma(at + 1) -
                         std::lgamma(count - at + 1) - count * std::log(2.0));
  double sum = 0;
  for (int64_t i = k; i >= 0 && term > 0; --i) {
    sum += term;
    term *= static_cast<double>(i) / static_cast<double>(n - i + 1);
  }
  return std::min(1.0, sum);
}

}  // namespace forall
