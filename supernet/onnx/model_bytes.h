// SPDX-License-Identifier: Apache-2.0
// Between an ONNX file's bytes and its protobuf. Private to this room: no other includes it.
#ifndef FORALL_SUPERNET_ONNX_MODEL_BYTES_H_
#define FORALL_SUPERNET_ONNX_MODEL_BYTES_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "onnx/onnx_pb.h"

namespace forall {

// InvalidArgument when the bytes are no ONNX file.
absl::StatusOr<onnx::ModelProto> ParseOnnxModel(absl::string_view bytes);

// Equal models give equal bytes. InvalidArgument when they do not fit into one file (2 GiB).
absl::StatusOr<std::string> SerializeOnnxModel(const onnx::ModelProto& model);

}  // namespace forall

#endif  // FORALL_SUPERNET_ONNX_MODEL_BYTES_H_
