// SPDX-License-Identifier: Apache-2.0
#include "supernet/train/device_images.h"

#include <ATen/Context.h>

#include <mutex>

#include "data/resize.h"

namespace forall {

DeviceImages::DeviceImages(const Dataset& dataset, at::Device device) {
  const StoredPixels stored = dataset.stored_pixels().value();
  const int64_t side = stored.side;
  pixels_ = at::empty({dataset.size(), dataset.channels(), side, side}, at::kByte);
  std::copy_n(stored.bytes.data(), stored.bytes.size(), pixels_.data_ptr<uint8_t>());
  pixels_ = pixels_.to(device);
  labels_ = at::empty({dataset.size()}, at::kLong);
  for (int64_t i = 0; i < dataset.size(); ++i) labels_.data_ptr<int64_t>()[i] = dataset.label(i);
  labels_ = labels_.to(device);
  const PixelNormalization& normalization = dataset.normalization();
  mean_ = at::empty({1, dataset.channels(), 1, 1}, at::kFloat);
  stddev_ = at::empty_like(mean_);
  for (int c = 0; c < dataset.channels(); ++c) {
    mean_.data_ptr<float>()[c] = normalization.mean[c];
    stddev_.data_ptr<float>()[c] = normalization.stddev[c];
  }
  mean_ = mean_.to(device);
  stddev_ = stddev_.to(device);
}

at::Tensor DeviceImages::Take(const at::Tensor& indices) const {
  return pixels_.index_select(0, indices).to(at::kFloat);
}

at::Tensor DeviceImages::Augment(const at::Tensor& bytes, const TrainOptions& options) const {
  const int64_t n = bytes.size(0), channels = bytes.size(1), side = bytes.size(2);
  const at::TensorOptions floats = bytes.options();
  const at::Tensor along = at::arange(side, floats);  // 0, 1, ..., side - 1
  at::Tensor images = bytes;

  if (options.flip || options.shift > 0) {
    // Where every output row and column comes from, in an image with a black frame.
    const int64_t frame = options.shift;
    const int64_t padded_side = side + 2 * frame;
    const auto offsets = [&] { return at::floor(at::rand({n, 1}, floats) * (2 * frame + 1)); };
    at::Tensor rows = along + offsets();
    at::Tensor columns = along + offsets();
    if (options.flip) {
      const at::Tensor mirrored = at::rand({n, 1}, floats) < 0.5;
      columns = at::where(mirrored, (padded_side - 1) - columns, columns);
    }
    const at::Tensor padded = at::constant_pad_nd(images, {frame, frame, frame, frame}, 0);
    const at::Tensor flat = (rows.unsqueeze(2) * padded_side + columns.unsqueeze(1))
                                .to(at::kLong)
                                .view({n, 1, side * side})
                                .expand({n, channels, side * side});
    images = padded.flatten(2).gather(2, flat).view({n, channels, side, side});
  }
  if (options.erase_probability > 0) {
    const double area = static_cast<double>(side * side);
    const at::Tensor size = (at::rand({n, 1}, floats) * 0.23 + 0.02) * area;
    // The ratio of the sides is log-uniform in 0.3 .. 1 / 0.3.
    const at::Tensor ratio = at::exp((at::rand({n, 1}, floats) * 2 - 1) * 1.2039728);
    const at::Tensor height = at::clamp(at::round(at::sqrt(size * ratio)), 1, side);
    const at::Tensor width = at::clamp(at::round(at::sqrt(size / ratio)), 1, side);
    const at::Tensor top = at::floor(at::rand({n, 1}, floats) * (side - height + 1));
    const at::Tensor left = at::floor(at::rand({n, 1}, floats) * (side - width + 1));
    const at::Tensor chosen = at::rand({n, 1}, floats) < options.erase_probability;
    const at::Tensor in_rows = (along >= top).logical_and(along < top + height).logical_and(chosen);
    const at::Tensor in_columns = (along >= left).logical_and(along < left + width);
    const at::Tensor erased =
        in_rows.unsqueeze(2).logical_and(in_columns.unsqueeze(1)).unsqueeze(1);
    images = at::where(erased, at::rand(images.sizes(), floats) * 255, images);
  }
  return images;
}

at::Tensor DeviceImages::Finish(const at::Tensor& bytes, int resolution) const {
  const at::Tensor images = (bytes / 255 - mean_) / stddev_;
  const int64_t native = images.size(2);
  if (resolution == native) return images;
  at::Tensor& matrix = resize_[resolution];
  if (!matrix.defined()) {
    const std::vector<double> weights = ResizeMatrix(static_cast<int>(native), resolution);
    matrix = at::empty({resolution, native}, at::kFloat);
    for (size_t i = 0; i < weights.size(); ++i) {
      matrix.data_ptr<float>()[i] = static_cast<float>(weights[i]);
    }
    matrix = matrix.to(images.device());
  }
  return at::matmul(matrix, at::matmul(images, matrix.t()));
}

void SeedDevice(at::Device device, uint64_t seed) {
  at::Generator generator = at::globalContext().defaultGenerator(device);
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_current_seed(seed);
}

}  // namespace forall
