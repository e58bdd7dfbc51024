// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/emulation.h"

#include <elf.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string Header(int machine) {
  std::string header(64, '\0');
  header.replace(0, 4, ELFMAG);
  header[18] = static_cast<char>(machine & 0xff);
  header[19] = static_cast<char>(machine >> 8);
  return header;
}

EmulationTraces Board() {
  return {.program_machine = "aarch64",
          .executable_header = Header(EM_AARCH64),
          .kernel_machine = "aarch64",
          .cpu_info = {{"processor", "0"}, {"CPU implementer", "0x41"}, {"CPU part", "0xd0b"}}};
}

EmulationTraces Computer() {
  return {.program_machine = "x86_64",
          .executable_header = Header(EM_X86_64),
          .kernel_machine = "x86_64",
          .cpu_info = {{"vendor_id", "GenuineIntel"}, {"flags", "fpu hypervisor"}}};
}

TEST(EmulationTest, HardwareShowsNone) {
  EXPECT_THAT(EvidenceOfEmulation(Board()), IsEmpty());
  EXPECT_THAT(EvidenceOfEmulation(Computer()), IsEmpty());
}

TEST(EmulationTest, EachTraceAloneGivesAUserModeEmulatorAway) {
  EmulationTraces traces = Board();
  traces.executable_header = Header(EM_X86_64);
  EXPECT_THAT(EvidenceOfEmulation(traces), HasSubstr("runs a program for x86"));
  traces = Board();
  traces.kernel_machine = "x86_64";
  EXPECT_THAT(EvidenceOfEmulation(traces), HasSubstr("kernel is one for x86"));
  traces = Board();
  traces.cpu_info = Computer().cpu_info;
  EXPECT_THAT(EvidenceOfEmulation(traces), HasSubstr("processor is of the family x86"));
}

// A hypervisor on a real ARM processor may show no maker's code (docker/for-mac issue 6512).
TEST(EmulationTest, AProcessorWithoutAMakerIsNoEvidence) {
  EmulationTraces traces = Board();
  traces.cpu_info["CPU implementer"] = "0x00";
  EXPECT_THAT(EvidenceOfEmulation(traces), IsEmpty());
}

TEST(EmulationTest, AnX86ProgramOnAnArmBoardIsEmulated) {
  EmulationTraces traces = Computer();
  traces.executable_header = Header(EM_AARCH64);
  EXPECT_THAT(EvidenceOfEmulation(traces), HasSubstr("runs a program for ARM"));
  traces = Computer();
  traces.kernel_machine = "aarch64";
  EXPECT_THAT(EvidenceOfEmulation(traces), HasSubstr("kernel is one for ARM"));
  traces = Computer();
  traces.cpu_info = Board().cpu_info;
  EXPECT_THAT(EvidenceOfEmulation(traces), HasSubstr("processor is of the family ARM"));
}

TEST(EmulationTest, WhatIsAbsentOrUnknownProvesNothing) {
  EXPECT_THAT(EvidenceOfEmulation({}), IsEmpty());
  EmulationTraces traces{.program_machine = "aarch64"};
  EXPECT_THAT(EvidenceOfEmulation(traces), IsEmpty());
  traces.executable_header = "#!/bin/sh\n and more than twenty bytes";
  traces.kernel_machine = "armv8l";
  traces.cpu_info = {{"CPU implementer", "nobody"}};
  EXPECT_THAT(EvidenceOfEmulation(traces), IsEmpty());
  traces.executable_header = Header(EM_AARCH64).substr(0, 19);
  EXPECT_THAT(EvidenceOfEmulation(traces), IsEmpty());
  traces.executable_header = Header(EM_RISCV);
  EXPECT_THAT(EvidenceOfEmulation(traces), IsEmpty());
  traces = Computer();
  traces.kernel_machine = "i686";
  EXPECT_THAT(EvidenceOfEmulation(traces), IsEmpty());
}

}  // namespace
}  // namespace forall
