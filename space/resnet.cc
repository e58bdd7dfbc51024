// SPDX-License-Identifier: Apache-2.0
#include "space/resnet.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "space/family_rules.h"
#include "space/network_builder.h"
#include "space/spec_reader.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

int64_t MiddleChannels(int64_t out, int32_t percent) {
  const double ratio = percent / 100.0;
  return MakeDivisible(static_cast<double>(RoundHalfEven(static_cast<double>(out) * ratio)));
}

// Multipliers whose widths round to the same number give one network, and so one option.
std::vector<int32_t> Distinct(std::vector<int32_t> widths) {
  widths.erase(std::unique(widths.begin(), widths.end()), widths.end());
  return widths;
}

class ResNet : public Family {
 public:
  ResNet(ResNetConfig config, SearchSpace space)
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
  int32_t ValueOf(const Architecture& architecture, const std::string& name) const {
    return space_.Value(architecture, *space_.FindDimension(name));
  }
  int32_t MaxDepth() const { return config_.depths.back(); }

  void ListTensors();
  // A convolution and its BatchNorm: "<prefix>conv.weight" and "<prefix>bn.*", prefix with a dot.
  void ListConvolution(const std::string& prefix, std::vector<int64_t> shape);
  int DescribeConvolution(NetworkBuilder* builder, const std::string& prefix, int input,
                          int64_t out, int kernel, int stride) const;
  int DescribeStem(NetworkBuilder* builder, const Architecture& architecture) const;
  int DescribeBlock(NetworkBuilder* builder, int block, int input, int64_t out, int32_t percent,
                    int stride, bool projected) const;

  ResNetConfig config_;
  SearchSpace space_;
  std::vector<TensorSpec> tensors_;
};

void ResNet::ListConvolution(const std::string& prefix, std::vector<int64_t> shape) {
  const int64_t channels = shape[0];
  tensors_.push_back({prefix + "conv.conv.weight", std::move(shape), TensorRole::kWeight});
  ListBatchNorm(prefix + "bn.bn", channels, &tensors_);
}

void ResNet::ListTensors() {
  const int64_t inner = config_.stem_inner_widths.back();
  int64_t in = config_.stem_widths.back();
  ListConvolution("input_stem.0.", {inner, config_.input_channels, 3, 3});
  ListConvolution("input_stem.1.conv.", {inner, inner, 3, 3});
  ListConvolution("input_stem.2.", {in, inner, 3, 3});
  int block = 0;
  for (const ResNetStage& stage : config_.stages) {
    const int64_t out = stage.widths.back();
    const int64_t middle = MiddleChannels(out, config_.expansion_percents.back());
    for (int b = 0; b < stage.blocks; ++b) {
      const std::string prefix = absl::StrCat("blocks.", block++, ".");
      ListConvolution(prefix + "conv1.", {middle, in, 1, 1});
      ListConvolution(prefix + "conv2.", {middle, middle, 3, 3});
      ListConvolution(prefix + "conv3.", {out, middle, 1, 1});
      if (b == 0) ListConvolution(prefix + "downsample.", {out, in, 1, 1});
      in = out;
    }
  }
  tensors_.push_back(
      {"classifier.linear.linear.weight", {config_.classes, in}, TensorRole::kWeight});
  tensors_.push_back({"classifier.linear.linear.bias", {config_.classes}, TensorRole::kBias});
}

int ResNet::DescribeConvolution(NetworkBuilder* builder, const std::string& prefix, int input,
                                int64_t out, int kernel, int stride) const {
  const int64_t in = builder->shape(input).channels;
  const int x = builder->Convolution(
      prefix + "conv", input, {prefix + "conv.conv.weight", {out, in, kernel, kernel}, {}}, stride);
  return builder->BatchNorm(prefix + "bn", x, prefix + "bn.bn");
}

int ResNet::DescribeStem(NetworkBuilder* builder, const Architecture& architecture) const {
  const int64_t inner = ValueOf(architecture, "w0.1");
  int x = DescribeConvolution(builder, "input_stem.0.", kNetworkInput, inner, 3, 2);
  x = builder->Activate("input_stem.0.act", x, Activation::kRelu);
  if (ValueOf(architecture, "d0") == MaxDepth()) {
    const int input = x;
    x = DescribeConvolution(builder, "input_stem.1.conv.", x, inner, 3, 1);
    x = builder->Activate("input_stem.1.conv.act", x, Activation::kRelu);
    x = builder->Add("input_stem.1.shortcut", x, input);
  }
  x = DescribeConvolution(builder, "input_stem.2.", x, ValueOf(architecture, "w0.2"), 3, 1);
  x = builder->Activate("input_stem.2.act", x, Activation::kRelu);
  return builder->MaxPool("max_pooling", x, 3, 2);
}

int ResNet::DescribeBlock(NetworkBuilder* builder, int block, int input, int64_t out,
                          int32_t percent, int stride, bool projected) const {
  const std::string prefix = absl::StrCat("blocks.", block, ".");
  const int64_t middle = MiddleChannels(out, percent);
  int x = DescribeConvolution(builder, prefix + "conv1.", input, middle, 1, 1);
  x = builder->Activate(prefix + "conv1.act", x, Activation::kRelu);
  x = DescribeConvolution(builder, prefix + "conv2.", x, middle, 3, stride);
  x = builder->Activate(prefix + "conv2.act", x, Activation::kRelu);
  x = DescribeConvolution(builder, prefix + "conv3.", x, out, 1, 1);
  int shortcut = input;
  if (projected) {
    if (stride > 1) {
      shortcut = builder->AveragePool(prefix + "downsample.avg_pool", shortcut, stride);
    }
    shortcut = DescribeConvolution(builder, prefix + "downsample.", shortcut, out, 1, 1);
  }
  x = builder->Add(prefix + "shortcut", x, shortcut);
  return builder->Activate(prefix + "final_act", x, Activation::kRelu);
}

absl::StatusOr<Network> ResNet::Describe(const Architecture& architecture) const {
  FORALL_RETURN_IF_ERROR(space_.Validate(architecture));
  const int64_t resolution = ValueOf(architecture, "r");
  NetworkBuilder builder({config_.input_channels, resolution, resolution},
                         config_.batch_norm_epsilon);
  int x = DescribeStem(&builder, architecture);
  int first_of_stage = 0;
  for (size_t s = 0; s < config_.stages.size(); ++s) {
    const ResNetStage& stage = config_.stages[s];
    const int skipped = MaxDepth() - ValueOf(architecture, absl::StrCat("d", s + 1));
    const int64_t out = ValueOf(architecture, absl::StrCat("w", s + 1));
    for (int b = 0; b < stage.blocks - skipped; ++b) {
      builder.EnterBlock(static_cast<int>(s), b);
      const int32_t percent = ValueOf(architecture, absl::StrCat("e", s + 1, ".", b + 1));
      x = DescribeBlock(&builder, first_of_stage + b, x, out, percent, b == 0 ? stage.stride : 1,
                        b == 0);
    }
    first_of_stage += stage.blocks;
  }
  builder.EnterBlock(-1, -1);
  const int64_t features = builder.shape(x).channels;
  x = builder.GlobalAveragePool("global_avg_pool", x);
  builder.Linear("classifier.linear", x,
                 {"classifier.linear.linear.weight", {config_.classes, features}, {}},
                 {"classifier.linear.linear.bias", {config_.classes}, {}});
  return builder.Build(config_.classes);
}

// The width that an index into a list of widths stands for.
absl::StatusOr<int32_t> WidthAt(const OfaNotation& ofa, size_t index, size_t length,
                                const std::vector<int32_t>& widths) {
  FORALL_ASSIGN_OR_RETURN(const int32_t choice, ofa.Integer("w", index, length));
  if (choice < 0 || choice >= static_cast<int32_t>(widths.size())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "w[", index, "]: ", choice, " is not an index into the ", widths.size(), " widths"));
  }
  return widths[static_cast<size_t>(choice)];
}

absl::StatusOr<Architecture> ResNet::ParseArchitecture(absl::string_view text) const {
  FORALL_ASSIGN_OR_RETURN(const OfaNotation ofa, OfaNotation::Parse(text, {"d", "e", "w"}));
  if (!ofa.has("w")) return space_.FromJson(text);
  Architecture architecture = space_.Smallest();
  const size_t stages = config_.stages.size();

  FORALL_ASSIGN_OR_RETURN(int32_t depth, ofa.Integer("d", 0, stages + 1));
  // Whatever is less than the maximum skips the stem's middle convolution.
  if (std::count(config_.depths.begin(), config_.depths.end(), depth) > 0 && depth < MaxDepth()) {
    depth = config_.depths.front();
  }
  FORALL_RETURN_IF_ERROR(Choose(space_, "d0", "d[0]", depth, &architecture));
  FORALL_ASSIGN_OR_RETURN(int32_t width, WidthAt(ofa, 0, stages + 2, config_.stem_inner_widths));
  FORALL_RETURN_IF_ERROR(Choose(space_, "w0.1", "w[0]", width, &architecture));
  FORALL_ASSIGN_OR_RETURN(width, WidthAt(ofa, 1, stages + 2, config_.stem_widths));
  FORALL_RETURN_IF_ERROR(Choose(space_, "w0.2", "w[1]", width, &architecture));

  size_t blocks = 0;
  for (const ResNetStage& stage : config_.stages) blocks += static_cast<size_t>(stage.blocks);
  size_t block = 0;
  for (size_t s = 0; s < stages; ++s) {
    const ResNetStage& stage = config_.stages[s];
    FORALL_ASSIGN_OR_RETURN(depth, ofa.Integer("d", s + 1, stages + 1));
    FORALL_RETURN_IF_ERROR(Choose(space_, absl::StrCat("d", s + 1), absl::StrCat("d[", s + 1, "]"),
                                  depth, &architecture));
    FORALL_ASSIGN_OR_RETURN(width, WidthAt(ofa, s + 2, stages + 2, stage.widths));
    FORALL_RETURN_IF_ERROR(Choose(space_, absl::StrCat("w", s + 1), absl::StrCat("w[", s + 2, "]"),
                                  width, &architecture));
    for (int b = 0; b < stage.blocks; ++b, ++block) {
      FORALL_ASSIGN_OR_RETURN(const double ratio, ofa.Number("e", block, blocks));
      if (b >= stage.blocks - (MaxDepth() - depth)) continue;
      const double percent = std::clamp(ratio * 100, -1e6, 1e6);
      const std::string field = absl::StrCat("e[", block, "]");
      if (std::abs(percent - std::round(percent)) > 1e-6) {
        return absl::InvalidArgumentError(absl::StrCat(field, ": ", ratio, " is no whole percent"));
      }
      FORALL_RETURN_IF_ERROR(Choose(space_, absl::StrCat("e", s + 1, ".", b + 1), field,
                                    static_cast<int32_t>(std::round(percent)), &architecture));
    }
  }
  FORALL_ASSIGN_OR_RETURN(const int32_t resolution, ofa.Resolution());
  FORALL_RETURN_IF_ERROR(Choose(space_, "r", "r", resolution, &architecture));
  return space_.Canonical(architecture);
}

std::string ResNet::Spec() const {
  Json json;
  json["family"] = "ofa_resnet";
  json["name"] = config_.name;
  json["revision"] = config_.revision;
  json["input_channels"] = config_.input_channels;
  json["classes"] = config_.classes;
  json["resolutions"] = config_.resolutions;
  json["stem"] = {{"inner_widths", config_.stem_inner_widths}, {"widths", config_.stem_widths}};
  json["stages"] = Json::array();
  for (const ResNetStage& stage : config_.stages) {
    json["stages"].push_back(
        {{"widths", stage.widths}, {"blocks", stage.blocks}, {"stride", stage.stride}});
  }
  json["depths"] = config_.depths;
  json["expansion_percents"] = config_.expansion_percents;
  json["batch_norm_epsilon"] = config_.batch_norm_epsilon;
  return json.dump(2) + "\n";
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Family>> CreateResNet(ResNetConfig config) {
  std::vector<int32_t> stem_depths = {config.depths.front(), config.depths.back()};
  std::vector<Dimension> dimensions = {
      {"r", config.resolutions, std::nullopt},
      {"d0", Distinct(std::move(stem_depths)), std::nullopt},
      {"w0.1", Distinct(config.stem_inner_widths), std::nullopt},
      {"w0.2", Distinct(config.stem_widths), std::nullopt},
  };
  // One network must have one key: ratios that rounding makes equal would give it two.
  for (const ResNetStage& stage : config.stages) {
    for (const int32_t width : stage.widths) {
      for (size_t i = 1; i < config.expansion_percents.size(); ++i) {
        const int64_t middle = MiddleChannels(width, config.expansion_percents[i]);
        if (MiddleChannels(width, config.expansion_percents[i - 1]) != middle) continue;
        return absl::InvalidArgumentError(
            absl::StrCat("expansion_percents: ", config.expansion_percents[i - 1], " and ",
                         config.expansion_percents[i], " both make ", middle, " channels out of ",
                         width, ", and so one network; leave one out"));
      }
    }
  }
  const int32_t most = config.depths.back();
  for (size_t s = 0; s < config.stages.size(); ++s) {
    const ResNetStage& stage = config.stages[s];
    const int depth = static_cast<int>(dimensions.size());
    dimensions.push_back({absl::StrCat("d", s + 1), config.depths, std::nullopt});
    dimensions.push_back({absl::StrCat("w", s + 1), Distinct(stage.widths), std::nullopt});
    for (int b = 0; b < stage.blocks; ++b) {
      // Depth d keeps the first blocks - (most - d).
      const int32_t needed = most - stage.blocks + b + 1;
      std::optional<ActivationCondition> condition;
      if (needed > config.depths.front()) condition = ActivationCondition{depth, needed};
      dimensions.push_back(
          {absl::StrCat("e", s + 1, ".", b + 1), config.expansion_percents, condition});
    }
  }
  FORALL_ASSIGN_OR_RETURN(SearchSpace space,
                          SearchSpace::Create(config.name, config.revision, std::move(dimensions)));
  return std::shared_ptr<const Family>(
      std::make_shared<ResNet>(std::move(config), std::move(space)));
}

absl::StatusOr<ResNetConfig> ParseResNetSpec(absl::string_view text) {
  FORALL_ASSIGN_OR_RETURN(const Json json, ParseSpecJson(text));
  ResNetConfig config;
  std::string family;
  SpecReader reader(json, "");
  reader.AllowOnly({"family", "name", "revision", "input_channels", "classes", "resolutions",
                    "stem", "stages", "depths", "expansion_percents", "batch_norm_epsilon"});
  reader.Text("family", &family);
  reader.Name("name", &config.name);
  reader.Integer("revision", 1, std::numeric_limits<int32_t>::max(), &config.revision);
  reader.Integer("input_channels", 1, 1024, &config.input_channels);
  reader.Integer("classes", 2, kMaxSpecClasses, &config.classes);
  reader.Integers("resolutions", 8, kMaxSpecResolution, &config.resolutions);
  reader.Integers("depths", 0, 16, &config.depths);
  reader.Integers("expansion_percents", 1, 1600, &config.expansion_percents);
  reader.Real("batch_norm_epsilon", &config.batch_norm_epsilon);

  SpecReader stem(reader.Child("stem"), "stem");
  stem.AllowOnly({"inner_widths", "widths"});
  stem.Integers("inner_widths", 1, kMaxSpecWidth, &config.stem_inner_widths, /*repeats=*/true);
  stem.Integers("widths", 1, kMaxSpecWidth, &config.stem_widths, /*repeats=*/true);
  reader.Join(stem);

  const Json& stages = reader.List("stages", 16);
  for (size_t i = 0; i < stages.size(); ++i) {
    ResNetStage stage;
    SpecReader fields(stages[i], absl::StrCat("stages[", i, "]"));
    fields.AllowOnly({"widths", "blocks", "stride"});
    fields.Integers("widths", 1, kMaxSpecWidth, &stage.widths, /*repeats=*/true);
    fields.Integer("blocks", 1, 64, &stage.blocks);
    fields.Integer("stride", 1, 2, &stage.stride);
    if (stage.blocks <= config.depths.back() - config.depths.front()) {
      fields.Fail("blocks", absl::StrCat("must be more than the ", config.depths.back(), " - ",
                                         config.depths.front(), " that the least depth skips"));
    }
    reader.Join(fields);
    config.stages.push_back(std::move(stage));
  }
  FORALL_RETURN_IF_ERROR(reader.status());
  return config;
}

}  // namespace forall
