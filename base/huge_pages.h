// SPDX-License-Identifier: Apache-2.0
// Fewer page faults for large memory that is about to be written once.
#ifndef FORALL_BASE_HUGE_PAGES_H_
#define FORALL_BASE_HUGE_PAGES_H_

#include <cstddef>

namespace forall {

// Asks the kernel to back what lies whole inside [data, data + size) with 2 MiB pages (Linux's
// transparent huge pages), before it is first touched. A hint: where it cannot be followed, nothing
// changes. Thread-safe.
void PreferHugePages(const void* data, size_t size);

}  // namespace forall

#endif  // FORALL_BASE_HUGE_PAGES_H_
