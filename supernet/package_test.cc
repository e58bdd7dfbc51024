// SPDX-License-Identifier: Apache-2.0
#include "supernet/package.h"

#include <cmath>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "supernet/testing/tiny_supernet.h"

namespace forall {
namespace {

using ::forall::testing::RandomTensors;
using ::forall::testing::StatusIs;
using ::forall::testing::TinyFamily;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

class PackageTest : public ::testing::Test {
 protected:
  PackageTest() : family_(TinyFamily()), tensors_(RandomTensors(*family_, 1)) {
    options_.dataset = "fashion_mnist";
    options_.notes = {{"recipe", "none, this is a \"test\""}};
  }
  void Write() {
    FORALL_ASSERT_OK_AND_ASSIGN(hash_, WritePackage(path(), *family_, tensors_, options_));
  }
  std::string path() const { return dir_ / "nested/package"; }
  std::string file(const std::string& name) const { return path() + "/" + name; }
  void Replace(const std::string& from, const std::string& to) {
    FORALL_ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(file(kPackageSpecFile)));
    ASSERT_TRUE(absl::StrContains(text, from)) << text;
    FORALL_ASSERT_OK(
        WriteFileAtomically(file(kPackageSpecFile), absl::StrReplaceAll(text, {{from, to}})));
  }

  testing::TempDir dir_;
  std::shared_ptr<const Family> family_;
  std::vector<NamedTensor> tensors_;
  PackageOptions options_;
  std::string hash_;
};

TEST_F(PackageTest, GivesBackWhatWasWritten) {
  Write();
  FORALL_ASSERT_OK_AND_ASSIGN(const auto supernet, Supernet::Load(path()));
  EXPECT_EQ(supernet->hash(), hash_);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string sha256, Sha256OfFile(file(kPackageWeightsFile)));
  EXPECT_EQ(supernet->hash(), sha256);
  EXPECT_EQ(supernet->dataset(), "fashion_mnist");
  EXPECT_THAT(supernet->notes(), ElementsAre(Pair("recipe", "none, this is a \"test\"")));
  EXPECT_EQ(supernet->family().Spec(), family_->Spec());
  for (const NamedTensor& tensor : tensors_) {
    const Supernet::TensorValues* found = supernet->Find(tensor.name);
    ASSERT_NE(found, nullptr) << tensor.name;
    EXPECT_EQ(found->shape, tensor.shape);
    EXPECT_EQ(std::vector<float>(found->values.begin(), found->values.end()), tensor.values);
  }
  EXPECT_EQ(supernet->Find("first_conv.bn.num_batches_tracked"), nullptr);
}

TEST_F(PackageTest, TheWeightsFileAloneIsAWholeSupernet) {
  Write();
  FORALL_ASSERT_OK_AND_ASSIGN(const auto supernet,
                              Supernet::LoadFile(file(kPackageWeightsFile), hash_));
  EXPECT_EQ(supernet->hash(), hash_);
  EXPECT_EQ(supernet->family().search_space().id(), "tiny");
  EXPECT_THAT(Supernet::LoadFile(file(kPackageWeightsFile), std::string(64, 'a')),
              StatusIs(absl::StatusCode::kDataLoss,
                       AllOf(HasSubstr(hash_), HasSubstr(kPackageWeightsFile))));
}

TEST_F(PackageTest, Fp16RoundsMatricesAndKeepsStatistics) {
  options_.precision = SafetensorsType::kF16;
  for (NamedTensor& tensor : tensors_) {
    if (absl::EndsWith(tensor.name, "running_var")) tensor.values[0] = 1e6f;
  }
  Write();
  FORALL_ASSERT_OK_AND_ASSIGN(const auto supernet, Supernet::Load(path()));
  for (const NamedTensor& tensor : tensors_) {
    const auto values = supernet->Find(tensor.name)->values;
    for (size_t i = 0; i < values.size(); ++i) {
      const float bound =
          tensor.shape.size() == 1 ? 0.0f : std::abs(tensor.values[i]) / 2048.0f + 1e-7f;
      ASSERT_LE(std::abs(values[i] - tensor.values[i]), bound) << tensor.name;
    }
  }
}

TEST_F(PackageTest, SameContentSameHash) {
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string one,
                              BuildWeightsFile(*family_, tensors_, options_));
  std::reverse(tensors_.begin(), tensors_.end());
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string two,
                              BuildWeightsFile(*family_, tensors_, options_));
  EXPECT_EQ(Sha256Hex(one), Sha256Hex(two));
}

TEST_F(PackageTest, ListsEverythingThatDoesNotFit) {
  tensors_.erase(tensors_.begin());
  tensors_[0].shape = {4, 2};
  tensors_.push_back({"stranger", {1}, {0.0f}});
  const auto matcher =
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("missing: 'first_conv.conv.weight'"),
                     HasSubstr("another shape: 'first_conv.bn.weight' has [4, 2], needs [8]"),
                     HasSubstr("not part of it: 'stranger'")));
  EXPECT_THAT(BuildWeightsFile(*family_, tensors_, options_), matcher);

  // The same, found while reading a file that some other program wrote.
  std::vector<SafetensorsEntry> entries;
  for (const NamedTensor& tensor : tensors_) {
    entries.push_back({tensor.name, SafetensorsType::kF32, tensor.shape, tensor.values});
  }
  FORALL_ASSERT_OK_AND_ASSIGN(
      std::string bytes,
      SerializeSafetensors(entries, {{"forall.format", "1"}, {"forall.spec", family_->Spec()}}));
  EXPECT_THAT(Supernet::FromBytes(bytes, "some.file"), matcher);
}

TEST_F(PackageTest, AcceptsBatchCounters) {
  const std::vector<float> zero = {0};
  std::vector<SafetensorsEntry> entries = {
      {"first_conv.bn.num_batches_tracked", SafetensorsType::kF32, {}, zero}};
  for (const NamedTensor& tensor : tensors_) {
    entries.push_back({tensor.name, SafetensorsType::kF32, tensor.shape, tensor.values});
  }
  FORALL_ASSERT_OK_AND_ASSIGN(
      std::string bytes,
      SerializeSafetensors(entries, {{"forall.format", "1"}, {"forall.spec", family_->Spec()}}));
  FORALL_EXPECT_OK(Supernet::FromBytes(bytes, "x"));
}

TEST_F(PackageTest, RefusesValuesThatAreNoWeights) {
  tensors_[3].values[0] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(BuildWeightsFile(*family_, tensors_, options_),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr(tensors_[3].name), HasSubstr("not finite"))));
  tensors_[3].values[0] = 0;
  for (NamedTensor& tensor : tensors_) {
    if (absl::EndsWith(tensor.name, "running_var")) tensor.values[0] = -1;
  }
  EXPECT_THAT(BuildWeightsFile(*family_, tensors_, options_),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("negative variance")));
}

TEST_F(PackageTest, RefusesAPackageWhoseHalvesDisagree) {
  Write();
  Replace(hash_, std::string(64, '0'));
  EXPECT_THAT(Supernet::Load(path()),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("has SHA-256 " + hash_)));
  Write();
  Replace("\"classes\": 3", "\"classes\": 4");
  EXPECT_THAT(Supernet::Load(path()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("family differs")));
  Write();
  Replace("\"dataset\": \"fashion_mnist\"", "\"dataset\": \"cifar10\"");
  EXPECT_THAT(Supernet::Load(path()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("cifar10")));
}

TEST_F(PackageTest, NamesTheFaultInSupernetJson) {
  const struct {
    const char* from;
    const char* to;
    const char* message;
  } kCases[] = {
      {"\"format_version\": \"1\"", "\"format_version\": \"9\"", "format_version"},
      {"\"notes\"", "\"note\"", "note: unknown field"},
      {"\"weights.safetensors\"", "\"../weights.safetensors\"", "weights.file"},
      {"\"sha256\": \"", "\"sha256\": \"X", "weights.sha256"},
      {"\"family\": {", "\"family\": 3, \"notes\": {", "family"},
      {"{\n", "", "JSON"},
  };
  for (const auto& test : kCases) {
    SCOPED_TRACE(test.message);
    Write();
    Replace(test.from, test.to);
    EXPECT_THAT(Supernet::Load(path()),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr(test.message), HasSubstr(kPackageSpecFile))));
  }
}

TEST_F(PackageTest, ReportsAbsentAndForeignFiles) {
  EXPECT_THAT(Supernet::Load(dir_ / "none"), StatusIs(absl::StatusCode::kNotFound));
  Write();
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string weights, ReadFile(file(kPackageWeightsFile)));
  FORALL_ASSERT_OK(
      WriteFileAtomically(file(kPackageWeightsFile), weights.substr(0, weights.size() - 1)));
  EXPECT_THAT(Supernet::Load(path()),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("cut short")));
  FORALL_ASSERT_OK_AND_ASSIGN(std::string foreign, SerializeSafetensors({}, {}));
  EXPECT_THAT(Supernet::FromBytes(foreign, "x"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("forall.format")));
}

}  // namespace
}  // namespace forall
