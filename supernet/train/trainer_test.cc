// SPDX-License-Identifier: Apache-2.0
// The trainer on the CPU: a tiny search space, a synthetic dataset, seconds.
#include "supernet/train/trainer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "data/resize.h"
#include "data/stored_dataset.h"
#include "supernet/package.h"
#include "supernet/subnet_weights.h"
#include "supernet/testing/tiny_supernet.h"
#include "supernet/train/device_images.h"
#include "supernet/train/subnet_accuracy.h"
#include "supernet/train/supernet_model.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kTinySpec[] = R"({
  "family": "ofa_mobilenet_v3", "name": "tiny", "revision": 1,
  "input_channels": 1, "classes": 3, "resolutions": [8, 12],
  "stem": {"width": 8, "stride": 1, "activation": "h_swish"},
  "first_block": {"width": 8, "activation": "relu"},
  "stages": [
    {"width": 8, "stride": 2, "activation": "relu6", "squeeze_excite": false},
    {"width": 16, "stride": 1, "activation": "h_swish", "squeeze_excite": true}],
  "kernels": [3, 5, 7], "expansions": [2, 3], "depths": [1, 2],
  "head": {"expand_width": 24, "feature_width": 16, "activation": "h_swish"},
  "batch_norm_epsilon": 1e-5})";

std::shared_ptr<const Family> Tiny() { return *FamilyFromSpec(kTinySpec); }

// A dataset that does not hand its bytes out: a folder of image files holds none.
class Bare : public StoredDataset {
 public:
  using StoredDataset::StoredDataset;
  std::optional<StoredPixels> stored_pixels() const override { return std::nullopt; }
};

// Three classes that differ by which third of the image is bright.
template <typename Kind = StoredDataset>
std::shared_ptr<const Dataset> Stripes(Split split, int64_t images) {
  constexpr int kSide = 12;
  const ImageFormat format = {3, 1, kSide, kSide};
  ImageStoreContent content;
  const int s = static_cast<int>(split);
  Random random(s);
  for (int64_t i = 0; i < images; ++i) {
    content.labels[s].push_back(static_cast<char>(i % 3));
    for (int p = 0; p < kSide * kSide; ++p) {
      const bool bright = (p / kSide) * 3 / kSide == i % 3;
      content.pixels[s].push_back(static_cast<char>(random.Uniform(100) + (bright ? 90 : 20)));
    }
  }
  auto store = ImageStoreSplit::Parse(SerializeImageStore(format, content), split, format, "toy");
  return std::make_shared<Kind>(
      DatasetDescription{"stripes", format, {"a", "b", "c"}, {{0.4f}, {0.2f}}}, split,
      *std::move(store));
}

TrainData Data() {
  return {Stripes(Split::kTrain, 192), Stripes(Split::kValidation, 60), Stripes(Split::kTest, 60)};
}

TrainOptions Quick() {
  TrainOptions options;
  options.epochs = 6;
  options.schedule_epochs = 6;
  options.batch = 32;
  options.lr = 0.2;
  options.warmup_epochs = 1;
  options.ema_decay = 0.8;
  options.random_subnets = 1;
  options.dropout = 0.1;
  options.shift = 1;
  options.flip = true;
  options.calibration_images = 96;
  options.calibration_batch = 40;
  options.table_subnets = 2;
  options.eval_every = 0;
  options.log_every = 1000;
  options.checkpoint_every = 1;
  return options;
}

// A second, slow and obvious forward pass, in double.
using Planes = std::vector<double>;  // [channels, height, width]

double At(const Planes& x, const FeatureShape& s, int64_t c, int64_t y, int64_t z) {
  if (y < 0 || z < 0 || y >= s.height || z >= s.width) return 0;
  return x[(c * s.height + y) * s.width + z];
}

Planes Convolve(const Layer& layer, const std::vector<std::vector<float>>& weights,
                const Planes& x) {
  Planes out(layer.out.elements());
  const int64_t in_per_group = layer.in.channels / layer.groups;
  const int64_t out_per_group = layer.out.channels / layer.groups;
  const int k = layer.kernel;
  for (int64_t o = 0; o < layer.out.channels; ++o) {
    for (int64_t y = 0; y < layer.out.height; ++y) {
      for (int64_t z = 0; z < layer.out.width; ++z) {
        double sum = layer.has_bias ? weights[1][o] : 0.0;
        for (int64_t i = 0; i < in_per_group; ++i) {
          for (int a = 0; a < k; ++a) {
            for (int b = 0; b < k; ++b) {
              sum += weights[0][((o * in_per_group + i) * k + a) * k + b] *
                     At(x, layer.in, o / out_per_group * in_per_group + i,
                        y * layer.stride + a - k / 2, z * layer.stride + b - k / 2);
            }
          }
        }
        out[(o * layer.out.height + y) * layer.out.width + z] = sum;
      }
    }
  }
  return out;
}

double ActivationOf(Activation activation, double v) {
  const double gate = std::min(std::max(v + 3, 0.0), 6.0) / 6;
  switch (activation) {
    case Activation::kRelu:
      return std::max(v, 0.0);
    case Activation::kRelu6:
      return std::min(std::max(v, 0.0), 6.0);
    case Activation::kHSwish:
      return v * gate;
    case Activation::kHSigmoid:
      return gate;
  }
  return 0;
}

// Element `index` of a pool's output.
double Pool(const Layer& layer, const Planes& x, int64_t index) {
  const bool max = layer.kind == LayerKind::kMaxPool;
  const int64_t pad = max ? layer.kernel / 2 : 0;
  const int64_t top = index / layer.out.width % layer.out.height * layer.stride - pad;
  const int64_t left = index % layer.out.width * layer.stride - pad;
  const int64_t channel = index / layer.out.width / layer.out.height;
  std::vector<double> window;
  for (int64_t y = std::max<int64_t>(top, 0); y < std::min(top + layer.kernel, layer.in.height);
       ++y) {
    for (int64_t z = std::max<int64_t>(left, 0); z < std::min(left + layer.kernel, layer.in.width);
         ++z) {
      window.push_back(At(x, layer.in, channel, y, z));
    }
  }
  if (max) return *std::max_element(window.begin(), window.end());
  return std::accumulate(window.begin(), window.end(), 0.0) / static_cast<double>(window.size());
}

Planes ApplyLayer(const Layer& layer, const std::vector<std::vector<float>>& weights,
                  const std::vector<Planes>& in) {
  Planes out(layer.out.elements());
  const int64_t plane = layer.in.height * layer.in.width;
  switch (layer.kind) {
    case LayerKind::kConvolution:
      return Convolve(layer, weights, in[0]);
    case LayerKind::kBatchNorm:
      for (size_t i = 0; i < out.size(); ++i) {
        const int64_t c = static_cast<int64_t>(i) / plane;
        out[i] =
            (in[0][i] - weights[2][c]) / std::sqrt(weights[3][c] + layer.epsilon) * weights[0][c] +
            weights[1][c];
      }
      return out;
    case LayerKind::kActivation:
      for (size_t i = 0; i < out.size(); ++i) out[i] = ActivationOf(layer.activation, in[0][i]);
      return out;
    case LayerKind::kGlobalAveragePool:
      for (int64_t i = 0; i < layer.in.elements(); ++i) {
        out[i / plane] += in[0][i] / static_cast<double>(plane);
      }
      return out;
    case LayerKind::kMaxPool:
    case LayerKind::kAveragePool:
      for (int64_t i = 0; i < layer.out.elements(); ++i) out[i] = Pool(layer, in[0], i);
      return out;
    case LayerKind::kMultiply:
      for (size_t i = 0; i < out.size(); ++i) out[i] = in[0][i] * in[1][i / plane];
      return out;
    case LayerKind::kAdd:
      for (size_t i = 0; i < out.size(); ++i) out[i] = in[0][i] + in[1][i];
      return out;
    case LayerKind::kLinear:
      for (int64_t o = 0; o < layer.out.channels; ++o) {
        out[o] = weights[1][o];
        for (size_t i = 0; i < in[0].size(); ++i)
          out[o] += weights[0][o * in[0].size() + i] * in[0][i];
      }
      return out;
  }
  return out;
}

Planes SlowForward(const Network& network, const SubnetWeights& weights, const Planes& image) {
  std::vector<Planes> values;
  for (size_t i = 0; i < network.layers.size(); ++i) {
    std::vector<Planes> in;
    for (const int input : network.layers[i].inputs) {
      in.push_back(input < 0 ? image : values[input]);
    }
    values.push_back(ApplyLayer(network.layers[i], weights.layers[i], in));
  }
  return values.back();
}

std::vector<float> Values(const at::Tensor& tensor) {
  const at::Tensor contiguous = tensor.contiguous();
  const float* data = contiguous.data_ptr<float>();
  return std::vector<float>(data, data + contiguous.numel());
}

std::vector<Architecture> SomeArchitectures(const Family& family, int random_ones) {
  const SearchSpace& space = family.search_space();
  std::vector<Architecture> all = {space.Largest(), space.Smallest()};
  Random random(5);
  for (int i = 0; i < random_ones; ++i) all.push_back(space.Sample(&random));
  return all;
}

// A model with nothing special about its weights: every tensor matters.
SupernetModel Perturbed(const std::shared_ptr<const Family>& family) {
  TrainOptions options;
  options.zero_residual_scale = false;
  SupernetModel model(family, options, at::kCPU);
  SeedDevice(at::kCPU, 3);
  model.weights().add_(at::randn_like(model.weights()), 0.05);
  return model;
}

class EveryFamilyModelTest : public ::testing::TestWithParam<std::shared_ptr<const Family>> {};

TEST_P(EveryFamilyModelTest, LogitsAreThoseOfTheExportedWeightsForAnySubnet) {
  const std::shared_ptr<const Family>& family = GetParam();
  const SupernetModel model = Perturbed(family);
  const auto train = Stripes(Split::kTrain, 96);
  const DeviceImages images(*train, at::kCPU);
  const at::Tensor calibration = at::arange(96, at::kLong);
  const Network largest = *family->Describe(family->search_space().Largest());
  const auto statistics =
      Calibrate(model, model.weights(), largest, images, calibration, /*batch=*/40);
  FORALL_ASSERT_OK_AND_ASSIGN(
      const std::string bytes,
      BuildWeightsFile(*family, model.Export(model.weights(), largest, statistics), {}));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto supernet, Supernet::FromBytes(bytes, "memory"));

  for (const Architecture& architecture : SomeArchitectures(*family, 4)) {
    SCOPED_TRACE(family->search_space().ToJson(architecture));
    const Network network = *family->Describe(architecture);
    const int side = static_cast<int>(network.input.height);
    const auto calibrated =
        Calibrate(model, model.weights(), network, images, calibration, /*batch=*/40);
    FORALL_ASSERT_OK_AND_ASSIGN(SubnetWeights weights, ExtractWeights(*supernet, network));
    std::vector<BatchNormStatistics> replaced;
    for (const auto& [layer, layer_statistics] : calibrated) {
      replaced.push_back({layer, Values(layer_statistics.mean), Values(layer_statistics.variance)});
    }
    FORALL_ASSERT_OK(ApplyStatistics(network, replaced, &weights));

    const at::Tensor batch = images.Finish(images.Take(at::arange(2, at::kLong)), side);
    const std::vector<float> logits =
        Values(model.EvaluationForward(network, model.weights(), batch, calibrated));
    const std::vector<float> pixels = Values(batch);
    for (int i = 0; i < 2; ++i) {
      const Planes image(pixels.begin() + i * side * side, pixels.begin() + (i + 1) * side * side);
      const Planes expected = SlowForward(network, weights, image);
      for (int c = 0; c < 3; ++c) EXPECT_NEAR(logits[i * 3 + c], expected[c], 2e-4);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllFamilies, EveryFamilyModelTest,
                         ::testing::ValuesIn(::forall::testing::TinyFamilies()),
                         [](const auto& test) {
                           std::string name = test.param->search_space().id();
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(SupernetModelTest, CalibrationIsTheMeanOfBatchStatisticsWeightedBySize) {
  const auto family = Tiny();
  const SupernetModel model = Perturbed(family);
  const auto train = Stripes(Split::kTrain, 48);
  const DeviceImages images(*train, at::kCPU);
  const Network network = *family->Describe(family->search_space().Smallest());
  const auto run = [&](int64_t begin, int64_t end, int batch) {
    return Calibrate(model, model.weights(), network, images, at::arange(begin, end, at::kLong),
                     batch);
  };
  const NetworkStatistics together = run(0, 48, 32);
  const NetworkStatistics first = run(0, 32, 32);
  const NetworkStatistics second = run(32, 48, 16);
  for (const auto& [layer, statistics] : together) {
    const at::Tensor mean = first.at(layer).mean * (2.0 / 3) + second.at(layer).mean * (1.0 / 3);
    const at::Tensor variance =
        first.at(layer).variance * (2.0 / 3) + second.at(layer).variance * (1.0 / 3);
    EXPECT_TRUE(at::allclose(statistics.mean, mean, 1e-4, 1e-5));
    EXPECT_TRUE(at::allclose(statistics.variance, variance, 1e-4, 1e-5));
  }
}

TEST(SupernetModelTest, GradientsOfSlicesAndTransformsReachTheWholeTensors) {
  const auto family = Tiny();
  const auto train = Stripes(Split::kTrain, 24);
  const DeviceImages images(*train, at::kCPU);
  for (const Architecture& architecture : SomeArchitectures(*family, 2)) {
    SCOPED_TRACE(family->search_space().ToJson(architecture));
    SupernetModel model = Perturbed(family);
    const Network network = *family->Describe(architecture);
    const at::Tensor batch = images.Finish(images.Take(at::arange(24, at::kLong)),
                                           static_cast<int>(network.input.height));
    const auto loss = [&] {
      return at::log_softmax(model.TrainForward(network, batch, 0), 1)
          .gather(1, images.labels().unsqueeze(1))
          .mean()
          .neg();
    };
    model.Backward(loss());
    // Along the gradient itself the loss must rise by the gradient's squared length.
    const at::Tensor gradient = model.gradients().clone();
    const double length = gradient.norm().item<double>();
    ASSERT_GT(length, 1e-3);
    const double step = 2e-3;
    model.weights().add_(gradient, step / length);
    const double above = loss().item<double>();
    model.weights().sub_(gradient, 2 * step / length);
    const double below = loss().item<double>();
    EXPECT_NEAR((above - below) / (2 * step), length, 0.03 * length);
    // Passes add up.
    model.weights().add_(gradient, step / length);
    model.Backward(loss());
    EXPECT_TRUE(at::allclose(model.gradients(), gradient * 2, 1e-2, 1e-3 * length));
  }
}

TEST(DeviceImagesTest, FinishEqualsTheDatasetsOwnTransform) {
  const auto train = Stripes(Split::kTrain, 30);
  const DeviceImages images(*train, at::kCPU);
  for (const int resolution : {8, 12}) {
    std::vector<float> expected(2 * resolution * resolution);
    FORALL_ASSERT_OK(train->Load({4, 29}, resolution, absl::MakeSpan(expected)));
    at::Tensor indices = at::full({2}, 4, at::kLong);
    indices[1] = 29;
    const std::vector<float> got = Values(images.Finish(images.Take(indices), resolution));
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-5);
  }
}

TEST(DeviceImagesTest, ResizingIsTheLibrarysAntialiasedBilinear) {
  const at::Tensor image = at::rand({1, 1, 28, 28}) * 255;
  for (const int64_t to : {20, 24, 33}) {
    const std::vector<int64_t> size = {to, to};
    const std::vector<float> expected =
        Values(at::_upsample_bilinear2d_aa(image, at::IntArrayRef(size), false));
    std::vector<float> got(to * to);
    PlaneResizer(28, static_cast<int>(to)).Resize(Values(image), absl::MakeSpan(got));
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-3);
  }
}

TEST(DeviceImagesTest, AugmentationIsOffWhenAskedAndSeededWhenOn) {
  const auto train = Stripes(Split::kTrain, 30);
  const DeviceImages images(*train, at::kCPU);
  const at::Tensor bytes = images.Take(at::arange(30, at::kLong));
  TrainOptions off;
  off.flip = false;
  off.shift = 0;
  off.erase_probability = 0;
  EXPECT_TRUE(at::equal(images.Augment(bytes, off), bytes));

  TrainOptions flip = off;
  flip.flip = true;
  SeedDevice(at::kCPU, 1);
  const at::Tensor flipped = images.Augment(bytes, flip);
  const at::Tensor same = (flipped == bytes).flatten(1).all(1);
  const at::Tensor mirrored = (flipped == bytes.flip({3})).flatten(1).all(1);
  EXPECT_TRUE(same.logical_or(mirrored).all().item<bool>());
  EXPECT_TRUE(same.any().item<bool>());
  EXPECT_TRUE(mirrored.any().item<bool>());

  TrainOptions shift = off;
  shift.shift = 2;
  SeedDevice(at::kCPU, 2);
  const at::Tensor shifted = images.Augment(bytes, shift);
  for (int64_t i = 0; i < 30; ++i) {
    bool found = false;
    const at::Tensor framed = at::constant_pad_nd(bytes[i][0], {2, 2, 2, 2}, 0);
    for (int64_t y = 0; y <= 4 && !found; ++y) {
      for (int64_t x = 0; x <= 4 && !found; ++x) {
        found = at::equal(shifted[i][0], framed.narrow(0, y, 12).narrow(1, x, 12));
      }
    }
    EXPECT_TRUE(found) << i;
  }

  TrainOptions erase = off;
  erase.erase_probability = 1;
  SeedDevice(at::kCPU, 3);
  const at::Tensor erased = images.Augment(bytes, erase);
  const at::Tensor changed = (erased != bytes).flatten(1).sum(1);
  EXPECT_GE(changed.min().item<int64_t>(), 1);
  EXPECT_LE(changed.max().item<int64_t>(), 144 * 0.3);
  SeedDevice(at::kCPU, 3);
  EXPECT_TRUE(at::equal(images.Augment(bytes, erase), erased));
}

TEST(TrainTest, LearnsASimpleTaskAndShipsAPackageThatLoads) {
  testing::TempDir dir;
  TrainOptions options = Quick();
  options.epochs = options.schedule_epochs = 20;
  options.erase_probability = 0;
  options.package = dir / "package";
  options.table = dir / "table.json";
  options.test = true;
  FakeClock clock;
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainResult result, Train(options, Tiny(), Data(), &clock));
  EXPECT_TRUE(result.complete);
  EXPECT_EQ(result.step, 20 * 6);
  ASSERT_EQ(result.table.size(), 4u);
  for (const SubnetAccuracy& row : result.table) {
    EXPECT_GT(row.validation, 0.9) << row.label;
    EXPECT_GT(row.test, 0.9) << row.label;
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const auto package, Supernet::Load(options.package));
  EXPECT_EQ(package->hash(), result.package_hash);
  EXPECT_EQ(package->dataset(), "stripes");
  EXPECT_EQ(package->family().Spec(), Tiny()->Spec());
  EXPECT_EQ(package->notes().at("steps"), "120");
  EXPECT_THAT(package->notes().at("recipe"), HasSubstr("--lr 0.2"));
  EXPECT_THAT(ReadFile(options.table), testing::IsOkAndHolds(HasSubstr("\"largest\"")));
}

// The time limit is a matter of the clock alone: this one moves a second at every look.
class TickingClock : public FakeClock {
 public:
  int64_t SteadyNanos() override {
    Advance(absl::Seconds(1));
    return FakeClock::SteadyNanos();
  }
};

TEST(TrainTest, ARunInPiecesEqualsAnUninterruptedOneBitForBit) {
  testing::TempDir dir;
  FakeClock clock;
  TrainOptions whole = Quick();
  whole.package = dir / "whole";
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainResult expected, Train(whole, Tiny(), Data(), &clock));

  TrainOptions pieces = Quick();
  pieces.package = dir / "pieces";
  pieces.checkpoint_dir = dir / "checkpoints";
  pieces.resume = true;
  pieces.time_limit_seconds = 9;
  TickingClock ticking;
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainResult first, Train(pieces, Tiny(), Data(), &ticking));
  EXPECT_FALSE(first.complete);
  EXPECT_GT(first.step, 0);
  EXPECT_NE(first.step % 6, 0) << "must stop inside an epoch to show anything";
  EXPECT_THAT(Supernet::Load(pieces.package), StatusIs(absl::StatusCode::kNotFound));
  pieces.time_limit_seconds = 0;
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainResult second, Train(pieces, Tiny(), Data(), &clock));
  EXPECT_TRUE(second.complete);
  EXPECT_EQ(second.step, expected.step);
  EXPECT_EQ(second.last_loss, expected.last_loss);

  FORALL_ASSERT_OK_AND_ASSIGN(const auto a, Supernet::Load(whole.package));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto b, Supernet::Load(pieces.package));
  const auto family = Tiny();
  for (const TensorSpec& tensor : family->tensors()) {
    if (tensor.role == TensorRole::kBatchCounter) continue;
    EXPECT_EQ(a->Find(tensor.name)->values, b->Find(tensor.name)->values) << tensor.name;
  }
}

// Three options of everything, so that progressive shrinking has all its phases.
std::shared_ptr<const Family> TinyWithThreeOptions() {
  std::string spec = kTinySpec;
  const auto replace = [&spec](const std::string& from, const std::string& to) {
    spec.replace(spec.find(from), from.size(), to);
  };
  replace(R"("expansions": [2, 3], "depths": [1, 2])",
          R"("expansions": [1, 2, 3], "depths": [1, 2, 3])");
  return *FamilyFromSpec(spec);
}

// Two steps in each of the six phases.
TrainOptions QuickProgressive() {
  TrainOptions options = Quick();
  options.method = TrainMethod::kProgressive;
  options.epochs = options.schedule_epochs = 2;
  options.phase_shares = {1, 1, 1, 1, 1, 1};
  options.phase_lr = {1, 1, 1, 1, 1, 1};
  options.table_subnets = 0;
  return options;
}

void ExpectEqualPackages(const Family& family, const std::string& a, const std::string& b) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto first, Supernet::Load(a));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto second, Supernet::Load(b));
  for (const TensorSpec& tensor : family.tensors()) {
    if (tensor.role == TensorRole::kBatchCounter) continue;
    EXPECT_EQ(first->Find(tensor.name)->values, second->Find(tensor.name)->values) << tensor.name;
  }
}

TEST(TrainTest, ProgressiveShrinkingCutInEveryPhaseEqualsAnUninterruptedOneBitForBit) {
  testing::TempDir dir;
  FakeClock clock;
  const auto family = TinyWithThreeOptions();
  TrainOptions whole = QuickProgressive();
  whole.package = dir / "whole";
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainResult expected, Train(whole, family, Data(), &clock));
  EXPECT_EQ(expected.step, 12);

  TrainOptions pieces = QuickProgressive();
  pieces.package = dir / "pieces";
  pieces.checkpoint_dir = dir / "checkpoints";
  pieces.resume = true;
  pieces.time_limit_seconds = 0.5;  // one step, by a clock that moves a second at every look
  std::vector<int64_t> cuts;
  for (bool complete = false; !complete;) {
    TickingClock ticking;
    if (cuts.size() == 11) pieces.time_limit_seconds = 0;
    FORALL_ASSERT_OK_AND_ASSIGN(const TrainResult piece, Train(pieces, family, Data(), &ticking));
    complete = piece.complete;
    cuts.push_back(piece.step);
  }
  // After every single step: inside each phase and at each border.
  EXPECT_EQ(cuts, (std::vector<int64_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
  ExpectEqualPackages(*family, whole.package, pieces.package);
}

TEST(TrainTest, ProgressiveShrinkingLearnsASimpleTaskAndFinishesFromACheckpoint) {
  testing::TempDir dir;
  FakeClock clock;
  TrainOptions options = QuickProgressive();
  options.epochs = options.schedule_epochs = 24;
  options.erase_probability = 0;
  options.table_subnets = 2;
  options.checkpoint_dir = dir / "checkpoints";
  options.lines = dir / "lines.jsonl";
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainResult result, Train(options, Tiny(), Data(), &clock));
  ASSERT_EQ(result.table.size(), 4u);
  for (const SubnetAccuracy& row : result.table) EXPECT_GT(row.validation, 0.9) << row.label;
  options.finish = true;
  options.package = dir / "package";
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainResult finished, Train(options, Tiny(), Data(), &clock));
  EXPECT_EQ(finished.step, result.step);
  EXPECT_EQ(finished.table[1].validation, result.table[1].validation);
  FORALL_ASSERT_OK_AND_ASSIGN(const auto package, Supernet::Load(options.package));
  EXPECT_THAT(package->notes().at("trainer"), HasSubstr("progressive shrinking"));
  EXPECT_THAT(package->notes().at("recipe"), HasSubstr("--method progressive"));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string lines, ReadFile(options.lines));
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 2);
  EXPECT_THAT(lines, AllOf(HasSubstr(R"({"method":"progressive","seed":1,"epochs":24)"),
                           HasSubstr(R"("subnet":"smallest")"), HasSubstr(R"("macs":)")));
}

TEST(TrainTest, OneArchitectureAloneIsTrainedAndNothingElse) {
  FakeClock clock;
  testing::TempDir dir;
  TrainOptions options = Quick();
  options.method = TrainMethod::kAlone;
  options.epochs = options.schedule_epochs = 12;
  options.erase_probability = 0;
  options.architecture = "smallest";
  options.checkpoint_dir = dir / "checkpoints";
  const auto family = Tiny();
  const SearchSpace& space = family->search_space();
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainResult result, Train(options, family, Data(), &clock));
  ASSERT_EQ(result.table.size(), 1u);
  EXPECT_EQ(result.table[0].architecture, space.Smallest());
  EXPECT_GT(result.table[0].validation, 0.9);
  EXPECT_GT(result.table[0].macs, 0);
  // Another network is another training.
  options.resume = true;
  options.architecture = "largest";
  EXPECT_THAT(Train(options, family, Data(), &clock),
              StatusIs(absl::StatusCode::kFailedPrecondition));

  // All ways of saying which.
  options.resume = false;
  options.checkpoint_dir.clear();
  options.epochs = options.schedule_epochs = 1;
  options.architecture = space.ToJson(space.Largest());
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainResult json, Train(options, family, Data(), &clock));
  EXPECT_EQ(json.table[0].architecture, space.Largest());
  FORALL_ASSERT_OK(WriteFileAtomically(dir / "subnet.json", options.architecture));
  options.architecture = dir / "subnet.json";
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainResult file, Train(options, family, Data(), &clock));
  EXPECT_EQ(file.table[0].validation, json.table[0].validation);
  TrainOptions sandwich = Quick();
  sandwich.epochs = sandwich.schedule_epochs = 1;
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainResult table, Train(sandwich, family, Data(), &clock));
  options.architecture = "random-2";
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainResult random, Train(options, family, Data(), &clock));
  EXPECT_EQ(random.table[0].architecture, table.table[3].architecture);
  options.architecture = "tiniest";
  EXPECT_THAT(
      Train(options, family, Data(), &clock),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--architecture: \"tiniest\"")));
}

TEST(TrainTest, FinishMakesThePackageOfACheckpointWithoutTraining) {
  testing::TempDir dir;
  FakeClock clock;
  TrainOptions options = Quick();
  options.checkpoint_dir = dir / "checkpoints";
  options.finish = true;
  EXPECT_THAT(Train(options, Tiny(), Data(), &clock),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("holds no checkpoint")));
  options.finish = false;
  options.epochs = 2;
  FORALL_ASSERT_OK(Train(options, Tiny(), Data(), &clock).status());
  options.finish = true;
  options.epochs = 6;
  options.package = dir / "package";
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainResult result, Train(options, Tiny(), Data(), &clock));
  EXPECT_EQ(result.step, 12);
  FORALL_EXPECT_OK(Supernet::Load(options.package).status());
}

TEST(TrainTest, AllRunsAreReadBeforeTheFirstOneBegins) {
  const testing::TempDir dir;
  const auto run = [&](const std::string& lines) {
    FORALL_EXPECT_OK(WriteFileAtomically(dir / "runs", lines));
    return RunAll({"--data", dir / "nowhere"}, dir / "runs");
  };
  EXPECT_THAT(run("--seed 1\n--sead 2\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("sead")));
  EXPECT_THAT(run("# none\n\n"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("names no run")));
  EXPECT_THAT(run("--help\n"), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--help")));
  // A run that fails is named by its line.
  EXPECT_THAT(run("--seed 1\n").message(), HasSubstr("--seed 1: "));
}

TEST(TrainTest, AnotherRecipeOrAnotherDatasetIsRefused) {
  testing::TempDir dir;
  FakeClock clock;
  TrainOptions options = Quick();
  options.epochs = 1;
  options.checkpoint_dir = dir / "checkpoints";
  FORALL_ASSERT_OK(Train(options, Tiny(), Data(), &clock).status());
  options.resume = true;
  options.lr = 0.3;
  EXPECT_THAT(Train(options, Tiny(), Data(), &clock),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("checkpoint of another training"), HasSubstr("--lr 0.3"))));
  EXPECT_THAT(Train(Quick(), *FindFamily("ofa_mbv3_w1.0"), Data(), &clock),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("dataset stripes has 1 channels and 3 classes")));
  TrainOptions custom = Quick();
  custom.depthwise = DepthwiseMethod::kCustom;
  EXPECT_FALSE(Train(custom, Tiny(), Data(), &clock).ok());
}

TEST(TrainTest, AFolderOfImageFilesIsRefused) {
  TrainData data = Data();
  data.train = Stripes<Bare>(Split::kTrain, 192);
  EXPECT_THAT(Train(Quick(), Tiny(), data, Clock::Real()).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("folder of image files")));
}

TEST(TrainTest, ALossThatIsNotFiniteStopsTheRun) {
  FakeClock clock;
  TrainOptions options = Quick();
  options.lr = 100;
  options.clip_norm = 0;
  options.momentum = 0.999;
  options.weight_decay = 1;
  options.log_every = 1;
  options.epochs = options.schedule_epochs = 40;
  EXPECT_THAT(Train(options, Tiny(), Data(), &clock),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("the loss is not finite")));
}

}  // namespace
}  // namespace forall
