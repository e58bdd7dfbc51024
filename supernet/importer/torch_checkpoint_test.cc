// SPDX-License-Identifier: Apache-2.0
#include "supernet/importer/torch_checkpoint.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "supernet/testing/torch_writer.h"

namespace forall {
namespace {

using ::forall::testing::MakeOldCheckpoint;
using ::forall::testing::MakeZip;
using ::forall::testing::MakeZipCheckpoint;
using ::forall::testing::PickledStateDict;
using ::forall::testing::StatusIs;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string SourceDir() {
  const char* source = std::getenv("FORALL_SOURCE_DIR");
  return source == nullptr ? "." : source;
}

std::string Golden(const std::string& name) {
  return absl::StrCat(SourceDir(), "/supernet/testing/torch_checkpoint_corpus/", name);
}

const TorchTensor* FindTensor(const TorchCheckpoint& checkpoint, const std::string& name) {
  for (const TorchTensor& tensor : checkpoint.tensors()) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

std::vector<float> Floats(const TorchCheckpoint& checkpoint, const std::string& name) {
  const TorchTensor* tensor = FindTensor(checkpoint, name);
  if (tensor == nullptr) return {};
  std::vector<float> values(static_cast<size_t>(tensor->elements()));
  FORALL_EXPECT_OK(CopyAsFloats(*tensor, absl::MakeSpan(values)));
  return values;
}

// Files that PyTorch 1.13 wrote; torch_checkpoint_corpus/README.md has the program.
TEST(TorchCheckpointTest, ReadsWhatPyTorchWroteInBothFormats) {
  for (const char* name : {"zip.pth", "old.pth"}) {
    SCOPED_TRACE(name);
    FORALL_ASSERT_OK_AND_ASSIGN(const auto checkpoint, TorchCheckpoint::Open(Golden(name)));
    ASSERT_EQ(checkpoint->tensors().size(), 7u);
    const std::vector<float> plain = Floats(*checkpoint, "plain");
    ASSERT_EQ(plain.size(), 24u);
    for (size_t i = 0; i < plain.size(); ++i) EXPECT_EQ(plain[i], static_cast<float>(i) / 8);
    EXPECT_EQ(FindTensor(*checkpoint, "transposed")->shape, (std::vector<int64_t>{6, 4}));
    const std::vector<float> transposed = Floats(*checkpoint, "transposed");
    for (size_t row = 0; row < 6; ++row) {
      for (size_t column = 0; column < 4; ++column) {
        EXPECT_EQ(transposed[row * 4 + column], plain[column * 6 + row]);
      }
    }
    EXPECT_THAT(Floats(*checkpoint, "tail"), ElementsAre(2.5f, 2.625f, 2.75f, 2.875f));
    EXPECT_THAT(Floats(*checkpoint, "half"), ElementsAre(0.5f, -2.0f, 65504.0f));
    EXPECT_THAT(Floats(*checkpoint, "bfloat"), ElementsAre(1.0f, -0.15625f));
    EXPECT_THAT(Floats(*checkpoint, "double"), ElementsAre(1.0f / 3.0f, 2.5f));
    const TorchTensor* counter = FindTensor(*checkpoint, "counter");
    ASSERT_NE(counter, nullptr);
    EXPECT_TRUE(counter->shape.empty());
    float value = 0;
    EXPECT_THAT(CopyAsFloats(*counter, absl::MakeSpan(&value, 1)),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("I64")));
  }
}

TEST(TorchCheckpointTest, ReadsABareStateDict) {
  for (const char* name : {"zip_bare.pth", "old_bare.pth", "old_protocol4.pth"}) {
    SCOPED_TRACE(name);
    FORALL_ASSERT_OK_AND_ASSIGN(const auto checkpoint, TorchCheckpoint::Open(Golden(name)));
    EXPECT_EQ(checkpoint->tensors().size(), 5u);
    EXPECT_THAT(Floats(*checkpoint, "running_var"), ElementsAre(1, 1, 1));
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const auto parameter, TorchCheckpoint::Open(Golden("parameter.pth")));
  EXPECT_THAT(Floats(*parameter, "w"), ElementsAre(1, 1));
}

TEST(TorchCheckpointTest, RunsNothing) {
  for (const char* name : {"evil.pth", "evil_old.pth"}) {
    EXPECT_THAT(TorchCheckpoint::Open(Golden(name)).status(),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AnyOf(HasSubstr("posix.system"), HasSubstr("os.system"))));
  }
  EXPECT_THAT(TorchCheckpoint::Open(Golden("module.pth")).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AnyOf(HasSubstr("torch.nn.modules.batchnorm.BatchNorm2d"))));
}

TEST(TorchCheckpointTest, EveryCutOfAFileIsAnError) {
  for (const char* name : {"zip.pth", "old.pth"}) {
    FORALL_ASSERT_OK_AND_ASSIGN(const std::string bytes, ReadFile(Golden(name)));
    for (size_t size = 0; size < bytes.size(); ++size) {
      EXPECT_FALSE(TorchCheckpoint::Parse(bytes.substr(0, size), name).ok()) << name << " " << size;
    }
  }
}

// What training scripts keep beside the state dict does not stand in its way.
TEST(TorchCheckpointTest, ReadsTheStateDictOfATrainingCheckpoint) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto checkpoint, TorchCheckpoint::Open(Golden("training.pth")));
  EXPECT_EQ(checkpoint->tensors().size(), 5u);
  EXPECT_THAT(Floats(*checkpoint, "weight"), ElementsAre(1, 1, 1));
}

std::vector<NamedTensor> TwoTensors() {
  return {{"a", {2, 3}, {1, 2, 3, 4, 5, 6}}, {"b", {2}, {7, 8}}};
}

TEST(TorchCheckpointTest, WrittenByTheTestsOwnWriter) {
  for (const std::string& bytes :
       {MakeZipCheckpoint(TwoTensors()), MakeOldCheckpoint(TwoTensors())}) {
    EXPECT_TRUE(TorchCheckpoint::LooksLikeCheckpoint(bytes));
    FORALL_ASSERT_OK_AND_ASSIGN(const auto checkpoint, TorchCheckpoint::Parse(bytes, "memory"));
    EXPECT_THAT(Floats(*checkpoint, "a"), ElementsAre(1, 2, 3, 4, 5, 6));
    EXPECT_THAT(Floats(*checkpoint, "b"), ElementsAre(7, 8));
  }
}

TEST(TorchCheckpointTest, ViewsMustLieInsideTheirStorage) {
  const auto with = [](std::vector<int64_t> shape) {
    std::vector<NamedTensor> tensors = TwoTensors();
    tensors[0].shape = std::move(shape);
    return MakeZipCheckpoint(tensors);
  };
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{2, 4}, {7}, {1 << 30, 1 << 30}}) {
    EXPECT_THAT(TorchCheckpoint::Parse(with(shape), "memory").status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("tensor 'a'")));
  }
}

TEST(TorchCheckpointTest, SaysWhatIsWrong) {
  const std::string pickle = PickledStateDict(TwoTensors());
  // Storages that are not there, or of another size.
  EXPECT_THAT(TorchCheckpoint::Parse(MakeZip({{"x/data.pkl", pickle}}), "memory").status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("storage 0 is not in the file")));
  EXPECT_THAT(TorchCheckpoint::Parse(
                  MakeZip({{"x/data.pkl", pickle}, {"x/data/0", "abcd"}, {"x/data/1", "12345678"}}),
                  "memory")
                  .status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("has 4 bytes")));
  EXPECT_THAT(TorchCheckpoint::Parse(MakeZip({{"x/model.json", "{}"}}), "memory").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no data.pkl")));
  EXPECT_THAT(TorchCheckpoint::Parse(MakeZip({{"x/data.pkl", "N."}}), "memory").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("None, not a state dict")));
  EXPECT_THAT(TorchCheckpoint::Parse(MakeZip({{"x/data.pkl", "}."}}), "memory").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no tensors")));
  EXPECT_THAT(TorchCheckpoint::Parse("PNG", "memory").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("memory")));
  EXPECT_THAT(TorchCheckpoint::Open("no-such-file.pth").status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no-such-file.pth")));
  // A negation that PyTorch has put off is a bit beside the tensor: ignoring it would flip its
  // sign.
  const std::string negated =
      absl::StrReplaceAll(MakeOldCheckpoint(TwoTensors()),
                          {{")RtR", absl::StrCat(")R}", testing::PickledText("neg"), "\x88stR")}});
  EXPECT_THAT(TorchCheckpoint::Parse(negated, "memory").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("metadata")));
  std::vector<NamedTensor> twice = TwoTensors();
  twice[1].name = "a";
  EXPECT_THAT(TorchCheckpoint::Parse(MakeOldCheckpoint(twice), "memory").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'a' is there twice")));
}

// The published accuracy predictor, as its authors saved it: a real file of the old format. The
// value for the largest network at 224 pixels is the authors' own.
TEST(TorchCheckpointTest, ReadsThePublishedAccuracyPredictor) {
  const std::string path =
      absl::StrCat(SourceDir(), "/../shared/data/ofa_note10/acc_predictor.pth");
  if (!ReadFile(path).ok()) GTEST_SKIP() << "no published predictor beside the repository";
  FORALL_ASSERT_OK_AND_ASSIGN(const auto checkpoint, TorchCheckpoint::Open(path));
  ASSERT_EQ(checkpoint->tensors().size(), 8u) << "four layers, weight and bias each";
  // 20 blocks of kernel 7 (third of 3), expansion 6 (third of 3); resolution (224 - 112) / 16.
  std::vector<double> x(128, 0.0);
  for (size_t block = 0; block < 20; ++block) x[block * 3 + 2] = x[60 + block * 3 + 2] = 1;
  x[120 + 7] = 1;
  for (size_t layer = 0; layer < 8; layer += 2) {
    const TorchTensor& weight = checkpoint->tensors()[layer];
    ASSERT_EQ(weight.shape.size(), 2u);
    ASSERT_EQ(weight.shape[1], static_cast<int64_t>(x.size()));
    const std::vector<float> w = Floats(*checkpoint, weight.name);
    const std::vector<float> b = Floats(*checkpoint, checkpoint->tensors()[layer + 1].name);
    std::vector<double> y(b.begin(), b.end());
    for (size_t o = 0; o < y.size(); ++o) {
      for (size_t i = 0; i < x.size(); ++i) y[o] += static_cast<double>(w[o * x.size() + i]) * x[i];
      if (layer < 6) y[o] = std::max(y[o], 0.0);
    }
    x = std::move(y);
  }
  ASSERT_EQ(x.size(), 1u);
  EXPECT_NEAR(x[0], 0.83592778, 1e-6);
}

}  // namespace
}  // namespace forall
