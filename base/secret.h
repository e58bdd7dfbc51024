// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_BASE_SECRET_H_
#define FORALL_BASE_SECRET_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace forall {

// Bytes of the kernel's random source, which nobody can foretell: for keys and tokens only
// (base/random.h is for what must be reproducible). Ends the process when the kernel has none to
// give, since nothing sound could follow. Thread-safe.
std::string SecretBytes(size_t count);

// Whether both are the same, in a time that depends on their lengths alone.
bool EqualsInConstantTime(absl::string_view a, absl::string_view b);

}  // namespace forall

#endif  // FORALL_BASE_SECRET_H_
