// SPDX-License-Identifier: Apache-2.0
// Accuracies that are measured in parts, from the index to whole jobs.
#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/measurement_index.h"
#include "search/controller/measurement_maker.h"
#include "search/controller/resource_names.h"
#include "search/controller/testing/controller_harness.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::FaultyStore;
using ::forall::testing::IsOk;
using ::forall::testing::IsOkAndHolds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

AccuracyPartRecord MakePart(int64_t task, int64_t first, const std::vector<bool>& bits) {
  AccuracyPartRecord part;
  part.task_id = task;
  part.artifact_sha256 = "a";
  part.dataset = "d";
  part.split = "validation";
  part.first_image = first;
  part.images = static_cast<int64_t>(bits.size());
  part.top1_bitmap.assign((bits.size() + 7) / 8, '\0');
  for (size_t i = 0; i < bits.size(); ++i) {
    if (!bits[i]) continue;
    ++part.top1_correct;
    part.top1_bitmap[i / 8] =
        static_cast<char>(static_cast<unsigned char>(part.top1_bitmap[i / 8]) | 1u << (i % 8));
  }
  part.top5_correct = part.top1_correct;
  return part;
}

TEST(AccuracyCoverTest, AnyPartitionInAnyOrderJoinsToTheWhole) {
  Random random(5);
  for (int round = 0; round < 200; ++round) {
    const int64_t images = 1 + static_cast<int64_t>(random.Double() * 100);
    std::vector<bool> bits;
    for (int64_t i = 0; i < images; ++i) bits.push_back(random.Bernoulli(0.7));
    std::vector<AccuracyPartRecord> parts;
    for (int64_t first = 0; first < images;) {
      const int64_t end = std::min(images, first + 1 + static_cast<int64_t>(random.Double() * 30));
      parts.push_back(
          MakePart(first + 1, first, std::vector<bool>(bits.begin() + first, bits.begin() + end)));
      first = end;
    }
    for (size_t i = parts.size(); i > 1; --i) {
      std::swap(parts[i - 1], parts[static_cast<size_t>(random.Double() * static_cast<double>(i))]);
    }
    MeasurementIndex index;
    for (size_t i = 0; i < parts.size(); ++i) {
      EXPECT_FALSE(index.Cover("a", "d", "validation", images).missing.empty());
      index.AddPart(parts[i]);
    }
    const AccuracyCover cover = index.Cover("a", "d", "validation", images);
    ASSERT_THAT(cover.missing, IsEmpty());
    const v1::AccuracyResult joined = Join(cover.pieces);
    const AccuracyPartRecord whole = MakePart(1, 0, bits);
    EXPECT_EQ(joined.images(), images);
    EXPECT_EQ(joined.top1_correct(), whole.top1_correct);
    EXPECT_EQ(joined.top1_bitmap(), whole.top1_bitmap);
  }
}

TEST(AccuracyCoverTest, SaysWhatIsMissingAndTakesNoImageTwice) {
  MeasurementIndex index;
  index.AddPart(MakePart(1, 10, std::vector<bool>(10, true)));
  index.AddPart(MakePart(2, 15, std::vector<bool>(10, true)));  // overlaps: of no use here
  index.AddPart(MakePart(3, 30, std::vector<bool>(10, true)));
  const AccuracyCover cover = index.Cover("a", "d", "validation", 50);
  using Range = AccuracyCover::Range;
  EXPECT_THAT(cover.missing, ElementsAre(Range{0, 10}, Range{20, 10}, Range{40, 10}));
  EXPECT_THAT(cover.pieces, SizeIs(2));
  EXPECT_THAT(index.Cover("a", "d", "validation", 35).missing,
              ElementsAre(Range{0, 10}, Range{20, 15}))
      << "a part that reaches beyond the images is none of them";
  EXPECT_THAT(index.Cover("a", "d", "test", 35).pieces, IsEmpty());
  EXPECT_THAT(index.RemoveParts("a", "d", "validation", 25), ElementsAre(1, 2));
  EXPECT_THAT(index.Cover("a", "d", "validation", 50).pieces, SizeIs(1));
}

v1::SearchJobSpec PartSpec(int trials) {
  v1::SearchJobSpec spec;
  spec.set_supernet("supernets/fashion_mnist");
  spec.add_objectives()->set_metric("accuracy_top1");
  spec.add_objectives()->set_metric("macs");
  spec.mutable_budget()->set_max_trials(trials);
  spec.mutable_fidelity()->set_part_images(2048);
  spec.set_seed(3);
  spec.set_parallelism(2);
  return spec;
}

class AccuracyPartsTest : public ::testing::Test {
 protected:
  std::string SubmitOk(const v1::SearchJobSpec& spec) {
    const absl::StatusOr<v1::SearchJob> job = harness_.Submit(spec);
    EXPECT_THAT(job, IsOk());
    return job.ok() ? job->name() : "";
  }
  // The next accuracy task; exports are done on the way.
  v1::LeasedTask LeaseAccuracy(const std::string& worker) {
    for (int i = 0; i < 20; ++i) {
      const absl::StatusOr<v1::LeaseTasksResponse> leased = harness_.Lease(worker);
      EXPECT_THAT(leased, IsOk());
      if (!leased.ok() || leased->tasks().empty()) break;
      if (leased->tasks(0).task().kind() == v1::Task::ACCURACY) return leased->tasks(0);
      EXPECT_THAT(harness_.Complete(worker, harness_.Evaluate(leased->tasks(0))), IsOk());
    }
    ADD_FAILURE() << "no accuracy task";
    return {};
  }
  int Finish(const std::string& worker, const v1::LeasedTask& leased) {
    return harness_.Complete(worker, harness_.Evaluate(leased))->code();
  }

  ControllerHarness harness_;
};

// The value, the counts and the evidence of every measurement are those of one evaluation of all.
TEST_F(AccuracyPartsTest, Invariant2PartsOfSeveralWorkersBecomeOneMeasurement) {
  harness_.Register("w1");
  harness_.Register("w2", "pc2");
  v1::SearchJobSpec spec = PartSpec(4);
  spec.mutable_fidelity()->set_screening_images(2500);
  spec.mutable_fidelity()->set_test_split(true);
  const std::string name = SubmitOk(spec);
  std::map<std::string, v1::Task> by_artifact;
  std::set<std::string> workers;
  const auto note = [&](const v1::Task& task, v1::TaskResult*) {
    if (task.kind() == v1::Task::ACCURACY) by_artifact[task.artifact_sha256()] = task;
  };
  while (harness_.Step("w1", note) || harness_.Step("w2", note)) {
    harness_.Step("w2", note);
  }
  ASSERT_EQ(harness_.Job(name)->state(), v1::SearchJob::SUCCEEDED);
  EXPECT_THAT(harness_.sqlite()->LoadParts(), IsOkAndHolds(IsEmpty()));
  std::set<std::string> seen;
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<MeasurementRecord> measurements,
                              harness_.sqlite()->LoadMeasurements());
  int all = 0;
  for (const MeasurementRecord& record : measurements) {
    EXPECT_TRUE(seen.insert(absl::StrCat(record.key.subject, record.key.metric, record.key.split,
                                         record.sample_count))
                    .second);
    v1::Task whole = by_artifact[record.key.subject];
    whole.set_first_image(0);
    whole.set_part_images(0);
    whole.set_images(static_cast<int32_t>(record.sample_count));
    const v1::AccuracyResult expected = ControllerHarness::EvaluateImages(whole);
    if (record.key.metric != "accuracy_top1") continue;
    EXPECT_EQ(record.value, 100.0 * static_cast<double>(expected.top1_correct()) /
                                static_cast<double>(expected.images()));
    FORALL_ASSERT_OK_AND_ASSIGN(const MeasurementEvidence evidence,
                                harness_.sqlite()->LoadEvidence(record.id));
    EXPECT_EQ(evidence.top1_bitmap, expected.top1_bitmap());
    EXPECT_GT(evidence.environment.size(), 1u);
    for (const auto& [range, from] : evidence.environment) {
      for (const char* worker : {"w1", "w2"}) {
        if (absl::StrContains(from, worker)) workers.insert(worker);
      }
    }
    all += record.sample_count == 10'000 ? 1 : 0;
  }
  EXPECT_GT(all, 0);
  EXPECT_THAT(workers, SizeIs(2)) << "both had a part in it";
}

TEST_F(AccuracyPartsTest, FinalAccuracyMeasuresOnlyTheImagesThatScreeningLeft) {
  harness_.Register("w");
  v1::SearchJobSpec spec = PartSpec(3);
  spec.mutable_fidelity()->set_screening_images(4096);
  int64_t images = 0;
  const std::string name = SubmitOk(spec);
  const v1::SearchJob job =
      harness_.RunToEnd(name, "w", [&](const v1::Task&, v1::TaskResult* result) {
        images += result->accuracy_result().images();
      });
  ASSERT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(images, 3 * 4096 + job.finalized_trials() * (10'000 - 4096));
}

TEST_F(AccuracyPartsTest, SmallEvaluationsStayOneTask) {
  harness_.Register("w");
  v1::SearchJobSpec spec = PartSpec(3);
  spec.mutable_fidelity()->set_part_images(0);
  int tasks = 0;
  const std::string name = SubmitOk(spec);
  harness_.RunToEnd(name, "w", [&](const v1::Task& task, v1::TaskResult*) {
    tasks += task.kind() == v1::Task::ACCURACY ? 1 : 0;
  });
  EXPECT_EQ(tasks, 3);
  for (const std::string& line : harness_.Log(name)) EXPECT_THAT(line, Not(HasSubstr(" part ")));
}

TEST_F(AccuracyPartsTest, ResultThatDoesNotFitItsPartIsRefused) {
  harness_.Register("w");
  SubmitOk(PartSpec(1));
  const v1::LeasedTask leased = LeaseAccuracy("w");
  const v1::TaskResult good = harness_.Evaluate(leased);
  const auto refused = [&](const char* why, const std::function<void(v1::AccuracyResult*)>& spoil) {
    v1::TaskResult bad = good;
    spoil(bad.mutable_accuracy_result());
    const absl::StatusOr<v1::TaskCompletion> completion = harness_.Complete("w", bad);
    ASSERT_THAT(completion, IsOk());
    EXPECT_EQ(completion->code(), static_cast<int>(absl::StatusCode::kInvalidArgument)) << why;
    EXPECT_THAT(completion->message(), HasSubstr(why));
  };
  refused("accuracy_result.images", [](auto* result) { result->set_images(2047); });
  refused("accuracy_result.images", [](auto* result) { result->set_images(10'000); });
  refused("accuracy_result.split_images", [](auto* result) { result->clear_split_images(); });
  refused("accuracy_result.split_images", [](auto* result) { result->set_split_images(-1); });
  // Shared out in parts it would never end.
  for (const int64_t images : {int64_t{100'000'001}, std::numeric_limits<int64_t>::max()}) {
    refused("accuracy_result.split_images",
            [&](auto* result) { result->set_split_images(images); });
    refused("accuracy_result.images", [&](auto* result) { result->set_images(images); });
  }
  refused("accuracy_result.top1_bitmap", [](auto* result) { result->clear_top1_bitmap(); });
  refused("accuracy_result.top1_bitmap",
          [](auto* result) { result->mutable_top1_bitmap()->pop_back(); });
  refused("accuracy_result.top1_bitmap",
          [](auto* result) { result->set_top1_correct(result->top1_correct() - 1); });
  EXPECT_THAT(harness_.sqlite()->LoadParts(), IsOkAndHolds(IsEmpty()));
  EXPECT_EQ(harness_.Complete("w", good)->code(), 0);
  EXPECT_EQ(harness_.Complete("w", good)->code(), 0) << "repeated";
  EXPECT_THAT(harness_.sqlite()->LoadParts(), IsOkAndHolds(SizeIs(1)));
}

TEST_F(AccuracyPartsTest, HugeSplitIsSharedOutInFewerLargerParts) {
  harness_.Register("w");
  v1::SearchJobSpec spec = PartSpec(1);
  spec.mutable_fidelity()->set_part_images(64);
  spec.mutable_fidelity()->set_screening_images(100'000'000);
  spec.mutable_fidelity()->set_final_images(100'000'000);
  SubmitOk(spec);
  const v1::LeasedTask first = LeaseAccuracy("w");
  v1::TaskResult result = harness_.Evaluate(first);
  result.mutable_accuracy_result()->set_split_images(100'000'000);
  ASSERT_EQ(harness_.Complete("w", result)->code(), 0);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<TaskRecord> tasks, harness_.sqlite()->LoadTasks(1));
  EXPECT_GT(tasks.size(), 1000u);
  EXPECT_LE(tasks.size(), 10'002u);
}

TEST_F(AccuracyPartsTest, PartOfOtherImagesGoesToAnotherWorker) {
  harness_.Register("w1");
  harness_.Register("w2");
  const std::string name = SubmitOk(PartSpec(1));
  ASSERT_EQ(Finish("w1", LeaseAccuracy("w1")), 0);
  const v1::LeasedTask second = LeaseAccuracy("w2");
  v1::TaskResult other = harness_.Evaluate(second);
  other.mutable_accuracy_result()->set_dataset_checksum("others");
  ASSERT_EQ(harness_.Complete("w2", other)->code(), 0) << "taken as a failure";
  EXPECT_THAT(harness_.sqlite()->LoadParts(), IsOkAndHolds(SizeIs(1)));
  bool told = false;
  for (const std::string& line : harness_.Log(name)) {
    told |= absl::StrContains(line, "are others (checksum others)");
  }
  EXPECT_TRUE(told);
  EXPECT_EQ(harness_.RunToEnd(name, "w1").state(), v1::SearchJob::SUCCEEDED);
}

TEST_F(AccuracyPartsTest, PartThatFailsForGoodEndsTheEvaluation) {
  harness_.Register("w");
  const std::string name = SubmitOk(PartSpec(1));
  ASSERT_EQ(Finish("w", LeaseAccuracy("w")), 0);
  const v1::LeasedTask doomed = LeaseAccuracy("w");
  const v1::LeasedTask held = LeaseAccuracy("w");
  v1::TaskResult failure;
  failure.set_task(doomed.task().name());
  failure.set_lease_token(doomed.lease().token());
  failure.mutable_failure()->set_reason(v1::TaskFailure::DETERMINISTIC);
  failure.mutable_failure()->set_message("a logit is not a number");
  ASSERT_EQ(harness_.Complete("w", failure)->code(), 0);
  EXPECT_EQ(Finish("w", held), static_cast<int>(absl::StatusCode::kAborted));
  const absl::StatusOr<v1::LeaseTasksResponse> rest = harness_.Lease("w");
  EXPECT_THAT(rest->tasks(), IsEmpty()) << "the other parts are dropped";
  const v1::Trial trial = harness_.Trials(name)[0];
  EXPECT_EQ(trial.state(), v1::Trial::INFEASIBLE);
  EXPECT_EQ(trial.error(), "a logit is not a number");
  EXPECT_THAT(harness_.sqlite()->LoadMeasurements(), IsOkAndHolds(IsEmpty()));
}

TEST_F(AccuracyPartsTest, WhatACancelledJobMeasuredServesTheNextOne) {
  harness_.Register("w");
  const std::string first = SubmitOk(PartSpec(1));
  for (int i = 0; i < 3; ++i) ASSERT_EQ(Finish("w", LeaseAccuracy("w")), 0);
  v1::CancelSearchJobRequest cancel;
  cancel.set_name(first);
  FORALL_ASSERT_OK(CallAndWait(harness_.controller(), &Controller::CancelSearchJob, cancel));
  EXPECT_THAT(harness_.Lease("w")->tasks(), IsEmpty());
  EXPECT_THAT(harness_.sqlite()->LoadMeasurements(), IsOkAndHolds(IsEmpty()))
      << "a part of an evaluation counts for nothing";
  harness_.Restart();
  harness_.Register("w");
  int tasks = 0;
  const std::string second = SubmitOk(PartSpec(1));
  const v1::SearchJob job =
      harness_.RunToEnd(second, "w", [&](const v1::Task&, v1::TaskResult*) { ++tasks; });
  EXPECT_EQ(job.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(tasks, 2) << "of five parts, those that were missing";
  EXPECT_THAT(harness_.sqlite()->LoadParts(), IsOkAndHolds(IsEmpty()));
  const std::string third = SubmitOk(PartSpec(1));
  EXPECT_EQ(harness_.RunToEnd(third).reused_trials(), 1);
}

TEST(AccuracyPartsKillTest, Invariant4KilledAtEveryCommitTheLogIsThatOfAnUndisturbedJob) {
  v1::SearchJobSpec spec = PartSpec(3);
  spec.mutable_fidelity()->set_screening_images(2500);
  const auto run = [&](int64_t at, FaultyStore::Fault fault, int64_t* commits) {
    ControllerHarness harness;
    harness.Register("w");
    const std::string name = harness.Submit(spec)->name();
    const int64_t before = harness.store()->commits();
    if (at > 0) harness.store()->FailFrom(at, fault, absl::UnavailableError("killed"));
    EXPECT_EQ(harness.RunToEnd(name).state(), v1::SearchJob::SUCCEEDED);
    *commits = harness.store()->commits() - before;
    std::vector<std::string> state = harness.Log(name);
    const std::vector<MeasurementRecord> records = harness.sqlite()->LoadMeasurements().value();
    for (const MeasurementRecord& record : records) {
      state.push_back(absl::StrCat(record.id, " ", record.task_id, " ", record.key.metric, " ",
                                   record.value, " of ", record.sample_count));
    }
    EXPECT_THAT(harness.sqlite()->LoadParts(), IsOkAndHolds(IsEmpty()));
    return state;
  };
  int64_t commits = 0;
  int64_t ignored = 0;
  const std::vector<std::string> calm = run(0, FaultyStore::Fault::kLost, &commits);
  ASSERT_GT(commits, 12);
  for (const FaultyStore::Fault fault :
       {FaultyStore::Fault::kLost, FaultyStore::Fault::kUnanswered}) {
    for (int64_t at = 1; at <= commits; ++at) {
      const std::vector<std::string> killed = run(at, fault, &ignored);
      ASSERT_EQ(killed.size(), calm.size()) << "killed at commit " << at;
      for (size_t i = 0; i < calm.size(); ++i) {
        ASSERT_EQ(killed[i], calm[i]) << "killed at commit " << at;
      }
    }
  }
}

}  // namespace
}  // namespace forall
