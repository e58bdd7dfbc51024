// SPDX-License-Identifier: Apache-2.0
#include "latency/backend/sample_text.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr double kLongestNanos = 3600e9;
constexpr size_t kMostSamples = 1000000;
constexpr size_t kLongestExcerpt = 100;
constexpr size_t kLongestNumber = 40;

}  // namespace

std::string Excerpt(absl::string_view text) {
  std::string result(text.substr(0, kLongestExcerpt));
  for (char& c : result) {
    if (absl::ascii_iscntrl(c) || !absl::ascii_isascii(c)) c = '?';
  }
  return absl::StrCat("\"", result, text.size() > kLongestExcerpt ? "..." : "", "\"");
}

absl::StatusOr<double> NanosOfUnit(absl::string_view unit) {
  if (unit == "s") return 1e9;
  if (unit == "ms") return 1e6;
  if (unit == "us") return 1e3;
  if (unit == "ns") return 1;
  return absl::InvalidArgumentError(
      absl::StrCat("unit ", Excerpt(unit), " must be one of s, ms, us, ns"));
}

absl::StatusOr<double> PlainNumber(absl::string_view text) {
  double value = 0;
  const bool plain = !text.empty() && text.size() <= kLongestNumber &&
                     std::all_of(text.begin(), text.end(), [](char c) {
                       return absl::ascii_isdigit(c) || absl::StrContains(".eE+-", c);
                     });
  if (!plain || !absl::SimpleAtod(text, &value) || !std::isfinite(value)) {
    return absl::DataLossError(absl::StrCat(Excerpt(text), " is no number"));
  }
  return value;
}

absl::StatusOr<double> DurationNanos(double value, double nanos_per_unit) {
  const double nanos = value * nanos_per_unit;
  if (!(nanos > 0) || !(nanos <= kLongestNanos)) {
    return absl::DataLossError(absl::StrCat(
        nanos, " ns is no believable duration: it must be above 0 and at most an hour"));
  }
  return nanos;
}

absl::StatusOr<double> DurationNanos(absl::string_view text, double nanos_per_unit) {
  FORALL_ASSIGN_OR_RETURN(const double value, PlainNumber(text));
  return DurationNanos(value, nanos_per_unit);
}

absl::Status CheckCount(size_t samples, int runs) {
  if (samples > kMostSamples) {
    return absl::DataLossError(absl::StrCat(samples, " samples are more than a run can give"));
  }
  if (samples >= static_cast<size_t>(std::max(runs, 1))) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(samples, " samples where ", runs, " were asked for"));
}

}  // namespace forall
