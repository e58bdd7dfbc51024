// SPDX-License-Identifier: Apache-2.0
#include "supernet/testing/reference_network.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace forall::testing {
namespace {

// [images, channels, height, width].
struct Value {
  FeatureShape shape;
  std::vector<double> data;
  double& at(int64_t n, int64_t c, int64_t y, int64_t x) {
    return data[static_cast<size_t>(((n * shape.channels + c) * shape.height + y) * shape.width +
                                    x)];
  }
  double at(int64_t n, int64_t c, int64_t y, int64_t x) const {
    return const_cast<Value*>(this)->at(n, c, y, x);
  }
};

double Activate(Activation activation, double v) {
  switch (activation) {
    case Activation::kRelu:
      return std::max(v, 0.0);
    case Activation::kRelu6:
      return std::clamp(v, 0.0, 6.0);
    case Activation::kHSwish:
      return v * std::clamp(v + 3, 0.0, 6.0) / 6;
    case Activation::kHSigmoid:
      return std::clamp(v + 3, 0.0, 6.0) / 6;
  }
  return v;
}

using Weights = std::vector<std::vector<float>>;

double Convolve(const Layer& layer, const Weights& weights, const Value& in, int64_t n, int64_t o,
                int64_t y, int64_t x) {
  const int64_t group_in = layer.in.channels / layer.groups;
  const int64_t group_out = layer.out.channels / layer.groups;
  const int64_t first = o / group_out * group_in;
  double sum = layer.has_bias ? weights[1][static_cast<size_t>(o)] : 0.0;
  for (int64_t c = 0; c < group_in; ++c) {
    for (int64_t ky = 0; ky < layer.kernel; ++ky) {
      for (int64_t kx = 0; kx < layer.kernel; ++kx) {
        const int64_t iy = y * layer.stride + ky - layer.kernel / 2;
        const int64_t ix = x * layer.stride + kx - layer.kernel / 2;
        if (iy < 0 || ix < 0 || iy >= layer.in.height || ix >= layer.in.width) continue;
        const int64_t w = ((o * group_in + c) * layer.kernel + ky) * layer.kernel + kx;
        sum +=
            static_cast<double>(weights[0][static_cast<size_t>(w)]) * in.at(n, first + c, iy, ix);
      }
    }
  }
  return sum;
}

double Pool(const Layer& layer, const Value& in, int64_t n, int64_t c, int64_t y, int64_t x) {
  const bool max = layer.kind == LayerKind::kMaxPool;
  const int64_t pad = max ? layer.kernel / 2 : 0;
  double sum = 0;
  double largest = -1e300;
  int64_t count = 0;
  for (int64_t iy = y * layer.stride - pad; iy < y * layer.stride - pad + layer.kernel; ++iy) {
    for (int64_t ix = x * layer.stride - pad; ix < x * layer.stride - pad + layer.kernel; ++ix) {
      if (iy < 0 || ix < 0 || iy >= layer.in.height || ix >= layer.in.width) continue;
      sum += in.at(n, c, iy, ix);
      largest = std::max(largest, in.at(n, c, iy, ix));
      ++count;
    }
  }
  return max ? largest : sum / static_cast<double>(count);
}

class Runner {
 public:
  Runner(const Network& network, const SubnetWeights& weights, const Tensor& images,
         bool batch_statistics)
      : network_(network),
        weights_(weights),
        images_(images.shape[0]),
        training_(batch_statistics) {
    image_.shape = network.input;
    image_.data.assign(images.values.begin(), images.values.end());
  }

  ReferenceResult Run() {
    for (size_t i = 0; i < network_.layers.size(); ++i) RunLayer(i);
    result_.logits = values_.back().data;
    return result_;
  }

 private:
  const Value& Input(const Layer& layer, size_t which) const {
    const int index = layer.inputs[which];
    return index == kNetworkInput ? image_ : values_[static_cast<size_t>(index)];
  }

  template <typename Function>
  void ForEach(const Value& value, const Function& function) {
    for (int64_t n = 0; n < images_; ++n) {
      for (int64_t c = 0; c < value.shape.channels; ++c) {
        for (int64_t y = 0; y < value.shape.height; ++y) {
          for (int64_t x = 0; x < value.shape.width; ++x) function(n, c, y, x);
        }
      }
    }
  }

  void RunLayer(size_t index) {
    const Layer& layer = network_.layers[index];
    const Weights& weights = weights_.layers[index];
    const Value& in = Input(layer, 0);
    Value out;
    out.shape = layer.out;
    out.data.assign(static_cast<size_t>(images_ * layer.out.elements()), 0.0);
    std::vector<double> mean;
    std::vector<double> variance;
    if (layer.kind == LayerKind::kBatchNorm) Statistics(layer, weights, in, &mean, &variance);
    ForEach(out, [&](int64_t n, int64_t c, int64_t y, int64_t x) {
      double& v = out.at(n, c, y, x);
      const size_t channel = static_cast<size_t>(c);
      switch (layer.kind) {
        case LayerKind::kConvolution:
          v = Convolve(layer, weights, in, n, c, y, x);
          break;
        case LayerKind::kBatchNorm:
          v = (in.at(n, c, y, x) - mean[channel]) / std::sqrt(variance[channel] + layer.epsilon) *
                  static_cast<double>(weights[0][channel]) +
              static_cast<double>(weights[1][channel]);
          break;
        case LayerKind::kActivation:
          v = Activate(layer.activation, in.at(n, c, y, x));
          break;
        case LayerKind::kGlobalAveragePool:
          for (int64_t iy = 0; iy < layer.in.height; ++iy) {
            for (int64_t ix = 0; ix < layer.in.width; ++ix) v += in.at(n, c, iy, ix);
          }
          v /= static_cast<double>(layer.in.height * layer.in.width);
          break;
        case LayerKind::kMaxPool:
        case LayerKind::kAveragePool:
          v = Pool(layer, in, n, c, y, x);
          break;
        case LayerKind::kMultiply:
          v = in.at(n, c, y, x) * Input(layer, 1).at(n, c, 0, 0);
          break;
        case LayerKind::kAdd:
          v = in.at(n, c, y, x) + Input(layer, 1).at(n, c, y, x);
          break;
        case LayerKind::kLinear:
          v = static_cast<double>(weights[1][channel]);
          for (int64_t i = 0; i < layer.in.channels; ++i) {
            v += static_cast<double>(weights[0][static_cast<size_t>(c * layer.in.channels + i)]) *
                 in.at(n, i, 0, 0);
          }
          break;
      }
    });
    values_.push_back(std::move(out));
  }

  void Statistics(const Layer& layer, const Weights& weights, const Value& in,
                  std::vector<double>* mean, std::vector<double>* variance) {
    const size_t channels = static_cast<size_t>(layer.in.channels);
    const double count = static_cast<double>(images_ * layer.in.height * layer.in.width);
    mean->assign(channels, 0.0);
    variance->assign(channels, 0.0);
    ForEach(in, [&](int64_t n, int64_t c, int64_t y, int64_t x) {
      (*mean)[static_cast<size_t>(c)] += in.at(n, c, y, x) / count;
    });
    ForEach(in, [&](int64_t n, int64_t c, int64_t y, int64_t x) {
      const double difference = in.at(n, c, y, x) - (*mean)[static_cast<size_t>(c)];
      (*variance)[static_cast<size_t>(c)] += difference * difference / count;
    });
    result_.batch_mean.push_back(*mean);
    result_.batch_variance.push_back(*variance);
    if (training_) return;
    mean->assign(weights[2].begin(), weights[2].end());
    variance->assign(weights[3].begin(), weights[3].end());
  }

  const Network& network_;
  const SubnetWeights& weights_;
  const int64_t images_;
  const bool training_;
  Value image_;
  std::vector<Value> values_;
  ReferenceResult result_;
};

}  // namespace

ReferenceResult RunReference(const Network& network, const SubnetWeights& weights,
                             const Tensor& images, bool batch_statistics) {
  return Runner(network, weights, images, batch_statistics).Run();
}

}  // namespace forall::testing
