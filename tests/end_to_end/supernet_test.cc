// SPDX-License-Identifier: Apache-2.0
// The supernet that the repository ships is as good as its model card says, measured as users
// measure: exported, calibrated, run by ONNX Runtime on the images that nobody chose by.
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "base/file.h"
#include "base/parallel.h"
#include "base/testing/matchers.h"
#include "data/dataset.h"
#include "evaluator/accuracy/accuracy_evaluator.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "runtime/onnx_session.h"
#include "space/family.h"
#include "supernet/export.h"
#include "supernet/package.h"

namespace forall {
namespace {

class ShippedSupernetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* const source = std::getenv("FORALL_SOURCE_DIR");
    root_ = source == nullptr ? "." : source;
    if (!std::filesystem::exists(root_ + "/build/deps/fashion-mnist")) {
      GTEST_SKIP() << "NO TEST RAN: no images in " << root_
                   << "/build/deps; tools/setup.sh fetches them";
    }
    FORALL_ASSERT_OK_AND_ASSIGN(supernet_, Supernet::Load(root_ + "/supernets/fashion_mnist"));
  }

  // Top-1 in percent on the test split.
  double TestAccuracy(const Architecture& architecture) {
    const auto open = [&](Split split) {
      return OpenDataset("fashion_mnist", split, root_ + "/build/deps").value();
    };
    const auto train = open(Split::kTrain);
    const auto test = open(Split::kTest);
    CalibrationOptions calibration;
    calibration.images = 2000;
    SessionOptions session;
    session.intra_op_threads = UsableCores();
    const ExportedSubnet subnet =
        ExportSubnet(*supernet_, architecture, *train, calibration, DeploymentRecipe{}, session)
            .value();
    const Network network = supernet_->family().Describe(architecture).value();
    const Accuracy accuracy =
        EvaluateAccuracy(subnet.bytes, *test, ScreeningSubset(*test, test->size()),
                         static_cast<int>(network.input.height), {})
            .value();
    EXPECT_EQ(accuracy.images, 10'000);
    return 100.0 * static_cast<double>(accuracy.top1_correct) /
           static_cast<double>(accuracy.images);
  }

  std::string root_;
  std::shared_ptr<const Supernet> supernet_;
};

TEST_F(ShippedSupernetTest, LargestAndSmallestKeepTheCardsWord) {
  const SearchSpace& space = supernet_->family().search_space();
  // The second figure is the trainer's own, by LibTorch: two runtimes, one network.
  const double largest = TestAccuracy(space.Largest());
  EXPECT_GE(largest, 93.5);
  EXPECT_NEAR(largest, 95.17, 0.15);
  const double smallest = TestAccuracy(space.Smallest());
  EXPECT_GE(smallest, 91.8);
  EXPECT_NEAR(smallest, 94.52, 0.15);
}

TEST_F(ShippedSupernetTest, CardNamesTheFileThatIsThere) {
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string card,
                              ReadFile(root_ + "/supernets/fashion_mnist/README.md"));
  EXPECT_THAT(card, ::testing::HasSubstr(supernet_->hash()));
  EXPECT_LE(std::filesystem::file_size(supernet_->weights_path()), 5'000'000u);
}

}  // namespace
}  // namespace forall
