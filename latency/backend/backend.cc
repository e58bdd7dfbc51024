// SPDX-License-Identifier: Apache-2.0
#include "latency/backend/backend.h"

#include <algorithm>
#include <cstdint>

#include "base/status_macros.h"

namespace forall {

absl::StatusOr<std::vector<double>> PreparedModel::Time(Clock* clock) {
  const int64_t start = clock->SteadyNanos();
  FORALL_RETURN_IF_ERROR(Run());
  // At least one nanosecond: a ratio to zero would be no number.
  return std::vector<double>{
      static_cast<double>(std::max<int64_t>(1, clock->SteadyNanos() - start))};
}

}  // namespace forall
