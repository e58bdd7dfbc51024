// SPDX-License-Identifier: Apache-2.0
// What a worker may do to keep its machine steady while timing, and what it is denied.
#ifndef FORALL_LATENCY_MEASURE_CONTROLS_H_
#define FORALL_LATENCY_MEASURE_CONTROLS_H_

#include <string>
#include <vector>

namespace forall {

// A sentence for each control that this process is denied, with what would grant it: binding to
// cores, a higher priority, the frequency governor. Each is tried (the first two in a thread of
// their own, so that nothing is changed). `root` holds sys/; "" is the machine itself.
std::vector<std::string> DeniedControls(const std::string& root = "");

}  // namespace forall

#endif  // FORALL_LATENCY_MEASURE_CONTROLS_H_
