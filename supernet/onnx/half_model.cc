// SPDX-License-Identifier: Apache-2.0
#include "supernet/onnx/half_model.h"

#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "onnx/onnx_pb.h"
#include "supernet/half.h"
#include "supernet/onnx/model_bytes.h"

namespace forall {
namespace {

constexpr uint16_t kHalfInfinity = 0x7c00;  // this exponent with a mantissa is a NaN

absl::Status ToHalf(onnx::TensorProto* tensor) {
  uint64_t elements = 1;
  for (const int64_t extent : tensor->dims()) elements *= static_cast<uint64_t>(extent);
  if (tensor->data_type() != onnx::TensorProto::FLOAT ||
      tensor->raw_data().size() != elements * sizeof(float)) {
    return absl::InvalidArgumentError(
        absl::StrCat(tensor->name(), ": only float32 tensors with raw data become float16"));
  }
  const std::string& raw = tensor->raw_data();
  std::string half(raw.size() / 2, '\0');
  for (size_t i = 0; i < raw.size() / sizeof(float); ++i) {
    float value;
    std::memcpy(&value, raw.data() + i * sizeof(value), sizeof(value));
    const uint16_t bits = FloatToHalf(value);
    if ((bits & kHalfInfinity) == kHalfInfinity) {
      return absl::InvalidArgumentError(absl::StrCat(tensor->name(), "[", i, "]: ", value,
                                                     " is beyond 65504, the largest float16"));
    }
    std::memcpy(half.data() + i * sizeof(bits), &bits, sizeof(bits));
  }
  tensor->set_data_type(onnx::TensorProto::FLOAT16);
  tensor->set_raw_data(std::move(half));
  return absl::OkStatus();
}

onnx::NodeProto Cast(const std::string& input, const std::string& output,
                     onnx::TensorProto::DataType to) {
  onnx::NodeProto node;
  node.set_op_type("Cast");
  node.set_name(absl::StrCat(output, ".cast"));
  node.add_input(input);
  node.add_output(output);
  onnx::AttributeProto* attribute = node.add_attribute();
  attribute->set_name("to");
  attribute->set_type(onnx::AttributeProto::INT);
  attribute->set_i(to);
  return node;
}

void Rename(google::protobuf::RepeatedPtrField<std::string>* names, const std::string& from,
            const std::string& to) {
  for (std::string& name : *names) {
    if (name == from) name = to;
  }
}

// Casts at both ends; what lies between reads and writes the inner names.
void CastEnds(onnx::GraphProto* graph) {
  const std::string input = graph->input(0).name();
  const std::string output = graph->output(0).name();
  const std::string inner_input = absl::StrCat(input, ".half");
  const std::string inner_output = absl::StrCat(output, ".half");
  google::protobuf::RepeatedPtrField<onnx::NodeProto> nodes;
  nodes.Add(Cast(input, inner_input, onnx::TensorProto::FLOAT16));
  for (onnx::NodeProto& node : *graph->mutable_node()) {
    Rename(node.mutable_input(), input, inner_input);
    Rename(node.mutable_output(), output, inner_output);
    nodes.Add(std::move(node));
  }
  nodes.Add(Cast(inner_output, output, onnx::TensorProto::FLOAT));
  graph->mutable_node()->Swap(&nodes);
}

}  // namespace

absl::StatusOr<std::string> ToHalfModel(absl::string_view bytes) {
  FORALL_ASSIGN_OR_RETURN(onnx::ModelProto model, ParseOnnxModel(bytes));
  onnx::GraphProto* graph = model.mutable_graph();
  if (graph->input_size() != 1 || graph->output_size() != 1) {
    return absl::InvalidArgumentError("a model of one input and one output is needed");
  }
  if (graph->input(0).type().tensor_type().elem_type() != onnx::TensorProto::FLOAT ||
      graph->output(0).type().tensor_type().elem_type() != onnx::TensorProto::FLOAT) {
    return absl::InvalidArgumentError("input and output must be float32");
  }
  for (onnx::TensorProto& tensor : *graph->mutable_initializer()) {
    FORALL_RETURN_IF_ERROR(ToHalf(&tensor));
  }
  CastEnds(graph);
  for (onnx::StringStringEntryProto& property : *model.mutable_metadata_props()) {
    if (property.key() == kMetadataRecipe) property.set_value("fp16");
  }
  return SerializeOnnxModel(model);
}

}  // namespace forall
