// SPDX-License-Identifier: Apache-2.0
// How a running job looks on a terminal, and as plain lines where there is none.
#ifndef FORALL_CLI_PROGRESS_H_
#define FORALL_CLI_PROGRESS_H_

#include <cstddef>
#include <optional>
#include <ostream>
#include <string>

#include "absl/time/time.h"
#include "proto/forall/v1/resources.pb.h"

namespace forall {

// "[##########----------]  60/120 measured  frontier 9  hypervolume 0.8123  ETA 1m20s", at most
// `width` columns. `eta` is left out when it is not known.
std::string ProgressLine(const v1::SearchJob& job, std::optional<absl::Duration> eta, int width);

// Feeds on updates. Thread-compatible.
class ProgressPrinter {
 public:
  // `columns` of the terminal: redraw one line; 0, where there is none: print a line at most every
  // tenth of the budget and at changes of state.
  ProgressPrinter(std::ostream* out, size_t columns)
      : out_(out), terminal_(columns > 0), width_(columns > 1 ? columns - 1 : kUsualWidth) {}

  void Update(const v1::SearchJob& job, absl::Time now);
  // Ends the line.
  void Finish();

 private:
  static constexpr size_t kUsualWidth = 99;

  std::optional<absl::Duration> Eta(const v1::SearchJob& job, absl::Time now);

  std::ostream* const out_;
  const bool terminal_;
  const size_t width_;
  bool line_open_ = false;
  v1::SearchJob::State last_state_ = v1::SearchJob::STATE_UNSPECIFIED;
  int last_tenth_ = -1;
  std::string last_reason_;
  // Pace since the first update seen: a resumed watch must not count what was done before it.
  std::optional<absl::Time> first_time_;
  int first_done_ = 0;
  bool first_finalizing_ = false;
};

const char* StateName(v1::SearchJob::State state);

// Whether anything about a subnet has to be measured: an accuracy or a latency, wanted or limited.
bool Measures(const v1::SearchJobSpec& spec);

}  // namespace forall

#endif  // FORALL_CLI_PROGRESS_H_
