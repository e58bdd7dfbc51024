// SPDX-License-Identifier: Apache-2.0
// Has networks and parts of networks timed by a controller's workers, and waits for it.
#ifndef FORALL_CLI_NETWORK_TIMINGS_H_
#define FORALL_CLI_NETWORK_TIMINGS_H_

#include <cstddef>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "proto/forall/v1/search_service.pb.h"

namespace forall {

// The call that is repeated: Client::Call of MeasureNetworks, or a test's.
using AskTimings = std::function<absl::StatusOr<v1::MeasureNetworksResponse>(
    const v1::MeasureNetworksRequest& request)>;

struct NetworkTimings {
  std::vector<v1::NetworkTiming> timings;  // MEASURED or FAILED, in order of the subjects
  v1::Device device;
  v1::RuntimeProfile profile;
};

// "[####----]  120/418 measured  ETA 4m10s  waiting for ...", at most `width` columns.
std::string TimingLine(int64_t done, int64_t total, std::optional<absl::Duration> eta,
                       const std::string& waiting, int width);

// Draws one line anew on a terminal of `columns` columns; where there is none, 0, prints a line at
// most every tenth. Thread-compatible.
class TimingProgress {
 public:
  TimingProgress(std::ostream* out, size_t columns) : out_(out), columns_(columns) {}
  // `done` of the first call is what was known before.
  void Update(int64_t done, int64_t total, const std::string& waiting, absl::Time now);
  void Finish();

 private:
  std::ostream* const out_;
  const size_t columns_;
  bool line_open_ = false;
  int64_t last_tenth_ = -1;
  std::string last_waiting_;
  std::optional<absl::Time> first_time_;
  int64_t first_done_ = 0;
};

// Asks until everything is measured or has failed, for the device and profile of the first answer.
// `common` is a request without subjects. The first answer's error is returned at once; later ones,
// of a controller or worker that restarts, are waited out for two minutes. FailedPrecondition when
// the device or its profile changes meanwhile. `progress` may be nullptr.
absl::StatusOr<NetworkTimings> MeasureAll(const AskTimings& ask,
                                          const v1::MeasureNetworksRequest& common,
                                          const std::vector<v1::NetworkSubject>& subjects,
                                          TimingProgress* progress, Clock* clock = Clock::Real());

}  // namespace forall

#endif  // FORALL_CLI_NETWORK_TIMINGS_H_
