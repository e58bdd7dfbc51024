// SPDX-License-Identifier: Apache-2.0
// Seeded randomness whose stream is the same on every platform and compiler, so that a job can be
// repeated from (spec, seed, results). Nothing in forall draws from any other source.
#ifndef FORALL_BASE_RANDOM_H_
#define FORALL_BASE_RANDOM_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace forall {

// 64-bit FNV-1a of `text`.
uint64_t Fnv1a64(absl::string_view text);

// The output function of splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
// generators", OOPSLA 2014): a bijection that turns a counter into noise.
uint64_t SplitMix64(uint64_t z);

// splitmix64 over a counter. Thread-compatible; cheap to copy.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  // An independent stream, a pure function of (seed, stream).
  static Random ForStream(uint64_t seed, uint64_t stream) {
    return Random(SplitMix64(seed ^ SplitMix64(stream + 0x632be59bd9b4e019ull)));
  }

  uint64_t Next() { return SplitMix64(state_ += 0x9e3779b97f4a7c15ull); }
  // Uniform in [0, bound), without bias. bound must be positive.
  uint64_t Uniform(uint64_t bound);
  // Uniform in [0, 1).
  double Double() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }
  bool Bernoulli(double probability) { return Double() < probability; }
  // Standard normal, by Box-Muller.
  double Gaussian();

  template <typename T>
  void Shuffle(std::vector<T>* items) {
    for (size_t i = items->size(); i > 1; --i) std::swap((*items)[i - 1], (*items)[Uniform(i)]);
  }

 private:
  uint64_t state_;
};

}  // namespace forall

#endif  // FORALL_BASE_RANDOM_H_
