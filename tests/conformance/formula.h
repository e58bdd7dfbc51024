// SPDX-License-Identifier: Apache-2.0
// The weights and images of the conformance oracles: not stored but a formula of the tensor's name,
// so that any implementation can rebuild them bit by bit.
#ifndef FORALL_TESTS_CONFORMANCE_FORMULA_H_
#define FORALL_TESTS_CONFORMANCE_FORMULA_H_

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/onnx_session.h"

namespace forall {

// Values of the supernet tensor `name`, row-major. With u(i) the stream of FormulaStream: identity
// + 0.05(2u-1) for kernel transforms, 0.2(2u-1) for running means and biases, 0.5+u for variances,
// 0.8+0.4u for BatchNorm scales, and uniform with the variance-preserving bound for the rest.
std::vector<float> FormulaWeights(const std::string& name, const std::vector<int64_t>& shape);

// Images [count, channels, size, size] called `name`: 2(2u-1).
Tensor FormulaImages(const std::string& name, int64_t count, int64_t channels, int64_t size);

}  // namespace forall

#endif  // FORALL_TESTS_CONFORMANCE_FORMULA_H_
