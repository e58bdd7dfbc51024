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

}  // namespace
}  // namespace forall
