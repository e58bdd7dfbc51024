// SPDX-License-Identifier: Apache-2.0
#include "supernet/onnx/model_bytes.h"

#include <limits>

#include "absl/status/status.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"

namespace forall {

absl::StatusOr<onnx::ModelProto> ParseOnnxModel(absl::string_view bytes) {
  onnx::ModelProto model;
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max()) ||
      !model.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::InvalidArgumentError("not an ONNX file");
  }
  return model;
}

absl::StatusOr<std::string> SerializeOnnxModel(const onnx::ModelProto& model) {
  const size_t size = model.ByteSizeLong();
  if (size > static_cast<size_t>(std::numeric_limits<int>::max())) {
    return absl::InvalidArgumentError("the model does not fit into one ONNX file (2 GiB)");
  }
  // At its full size from the start: a string that grows would copy the weights again and again.
  std::string bytes(size, '\0');
  google::protobuf::io::ArrayOutputStream stream(bytes.data(), static_cast<int>(size));
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  model.SerializeWithCachedSizes(&coded);
  if (coded.HadError()) return absl::InternalError("the model could not be serialized");
  return bytes;
}

}  // namespace forall
