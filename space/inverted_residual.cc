// SPDX-License-Identifier: Apache-2.0
#include "space/inverted_residual.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "space/family_rules.h"

namespace forall {
namespace {

int64_t MiddleChannels(int64_t in, int32_t expansion) {
  return MakeDivisible(static_cast<double>(RoundHalfEven(static_cast<double>(in) * expansion)));
}

int64_t SqueezeChannels(int64_t middle) {
  const int64_t quarter = middle / 4;
  return MakeDivisible(static_cast<double>(quarter));
}

// One network must have one key: expansions that rounding makes equal would give it two.
absl::Status CheckExpansions(const InvertedResidualConfig& config) {
  int64_t in = config.first_block_width;
  for (const InvertedResidualStage& stage : config.stages) {
    for (const int64_t width : {in, int64_t{stage.width}}) {
      for (size_t i = 1; i < config.expansions.size(); ++i) {
        const int64_t middle = MiddleChannels(width, config.expansions[i]);
        if (MiddleChannels(width, config.expansions[i - 1]) != middle) continue;
        return absl::InvalidArgumentError(absl::StrCat(
            "expansions: ", config.expansions[i - 1], " and ", config.expansions[i], " both make ",
            middle, " channels out of ", width, ", and so one network; leave one out"));
      }
    }
    in = stage.width;
  }
  return absl::OkStatus();
}

std::string TransformName(int from, int to) { return absl::StrCat(from, "to", to, "_matrix"); }

}  // namespace

absl::StatusOr<SearchSpace> InvertedResidualSpace(const InvertedResidualConfig& config) {
  FORALL_RETURN_IF_ERROR(CheckExpansions(config));
  std::vector<Dimension> dimensions = {{"r", config.resolutions, std::nullopt}};
  for (size_t s = 0; s < config.stages.size(); ++s) {
    const std::vector<int32_t>& depths = config.stages[s].depths;
    if (depths.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("stages[", s, "] has no depths"));
    }
    const int depth = static_cast<int>(dimensions.size());
    dimensions.push_back({absl::StrCat("d", s + 1), depths, std::nullopt});
    for (int b = 0; b < depths.back(); ++b) {
      const std::string suffix = absl::StrCat(s + 1, ".", b + 1);
      // Blocks below the least depth are always there.
      std::optional<ActivationCondition> condition;
      if (b >= depths.front()) condition = ActivationCondition{depth, b + 1};
      dimensions.push_back({"k" + suffix, config.kernels, condition});
      dimensions.push_back({"e" + suffix, config.expansions, condition});
    }
  }
  return SearchSpace::Create(config.name, config.revision, std::move(dimensions));
}

InvertedResidualFamily::InvertedResidualFamily(InvertedResidualConfig config, SearchSpace space)
    : config_(std::move(config)), space_(std::move(space)) {
  ListStemAndBlocks();
}

void InvertedResidualFamily::ListBlock(const std::string& prefix, int64_t in,
                                       const InvertedResidualStage& stage) {
  const int64_t middle = MiddleChannels(in, config_.expansions.back());
  const int64_t kernel = config_.kernels.back();
  tensors_.push_back(
      {prefix + "inverted_bottleneck.conv.conv.weight", {middle, in, 1, 1}, TensorRole::kWeight});
  ListBatchNorm(prefix + "inverted_bottleneck.bn.bn", middle, &tensors_);
  for (size_t i = 1; i < config_.kernels.size(); ++i) {
    const int64_t size = int64_t{config_.kernels[i - 1]} * config_.kernels[i - 1];
    tensors_.push_back({absl::StrCat(prefix, "depth_conv.conv.",
                                     TransformName(config_.kernels[i], config_.kernels[i - 1])),
                        {size, size},
                        TensorRole::kKernelTransform});
  }
  tensors_.push_back(
      {prefix + "depth_conv.conv.conv.weight", {middle, 1, kernel, kernel}, TensorRole::kWeight});
  ListBatchNorm(prefix + "depth_conv.bn.bn", middle, &tensors_);
  if (stage.squeeze_excite) {
    const int64_t squeeze = SqueezeChannels(middle);
    const std::string fc = prefix + "depth_conv.se.fc.";
    tensors_.push_back({fc + "reduce.weight", {squeeze, middle, 1, 1}, TensorRole::kWeight});
    tensors_.push_back({fc + "reduce.bias", {squeeze}, TensorRole::kBias});
    tensors_.push_back({fc + "expand.weight", {middle, squeeze, 1, 1}, TensorRole::kWeight});
    tensors_.push_back({fc + "expand.bias", {middle}, TensorRole::kBias});
  }
  tensors_.push_back(
      {prefix + "point_linear.conv.conv.weight", {stage.width, middle, 1, 1}, TensorRole::kWeight});
  ListBatchNorm(prefix + "point_linear.bn.bn", stage.width, &tensors_);
}

void InvertedResidualFamily::ListStemAndBlocks() {
  const int64_t stem = config_.stem_width;
  tensors_.push_back(
      {"first_conv.conv.weight", {stem, config_.input_channels, 3, 3}, TensorRole::kWeight});
  ListBatchNorm("first_conv.bn", stem, &tensors_);
  const std::string first = "blocks.0.conv.";
  tensors_.push_back({first + "depth_conv.conv.weight", {stem, 1, 3, 3}, TensorRole::kWeight});
  ListBatchNorm(first + "depth_conv.bn", stem, &tensors_);
  tensors_.push_back({first + "point_linear.conv.weight",
                      {config_.first_block_width, stem, 1, 1},
                      TensorRole::kWeight});
  ListBatchNorm(first + "point_linear.bn", config_.first_block_width, &tensors_);
  int64_t in = config_.first_block_width;
  int block = 1;
  for (const InvertedResidualStage& stage : config_.stages) {
    for (int b = 0; b < stage.depths.back(); ++b) {
      ListBlock(absl::StrCat("blocks.", block++, ".conv."), in, stage);
      in = stage.width;
    }
  }
}

std::vector<KernelTransform> InvertedResidualFamily::Transforms(const std::string& prefix,
                                                                int kernel) const {
  std::vector<KernelTransform> chain;
  for (size_t i = config_.kernels.size() - 1; i > 0 && config_.kernels[i] > kernel; --i) {
    const int from = config_.kernels[i];
    const int to = config_.kernels[i - 1];
    chain.push_back({from, to, absl::StrCat(prefix, "depth_conv.conv.", TransformName(from, to))});
  }
  return chain;
}

int InvertedResidualFamily::DescribeBlock(NetworkBuilder* builder, const std::string& prefix,
                                          int input, int kernel, int expansion, int stride,
                                          const InvertedResidualStage& stage) const {
  const int64_t in = builder->shape(input).channels;
  const int64_t middle = MiddleChannels(in, expansion);
  int x = builder->Convolution(
      prefix + "inverted_bottleneck.conv", input,
      {prefix + "inverted_bottleneck.conv.conv.weight", {middle, in, 1, 1}, {}}, 1);
  x = builder->BatchNorm(prefix + "inverted_bottleneck.bn", x,
                         prefix + "inverted_bottleneck.bn.bn");
  x = builder->Activate(prefix + "inverted_bottleneck.act", x, stage.activation);
  x = builder->Convolution(prefix + "depth_conv.conv", x,
                           {prefix + "depth_conv.conv.conv.weight",
                            {middle, 1, kernel, kernel},
                            Transforms(prefix, kernel)},
                           stride);
  x = builder->BatchNorm(prefix + "depth_conv.bn", x, prefix + "depth_conv.bn.bn");
  x = builder->Activate(prefix + "depth_conv.act", x, stage.activation);
  if (stage.squeeze_excite) {
    const int64_t squeeze = SqueezeChannels(middle);
    const std::string fc = prefix + "depth_conv.se.fc.";
    int gate = builder->GlobalAveragePool(prefix + "depth_conv.se.pool", x);
    gate = builder->Convolution(prefix + "depth_conv.se.reduce", gate,
                                {fc + "reduce.weight", {squeeze, middle, 1, 1}, {}}, 1,
                                WeightSlice{fc + "reduce.bias", {squeeze}, {}});
    gate = builder->Activate(prefix + "depth_conv.se.relu", gate, Activation::kRelu);
    gate = builder->Convolution(prefix + "depth_conv.se.expand", gate,
                                {fc + "expand.weight", {middle, squeeze, 1, 1}, {}}, 1,
                                WeightSlice{fc + "expand.bias", {middle}, {}});
    gate = builder->Activate(prefix + "depth_conv.se.gate", gate, Activation::kHSigmoid);
    x = builder->Multiply(prefix + "depth_conv.se.scale", x, gate);
  }
  x = builder->Convolution(
      prefix + "point_linear.conv", x,
      {prefix + "point_linear.conv.conv.weight", {stage.width, middle, 1, 1}, {}}, 1);
  x = builder->BatchNorm(prefix + "point_linear.bn", x, prefix + "point_linear.bn.bn");
  if (stride == 1 && in == stage.width) x = builder->Add(prefix + "shortcut", x, input);
  return x;
}

int InvertedResidualFamily::DescribeStem(NetworkBuilder* builder) const {
  const int64_t stem = config_.stem_width;
  int x = builder->Convolution("first_conv.conv", kNetworkInput,
                               {"first_conv.conv.weight", {stem, config_.input_channels, 3, 3}, {}},
                               config_.stem_stride);
  x = builder->BatchNorm("first_conv.bn", x, "first_conv.bn");
  x = builder->Activate("first_conv.act", x, config_.stem_activation);

  const int first_input = x;
  const std::string first = "blocks.0.conv.";
  x = builder->Convolution(first + "depth_conv.conv", x,
                           {first + "depth_conv.conv.weight", {stem, 1, 3, 3}, {}}, 1);
  x = builder->BatchNorm(first + "depth_conv.bn", x, first + "depth_conv.bn");
  x = builder->Activate(first + "depth_conv.act", x, config_.first_block_activation);
  x = builder->Convolution(
      first + "point_linear.conv", x,
      {first + "point_linear.conv.weight", {config_.first_block_width, stem, 1, 1}, {}}, 1);
  x = builder->BatchNorm(first + "point_linear.bn", x, first + "point_linear.bn");
  if (config_.first_block_width == config_.stem_width) {
    x = builder->Add(first + "shortcut", x, first_input);
  }
  return x;
}

absl::StatusOr<Network> InvertedResidualFamily::Describe(const Architecture& architecture) const {
  FORALL_RETURN_IF_ERROR(space_.Validate(architecture));
  const int64_t resolution = ValueOf(architecture, "r");
  NetworkBuilder builder({config_.input_channels, resolution, resolution},
                         config_.batch_norm_epsilon);
  int x = DescribeStem(&builder);
  int first_of_stage = 1;
  for (size_t s = 0; s < config_.stages.size(); ++s) {
    const InvertedResidualStage& stage = config_.stages[s];
    const int depth = ValueOf(architecture, absl::StrCat("d", s + 1));
    for (int b = 0; b < depth; ++b) {
      const std::string suffix = absl::StrCat(s + 1, ".", b + 1);
      builder.EnterBlock(static_cast<int>(s), b);
      x = DescribeBlock(&builder, absl::StrCat("blocks.", first_of_stage + b, ".conv."), x,
                        ValueOf(architecture, "k" + suffix), ValueOf(architecture, "e" + suffix),
                        b == 0 ? stage.stride : 1, stage);
    }
    first_of_stage += stage.depths.back();
  }
  builder.EnterBlock(-1, -1);
  DescribeHead(&builder, x);
  return builder.Build(config_.classes);
}

absl::StatusOr<Architecture> InvertedResidualFamily::ParseArchitecture(
    absl::string_view text) const {
  FORALL_ASSIGN_OR_RETURN(const OfaNotation ofa, OfaNotation::Parse(text, {"ks", "e", "d"}));
  if (!ofa.has("ks")) return space_.FromJson(text);
  Architecture architecture = space_.Smallest();
  const size_t stages = config_.stages.size();
  size_t blocks = 0;
  for (const InvertedResidualStage& stage : config_.stages) {
    blocks += static_cast<size_t>(stage.depths.back());
  }
  size_t block = 0;
  for (size_t s = 0; s < stages; ++s) {
    const std::vector<int32_t>& depths = config_.stages[s].depths;
    FORALL_ASSIGN_OR_RETURN(int32_t depth, ofa.Integer("d", s, stages));
    // A single block stays, whatever the list says: the authors draw a depth for Proxyless's last
    // stage too.
    if (depths == std::vector<int32_t>{1} && depth >= 1) depth = 1;
    FORALL_RETURN_IF_ERROR(
        Choose(space_, absl::StrCat("d", s + 1), absl::StrCat("d[", s, "]"), depth, &architecture));
    for (int b = 0; b < depths.back(); ++b, ++block) {
      const std::string suffix = absl::StrCat(s + 1, ".", b + 1);
      FORALL_ASSIGN_OR_RETURN(const int32_t kernel, ofa.Integer("ks", block, blocks));
      FORALL_ASSIGN_OR_RETURN(const int32_t expansion, ofa.Integer("e", block, blocks));
      if (b >= depth) continue;  // What a skipped block would have been says nothing.
      FORALL_RETURN_IF_ERROR(
          Choose(space_, "k" + suffix, absl::StrCat("ks[", block, "]"), kernel, &architecture));
      FORALL_RETURN_IF_ERROR(
          Choose(space_, "e" + suffix, absl::StrCat("e[", block, "]"), expansion, &architecture));
    }
  }
  FORALL_ASSIGN_OR_RETURN(const int32_t resolution, ofa.Resolution());
  FORALL_RETURN_IF_ERROR(Choose(space_, "r", "r", resolution, &architecture));
  return space_.Canonical(architecture);
}

}  // namespace forall
