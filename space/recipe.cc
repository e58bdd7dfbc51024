// SPDX-License-Identifier: Apache-2.0
#include "space/recipe.h"

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace forall {

std::string RecipeText(const DeploymentRecipe& recipe) {
  switch (recipe.precision) {
    case Precision::kFp32:
      return "fp32";
    case Precision::kFp16:
      return "fp16";
    case Precision::kInt8:
      return "int8";
  }
  return "unknown";
}

absl::StatusOr<DeploymentRecipe> ParseRecipe(absl::string_view text) {
  if (text == "fp32" || text.empty()) return DeploymentRecipe{};
  if (text == "fp16") return DeploymentRecipe{Precision::kFp16};
  if (text == "int8") {
    return absl::UnimplementedError("recipe int8 cannot be exported yet; use fp32 or fp16");
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown recipe \"", text, "\"; use fp32 or fp16"));
}

}  // namespace forall
