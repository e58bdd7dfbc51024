// SPDX-License-Identifier: Apache-2.0
#include "search/controller/job_fold.h"

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/testing/matchers.h"
#include "gtest/gtest.h"
#include "search/controller/job_validator.h"
#include "space/family.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;

// A job over exact costs, so that a trial can be decided without a measurement.
class JobFoldTest : public ::testing::Test {
 protected:
  JobFoldTest() : family_(FindFamily("fashion_mnist").value()) {
    v1::SearchJobSpec spec;
    spec.set_supernet("supernets/fashion_mnist");
    spec.add_objectives()->set_metric("params");
    spec.add_objectives()->set_metric("macs");
    spec.mutable_budget()->set_max_trials(10);
    FillDefaults("fashion_mnist", &spec);
    plan_ = JobPlan::Create(spec, family_).value();
  }

  JobFold NewFold() const {
    JobRecord record;
    record.id = 1;
    return JobFold(record, plan_, &index_);
  }
  static absl::Status Apply(JobFold* fold, JobEvent event) {
    event.sequence = fold->sequence() + 1;
    return fold->Apply(event);
  }
  static absl::Status SetJob(JobFold* fold, JobState state) {
    return Apply(fold, {.kind = "state", .state = static_cast<int>(state)});
  }
  static absl::Status SetTrial(JobFold* fold, TrialState state) {
    return Apply(fold, {.kind = "decided", .trial = 1, .state = static_cast<int>(state)});
  }
  absl::Status Propose(JobFold* fold) const {
    return Apply(fold, {.kind = "proposed",
                        .trial = static_cast<int64_t>(fold->trials().size()) + 1,
                        .trial_id = 1,
                        .choices = family_->search_space().Smallest().choices});
  }

  std::shared_ptr<const Family> family_;
  std::shared_ptr<const JobPlan> plan_;
  MeasurementIndex index_;
};

TEST_F(JobFoldTest, Invariant3JobMovesOnlyAlongTheListedEdges) {
  using enum JobState;
  const std::vector<JobState> all = {kRunning,   kPaused,    kFinalizing,
                                     kSucceeded, kCancelled, kFailed};
  // Ways to each state, and where each may go, as resources.proto says.
  const std::map<JobState, std::vector<JobState>> way = {{kRunning, {}},
                                                         {kPaused, {kPaused}},
                                                         {kFinalizing, {kFinalizing}},
                                                         {kSucceeded, {kFinalizing, kSucceeded}},
                                                         {kCancelled, {kCancelled}},
                                                         {kFailed, {kFailed}}};
  const std::map<JobState, std::set<JobState>> edges = {
      {kRunning, {kPaused, kFinalizing, kCancelled, kFailed}},
      {kPaused, {kRunning, kCancelled, kFailed}},
      {kFinalizing, {kSucceeded, kCancelled, kFailed}},
      {kSucceeded, {}},
      {kCancelled, {}},
      {kFailed, {}}};
  for (const JobState from : all) {
    for (const JobState to : all) {
      JobFold fold = NewFold();
      FORALL_ASSERT_OK(Apply(&fold, {.kind = "submitted"}));
      for (const JobState step : way.at(from)) FORALL_ASSERT_OK(SetJob(&fold, step));
      ASSERT_EQ(fold.record().state, from);
      const int64_t before = fold.sequence();
      const absl::Status moved = SetJob(&fold, to);
      const std::string what = absl::StrCat(static_cast<int>(from), " to ", static_cast<int>(to));
      if (edges.at(from).count(to) == 1) {
        EXPECT_THAT(moved, IsOk()) << what;
        EXPECT_EQ(fold.record().state, to);
      } else {
        EXPECT_THAT(moved, StatusIs(absl::StatusCode::kDataLoss)) << what;
        EXPECT_EQ(fold.record().state, from);
        EXPECT_EQ(fold.sequence(), before) << "a refused event is no event";
      }
      EXPECT_EQ(fold.ended(), edges.at(fold.record().state).empty());
    }
  }
}

TEST_F(JobFoldTest, Invariant3TrialMovesOnlyAlongTheListedEdges) {
  using enum TrialState;
  const std::map<TrialState, std::set<TrialState>> edges = {
      {kActive, {kMeasured, kInfeasible, kFailed, kCancelled}},
      {kMeasured, {kInfeasible}},  // when final numbers break a limit
      {kInfeasible, {}},
      {kFailed, {}},
      {kCancelled, {}}};
  for (const auto& [from, allowed] : edges) {
    for (const auto& [to, unused] : edges) {
      JobFold fold = NewFold();
      FORALL_ASSERT_OK(Propose(&fold));
      if (from != kActive) {
        FORALL_ASSERT_OK(SetTrial(&fold, from));
      }
      const absl::Status moved = SetTrial(&fold, to);
      EXPECT_EQ(moved.ok(), allowed.count(to) == 1)
          << static_cast<int>(from) << " to " << static_cast<int>(to) << ": " << moved;
      EXPECT_EQ(fold.FindTrial(1)->record.state, moved.ok() ? to : from);
    }
  }
}

TEST_F(JobFoldTest, EventsThatDoNotFollowAreDataLoss) {
  JobFold fold = NewFold();
  const auto refused = StatusIs(absl::StatusCode::kDataLoss);
  EXPECT_THAT(fold.Apply({.kind = "submitted", .sequence = 2}), refused);
  EXPECT_THAT(Apply(&fold, {.kind = "decided", .trial = 1, .state = 2}), refused);
  EXPECT_THAT(Apply(&fold, {.kind = "proposed", .trial = 2}), refused);
  FORALL_ASSERT_OK(Propose(&fold));
  EXPECT_THAT(Propose(&fold), refused) << "the same network again";
  EXPECT_THAT(Apply(&fold, {.kind = "sneezed", .trial = 1}), refused);
  EXPECT_THAT(Apply(&fold, {.kind = "measured", .trial = 1, .measurements = {7}}), refused);
  EXPECT_THAT(Apply(&fold, {.kind = "bound", .target = 0}), refused);
}

// docs/adr/0005-finalists.md: the finalists' mean is the anchor, half of the rest is luck.
TEST_F(JobFoldTest, ScreenedAccuracyIsComparedAsHalfAsFarFromTheFinalists) {
  v1::SearchJobSpec spec;
  spec.set_supernet("supernets/fashion_mnist");
  spec.add_objectives()->set_metric("accuracy_top1");
  spec.add_objectives()->set_metric("macs");
  spec.mutable_budget()->set_max_trials(10);
  spec.mutable_fidelity()->set_screening_images(1000);
  FillDefaults("fashion_mnist", &spec);
  const auto plan = JobPlan::Create(spec, family_).value();
  MeasurementIndex index;
  int64_t next_id = 0;
  const auto add = [&](double value) {
    MeasurementRecord record;
    record.id = ++next_id;
    record.key.metric = "accuracy_top1";
    record.value = value;
    index.Add(record);
    return record.id;
  };
  JobRecord record;
  record.id = 1;
  JobFold fold(record, plan, &index);
  FORALL_ASSERT_OK(Apply(&fold, {.kind = "submitted"}));
  // From small to large: screened 93, 94, 95.
  const std::vector<double> screened = {93, 94, 95};
  for (int64_t trial = 1; trial <= 3; ++trial) {
    Architecture architecture = family_->search_space().Smallest();
    architecture.choices[*family_->search_space().FindDimension("r")] =
        static_cast<int32_t>(trial) - 1;
    FORALL_ASSERT_OK(Apply(
        &fold,
        {.kind = "proposed", .trial = trial, .trial_id = trial, .choices = architecture.choices}));
    FORALL_ASSERT_OK(Apply(&fold, {.kind = "measured",
                                   .trial = trial,
                                   .measurements = {add(screened[static_cast<size_t>(trial) - 1])},
                                   .fidelity = "screening"}));
    FORALL_ASSERT_OK(Apply(
        &fold,
        {.kind = "decided", .trial = trial, .state = static_cast<int>(TrialState::kMeasured)}));
  }
  EXPECT_EQ(fold.FinalEstimate("accuracy_top1", 95), 95) << "nobody has final numbers";
  EXPECT_EQ(fold.frontier().size(), 3u);
  const auto finally = [&](int64_t trial, double value) {
    return Apply(
        &fold,
        {.kind = "measured", .trial = trial, .measurements = {add(value)}, .fidelity = "final"});
  };
  FORALL_ASSERT_OK(finally(3, 93.2));
  EXPECT_DOUBLE_EQ(fold.FinalEstimate("accuracy_top1", 95), 93.2);
  EXPECT_DOUBLE_EQ(fold.FinalEstimate("accuracy_top1", 93), 92.2);
  FORALL_ASSERT_OK(finally(1, 92.4));
  // Anchors: finals 92.8, screened 94.
  EXPECT_DOUBLE_EQ(fold.FinalEstimate("accuracy_top1", 94), 92.8);
  EXPECT_DOUBLE_EQ(fold.FinalEstimate("macs", 94), 94) << "exact costs have no luck";
  EXPECT_EQ(fold.frontier(), (std::vector<int64_t>{3, 2, 1}));
  // The middle one turns out to be no better than the small one.
  FORALL_ASSERT_OK(finally(2, 92.4));
  EXPECT_EQ(fold.frontier(), (std::vector<int64_t>{3, 1}));
}

}  // namespace
}  // namespace forall
