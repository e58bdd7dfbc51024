// SPDX-License-Identifier: Apache-2.0
#include "base/json_members.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/json_depth.h"
#include "base/status_macros.h"

namespace forall {

absl::StatusOr<JsonMembers::Json> JsonMembers::ParseObject(absl::string_view text,
                                                           absl::string_view what) {
  FORALL_RETURN_IF_ERROR(CheckJsonDepth(text));
  Json json = Json::parse(text.begin(), text.end(), nullptr, false);
  if (!json.is_object()) return absl::InvalidArgumentError(absl::StrCat(what, " is a JSON object"));
  return json;
}

JsonMembers::JsonMembers(const Json& json, std::string path) : json_(json), path_(std::move(path)) {
  if (json_.is_object()) return;
  status_ = absl::InvalidArgumentError(
      absl::StrCat(absl::StripSuffix(path_, "."), ": must be an object"));
}

std::string JsonMembers::Text(const char* name, const std::string& otherwise) {
  const Json* const value = Find(name);
  if (value == nullptr) return otherwise;
  if (value->is_string()) return value->get<std::string>();
  Complain(name, "must be a text");
  return otherwise;
}

int JsonMembers::Number(const char* name, int most, int otherwise, int least) {
  const Json* const value = Find(name);
  if (value == nullptr) return otherwise;
  const bool fits = value->is_number_integer() && *value >= least && *value <= most;
  if (fits) return value->get<int>();
  Complain(name, absl::StrCat("must be a whole number from ", least, " to ", most));
  return otherwise;
}

bool JsonMembers::Flag(const char* name, bool otherwise) {
  const Json* const value = Find(name);
  if (value == nullptr) return otherwise;
  if (value->is_boolean()) return value->get<bool>();
  Complain(name, "must be true or false");
  return otherwise;
}

std::map<std::string, std::string> JsonMembers::Texts(const char* name) {
  std::map<std::string, std::string> texts;
  const Json* const value = Find(name);
  if (value == nullptr) return texts;
  if (!value->is_object()) Complain(name, "must be an object of texts");
  if (!value->is_object()) return texts;
  for (const auto& [key, text] : value->items()) {
    if (text.is_string()) {
      texts[key] = text.get<std::string>();
    } else if (text.is_number() || text.is_boolean()) {
      texts[key] = text.dump();
    } else {
      Complain(absl::StrCat(name, ".", key), "must be a text");
    }
  }
  return texts;
}

const JsonMembers::Json* JsonMembers::Find(const char* name) {
  known_.insert(name);
  if (!json_.is_object()) return nullptr;
  const auto found = json_.find(name);
  return found == json_.end() ? nullptr : &*found;
}

const JsonMembers::Json* JsonMembers::Require(const char* name) {
  const Json* const value = Find(name);
  if (value == nullptr) Complain(name, "is missing");
  return value;
}

void JsonMembers::RequireReal(const char* name, double* out) {
  const Json* const value = Require(name);
  if (value == nullptr) return;
  if (value->is_number() && std::isfinite(value->get<double>())) {
    *out = value->get<double>();
  } else {
    Complain(name, "must be a number");
  }
}

void JsonMembers::RequireFlag(const char* name, bool* out) {
  if (Require(name) != nullptr) *out = Flag(name, *out);
}

void JsonMembers::Complain(const std::string& name, const std::string& what) {
  if (status_.ok()) {
    status_ = absl::InvalidArgumentError(absl::StrCat(path_, name, ": ", what));
  }
}

absl::Status JsonMembers::Finish() {
  if (!json_.is_object()) return status_;
  for (const auto& [name, value] : json_.items()) {
    if (known_.count(name) == 0) {
      Complain(name, absl::StrCat("unknown; known here are ", absl::StrJoin(known_, ", ")));
    }
  }
  return status_;
}

}  // namespace forall
