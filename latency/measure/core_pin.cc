// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/core_pin.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace forall {
namespace {

// Machines with more cores than the fixed-size set holds refuse the call, and stay unpinned.
std::vector<int> AllowedCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return {};
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  }
  return cores;
}

bool Allow(const std::vector<int>& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  return sched_setaffinity(0, sizeof(set), &set) == 0;
}

}  // namespace

ScopedCorePin::ScopedCorePin(int cores) : before_(AllowedCores()) {
  if (before_.empty()) {
    refusal_ = absl::StrCat("the cores that may be used cannot be read: ", std::strerror(errno));
    return;
  }
  const auto wanted = std::min<std::ptrdiff_t>(cores, static_cast<std::ptrdiff_t>(before_.size()));
  std::vector<int> last(before_.end() - wanted, before_.end());
  if (!Allow(last)) {
    refusal_ = absl::StrCat("binding to cores was refused: ", std::strerror(errno));
    return;
  }
  cores_ = std::move(last);
}

ScopedCorePin::~ScopedCorePin() {
  // Going back to what was allowed before can only fail when it has been forbidden meanwhile.
  if (!cores_.empty()) Allow(before_);
}

}  // namespace forall
