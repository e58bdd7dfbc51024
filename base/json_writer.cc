// SPDX-License-Identifier: Apache-2.0
#include "base/json_writer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "nlohmann/json.hpp"

namespace forall {

void AppendJson(absl::string_view value, std::string* text) {
  const bool plain = std::all_of(value.begin(), value.end(), [](char c) {
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
  });
  if (plain) {
    absl::StrAppend(text, "\"", value, "\"");
  } else {
    *text += nlohmann::json(std::string(value))
                 .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
}

void AppendJson(double value, std::string* text) {
  if (!std::isfinite(value)) {
    *text += "null";
    return;
  }
  std::array<char, 32> digits;
  const std::to_chars_result written =
      std::to_chars(digits.data(), digits.data() + digits.size(), value);
  const absl::string_view number(digits.data(), static_cast<size_t>(written.ptr - digits.data()));
  absl::StrAppend(text, number);
  // So that it reads as a number with a fraction again.
  if (number.find_first_of(".e") == absl::string_view::npos) *text += ".0";
}

}  // namespace forall
