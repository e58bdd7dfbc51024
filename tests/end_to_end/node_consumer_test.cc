// SPDX-License-Identifier: Apache-2.0
// An exported subnet in somebody else's program: Node.js with the npm package onnxruntime-node
// loads the file and finds the same logits.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "data/dataset.h"
#include "gtest/gtest.h"
#include "runtime/onnx_session.h"
#include "supernet/export.h"
#include "supernet/package.h"

namespace forall {
namespace {

using ::forall::testing::TempDir;

constexpr int64_t kImages = 16;

class NodeConsumerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* const source = std::getenv("FORALL_SOURCE_DIR");
    root_ = source == nullptr ? "." : source;
    package_ = root_ + "/build/deps/onnxruntime-node/node_modules";
    if (!std::filesystem::exists(package_) || std::system("node --version > /dev/null 2>&1") != 0) {
      GTEST_SKIP() << "NO TEST RAN: onnxruntime-node is not installed; tools/setup.sh --node does";
    }
    if (!std::filesystem::exists(root_ + "/build/deps/fashion-mnist")) {
      GTEST_SKIP() << "NO TEST RAN: no images; tools/setup.sh fetches them";
    }
  }

  // The first validation images, at `resolution`.
  Tensor Images(int resolution) {
    const auto dataset =
        OpenDataset("fashion_mnist", Split::kValidation, root_ + "/build/deps").value();
    std::vector<int64_t> indices;
    for (int64_t i = 0; i < kImages; ++i) indices.push_back(i);
    Tensor images;
    images.shape = {kImages, dataset->channels(), resolution, resolution};
    images.values.resize(static_cast<size_t>(kImages * dataset->channels()) *
                         static_cast<size_t>(resolution * resolution));
    FORALL_EXPECT_OK(dataset->Load(indices, resolution, absl::MakeSpan(images.values)));
    return images;
  }

  std::vector<float> InNode(const std::string& model, const Tensor& images) {
    const auto path = [&](const char* name) { return directory_ / name; };
    FORALL_EXPECT_OK(WriteFileAtomically(path("model.onnx"), model));
    FORALL_EXPECT_OK(WriteFileAtomically(
        path("images"), absl::string_view(reinterpret_cast<const char*>(images.values.data()),
                                          images.values.size() * sizeof(float))));
    const std::string command = absl::StrCat(
        "NODE_PATH='", package_, "' node '", root_, "/tests/end_to_end/node_consumer.mjs' '",
        path("model.onnx"), "' '", path("images"), "' ", images.shape[0], "x", images.shape[1], "x",
        images.shape[2], "x", images.shape[3], " '", path("logits"), "'");
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    const absl::StatusOr<std::string> bytes = ReadFile(path("logits"));
    FORALL_EXPECT_OK(bytes.status());
    std::vector<float> logits(bytes.ok() ? bytes->size() / sizeof(float) : 0);
    if (!logits.empty()) std::memcpy(logits.data(), bytes->data(), logits.size() * sizeof(float));
    return logits;
  }

  const TempDir directory_;
  std::string root_;
  std::string package_;
};

TEST_F(NodeConsumerTest, FindsTheSameLogitsInBothPrecisions) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto supernet,
                              Supernet::Load(root_ + "/supernets/fashion_mnist"));
  const auto train = OpenDataset("fashion_mnist", Split::kTrain, root_ + "/build/deps").value();
  const SearchSpace& space = supernet->family().search_space();
  Random random(6);
  for (const Precision precision : {Precision::kFp32, Precision::kFp16}) {
    const Architecture architecture = space.Sample(&random);
    SCOPED_TRACE(space.ToJson(architecture));
    FORALL_ASSERT_OK_AND_ASSIGN(
        const ExportedSubnet subnet,
        ExportSubnet(*supernet, architecture, *train, CalibrationOptions{.images = 200},
                     DeploymentRecipe{precision}, SessionOptions()));
    const Network network = *supernet->family().Describe(architecture);
    const Tensor images = Images(static_cast<int>(network.input.height));
    FORALL_ASSERT_OK_AND_ASSIGN(const auto session,
                                OnnxSession::Create(subnet.bytes, SessionOptions()));
    const TensorView view{images.shape, images.values};
    FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<Tensor> ours, session->Run({&view, 1}));
    const std::vector<float> theirs = InNode(subnet.bytes, images);
    ASSERT_EQ(theirs.size(), ours[0].values.size());
    float scale = 1;
    for (const float logit : theirs) scale = std::max(scale, std::abs(logit));
    for (size_t i = 0; i < theirs.size(); ++i) {
      EXPECT_NEAR(theirs[i], ours[0].values[i], 1e-4f * scale) << i;
    }
  }
}

}  // namespace
}  // namespace forall
