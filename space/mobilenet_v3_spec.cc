// SPDX-License-Identifier: Apache-2.0
// The JSON spec of the OFA-MobileNetV3 family: reading and checking. Anyone may write one, so every
// field is checked and named.
#include <algorithm>
#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/json_depth.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "space/mobilenet_v3.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

// Generous bounds: they keep a hostile spec from making gigabytes of shapes, not users from widths.
constexpr int32_t kMaxWidth = 16384;
constexpr int32_t kMaxClasses = 1000000;
constexpr int32_t kMaxResolution = 1024;  // as the evaluation transform

// Reads the fields of one JSON object and remembers the first error.
class FieldReader {
 public:
  FieldReader(const Json& json, std::string path) : json_(json), path_(std::move(path)) {
    if (!json_.is_object()) Fail("", "must be an object");
  }

  // Any other field is an error: a misspelt one must not silently fall back to a default.
  void AllowOnly(std::initializer_list<const char*> names) {
    if (!json_.is_object()) return;
    for (const auto& [key, value] : json_.items()) {
      bool known = false;
      for (const char* name : names) known = known || key == name;
      if (!known) Fail(key, absl::StrCat("unknown field; known are ", absl::StrJoin(names, ", ")));
    }
  }
  void Integer(const char* name, int32_t least, int32_t most, int32_t* out) {
    const Json* value = Find(name);
    if (value == nullptr) return;
    if (!value->is_number_integer() || *value < least || *value > most) {
      Fail(name, absl::StrCat("must be an integer from ", least, " to ", most));
      return;
    }
    *out = value->get<int32_t>();
  }
  void Integers(const char* name, int32_t least, int32_t most, std::vector<int32_t>* out) {
    const Json* value = Find(name);
    if (value == nullptr) return;
    std::vector<int32_t> list;
    const bool usable = value->is_array() && !value->empty() && value->size() <= 64;
    for (const Json& item : usable ? *value : Json::array()) {
      const bool in_range = item.is_number_integer() && item >= least && item <= most;
      if (!in_range || (!list.empty() && item.get<int32_t>() <= list.back())) break;
      list.push_back(item.get<int32_t>());
    }
    if (!usable || list.size() != value->size()) {
      Fail(name,
           absl::StrCat("must be a list of 1 to 64 ascending integers from ", least, " to ", most));
      return;
    }
    *out = std::move(list);
  }
  void Text(const char* name, std::string* out) {
    const Json* value = Find(name);
    if (value == nullptr) return;
    if (!value->is_string() || value->get<std::string>().empty()) {
      Fail(name, "must be a non-empty string");
      return;
    }
    *out = value->get<std::string>();
  }
  void Flag(const char* name, bool* out) {
    const Json* value = Find(name);
    if (value == nullptr) return;
    if (!value->is_boolean()) {
      Fail(name, "must be true or false");
      return;
    }
    *out = value->get<bool>();
  }
  void Real(const char* name, double* out) {
    const Json* value = Find(name);
    if (value == nullptr) return;
    if (!value->is_number() || !(value->get<double>() > 0) || value->get<double>() >= 1) {
      Fail(name, "must be a number between 0 and 1");
      return;
    }
    *out = value->get<double>();
  }
  void ActivationOf(const char* name, Activation* out) {
    std::string text;
    Text(name, &text);
    if (text.empty()) return;
    for (const Activation option : {Activation::kRelu, Activation::kRelu6, Activation::kHSwish}) {
      if (text == ActivationName(option)) {
        *out = option;
        return;
      }
    }
    Fail(name, absl::StrCat("\"", text, "\" is not relu, relu6 or h_swish"));
  }
  const Json& Child(const char* name) {
    const Json* value = Find(name);
    static const Json empty = Json::object();
    return value == nullptr ? empty : *value;
  }
  void Fail(const std::string& name, const std::string& message) {
    if (!status_.ok()) return;
    const std::string where =
        name.empty() ? path_ : absl::StrCat(path_, path_.empty() ? "" : ".", name);
    status_ =
        absl::InvalidArgumentError(absl::StrCat(where.empty() ? "spec" : where, ": ", message));
  }
  const absl::Status& status() const { return status_; }

 private:
  const Json* Find(const char* name) {
    if (!json_.is_object()) return nullptr;
    const auto it = json_.find(name);
    if (it == json_.end()) {
      Fail(name, "is missing");
      return nullptr;
    }
    return &*it;
  }

  const Json& json_;
  std::string path_;
  absl::Status status_;
};

absl::Status ReadStages(const Json& stages, MobileNetV3Config* config) {
  if (!stages.is_array() || stages.empty() || stages.size() > 16) {
    return absl::InvalidArgumentError("stages: must be a list of 1 to 16 stages");
  }
  for (size_t i = 0; i < stages.size(); ++i) {
    MobileNetV3Stage stage;
    FieldReader reader(stages[i], absl::StrCat("stages[", i, "]"));
    reader.AllowOnly({"width", "stride", "activation", "squeeze_excite"});
    reader.Integer("width", 1, kMaxWidth, &stage.width);
    reader.Integer("stride", 1, 2, &stage.stride);
    reader.ActivationOf("activation", &stage.activation);
    reader.Flag("squeeze_excite", &stage.squeeze_excite);
    FORALL_RETURN_IF_ERROR(reader.status());
    config->stages.push_back(stage);
  }
  return absl::OkStatus();
}

absl::Status CheckKernels(const std::vector<int32_t>& kernels) {
  for (size_t i = 0; i < kernels.size(); ++i) {
    if (kernels[i] % 2 == 0 || (i > 0 && kernels[i] != kernels[i - 1] + 2)) {
      return absl::InvalidArgumentError("kernels: must be consecutive odd sizes, e.g. [3, 5, 7]");
    }
  }
  return absl::OkStatus();
}

// The name is part of resource names and of the canonical bytes of keys.
absl::Status CheckName(absl::string_view name) {
  const bool good =
      !name.empty() && name.size() <= 63 && absl::ascii_isalnum(name[0]) &&
      std::all_of(name.begin(), name.end(), [](char c) {
        return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-' || c == '_' || c == '.';
      });
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "name: want 1 to 63 lower-case letters, digits, '-', '_' or '.', the first a letter or "
      "digit");
}

}  // namespace

absl::StatusOr<MobileNetV3Config> ParseMobileNetV3Spec(absl::string_view text) {
  FORALL_RETURN_IF_ERROR(CheckJsonDepth(text));
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::InvalidArgumentError("spec: is not valid JSON");
  MobileNetV3Config config;
  std::string family;
  FieldReader reader(json, "");
  reader.AllowOnly({"family", "name", "revision", "input_channels", "classes", "resolutions",
                    "stem", "first_block", "stages", "kernels", "expansions", "depths", "head",
                    "batch_norm_epsilon"});
  reader.Text("family", &family);
  reader.Text("name", &config.name);
  reader.Integer("revision", 1, std::numeric_limits<int32_t>::max(), &config.revision);
  reader.Integer("input_channels", 1, 1024, &config.input_channels);
  reader.Integer("classes", 2, kMaxClasses, &config.classes);
  reader.Integers("resolutions", 8, kMaxResolution, &config.resolutions);
  reader.Integers("kernels", 1, 15, &config.kernels);
  reader.Integers("expansions", 1, 16, &config.expansions);
  reader.Integers("depths", 1, 16, &config.depths);
  reader.Real("batch_norm_epsilon", &config.batch_norm_epsilon);

  FieldReader stem(reader.Child("stem"), "stem");
  stem.AllowOnly({"width", "stride", "activation"});
  stem.Integer("width", 1, kMaxWidth, &config.stem_width);
  stem.Integer("stride", 1, 2, &config.stem_stride);
  stem.ActivationOf("activation", &config.stem_activation);

  FieldReader first(reader.Child("first_block"), "first_block");
  first.AllowOnly({"width", "activation"});
  first.Integer("width", 1, kMaxWidth, &config.first_block_width);
  first.ActivationOf("activation", &config.first_block_activation);

  FieldReader head(reader.Child("head"), "head");
  head.AllowOnly({"expand_width", "feature_width", "activation"});
  head.Integer("expand_width", 1, kMaxWidth, &config.head_expand_width);
  head.Integer("feature_width", 1, kMaxWidth, &config.head_feature_width);
  head.ActivationOf("activation", &config.head_activation);

  FORALL_RETURN_IF_ERROR(reader.status());
  FORALL_RETURN_IF_ERROR(CheckName(config.name));
  FORALL_RETURN_IF_ERROR(stem.status());
  FORALL_RETURN_IF_ERROR(first.status());
  FORALL_RETURN_IF_ERROR(head.status());
  FORALL_RETURN_IF_ERROR(CheckKernels(config.kernels));
  FORALL_RETURN_IF_ERROR(ReadStages(reader.Child("stages"), &config));
  return config;
}

}  // namespace forall
