// SPDX-License-Identifier: Apache-2.0
// Compares this implementation with an oracle file: results that the once-for-all authors' own code
// gave for weights and images that are a formula (formula.h). Agreement shows that their
// checkpoints are read, sliced, calibrated and exported exactly.
#ifndef FORALL_TESTS_CONFORMANCE_CONFORMANCE_H_
#define FORALL_TESTS_CONFORMANCE_CONFORMANCE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/onnx_session.h"

namespace forall {

// Largest relative error of a logits vector's L2 norm, and of a calibrated BatchNorm's sums.
inline constexpr double kConformanceTolerance = 2e-4;
// Largest error of a single logit, relative to the root mean square of its image's logits.
inline constexpr double kConformanceLogitTolerance = 5e-3;

struct ConformanceCase {
  std::string architecture;  // e.g. "r=128 macs=188248320"
  int64_t macs = 0;
  // The oracle names `macs` as a float32 sum would have it, and so not exactly.
  bool macs_rounded_by_oracle = false;
  int64_t params = 0;
  // Largest relative errors, over the images and over BatchNorm as nodes and folded.
  double norm_error_running = 0;     // L2 norm, with the checkpoint's running statistics
  double norm_error_calibrated = 0;  // L2 norm, after calibration
  double logit_error = 0;            // single logits, either
  double statistics_error = 0;       // sums of calibrated means and variances
  std::vector<std::string> failures;
};

struct ConformanceReport {
  std::string supernet;
  int64_t tensors = 0;
  std::vector<std::string> failures;  // keys, shapes, checksums
  std::vector<ConformanceCase> cases;
  bool passed() const;
};

// `oracle` is the file's text. InvalidArgument when it is not of the format; NotFound when no
// family has its supernet's name ("family not known"); errors of the runtime.
absl::StatusOr<ConformanceReport> RunConformance(absl::string_view oracle,
                                                 const SessionOptions& options);

}  // namespace forall

#endif  // FORALL_TESTS_CONFORMANCE_CONFORMANCE_H_
