// SPDX-License-Identifier: Apache-2.0
#include "data/folder/folder_description.h"

#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/json_depth.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kFormat[] = "forall.dataset.1";
constexpr Split kSplits[] = {Split::kTrain, Split::kValidation, Split::kTest};

// Reads fields and remembers whether all of them were there.
class Fields {
 public:
  explicit Fields(const Json& json) : json_(json) {}
  bool complete() const { return complete_; }

  std::string Text(const char* key) { return TextOf(Find(json_, key)); }
  std::string TextIn(const char* key, const char* inner) {
    return TextOf(Find(Find(json_, key), inner));
  }
  int64_t CountIn(const char* key, const char* inner) {
    const Json& value = Find(Find(json_, key), inner);
    if (value.is_number_unsigned()) return value.get<int64_t>();
    complete_ = false;
    return 0;
  }
  std::vector<std::string> Texts(const char* key) {
    std::vector<std::string> texts;
    const Json& list = Find(json_, key);
    complete_ = complete_ && list.is_array();
    for (const Json& value : list) texts.push_back(TextOf(value));
    return texts;
  }
  std::vector<float> Reals(const char* key) {
    std::vector<float> reals;
    const Json& list = Find(json_, key);
    complete_ = complete_ && list.is_array();
    for (const Json& value : list) {
      complete_ = complete_ && value.is_number();
      if (value.is_number()) reals.push_back(value.get<float>());
    }
    return reals;
  }

 private:
  const Json& Find(const Json& in, const char* key) {
    static const Json nothing;
    const auto found = in.is_object() ? in.find(key) : in.end();
    if (in.is_object() && found != in.end()) return *found;
    complete_ = false;
    return nothing;
  }
  std::string TextOf(const Json& value) {
    if (value.is_string()) return value.get<std::string>();
    complete_ = false;
    return "";
  }

  const Json& json_;
  bool complete_ = true;
};

}  // namespace

std::string FolderDescription::ImagePath(Split split, uint32_t label,
                                         absl::string_view file) const {
  const std::string& part = parts[static_cast<size_t>(split)];
  return absl::StrCat(path, "/", part, part.empty() ? "" : "/", folders[label], "/", file);
}

std::string FolderDescription::ToJson() const {
  Json json;
  json["format"] = kFormat;
  json["name"] = name;
  json["source"] = kFolderSource;
  json["path"] = path;
  for (const Split split : kSplits) {
    json["parts"][SplitName(split)] = parts[static_cast<size_t>(split)];
    json["images"][SplitName(split)] = static_cast<uint64_t>(images[static_cast<size_t>(split)]);
  }
  for (const auto& [key, values] :
       {std::pair("mean", &normalization.mean), std::pair("stddev", &normalization.stddev)}) {
    json[key] = Json::array();
    // As the decimals they are published as, not as the nearest floats.
    for (const float value : *values) {
      json[key].push_back(std::round(static_cast<double>(value) * 1e4) / 1e4);
    }
  }
  json["skipped"] = skipped;
  json["classes"] = class_names;
  json["folders"] = folders;
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::StatusOr<FolderDescription> FolderDescription::Parse(absl::string_view text,
                                                           absl::string_view name) {
  FORALL_RETURN_IF_ERROR(CheckJsonDepth(text));
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object() || json.value("format", Json()) != kFormat) {
    return absl::DataLossError(absl::StrCat("it is not of the format ", kFormat));
  }
  Fields fields(json);
  FolderDescription description;
  description.name = fields.Text("name");
  description.path = fields.Text("path");
  for (const Split split : kSplits) {
    const auto s = static_cast<size_t>(split);
    description.parts[s] = fields.TextIn("parts", SplitName(split));
    description.images[s] = fields.CountIn("images", SplitName(split));
  }
  description.normalization = {fields.Reals("mean"), fields.Reals("stddev")};
  description.skipped = fields.Texts("skipped");
  description.class_names = fields.Texts("classes");
  description.folders = fields.Texts("folders");
  bool usable = fields.complete() && fields.Text("source") == kFolderSource &&
                description.name == name && description.class_names.size() >= 2 &&
                description.folders.size() == description.class_names.size() &&
                description.normalization.mean.size() == 3 &&
                description.normalization.stddev.size() == 3;
  for (const float stddev : description.normalization.stddev) usable = usable && stddev > 0;
  if (!usable) return absl::DataLossError("a field is missing or does not fit the others");
  return description;
}

}  // namespace forall
