// SPDX-License-Identifier: Apache-2.0
#include "space/mobilenet_v3.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/json_depth.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "space/network_builder.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

// Python's round(): halves go to the even neighbour, whatever rounding mode the process is in.
int64_t RoundHalfEven(double v) {
  const double floor = std::floor(v);
  const double rest = v - floor;
  if (rest != 0.5) return static_cast<int64_t>(std::floor(v + 0.5));
  const int64_t below = static_cast<int64_t>(floor);
  return below % 2 == 0 ? below : below + 1;
}

int64_t MiddleChannels(int64_t in, int32_t expansion) {
  return MakeDivisible(static_cast<double>(RoundHalfEven(static_cast<double>(in) * expansion)));
}

int64_t SqueezeChannels(int64_t middle) {
  const int64_t quarter = middle / 4;
  return MakeDivisible(static_cast<double>(quarter));
}

std::string TransformName(int from, int to) { return absl::StrCat(from, "to", to, "_matrix"); }

class MobileNetV3 : public Family {
 public:
  MobileNetV3(MobileNetV3Config config, SearchSpace space)
      : config_(std::move(config)), space_(std::move(space)) {
    ListTensors();
  }

  const SearchSpace& search_space() const override { return space_; }
  const std::vector<TensorSpec>& tensors() const override { return tensors_; }
  int input_channels() const override { return config_.input_channels; }
  int classes() const override { return config_.classes; }
  std::string Spec() const override;
  absl::StatusOr<Network> Describe(const Architecture& architecture) const override;
  absl::StatusOr<Architecture> ParseArchitecture(absl::string_view json) const override;

 private:
  int MaxDepth() const { return config_.depths.back(); }
  int DimensionOf(const std::string& name) const { return *space_.FindDimension(name); }
  int32_t ValueOf(const Architecture& architecture, const std::string& name) const {
    return space_.Value(architecture, DimensionOf(name));
  }

  void ListTensors();
  void ListConvolution(const std::string& name, std::vector<int64_t> shape) {
    tensors_.push_back({name, std::move(shape), TensorRole::kWeight});
  }
  void ListBatchNorm(const std::string& prefix, int64_t channels);
  void ListBlock(const std::string& prefix, int64_t in, const MobileNetV3Stage& stage);

  // The chain of transforms from the largest kernel down to `kernel`.
  std::vector<KernelTransform> Transforms(const std::string& prefix, int kernel) const;
  // Adds one elastic block; returns the value that holds its output.
  int DescribeBlock(NetworkBuilder* builder, const std::string& prefix, int input, int kernel,
                    int expansion, int stride, const MobileNetV3Stage& stage) const;

  MobileNetV3Config config_;
  SearchSpace space_;
  std::vector<TensorSpec> tensors_;
};

void MobileNetV3::ListBatchNorm(const std::string& prefix, int64_t channels) {
  tensors_.push_back({prefix + ".weight", {channels}, TensorRole::kBatchNormScale});
  tensors_.push_back({prefix + ".bias", {channels}, TensorRole::kBatchNormBias});
  tensors_.push_back({prefix + ".running_mean", {channels}, TensorRole::kRunningMean});
  tensors_.push_back({prefix + ".running_var", {channels}, TensorRole::kRunningVariance});
  tensors_.push_back({prefix + ".num_batches_tracked", {}, TensorRole::kBatchCounter});
}

void MobileNetV3::ListBlock(const std::string& prefix, int64_t in, const MobileNetV3Stage& stage) {
  const int64_t middle = MiddleChannels(in, config_.expansions.back());
  const int64_t kernel = config_.kernels.back();
  ListConvolution(prefix + "inverted_bottleneck.conv.conv.weight", {middle, in, 1, 1});
  ListBatchNorm(prefix + "inverted_bottleneck.bn.bn", middle);
  for (size_t i = 1; i < config_.kernels.size(); ++i) {
    const int64_t size = int64_t{config_.kernels[i - 1]} * config_.kernels[i - 1];
    tensors_.push_back({absl::StrCat(prefix, "depth_conv.conv.",
                                     TransformName(config_.kernels[i], config_.kernels[i - 1])),
                        {size, size},
                        TensorRole::kKernelTransform});
  }
  ListConvolution(prefix + "depth_conv.conv.conv.weight", {middle, 1, kernel, kernel});
  ListBatchNorm(prefix + "depth_conv.bn.bn", middle);
  if (stage.squeeze_excite) {
    const int64_t squeeze = SqueezeChannels(middle);
    const std::string fc = prefix + "depth_conv.se.fc.";
    ListConvolution(fc + "reduce.weight", {squeeze, middle, 1, 1});
    tensors_.push_back({fc + "reduce.bias", {squeeze}, TensorRole::kBias});
    ListConvolution(fc + "expand.weight", {middle, squeeze, 1, 1});
    tensors_.push_back({fc + "expand.bias", {middle}, TensorRole::kBias});
  }
  ListConvolution(prefix + "point_linear.conv.conv.weight", {stage.width, middle, 1, 1});
  ListBatchNorm(prefix + "point_linear.bn.bn", stage.width);
}

void MobileNetV3::ListTensors() {
  ListConvolution("first_conv.conv.weight", {config_.stem_width, config_.input_channels, 3, 3});
  ListBatchNorm("first_conv.bn", config_.stem_width);
  ListConvolution("blocks.0.conv.depth_conv.conv.weight", {config_.stem_width, 1, 3, 3});
  ListBatchNorm("blocks.0.conv.depth_conv.bn", config_.stem_width);
  ListConvolution("blocks.0.conv.point_linear.conv.weight",
                  {config_.first_block_width, config_.stem_width, 1, 1});
  ListBatchNorm("blocks.0.conv.point_linear.bn", config_.first_block_width);
  int64_t in = config_.first_block_width;
  int block = 1;
  for (const MobileNetV3Stage& stage : config_.stages) {
    for (int b = 0; b < MaxDepth(); ++b) {
      ListBlock(absl::StrCat("blocks.", block++, ".conv."), in, stage);
      in = stage.width;
    }
  }
  ListConvolution("final_expand_layer.conv.weight", {config_.head_expand_width, in, 1, 1});
  ListBatchNorm("final_expand_layer.bn", config_.head_expand_width);
  ListConvolution("feature_mix_layer.conv.weight",
                  {config_.head_feature_width, config_.head_expand_width, 1, 1});
  tensors_.push_back({"classifier.linear.weight",
                      {config_.classes, config_.head_feature_width},
                      TensorRole::kWeight});
  tensors_.push_back({"classifier.linear.bias", {config_.classes}, TensorRole::kBias});
}

std::vector<KernelTransform> MobileNetV3::Transforms(const std::string& prefix, int kernel) const {
  std::vector<KernelTransform> chain;
  for (size_t i = config_.kernels.size() - 1; i > 0 && config_.kernels[i] > kernel; --i) {
    const int from = config_.kernels[i];
    const int to = config_.kernels[i - 1];
    chain.push_back({from, to, absl::StrCat(prefix, "depth_conv.conv.", TransformName(from, to))});
  }
  return chain;
}

int MobileNetV3::DescribeBlock(NetworkBuilder* builder, const std::string& prefix, int input,
                               int kernel, int expansion, int stride,
                               const MobileNetV3Stage& stage) const {
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

absl::StatusOr<Network> MobileNetV3::Describe(const Architecture& architecture) const {
  FORALL_RETURN_IF_ERROR(space_.Validate(architecture));
  const int64_t resolution = ValueOf(architecture, "r");
  NetworkBuilder builder({config_.input_channels, resolution, resolution},
                         config_.batch_norm_epsilon);

  int x = builder.Convolution(
      "first_conv.conv", kNetworkInput,
      {"first_conv.conv.weight", {config_.stem_width, config_.input_channels, 3, 3}, {}},
      config_.stem_stride);
  x = builder.BatchNorm("first_conv.bn", x, "first_conv.bn");
  x = builder.Activate("first_conv.act", x, config_.stem_activation);

  const int first_input = x;
  const std::string first = "blocks.0.conv.";
  x = builder.Convolution(first + "depth_conv.conv", x,
                          {first + "depth_conv.conv.weight", {config_.stem_width, 1, 3, 3}, {}}, 1);
  x = builder.BatchNorm(first + "depth_conv.bn", x, first + "depth_conv.bn");
  x = builder.Activate(first + "depth_conv.act", x, config_.first_block_activation);
  x = builder.Convolution(first + "point_linear.conv", x,
                          {first + "point_linear.conv.weight",
                           {config_.first_block_width, config_.stem_width, 1, 1},
                           {}},
                          1);
  x = builder.BatchNorm(first + "point_linear.bn", x, first + "point_linear.bn");
  if (config_.first_block_width == config_.stem_width) {
    x = builder.Add(first + "shortcut", x, first_input);
  }

  for (size_t s = 0; s < config_.stages.size(); ++s) {
    const MobileNetV3Stage& stage = config_.stages[s];
    const int depth = ValueOf(architecture, absl::StrCat("d", s + 1));
    for (int b = 0; b < depth; ++b) {
      const int block = 1 + static_cast<int>(s) * MaxDepth() + b;
      const std::string suffix = absl::StrCat(s + 1, ".", b + 1);
      builder.EnterBlock(static_cast<int>(s), b);
      x = DescribeBlock(&builder, absl::StrCat("blocks.", block, ".conv."), x,
                        ValueOf(architecture, "k" + suffix), ValueOf(architecture, "e" + suffix),
                        b == 0 ? stage.stride : 1, stage);
    }
  }
  builder.EnterBlock(-1, -1);

  const int64_t last = builder.shape(x).channels;
  x = builder.Convolution(
      "final_expand_layer.conv", x,
      {"final_expand_layer.conv.weight", {config_.head_expand_width, last, 1, 1}, {}}, 1);
  x = builder.BatchNorm("final_expand_layer.bn", x, "final_expand_layer.bn");
  x = builder.Activate("final_expand_layer.act", x, config_.head_activation);
  x = builder.GlobalAveragePool("global_avg_pool", x);
  x = builder.Convolution("feature_mix_layer.conv", x,
                          {"feature_mix_layer.conv.weight",
                           {config_.head_feature_width, config_.head_expand_width, 1, 1},
                           {}},
                          1);
  x = builder.Activate("feature_mix_layer.act", x, config_.head_activation);
  builder.Linear("classifier.linear", x,
                 {"classifier.linear.weight", {config_.classes, config_.head_feature_width}, {}},
                 {"classifier.linear.bias", {config_.classes}, {}});
  return builder.Build(config_.classes);
}

// One entry of an OFA-style list: a missing or short list is named with its expected length.
absl::StatusOr<int32_t> ListEntry(const Json& json, const char* key, size_t index, size_t length) {
  if (!json.contains(key) || !json[key].is_array() || json[key].size() != length ||
      !json[key][index].is_number_integer()) {
    return absl::InvalidArgumentError(
        absl::StrCat(key, " must be a list of ", length, " integers"));
  }
  return json[key][index].get<int32_t>();
}

absl::StatusOr<Architecture> MobileNetV3::ParseArchitecture(absl::string_view text) const {
  FORALL_RETURN_IF_ERROR(CheckJsonDepth(text));
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object()) {
    return absl::InvalidArgumentError("an architecture must be a JSON object");
  }
  if (!json.contains("ks")) return space_.FromJson(text);
  for (const auto& [key, value] : json.items()) {
    if (key != "ks" && key != "e" && key != "d" && key != "r" && !value.is_null()) {
      return absl::InvalidArgumentError(
          absl::StrCat(key, ": unknown field of an OFA architecture"));
    }
  }
  Architecture architecture = space_.Smallest();
  const auto choose = [&](const std::string& dimension_name, const std::string& field,
                          int32_t value) -> absl::Status {
    const int dimension = DimensionOf(dimension_name);
    const std::vector<int32_t>& options = space_.dimensions()[dimension].options;
    for (size_t i = 0; i < options.size(); ++i) {
      if (options[i] == value) {
        architecture.choices[dimension] = static_cast<int32_t>(i);
        return absl::OkStatus();
      }
    }
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": ", value, " is not an option of dimension ", dimension_name));
  };
  const size_t stages = config_.stages.size();
  const size_t blocks = stages * MaxDepth();
  for (size_t s = 0; s < stages; ++s) {
    FORALL_ASSIGN_OR_RETURN(const int32_t depth, ListEntry(json, "d", s, stages));
    FORALL_RETURN_IF_ERROR(choose(absl::StrCat("d", s + 1), absl::StrCat("d[", s, "]"), depth));
    for (int b = 0; b < MaxDepth(); ++b) {
      const size_t index = s * MaxDepth() + b;
      const std::string suffix = absl::StrCat(s + 1, ".", b + 1);
      FORALL_ASSIGN_OR_RETURN(const int32_t kernel, ListEntry(json, "ks", index, blocks));
      FORALL_ASSIGN_OR_RETURN(const int32_t expansion, ListEntry(json, "e", index, blocks));
      if (b >= depth) continue;  // What a skipped block would have been says nothing.
      FORALL_RETURN_IF_ERROR(choose("k" + suffix, absl::StrCat("ks[", index, "]"), kernel));
      FORALL_RETURN_IF_ERROR(choose("e" + suffix, absl::StrCat("e[", index, "]"), expansion));
    }
  }
  const Json resolution = json.contains("r") ? json["r"] : Json();
  const Json& value = resolution.is_array() && resolution.size() == 1 ? resolution[0] : resolution;
  if (!value.is_number_integer()) {
    return absl::InvalidArgumentError("r must be one resolution, e.g. \"r\": 224");
  }
  FORALL_RETURN_IF_ERROR(choose("r", "r", value.get<int32_t>()));
  return space_.Canonical(architecture);
}

std::string MobileNetV3::Spec() const {
  Json json;
  json["family"] = "ofa_mobilenet_v3";
  json["name"] = config_.name;
  json["revision"] = config_.revision;
  json["input_channels"] = config_.input_channels;
  json["classes"] = config_.classes;
  json["resolutions"] = config_.resolutions;
  json["stem"] = {{"width", config_.stem_width},
                  {"stride", config_.stem_stride},
                  {"activation", ActivationName(config_.stem_activation)}};
  json["first_block"] = {{"width", config_.first_block_width},
                         {"activation", ActivationName(config_.first_block_activation)}};
  json["stages"] = Json::array();
  for (const MobileNetV3Stage& stage : config_.stages) {
    json["stages"].push_back({{"width", stage.width},
                              {"stride", stage.stride},
                              {"activation", ActivationName(stage.activation)},
                              {"squeeze_excite", stage.squeeze_excite}});
  }
  json["kernels"] = config_.kernels;
  json["expansions"] = config_.expansions;
  json["depths"] = config_.depths;
  json["head"] = {{"expand_width", config_.head_expand_width},
                  {"feature_width", config_.head_feature_width},
                  {"activation", ActivationName(config_.head_activation)}};
  json["batch_norm_epsilon"] = config_.batch_norm_epsilon;
  return json.dump(2) + "\n";
}

}  // namespace

int64_t MakeDivisible(double v) {
  int64_t rounded = static_cast<int64_t>(v + 4) / 8 * 8;
  if (rounded < 8) rounded = 8;
  if (static_cast<double>(rounded) < 0.9 * v) rounded += 8;
  return rounded;
}

absl::StatusOr<std::shared_ptr<const Family>> CreateMobileNetV3(const MobileNetV3Config& config) {
  std::vector<Dimension> dimensions = {{"r", config.resolutions, std::nullopt}};
  for (size_t s = 0; s < config.stages.size(); ++s) {
    const int depth = static_cast<int>(dimensions.size());
    dimensions.push_back({absl::StrCat("d", s + 1), config.depths, std::nullopt});
    for (int b = 0; b < config.depths.back(); ++b) {
      const std::string suffix = absl::StrCat(s + 1, ".", b + 1);
      // Blocks below the least depth are always there.
      std::optional<ActivationCondition> condition;
      if (b >= config.depths.front()) condition = ActivationCondition{depth, b + 1};
      dimensions.push_back({"k" + suffix, config.kernels, condition});
      dimensions.push_back({"e" + suffix, config.expansions, condition});
    }
  }
  FORALL_ASSIGN_OR_RETURN(SearchSpace space,
                          SearchSpace::Create(config.name, config.revision, std::move(dimensions)));
  return std::shared_ptr<const Family>(std::make_shared<MobileNetV3>(config, std::move(space)));
}

}  // namespace forall
