// SPDX-License-Identifier: Apache-2.0
#include "base/unique_id.h"

#include <sys/random.h>

#include <array>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "base/log.h"

namespace forall {

std::string NewUniqueId() {
  std::array<char, 16> bytes;
  // Requests of up to 256 bytes are never cut short once the kernel's pool is ready (getrandom(2)).
  FORALL_CHECK(getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return absl::BytesToHexString(absl::string_view(bytes.data(), bytes.size()));
}

}  // namespace forall
