// SPDX-License-Identifier: Apache-2.0
#include "search/report/html_text.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace forall {
namespace {

constexpr char kNone[] = "\xE2\x80\x93";  // en dash
constexpr char kReplacement[] = "\xEF\xBF\xBD";
constexpr size_t kShownKeyLength = 8;

}  // namespace

std::string EscapeHtml(absl::string_view text) {
  std::string html;
  html.reserve(text.size() + text.size() / 8);
  for (const char c : text) {
    switch (c) {
      case '&':
        html += "&amp;";
        break;
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '"':
        html += "&quot;";
        break;
      case '\'':
        html += "&#39;";
        break;
      default:
        if (absl::ascii_iscntrl(static_cast<unsigned char>(c)) && c != '\n' && c != '\t') {
          html += kReplacement;
        } else {
          html += c;
        }
    }
  }
  return html;
}

std::string KeyHtml(absl::string_view key) {
  if (key.empty()) return kNone;
  const bool whole = key.size() <= kShownKeyLength;
  return absl::StrCat("<code title=\"", EscapeHtml(key), "\">",
                      EscapeHtml(key.substr(0, kShownKeyLength)), whole ? "" : "…", "</code>");
}

std::string FormatDecimal(double value, int digits) {
  if (!std::isfinite(value)) return kNone;
  std::string text = absl::StrFormat("%.*f", digits, std::fabs(value));
  const size_t point = text.find('.');
  const size_t whole = point == std::string::npos ? text.size() : point;
  for (size_t i = whole; i > 3; i -= 3) text.insert(i - 3, ",");
  // U+2212: a minus that is as wide as a plus.
  return value < 0 ? absl::StrCat("\xE2\x88\x92", text) : text;
}

std::string FormatCount(double value) { return FormatDecimal(value, 0); }

absl::Time FromTimestamp(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

std::string FormatUtc(absl::Time time) {
  if (time == absl::UnixEpoch() || time == absl::InfinitePast() || time == absl::InfiniteFuture()) {
    return kNone;
  }
  return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone());
}

std::string FormatUtc(const google::protobuf::Timestamp& timestamp) {
  return FormatUtc(FromTimestamp(timestamp));
}

absl::string_view LastSegment(absl::string_view name) {
  const size_t slash = name.rfind('/');
  return slash == absl::string_view::npos ? name : name.substr(slash + 1);
}

}  // namespace forall
