// SPDX-License-Identifier: Apache-2.0
// Writes JSON text directly, for what is written thousands of times a second; everything else takes
// nlohmann_json. What is written here reads the same there.
#ifndef FORALL_BASE_JSON_WRITER_H_
#define FORALL_BASE_JSON_WRITER_H_

#include <concepts>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace forall {

// In quotes. Bytes that are not UTF-8 are replaced by U+FFFD.
void AppendJson(absl::string_view value, std::string* text);
inline void AppendJson(const std::string& value, std::string* text) {
  AppendJson(absl::string_view(value), text);
}
// The shortest text that reads as the same number; "null" for infinities and NaN.
void AppendJson(double value, std::string* text);
template <std::integral T>
void AppendJson(T value, std::string* text) {
  if constexpr (std::same_as<T, bool>) {
    *text += value ? "true" : "false";
  } else {
    absl::StrAppend(text, value);
  }
}
// An array. AppendJson of T is found where T is defined.
template <typename T>
void AppendJson(const std::vector<T>& values, std::string* text) {
  *text += '[';
  for (size_t i = 0; i < values.size(); ++i) {
    if (i > 0) *text += ',';
    AppendJson(values[i], text);
  }
  *text += ']';
}

}  // namespace forall

#endif  // FORALL_BASE_JSON_WRITER_H_
