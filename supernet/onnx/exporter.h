// SPDX-License-Identifier: Apache-2.0
// A network description and its weights as an ONNX model: opset 17, IR version 8, float32.
//
// Input "image" [batch, channels, height, width] (NCHW), output "logits" [batch, classes], or for
// a part of a network whose last layer is no linear one [batch, channels, height, width]. Nodes and
// values carry their layers' names, initializers "<layer>.<weight|bias|...>". Equal inputs give
// equal bytes. It is the only place that knows ONNX protobufs, together with calibration's graph.
#ifndef FORALL_SUPERNET_ONNX_EXPORTER_H_
#define FORALL_SUPERNET_ONNX_EXPORTER_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "space/network.h"
#include "supernet/package.h"
#include "supernet/subnet_weights.h"

namespace forall {

inline constexpr char kOnnxInputName[] = "image";
inline constexpr char kOnnxOutputName[] = "logits";

enum class BatchNormForm {
  // Multiplied into the convolution before it, in double: what is deployed. A BatchNorm without
  // such a convolution stays a node.
  kFolded,
  // Inference nodes with the given statistics.
  kNodes,
  // Training-mode nodes: each normalises with its own batch's mean and biased variance, and these
  // become outputs "<layer>.batch_mean" and "<layer>.batch_variance", in order of layers, after
  // "logits". For calibration.
  kBatchStatistics,
};

struct OnnxExportOptions {
  BatchNormForm batch_norm = BatchNormForm::kFolded;
  // Images per call; 0 leaves the extent open, under the name "batch".
  int64_t batch = 0;
  // The model's metadata_props, in this order.
  std::vector<std::pair<std::string, std::string>> metadata;
};

// The bytes of the ONNX file. InvalidArgument when `weights` is not of `network` or a layer has a
// shape that ONNX cannot express.
absl::StatusOr<std::string> BuildOnnxModel(const Network& network, const SubnetWeights& weights,
                                           const OnnxExportOptions& options);

// The same with the supernet's own slices and statistics, cut while the file is written, so that
// memory holds the file alone. InvalidArgument also as SliceWeight.
absl::StatusOr<std::string> BuildOnnxModel(const Network& network, const Supernet& supernet,
                                           const OnnxExportOptions& options);

// The ONNX project's own checker, with full shape inference. InvalidArgument with its words.
absl::Status CheckOnnxModel(absl::string_view model);

}  // namespace forall

#endif  // FORALL_SUPERNET_ONNX_EXPORTER_H_
