// SPDX-License-Identifier: Apache-2.0
// How an architecture is turned into something that runs: part of what keys a latency.
#ifndef FORALL_SPACE_RECIPE_H_
#define FORALL_SPACE_RECIPE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace forall {

enum class Precision { kFp32, kFp16, kInt8 };

// Text form: "fp32" or "fp16"; later recipes add ";"-separated settings (scheme, calibration), so
// that the text of an existing recipe never changes.
struct DeploymentRecipe {
  Precision precision = Precision::kFp32;
  friend bool operator==(const DeploymentRecipe& a, const DeploymentRecipe& b) {
    return a.precision == b.precision;
  }
};

std::string RecipeText(const DeploymentRecipe& recipe);
// InvalidArgument lists what is known. Unimplemented for int8: a key reserves its place, no
// exporter makes it yet.
absl::StatusOr<DeploymentRecipe> ParseRecipe(absl::string_view text);

}  // namespace forall

#endif  // FORALL_SPACE_RECIPE_H_
