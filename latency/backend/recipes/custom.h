// SPDX-License-Identifier: Apache-2.0
// A user's own recipe, in JSON:
//
//   {"name": "my_tool", "argv": ["/opt/tool", "{model}", "-t", "{threads}", "-n", "{runs}"],
//    "samples": {"from": "standard_output", "format": "line_prefix", "prefix": "latency ",
//                "suffix": " ms", "unit": "ms"}}
//
// Required: name, argv and samples. Optional: build (an argv with {model} and {engine}), version
// (an argv whose first line of output is it), environment, provider, model_format (another than
// "onnx" takes convert), convert, not_supported and out_of_memory (lists of texts), summaries.
// argv may name {model}, {engine} (with build), {threads}, {runs}, {output}. samples.from is
// "standard_output" or "output", the file {output}; samples.format one of
//   one_number_per_line  nothing else may stand there
//   line_prefix          lines that begin with `prefix`, a number, then `suffix`; others are passed
//                        over
//   json_pointer         `pointer` (RFC 6901) to an array of numbers, or of objects in which
//                        `field`, a pointer too, leads to the number
// docs/device-recipes.md has examples.
#ifndef FORALL_LATENCY_BACKEND_RECIPES_CUSTOM_H_
#define FORALL_LATENCY_BACKEND_RECIPES_CUSTOM_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "latency/backend/recipe.h"
#include "nlohmann/json.hpp"

namespace forall {

// InvalidArgument for an unknown key, a key that is missing or of another type, an unknown name in
// braces.
absl::StatusOr<std::shared_ptr<const Recipe>> MakeCustomRecipe(const nlohmann::ordered_json& json);

// A member's text or list of texts. InvalidArgument names the key.
absl::StatusOr<std::string> JsonText(const nlohmann::ordered_json& value, absl::string_view key);
absl::StatusOr<std::vector<std::string>> JsonTexts(const nlohmann::ordered_json& value,
                                                   absl::string_view key);

}  // namespace forall

#endif  // FORALL_LATENCY_BACKEND_RECIPES_CUSTOM_H_
