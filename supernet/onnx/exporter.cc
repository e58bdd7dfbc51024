// SPDX-License-Identifier: Apache-2.0
#include "supernet/onnx/exporter.h"

#include <cmath>
#include <cstring>
#include <exception>
#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/status_macros.h"
#include "onnx/checker.h"
#include "onnx/onnx_pb.h"
#include "onnx/shape_inference/implementation.h"
#include "supernet/onnx/model_bytes.h"

namespace forall {
namespace {

constexpr int64_t kOpset = 17;
constexpr int64_t kIrVersion = 8;

class GraphBuilder {
 public:
  GraphBuilder(const Network& network, const SubnetWeights& weights,
               const OnnxExportOptions& options, onnx::GraphProto* graph)
      : network_(network), weights_(weights), options_(options), graph_(graph) {
    for (const Layer& layer : network.layers) values_.push_back(layer.name);
    if (!values_.empty()) values_.back() = kOnnxOutputName;
    folded_into_.assign(network.layers.size(), -1);
    if (options.batch_norm == BatchNormForm::kFolded) FindFoldable();
  }

  absl::Status Build() {
    if (network_.layers.empty()) return absl::InvalidArgumentError("the network has no layers");
    FORALL_RETURN_IF_ERROR(CheckWeights());
    AddValueInfo(graph_->add_input(), kOnnxInputName,
                 {network_.input.channels, network_.input.height, network_.input.width});
    AddValueInfo(graph_->add_output(), kOnnxOutputName, {network_.classes});
    for (size_t i = 0; i < network_.layers.size(); ++i) {
      FORALL_RETURN_IF_ERROR(WithContext(AddLayer(static_cast<int>(i)), network_.layers[i].name));
    }
    return absl::OkStatus();
  }

 private:
  const Layer& layer(int index) const { return network_.layers[static_cast<size_t>(index)]; }
  const std::vector<std::vector<float>>& weights(int index) const {
    return weights_.layers[static_cast<size_t>(index)];
  }
  const std::string& ValueName(int index) const {
    static const std::string image = kOnnxInputName;
    return index == kNetworkInput ? image : values_[static_cast<size_t>(index)];
  }

  // A BatchNorm folds into a convolution that nobody else reads.
  void FindFoldable() {
    std::vector<int> readers(network_.layers.size(), 0);
    for (const Layer& reader : network_.layers) {
      for (const int input : reader.inputs) {
        if (input != kNetworkInput) ++readers[static_cast<size_t>(input)];
      }
    }
    for (size_t i = 0; i < network_.layers.size(); ++i) {
      const Layer& norm = network_.layers[i];
      if (norm.kind != LayerKind::kBatchNorm || norm.inputs[0] == kNetworkInput) continue;
      const size_t producer = static_cast<size_t>(norm.inputs[0]);
      if (network_.layers[producer].kind != LayerKind::kConvolution || readers[producer] != 1)
        continue;
      folded_into_[producer] = static_cast<int>(i);
      values_[producer] = values_[i];
    }
  }

  absl::Status CheckWeights() const {
    if (weights_.layers.size() != network_.layers.size()) {
      return absl::InvalidArgumentError("weights of another network");
    }
    for (size_t i = 0; i < network_.layers.size(); ++i) {
      const std::vector<WeightSlice>& slices = network_.layers[i].weights;
      bool fits = weights_.layers[i].size() == slices.size();
      for (size_t j = 0; fits && j < slices.size(); ++j) {
        fits = static_cast<int64_t>(weights_.layers[i][j].size()) == slices[j].elements();
      }
      if (!fits) {
        return absl::InvalidArgumentError(
            absl::StrCat(network_.layers[i].name, ": weights of another size"));
      }
    }
    return absl::OkStatus();
  }

  void AddValueInfo(onnx::ValueInfoProto* info, const std::string& name,
                    const std::vector<int64_t>& extents) {
    info->set_name(name);
    auto* tensor = info->mutable_type()->mutable_tensor_type();
    tensor->set_elem_type(onnx::TensorProto::FLOAT);
    auto* batch = tensor->mutable_shape()->add_dim();
    if (options_.batch > 0) {
      batch->set_dim_value(options_.batch);
    } else {
      batch->set_dim_param("batch");
    }
    for (const int64_t extent : extents) tensor->mutable_shape()->add_dim()->set_dim_value(extent);
  }

  // Returns the initializer's name.
  std::string AddInitializer(const std::string& name, const std::vector<int64_t>& shape,
                             absl::Span<const float> values) {
    std::memcpy(NewInitializer(name, shape, values.size()), values.data(),
                values.size() * sizeof(float));
    return name;
  }

  // Room for the values of an initializer, to be filled.
  char* NewInitializer(const std::string& name, const std::vector<int64_t>& shape, size_t values) {
    onnx::TensorProto* tensor = graph_->add_initializer();
    tensor->set_name(name);
    tensor->set_data_type(onnx::TensorProto::FLOAT);
    for (const int64_t extent : shape) tensor->add_dims(extent);
    // raw_data is little-endian by definition; so are the machines that forall is built for.
    std::string* raw = tensor->mutable_raw_data();
    raw->resize(values * sizeof(float));
    return raw->data();
  }

  onnx::NodeProto* AddNode(const char* op, const std::string& name,
                           std::initializer_list<std::string> inputs, const std::string& output) {
    onnx::NodeProto* node = graph_->add_node();
    node->set_op_type(op);
    node->set_name(name);
    for (const std::string& input : inputs) node->add_input(input);
    node->add_output(output);
    return node;
  }

  static onnx::AttributeProto* Attribute(onnx::NodeProto* node, const char* name,
                                         onnx::AttributeProto::AttributeType type) {
    onnx::AttributeProto* attribute = node->add_attribute();
    attribute->set_name(name);
    attribute->set_type(type);
    return attribute;
  }
  static void SetInt(onnx::NodeProto* node, const char* name, int64_t value) {
    Attribute(node, name, onnx::AttributeProto::INT)->set_i(value);
  }
  static void SetFloat(onnx::NodeProto* node, const char* name, float value) {
    Attribute(node, name, onnx::AttributeProto::FLOAT)->set_f(value);
  }
  static void SetInts(onnx::NodeProto* node, const char* name,
                      std::initializer_list<int64_t> values) {
    onnx::AttributeProto* attribute = Attribute(node, name, onnx::AttributeProto::INTS);
    for (const int64_t value : values) attribute->add_ints(value);
  }

  absl::Status AddLayer(int index) {
    switch (layer(index).kind) {
      case LayerKind::kConvolution:
        return AddConvolution(index);
      case LayerKind::kBatchNorm:
        return AddBatchNorm(index);
      case LayerKind::kActivation:
        return AddActivation(index);
      case LayerKind::kGlobalAveragePool:
        AddNode("GlobalAveragePool", layer(index).name, {InputOf(index, 0)}, ValueName(index));
        return absl::OkStatus();
      case LayerKind::kMaxPool:
      case LayerKind::kAveragePool:
        AddPool(index);
        return absl::OkStatus();
      case LayerKind::kMultiply:
        AddNode("Mul", layer(index).name, {InputOf(index, 0), InputOf(index, 1)}, ValueName(index));
        return absl::OkStatus();
      case LayerKind::kAdd:
        AddNode("Add", layer(index).name, {InputOf(index, 0), InputOf(index, 1)}, ValueName(index));
        return absl::OkStatus();
      case LayerKind::kLinear:
        return AddLinear(index);
    }
    return absl::InvalidArgumentError("a layer of unknown kind");
  }

  const std::string& InputOf(int index, size_t which) const {
    return ValueName(layer(index).inputs[which]);
  }

  absl::Status AddConvolution(int index) {
    const Layer& conv = layer(index);
    const std::vector<float>& kernel = weights(index)[0];
    std::vector<float> bias = conv.has_bias ? weights(index)[1] : std::vector<float>();
    const int norm = folded_into_[static_cast<size_t>(index)];
    const std::string kernel_name = conv.name + ".weight";
    char* const raw = NewInitializer(kernel_name, conv.weights[0].shape, kernel.size());
    if (norm >= 0) {
      Fold(norm, kernel, raw, &bias);
    } else {
      std::memcpy(raw, kernel.data(), kernel.size() * sizeof(float));
    }
    onnx::NodeProto* node =
        AddNode("Conv", conv.name, {InputOf(index, 0), kernel_name}, ValueName(index));
    if (!bias.empty()) {
      node->add_input(AddInitializer(conv.name + ".bias", {conv.out.channels}, bias));
    }
    const int64_t pad = conv.kernel / 2;
    SetInts(node, "dilations", {1, 1});
    SetInt(node, "group", conv.groups);
    SetInts(node, "kernel_shape", {conv.kernel, conv.kernel});
    SetInts(node, "pads", {pad, pad, pad, pad});
    SetInts(node, "strides", {conv.stride, conv.stride});
    return absl::OkStatus();
  }

  // y = scale * (conv - mean) / sqrt(variance + epsilon) + shift, as one convolution. The kernel's
  // values go to `raw`, which need not be aligned.
  void Fold(int norm, const std::vector<float>& kernel, char* raw, std::vector<float>* bias) const {
    const std::vector<std::vector<float>>& parameters = weights(norm);
    const size_t channels = parameters[0].size();
    const size_t filter = kernel.size() / channels;
    bias->resize(channels, 0.0f);
    std::vector<float> scaled(filter);
    for (size_t c = 0; c < channels; ++c) {
      const double factor = static_cast<double>(parameters[0][c]) /
                            std::sqrt(static_cast<double>(parameters[3][c]) + layer(norm).epsilon);
      const float* values = kernel.data() + c * filter;
      for (size_t i = 0; i < filter; ++i) {
        scaled[i] = static_cast<float>(static_cast<double>(values[i]) * factor);
      }
      std::memcpy(raw + c * filter * sizeof(float), scaled.data(), filter * sizeof(float));
      const double centred =
          static_cast<double>((*bias)[c]) - static_cast<double>(parameters[2][c]);
      (*bias)[c] = static_cast<float>(centred * factor + static_cast<double>(parameters[1][c]));
    }
  }

  absl::Status AddBatchNorm(int index) {
    const Layer& norm = layer(index);
    const int producer = norm.inputs[0];
    if (producer != kNetworkInput && folded_into_[static_cast<size_t>(producer)] == index) {
      return absl::OkStatus();
    }
    const std::vector<int64_t> shape = {norm.in.channels};
    const std::vector<std::vector<float>>& values = weights(index);
    onnx::NodeProto* node =
        AddNode("BatchNormalization", norm.name,
                {InputOf(index, 0), AddInitializer(norm.name + ".weight", shape, values[0]),
                 AddInitializer(norm.name + ".bias", shape, values[1]),
                 AddInitializer(norm.name + ".running_mean", shape, values[2]),
                 AddInitializer(norm.name + ".running_var", shape, values[3])},
                ValueName(index));
    SetFloat(node, "epsilon", static_cast<float>(norm.epsilon));
    if (options_.batch_norm != BatchNormForm::kBatchStatistics) return absl::OkStatus();
    // With momentum 0 the "running" outputs are this batch's own statistics.
    SetFloat(node, "momentum", 0.0f);
    SetInt(node, "training_mode", 1);
    for (const char* suffix : {".batch_mean", ".batch_variance"}) {
      node->add_output(norm.name + suffix);
      onnx::ValueInfoProto* info = graph_->add_output();
      info->set_name(norm.name + suffix);
      auto* tensor = info->mutable_type()->mutable_tensor_type();
      tensor->set_elem_type(onnx::TensorProto::FLOAT);
      tensor->mutable_shape()->add_dim()->set_dim_value(norm.in.channels);
    }
    return absl::OkStatus();
  }

  absl::Status AddActivation(int index) {
    const Layer& activation = layer(index);
    switch (activation.activation) {
      case Activation::kRelu:
        AddNode("Relu", activation.name, {InputOf(index, 0)}, ValueName(index));
        return absl::OkStatus();
      case Activation::kRelu6: {
        const std::string low = AddInitializer(activation.name + ".min", {}, {0.0f});
        const std::string high = AddInitializer(activation.name + ".max", {}, {6.0f});
        AddNode("Clip", activation.name, {InputOf(index, 0), low, high}, ValueName(index));
        return absl::OkStatus();
      }
      case Activation::kHSwish:
        AddNode("HardSwish", activation.name, {InputOf(index, 0)}, ValueName(index));
        return absl::OkStatus();
      case Activation::kHSigmoid: {
        onnx::NodeProto* node =
            AddNode("HardSigmoid", activation.name, {InputOf(index, 0)}, ValueName(index));
        SetFloat(node, "alpha", 1.0f / 6.0f);
        SetFloat(node, "beta", 0.5f);
        return absl::OkStatus();
      }
    }
    return absl::InvalidArgumentError("an unknown activation");
  }

  void AddPool(int index) {
    const Layer& pool = layer(index);
    const bool max = pool.kind == LayerKind::kMaxPool;
    onnx::NodeProto* node =
        AddNode(max ? "MaxPool" : "AveragePool", pool.name, {InputOf(index, 0)}, ValueName(index));
    // A partial last window of an average pool averages what lies inside.
    SetInt(node, "ceil_mode", max ? 0 : 1);
    SetInts(node, "kernel_shape", {pool.kernel, pool.kernel});
    const int64_t pad = max ? pool.kernel / 2 : 0;
    SetInts(node, "pads", {pad, pad, pad, pad});
    SetInts(node, "strides", {pool.stride, pool.stride});
  }

  absl::Status AddLinear(int index) {
    const Layer& linear = layer(index);
    if (linear.in.height != 1 || linear.in.width != 1) {
      return absl::InvalidArgumentError("a linear layer needs a 1 x 1 input");
    }
    const std::string flat = linear.name + ".flatten";
    SetInt(AddNode("Flatten", flat, {InputOf(index, 0)}, flat), "axis", 1);
    const std::string matrix =
        AddInitializer(linear.name + ".weight", linear.weights[0].shape, weights(index)[0]);
    onnx::NodeProto* node = AddNode("Gemm", linear.name, {flat, matrix}, ValueName(index));
    if (linear.has_bias) {
      node->add_input(
          AddInitializer(linear.name + ".bias", linear.weights[1].shape, weights(index)[1]));
    }
    SetInt(node, "transB", 1);
    return absl::OkStatus();
  }

  const Network& network_;
  const SubnetWeights& weights_;
  const OnnxExportOptions& options_;
  onnx::GraphProto* graph_;
  std::vector<std::string> values_;  // name of each layer's output value
  std::vector<int> folded_into_;     // of a convolution: the BatchNorm that it takes in, or -1
};

}  // namespace

absl::StatusOr<std::string> BuildOnnxModel(const Network& network, const SubnetWeights& weights,
                                           const OnnxExportOptions& options) {
  onnx::ModelProto model;
  model.set_ir_version(kIrVersion);
  model.set_producer_name("forall");
  onnx::OperatorSetIdProto* opset = model.add_opset_import();
  opset->set_domain("");
  opset->set_version(kOpset);
  model.mutable_graph()->set_name("forall");
  GraphBuilder builder(network, weights, options, model.mutable_graph());
  FORALL_RETURN_IF_ERROR(builder.Build());
  for (const auto& [key, value] : options.metadata) {
    onnx::StringStringEntryProto* property = model.add_metadata_props();
    property->set_key(key);
    property->set_value(value);
  }
  return SerializeOnnxModel(model);
}

absl::Status CheckOnnxModel(absl::string_view bytes) {
  FORALL_ASSIGN_OR_RETURN(onnx::ModelProto model, ParseOnnxModel(bytes));
  // The checker reports by exceptions; they end here.
  try {
    onnx::checker::check_model(model);
    onnx::shape_inference::InferShapes(model, onnx::OpSchemaRegistry::Instance(),
                                       onnx::ShapeInferenceOptions{true, 1, false});
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("ONNX checker: ", error.what()));
  }
  return absl::OkStatus();
}

}  // namespace forall
