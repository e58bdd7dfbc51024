// SPDX-License-Identifier: Apache-2.0
// The trainer's forward pass over the supernet's own tensors and the exported subnet are two
// implementations of one description: for random architectures of every family they must agree,
// with BatchNorm as nodes and folded, and so must the statistics that both calibrate.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "gtest/gtest.h"
#include "runtime/onnx_session.h"
#include "space/family.h"
#include "supernet/onnx/calibration.h"
#include "supernet/onnx/exporter.h"
#include "supernet/package.h"
#include "supernet/subnet_weights.h"
#include "supernet/testing/tiny_supernet.h"
#include "supernet/train/subnet_accuracy.h"
#include "supernet/train/supernet_model.h"

namespace forall {
namespace {

// One family with a trainer's model and the package that the trainer would write of it.
struct Subject {
  std::shared_ptr<const Family> family;
  std::unique_ptr<SupernetModel> model;
  std::shared_ptr<const Supernet> supernet;
};

Subject MakeSubject(std::shared_ptr<const Family> family) {
  Subject subject;
  subject.family = std::move(family);
  TrainOptions options;
  options.zero_residual_scale = false;  // or half of the weights would not matter
  subject.model = std::make_unique<SupernetModel>(subject.family, options, at::kCPU);
  SeedDevice(at::kCPU, 3);
  // BatchNorm scales and biases that are not ones and zeros; small enough for deep networks.
  subject.model->weights().add_(at::randn_like(subject.model->weights()), 0.02);
  const Network largest = *subject.family->Describe(subject.family->search_space().Largest());
  auto bytes = BuildWeightsFile(*subject.family,
                                subject.model->Export(subject.model->weights(), largest, {}), {});
  auto supernet = Supernet::FromBytes(*std::move(bytes), "trainer");
  subject.supernet = *std::move(supernet);
  return subject;
}

at::Tensor AsTensor(const Tensor& images) {
  return at::from_blob(const_cast<float*>(images.values.data()), images.shape, at::kFloat).clone();
}

Tensor RandomImages(const Network& network, int64_t count, uint64_t seed) {
  Tensor images;
  images.shape = {count, network.input.channels, network.input.height, network.input.width};
  Random random(seed);
  images.values.resize(static_cast<size_t>(count * network.input.elements()));
  for (float& value : images.values) value = static_cast<float>(random.Gaussian());
  return images;
}

void ExpectClose(const std::vector<float>& actual, const at::Tensor& expected,
                 const std::string& what) {
  const at::Tensor flat = expected.contiguous().flatten();
  ASSERT_EQ(static_cast<int64_t>(actual.size()), flat.numel()) << what;
  const float* values = flat.data_ptr<float>();
  double error = 0;
  double norm = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    error += std::pow(static_cast<double>(actual[i]) - static_cast<double>(values[i]), 2);
    norm += std::pow(static_cast<double>(values[i]), 2);
  }
  EXPECT_LE(std::sqrt(error), 2e-4 * std::sqrt(norm) + 1e-6) << what;
}

// Calibrated on one batch by both; then the same images through both.
void CompareArchitecture(const Subject& subject, const Architecture& architecture, uint64_t seed) {
  FORALL_ASSERT_OK_AND_ASSIGN(const Network network, subject.family->Describe(architecture));
  FORALL_ASSERT_OK_AND_ASSIGN(SubnetWeights weights, ExtractWeights(*subject.supernet, network));
  const Tensor images = RandomImages(network, 3, seed);
  const at::Tensor batch = AsTensor(images);
  const NetworkStatistics trained =
      subject.model->CalibrationForward(network, subject.model->weights(), batch);

  bool given = false;
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<BatchNormStatistics> calibrated,
                              Calibrate(
                                  network, weights,
                                  [&](Tensor* next) -> absl::StatusOr<bool> {
                                    if (given) return false;
                                    given = true;
                                    *next = images;
                                    return true;
                                  },
                                  SessionOptions()));
  ASSERT_EQ(calibrated.size(), trained.size());
  for (const BatchNormStatistics& layer : calibrated) {
    const LayerStatistics& other = trained.at(layer.layer);
    const std::string& name = network.layers[static_cast<size_t>(layer.layer)].name;
    ExpectClose(layer.variance, other.variance, name + " variance");
  }
  FORALL_ASSERT_OK(ApplyStatistics(network, calibrated, &weights));

  const at::Tensor logits =
      subject.model->EvaluationForward(network, subject.model->weights(), batch, trained);
  for (const BatchNormForm form : {BatchNormForm::kNodes, BatchNormForm::kFolded}) {
    OnnxExportOptions options;
    options.batch_norm = form;
    FORALL_ASSERT_OK_AND_ASSIGN(const std::string model, BuildOnnxModel(network, weights, options));
    FORALL_ASSERT_OK_AND_ASSIGN(const auto session, OnnxSession::Create(model, SessionOptions()));
    const TensorView view{images.shape, images.values};
    FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<Tensor> outputs, session->Run({&view, 1}));
    ExpectClose(outputs[0].values, logits,
                form == BatchNormForm::kNodes ? "BatchNorm as nodes" : "folded");
  }
}

class TrainerForwardTest : public ::testing::TestWithParam<std::string> {};

TEST_P(TrainerForwardTest, EqualsTheExportedSubnetOfRandomArchitectures) {
  const Subject subject = MakeSubject(*FindFamily(GetParam()));
  const SearchSpace& space = subject.family->search_space();
  Random random(17);
  std::vector<Architecture> architectures = {space.Smallest()};
  for (int i = 0; i < 3; ++i) architectures.push_back(space.Sample(&random));
  for (Architecture& architecture : architectures) {
    // A low resolution, for speed; which one it is does not matter to the weights.
    architecture.choices[*space.FindDimension("r")] = 0;
    SCOPED_TRACE(space.ToJson(architecture));
    CompareArchitecture(subject, architecture, 40);
  }
}

INSTANTIATE_TEST_SUITE_P(ReadyMade, TrainerForwardTest, ::testing::ValuesIn(FamilyNames()),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

TEST(TrainerForwardTest, EqualsTheExportedSubnetOfTinyFamiliesAtEveryResolution) {
  for (const auto& family : ::forall::testing::TinyFamilies()) {
    const Subject subject = MakeSubject(family);
    Random random(18);
    for (int i = 0; i < 12; ++i) {
      const Architecture architecture = family->search_space().Sample(&random);
      SCOPED_TRACE(family->search_space().ToJson(architecture));
      CompareArchitecture(subject, architecture, 50 + static_cast<uint64_t>(i));
    }
  }
}

}  // namespace
}  // namespace forall
