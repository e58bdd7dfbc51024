// SPDX-License-Identifier: Apache-2.0
// From a supernet and an architecture to the file that is measured, evaluated and delivered.
#ifndef FORALL_SUPERNET_EXPORT_H_
#define FORALL_SUPERNET_EXPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "data/dataset.h"
#include "runtime/onnx_session.h"
#include "space/identity.h"
#include "space/recipe.h"
#include "space/search_space.h"
#include "supernet/onnx/half_model.h"
#include "supernet/package.h"

namespace forall {

// Keys of the exported file's metadata_props.
inline constexpr char kMetadataArchKey[] = "forall.arch_key";
inline constexpr char kMetadataArchitecture[] = "forall.architecture";  // SearchSpace::ToJson
inline constexpr char kMetadataCalibrationId[] = "forall.calibration_id";
inline constexpr char kMetadataResolution[] = "forall.resolution";
inline constexpr char kMetadataSearchSpace[] = "forall.search_space";
inline constexpr char kMetadataSupernet[] = "forall.supernet_sha256";
inline constexpr char kMetadataDataset[] = "forall.dataset";

// What BatchNorm statistics are taken from: `images` images of the train split, chosen by `seed`,
// in batches of `batch`, as Dataset::LoadForCalibration gives them. All of it is in the calibration
// id. Top-1 accuracy of
// fashion_mnist subnets (six, 2,500 validation images) against 4,000 calibration images: 500 in
// batches of 100 differ by 0.12 points (root mean square, at most 0.24), 250 in batches of 50 by
// 0.21, 100 in batches of 20 by 0.64 and lower on average by 0.5.
struct CalibrationOptions {
  int64_t images = 500;
  int64_t batch = kCalibrationBatch;
  uint64_t seed = 1;
};

// Which images: the first `count` of a seeded shuffle of [0, dataset_size), so that a smaller count
// is a prefix of a larger one. All of them when there are fewer.
std::vector<int64_t> CalibrationImages(int64_t dataset_size, int64_t count, uint64_t seed);

struct ExportedSubnet {
  std::string bytes;   // the ONNX file
  std::string sha256;  // of it: the artifact's identity
  std::string arch_key;
  std::string calibration_id;
};

// Slices, calibrates on `train`, folds BatchNorm and builds the file. The same inputs on the same
// machine give the same bytes; other CPUs differ in the last bits, hence a subnet is exported once.
// `session` is what calibration runs with. InvalidArgument for an architecture of another space, a
// dataset of another shape or split than the supernet needs, fewer than one image, or a weight that
// fp16 cannot hold; Unimplemented for a recipe other than fp32 and fp16.
absl::StatusOr<ExportedSubnet> ExportSubnet(const Supernet& supernet,
                                            const Architecture& architecture, const Dataset& train,
                                            const CalibrationOptions& calibration,
                                            const DeploymentRecipe& recipe,
                                            const SessionOptions& session);

}  // namespace forall

#endif  // FORALL_SUPERNET_EXPORT_H_
