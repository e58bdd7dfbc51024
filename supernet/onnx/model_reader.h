// SPDX-License-Identifier: Apache-2.0
// Reading an exported file back: what it says of itself, and the calibrated weights inside.
#ifndef FORALL_SUPERNET_ONNX_MODEL_READER_H_
#define FORALL_SUPERNET_ONNX_MODEL_READER_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "space/network.h"
#include "supernet/subnet_weights.h"

namespace forall {

// The file's metadata_props (supernet/export.h names their keys). InvalidArgument when the bytes
// are no ONNX file.
absl::StatusOr<std::map<std::string, std::string>> ReadOnnxMetadata(absl::string_view model);

// Puts the BatchNorm statistics that `model` was calibrated to into `weights`, the supernet's
// slices for `network` (ExtractWeights). Folding multiplied scale / sqrt(variance + epsilon) into
// the kernel and left bias + (0 - mean) times that factor: both are solved for, in double, from the
// kernel's largest value, so that folding them again gives the file's values to within float32's
// rounding. A channel whose scale or kernel is zero, of which a folded file does not tell the
// variance, keeps the supernet's.
//
// `model` is a float32 file of BuildOnnxModel, folded or not. InvalidArgument when it is none, or
// of another subnet or supernet: a tensor is missing, has another size, or is no multiple of the
// slice.
absl::Status RecoverCalibration(absl::string_view model, const Network& network,
                                SubnetWeights* weights);

}  // namespace forall

#endif  // FORALL_SUPERNET_ONNX_MODEL_READER_H_
