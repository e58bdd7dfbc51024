// SPDX-License-Identifier: Apache-2.0
#include "search/controller/worker_inspection.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/testing/controller_harness.h"
#include "search/controller/worker_latencies.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class WorkerInspectionTest : public ::testing::Test {
 protected:
  absl::StatusOr<v1::WorkerInspection> Inspect(const std::string& worker, int latencies = 0) {
    v1::InspectWorkerRequest request;
    request.set_name(worker);
    request.set_latencies(latencies);
    return CallAndWait(harness_.controller(), &Controller::InspectWorker, request);
  }
  absl::Status Heartbeat(const v1::HeartbeatRequest& request) {
    return CallAndWait(harness_.controller(), &Controller::Heartbeat, request).status();
  }
  // A whole job whose latencies carry a temperature and a calibration 3 % above the first one's.
  void RunJob(int trials) {
    int latencies = 0;
    const absl::StatusOr<v1::SearchJob> job = harness_.Submit(ControllerHarness::Spec(trials));
    ASSERT_THAT(job.status(), IsOk());
    harness_.RunToEnd(job->name(), "w", [&](const v1::Task& task, v1::TaskResult* result) {
      if (task.kind() != v1::Task::LATENCY) return;
      v1::LatencyResult* latency = result->mutable_latency_result();
      (*latency->mutable_environment())["temperature_celsius"] = absl::StrCat(50 + latencies);
      latency->set_calibrated_reference_ns(latencies == 0 ? 2e6 : 2.06e6);
      if (latencies == 1) {
        latency->mutable_verdict()->set_state(v1::Verdict::NOISY);
        latency->mutable_verdict()->add_reasons("load");
        latency->mutable_verdict()->add_reasons("drift");
      }
      ++latencies;
    });
    latencies_ = latencies;
  }

  ControllerHarness harness_;
  int latencies_ = 0;
};

TEST_F(WorkerInspectionTest, ShowsLatenciesVerdictsBaselineAndDrift) {
  harness_.Register("w");
  RunJob(4);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::WorkerInspection inspection, Inspect("workers/w"));
  EXPECT_EQ(inspection.worker().name(), "workers/w");
  EXPECT_EQ(inspection.worker().device().name(), "devices/pc");

  ASSERT_THAT(inspection.latencies(), SizeIs(latencies_));
  for (int i = 1; i < inspection.latencies_size(); ++i) {
    EXPECT_GE(inspection.latencies(i - 1).measure_time().seconds(),
              inspection.latencies(i).measure_time().seconds());
  }
  EXPECT_EQ(inspection.latencies(0).fidelity(), "final") << "newest first";
  EXPECT_EQ(inspection.latencies(latencies_ - 2).verdict().state(), v1::Verdict::NOISY);

  ASSERT_THAT(inspection.verdicts(), SizeIs(2));
  EXPECT_EQ(inspection.verdicts(0).state(), v1::Verdict::TRUSTED);
  EXPECT_EQ(inspection.verdicts(0).count(), latencies_ - 1);
  EXPECT_EQ(inspection.verdicts(1).state(), v1::Verdict::NOISY);
  ASSERT_THAT(inspection.verdicts(1).reasons(), SizeIs(2));
  EXPECT_EQ(inspection.verdicts(1).reasons(0).count(), 1);

  ASSERT_THAT(inspection.baselines(), SizeIs(1));
  const v1::BaselineInUse& baseline = inspection.baselines(0);
  EXPECT_EQ(baseline.id(), inspection.latencies(0).baseline_id());
  EXPECT_EQ(baseline.batch(), 1);
  EXPECT_DOUBLE_EQ(baseline.reference_ms(), 2);
  EXPECT_DOUBLE_EQ(baseline.calibrated_ms(), 2.06);
  EXPECT_DOUBLE_EQ(baseline.last_reference_ms(), inspection.latencies(0).reference_median_ms());
  EXPECT_EQ(inspection.former_baselines(), 0);
  EXPECT_EQ(inspection.readings().at("temperature_celsius"), absl::StrCat(49 + latencies_));

  FORALL_ASSERT_OK_AND_ASSIGN(const v1::WorkerInspection last, Inspect("workers/w", 2));
  ASSERT_THAT(last.latencies(), SizeIs(2));
  EXPECT_EQ(last.latencies(0).subject(), inspection.latencies(0).subject());
}

TEST_F(WorkerInspectionTest, AChangedDeviceHasNoBaselineYetAndSaysThatOneEnded) {
  harness_.Register("w");
  RunJob(3);
  harness_.Register("w", "pc", "f2");
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::WorkerInspection inspection, Inspect("workers/w"));
  EXPECT_THAT(inspection.baselines(), IsEmpty());
  EXPECT_EQ(inspection.former_baselines(), 1);
  EXPECT_THAT(inspection.latencies(), SizeIs(latencies_)) << "they stay its own";
  EXPECT_THAT(inspection.readings(), IsEmpty()) << "of another life of the worker";
}

TEST_F(WorkerInspectionTest, SurvivesARestartButForWhatOnlyTheWorkerKnows) {
  harness_.Register("w");
  RunJob(3);
  harness_.Restart();
  EXPECT_THAT(Inspect("workers/w"), StatusIs(absl::StatusCode::kNotFound));
  harness_.Register("w");
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::WorkerInspection inspection, Inspect("workers/w"));
  EXPECT_THAT(inspection.latencies(), SizeIs(latencies_));
  EXPECT_EQ(inspection.verdicts(0).count() + inspection.verdicts(1).count(), latencies_);
  ASSERT_THAT(inspection.baselines(), SizeIs(1));
  EXPECT_EQ(inspection.baselines(0).calibrated_ms(), 0);
  EXPECT_GT(inspection.baselines(0).last_reference_ms(), 0);
}

TEST_F(WorkerInspectionTest, HeartbeatsBringReadingsAndOnesWithoutKeepThem) {
  harness_.Register("w");
  v1::HeartbeatRequest request;
  request.set_worker("workers/w");
  (*request.mutable_readings())["temperature_celsius"] = "61";
  ASSERT_THAT(Heartbeat(request), IsOk());
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::WorkerInspection first, Inspect("workers/w"));
  harness_.clock()->Advance(absl::Seconds(9));
  request.clear_readings();
  ASSERT_THAT(Heartbeat(request), IsOk());
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::WorkerInspection second, Inspect("workers/w"));
  EXPECT_EQ(second.readings().at("temperature_celsius"), "61");
  EXPECT_EQ(second.readings_time().seconds(), first.readings_time().seconds());
  EXPECT_GT(second.worker().last_heartbeat_time().seconds(), second.readings_time().seconds());
}

TEST_F(WorkerInspectionTest, RefusesWhatIsTooMuch) {
  harness_.Register("w");
  for (const int latencies : {-1, 101}) {
    EXPECT_THAT(Inspect("workers/w", latencies), StatusIs(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_THAT(Inspect("w"), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Inspect("workers/nobody"), StatusIs(absl::StatusCode::kNotFound));
  v1::HeartbeatRequest request;
  request.set_worker("workers/w");
  (*request.mutable_readings())["long"] = std::string(1025, 'x');
  EXPECT_THAT(Heartbeat(request), StatusIs(absl::StatusCode::kInvalidArgument));
  request.clear_readings();
  for (int i = 0; i < 201; ++i) (*request.mutable_readings())[absl::StrCat(i)] = "1";
  EXPECT_THAT(Heartbeat(request), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(WorkerLatenciesTest, IsBoundedWhateverComes) {
  std::deque<MeasurementRecord> records;
  WorkerLatencies latencies;
  for (int i = 0; i < 1000; ++i) {
    MeasurementRecord& record = records.emplace_back();
    record.id = i;
    record.verdict = VerdictState::kNoisy;
    record.reasons = {absl::StrCat("reason ", i), "load"};
    record.baseline_id = absl::StrCat("b", i);
    latencies.Note(record);
  }
  ASSERT_EQ(latencies.last().size(), WorkerLatencies::kLast);
  EXPECT_EQ(latencies.last().front()->id, 900);
  EXPECT_EQ(latencies.last().back()->id, 999);
  const WorkerLatencies::Verdicts& noisy = latencies.verdicts().at(VerdictState::kNoisy);
  EXPECT_EQ(noisy.count, 1000);
  EXPECT_EQ(noisy.reasons.at("load"), 1000);
  EXPECT_EQ(noisy.reasons.size(), WorkerLatencies::kMostReasons + 1);
  EXPECT_EQ(noisy.reasons.at("other"), 1000 - 63);
  EXPECT_EQ(latencies.baselines().size(), WorkerLatencies::kMostBaselines);
}

}  // namespace
}  // namespace forall
