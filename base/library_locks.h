// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_BASE_LIBRARY_LOCKS_H_
#define FORALL_BASE_LIBRARY_LOCKS_H_

#include "absl/synchronization/mutex.h"

namespace forall {

// A library's locks (gRPC's are absl's) note the order in which they are taken where absl was built
// without NDEBUG, as some distributions build it: in one graph, under one lock, for each of them.
// For programs that answer many calls, once, before their threads start. Whoever calls it links
// absl::synchronization, which gRPC brings along.
inline void StopOrderingLibraryLocks() {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
}

}  // namespace forall

#endif  // FORALL_BASE_LIBRARY_LOCKS_H_
