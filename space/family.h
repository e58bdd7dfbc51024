// SPDX-License-Identifier: Apache-2.0
// A family of once-for-all supernets: what may be searched, which tensors a supernet of it holds,
// and how an architecture becomes a network description. One family is one file.
#ifndef FORALL_SPACE_FAMILY_H_
#define FORALL_SPACE_FAMILY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "space/network.h"
#include "space/search_space.h"

namespace forall {

enum class TensorRole {
  kWeight,  // convolution or matrix
  kBias,    // convolution or linear bias
  kBatchNormScale,
  kBatchNormBias,
  kRunningMean,
  kRunningVariance,
  kBatchCounter,     // num_batches_tracked: int64 scalar, kept for checkpoint compatibility
  kKernelTransform,  // square matrix of a kernel transform
};

// A tensor of the supernet, named as in the field's checkpoints.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
  TensorRole role = TensorRole::kWeight;
};

// Immutable; thread-safe.
class Family {
 public:
  virtual ~Family() = default;

  virtual const SearchSpace& search_space() const = 0;
  // All tensors, in the order of the authors' state dict.
  virtual const std::vector<TensorSpec>& tensors() const = 0;
  virtual int input_channels() const = 0;
  virtual int classes() const = 0;
  // The readable spec this family was made from (JSON); FamilyFromSpec reads it back.
  virtual std::string Spec() const = 0;

  // InvalidArgument as SearchSpace::Validate.
  virtual absl::StatusOr<Network> Describe(const Architecture& architecture) const = 0;

  // Reads the field's own notation {"ks":[...],"e":[...],"d":[...],"r":128} (ResNet: d, e, w, r; r
  // may be a list of one, other keys such as "wid" must be null) as well as
  // SearchSpace::FromJson's.
  virtual absl::StatusOr<Architecture> ParseArchitecture(absl::string_view json) const = 0;
};

// Parses a spec: {"family": "ofa_mobilenet_v3", "name": ..., ...}; the families are that one,
// "ofa_proxyless" and "ofa_resnet", and docs/search-spaces.md has their fields. InvalidArgument
// names an unknown, missing or ill-valued field.
absl::StatusOr<std::shared_ptr<const Family>> FamilyFromSpec(absl::string_view json);

// The ready-made spaces, such as "ofa_mbv3_w1.0". NotFound lists the known names.
absl::StatusOr<std::shared_ptr<const Family>> FindFamily(absl::string_view name);
std::vector<std::string> FamilyNames();

}  // namespace forall

#endif  // FORALL_SPACE_FAMILY_H_
