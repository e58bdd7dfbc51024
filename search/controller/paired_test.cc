// SPDX-License-Identifier: Apache-2.0
#include "search/controller/paired_test.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

namespace forall {

namespace {

// Of whole words of 64 images.
[[gnu::always_inline]] inline Discordance CountWordsBy(const char* first, const char* second,
                                                       size_t words) {
  Discordance discordance;
  for (size_t i = 0; i < words; ++i) {
    uint64_t a = 0;
    uint64_t b = 0;
    std::memcpy(&a, first + 8 * i, 8);
    std::memcpy(&b, second + 8 * i, 8);
    discordance.only_first += std::popcount(a & ~b);
    discordance.only_second += std::popcount(b & ~a);
  }
  return discordance;
}

Discordance CountWords(const char* first, const char* second, size_t words) {
  return CountWordsBy(first, second, words);
}

#ifdef __x86_64__
// Without the instruction a count is a call of the compiler's library.
__attribute__((target("popcnt"))) Discordance CountWordsPopcnt(const char* first,
                                                               const char* second, size_t words) {
  return CountWordsBy(first, second, words);
}

bool HasPopcnt() {
  static const bool has = __builtin_cpu_supports("popcnt");
  return has;
}
#endif

}  // namespace

Discordance CountDiscordance(absl::string_view first, absl::string_view second, int64_t images) {
  const size_t bytes = std::min({first.size(), second.size(), static_cast<size_t>(images + 7) / 8});
  const size_t words = std::min(bytes, static_cast<size_t>(images) / 8) / 8;
  auto count_words = CountWords;
#ifdef __x86_64__
  if (HasPopcnt()) count_words = CountWordsPopcnt;
#endif
  Discordance discordance = count_words(first.data(), second.data(), words);
  for (size_t i = 8 * words; i < bytes; ++i) {
    const int64_t left = images - static_cast<int64_t>(i) * 8;
    const unsigned mask = left >= 8 ? 0xffu : (1u << left) - 1;
    const unsigned a = static_cast<unsigned char>(first[i]) & mask;
    const unsigned b = static_cast<unsigned char>(second[i]) & mask;
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
  // Until what is added makes no difference any more.
  for (int64_t i = k; i >= 0 && sum + term != sum; --i) {
    sum += term;
    term *= static_cast<double>(i) / static_cast<double>(n - i + 1);
  }
  return std::min(1.0, sum);
}

}  // namespace forall
