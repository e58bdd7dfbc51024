// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/emulation.h"

#include <elf.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace forall {
namespace {

// e_machine follows 16 bytes of identification and two of type in every ELF header; both kinds of
// processor that are told apart here are little-endian.
constexpr size_t kMachineOffset = 18;

// The family of a machine as the kernel spells it; "" for one that is not told apart. 32-bit
// programs run unemulated on 64-bit processors of their family.
absl::string_view Family(absl::string_view machine) {
  if (machine == "x86_64" || (machine.size() == 4 && absl::EndsWith(machine, "86"))) return "x86";
  if (machine == "aarch64" || absl::StartsWith(machine, "arm")) return "ARM";
  return "";
}

absl::string_view FamilyOfExecutable(absl::string_view header) {
  if (header.size() < kMachineOffset + 2 || !absl::StartsWith(header, ELFMAG)) return "";
  const int machine = static_cast<unsigned char>(header[kMachineOffset]) |
                      static_cast<unsigned char>(header[kMachineOffset + 1]) << 8;
  if (machine == EM_X86_64 || machine == EM_386) return "x86";
  if (machine == EM_AARCH64 || machine == EM_ARM) return "ARM";
  return "";
}

// By keys that the kernels of only one family write.
absl::string_view FamilyOfCpuInfo(const std::map<std::string, std::string>& info) {
  if (info.count("vendor_id") > 0 && info.count("flags") > 0) return "x86";
  if (info.count("CPU implementer") > 0) return "ARM";
  return "";
}

bool Differ(absl::string_view a, absl::string_view b) { return !a.empty() && !b.empty() && a != b; }

}  // namespace

std::string EvidenceOfEmulation(const EmulationTraces& traces) {
  const absl::string_view program = Family(traces.program_machine);
  if (const absl::string_view runs = FamilyOfExecutable(traces.executable_header);
      Differ(program, runs)) {
    return absl::StrCat("the kernel runs a program for ", runs, ", which runs this one for ",
                        program);
  }
  if (const absl::string_view kernel = Family(traces.kernel_machine); Differ(program, kernel)) {
    return absl::StrCat("the kernel is one for ", kernel, ", this program is for ", program);
  }
  if (const absl::string_view processor = FamilyOfCpuInfo(traces.cpu_info);
      Differ(program, processor)) {
    return absl::StrCat("the processor is of the family ", processor, ", this program is for ",
                        program);
  }
  return "";
}

absl::string_view ProgramMachine() {
#if defined(__x86_64__)
  return "x86_64";
#elif defined(__aarch64__)
  return "aarch64";
#else
  return "";
#endif
}

}  // namespace forall
