// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_BASE_UNIQUE_ID_H_
#define FORALL_BASE_UNIQUE_ID_H_

#include <string>

namespace forall {

// 32 hex digits that no other call on any machine returns: for request ids and names, never for
// anything that must be reproducible (base/random.h is for that). Thread-safe.
std::string NewUniqueId();

}  // namespace forall

#endif  // FORALL_BASE_UNIQUE_ID_H_
