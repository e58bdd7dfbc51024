// SPDX-License-Identifier: Apache-2.0
// Text and numbers as they stand in a report's HTML.
#ifndef FORALL_SEARCH_REPORT_HTML_TEXT_H_
#define FORALL_SEARCH_REPORT_HTML_TEXT_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"

namespace forall {

// Safe as text and within a quoted attribute. Control characters, which HTML forbids, become
// U+FFFD.
std::string EscapeHtml(absl::string_view text);

// The first eight characters, with the whole key as a tooltip; "–" when empty. HTML.
std::string KeyHtml(absl::string_view key);

// 12,345; "–" when not finite.
std::string FormatCount(double value);
// Fixed decimals with thousands separated; "–" when not finite.
std::string FormatDecimal(double value, int digits);

// "2025-03-01 12:34:56 UTC"; "–" for a time that is not set.
std::string FormatUtc(absl::Time time);
std::string FormatUtc(const google::protobuf::Timestamp& timestamp);
absl::Time FromTimestamp(const google::protobuf::Timestamp& timestamp);

// "searchJobs/3/trials/17" -> "17".
absl::string_view LastSegment(absl::string_view name);

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_HTML_TEXT_H_
