// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/warmup.h"

#include <functional>

#include "gtest/gtest.h"

namespace forall {
namespace {

// Runs until stable, at most 1,000.
int RunsUntilStable(const std::function<double(int)>& duration) {
  WarmupDetector detector;
  int run = 0;
  while (!detector.stable() && run < 1000) detector.Add(duration(run++));
  return run;
}

TEST(WarmupDetectorTest, TwoEqualWindowsSuffice) {
  EXPECT_EQ(RunsUntilStable([](int) { return 100.0; }), 10);
}

TEST(WarmupDetectorTest, SlowFirstRunsDoNotCount) {
  EXPECT_EQ(RunsUntilStable([](int run) { return run < 2 ? 5000.0 : 100.0; }), 10);
  EXPECT_EQ(RunsUntilStable([](int run) { return run < 8 ? 500.0 - 50 * run : 100.0; }), 20);
}

TEST(WarmupDetectorTest, WaitsForASlowDescentToEnd) {
  // Half a per cent faster with every run, until run 60.
  const int runs = RunsUntilStable([](int run) { return 100.0 - 0.5 * (run < 60 ? run : 60); });
  EXPECT_GE(runs, 60);
  EXPECT_LE(runs, 75);
}

TEST(WarmupDetectorTest, NeverTrustsASpeedThatKeepsChanging) {
  EXPECT_EQ(RunsUntilStable([](int run) { return run / 5 % 2 == 0 ? 100.0 : 103.0; }), 1000);
}

}  // namespace
}  // namespace forall
