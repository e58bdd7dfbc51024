// SPDX-License-Identifier: Apache-2.0
// BatchNorm re-calibration by the official OFA protocol (Cai et al., ICLR 2020;
// set_running_statistics in the authors' code): a subnet's running statistics are not those of the
// supernet, so they are taken anew. Each BatchNorm normalises with its own batch's mean and biased
// variance, and the batches' statistics are averaged, weighted by batch size.
#ifndef FORALL_SUPERNET_ONNX_CALIBRATION_H_
#define FORALL_SUPERNET_ONNX_CALIBRATION_H_

#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/onnx_session.h"
#include "space/network.h"
#include "supernet/subnet_weights.h"

namespace forall {

// Puts the next batch [n, channels, height, width] into its argument and returns true, or returns
// false when there are no more. The argument's memory is kept between calls.
using BatchSource = std::function<absl::StatusOr<bool>(Tensor* batch)>;

// Statistics of every BatchNorm of `network`, in order of layers; averages are accumulated in
// double. Runs the network in ONNX Runtime. FailedPrecondition when the source gives no batch,
// InvalidArgument when a batch has another shape than the network's input, and the source's and
// the runtime's own errors.
absl::StatusOr<std::vector<BatchNormStatistics>> Calibrate(const Network& network,
                                                           const SubnetWeights& weights,
                                                           const BatchSource& next_batch,
                                                           const SessionOptions& options);

}  // namespace forall

#endif  // FORALL_SUPERNET_ONNX_CALIBRATION_H_
