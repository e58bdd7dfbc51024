// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/formula.h"

#include <cmath>

#include "absl/strings/match.h"
#include "base/random.h"

namespace forall {
namespace {

// u(name, 0), u(name, 1), ...: 24 bits of splitmix64 over a counter that starts at the name's hash.
class FormulaStream {
 public:
  explicit FormulaStream(const std::string& name) : random_(Fnv1a64(name)) {}
  double Next() { return static_cast<double>(random_.Next() >> 40) * 0x1.0p-24; }
  double NextSigned() { return 2 * Next() - 1; }

 private:
  Random random_;
};

}  // namespace

std::vector<float> FormulaWeights(const std::string& name, const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  int64_t fan_in = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    elements *= shape[i];
    if (i > 0) fan_in *= shape[i];
  }
  FormulaStream stream(name);
  std::vector<float> values;
  values.reserve(static_cast<size_t>(elements));
  const bool matrix = absl::EndsWith(name, "_matrix");
  const bool variance = absl::EndsWith(name, "running_var");
  const bool centred = absl::EndsWith(name, "running_mean") || absl::EndsWith(name, ".bias");
  const double bound = std::sqrt((shape.size() == 4 ? 6.0 : 3.0) / static_cast<double>(fan_in));
  for (int64_t i = 0; i < elements; ++i) {
    double value = 0;
    if (matrix) {
      value = (i / shape[0] == i % shape[0] ? 1.0 : 0.0) + 0.05 * stream.NextSigned();
    } else if (variance) {
      value = 0.5 + stream.Next();
    } else if (centred) {
      value = 0.2 * stream.NextSigned();
    } else if (shape.size() == 1) {
      value = 0.8 + 0.4 * stream.Next();
    } else {
      value = stream.NextSigned() * bound;
    }
    values.push_back(static_cast<float>(value));
  }
  return values;
}

Tensor FormulaImages(const std::string& name, int64_t count, int64_t channels, int64_t size) {
  Tensor images;
  images.shape = {count, channels, size, size};
  FormulaStream stream(name);
  for (int64_t i = 0; i < count * channels * size * size; ++i) {
    images.values.push_back(static_cast<float>(2 * stream.NextSigned()));
  }
  return images;
}

}  // namespace forall
