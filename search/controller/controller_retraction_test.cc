// SPDX-License-Identifier: Apache-2.0
// Measurements that are taken out of the count, from the index to jobs that go on and jobs that
// have ended; always compared with what a restarted controller makes of the store.
#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/measurement_index.h"
#include "search/controller/testing/controller_harness.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::FaultyStore;
using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

MeasurementRecord RandomRecord(int64_t id, Random* random) {
  const auto pick = [&](int count) { return static_cast<int64_t>(random->Double() * count); };
  MeasurementRecord record;
  record.id = id;
  record.job_id = pick(3);
  record.value = 1 + random->Double();
  record.low = record.value * 0.9;
  record.high = record.value * 1.1;
  record.sample_count = 10 * (1 + pick(3));
  record.worker = absl::StrCat("w", pick(3));
  record.verdict = static_cast<VerdictState>(1 + pick(3));
  record.fidelity = static_cast<FidelityLevel>(1 + pick(2));
  if (pick(2) == 0) {
    record.key.metric = "latency_ms";
    record.key.subject = absl::StrCat(pick(2) == 0 ? "g1-" : "artifact", pick(12));
    record.key.device = absl::StrCat("d", pick(2));
    record.key.device_fingerprint = absl::StrCat("f", pick(2));
    record.key.profile = "p";
  } else {
    record.key.metric = "accuracy_top1";
    record.key.subject = absl::StrCat("artifact", pick(12));
    record.key.dataset = "images";
    record.key.split = "validation";
  }
  return record;
}

TEST(MeasurementIndexRetractTest, EqualsAnIndexThatWasFilledAnew) {
  Random random(11);
  for (int round = 0; round < 60; ++round) {
    std::vector<MeasurementRecord> records;
    MeasurementIndex index;
    const int64_t count = 5 + static_cast<int64_t>(random.Double() * 120);
    for (int64_t id = 1; id <= count; ++id) {
      records.push_back(RandomRecord(2 * id, &random));
      index.Add(records.back());
    }
    std::vector<int64_t> gone = {-4, 3};  // not there
    for (MeasurementRecord& record : records) {
      if (!random.Bernoulli(0.4)) continue;
      gone.push_back(record.id);
      record.retracted_by = "a test";
    }
    index.Retract(gone, "a test");
    index.Retract(gone, "somebody else");  // once is enough
    MeasurementIndex anew;
    for (const MeasurementRecord& record : records) anew.Add(record);
    EXPECT_TRUE(std::equal(index.all().begin(), index.all().end(), anew.all().begin()));
    const auto key = [](const LatencyPlace& place) {
      return absl::StrCat(place.device, " ", place.device_fingerprint);
    };
    std::vector<std::string> places;
    std::vector<std::string> places_anew;
    for (const LatencyPlace& place : index.latency_places()) places.push_back(key(place));
    for (const LatencyPlace& place : anew.latency_places()) places_anew.push_back(key(place));
    EXPECT_EQ(places, places_anew);
    for (const MeasurementRecord& record : records) {
      const MeasurementColumn* const column = index.FindColumn(record.key);
      const MeasurementColumn* const column_anew = anew.FindColumn(record.key);
      ASSERT_EQ(column == nullptr, column_anew == nullptr);
      if (column == nullptr) continue;
      EXPECT_EQ(column->size(), column_anew->size());
      const SubjectId subject = index.NumberOf(record.key.subject);
      ASSERT_EQ(subject, anew.NumberOf(record.key.subject));
      EXPECT_EQ((*column)[subject].place, (*column_anew)[subject].place);
      EXPECT_EQ((*column)[subject].value, (*column_anew)[subject].value);
      EXPECT_EQ(index.FindLatency(record.key, record.fidelity),
                anew.FindLatency(record.key, record.fidelity));
    }
  }
}

class RetractionTest : public ::testing::Test {
 protected:
  static v1::RetractMeasurementsRequest By(const std::string& worker) {
    v1::RetractMeasurementsRequest request;
    if (!worker.empty()) request.set_worker("workers/" + worker);
    request.set_reason("its fan is dead (ann)");
    return request;
  }
  absl::StatusOr<v1::RetractMeasurementsResponse> Retract(
      const v1::RetractMeasurementsRequest& request) {
    return CallAndWait(harness_.controller(), &Controller::RetractMeasurements, request);
  }
  std::string SubmitOk(const v1::SearchJobSpec& spec) {
    const absl::StatusOr<v1::SearchJob> job = harness_.Submit(spec);
    EXPECT_THAT(job, IsOk());
    return job.ok() ? job->name() : "";
  }
  // Everything that people see of a job and of its supernet, as text.
  std::string View(const std::string& name) {
    v1::SearchJob job = harness_.Job(name).value();
    job.clear_waiting_reason();  // of leases and workers, which a restart forgets
    std::string view = job.DebugString();
    for (const v1::Trial& trial : harness_.Trials(name)) view += trial.DebugString();
    view += harness_.Frontier(name).DebugString();
    v1::GetPredictionLedgerRequest ledger;
    ledger.set_name(name);
    view +=
        CallAndWait(harness_.controller(), &Controller::GetPredictionLedger, ledger)->DebugString();
    return view + Everywhere().DebugString();
  }
  // The frontier of all that was ever measured on the supernet.
  v1::QueryParetoFrontierResponse Everywhere() {
    v1::QueryParetoFrontierRequest request;
    request.set_supernet("supernets/fashion_mnist");
    *request.mutable_objectives() = ControllerHarness::Spec(1).objectives();
    const auto frontier =
        CallAndWait(harness_.controller(), &Controller::QueryParetoFrontier, request);
    EXPECT_THAT(frontier, IsOk());
    return frontier.ok() ? *frontier : v1::QueryParetoFrontierResponse();
  }
  // Of all numbers that members of a frontier are shown with.
  static std::set<std::string> WorkersOn(const v1::QueryParetoFrontierResponse& frontier) {
    std::set<std::string> workers;
    for (const v1::FrontierMember& member : frontier.members()) {
      for (const v1::Measurement& measurement : member.measurements()) {
        if (!measurement.worker().empty()) workers.insert(measurement.worker());
      }
    }
    return workers;
  }
  // What a worker with a wrong clock says: everything is ten times as fast.
  static void TenTimesAsFast(const v1::Task& task, v1::TaskResult* result) {
    if (task.kind() != v1::Task::LATENCY) return;
    v1::LatencyResult* const latency = result->mutable_latency_result();
    latency->set_ratio(latency->ratio() / 10);
    latency->set_ratio_low(latency->ratio_low() / 10);
    latency->set_ratio_high(latency->ratio_high() / 10);
    latency->set_median_ns(latency->median_ns() / 10);
  }
  // A job of which the faulty worker has done a part, and goes on.
  std::string HalfDone(int trials, int steps) {
    harness_.Register("good");
    harness_.Register("bad");
    std::string name = SubmitOk(ControllerHarness::Spec(trials));
    for (int i = 0; i < steps; ++i) {
      EXPECT_TRUE(harness_.Step("good"));
      EXPECT_TRUE(harness_.Step("bad", TenTimesAsFast));
    }
    return name;
  }

  ControllerHarness harness_;
};

TEST_F(RetractionTest, ARunningJobMeasuresAgainAndForgetsTheRest) {
  const std::string name = HalfDone(10, 8);
  EXPECT_THAT(WorkersOn(harness_.Frontier(name)), Contains("workers/bad"));
  const int32_t measured_before = harness_.Job(name)->measured_trials();
  // First only asked: nothing changes.
  const std::string before = View(name);
  v1::RetractMeasurementsRequest request = By("bad");
  request.set_dry_run(true);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::RetractMeasurementsResponse asked, Retract(request));
  EXPECT_EQ(View(name), before);
  request.set_dry_run(false);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::RetractMeasurementsResponse done, Retract(request));
  EXPECT_EQ(done.SerializeAsString(), asked.SerializeAsString());
  EXPECT_GT(done.measurements(), 0);
  ASSERT_THAT(done.jobs(), SizeIs(1));
  EXPECT_EQ(done.jobs(0).search_job(), name);
  EXPECT_GT(done.jobs(0).remeasured_trials(), 0);
  EXPECT_EQ(done.jobs(0).lost_trials(), 0);

  EXPECT_THAT(WorkersOn(harness_.Frontier(name)), Not(Contains("workers/bad")));
  EXPECT_THAT(WorkersOn(Everywhere()), Not(Contains("workers/bad")));
  EXPECT_EQ(harness_.Job(name)->measured_trials(),
            measured_before - static_cast<int32_t>(done.jobs(0).remeasured_trials()));
  EXPECT_THAT(harness_.Job(name)->warnings(), Contains(HasSubstr("its fan is dead (ann)")));
  EXPECT_THAT(harness_.Log(name), Contains(HasSubstr("retracted")));
  const std::string after = View(name);
  harness_.Restart();
  harness_.Register("good");
  EXPECT_EQ(View(name), after);

  const v1::SearchJob job = harness_.RunToEnd(name, "good");
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(job.measured_trials(), 10);
  EXPECT_THAT(WorkersOn(harness_.Frontier(name)), ElementsAre("workers/good"));
  for (const v1::Trial& trial : harness_.Trials(name)) {
    for (const v1::Measurement& measurement : trial.measurements()) {
      EXPECT_NE(measurement.worker(), "workers/bad") << trial.name();
    }
  }
  // Again there is nothing to do.
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::RetractMeasurementsResponse again, Retract(request));
  EXPECT_EQ(again.measurements(), 0);
  const std::string at_end = View(name);
  harness_.Restart();
  EXPECT_EQ(View(name), at_end);
}

// Wherever in a job it happens, the job ends well, and a restart right afterwards changes nothing
// of what it does.
TEST_F(RetractionTest, AtEveryPointOfAJobItEndsWellWithGoodNumbersAlone) {
  for (int steps = 1;; ++steps) {
    SCOPED_TRACE(absl::StrCat("after ", steps, " tasks"));
    std::vector<std::string> logs[2];
    bool over = false;
    for (const bool restart : {false, true}) {
      ControllerHarness harness;
      harness.Register("good");
      harness.Register("bad");
      v1::SearchJobSpec spec = ControllerHarness::Spec(4);
      spec.mutable_fidelity()->set_test_split(true);
      spec.set_parallelism(2);
      const std::string name = harness.Submit(spec)->name();
      int done = 0;
      while (done < steps && harness.Step(done % 2 == 0 ? "bad" : "good",
                                          done % 2 == 0 ? TenTimesAsFast : nullptr)) {
        ++done;
      }
      over = done < steps;
      if (over) break;
      FORALL_ASSERT_OK(
          CallAndWait(harness.controller(), &Controller::RetractMeasurements, By("bad")).status());
      if (harness.Job(name)->has_end_time()) {
        over = true;
        break;
      }
      if (restart) {
        harness.Restart();
        harness.Register("good");
      }
      const v1::SearchJob job = harness.RunToEnd(name, "good");
      EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED) << job.error();
      EXPECT_EQ(job.measured_trials() + job.infeasible_trials(), 4);
      const v1::QueryParetoFrontierResponse frontier = harness.Frontier(name);
      EXPECT_THAT(frontier.members(), Not(IsEmpty()));
      EXPECT_THAT(WorkersOn(frontier), ElementsAre("workers/good"));
      for (const v1::FrontierMember& member : frontier.members()) {
        EXPECT_TRUE(member.trial().finalized()) << member.trial().name();
      }
      logs[restart ? 1 : 0] = harness.Log(name);
    }
    if (over) {
      EXPECT_GT(steps, 15);
      break;
    }
    EXPECT_EQ(logs[0], logs[1]);
  }
}

TEST_F(RetractionTest, AnEndedJobLosesTheTrialsAndANewOneReusesNothing) {
  const std::string name = HalfDone(6, 6);
  harness_.RunToEnd(name, "bad", TenTimesAsFast);
  ASSERT_THAT(WorkersOn(harness_.Frontier(name)), Contains("workers/bad"));
  const int32_t measured = harness_.Job(name)->measured_trials();
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::RetractMeasurementsResponse done, Retract(By("bad")));
  ASSERT_THAT(done.jobs(), SizeIs(1));
  EXPECT_GT(done.jobs(0).lost_trials(), 0);
  EXPECT_EQ(done.jobs(0).remeasured_trials(), 0);
  const v1::SearchJob job = *harness_.Job(name);
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(job.measured_trials(), measured - done.jobs(0).lost_trials());
  EXPECT_THAT(WorkersOn(harness_.Frontier(name)), Not(Contains("workers/bad")));
  int lost = 0;
  for (const v1::Trial& trial : harness_.Trials(name)) {
    if (!absl::StrContains(trial.error(), "retracted")) continue;
    EXPECT_EQ(trial.state(), v1::Trial::FAILED);
    ++lost;
  }
  EXPECT_EQ(lost, done.jobs(0).lost_trials());
  const std::string after = View(name);
  harness_.Restart();
  EXPECT_EQ(View(name), after);

  // The same search again: what is left is reused, the rest is measured.
  harness_.Register("good");
  const std::string second = SubmitOk(ControllerHarness::Spec(6));
  harness_.RunToEnd(second, "good");
  EXPECT_THAT(WorkersOn(harness_.Frontier(second)), ElementsAre("workers/good"));
}

TEST_F(RetractionTest, AWarmJobForgetsWhatItHadLearned) {
  harness_.Register("bad");
  harness_.RunToEnd(SubmitOk(ControllerHarness::Spec(6)), "bad", TenTimesAsFast);
  v1::SearchJobSpec spec = ControllerHarness::Spec(8);
  spec.mutable_sampler()->set_algorithm("guided");
  const std::string name = SubmitOk(spec);
  ASSERT_THAT(harness_.Log(name), Contains(HasSubstr(" known ")));
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::RetractMeasurementsResponse done, Retract(By("bad")));
  ASSERT_THAT(done.jobs(), SizeIs(2));
  EXPECT_EQ(done.jobs(1).search_job(), name);
  EXPECT_GT(done.jobs(1).dropped_known(), 0);
  harness_.Register("good");
  const v1::SearchJob job = harness_.RunToEnd(name, "good");
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_THAT(WorkersOn(harness_.Frontier(name)), ElementsAre("workers/good"));
  const std::string after = View(name);
  harness_.Restart();
  EXPECT_EQ(View(name), after);
}

TEST_F(RetractionTest, WhatIsMeantIsChosenByWorkerDeviceBuildAndTime) {
  harness_.Register("one", "pc");
  const std::string name = SubmitOk(ControllerHarness::Spec(6));
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(harness_.Step("one"));
  const absl::Time between = harness_.clock()->Now() + absl::Seconds(1);
  harness_.clock()->Advance(absl::Seconds(2));
  while (harness_.Step("one")) {
  }
  const auto count = [&](const std::function<void(v1::RetractMeasurementsRequest*)>& set) {
    v1::RetractMeasurementsRequest request;
    request.set_dry_run(true);
    set(&request);
    const auto response = Retract(request);
    EXPECT_THAT(response, IsOk());
    return response.ok() ? response->measurements() : -1;
  };
  const int64_t all = count([](auto* request) { request->set_worker("workers/one"); });
  EXPECT_GT(all, 20);
  EXPECT_EQ(count([](auto* request) { request->set_worker("workers/two"); }), 0);
  EXPECT_EQ(count([](auto* request) { request->set_worker_build("0.1.0"); }), all);
  EXPECT_EQ(count([](auto* request) { request->set_worker_build("0.2.0"); }), 0);
  const int64_t latencies = count([](auto* request) { request->set_device("devices/pc"); });
  EXPECT_GT(latencies, 5);
  EXPECT_LT(latencies, all);
  EXPECT_EQ(count([](auto* request) { request->set_device("devices/other"); }), 0);
  const auto stamp = [&](google::protobuf::Timestamp* time) {
    time->set_seconds(absl::ToUnixSeconds(between));
  };
  const int64_t late = count([&](auto* request) { stamp(request->mutable_since()); });
  const int64_t early = count([&](auto* request) { stamp(request->mutable_until()); });
  EXPECT_GT(late, 0);
  EXPECT_GT(early, 0);
  EXPECT_EQ(late + early, all);
  EXPECT_LE(count([&](auto* request) {
              request->set_device("devices/pc");
              stamp(request->mutable_since());
            }),
            std::min(late, latencies));
}

TEST_F(RetractionTest, MistakesNameTheField) {
  const auto refused = [&](const std::function<void(v1::RetractMeasurementsRequest*)>& set) {
    v1::RetractMeasurementsRequest request = By("");
    set(&request);
    const absl::Status status = Retract(request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  EXPECT_THAT(refused([](auto*) {}), HasSubstr("give at least one"));
  EXPECT_THAT(refused([](auto* request) { request->set_worker("Bad Worker"); }),
              HasSubstr("workers/"));
  EXPECT_THAT(refused([](auto* request) { request->set_device("pc"); }), HasSubstr("devices/"));
  EXPECT_THAT(refused([](auto* request) {
                request->set_worker("workers/w");
                request->set_reason(" \n");
              }),
              HasSubstr("reason"));
  EXPECT_THAT(refused([](auto* request) {
                request->set_worker("workers/w");
                request->set_reason(std::string(1025, 'x'));
              }),
              HasSubstr("reason"));
  EXPECT_THAT(refused([](auto* request) { request->mutable_since()->set_nanos(-1); }),
              HasSubstr("since"));
  EXPECT_THAT(refused([](auto* request) {
                request->mutable_since()->set_seconds(10);
                request->mutable_until()->set_seconds(10);
              }),
              HasSubstr("until"));
}

TEST_F(RetractionTest, OneThatIsNotKeptChangesNothing) {
  const std::string name = HalfDone(10, 8);
  const std::string before = View(name);
  harness_.store()->FailFrom(1, FaultyStore::Fault::kLost,
                             absl::ResourceExhaustedError("disk full"));
  EXPECT_THAT(Retract(By("bad")), StatusIs(absl::StatusCode::kResourceExhausted));
  harness_.store()->Heal();
  harness_.Tick();
  EXPECT_EQ(View(name), before);
  FORALL_ASSERT_OK(Retract(By("bad")).status());
  EXPECT_NE(View(name), before);
}

// An accuracy of which a part is the faulty worker's goes with it, whoever came last; so do the
// parts that still wait.
TEST_F(RetractionTest, PartsOfAccuraciesAreTheWorkersToo) {
  harness_.Register("good");
  harness_.Register("bad");
  v1::SearchJobSpec spec = ControllerHarness::Spec(3);
  spec.mutable_fidelity()->set_part_images(2048);
  spec.mutable_fidelity()->set_screening_images(10'000);
  spec.set_parallelism(2);
  const std::string name = SubmitOk(spec);
  const auto in_part = [](const v1::TaskResult& result) {
    return result.has_accuracy_result() && result.accuracy_result().images() < 10'000;
  };
  // Of each accuracy the bad worker has done some parts and the good one the last.
  int parts = 0;
  for (int i = 0; i < 14; ++i) {
    const std::string worker = i % 3 == 0 ? "bad" : "good";
    ASSERT_TRUE(harness_.Step(worker, [&](const v1::Task&, v1::TaskResult* result) {
      parts += in_part(*result) && worker == "bad" ? 1 : 0;
    }));
  }
  ASSERT_GT(parts, 0);
  for (const bool restart : {false, true}) {
    if (restart) {
      harness_.Restart();
      harness_.Register("good");
    }
    v1::RetractMeasurementsRequest request = By("bad");
    request.set_dry_run(!restart);
    FORALL_ASSERT_OK(Retract(request).status());
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<AccuracyPartRecord> waiting,
                              harness_.sqlite()->LoadParts());
  for (const AccuracyPartRecord& part : waiting) EXPECT_EQ(part.worker, "good");
  const v1::SearchJob job = harness_.RunToEnd(name, "good");
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED) << job.error();
  // By the evidence of everything that still counts.
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<MeasurementRecord> measurements,
                              harness_.sqlite()->LoadMeasurements());
  int joined = 0;
  for (const MeasurementRecord& record : measurements) {
    if (!record.retracted_by.empty() || record.key.metric != "accuracy_top1") continue;
    FORALL_ASSERT_OK_AND_ASSIGN(const MeasurementEvidence evidence,
                                harness_.sqlite()->LoadEvidence(record.id));
    const AccuracySources sources = SourcesIn(evidence.environment);
    joined += sources.workers.empty() ? 0 : 1;
    EXPECT_THAT(sources.workers, Not(Contains("bad"))) << "measurement " << record.id;
    EXPECT_NE(record.worker, "bad");
  }
  EXPECT_GT(joined, 0);
}

}  // namespace
}  // namespace forall
