// SPDX-License-Identifier: Apache-2.0
#include "base/long_duration.h"

#include <cstdint>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace forall {
namespace {

constexpr int64_t kMostDays = 100'000;
constexpr absl::Duration kDay = absl::Hours(24);

}  // namespace

std::optional<absl::Duration> ParseLongDuration(absl::string_view text) {
  absl::string_view number = text;
  int64_t days = 0;
  if (absl::ConsumeSuffix(&number, "d") && absl::SimpleAtoi(number, &days) && days >= 0 &&
      days < kMostDays) {
    return days * kDay;
  }
  absl::Duration duration;
  if (absl::ParseDuration(text, &duration) && duration >= absl::ZeroDuration() &&
      duration < kMostDays * kDay) {
    return duration;
  }
  return std::nullopt;
}

std::string LongDurationText(absl::Duration duration) {
  absl::Duration rest;
  const int64_t days = absl::IDivDuration(duration, kDay, &rest);
  if (days > 0 && rest == absl::ZeroDuration()) return absl::StrCat(days, "d");
  return absl::FormatDuration(duration);
}

}  // namespace forall
