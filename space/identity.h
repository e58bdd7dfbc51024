// SPDX-License-Identifier: Apache-2.0
// The identities of forall: hashes of our own canonical bytes, each with a version, never of
// protobuf bytes. Golden vectors in identity_test.cc hold them still.
#ifndef FORALL_SPACE_IDENTITY_H_
#define FORALL_SPACE_IDENTITY_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "space/network.h"
#include "space/recipe.h"
#include "space/search_space.h"

namespace forall {

// The structure: search space, revision and the values of all active dimensions. Dead dimensions
// are absent, so one network has one key however it was written. Where a space searches the input
// resolution, that is one of its dimensions and hence part of the key (docs/adr/0003).
// kArchKeyPrefix + 32 hex digits (128 bits of SHA-256 over the text below).
// Canonical bytes, version 1: "forall.arch.1\n<space>\n<revision>\n" then "name=value\n" per active
// dimension in the space's order.
inline constexpr char kArchKeyPrefix[] = "a1-";
std::string ArchKey(const SearchSpace& space, const Architecture& architecture);

// What keys a latency: structure + input resolution + batch + deployment recipe. "g1-" + 32 hex.
// Canonical bytes: "forall.graph.1\n<arch_key>\n<resolution>\n<batch>\n<recipe>\n".
std::string GraphKey(const std::string& arch_key, int64_t resolution, int64_t batch,
                     const DeploymentRecipe& recipe);

// What keys the latency of a network, or of a part of one, that is timed for a lookup table: what
// its layers compute and how it is measured; neither names nor weights nor the space it is of.
// "t1-" + 32 hex. Canonical bytes: "forall.timing.1\n<batch>\n<recipe>\n<latency profile>\n
// <channels>x<height>x<width>\n" (one line), then for each layer "<kind> <inputs, by comma>
// <channels>x<height>x<width> <kernel> <stride> <groups> <bias: 0 or 1> <activation>\n", shapes
// those of its output, kinds as numbered in space/network.h.
std::string TimingKey(const Network& network, int64_t batch, const DeploymentRecipe& recipe,
                      absl::string_view latency_profile);

// Of any bytes: whether TimingKey could have made them, by their beginning.
bool IsTimingKey(absl::string_view key);

// Images per calibration batch of every export, unless it says otherwise. Each batch has statistics
// of its own, so it is part of what an export is.
inline constexpr int64_t kCalibrationBatch = 100;

// What fixes the statistics of an export: dataset, split, number of images, batch size, seed.
// "c1-" + 32 hex. Canonical bytes:
// "forall.calibration.1\n<dataset>\n<split>\n<images>\n<batch>\n<seed>\n".
std::string CalibrationId(const std::string& dataset, const std::string& split, int64_t images,
                          int64_t batch, uint64_t seed);

// The third identity, artifact_sha256, is the SHA-256 of the exported file itself (base/sha256.h).

}  // namespace forall

#endif  // FORALL_SPACE_IDENTITY_H_
