// SPDX-License-Identifier: Apache-2.0
#include "search/store/stored_value.h"

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/cut_text.h"
#include "base/json_writer.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using Json = nlohmann::json;

// Of what a message repeats of damaged text.
constexpr size_t kMostQuoted = 200;

template <typename T>
absl::StatusOr<T> Parse(const std::string& text) {
  if (text.empty()) return T();
  try {
    return Json::parse(text).get<T>();
  } catch (const Json::exception& error) {
    return absl::DataLossError(
        absl::StrCat("stored JSON is damaged: ", CutText(error.what(), kMostQuoted)));
  }
}

}  // namespace

std::optional<int64_t> ToStoredTime(const std::optional<absl::Time>& time) {
  if (!time.has_value()) return std::nullopt;
  return ToStoredTime(*time);
}

std::string ToStoredInts(const std::vector<int32_t>& values) { return absl::StrJoin(values, ","); }

absl::StatusOr<std::vector<int32_t>> FromStoredInts(absl::string_view text) {
  std::vector<int32_t> values;
  if (text.empty()) return values;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    int32_t value = 0;
    if (!absl::SimpleAtoi(part, &value)) {
      return absl::DataLossError(absl::StrCat("stored list of integers is damaged: ",
                                              absl::CHexEscape(text.substr(0, kMostQuoted))));
    }
    values.push_back(value);
  }
  return values;
}

std::string ToStoredList(const std::vector<std::string>& values) {
  std::string text;
  if (!values.empty()) AppendJson(values, &text);
  return text;
}
absl::StatusOr<std::vector<std::string>> FromStoredList(const std::string& text) {
  return Parse<std::vector<std::string>>(text);
}

std::string ToStoredMap(const std::map<std::string, std::string>& values) {
  if (values.empty()) return "";
  std::string text = "{";
  for (const auto& [name, value] : values) {
    if (text.size() > 1) text += ',';
    AppendJson(name, &text);
    text += ':';
    AppendJson(value, &text);
  }
  text += '}';
  return text;
}
absl::StatusOr<std::map<std::string, std::string>> FromStoredMap(const std::string& text) {
  return Parse<std::map<std::string, std::string>>(text);
}

}  // namespace forall
