// SPDX-License-Identifier: Apache-2.0
#include "cli/retraction.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "base/long_duration.h"
#include "cli/text_table.h"

namespace forall {

absl::StatusOr<absl::Time> ParseMoment(absl::string_view text, absl::Time now,
                                       absl::string_view flag) {
  absl::Time time;
  std::string error;
  if (absl::ParseTime(absl::RFC3339_full, text, &time, &error) ||
      absl::ParseTime("%Y-%m-%d", text, absl::UTCTimeZone(), &time, &error)) {
    return time;
  }
  if (const std::optional<absl::Duration> ago = ParseLongDuration(text); ago.has_value()) {
    return now - *ago;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(flag,
                   ": want a time, e.g. 2026-11-29T14:30:00Z, a day, 2026-11-29, or how long "
                   "ago, 90m, 2h or 3d; got \"",
                   text, "\""));
}

std::string RetractionText(const v1::RetractMeasurementsResponse& response, bool done,
                           size_t width) {
  if (response.measurements() == 0)
    return "No measurement is meant, or all are retracted already.\n";
  std::string text;
  if (!response.jobs().empty()) {
    TextTable table({"JOB", "MEASUREMENTS", "MEASURED AGAIN", "TRIALS LOST", "LEARNED FROM"});
    for (const auto& job : response.jobs()) {
      table.AddRow({job.search_job(), absl::StrCat(job.measurements()),
                    absl::StrCat(job.remeasured_trials()), absl::StrCat(job.lost_trials()),
                    absl::StrCat(job.dropped_known())});
    }
    text = table.Render(width);
  }
  absl::StrAppend(&text, response.measurements(),
                  response.measurements() == 1 ? " measurement " : " measurements ",
                  done ? "retracted" : "would be retracted", ", on which ", response.jobs_size(),
                  response.jobs_size() == 1 ? " job rests" : " jobs rest", ".\n");
  return text;
}

}  // namespace forall
