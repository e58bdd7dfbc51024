// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/core_pin.h"

#include <sched.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

int AllowedCoreCount() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 0;
}

TEST(ScopedCorePinTest, BindsAndLetsGo) {
  const int before = AllowedCoreCount();
  {
    const ScopedCorePin pin(1);
    if (pin.cores().empty()) GTEST_SKIP() << "NO TEST RAN: " << pin.refusal();
    EXPECT_EQ(AllowedCoreCount(), 1);
    EXPECT_EQ(sched_getcpu(), pin.cores().front());
  }
  EXPECT_EQ(AllowedCoreCount(), before);
}

TEST(ScopedCorePinTest, TakesNoMoreCoresThanThereAre) {
  const int before = AllowedCoreCount();
  const ScopedCorePin pin(1 << 20);
  if (pin.cores().empty()) GTEST_SKIP() << "NO TEST RAN: " << pin.refusal();
  EXPECT_EQ(static_cast<int>(pin.cores().size()), before);
}

}  // namespace
}  // namespace forall
