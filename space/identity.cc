// SPDX-License-Identifier: Apache-2.0
#include "space/identity.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/sha256.h"

namespace forall {
namespace {

constexpr char kTimingPrefix[] = "t1-";

std::string Key(absl::string_view prefix, const std::string& canonical_bytes) {
  return absl::StrCat(prefix, Sha256Hex(canonical_bytes).substr(0, 32));
}

}  // namespace

std::string ArchKey(const SearchSpace& space, const Architecture& architecture) {
  std::string bytes = absl::StrCat("forall.arch.1\n", space.id(), "\n", space.revision(), "\n");
  for (size_t i = 0; i < space.dimensions().size(); ++i) {
    const int dimension = static_cast<int>(i);
    if (!space.IsActive(architecture, dimension)) continue;
    absl::StrAppend(&bytes, space.dimensions()[i].name, "=", space.Value(architecture, dimension),
                    "\n");
  }
  return Key(kArchKeyPrefix, bytes);
}

std::string GraphKey(const std::string& arch_key, int64_t resolution, int64_t batch,
                     const DeploymentRecipe& recipe) {
  return Key("g1-", absl::StrCat("forall.graph.1\n", arch_key, "\n", resolution, "\n", batch, "\n",
                                 RecipeText(recipe), "\n"));
}

std::string TimingKey(const Network& network, int64_t batch, const DeploymentRecipe& recipe,
                      absl::string_view latency_profile) {
  const auto shape = [](const FeatureShape& of) {
    return absl::StrCat(of.channels, "x", of.height, "x", of.width);
  };
  std::string bytes = absl::StrCat("forall.timing.1\n", batch, "\n", RecipeText(recipe), "\n",
                                   latency_profile, "\n", shape(network.input), "\n");
  for (const Layer& layer : network.layers) {
    absl::StrAppend(&bytes, static_cast<int>(layer.kind), " ", absl::StrJoin(layer.inputs, ","),
                    " ", shape(layer.out), " ", layer.kernel, " ", layer.stride, " ", layer.groups,
                    " ", layer.has_bias ? 1 : 0, " ",
                    layer.kind == LayerKind::kActivation ? ActivationName(layer.activation) : "-",
                    "\n");
  }
  return Key(kTimingPrefix, bytes);
}

bool IsTimingKey(absl::string_view key) { return absl::StartsWith(key, kTimingPrefix); }

std::string CalibrationId(const std::string& dataset, const std::string& split, int64_t images,
                          int64_t batch, uint64_t seed) {
  return Key("c1-", absl::StrCat("forall.calibration.1\n", dataset, "\n", split, "\n", images, "\n",
                                 batch, "\n", seed, "\n"));
}

}  // namespace forall
