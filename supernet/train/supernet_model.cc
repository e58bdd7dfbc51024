// SPDX-License-Identifier: Apache-2.0
#include "supernet/train/supernet_model.h"

#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/log.h"
#include "base/random.h"
#include "supernet/train/channel_groups.h"
#include "supernet/train/depthwise.h"

namespace forall {
namespace {

bool IsLearned(TensorRole role) {
  return role != TensorRole::kRunningMean && role != TensorRole::kRunningVariance &&
         role != TensorRole::kBatchCounter;
}

int64_t Elements(const std::vector<int64_t>& shape) {
  int64_t product = 1;
  for (const int64_t extent : shape) product *= extent;
  return product;
}

// The scale tensors of BatchNorm layers whose output is added to a shortcut.
std::vector<std::string> ResidualScales(const Network& network) {
  std::vector<std::string> names;
  for (const Layer& layer : network.layers) {
    if (layer.kind != LayerKind::kAdd || layer.inputs[0] < 0) continue;
    const Layer& branch = network.layers[layer.inputs[0]];
    if (branch.kind == LayerKind::kBatchNorm) names.push_back(branch.weights[0].tensor);
  }
  return names;
}

at::Tensor CropCentre(const at::Tensor& kernel, int to) {
  const int64_t begin = (kernel.size(2) - to) / 2;
  return kernel.narrow(2, begin, to).narrow(3, begin, to);
}

}  // namespace

// One walk over a network's layers.
class SupernetModel::ForwardPass {
 public:
  enum class Mode { kTrain, kTeach, kCalibrate, kEvaluate };

  ForwardPass(const SupernetModel& model, const Network& network, const at::Tensor& weights,
              Mode mode)
      : model_(model), network_(network), weights_(weights), mode_(mode) {
    uses_.assign(network.layers.size(), 0);
    for (const Layer& layer : network.layers) {
      for (const int input : layer.inputs) {
        if (input >= 0) ++uses_[input];
      }
    }
  }

  void set_dropout(double dropout) { dropout_ = dropout; }
  void set_statistics(const NetworkStatistics* statistics) { fixed_ = statistics; }
  NetworkStatistics TakeCollected() { return std::move(collected_); }
  std::vector<SupernetModel::Leaf> TakeLeaves() { return std::move(leaves_); }

  at::Tensor Run(const at::Tensor& images) {
    values_.resize(network_.layers.size());
    std::vector<int> left = uses_;
    for (size_t i = 0; i < network_.layers.size(); ++i) {
      const Layer& layer = network_.layers[i];
      const at::Tensor& x = layer.inputs[0] < 0 ? images : values_[layer.inputs[0]];
      values_[i] = Apply(static_cast<int>(i), layer, x);
      for (const int input : layer.inputs) {
        if (input >= 0 && --left[input] == 0) values_[input].reset();
      }
    }
    return values_.back().flatten(1);
  }

 private:
  at::Tensor Apply(int index, const Layer& layer, const at::Tensor& x) {
    switch (layer.kind) {
      case LayerKind::kConvolution:
        return Convolve(layer, x);
      case LayerKind::kBatchNorm:
        return Normalize(index, layer, x);
      case LayerKind::kActivation:
        return Activate(layer, x);
      case LayerKind::kGlobalAveragePool:
        return x.mean(at::IntArrayRef({2, 3}), /*keepdim=*/true);
      case LayerKind::kMaxPool:
        return at::max_pool2d(x, {layer.kernel, layer.kernel}, {layer.stride, layer.stride},
                              {layer.kernel / 2, layer.kernel / 2});
      case LayerKind::kAveragePool:
        return at::avg_pool2d(x, {layer.kernel, layer.kernel}, {layer.stride, layer.stride},
                              /*padding=*/{0, 0}, /*ceil_mode=*/true,
                              /*count_include_pad=*/false);
      case LayerKind::kMultiply:
        return x * values_[layer.inputs[1]];
      case LayerKind::kAdd:
        return x + (layer.inputs[1] < 0 ? x : values_[layer.inputs[1]]);
      case LayerKind::kLinear: {
        at::Tensor input = x.flatten(1);
        if (mode_ == Mode::kTrain && dropout_ > 0) input = at::dropout(input, dropout_, true);
        return at::linear(input, Weight(layer.weights[0]), Weight(layer.weights[1]));
      }
    }
    return x;
  }

  at::Tensor Convolve(const Layer& layer, const at::Tensor& x) {
    const at::Tensor kernel = Weight(layer.weights[0]);
    if (layer.groups > 1 && layer.groups == layer.in.channels && !layer.has_bias &&
        layer.out.channels == layer.in.channels) {
      return DepthwiseConvolution(x, kernel, layer.stride, model_.depthwise_);
    }
    const at::Tensor bias = layer.has_bias ? Weight(layer.weights[1]) : at::Tensor();
    const std::vector<int64_t> stride = {layer.stride, layer.stride};
    const std::vector<int64_t> padding = {layer.kernel / 2, layer.kernel / 2};
    const std::vector<int64_t> dilation = {1, 1};
    return at::conv2d(x, kernel, bias, at::IntArrayRef(stride), at::IntArrayRef(padding),
                      at::IntArrayRef(dilation), layer.groups);
  }

  at::Tensor Normalize(int index, const Layer& layer, const at::Tensor& x) {
    const at::Tensor scale = Weight(layer.weights[0]);
    const at::Tensor bias = Weight(layer.weights[1]);
    if (mode_ == Mode::kTrain || mode_ == Mode::kTeach) {
      return at::batch_norm(x, scale, bias, {}, {}, /*training=*/true, /*momentum=*/0.0,
                            layer.epsilon, /*cudnn_enabled=*/true);
    }
    LayerStatistics statistics;
    if (mode_ == Mode::kCalibrate) {
      std::tie(statistics.variance, statistics.mean) =
          at::var_mean(x, at::IntArrayRef({0, 2, 3}), /*unbiased=*/false, /*keepdim=*/false);
      collected_[index] = statistics;
    } else {
      statistics = fixed_->at(index);
    }
    return at::batch_norm(x, scale, bias, statistics.mean, statistics.variance, /*training=*/false,
                          /*momentum=*/0.0, layer.epsilon, /*cudnn_enabled=*/false);
  }

  at::Tensor Activate(const Layer& layer, at::Tensor x) {
    // BatchNorm's backward pass needs its input, not its output, which may be overwritten.
    const int input = layer.inputs[0];
    const bool in_place =
        input >= 0 && uses_[input] == 1 && network_.layers[input].kind == LayerKind::kBatchNorm;
    switch (layer.activation) {
      case Activation::kRelu:
        return in_place ? at::relu_(x) : at::relu(x);
      case Activation::kRelu6:
        return at::hardtanh(x, 0, 6);
      case Activation::kHSwish:
        return at::hardswish(x);
      case Activation::kHSigmoid:
        return at::hardsigmoid(x);
    }
    return x;
  }

  at::Tensor Weight(const WeightSlice& slice) {
    const auto place = model_.places_.find(slice.tensor);
    FORALL_CHECK(place != model_.places_.end()) << slice.tensor;
    int size = 0;
    if (!slice.transforms.empty()) size = slice.transforms.front().from_size;
    at::Tensor kernel = Slice(place->second, slice.shape, size);
    for (const KernelTransform& transform : slice.transforms) {
      const auto matrix_place = model_.places_.find(transform.matrix);
      FORALL_CHECK(matrix_place != model_.places_.end()) << transform.matrix;
      const Place& matrix = matrix_place->second;
      kernel = at::matmul(CropCentre(kernel, transform.to_size).flatten(1),
                          Slice(matrix, matrix.shape, 0).t())
                   .view({kernel.size(0), kernel.size(1), transform.to_size, transform.to_size});
    }
    return kernel;
  }

  // The first entries along every axis; the two kernel axes of a kernel that is still to be
  // transformed (`kernel_size` > 0) keep that size. In training the slice is a leaf of the graph,
  // so that no gradient of a whole tensor is made for it.
  at::Tensor Slice(const Place& place, const std::vector<int64_t>& shape, int kernel_size) {
    const auto cut = [&](const at::Tensor& flat) {
      at::Tensor tensor = model_.View(flat, place);
      for (size_t axis = 0; axis < shape.size(); ++axis) {
        const int64_t extent = axis >= 2 && kernel_size > 0 ? kernel_size : shape[axis];
        if (tensor.size(axis) != extent) tensor = tensor.narrow(axis, 0, extent);
      }
      return tensor;
    };
    at::Tensor slice = cut(weights_);
    if (mode_ == Mode::kTrain) {
      slice = slice.detach();
      slice.requires_grad_(true);
      leaves_.push_back({slice, cut(model_.gradients_)});
    }
    return slice;
  }

  const SupernetModel& model_;
  const Network& network_;
  const at::Tensor& weights_;
  const Mode mode_;
  double dropout_ = 0;
  const NetworkStatistics* fixed_ = nullptr;
  NetworkStatistics collected_;
  std::vector<int> uses_;
  std::vector<at::Tensor> values_;
  std::vector<SupernetModel::Leaf> leaves_;
};

SupernetModel::SupernetModel(std::shared_ptr<const Family> family, const TrainOptions& options,
                             at::Device device)
    : family_(std::move(family)), depthwise_(options.depthwise) {
  int64_t size = 0;
  for (const TensorSpec& tensor : family_->tensors()) {
    if (!IsLearned(tensor.role)) continue;
    places_[tensor.name] = {size, tensor.shape};
    size += Elements(tensor.shape);
  }
  weights_ = at::zeros({size}, at::kFloat);
  decays_ = at::zeros({size}, at::kFloat);
  Initialize(options);
  weights_ = weights_.to(device);
  decays_ = decays_.to(device);
  gradients_ = at::zeros_like(weights_);
}

void SupernetModel::Initialize(const TrainOptions& options) {
  for (const TensorSpec& tensor : family_->tensors()) {
    if (!IsLearned(tensor.role)) continue;
    const Place& place = places_.at(tensor.name);
    const int64_t size = Elements(place.shape);
    float* values = weights_.data_ptr<float>() + place.offset;
    if (tensor.role == TensorRole::kWeight) {
      Random random = Random::ForStream(options.seed, Fnv1a64(tensor.name));
      const double fan_in = static_cast<double>(size) / static_cast<double>(place.shape[0]);
      const double deviation = place.shape.size() == 4 ? std::sqrt(2.0 / fan_in) : 0.01;
      for (int64_t i = 0; i < size; ++i) {
        values[i] = static_cast<float>(deviation * random.Gaussian());
      }
      decays_.narrow(0, place.offset, size).fill_(1.0);
    } else if (tensor.role == TensorRole::kKernelTransform) {
      const int64_t side = place.shape[0];
      for (int64_t i = 0; i < side; ++i) values[i * side + i] = 1.0f;
    } else if (tensor.role == TensorRole::kBatchNormScale) {
      for (int64_t i = 0; i < size; ++i) values[i] = 1.0f;
    }
  }
  if (!options.zero_residual_scale) return;
  const auto largest = family_->Describe(family_->search_space().Largest());
  FORALL_CHECK(largest.ok()) << largest.status().message();
  for (const std::string& name : ResidualScales(*largest)) {
    const Place& place = places_.at(name);
    weights_.narrow(0, place.offset, Elements(place.shape)).zero_();
  }
}

at::Tensor SupernetModel::View(const at::Tensor& flat, const Place& place) const {
  return flat.narrow(0, place.offset, Elements(place.shape)).view(place.shape);
}

at::Tensor SupernetModel::TrainForward(const Network& network, const at::Tensor& images,
                                       double dropout) {
  ForwardPass pass(*this, network, weights_, ForwardPass::Mode::kTrain);
  pass.set_dropout(dropout);
  at::Tensor logits = pass.Run(images);
  leaves_ = pass.TakeLeaves();
  return logits;
}

void SupernetModel::Backward(const at::Tensor& loss) {
  loss.backward();
  c10::NoGradGuard no_grad;
  // Whole runs of memory go through one call; slices with gaps would slow it down for all.
  std::vector<at::Tensor> sums;
  std::vector<at::Tensor> terms;
  for (const Leaf& leaf : leaves_) {
    const at::Tensor& gradient = leaf.weight.grad();
    if (!gradient.defined()) continue;
    if (leaf.gradient.is_contiguous() && gradient.is_contiguous()) {
      sums.push_back(leaf.gradient);
      terms.push_back(gradient);
    } else {
      leaf.gradient.add_(gradient);
    }
  }
  if (!sums.empty()) at::_foreach_add_(sums, terms);
  leaves_.clear();
}

at::Tensor SupernetModel::TeacherForward(const Network& network, const at::Tensor& weights,
                                         const at::Tensor& images) const {
  c10::NoGradGuard no_grad;
  return ForwardPass(*this, network, weights, ForwardPass::Mode::kTeach).Run(images);
}

// For every place, the channel that goes there.
std::vector<int64_t> SupernetModel::OrderByImportance(const ChannelGroup& group, int64_t sorted,
                                                      const at::Tensor& flat) const {
  at::Tensor importance = at::zeros({group.channels}, at::kDouble);
  for (const ChannelGroup::Axis& consumer : group.consumers) {
    const at::Tensor matrix = View(flat, places_.at(consumer.tensor)).to(at::kDouble).to(at::kCPU);
    importance += matrix.abs().transpose(0, consumer.axis).flatten(1).sum(1);
  }
  const double* values = importance.data_ptr<double>();
  std::vector<int64_t> order(static_cast<size_t>(group.channels));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.begin() + sorted,
                   [values](int64_t a, int64_t b) { return values[a] > values[b]; });
  return order;
}

void SupernetModel::SortChannels(const Network& largest, const Network& within,
                                 const std::vector<at::Tensor>& flats) const {
  c10::NoGradGuard no_grad;
  const std::vector<ChannelGroup> groups = FreeChannelGroups(largest);
  const std::vector<ChannelGroup> narrower = FreeChannelGroups(within);
  FORALL_CHECK(groups.size() == narrower.size()) << "networks of different layers";
  for (size_t g = 0; g < groups.size(); ++g) {
    const std::vector<int64_t> order =
        OrderByImportance(groups[g], narrower[g].channels, flats.front());
    at::Tensor indices = at::empty({groups[g].channels}, at::kLong);
    std::copy(order.begin(), order.end(), indices.data_ptr<int64_t>());
    indices = indices.to(flats.front().device());
    for (const ChannelGroup::Axis& axis : groups[g].axes) {
      const auto place = places_.find(axis.tensor);
      if (place == places_.end()) continue;  // running statistics are not kept in training
      for (const at::Tensor& flat : flats) {
        const at::Tensor tensor = View(flat, place->second);
        tensor.copy_(tensor.index_select(axis.axis, indices));
      }
    }
  }
}

NetworkStatistics SupernetModel::CalibrationForward(const Network& network,
                                                    const at::Tensor& weights,
                                                    const at::Tensor& images) const {
  c10::NoGradGuard no_grad;
  ForwardPass pass(*this, network, weights, ForwardPass::Mode::kCalibrate);
  pass.Run(images);
  return pass.TakeCollected();
}

at::Tensor SupernetModel::EvaluationForward(const Network& network, const at::Tensor& weights,
                                            const at::Tensor& images,
                                            const NetworkStatistics& statistics) const {
  c10::NoGradGuard no_grad;
  ForwardPass pass(*this, network, weights, ForwardPass::Mode::kEvaluate);
  pass.set_statistics(&statistics);
  return pass.Run(images);
}

std::vector<NamedTensor> SupernetModel::Export(const at::Tensor& weights, const Network& largest,
                                               const NetworkStatistics& statistics) const {
  absl::flat_hash_map<std::string, at::Tensor> running;
  for (const auto& [index, layer] : statistics) {
    running[largest.layers[index].weights[2].tensor] = layer.mean;
    running[largest.layers[index].weights[3].tensor] = layer.variance;
  }
  const at::Tensor flat = weights.to(at::kCPU);
  std::vector<NamedTensor> tensors;
  for (const TensorSpec& spec : family_->tensors()) {
    if (spec.role == TensorRole::kBatchCounter) continue;
    at::Tensor values;
    if (IsLearned(spec.role)) {
      values = View(flat, places_.at(spec.name));
    } else if (const auto found = running.find(spec.name); found != running.end()) {
      values = found->second.to(at::kCPU);
    } else {
      // A BatchNorm that the largest subnet does not use keeps the untrained statistics.
      values = at::full(spec.shape, spec.role == TensorRole::kRunningVariance ? 1.0 : 0.0);
    }
    values = values.contiguous();
    const float* data = values.data_ptr<float>();
    tensors.push_back({spec.name, spec.shape, std::vector<float>(data, data + values.numel())});
  }
  return tensors;
}

}  // namespace forall
