// SPDX-License-Identifier: Apache-2.0
#include "supernet/importer/checkpoint_import.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "supernet/safetensors.h"
#include "supernet/standalone.h"
#include "supernet/subnet_weights.h"
#include "supernet/testing/tiny_supernet.h"
#include "supernet/testing/torch_writer.h"

namespace forall {
namespace {

using ::forall::testing::MakeOldCheckpoint;
using ::forall::testing::MakeZipCheckpoint;
using ::forall::testing::RandomTensors;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::forall::testing::TinyFamily;
using ::testing::AllOf;
using ::testing::HasSubstr;

absl::StatusOr<std::vector<NamedTensor>> Import(const std::string& bytes, const Family& family) {
  const TempDir directory;
  const std::string path = directory / "checkpoint";
  FORALL_EXPECT_OK(WriteFileAtomically(path, bytes));
  return ImportCheckpoint(path, family);
}

std::string AsSafetensors(const std::vector<NamedTensor>& tensors) {
  std::vector<SafetensorsEntry> entries;
  for (const NamedTensor& tensor : tensors) {
    entries.push_back({tensor.name, SafetensorsType::kF32, tensor.shape, tensor.values});
  }
  return *SerializeSafetensors(entries, {});
}

class EveryFamilyImportTest : public ::testing::TestWithParam<std::shared_ptr<const Family>> {};

TEST_P(EveryFamilyImportTest, EverySpellingAndFormatGivesTheSameTensors) {
  const Family& family = *GetParam();
  const std::vector<NamedTensor> tensors = RandomTensors(family, 3);
  using Replacements = std::vector<std::pair<std::string, std::string>>;
  const Replacements spellings[] = {
      {},
      {{".conv.inverted_bottleneck", ".mobile_inverted_conv.inverted_bottleneck"},
       {".conv.depth_conv", ".mobile_inverted_conv.depth_conv"},
       {".conv.point_linear", ".mobile_inverted_conv.point_linear"}},
      {{".bn.bn.", ".bn."}, {".conv.conv.weight", ".conv.weight"}, {".linear.linear.", ".linear."}},
  };
  for (const Replacements& spelling : spellings) {
    std::vector<NamedTensor> spelt = tensors;
    for (NamedTensor& tensor : spelt) tensor.name = absl::StrReplaceAll(tensor.name, spelling);
    // What a data-parallel training adds; and counters, which the package leaves out.
    if (&spelling != &spellings[0]) {
      for (NamedTensor& tensor : spelt) tensor.name = "module." + tensor.name;
    }
    for (const TensorSpec& spec : family.tensors()) {
      if (spec.role != TensorRole::kBatchCounter) continue;
      spelt.push_back({absl::StrReplaceAll(spec.name, spelling), {1}, {7}});
    }
    std::reverse(spelt.begin(), spelt.end());
    for (const std::string& bytes :
         {MakeZipCheckpoint(spelt), MakeOldCheckpoint(spelt), AsSafetensors(spelt)}) {
      FORALL_ASSERT_OK_AND_ASSIGN(std::vector<NamedTensor> imported, Import(bytes, family));
      ASSERT_EQ(imported.size(), tensors.size());
      std::sort(imported.begin(), imported.end(),
                [](const auto& a, const auto& b) { return a.name < b.name; });
      std::vector<NamedTensor> expected = tensors;
      std::sort(expected.begin(), expected.end(),
                [](const auto& a, const auto& b) { return a.name < b.name; });
      for (size_t i = 0; i < expected.size(); ++i) {
        EXPECT_EQ(imported[i].name, expected[i].name);
        EXPECT_EQ(imported[i].shape, expected[i].shape);
        EXPECT_EQ(imported[i].values, expected[i].values);
      }
      FORALL_EXPECT_OK(BuildWeightsFile(family, imported, PackageOptions()).status());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(AllFamilies, EveryFamilyImportTest,
                         ::testing::ValuesIn(::forall::testing::TinyFamilies()),
                         [](const auto& test) {
                           std::string name = test.param->search_space().id();
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(CheckpointImportTest, ListsEverythingThatDoesNotFit) {
  const auto family = TinyFamily();
  std::vector<NamedTensor> tensors = RandomTensors(*family, 3);
  const std::string missing = tensors[0].name;
  tensors[0].name = "optimizer.step";
  tensors[1].shape = {2, 4};
  tensors[1].values.resize(8);
  const std::string misshapen = tensors[1].name;
  EXPECT_THAT(Import(MakeZipCheckpoint(tensors), *family).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(HasSubstr("missing: '" + missing + "'"),
                             HasSubstr("another shape: '" + misshapen + "' has [2, 4], needs [8]"),
                             HasSubstr("not part of it: 'optimizer.step'"))));
}

// A published specialised network: weights of its own, in the old spelling.
TEST(CheckpointImportTest, AFixedNetworksWeightsAreReadInAnySpelling) {
  for (const auto& family : ::forall::testing::TinyFamilies()) {
    const auto supernet = ::forall::testing::RandomSupernet(*family);
    Random random(4);
    const Network network = *family->Describe(family->search_space().Sample(&random));
    const SubnetWeights weights = *ExtractWeights(*supernet, network);
    std::vector<NamedTensor> tensors = StandaloneTensors(network, weights);
    for (NamedTensor& tensor : tensors) {
      tensor.name = absl::StrReplaceAll(tensor.name, {{".conv.inv", ".mobile_inverted_conv.inv"},
                                                      {".conv.dep", ".mobile_inverted_conv.dep"}});
    }
    std::string counter = tensors[1].name;
    counter.replace(counter.rfind("weight"), 6, "num_batches_tracked");
    tensors.push_back({counter, {1}, {3}});
    std::reverse(tensors.begin(), tensors.end());
    const TempDir directory;
    FORALL_ASSERT_OK(WriteFileAtomically(directory / "net.pth", MakeOldCheckpoint(tensors)));
    FORALL_ASSERT_OK_AND_ASSIGN(
        std::vector<NamedTensor> imported,
        ImportTensors(directory / "net.pth", StandaloneShapes(network), "the network"));
    FORALL_ASSERT_OK_AND_ASSIGN(const SubnetWeights again,
                                WeightsOfStandalone(network, std::move(imported)));
    EXPECT_EQ(again.layers, weights.layers);

    tensors[0].name = "first_conv.num_batches_tracked";  // there is no such BatchNorm
    FORALL_ASSERT_OK(WriteFileAtomically(directory / "net.pth", MakeZipCheckpoint(tensors)));
    EXPECT_THAT(ImportTensors(directory / "net.pth", StandaloneShapes(network), "the network"),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("not part of it: 'first_conv.num_batches_tracked'")));
  }
}

TEST(CheckpointImportTest, AnotherFamilyIsRefused) {
  const auto families = ::forall::testing::TinyFamilies();
  EXPECT_THAT(Import(MakeZipCheckpoint(RandomTensors(*families[2], 3)), *families[0]).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("do not fit the family")));
}

TEST(CheckpointImportTest, TwoSpellingsOfOneTensorAreRefused) {
  const auto family = TinyFamily();
  std::vector<NamedTensor> tensors = RandomTensors(*family, 3);
  tensors.push_back(tensors[0]);
  tensors.back().name = "module." + tensors[0].name;
  EXPECT_THAT(Import(MakeOldCheckpoint(tensors), *family).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("are one tensor")));
}

TEST(CheckpointImportTest, OtherFilesAreRefused) {
  EXPECT_THAT(Import("# a text", *TinyFamily()).status(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("neither a PyTorch checkpoint nor a safetensors file")));
}

}  // namespace
}  // namespace forall
