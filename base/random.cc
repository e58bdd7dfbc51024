// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"

#include <cmath>

namespace forall {

uint64_t Fnv1a64(absl::string_view text) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3ull;
  }
  return hash;
}

uint64_t SplitMix64(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

uint64_t Random::Uniform(uint64_t bound) {
  // Reject the few draws at the bottom that would favour small results.
  const uint64_t threshold = (0 - bound) % bound;
  while (true) {
    const uint64_t draw = Next();
    if (draw >= threshold) return draw % bound;
  }
}

double Random::Gaussian() {
  const double u = 1.0 - Double();  // (0, 1]
  const double v = Double();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
}

}  // namespace forall
