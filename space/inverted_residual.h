// SPDX-License-Identifier: Apache-2.0
// What the once-for-all families of inverted residual blocks share (Sandler et al., "MobileNetV2",
// CVPR 2018; Cai et al., "Once-for-All", ICLR 2020): a stem, one fixed depthwise block, stages of
// elastic blocks, and then a head that each family has of its own.
//
// Rules, as in the authors' published checkpoints:
//   make_divisible(v) = max(8, int(v + 4) / 8 * 8), plus 8 when below 0.9 v
//   middle channels = make_divisible(round_half_even(in * expansion))
//   squeeze-excite after the depthwise activation, width make_divisible(middle / 4)
//   channels are the first N, a stage keeps its first d blocks, kernels chain 7 -> 5 -> 3
//   shortcut where stride is 1 and widths are equal
// Dimensions: "r"; per stage s = 1.. "d<s>", and per block b = 1.. "k<s>.<b>", "e<s>.<b>", active
// when d<s> >= b.
#ifndef FORALL_SPACE_INVERTED_RESIDUAL_H_
#define FORALL_SPACE_INVERTED_RESIDUAL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "space/family.h"
#include "space/network.h"
#include "space/network_builder.h"
#include "space/search_space.h"

namespace forall {

struct InvertedResidualStage {
  int32_t width = 0;
  int32_t stride = 1;  // of the stage's first block
  Activation activation = Activation::kRelu;
  bool squeeze_excite = false;
  std::vector<int32_t> depths;  // how many of the stage's blocks may be kept, ascending
};

struct InvertedResidualConfig {
  std::string name;
  int32_t revision = 1;
  int32_t input_channels = 3;
  int32_t classes = 1000;
  std::vector<int32_t> resolutions;
  int32_t stem_width = 16;
  int32_t stem_stride = 2;
  Activation stem_activation = Activation::kHSwish;
  int32_t first_block_width = 16;
  Activation first_block_activation = Activation::kRelu;
  std::vector<InvertedResidualStage> stages;
  std::vector<int32_t> kernels = {3, 5, 7};  // consecutive odd sizes
  std::vector<int32_t> expansions = {3, 4, 6};
  double batch_norm_epsilon = 1e-5;
};

// InvalidArgument as SearchSpace::Create, and for two expansions that rounding makes one network.
absl::StatusOr<SearchSpace> InvertedResidualSpace(const InvertedResidualConfig& config);

// Everything but the head. Immutable once a subclass is constructed; thread-safe.
class InvertedResidualFamily : public Family {
 public:
  const SearchSpace& search_space() const override { return space_; }
  const std::vector<TensorSpec>& tensors() const override { return tensors_; }
  int input_channels() const override { return config_.input_channels; }
  int classes() const override { return config_.classes; }
  absl::StatusOr<Network> Describe(const Architecture& architecture) const override;
  absl::StatusOr<Architecture> ParseArchitecture(absl::string_view json) const override;

 protected:
  // Lists the tensors of stem and blocks; the subclass appends its head's.
  InvertedResidualFamily(InvertedResidualConfig config, SearchSpace space);

  virtual void DescribeHead(NetworkBuilder* builder, int input) const = 0;

  int64_t last_stage_width() const { return config_.stages.back().width; }

  std::vector<TensorSpec> tensors_;

 private:
  int DimensionOf(const std::string& name) const { return *space_.FindDimension(name); }
  int32_t ValueOf(const Architecture& architecture, const std::string& name) const {
    return space_.Value(architecture, DimensionOf(name));
  }
  void ListStemAndBlocks();
  void ListBlock(const std::string& prefix, int64_t in, const InvertedResidualStage& stage);
  int DescribeStem(NetworkBuilder* builder) const;
  // The chain of transforms from the largest kernel down to `kernel`.
  std::vector<KernelTransform> Transforms(const std::string& prefix, int kernel) const;
  // Adds one elastic block; returns the value that holds its output.
  int DescribeBlock(NetworkBuilder* builder, const std::string& prefix, int input, int kernel,
                    int expansion, int stride, const InvertedResidualStage& stage) const;

  InvertedResidualConfig config_;
  SearchSpace space_;
};

}  // namespace forall

#endif  // FORALL_SPACE_INVERTED_RESIDUAL_H_
