// SPDX-License-Identifier: Apache-2.0
#include "supernet/train/subnet_accuracy.h"

#include <algorithm>

namespace forall {
namespace {

// A GPU wants large batches; on a CPU the allocator gives the large buffers of large batches back
// to the system after every layer, which takes longer than the layer.
int64_t EvaluationBatch(at::Device device) { return device.is_cuda() ? 1000 : 100; }

}  // namespace

NetworkStatistics Calibrate(const SupernetModel& model, const at::Tensor& weights,
                            const Network& network, const DeviceImages& train,
                            const at::Tensor& indices, int batch) {
  const int resolution = static_cast<int>(network.input.height);
  NetworkStatistics total;
  for (int64_t begin = 0; begin < indices.size(0); begin += batch) {
    const int64_t count = std::min<int64_t>(batch, indices.size(0) - begin);
    const double share = static_cast<double>(count) / static_cast<double>(indices.size(0));
    const at::Tensor images = train.Finish(train.Take(indices.narrow(0, begin, count)), resolution);
    for (const auto& [layer, statistics] : model.CalibrationForward(network, weights, images)) {
      const auto [entry, first] = total.try_emplace(layer);
      if (first) {
        entry->second = {statistics.mean * share, statistics.variance * share};
      } else {
        entry->second.mean.add_(statistics.mean, share);
        entry->second.variance.add_(statistics.variance, share);
      }
    }
  }
  return total;
}

double Accuracy(const SupernetModel& model, const at::Tensor& weights, const Network& network,
                const NetworkStatistics& statistics, const DeviceImages& images) {
  const int resolution = static_cast<int>(network.input.height);
  const at::Tensor all = at::arange(images.size(), images.labels().options());
  const int64_t batch = EvaluationBatch(images.device());
  at::Tensor right = at::zeros({}, images.labels().options());
  for (int64_t begin = 0; begin < images.size(); begin += batch) {
    const int64_t count = std::min(batch, images.size() - begin);
    const at::Tensor indices = all.narrow(0, begin, count);
    const at::Tensor logits = model.EvaluationForward(
        network, weights, images.Finish(images.Take(indices), resolution), statistics);
    right += (logits.argmax(1) == images.labels().narrow(0, begin, count)).sum();
  }
  return static_cast<double>(right.item<int64_t>()) / static_cast<double>(images.size());
}

}  // namespace forall
