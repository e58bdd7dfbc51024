// SPDX-License-Identifier: Apache-2.0
// Accuracy of a subnet by the trainer's own forward pass, to choose by and to check the deployed
// one against.
#ifndef FORALL_SUPERNET_TRAIN_SUBNET_ACCURACY_H_
#define FORALL_SUPERNET_TRAIN_SUBNET_ACCURACY_H_

#include <ATen/ATen.h>

#include <vector>

#include "space/network.h"
#include "supernet/train/device_images.h"
#include "supernet/train/supernet_model.h"

namespace forall {

// BatchNorm statistics of `network` over the images `indices` (int64, on the device) of `train` by
// the evaluation transform, in batches of `batch`, averages weighted by batch size.
NetworkStatistics Calibrate(const SupernetModel& model, const at::Tensor& weights,
                            const Network& network, const DeviceImages& train,
                            const at::Tensor& indices, int batch);

// Fraction of `images` whose largest logit is the label's.
double Accuracy(const SupernetModel& model, const at::Tensor& weights, const Network& network,
                const NetworkStatistics& statistics, const DeviceImages& images);

}  // namespace forall

#endif  // FORALL_SUPERNET_TRAIN_SUBNET_ACCURACY_H_
