// SPDX-License-Identifier: Apache-2.0
#include "supernet/onnx/exporter.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <functional>
#include <initializer_list>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/huge_pages.h"
#include "base/status_macros.h"
#include "onnx/checker.h"
#include "onnx/onnx_pb.h"
#include "onnx/shape_inference/implementation.h"
#include "supernet/onnx/model_bytes.h"

namespace forall {
namespace {

constexpr int64_t kOpset = 17;
constexpr int64_t kIrVersion = 8;

// Puts the values of a layer's weight, row-major, into memory that is used again.
using WeightReader =
    std::function<absl::Status(size_t layer, size_t weight, std::vector<float>* values)>;

// An initializer whose values are made when it is written, into the file itself: a model is most of
// a subnet's memory, and every copy of it costs page faults.
struct LateTensor {
  onnx::TensorProto header;  // all but raw_data
  size_t values = 0;
  std::function<absl::Status(std::vector<float>* values)> make;
};

class GraphBuilder {
 public:
  GraphBuilder(const Network& network, WeightReader read, const OnnxExportOptions& options,
               onnx::GraphProto* graph)
      : network_(network), read_(std::move(read)), options_(options), graph_(graph) {
    for (const Layer& layer : network.layers) values_.push_back(layer.name);
    if (!values_.empty()) values_.back() = kOnnxOutputName;
    folded_into_.assign(network.layers.size(), -1);
    if (options.batch_norm == BatchNormForm::kFolded) FindFoldable();
  }

  absl::Status Build() {
    if (network_.layers.empty()) return absl::InvalidArgumentError("the network has no layers");
    AddValueInfo(graph_->add_input(), kOnnxInputName,
                 {network_.input.channels, network_.input.height, network_.input.width});
    const Layer& last = network_.layers.back();
    if (last.kind == LayerKind::kLinear) {
      AddValueInfo(graph_->add_output(), kOnnxOutputName, {network_.classes});
    } else {
      AddValueInfo(graph_->add_output(), kOnnxOutputName,
                   {last.out.channels, last.out.height, last.out.width});
    }
    for (size_t i = 0; i < network_.layers.size(); ++i) {
      FORALL_RETURN_IF_ERROR(WithContext(AddLayer(static_cast<int>(i)), network_.layers[i].name));
    }
    return absl::OkStatus();
  }

  // Valid as long as this object: their values are read through it.
  const std::vector<LateTensor>& tensors() const { return tensors_; }

 private:
  const Layer& layer(int index) const { return network_.layers[static_cast<size_t>(index)]; }
  // All of a layer's weight; an error when it has another size than described.
  absl::Status Read(int index, size_t weight, std::vector<float>* values) const {
    FORALL_RETURN_IF_ERROR(read_(static_cast<size_t>(index), weight, values));
    if (static_cast<int64_t>(values->size()) != layer(index).weights[weight].elements()) {
      return absl::InvalidArgumentError(
          absl::StrCat(layer(index).name, ": weights of another size"));
    }
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<float>> Read(int index, size_t weight) const {
    std::vector<float> values;
    FORALL_RETURN_IF_ERROR(Read(index, weight, &values));
    return values;
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
                             size_t values, std::function<absl::Status(std::vector<float>*)> make) {
    LateTensor& tensor = tensors_.emplace_back();
    tensor.header.set_name(name);
    tensor.header.set_data_type(onnx::TensorProto::FLOAT);
    for (const int64_t extent : shape) tensor.header.add_dims(extent);
    tensor.values = values;
    tensor.make = std::move(make);
    return name;
  }
  // A weight of the layer as it is.
  std::string AddWeight(const std::string& name, int index, size_t weight) {
    const WeightSlice& slice = layer(index).weights[weight];
    return AddInitializer(
        name, slice.shape, static_cast<size_t>(slice.elements()),
        [this, index, weight](std::vector<float>* values) { return Read(index, weight, values); });
  }
  std::string AddScalar(const std::string& name, float value) {
    return AddInitializer(name, {}, 1, [value](std::vector<float>* values) {
      values->assign(1, value);
      return absl::OkStatus();
    });
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
    const int norm = folded_into_[static_cast<size_t>(index)];
    const std::string kernel = conv.name + ".weight";
    const std::string bias = conv.name + ".bias";
    if (norm >= 0) {
      const WeightSlice& slice = conv.weights[0];
      AddInitializer(kernel, slice.shape, static_cast<size_t>(slice.elements()),
                     [this, index, norm](std::vector<float>* values) {
                       return FoldedKernel(index, norm, values);
                     });
    } else {
      AddWeight(kernel, index, 0);
    }
    onnx::NodeProto* node =
        AddNode("Conv", conv.name, {InputOf(index, 0), kernel}, ValueName(index));
    if (norm >= 0) {
      node->add_input(AddInitializer(bias, {conv.out.channels},
                                     static_cast<size_t>(conv.out.channels),
                                     [this, index, norm](std::vector<float>* values) {
                                       return FoldedBias(index, norm, values);
                                     }));
    } else if (conv.has_bias) {
      node->add_input(AddWeight(bias, index, 1));
    }
    const int64_t pad = conv.kernel / 2;
    SetInts(node, "dilations", {1, 1});
    SetInt(node, "group", conv.groups);
    SetInts(node, "kernel_shape", {conv.kernel, conv.kernel});
    SetInts(node, "pads", {pad, pad, pad, pad});
    SetInts(node, "strides", {conv.stride, conv.stride});
    return absl::OkStatus();
  }

  // y = scale * (conv - mean) / sqrt(variance + epsilon) + shift, as one convolution: by what the
  // filters are multiplied.
  absl::StatusOr<std::vector<double>> Factors(int norm) const {
    FORALL_ASSIGN_OR_RETURN(const std::vector<float> scale, Read(norm, 0));
    FORALL_ASSIGN_OR_RETURN(const std::vector<float> variance, Read(norm, 3));
    std::vector<double> factors(scale.size());
    for (size_t c = 0; c < factors.size(); ++c) {
      factors[c] = static_cast<double>(scale[c]) /
                   std::sqrt(static_cast<double>(variance[c]) + layer(norm).epsilon);
    }
    return factors;
  }
  absl::Status FoldedKernel(int index, int norm, std::vector<float>* kernel) const {
    FORALL_ASSIGN_OR_RETURN(const std::vector<double> factors, Factors(norm));
    FORALL_RETURN_IF_ERROR(Read(index, 0, kernel));
    const size_t filter = kernel->size() / factors.size();
    for (size_t c = 0; c < factors.size(); ++c) {
      float* const values = kernel->data() + c * filter;
      for (size_t i = 0; i < filter; ++i) {
        values[i] = static_cast<float>(static_cast<double>(values[i]) * factors[c]);
      }
    }
    return absl::OkStatus();
  }
  absl::Status FoldedBias(int index, int norm, std::vector<float>* bias) const {
    FORALL_ASSIGN_OR_RETURN(const std::vector<double> factors, Factors(norm));
    FORALL_ASSIGN_OR_RETURN(const std::vector<float> shift, Read(norm, 1));
    FORALL_ASSIGN_OR_RETURN(const std::vector<float> mean, Read(norm, 2));
    bias->assign(factors.size(), 0.0f);
    if (layer(index).has_bias) FORALL_RETURN_IF_ERROR(Read(index, 1, bias));
    for (size_t c = 0; c < bias->size(); ++c) {
      const double centred = static_cast<double>((*bias)[c]) - static_cast<double>(mean[c]);
      (*bias)[c] = static_cast<float>(centred * factors[c] + static_cast<double>(shift[c]));
    }
    return absl::OkStatus();
  }

  absl::Status AddBatchNorm(int index) {
    const Layer& norm = layer(index);
    const int producer = norm.inputs[0];
    if (producer != kNetworkInput && folded_into_[static_cast<size_t>(producer)] == index) {
      return absl::OkStatus();
    }
    onnx::NodeProto* node = AddNode(
        "BatchNormalization", norm.name,
        {InputOf(index, 0), AddWeight(norm.name + ".weight", index, 0),
         AddWeight(norm.name + ".bias", index, 1), AddWeight(norm.name + ".running_mean", index, 2),
         AddWeight(norm.name + ".running_var", index, 3)},
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
        const std::string low = AddScalar(activation.name + ".min", 0.0f);
        const std::string high = AddScalar(activation.name + ".max", 6.0f);
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
    const std::string matrix = AddWeight(linear.name + ".weight", index, 0);
    onnx::NodeProto* node = AddNode("Gemm", linear.name, {flat, matrix}, ValueName(index));
    if (linear.has_bias) {
      node->add_input(AddWeight(linear.name + ".bias", index, 1));
    }
    SetInt(node, "transB", 1);
    return absl::OkStatus();
  }

  const Network& network_;
  const WeightReader read_;
  const OnnxExportOptions& options_;
  onnx::GraphProto* graph_;
  std::vector<std::string> values_;  // name of each layer's output value
  std::vector<int> folded_into_;     // of a convolution: the BatchNorm that it takes in, or -1
  std::vector<LateTensor> tensors_;
};

// Of protobuf's wire format: fields of type "length-delimited" and their lengths.
constexpr int kGraphTag = 7 << 3 | 2;        // ModelProto.graph
constexpr int kInitializerTag = 5 << 3 | 2;  // GraphProto.initializer
constexpr int kRawDataTag = 9 << 3 | 2;      // TensorProto.raw_data

void AppendLength(char tag, uint64_t length, std::string* bytes) {
  bytes->push_back(tag);
  for (; length >= 0x80; length >>= 7) bytes->push_back(static_cast<char>(length | 0x80));
  bytes->push_back(static_cast<char>(length));
}

// The file, field by field in the order of their numbers, as protobuf itself would write it; but
// values go straight from their maker into its one buffer.
absl::StatusOr<std::string> Assemble(const onnx::ModelProto& before_graph,
                                     const onnx::GraphProto& before_tensors,
                                     const std::vector<LateTensor>& tensors,
                                     const onnx::GraphProto& after_tensors,
                                     const onnx::ModelProto& after_graph) {
  const std::string graph_head = before_tensors.SerializeAsString();
  const std::string graph_tail = after_tensors.SerializeAsString();
  std::vector<std::string> heads;
  size_t largest = 0;
  size_t size = graph_head.size() + graph_tail.size();
  for (const LateTensor& tensor : tensors) {
    std::string head = tensor.header.SerializeAsString();
    AppendLength(kRawDataTag, tensor.values * sizeof(float), &head);
    std::string framed;
    AppendLength(kInitializerTag, head.size() + tensor.values * sizeof(float), &framed);
    framed += head;
    size += framed.size() + tensor.values * sizeof(float);
    largest = std::max(largest, tensor.values);
    heads.push_back(std::move(framed));
  }
  std::string bytes = before_graph.SerializeAsString();
  AppendLength(kGraphTag, size, &bytes);
  const std::string tail = after_graph.SerializeAsString();
  if (bytes.size() + size + tail.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    return absl::InvalidArgumentError("the model does not fit into one ONNX file (2 GiB)");
  }
  bytes.reserve(bytes.size() + size + tail.size());
  PreferHugePages(bytes.data(), bytes.capacity());
  bytes += graph_head;
  std::vector<float> values;
  values.reserve(largest);
  PreferHugePages(values.data(), largest * sizeof(float));
  for (size_t i = 0; i < tensors.size(); ++i) {
    bytes += heads[i];
    FORALL_RETURN_IF_ERROR(tensors[i].make(&values));
    if (values.size() != tensors[i].values) {
      return absl::InvalidArgumentError(
          absl::StrCat(tensors[i].header.name(), ": weights of another size"));
    }
    // raw_data is little-endian by definition; so are the machines that forall is built for.
    bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  }
  bytes += graph_tail;
  bytes += tail;
  return bytes;
}

absl::StatusOr<std::string> BuildModel(const Network& network, WeightReader read,
                                       const OnnxExportOptions& options) {
  onnx::GraphProto graph;
  GraphBuilder builder(network, std::move(read), options, &graph);
  FORALL_RETURN_IF_ERROR(builder.Build());
  onnx::ModelProto before_graph;
  before_graph.set_ir_version(kIrVersion);
  before_graph.set_producer_name("forall");
  onnx::GraphProto before_tensors;
  before_tensors.mutable_node()->Swap(graph.mutable_node());
  before_tensors.set_name("forall");
  onnx::ModelProto after_graph;
  onnx::OperatorSetIdProto* opset = after_graph.add_opset_import();
  opset->set_domain("");
  opset->set_version(kOpset);
  for (const auto& [key, value] : options.metadata) {
    onnx::StringStringEntryProto* property = after_graph.add_metadata_props();
    property->set_key(key);
    property->set_value(value);
  }
  return Assemble(before_graph, before_tensors, builder.tensors(), graph, after_graph);
}

}  // namespace

absl::StatusOr<std::string> BuildOnnxModel(const Network& network, const SubnetWeights& weights,
                                           const OnnxExportOptions& options) {
  bool fits = weights.layers.size() == network.layers.size();
  for (size_t i = 0; fits && i < network.layers.size(); ++i) {
    fits = weights.layers[i].size() == network.layers[i].weights.size();
  }
  if (!fits) return absl::InvalidArgumentError("weights of another network");
  return BuildModel(
      network,
      [&](size_t layer, size_t weight, std::vector<float>* values) {
        const std::vector<float>& given = weights.layers[layer][weight];
        values->assign(given.begin(), given.end());
        return absl::OkStatus();
      },
      options);
}

absl::StatusOr<std::string> BuildOnnxModel(const Network& network, const Supernet& supernet,
                                           const OnnxExportOptions& options) {
  return BuildModel(
      network,
      [&](size_t layer, size_t weight, std::vector<float>* values) {
        return SliceWeight(supernet, network.layers[layer].weights[weight], values);
      },
      options);
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
