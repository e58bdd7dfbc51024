// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/controls.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/thread.h"
#include "latency/measure/core_pin.h"

namespace forall {

std::vector<std::string> DeniedControls(const std::string& root) {
  std::vector<std::string> denied;
  // Priority and binding are a thread's own on Linux.
  Thread tries("controls", [&denied] {
    const ScopedCorePin pin(1);
    if (!pin.refusal().empty()) {
      denied.push_back(absl::StrCat("pinning: ", pin.refusal()));
    }
    if (setpriority(PRIO_PROCESS, 0, -10) != 0) {
      denied.push_back(absl::StrCat("priority: ", std::strerror(errno),
                                    "; grant CAP_SYS_NICE or LimitNICE=-10 (systemd)"));
    }
  });
  tries.Join();
  const std::string governor = root + "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
  if (access(governor.c_str(), F_OK) != 0) {
    denied.push_back("governor: the system shows no frequency control (usual in virtual machines)");
  } else if (access(governor.c_str(), W_OK) != 0) {
    denied.push_back(
        "governor: not writable; set it before the worker starts: cpupower frequency-set -g "
        "performance");
  }
  return denied;
}

}  // namespace forall
