// SPDX-License-Identifier: Apache-2.0
// From a published accuracy predictor's checkpoint to our file.
#ifndef FORALL_SUPERNET_PREDICTOR_PREDICTOR_IMPORT_H_
#define FORALL_SUPERNET_PREDICTOR_PREDICTOR_IMPORT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "space/family.h"
#include "supernet/predictor/accuracy_predictor.h"

namespace forall {

// The two orders in which the authors' code lists features (mit-han-lab/once-for-all).
enum class FeatureOrder {
  // ofa/tutorial/accuracy_predictor.py: kernels, expansions, then the resolution, one of 112, 128,
  // ..., 224.
  kKernelExpandResolution,
  // ofa/nas/accuracy_predictor/arch_encoder.py: the resolution, (ResNet: whether the stem is deep,
  // widths,) kernels, expansions.
  kResolutionKernelExpand,
};
// "kernel-expand-resolution", "resolution-kernel-expand"; InvalidArgument lists them.
absl::StatusOr<FeatureOrder> ParseFeatureOrder(absl::string_view text);

// The groups of features of `family` in that order. `resolutions` are those that the predictor
// knows; empty: as the order says, or the space's own. InvalidArgument for a family that the order
// was never published for.
absl::StatusOr<std::vector<FeatureGroup>> PublishedFeatures(
    const Family& family, FeatureOrder order, const std::vector<int32_t>& resolutions);

// Reads a PyTorch checkpoint (either format): linear layers in the order of the dict, each with or
// without a bias, and "base_acc", which the newer code adds to the output. The output is a share of
// one. InvalidArgument when the tensors are no such chain, or take another number of features than
// the order makes; otherwise as TorchCheckpoint::Open.
absl::StatusOr<PredictorFile> ImportPredictor(const std::string& path, const Family& family,
                                              FeatureOrder order,
                                              const std::vector<int32_t>& resolutions);

}  // namespace forall

#endif  // FORALL_SUPERNET_PREDICTOR_PREDICTOR_IMPORT_H_
