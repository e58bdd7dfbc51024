// SPDX-License-Identifier: Apache-2.0
// An exported subnet in half precision: IEEE 754 binary16 weights and arithmetic.
#ifndef FORALL_SUPERNET_ONNX_HALF_MODEL_H_
#define FORALL_SUPERNET_ONNX_HALF_MODEL_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace forall {

// Key of an exported file's metadata_props: the deployment recipe (space/recipe.h).
inline constexpr char kMetadataRecipe[] = "forall.recipe";

// `model` is a float32 file of BuildOnnxModel. Its weights are rounded to nearest (ties to even),
// every operator works on float16, and Cast nodes at both ends keep "image" and "logits" float32,
// so that whoever ran the float32 file runs this one. The metadata are kept, with the recipe
// "fp16". A runtime whose processor has no float16 arithmetic (ONNX Runtime on x86) computes in
// float32 between casts: the file is half as large there, not faster.
//
// Equal inputs give equal bytes. InvalidArgument for what is no ONNX file, has tensors of another
// type or more than one input or output, and for a weight that is not finite or beyond 65504, the
// largest half, which it names.
absl::StatusOr<std::string> ToHalfModel(absl::string_view model);

}  // namespace forall

#endif  // FORALL_SUPERNET_ONNX_HALF_MODEL_H_
