// SPDX-License-Identifier: Apache-2.0
#include "search/controller/task_durations.h"

#include <cmath>

#include "gtest/gtest.h"

namespace forall {
namespace {

Work Accuracy(int64_t images, const std::string& supernet = "s") {
  return {
      .kind = v1::Task::ACCURACY, .supernet_sha256 = supernet, .recipe = "fp32", .images = images};
}

Work Latency(const std::string& device, const std::string& fidelity) {
  return {.kind = v1::Task::LATENCY,
          .supernet_sha256 = "s",
          .recipe = "fp32",
          .device = device,
          .fidelity = fidelity,
          .batch = 1};
}

TEST(TaskDurationsTest, GivesTheMedianOfTheLatest) {
  TaskDurations durations;
  EXPECT_FALSE(durations.Find(Accuracy(100)).has_value());
  for (const double seconds : {5.0, 1.0, 100.0}) durations.Add(Accuracy(100), seconds);
  EXPECT_EQ(durations.Find(Accuracy(100))->seconds, 5);
  durations.Add(Accuracy(100), 7);
  EXPECT_EQ(durations.Find(Accuracy(100))->seconds, 6);
  EXPECT_EQ(durations.Find(Accuracy(100))->count, 4);
  for (size_t i = 0; i < TaskDurations::kRemembered; ++i) durations.Add(Accuracy(100), 2);
  EXPECT_EQ(durations.Find(Accuracy(100))->seconds, 2);
  EXPECT_EQ(durations.Find(Accuracy(100))->count, 300);
}

TEST(TaskDurationsTest, GuessesWhatATaskMayTakeFromWhatIsNearest) {
  TaskDurations durations;
  EXPECT_EQ(durations.Guess(durations.NumberOf(Accuracy(100))), 1) << "nothing was ever done";
  durations.Add(Latency("devices/pc", "final"), 30);
  EXPECT_EQ(durations.Guess(durations.NumberOf(Accuracy(100))), 30) << "as all tasks on average";
  durations.Add(Accuracy(100), 4);
  durations.Add(Accuracy(100), 6);
  EXPECT_EQ(durations.Guess(durations.NumberOf(Accuracy(100))), 5);
  EXPECT_EQ(durations.Guess(durations.NumberOf(Accuracy(200))), 10)
      << "images that take as long each";
  EXPECT_NEAR(durations.Guess(durations.NumberOf(Accuracy(0))), 40.0 / 3, 1e-9)
      << "nobody knows of how many images";
  for (size_t i = 0; i < TaskDurations::kRemembered; ++i) durations.Add(Accuracy(100), 0.25);
  EXPECT_NEAR(durations.Guess(durations.NumberOf(Accuracy(100))), 0.25, 1e-9) << "of the latest";
}

TEST(TaskDurationsTest, NumbersStandForWork) {
  TaskDurations durations;
  const int32_t number = durations.NumberOf(Accuracy(100));
  EXPECT_EQ(durations.NumberOf(Accuracy(100)), number);
  EXPECT_NE(durations.NumberOf(Latency("devices/a", "final")), number);
  EXPECT_FALSE(durations.Find(Accuracy(50)).has_value()) << "a number is no duration";
  EXPECT_FALSE(durations.FindWider(Latency("devices/a", "final")).has_value());
  durations.Add(Accuracy(100), 8);
  EXPECT_EQ(durations.Guess(number), 8) << "learnt after the number was given";

  TaskDurations other;
  other.Add(Latency("devices/a", "final"), 3);
  other.NumberAs(durations);
  EXPECT_EQ(other.NumberOf(Accuracy(100)), number);
  EXPECT_EQ(other.Guess(number), 3);
}

TEST(TaskDurationsTest, WhatWasNotSeenIsNotCounted) {
  TaskDurations durations;
  for (const double seconds : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    durations.Add(Accuracy(100), seconds);
  }
  EXPECT_FALSE(durations.Find(Accuracy(100)).has_value());
}

TEST(TaskDurationsTest, KeepsKindsOfWorkApart) {
  TaskDurations durations;
  durations.Add(Latency("devices/a", "screening"), 1);
  durations.Add(Latency("devices/a", "final"), 4);
  durations.Add(Latency("devices/b", "screening"), 9);
  EXPECT_EQ(durations.Find(Latency("devices/a", "screening"))->seconds, 1);
  EXPECT_EQ(durations.Find(Latency("devices/a", "final"))->seconds, 4);
  EXPECT_EQ(durations.Find(Latency("devices/b", "screening"))->seconds, 9);
  EXPECT_FALSE(durations.Find(Latency("devices/b", "final")).has_value());
  EXPECT_FALSE(durations.Find(Accuracy(100)).has_value());
  EXPECT_FALSE(durations.Find({.kind = v1::Task::EXPORT, .supernet_sha256 = "s", .recipe = "fp32"})
                   .has_value());
}

TEST(TaskDurationsTest, LatenciesWithMoreMeasuredAreWider) {
  TaskDurations durations;
  const auto with = [](std::vector<std::string> metrics) {
    Work work = Latency("devices/a", "screening");
    work.metrics = Work::MetricsOf(std::move(metrics));
    return work;
  };
  durations.Add(with({"latency_p90_ms", "energy_mj", "peak_memory_mib"}), 9);
  durations.Add(with({"latency_p90_ms", "energy_mj", "latency_ms", "carbon_mg"}), 6);
  EXPECT_EQ(durations.Find(with({"energy_mj", "latency_p90_ms"}))->seconds, 6);
  EXPECT_FALSE(durations.Find(with({"energy_mj"})).has_value());
  EXPECT_EQ(durations.FindWider(with({"energy_mj"}))->seconds, 6);
  EXPECT_EQ(durations.FindWider(with({"energy_mj"}))->metrics,
            (std::vector<std::string>{"energy_mj", "latency_p90_ms"}));
  EXPECT_EQ(durations.FindWider(with({"peak_memory_mib"}))->seconds, 9);
  EXPECT_FALSE(durations.FindWider(with({"latency_p99_ms"})).has_value());
  Work other = with({"energy_mj"});
  other.batch = 8;
  EXPECT_FALSE(durations.FindWider(other).has_value());
  other.batch = 1;
  other.rules = "r";
  EXPECT_FALSE(durations.FindWider(other).has_value());
}

TEST(TaskDurationsTest, ScalesAccuraciesOfTheNearestNumberOfImages) {
  TaskDurations durations;
  durations.Add(Accuracy(100), 1);
  durations.Add(Accuracy(1000), 8);
  durations.Add(Accuracy(100, "other"), 77);
  EXPECT_EQ(durations.Find(Accuracy(200))->seconds, 2);
  EXPECT_EQ(durations.Find(Accuracy(200))->images, 100);
  EXPECT_EQ(durations.Find(Accuracy(2000))->seconds, 16);
  EXPECT_EQ(durations.Find(Accuracy(1000))->seconds, 8);
}

TEST(TaskDurationsTest, ReadsATask) {
  v1::Task task;
  task.set_kind(v1::Task::LATENCY);
  task.set_supernet_sha256("s");
  task.set_recipe("fp32");
  task.set_device("devices/a");
  task.set_fidelity("final");
  task.set_batch(1);
  TaskDurations durations;
  durations.Add(Work::Of(task, 0), 3);
  EXPECT_EQ(durations.Find(Latency("devices/a", "final"))->seconds, 3);
  // Where and how an accuracy is measured does not matter, how many images it has does.
  task.set_kind(v1::Task::ACCURACY);
  durations.Add(Work::Of(task, 50), 2);
  EXPECT_EQ(durations.Find(Accuracy(50))->seconds, 2);
}

}  // namespace
}  // namespace forall
