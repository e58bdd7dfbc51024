// SPDX-License-Identifier: Apache-2.0
#include "space/identity.h"

#include "base/sha256.h"
#include "base/testing/matchers.h"
#include "gtest/gtest.h"
#include "space/family.h"

namespace forall {
namespace {

// Golden vectors: stored measurements are found by these keys, so a change here loses them all.
TEST(IdentityTest, GoldenVectors) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("fashion_mnist"));
  const SearchSpace& space = family->search_space();
  const std::string smallest = ArchKey(space, space.Smallest());
  const std::string largest = ArchKey(space, space.Largest());
  EXPECT_EQ(smallest, "a1-b63ab47facf6dc461837259c715dfb5d");
  EXPECT_EQ(largest, "a1-d6f1be2012e813d41f0317cc7cae705f");
  EXPECT_EQ(GraphKey(largest, 28, 1, DeploymentRecipe{}), "g1-366e28e2d10c9e1106538fca82c9ffb7");
  EXPECT_EQ(CalibrationId("fashion_mnist", "train", 2000, 100, 1),
            "c1-d4cbb1a4b30efdfd9fd9e8dd395a3cf4");
}

TEST(IdentityTest, KeyIsTheHashOfTheDocumentedBytes) {
  const SearchSpace space =
      *SearchSpace::Create("toy", 3, {{"d", {2, 3}, {}}, {"k", {3, 5}, ActivationCondition{0, 3}}});
  EXPECT_EQ(ArchKey(space, {"toy", 3, {1, 1}}),
            "a1-" + Sha256Hex("forall.arch.1\ntoy\n3\nd=3\nk=5\n").substr(0, 32));
  EXPECT_EQ(ArchKey(space, {"toy", 3, {0, 1}}),
            "a1-" + Sha256Hex("forall.arch.1\ntoy\n3\nd=2\n").substr(0, 32));
}

TEST(IdentityTest, DeadDimensionsDoNotCount) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("ofa_mbv3_w1.0"));
  const SearchSpace& space = family->search_space();
  Architecture a = space.Smallest();
  Architecture b = a;
  b.choices[*space.FindDimension("k1.4")] = 2;
  EXPECT_EQ(ArchKey(space, a), ArchKey(space, b));
  b.choices[*space.FindDimension("k1.2")] = 2;
  EXPECT_NE(ArchKey(space, a), ArchKey(space, b));
}

TEST(IdentityTest, GraphKeySeparatesResolutionAndBatch) {
  const DeploymentRecipe recipe;
  EXPECT_NE(GraphKey("a1-x", 28, 1, recipe), GraphKey("a1-x", 24, 1, recipe));
  EXPECT_NE(GraphKey("a1-x", 28, 1, recipe), GraphKey("a1-x", 28, 8, recipe));
  EXPECT_NE(GraphKey("a1-x", 28, 1, recipe), GraphKey("a1-x", 28, 1, {Precision::kInt8}));
}

TEST(IdentityTest, TimingKeyIsTheHashOfTheDocumentedBytes) {
  Network network;
  network.input = {3, 8, 8};
  Layer convolution;
  convolution.name = "a";
  convolution.inputs = {kNetworkInput};
  convolution.out = {4, 4, 4};
  convolution.kernel = 3;
  convolution.stride = 2;
  convolution.has_bias = true;
  Layer activation;
  activation.kind = LayerKind::kActivation;
  activation.name = "b";
  activation.inputs = {0};
  activation.out = {4, 4, 4};
  activation.activation = Activation::kHSwish;
  network.layers = {convolution, activation};
  const std::string key = TimingKey(network, 2, DeploymentRecipe{}, "standard");
  EXPECT_EQ(key, "t1-" + Sha256Hex("forall.timing.1\n2\nfp32\nstandard\n3x8x8\n"
                                   "0 -1 4x4x4 3 2 1 1 -\n2 0 4x4x4 1 1 1 0 h_swish\n")
                             .substr(0, 32));
  // Names are not what takes time.
  network.layers[0].name = "z";
  network.layers[0].weights = {{"other", {4, 3, 3, 3}, {}}};
  EXPECT_EQ(TimingKey(network, 2, DeploymentRecipe{}, "standard"), key);
  EXPECT_NE(TimingKey(network, 2, DeploymentRecipe{}, "final"), key);
  EXPECT_NE(TimingKey(network, 1, DeploymentRecipe{}, "standard"), key);
  network.layers[0].stride = 1;
  EXPECT_NE(TimingKey(network, 2, DeploymentRecipe{}, "standard"), key);
}

}  // namespace
}  // namespace forall
