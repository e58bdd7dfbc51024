// SPDX-License-Identifier: Apache-2.0
// A supernet under training: every learned tensor of a family, and the forward pass of any of its
// subnets, read from the network description. Knows no family.
#ifndef FORALL_SUPERNET_TRAIN_SUPERNET_MODEL_H_
#define FORALL_SUPERNET_TRAIN_SUPERNET_MODEL_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "space/family.h"
#include "supernet/package.h"
#include "supernet/train/channel_groups.h"
#include "supernet/train/train_options.h"

namespace forall {

// Statistics of one BatchNorm layer over the calibration images: [channels] each, biased variance.
struct LayerStatistics {
  at::Tensor mean;
  at::Tensor variance;
};
// By index of the layer in Network::layers.
using NetworkStatistics = std::map<int, LayerStatistics>;

// All learned tensors lie one after another in one flat vector, so that optimiser, averaging and
// checkpoints are a few operations on whole vectors. Thread-compatible.
class SupernetModel {
 public:
  // Fresh weights, a pure function of the family and the seed: normal with variance 2 / fan-in for
  // convolutions, deviation 0.01 for matrices, identity for kernel transforms, scale 1 (0 at the
  // end of a residual branch when asked for) and bias 0.
  SupernetModel(std::shared_ptr<const Family> family, const TrainOptions& options,
                at::Device device);

  const Family& family() const { return *family_; }
  const at::Tensor& weights() const { return weights_; }      // [n]
  const at::Tensor& gradients() const { return gradients_; }  // [n]
  const at::Tensor& decays() const { return decays_; }        // [n]; 1 where weight decay applies

  // Training forward: BatchNorm by the batch's own statistics. `dropout` is applied to the input of
  // the last layer.
  at::Tensor TrainForward(const Network& network, const at::Tensor& images, double dropout);

  // Adds the gradient of `loss`, which must come from the last TrainForward's result, to
  // gradients().
  void Backward(const at::Tensor& loss);

  // Logits of a batch by its own statistics, without a gradient: what a teacher says of it.
  at::Tensor TeacherForward(const Network& network, const at::Tensor& weights,
                            const at::Tensor& images) const;

  // Sorts the channels of every free group (channel_groups.h) of `largest` by falling importance,
  // the L1 norm of their weights in the convolutions that follow; equal ones keep their order.
  // Of a group only the first channels are sorted, as many as it has in `within`, a network of the
  // same layers; the rest stays. All of `flats`, vectors like weights(), are permuted alike, by
  // the importance in the first. The largest network computes what it did before.
  void SortChannels(const Network& largest, const Network& within,
                    const std::vector<at::Tensor>& flats) const;

  // One batch of the official BatchNorm re-calibration (OFA, set_running_statistics): every layer
  // normalises by this batch's mean and biased variance, which are also returned.
  NetworkStatistics CalibrationForward(const Network& network, const at::Tensor& weights,
                                       const at::Tensor& images) const;

  // Logits [n, classes] by fixed statistics.
  at::Tensor EvaluationForward(const Network& network, const at::Tensor& weights,
                               const at::Tensor& images, const NetworkStatistics& statistics) const;

  // Every tensor that a package needs. Running statistics are those of the largest subnet.
  std::vector<NamedTensor> Export(const at::Tensor& weights, const Network& largest,
                                  const NetworkStatistics& statistics) const;

 private:
  // Where a learned tensor lies in the flat vector.
  struct Place {
    int64_t offset = 0;
    std::vector<int64_t> shape;
  };
  class ForwardPass;

  at::Tensor View(const at::Tensor& flat, const Place& place) const;
  void Initialize(const TrainOptions& options);
  std::vector<int64_t> OrderByImportance(const ChannelGroup& group, int64_t sorted,
                                         const at::Tensor& flat) const;

  std::shared_ptr<const Family> family_;
  DepthwiseMethod depthwise_;
  absl::flat_hash_map<std::string, Place> places_;
  at::Tensor weights_;
  at::Tensor gradients_;
  at::Tensor decays_;

  // A slice of the weights that the last TrainForward used, and the same slice of the gradients.
  struct Leaf {
    at::Tensor weight;
    at::Tensor gradient;
  };
  std::vector<Leaf> leaves_;
};

}  // namespace forall

#endif  // FORALL_SUPERNET_TRAIN_SUPERNET_MODEL_H_
