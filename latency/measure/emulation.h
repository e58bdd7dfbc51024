// SPDX-License-Identifier: Apache-2.0
// Whether this program's instructions are executed by another program: an emulator's times say
// nothing about the processor that it imitates.
#ifndef FORALL_LATENCY_MEASURE_EMULATION_H_
#define FORALL_LATENCY_MEASURE_EMULATION_H_

#include <map>
#include <string>

#include "absl/strings/string_view.h"

namespace forall {

// What tells. User-mode emulators imitate uname, /proc/self/exe, /proc/self/maps and newer ones
// /proc/cpuinfo, so none of the first three is asked.
struct EmulationTraces {
  // What this program was compiled for, as the kernel spells it: "x86_64", "aarch64".
  std::string program_machine;
  // The first bytes of /proc/thread-self/exe, the file that the kernel really runs: an emulator's
  // own, where there is one. A loader that was put first is of the program's kind.
  std::string executable_header;
  // /proc/sys/kernel/arch (Linux 6.1 and later).
  std::string kernel_machine;
  // Keys and first values of /proc/cpuinfo.
  std::map<std::string, std::string> cpu_info;
};

// One clause that says what gives the emulator away; "" when nothing does. What is absent or
// unreadable gives nothing away, and so does an emulator of a whole machine of the program's kind.
std::string EvidenceOfEmulation(const EmulationTraces& traces);

// "x86_64", "aarch64", or "" for a processor that forall knows nothing of.
absl::string_view ProgramMachine();

}  // namespace forall

#endif  // FORALL_LATENCY_MEASURE_EMULATION_H_
