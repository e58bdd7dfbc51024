// SPDX-License-Identifier: Apache-2.0
// A split of a dataset held as bytes on the training device; augmentation and resizing happen
// there.
#ifndef FORALL_SUPERNET_TRAIN_DEVICE_IMAGES_H_
#define FORALL_SUPERNET_TRAIN_DEVICE_IMAGES_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <vector>

#include "data/dataset.h"
#include "supernet/train/train_options.h"

namespace forall {

// Thread-compatible.
class DeviceImages {
 public:
  // The dataset must have stored pixels.
  DeviceImages(const Dataset& dataset, at::Device device);

  int64_t size() const { return pixels_.size(0); }
  at::Device device() const { return pixels_.device(); }
  const at::Tensor& labels() const { return labels_; }  // int64 [size]

  // Stored bytes as floats 0..255, [n, c, h, w]; `indices` is int64 [n] on the device.
  at::Tensor Take(const at::Tensor& indices) const;

  // Augmented bytes as floats: mirrored with probability 1/2, moved by up to options.shift pixels
  // (black comes in), and with options.erase_probability a rectangle of 2 % to 25 % of the area
  // replaced by noise (Zhong et al., AAAI 2020). Draws from the device's default generator.
  at::Tensor Augment(const at::Tensor& bytes, const TrainOptions& options) const;

  // Normalises and resizes as Dataset::Load does.
  at::Tensor Finish(const at::Tensor& bytes, int resolution) const;

 private:
  at::Tensor pixels_;  // uint8 [size, c, h, w]
  at::Tensor labels_;
  at::Tensor mean_;  // [1, c, 1, 1]
  at::Tensor stddev_;
  mutable std::map<int, at::Tensor> resize_;  // resolution -> [resolution, native]
};

// Makes everything drawn from the device's default generator from now on a function of `seed`.
void SeedDevice(at::Device device, uint64_t seed);

}  // namespace forall

#endif  // FORALL_SUPERNET_TRAIN_DEVICE_IMAGES_H_
