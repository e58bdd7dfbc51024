// SPDX-License-Identifier: Apache-2.0
#include "search/controller/job_fold.h"

#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/testing/matchers.h"
#include "gtest/gtest.h"
#include "search/controller/job_controller.h"
#include "search/controller/job_event.h"
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

  JobFold NewFold() {
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
      EXPECT_EQ(fold.FindTrial(1)->state, moved.ok() ? to : from);
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

// Numbers of states come out of a file.
TEST_F(JobFoldTest, StatesThatDoNotExistAreDataLoss) {
  for (const int state : {0, -1, 6, 9, 1 << 20, std::numeric_limits<int>::min()}) {
    JobFold fold = NewFold();
    FORALL_ASSERT_OK(Propose(&fold));
    EXPECT_THAT(SetTrial(&fold, static_cast<TrialState>(state)),
                StatusIs(absl::StatusCode::kDataLoss))
        << state;
    EXPECT_THAT(Apply(&fold, {.kind = "failed", .trial = 1, .state = state, .last = true}),
                StatusIs(absl::StatusCode::kDataLoss))
        << state;
    EXPECT_THAT(SetJob(&fold, static_cast<JobState>(state == 6 ? 7 : state)),
                StatusIs(absl::StatusCode::kDataLoss))
        << state;
  }
}

// The log is a text in a file: each field has its type, or the event is damaged.
TEST(JobEventTest, PayloadsThatNobodyWroteAreDataLoss) {
  const JobEvent event = {.kind = "proposed",
                          .sequence = 3,
                          .trial = std::numeric_limits<int64_t>::max(),
                          .target = std::numeric_limits<int>::min(),
                          .last = true,
                          .choices = {0, 2},
                          .values = {1, 0.5},
                          .subnets = {{{1, 2}, {0, 7}}}};
  const EventRecord good = ToRecord(1, event);
  FORALL_ASSERT_OK_AND_ASSIGN(const JobEvent back, FromRecord(good));
  EXPECT_EQ(back.trial, event.trial);
  EXPECT_EQ(back.target, event.target);
  EXPECT_TRUE(back.last);
  EXPECT_EQ(back.choices, event.choices);
  EXPECT_EQ(back.values, event.values);
  EXPECT_EQ(back.subnets, event.subnets);
  for (const char* payload : {"",
                              "[]",
                              "{",
                              "7",
                              R"({"trial": 1.5})",
                              R"({"trial": 1e300})",
                              R"({"trial": true})",
                              R"({"trial": 9223372036854775808})",
                              R"({"target": 2147483648})",
                              R"({"target": -1e99})",
                              R"({"last": 1})",
                              R"({"choices": 3})",
                              R"({"choices": [4294967296]})",
                              R"({"choices": [null]})",
                              R"({"values": ["1"]})",
                              R"({"message": ["a"]})",
                              R"({"subnets": [[[1]]]})",
                              R"({"subnets": [[[1], [2], [3]]]})",
                              R"({"subnets": {"a": 1}})",
                              R"({"measurements": [1e18]})"}) {
    EventRecord bad = good;
    bad.payload = payload;
    EXPECT_THAT(FromRecord(bad).status(), StatusIs(absl::StatusCode::kDataLoss)) << payload;
  }
}

// What was expected comes back from the stored log, exactly as it was written.
TEST_F(JobFoldTest, KeepsWhatTheSamplerExpected) {
  v1::SearchJobSpec spec;
  spec.set_supernet("supernets/fashion_mnist");
  spec.add_objectives()->set_metric("accuracy_top1");
  spec.add_objectives()->set_metric("macs");
  spec.mutable_budget()->set_max_trials(10);
  FillDefaults("fashion_mnist", &spec);
  const auto plan = JobPlan::Create(spec, family_).value();
  const auto expected_of = [&](const std::vector<Prediction>& predicted) {
    JobEvent event{.kind = "proposed",
                   .sequence = 1,
                   .trial = 1,
                   .trial_id = 1,
                   .choices = family_->search_space().Smallest().choices};
    SetExpected(*plan, predicted, &event);
    const absl::StatusOr<JobEvent> stored = FromRecord(ToRecord(1, event));
    FORALL_EXPECT_OK(stored.status());
    JobRecord record;
    record.id = 1;
    JobFold fold(record, plan, &index_);
    FORALL_EXPECT_OK(fold.Apply(stored.value_or(JobEvent{})));
    return fold.trials().empty() ? std::vector<Prediction>() : fold.trials()[0].expected;
  };
  // Oriented, lower is better: 91.3 % is -91.3.
  EXPECT_EQ(expected_of({{-91.3, 0.7}, {1e6 / 3, 0}}),
            (std::vector<Prediction>{{91.3, 0.7}, {1e6 / 3, 0}}));
  EXPECT_EQ(expected_of({}), std::vector<Prediction>()) << "most samplers predict nothing";
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(expected_of({{nan, 1}, {1, 0}}), std::vector<Prediction>());
  EXPECT_EQ(expected_of({{-91, infinity}, {1, 0}}), std::vector<Prediction>());
  EXPECT_EQ(expected_of({{-91, 1}}), std::vector<Prediction>());
  EXPECT_EQ(expected_of({{-91, 1}, {1, 0}, {1, 0}}), std::vector<Prediction>());
}

TEST_F(JobFoldTest, LoadsProposalsOfBeforeTheLedgerAndRefusesHalfOfOne) {
  const std::string choices = absl::StrJoin(family_->search_space().Smallest().choices, ",");
  const auto load = [&](const std::string& more) {
    JobFold fold = NewFold();
    const absl::StatusOr<JobEvent> event =
        FromRecord({1, 1, "proposed",
                    absl::StrCat(R"({"trial":1,"trial_id":1,"choices":[)", choices, "]", more, "}"),
                    absl::UnixEpoch()});
    return event.ok() ? fold.Apply(*event) : event.status();
  };
  EXPECT_THAT(load(""), IsOk());
  EXPECT_THAT(load(R"(,"expected":[1,2],"deviations":[0,0])"), IsOk());
  const auto refused = StatusIs(absl::StatusCode::kDataLoss);
  EXPECT_THAT(load(R"(,"expected":[1,2])"), refused);
  EXPECT_THAT(load(R"(,"expected":[1],"deviations":[0])"), refused);
  EXPECT_THAT(load(R"(,"expected":[null,2],"deviations":[0,0])"), refused);
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

// docs/adr/0006-racing.md, on a job over accuracy, MACs and a latency.
class RaceFoldTest : public JobFoldTest {
 protected:
  RaceFoldTest() {
    v1::SearchJobSpec spec;
    spec.set_supernet("supernets/fashion_mnist");
    spec.add_objectives()->set_metric("accuracy_top1");
    spec.add_objectives()->set_metric("macs");
    spec.add_objectives()->set_metric("latency_ms");
    spec.mutable_budget()->set_max_trials(10);
    spec.mutable_fidelity()->add_tiers(64);
    spec.mutable_fidelity()->add_tiers(128);
    FillDefaults("fashion_mnist", &spec);
    race_plan_ = JobPlan::Create(spec, family_).value();
    JobRecord record;
    record.id = 1;
    fold_ = std::make_unique<JobFold>(record, race_plan_, &index_);
    EXPECT_THAT(Apply(fold_.get(), {.kind = "submitted"}), IsOk());
    EXPECT_THAT(Apply(fold_.get(), {.kind = "bound", .target = 0, .device = "pc"}), IsOk());
  }

  int64_t AddMeasurement(const std::string& metric, double low, double high, int64_t samples,
                         const std::string& bitmap = "") {
    MeasurementRecord record;
    record.id = index_.highest_id() + 1;
    record.key.metric = metric;
    record.value = (low + high) / 2;
    record.low = low;
    record.high = high;
    record.sample_count = samples;
    index_.Add(record);
    index_.AddBitmap(record.id, bitmap);
    return record.id;
  }
  // The next larger subnet, wrong on the first `wrong` of its images.
  int64_t Propose(int wrong, double latency_low, double latency_high) {
    const int64_t trial = static_cast<int64_t>(fold_->trials().size()) + 1;
    Architecture architecture = family_->search_space().Smallest();
    architecture.choices[*family_->search_space().FindDimension("r")] =
        static_cast<int32_t>(trial) - 1;
    EXPECT_THAT(Apply(fold_.get(), {.kind = "proposed",
                                    .trial = trial,
                                    .trial_id = trial,
                                    .choices = architecture.choices}),
                IsOk());
    Accuracy(trial, 64, wrong);
    EXPECT_THAT(
        Apply(fold_.get(),
              {.kind = "measured",
               .trial = trial,
               .target = 0,
               .measurements = {AddMeasurement("latency_ms", latency_low, latency_high, 12)},
               .fidelity = "screening"}),
        IsOk());
    return trial;
  }
  void Accuracy(int64_t trial, int images, int wrong) {
    std::string bitmap(static_cast<size_t>(images) / 8, '\xff');
    for (int i = 0; i < wrong; ++i) bitmap[i / 8] &= static_cast<char>(~(1u << (i % 8)));
    const double value = 100.0 * (images - wrong) / images;
    EXPECT_THAT(
        Apply(fold_.get(),
              {.kind = "measured",
               .trial = trial,
               .measurements = {AddMeasurement("accuracy_top1", value, value, images, bitmap)},
               .fidelity = "screening"}),
        IsOk());
  }
  absl::Status Decide(int64_t trial, TrialState state, int64_t stopped_by = 0) {
    return Apply(fold_.get(), {.kind = "decided",
                               .trial = trial,
                               .state = static_cast<int>(state),
                               .stopped_by = stopped_by});
  }
  int64_t FindBetter(int64_t trial) { return fold_->FindBetter(*fold_->FindTrial(trial)); }

  std::shared_ptr<const JobPlan> race_plan_;
  std::unique_ptr<JobFold> fold_;
};

TEST_F(RaceFoldTest, OnlyWhoIsEstablishedToBeDominatedIsStopped) {
  FORALL_ASSERT_OK(Decide(Propose(0, 1.0, 1.1), TrialState::kMeasured));
  // One rival, two tiers: stopped at p <= 0.025. Five images: 1 in 32; six: 1 in 64.
  EXPECT_EQ(FindBetter(Propose(5, 1.2, 1.3)), 0);
  EXPECT_EQ(FindBetter(Propose(6, 1.2, 1.3)), 1);
}

TEST_F(RaceFoldTest, ALatencyThatCouldBeLowerKeepsATrialInTheRace) {
  FORALL_ASSERT_OK(Decide(Propose(0, 1.0, 1.1), TrialState::kMeasured));
  EXPECT_EQ(FindBetter(Propose(30, 1.05, 1.2)), 0) << "their intervals overlap";
  EXPECT_EQ(FindBetter(Propose(30, 1.1, 1.2)), 1);
}

TEST_F(RaceFoldTest, TrialsClimbTierByTier) {
  const int64_t trial = Propose(3, 1, 1.1);
  EXPECT_EQ(fold_->ScreeningImages(*fold_->FindTrial(trial)), 64);
  FORALL_ASSERT_OK(Apply(fold_.get(), {.kind = "climbed", .trial = trial}));
  EXPECT_EQ(fold_->ScreeningImages(*fold_->FindTrial(trial)), 128);
  EXPECT_THAT(Apply(fold_.get(), {.kind = "climbed", .trial = trial}),
              StatusIs(absl::StatusCode::kDataLoss))
      << "not before the tier is measured";
  Accuracy(trial, 128, 3);
  EXPECT_FALSE(fold_->HasNextTier(*fold_->FindTrial(trial)));
  EXPECT_THAT(Apply(fold_.get(), {.kind = "climbed", .trial = trial}),
              StatusIs(absl::StatusCode::kDataLoss))
      << "it was the last";
}

TEST_F(RaceFoldTest, SplitWithoutMoreImagesHasNoNextTier) {
  const int64_t trial = Propose(0, 1, 1.1);
  Accuracy(trial, 32, 3);
  EXPECT_FALSE(fold_->HasNextTier(*fold_->FindTrial(trial)));
}

TEST_F(RaceFoldTest, StoppedTrialComesBackWhenTheOneThatStoppedItBreaksALimit) {
  FORALL_ASSERT_OK(Decide(Propose(0, 1.0, 1.1), TrialState::kMeasured));
  const int64_t stopped = Propose(20, 1.2, 1.3);
  EXPECT_THAT(Decide(stopped, TrialState::kMeasured, 7), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(Decide(stopped, TrialState::kMeasured, stopped),
              StatusIs(absl::StatusCode::kDataLoss));
  FORALL_ASSERT_OK(Decide(stopped, TrialState::kMeasured, 1));
  EXPECT_EQ(fold_->frontier(), (std::vector<int64_t>{1}));
  EXPECT_EQ(fold_->StoppedBy(*fold_->FindTrial(stopped)), 1);
  FORALL_ASSERT_OK(Decide(1, TrialState::kInfeasible));
  EXPECT_EQ(fold_->frontier(), (std::vector<int64_t>{stopped}));
}

}  // namespace
}  // namespace forall
