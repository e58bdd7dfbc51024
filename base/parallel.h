// SPDX-License-Identifier: Apache-2.0
// Work on all cores.
#ifndef FORALL_BASE_PARALLEL_H_
#define FORALL_BASE_PARALLEL_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"

namespace forall {

// Cores that this process may use: its affinity mask, at least 1.
int UsableCores();

// Calls body(0) to body(count - 1), each once, by `threads` threads of which the caller is one (0:
// one per usable core); they take the next number when they have finished one. Ends with the first
// failure, after which no further number is begun; of several failures the one of the lowest number
// that failed. ResourceExhausted when memory runs out in `body`, which must be thread-safe.
absl::Status ParallelFor(int threads, int64_t count,
                         const std::function<absl::Status(int64_t)>& body);

}  // namespace forall

#endif  // FORALL_BASE_PARALLEL_H_
