// SPDX-License-Identifier: Apache-2.0
// The fixed network that every latency of a device is taken against: the smallest subnet of the
// built-in fashion_mnist family at resolution 28. Its weights are a formula, so that it needs no
// supernet and one build gives the same bytes, hence the same SHA-256, on every run.
#ifndef FORALL_EVALUATOR_WORKER_REFERENCE_NETWORK_H_
#define FORALL_EVALUATOR_WORKER_REFERENCE_NETWORK_H_

#include <string>

#include "absl/status/statusor.h"
#include "space/family.h"
#include "space/network.h"
#include "space/search_space.h"

namespace forall {

struct ReferenceNetwork {
  std::string onnx;
  std::string sha256;
  // Another network of the family, about twice as slow: calibrations measure it, because what makes
  // two networks' ratio differ from one process to the next cancels in a network against itself.
  std::string calibration_onnx;
};

// Weights are u = uniform [0, 1) draws of splitmix64, one stream per tensor name: kernels and
// matrices (2u - 1) * sqrt(6 / fan_in), so that activations neither vanish nor overflow and are
// timed like a trained network's; BatchNorm scale 0.8 + 0.4u, variance 0.5 + u, the rest
// 0.2 * (2u - 1). BatchNorm is folded in double; a compiler that fuses multiply-add (aarch64's
// default) may give other last bits, so compare hashes within one device only.
absl::StatusOr<ReferenceNetwork> BuildReferenceNetwork();

// The same formula for any architecture: a network to time or to exercise, not one that predicts.
// InvalidArgument as Family::Describe.
absl::StatusOr<std::string> BuildFormulaSubnet(const Family& family,
                                               const Architecture& architecture);

// The same for a network or a part of one (space/network_blocks.h).
absl::StatusOr<std::string> BuildFormulaModel(const Network& network);

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_REFERENCE_NETWORK_H_
