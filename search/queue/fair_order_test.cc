// SPDX-License-Identifier: Apache-2.0
#include "search/queue/fair_order.h"

#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

JobShare Share(const std::string& tenant, double weight = 1, int32_t priority = 0) {
  return {priority, tenant, weight};
}

bool Anything(int64_t) { return true; }

// Serves `times` tasks of one second, of those that `takes` says, and counts them by job.
template <typename Takes>
std::map<int64_t, int> Serve(FairOrder* order, int times, Takes takes, double cost = 1) {
  std::map<int64_t, int> served;
  for (int i = 0; i < times; ++i) {
    const int64_t job = order->FindFirst(takes);
    if (job == 0) break;
    order->Charge(job, cost);
    ++served[job];
  }
  return served;
}
std::map<int64_t, int> Serve(FairOrder* order, int times) { return Serve(order, times, Anything); }

void Add(FairOrder* order, int64_t job, const JobShare& share) {
  order->SetShare(job, share);
  order->Enter(job);
}

TEST(FairOrderTest, WithoutJobsThereIsNone) {
  FairOrder order;
  EXPECT_EQ(order.FindFirst(Anything), 0);
  Add(&order, 1, Share("a"));
  EXPECT_EQ(order.FindFirst([](int64_t) { return false; }), 0);
  order.Leave(1);
  EXPECT_EQ(order.FindFirst(Anything), 0);
}

TEST(FairOrderTest, HigherPriorityGoesStrictlyFirst) {
  FairOrder order;
  Add(&order, 1, Share("a"));
  Add(&order, 2, Share("b", 1, 5));
  Add(&order, 3, Share("c", 100, -5));
  EXPECT_THAT(Serve(&order, 1000), ElementsAre(Pair(2, 1000)));
  order.Leave(2);
  EXPECT_THAT(Serve(&order, 1000), ElementsAre(Pair(1, 1000)));
  order.Enter(2);
  EXPECT_THAT(Serve(&order, 5), ElementsAre(Pair(2, 5)));
  EXPECT_EQ(order.FindFirst([](int64_t job) { return job != 2; }), 1) << "what it cannot take";
}

TEST(FairOrderTest, JobsOfATenantShareByWeight) {
  FairOrder order;
  Add(&order, 1, Share("a", 1));
  Add(&order, 2, Share("a", 3));
  EXPECT_THAT(Serve(&order, 400), ElementsAre(Pair(1, 100), Pair(2, 300)));
}

TEST(FairOrderTest, WhatIsSharedIsCostNotTasks) {
  FairOrder order;
  Add(&order, 1, Share("a"));
  Add(&order, 2, Share("b"));
  std::map<int64_t, double> seconds;
  for (int i = 0; i < 300; ++i) {
    const int64_t job = order.FindFirst(Anything);
    const double cost = job == 1 ? 10 : 0.5;
    order.Charge(job, cost);
    seconds[job] += cost;
  }
  EXPECT_NEAR(seconds[1], seconds[2], 10);
}

TEST(FairOrderTest, TenantsShareByWeightWhateverTheirJobs) {
  FairOrder order({{"b", 2}});
  for (int64_t job = 1; job <= 100; ++job) Add(&order, job, Share("a", 50));
  Add(&order, 101, Share("b", 0.01));
  std::map<int64_t, int> served = Serve(&order, 300);
  EXPECT_EQ(served[101], 200);
  for (int64_t job = 1; job <= 100; ++job) EXPECT_EQ(served[job], 1) << job;
}

TEST(FairOrderTest, NewcomerNeitherStarvesNorMonopolises) {
  FairOrder order;
  Add(&order, 1, Share("a"));
  Serve(&order, 10'000);
  Add(&order, 2, Share("b"));
  EXPECT_THAT(Serve(&order, 10), ElementsAre(Pair(1, 5), Pair(2, 5)));
}

TEST(FairOrderTest, IdleTimeIsNotSavedUp) {
  FairOrder order;
  Add(&order, 1, Share("a"));
  Add(&order, 2, Share("b"));
  Serve(&order, 2);
  order.Leave(2);
  Serve(&order, 5000);
  order.Enter(2);
  EXPECT_THAT(Serve(&order, 20), ElementsAre(Pair(1, 10), Pair(2, 10)));
}

// Otherwise one task at a time would always be first.
TEST(FairOrderTest, ComingAndGoingGainsNothing) {
  FairOrder order;
  Add(&order, 1, Share("a"));
  order.SetShare(2, Share("b"));
  std::map<int64_t, int> served;
  for (int i = 0; i < 1000; ++i) {
    order.Enter(2);
    const int64_t job = order.FindFirst(Anything);
    order.Charge(job, 1);
    ++served[job];
    if (job == 2) order.Leave(2);
  }
  EXPECT_THAT(served, ElementsAre(Pair(1, 500), Pair(2, 500)));
}

TEST(FairOrderTest, NewJobsOfATenantGainItNothing) {
  FairOrder order;
  Add(&order, 1, Share("a"));
  std::map<std::string, int> served;
  for (int64_t next = 2; next < 1000; ++next) {
    Add(&order, next, Share("b"));
    const int64_t job = order.FindFirst(Anything);
    order.Charge(job, 1);
    ++served[job == 1 ? "a" : "b"];
    if (job != 1) order.Forget(job);
  }
  EXPECT_NEAR(served["a"], served["b"], 1);
}

TEST(FairOrderTest, WhatNoWorkerCouldDoIsMadeUpForWithinBounds) {
  FairOrder order;
  Add(&order, 1, Share("a"));
  Add(&order, 2, Share("b"));
  Serve(&order, 5000, [](int64_t job) { return job == 1; });
  const auto credit = static_cast<int>(FairOrder::kMostCredit);
  std::map<int64_t, int> served = Serve(&order, credit + 200);
  EXPECT_NEAR(served[2], credit + 100, 2);
  EXPECT_NEAR(served[1], 100, 2);
}

TEST(FairOrderTest, ShareMayChangeWhileTheJobHasTasks) {
  FairOrder order;
  Add(&order, 1, Share("a"));
  Add(&order, 2, Share("a"));
  Serve(&order, 100);
  order.SetShare(2, Share("b", 1, 3));
  EXPECT_THAT(Serve(&order, 10), ElementsAre(Pair(2, 10)));
  order.SetShare(2, Share("b", 1, -3));
  EXPECT_THAT(Serve(&order, 10), ElementsAre(Pair(1, 10)));
  order.Forget(1);
  EXPECT_THAT(Serve(&order, 10), ElementsAre(Pair(2, 10)));
}

TEST(FairOrderTest, TheSameCallsGiveTheSameOrder) {
  const auto run = [] {
    FairOrder order({{"t1", 2.5}});
    std::string text;
    for (int64_t job = 1; job <= 30; ++job) {
      Add(&order, job, Share(absl::StrCat("t", job % 4), 1 + 0.1 * static_cast<double>(job)));
    }
    for (int i = 0; i < 500; ++i) {
      const int64_t job =
          order.FindFirst([&](int64_t candidate) { return candidate % 3 != i % 3; });
      order.Charge(job, 0.7 + i % 5);
      absl::StrAppend(&text, job, ",");
    }
    return text;
  };
  EXPECT_EQ(run(), run());
}

}  // namespace
}  // namespace forall
