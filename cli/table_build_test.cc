// SPDX-License-Identifier: Apache-2.0
#include "cli/table_build.h"

#include <algorithm>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/testing/matchers.h"
#include "cli/network_timings.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "space/identity.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// A controller whose worker does so many subjects per second of the clock.
class FakeMeasurer {
 public:
  explicit FakeMeasurer(FakeClock* clock) : clock_(clock) {
    answer_.mutable_device()->set_name("devices/pc");
    answer_.mutable_device()->set_fingerprint("f1");
    answer_.mutable_profile()->set_hash("p1");
  }

  absl::StatusOr<v1::MeasureNetworksResponse> Ask(const v1::MeasureNetworksRequest& request) {
    ++calls_;
    largest_ = std::max(largest_, request.subjects_size());
    if (!fail_.empty()) {
      const absl::Status status = fail_.back();
      fail_.pop_back();
      if (!status.ok()) return status;
    }
    v1::MeasureNetworksResponse answer = answer_;
    int budget = per_call_;
    for (const v1::NetworkSubject& subject : request.subjects()) {
      const int id = subject.part();
      if (known_.count(id) == 0 && budget > 0) {
        --budget;
        known_.insert(id);
        ++measured_;
      }
      v1::NetworkTiming* timing = answer.add_timings();
      timing->set_state(known_.count(id) == 0 ? v1::NetworkTiming::WAITING
                        : id == broken_       ? v1::NetworkTiming::FAILED
                                              : v1::NetworkTiming::MEASURED);
      timing->mutable_measurement()->set_value(id);
    }
    return answer;
  }
  AskTimings asker() {
    return [this](const v1::MeasureNetworksRequest& request) { return Ask(request); };
  }

  FakeClock* const clock_;
  v1::MeasureNetworksResponse answer_;
  std::vector<absl::Status> fail_;  // the last one first
  std::set<int> known_;
  int per_call_ = 7;
  int broken_ = -1;
  int calls_ = 0;
  int measured_ = 0;
  int largest_ = 0;
};

std::vector<v1::NetworkSubject> Subjects(int count) {
  std::vector<v1::NetworkSubject> subjects(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) subjects[static_cast<size_t>(i)].set_part(i);
  return subjects;
}

TEST(MeasureAllTest, AsksUntilEverythingIsThere) {
  FakeClock clock;
  FakeMeasurer measurer(&clock);
  measurer.broken_ = 44;
  measurer.per_call_ = 100;
  std::ostringstream out;
  TimingProgress progress(&out, /*columns=*/0);
  FORALL_ASSERT_OK_AND_ASSIGN(const NetworkTimings timings,
                              MeasureAll(measurer.asker(), {}, Subjects(1500), &progress, &clock));
  ASSERT_EQ(timings.timings.size(), 1500u);
  for (int i = 0; i < 1500; ++i) {
    EXPECT_EQ(timings.timings[static_cast<size_t>(i)].measurement().value(), i);
    EXPECT_EQ(timings.timings[static_cast<size_t>(i)].state(),
              i == 44 ? v1::NetworkTiming::FAILED : v1::NetworkTiming::MEASURED);
  }
  EXPECT_EQ(timings.device.name(), "devices/pc");
  EXPECT_LE(measurer.largest_, 512);
  EXPECT_EQ(measurer.measured_, 1500);
  EXPECT_THAT(out.str(), AllOf(HasSubstr("1500/1500 measured"), HasSubstr("ETA")));
}

TEST(MeasureAllTest, WhatIsKnownTakesNoTime) {
  FakeClock clock;
  FakeMeasurer measurer(&clock);
  for (int i = 0; i < 1500; ++i) measurer.known_.insert(i);
  const int64_t before = clock.SteadyNanos();
  FORALL_ASSERT_OK(MeasureAll(measurer.asker(), {}, Subjects(1500), nullptr, &clock).status());
  EXPECT_EQ(clock.SteadyNanos(), before);
  EXPECT_EQ(measurer.calls_, 3);
}

TEST(MeasureAllTest, AFirstErrorIsTheUsersALaterOneMayPass) {
  FakeClock clock;
  FakeMeasurer measurer(&clock);
  measurer.fail_ = {absl::NotFoundError("no such device")};
  EXPECT_THAT(MeasureAll(measurer.asker(), {}, Subjects(20), nullptr, &clock),
              StatusIs(absl::StatusCode::kNotFound));
  // The controller restarts after the first answer, and the worker after it.
  measurer.fail_ = {absl::FailedPreconditionError("no worker has registered"),
                    absl::UnavailableError("gone"), absl::OkStatus()};
  FORALL_ASSERT_OK(MeasureAll(measurer.asker(), {}, Subjects(20), nullptr, &clock).status());
  // For good.
  measurer.known_.clear();
  measurer.fail_.assign(200, absl::UnavailableError("gone"));
  measurer.fail_.push_back(absl::OkStatus());
  EXPECT_THAT(MeasureAll(measurer.asker(), {}, Subjects(20), nullptr, &clock),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST(MeasureAllTest, AnErrorBeginsALineOfItsOwn) {
  FakeClock clock;
  FakeMeasurer measurer(&clock);
  measurer.per_call_ = 5;
  std::ostringstream out;
  TimingProgress progress(&out, /*columns=*/60);
  measurer.fail_ = {absl::InvalidArgumentError("batch"), absl::OkStatus(), absl::OkStatus()};
  EXPECT_THAT(MeasureAll(measurer.asker(), {}, Subjects(20), &progress, &clock),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(out.str().back(), '\n');
  EXPECT_THAT(out.str(), HasSubstr("/20 measured"));
  for (const absl::string_view line : absl::StrSplit(out.str(), absl::ByAnyChar("\r\n"))) {
    EXPECT_LT(line.size(), 60u) << "one less than the terminal has";
  }
}

// A device may have workers with different profiles, of which any may be first in an answer.
TEST(MeasureAllTest, KeepsToTheFirstProfile) {
  FakeClock clock;
  FakeMeasurer measurer(&clock);
  std::vector<std::string> profiles;
  const auto ask = [&](const v1::MeasureNetworksRequest& request) {
    profiles.push_back(request.profile());
    EXPECT_EQ(request.device(), profiles.size() == 1 ? "" : "devices/pc");
    measurer.answer_.mutable_profile()->set_hash(request.profile().empty() ? "p2"
                                                                           : request.profile());
    if (profiles.size() == 1) measurer.answer_.mutable_profile()->set_hash("p1");
    return measurer.Ask(request);
  };
  v1::MeasureNetworksRequest common;
  common.set_device_class("x86-64");
  FORALL_ASSERT_OK(MeasureAll(ask, common, Subjects(20), nullptr, &clock).status());
  EXPECT_EQ(profiles, (std::vector<std::string>{"", "p1", "p1"}));
}

TEST(MeasureAllTest, ADeviceThatChangesEndsIt) {
  FakeClock clock;
  FakeMeasurer measurer(&clock);
  const auto ask = [&](const v1::MeasureNetworksRequest& request) {
    if (measurer.calls_ == 2) measurer.answer_.mutable_device()->set_fingerprint("f2");
    return measurer.Ask(request);
  };
  EXPECT_THAT(MeasureAll(ask, {}, Subjects(100), nullptr, &clock),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("start anew")));
}

TEST(TimingLineTest, FitsTheTerminal) {
  EXPECT_EQ(TimingLine(5, 10, absl::Seconds(70), "", 100),
            "[##########----------]  5/10 measured  ETA 1m10s");
  EXPECT_EQ(TimingLine(10, 10, std::nullopt, "a worker", 100),
            "[####################]  10/10 measured  waiting for a worker");
  EXPECT_EQ(TimingLine(5, 10, std::nullopt, std::string(200, 'x'), 60).size(), 60u);
}

TEST(ParseBoundTest, SharesAndPercent) {
  EXPECT_DOUBLE_EQ(*ParseBound("10%"), 0.1);
  EXPECT_DOUBLE_EQ(*ParseBound(" 2.5 % "), 0.025);
  EXPECT_DOUBLE_EQ(*ParseBound("0.1"), 0.1);
  for (const char* bad : {"10", "0", "0%", "-1%", "101%", "x", "", "%", "nan"}) {
    EXPECT_THAT(ParseBound(bad), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--bound")))
        << bad;
  }
}

TEST(SampleNetworksTest, DifferentOnesInAnOrderThatStays) {
  const auto family = FindFamily("fashion_mnist").value();
  const SearchSpace& space = family->search_space();
  std::set<std::string> seen;
  FORALL_ASSERT_OK_AND_ASSIGN(const auto few, SampleNetworks(*family, {20, 28}, 10, 1, "a", &seen));
  EXPECT_EQ(seen.size(), 10u);
  std::set<std::string> other;
  FORALL_ASSERT_OK_AND_ASSIGN(const auto many,
                              SampleNetworks(*family, {20, 28}, 50, 1, "a", &other));
  ASSERT_EQ(many.size(), 50u);
  EXPECT_EQ(std::vector<Architecture>(many.begin(), many.begin() + 10), few);
  FORALL_ASSERT_OK_AND_ASSIGN(const auto fresh,
                              SampleNetworks(*family, {20, 28}, 50, 1, "b", &other));
  EXPECT_EQ(other.size(), 100u) << "none is in both";
  for (const Architecture& architecture : fresh) {
    const int32_t resolution = space.Value(architecture, *space.FindDimension("r"));
    EXPECT_TRUE(resolution == 20 || resolution == 28);
    EXPECT_EQ(space.Canonical(architecture), architecture);
  }
  EXPECT_THAT(SampleNetworks(*family, {21}, 1, 1, "a", &seen),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

LatencyTable MeasuredTable() {
  LatencyTable table;
  table.conditions = {"my-label", "onnxruntime 1.30, cpu", 1, 8, "2026-11-29"};
  table.resolutions = {{20, {}}, {28, {}}};
  table.provenance = {{"measured_device", "devices/pc"},
                      {"device_class", "x86-64"},
                      {"profile", "p1"},
                      {"recipe", "fp16"},
                      {"latency_profile", "final"},
                      {"seed", "3"},
                      {"fit_networks", "20"},
                      {"validation_networks", "15"}};
  return table;
}

TEST(TakeFromTableTest, WhatIsNotSaidIsTheTables) {
  MeasureOptions options;
  FORALL_ASSERT_OK(TakeFromTable(MeasuredTable(), &options));
  EXPECT_EQ(options.device, "devices/pc");
  EXPECT_EQ(options.runtime_profile, "p1");
  EXPECT_EQ(options.profile, "final");
  EXPECT_EQ(options.recipe, "fp16");
  EXPECT_EQ(options.batch, 8);
  // Said alike, and for how long to measure otherwise.
  for (const char* device : {"pc", "devices/pc", "class:x86-64"}) {
    MeasureOptions said{.device = device, .profile = "screening", .recipe = "fp16", .batch = 8};
    FORALL_ASSERT_OK(TakeFromTable(MeasuredTable(), &said));
    EXPECT_EQ(said.device, "devices/pc");
    EXPECT_EQ(said.profile, "screening");
  }
  LatencyTable imported;
  imported.conditions = MeasuredTable().conditions;
  options = {};
  FORALL_ASSERT_OK(TakeFromTable(imported, &options));
  EXPECT_EQ(options.device, "my-label");
  EXPECT_EQ(options.runtime_profile, "");
  EXPECT_EQ(options.profile, "standard");
  EXPECT_EQ(options.recipe, "fp32");
  EXPECT_EQ(options.batch, 8);
  options = {.device = "board"};
  FORALL_ASSERT_OK(TakeFromTable(imported, &options));
  EXPECT_EQ(options.device, "board");
}

TEST(TakeFromTableTest, RefusesWhatContradictsTheTable) {
  const std::pair<MeasureOptions, const char*> cases[] = {
      {{.device = "laptop"}, "--device laptop: the table is of devices/pc"},
      {{.device = "class:arm"}, "--device class:arm"},
      {{.recipe = "fp32"}, "--recipe fp32: the table is of fp16"},
      {{.batch = 1}, "--batch 1: the table is of batch 8"}};
  for (const auto& [said, words] : cases) {
    MeasureOptions options = said;
    EXPECT_THAT(TakeFromTable(MeasuredTable(), &options),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(words)));
  }
}

TEST(NetworksOfTest, AreThoseThatItWasMadeWith) {
  const auto family = FindFamily("fashion_mnist").value();
  std::set<std::string> made_with;
  FORALL_ASSERT_OK(SampleNetworks(*family, {20, 28}, 15, 3, "validation", &made_with).status());
  FORALL_ASSERT_OK(SampleNetworks(*family, {20, 28}, 20, 3, "fit", &made_with).status());
  FORALL_ASSERT_OK_AND_ASSIGN(const std::set<std::string> networks,
                              NetworksOf(MeasuredTable(), *family));
  EXPECT_EQ(networks, made_with);
  for (const auto& [name, value] :
       {std::pair("seed", "18446744073709551615"), std::pair("seed", "-1"),
        std::pair("seed", "four"), std::pair("fit_networks", "1000000000000"),
        std::pair("validation_networks", "10001")}) {
    LatencyTable table = MeasuredTable();
    table.provenance[name] = value;
    EXPECT_THAT(NetworksOf(table, *family),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(name)))
        << value;
  }
  EXPECT_THAT(NetworksOf(LatencyTable(), *family),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no resolution")));
}

TEST(CheckSampledTest, ASpaceThatIsTooSmallIsRefusedBeforeAnythingIsMeasured) {
  const auto family = FindFamily("fashion_mnist").value();
  FORALL_EXPECT_OK(CheckSampled(*family, 10, 10, 100));
  FORALL_EXPECT_OK(CheckSampled(*family, 10, 0, 0));
  EXPECT_THAT(CheckSampled(*family, 30, 9, 100),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       AllOf(HasSubstr("9 others"), HasSubstr("--fit-subnets 0"))));
  EXPECT_THAT(CheckSampled(*family, 9, 0, 0),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("9 were found")));
}

TEST(FitIfEnoughTest, TooFewNetworksAreNoCorrectionAndNoError) {
  LatencyTable table;
  table.resolutions[20] = {{"Conv-input:20x20x1-output:10x10x8", {.mean_ms = 1}}};
  const TimedNetwork network = {{"Conv-input:20x20x1-output:10x10x8"}, 20, 1.1};
  std::string why_not;
  FORALL_ASSERT_OK_AND_ASSIGN(const std::optional<TableCorrection> none,
                              FitIfEnough(table, std::vector<TimedNetwork>(9, network), &why_not));
  EXPECT_FALSE(none.has_value());
  EXPECT_THAT(why_not, HasSubstr("only 9 networks"));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::optional<TableCorrection> fitted,
                              FitIfEnough(table, std::vector<TimedNetwork>(10, network), &why_not));
  EXPECT_TRUE(fitted.has_value());
}

TEST(QualityTextTest, ShowsBothBesideEachOther) {
  TableValidation validation;
  validation.networks = 30;
  validation.bound = 0.1;
  validation.additive.mean_relative_error = 0.179;
  EXPECT_THAT(QualityText(validation), AllOf(HasSubstr("17.9 %"), Not(HasSubstr("corrected"))));
  validation.corrected = TableQuality();
  validation.corrected->mean_relative_error = 0.003;
  validation.corrected->kendall_tau = 0.985;
  EXPECT_THAT(QualityText(validation),
              AllOf(HasSubstr("30 networks"), HasSubstr("additive  corrected"),
                    HasSubstr("17.9 %      0.3 %"), HasSubstr("0.9850"),
                    HasSubstr("within the bound, 10 %")));
}

}  // namespace
}  // namespace forall
