// SPDX-License-Identifier: Apache-2.0
// Raw samples that grew old: they go a few at a time, and nothing but they.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/testing/controller_harness.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::FaultyStore;
using ::forall::testing::IsOkAndHolds;

constexpr absl::Duration kDay = absl::Hours(24);

class RetentionTest : public ::testing::Test {
 protected:
  std::string RunJob(int trials, int64_t seed) {
    v1::SearchJobSpec spec = ControllerHarness::Spec(trials);
    spec.set_seed(seed);
    const std::string name = harness_.Submit(spec)->name();
    EXPECT_EQ(harness_.RunToEnd(name).state(), v1::SearchJob::SUCCEEDED);
    return name;
  }
  // Of the latencies in the store, and in what the controller tells of them.
  struct Count {
    int64_t kept = 0;
    int64_t dropped = 0;
    int64_t told = 0;
  };
  Count CountSamples(const std::vector<std::string>& jobs) {
    Count count;
    const auto records = harness_.sqlite()->LoadMeasurements();
    for (const MeasurementRecord& record : *records) {
      if (record.key.metric != "latency_ms") {
        EXPECT_FALSE(record.samples_dropped.has_value());
        continue;
      }
      const auto evidence = harness_.sqlite()->LoadEvidence(record.id);
      EXPECT_EQ(evidence->samples_ns.empty(), record.samples_dropped.has_value());
      ++(record.samples_dropped.has_value() ? count.dropped : count.kept);
    }
    for (const std::string& job : jobs) {
      for (const v1::Trial& trial : harness_.Trials(job)) {
        for (const v1::Measurement& measurement : trial.measurements()) {
          if (measurement.has_samples_dropped_time()) ++count.told;
        }
      }
    }
    return count;
  }
  // What people see of a job, but for when samples were dropped.
  std::string Shown(const std::string& job) {
    std::string text;
    const auto add = [&text](v1::Trial trial) {
      for (v1::Measurement& measurement : *trial.mutable_measurements()) {
        measurement.clear_samples_dropped_time();
      }
      absl::StrAppend(&text, trial.ShortDebugString(), "\n");
    };
    for (const v1::Trial& trial : harness_.Trials(job)) add(trial);
    for (v1::FrontierMember member : harness_.FrontierMembers(job)) {
      add(member.trial());
      member.clear_trial();
      for (v1::Measurement& measurement : *member.mutable_measurements()) {
        measurement.clear_samples_dropped_time();
      }
      absl::StrAppend(&text, member.ShortDebugString(), "\n");
    }
    v1::GetPredictionLedgerRequest request;
    request.set_name(job);
    absl::StrAppend(&text,
                    CallAndWait(harness_.controller(), &Controller::GetPredictionLedger, request)
                        ->ShortDebugString());
    return text;
  }

  ControllerHarness harness_;
};

TEST_F(RetentionTest, NothingGoesUnlessAskedFor) {
  harness_.Register("w");
  const std::string job = RunJob(6, 7);
  harness_.clock()->Advance(10'000 * kDay);
  harness_.Tick();
  FORALL_ASSERT_OK(harness_.sqlite()->Commit({}));
  const Count count = CountSamples({job});
  EXPECT_GT(count.kept, 0);
  EXPECT_EQ(count.dropped + count.told, 0);
}

TEST_F(RetentionTest, OldSamplesGoAndEverythingElseStays) {
  harness_.set_keep_raw_samples(30 * kDay);
  harness_.Restart();
  harness_.Register("w");
  const std::string old = RunJob(8, 7);
  harness_.clock()->Advance(29 * kDay);
  harness_.Register("w");
  const std::string young = RunJob(4, 9);
  harness_.Tick();
  FORALL_ASSERT_OK(harness_.sqlite()->Commit({}));
  const Count before = CountSamples({old, young});
  EXPECT_EQ(before.dropped + before.told, 0);
  const std::vector<std::string> shown = {Shown(old), Shown(young)};

  harness_.clock()->Advance(2 * kDay);
  harness_.Tick();
  FORALL_ASSERT_OK(harness_.sqlite()->Commit({}));
  const Count after = CountSamples({old, young});
  EXPECT_GT(after.dropped, 0);
  EXPECT_GT(after.kept, 0);
  EXPECT_EQ(after.dropped + after.kept, before.kept);
  EXPECT_GT(after.told, 0);
  for (const bool restarted : {false, true}) {
    if (restarted) harness_.Restart();
    EXPECT_EQ(Shown(old), shown[0]);
    EXPECT_EQ(Shown(young), shown[1]);
    EXPECT_EQ(CountSamples({old, young}).told, after.told);
  }
  // The next pass finds nothing new, and the one after the young ones grew old takes them.
  harness_.Tick();
  harness_.clock()->Advance(absl::Hours(1));
  harness_.Tick();
  FORALL_ASSERT_OK(harness_.sqlite()->Commit({}));
  EXPECT_EQ(CountSamples({}).dropped, after.dropped);
  harness_.clock()->Advance(30 * kDay);
  harness_.Tick();
  FORALL_ASSERT_OK(harness_.sqlite()->Commit({}));
  EXPECT_EQ(CountSamples({}).kept, 0);
}

TEST_F(RetentionTest, AfterAFailedCommitMemorySaysWhatTheStoreHas) {
  for (const FaultyStore::Fault fault :
       {FaultyStore::Fault::kLost, FaultyStore::Fault::kUnanswered}) {
    ControllerHarness& harness = harness_;
    harness.set_keep_raw_samples(kDay);
    harness.Restart();
    harness.Register("w");
    const std::string job = RunJob(6, static_cast<int64_t>(fault) + 20);
    const int64_t dropped = CountSamples({}).dropped;
    harness.clock()->Advance(2 * kDay);
    harness.store()->FailFrom(1, fault, absl::UnavailableError("killed"));
    harness.Tick();
    FORALL_ASSERT_OK(harness.sqlite()->Commit({}));
    harness.Restart();
    const Count count = CountSamples({});
    EXPECT_EQ(count.dropped > dropped, fault == FaultyStore::Fault::kUnanswered);
    // Which is made up for.
    harness.Tick();
    FORALL_ASSERT_OK(harness.sqlite()->Commit({}));
    EXPECT_EQ(CountSamples({}).kept, 0);
    EXPECT_GT(CountSamples({job}).told, 0);
  }
}

// Thousands are dropped in slices: one Tick takes no more than some hundred.
TEST_F(RetentionTest, ATickTakesALimitedNumber) {
  constexpr int64_t kLatencies = 1200;
  StoreBatch batch;
  for (int64_t id = 1; id <= kLatencies; ++id) {
    MeasurementRecord record;
    record.id = id;
    record.key.subject = absl::StrCat("t1-", id);
    record.key.metric = "latency_ms";
    record.key.device = "pc";
    record.value = record.low = record.high = record.ratio = 1;
    record.sample_count = 20;
    record.baseline_id = "b2-x";
    record.time = harness_.clock()->Now();
    batch.insert_measurements.push_back(record);
    batch.insert_evidence.push_back({id, std::vector<double>(20, 1e6), {2e6}, "", {{"a", "b"}}});
  }
  FORALL_ASSERT_OK(harness_.sqlite()->Commit(std::move(batch)));
  harness_.set_keep_raw_samples(kDay);
  harness_.Restart();
  harness_.clock()->Advance(2 * kDay);
  std::vector<int64_t> dropped;
  for (int tick = 0; tick < 4; ++tick) {
    harness_.Tick();
    FORALL_ASSERT_OK(harness_.sqlite()->Commit({}));
    dropped.push_back(CountSamples({}).dropped);
  }
  EXPECT_EQ(dropped, (std::vector<int64_t>{500, 1000, 1200, 1200}));
}

// What was rejected before its device had a baseline refers to none, and has samples all the same.
TEST_F(RetentionTest, RejectedLatenciesOfBeforeABaselineGoToo) {
  MeasurementRecord record;
  record.id = 1;
  record.key.subject = "t1-1";
  record.key.metric = "latency_ms";
  record.key.device = "pc";
  record.value = record.low = record.high = record.ratio = 1;
  record.raw_median_ms = 2;
  record.verdict = VerdictState::kRejected;
  record.sample_count = 20;
  record.time = harness_.clock()->Now();
  StoreBatch batch;
  batch.insert_measurements.push_back(record);
  batch.insert_evidence.push_back({1, std::vector<double>(20, 1e6), {2e6}, "", {{"a", "b"}}});
  FORALL_ASSERT_OK(harness_.sqlite()->Commit(std::move(batch)));
  harness_.set_keep_raw_samples(kDay);
  harness_.Restart();
  harness_.clock()->Advance(2 * kDay);
  harness_.Tick();
  FORALL_ASSERT_OK(harness_.sqlite()->Commit({}));
  const Count count = CountSamples({});
  EXPECT_EQ(count.dropped, 1);
  EXPECT_EQ(count.kept, 0);
}

}  // namespace
}  // namespace forall
