// SPDX-License-Identifier: Apache-2.0
#include "space/spec_reader.h"

#include <limits>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/identifier.h"
#include "base/json_depth.h"
#include "base/status_macros.h"

namespace forall {

using Json = nlohmann::ordered_json;

absl::StatusOr<Json> ParseSpecJson(absl::string_view text) {
  FORALL_RETURN_IF_ERROR(WithContext(CheckJsonDepth(text), "spec"));
  Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::InvalidArgumentError("spec: is not valid JSON");
  return json;
}

SpecReader::SpecReader(const Json& json, std::string path) : json_(json), path_(std::move(path)) {
  if (!json_.is_object()) Fail("", "must be an object");
}

void SpecReader::AllowOnly(std::initializer_list<const char*> names) {
  if (!json_.is_object()) return;
  for (const auto& [key, value] : json_.items()) {
    bool known = false;
    for (const char* name : names) known = known || key == name;
    if (!known)
      Fail(absl::CHexEscape(key.substr(0, 80)),
           absl::StrCat("unknown field; known are ", absl::StrJoin(names, ", ")));
  }
}

void SpecReader::Integer(const char* name, int32_t least, int32_t most, int32_t* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_number_integer() || *value < least || *value > most) {
    Fail(name, absl::StrCat("must be an integer from ", least, " to ", most));
    return;
  }
  *out = value->get<int32_t>();
}

void SpecReader::Integers(const char* name, int32_t least, int32_t most, std::vector<int32_t>* out,
                          bool repeats) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  std::vector<int32_t> list;
  const bool usable = value->is_array() && !value->empty() && value->size() <= 64;
  for (const Json& item : usable ? *value : Json::array()) {
    if (!item.is_number_integer() || item < least || item > most) break;
    const int32_t number = item.get<int32_t>();
    if (!list.empty() && (number < list.back() || (number == list.back() && !repeats))) break;
    list.push_back(number);
  }
  if (!usable || list.size() != value->size()) {
    Fail(name,
         absl::StrCat("must be a list of 1 to 64 ascending integers from ", least, " to ", most));
    return;
  }
  *out = std::move(list);
}

void SpecReader::Text(const char* name, std::string* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_string() || value->get<std::string>().empty()) {
    Fail(name, "must be a non-empty string");
    return;
  }
  *out = value->get<std::string>();
}

void SpecReader::Name(const char* name, std::string* out) {
  std::string text;
  Text(name, &text);
  if (text.empty()) return;
  if (!IsIdentifier(text)) {
    Fail(name, kIdentifierRule);
    return;
  }
  *out = std::move(text);
}

void SpecReader::Flag(const char* name, bool* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_boolean()) {
    Fail(name, "must be true or false");
    return;
  }
  *out = value->get<bool>();
}

void SpecReader::Real(const char* name, double* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_number() || !(value->get<double>() > 0) || value->get<double>() >= 1) {
    Fail(name, "must be a number between 0 and 1");
    return;
  }
  *out = value->get<double>();
}

void SpecReader::ActivationOf(const char* name, Activation* out) {
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

const Json& SpecReader::Child(const char* name) {
  const Json* value = Find(name);
  static const Json empty = Json::object();
  return value == nullptr ? empty : *value;
}

const Json& SpecReader::List(const char* name, size_t most) {
  const Json* value = Find(name);
  static const Json empty = Json::array();
  if (value == nullptr) return empty;
  if (!value->is_array() || value->empty() || value->size() > most) {
    Fail(name, absl::StrCat("must be a list of 1 to ", most, " entries"));
    return empty;
  }
  return *value;
}

void SpecReader::Fail(const std::string& name, const std::string& message) {
  if (!status_.ok()) return;
  const std::string where =
      name.empty() ? path_ : absl::StrCat(path_, path_.empty() ? "" : ".", name);
  status_ = absl::InvalidArgumentError(absl::StrCat(where.empty() ? "spec" : where, ": ", message));
}

void SpecReader::Join(const SpecReader& other) {
  if (status_.ok()) status_ = other.status_;
}

const Json* SpecReader::Find(const char* name) {
  if (!json_.is_object()) return nullptr;
  const auto it = json_.find(name);
  if (it == json_.end()) {
    Fail(name, "is missing");
    return nullptr;
  }
  return &*it;
}

void ReadInvertedResidual(SpecReader* reader, InvertedResidualConfig* config) {
  reader->Name("name", &config->name);
  reader->Integer("revision", 1, std::numeric_limits<int32_t>::max(), &config->revision);
  reader->Integer("input_channels", 1, 1024, &config->input_channels);
  reader->Integer("classes", 2, kMaxSpecClasses, &config->classes);
  reader->Integers("resolutions", 8, kMaxSpecResolution, &config->resolutions);
  reader->Integers("kernels", 1, 15, &config->kernels);
  reader->Integers("expansions", 1, 16, &config->expansions);
  reader->Real("batch_norm_epsilon", &config->batch_norm_epsilon);

  SpecReader stem(reader->Child("stem"), "stem");
  stem.AllowOnly({"width", "stride", "activation"});
  stem.Integer("width", 1, kMaxSpecWidth, &config->stem_width);
  stem.Integer("stride", 1, 2, &config->stem_stride);
  stem.ActivationOf("activation", &config->stem_activation);
  reader->Join(stem);

  SpecReader first(reader->Child("first_block"), "first_block");
  first.AllowOnly({"width", "activation"});
  first.Integer("width", 1, kMaxSpecWidth, &config->first_block_width);
  first.ActivationOf("activation", &config->first_block_activation);
  reader->Join(first);

  for (size_t i = 0; i < config->kernels.size(); ++i) {
    const int32_t kernel = config->kernels[i];
    if (kernel % 2 == 0 || (i > 0 && kernel != config->kernels[i - 1] + 2)) {
      reader->Fail("kernels", "must be consecutive odd sizes, e.g. [3, 5, 7]");
    }
  }
}

Json WriteInvertedResidual(const char* family, const InvertedResidualConfig& config) {
  Json json;
  json["family"] = family;
  json["name"] = config.name;
  json["revision"] = config.revision;
  json["input_channels"] = config.input_channels;
  json["classes"] = config.classes;
  json["resolutions"] = config.resolutions;
  json["stem"] = {{"width", config.stem_width},
                  {"stride", config.stem_stride},
                  {"activation", ActivationName(config.stem_activation)}};
  json["first_block"] = {{"width", config.first_block_width},
                         {"activation", ActivationName(config.first_block_activation)}};
  return json;
}

}  // namespace forall
