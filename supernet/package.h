// SPDX-License-Identifier: Apache-2.0
// A supernet: a family (what may be searched) and the trained weights of all its tensors; and how
// it lies on disk. docs/supernet-package.md is the format's manual.
//
// The artifact is one file, weights.safetensors: the family's spec is in its metadata, so that file
// alone is a whole supernet, and the SHA-256 of its bytes is the supernet's hash. A package is a
// directory with that file and supernet.json, a readable duplicate that is checked against it.
#ifndef FORALL_SUPERNET_PACKAGE_H_
#define FORALL_SUPERNET_PACKAGE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "space/family.h"
#include "supernet/safetensors.h"

namespace forall {

// Names inside a package directory.
inline constexpr char kPackageSpecFile[] = "supernet.json";
inline constexpr char kPackageWeightsFile[] = "weights.safetensors";

// Immutable; thread-safe.
class Supernet {
 public:
  // A package directory. As LoadFile; also DataLoss when supernet.json names another hash than the
  // weights have, InvalidArgument when it does not say the same as the weights' metadata.
  static absl::StatusOr<std::shared_ptr<const Supernet>> Load(const std::string& directory);

  // A weights file alone, e.g. one that was fetched by its hash. NotFound; DataLoss when it is cut
  // short or, unless `expected_hash` is "", has another hash; InvalidArgument listing every
  // missing, extra or misshapen tensor, and for values that are not finite.
  static absl::StatusOr<std::shared_ptr<const Supernet>> LoadFile(
      const std::string& path, const std::string& expected_hash = "");

  // The same over the bytes of a weights file; `source` names them in messages.
  static absl::StatusOr<std::shared_ptr<const Supernet>> FromBytes(std::string bytes,
                                                                   const std::string& source);

  const Family& family() const { return *family_; }
  const std::shared_ptr<const Family>& shared_family() const { return family_; }
  // SHA-256 of the weights file, 64 hex digits: the supernet's identity.
  const std::string& hash() const { return hash_; }
  // The weights file it was read from; "" when it was read from bytes.
  const std::string& weights_path() const { return weights_path_; }
  // Name of the dataset that it was trained on, whose evaluation transform its inputs need; "" when
  // the package does not say.
  const std::string& dataset() const { return dataset_; }
  // What the author noted, e.g. the training recipe.
  const std::map<std::string, std::string>& notes() const { return notes_; }

  // The float32 values of a tensor of family().tensors(), row-major; nullptr for other names and
  // for batch counters. Live as long as the supernet.
  struct TensorValues {
    std::vector<int64_t> shape;
    absl::Span<const float> values;
  };
  const TensorValues* Find(absl::string_view name) const;

 private:
  Supernet() = default;
  static absl::StatusOr<std::shared_ptr<Supernet>> FromSafetensors(const SafetensorsFile& file);
  absl::Status ReadMetadata(const SafetensorsFile& file);
  absl::Status ReadTensors(const SafetensorsFile& file);

  std::shared_ptr<const Family> family_;
  std::string hash_;
  std::string weights_path_;
  std::string dataset_;
  std::map<std::string, std::string> notes_;
  std::vector<float> storage_;
  absl::flat_hash_map<std::string, TensorValues> tensors_;
};

// A tensor on its way into a package.
struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
};

struct NamedShape {
  std::string name;
  std::vector<int64_t> shape;
};

// Of all tensors of a supernet but the batch counters, in the family's order.
std::vector<NamedShape> SupernetShapes(const Family& family);

// InvalidArgument naming missing, extra and misshapen tensors, eight of each kind and how many more
// there are; batch counters of BatchNorms that are expected may be there or not.
absl::Status CheckTensors(absl::Span<const NamedShape> expected,
                          absl::Span<const NamedShape> given);
// The same for all tensors of a supernet.
absl::Status CheckTensors(const Family& family, absl::Span<const NamedShape> given);

struct PackageOptions {
  // kF32 or kF16. With kF16 convolutions and matrices are stored as fp16; biases, BatchNorm
  // parameters and statistics stay fp32: they are small, and variances leave fp16's range.
  SafetensorsType precision = SafetensorsType::kF32;
  std::string dataset;
  std::map<std::string, std::string> notes;
};

// The bytes of a weights file. `tensors` in any order; batch counters are left out of the file and
// need not be given. InvalidArgument lists what is missing, extra or misshapen. Deterministic.
absl::StatusOr<std::string> BuildWeightsFile(const Family& family,
                                             absl::Span<const NamedTensor> tensors,
                                             const PackageOptions& options);

// Writes both files into `directory` (created when absent; files of a former package are replaced).
// Returns the hash.
absl::StatusOr<std::string> WritePackage(const std::string& directory, const Family& family,
                                         absl::Span<const NamedTensor> tensors,
                                         const PackageOptions& options);

}  // namespace forall

#endif  // FORALL_SUPERNET_PACKAGE_H_
