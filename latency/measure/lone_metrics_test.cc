// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/lone_metrics.h"

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/testing/simulated_backend.h"

namespace forall {
namespace {

using ::forall::testing::SimulatedBackend;
using ::forall::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr double kMebibyte = 1 << 20;

// Loads models whose peaks the test says, one after the other.
class ScriptedRunner : public SessionRunner {
 public:
  explicit ScriptedRunner(std::vector<absl::StatusOr<int64_t>> peaks) : peaks_(std::move(peaks)) {}

  absl::Status Check() override { return absl::OkStatus(); }
  absl::StatusOr<SessionSamples> Run(absl::string_view, const Profile&,
                                     const std::function<bool()>&) override {
    return absl::UnimplementedError("not here");
  }
  absl::StatusOr<std::unique_ptr<LoneModel>> LoadAlone(absl::string_view model,
                                                       const std::function<bool()>&) override {
    if (model == "broken") return absl::InvalidArgumentError("this is no model");
    return std::unique_ptr<LoneModel>(new Model(peaks_[loaded_++]));
  }
  BackendDescription Describe() const override { return {}; }
  const std::string& reference_model() const override { return reference_; }
  size_t loaded() const { return loaded_; }

 private:
  class Model : public LoneModel {
   public:
    explicit Model(absl::StatusOr<int64_t> peak) : peak_(std::move(peak)) {}
    absl::StatusOr<LoneRun> RunFor(absl::Duration, const std::function<bool()>&) override {
      return LoneRun{1, {}};
    }
    absl::StatusOr<int64_t> PeakMemoryBytes() const override { return peak_; }

   private:
    const absl::StatusOr<int64_t> peak_;
  };
  const std::vector<absl::StatusOr<int64_t>> peaks_;
  const std::string reference_;
  size_t loaded_ = 0;
};

int64_t Mebibytes(double mebibytes) { return static_cast<int64_t>(mebibytes * kMebibyte); }

TEST(PeakMemoryMetricTest, EveryProcessIsOneSample) {
  ScriptedRunner runner({Mebibytes(400), Mebibytes(401), Mebibytes(402)});
  FORALL_ASSERT_OK_AND_ASSIGN(const LoneMetric peak, MeasurePeakMemory(&runner, "net", 3, {}));
  EXPECT_EQ(runner.loaded(), 3u);
  EXPECT_DOUBLE_EQ(peak.estimate.value, 401);
  // Student's quantile for two degrees of freedom, a standard deviation of 1, one further value.
  EXPECT_NEAR(peak.estimate.high - 401, 4.303 * std::sqrt(4.0 / 3), 0.01);
  EXPECT_NEAR(401 - peak.estimate.low, 4.303 * std::sqrt(4.0 / 3), 0.01);
  EXPECT_EQ(peak.samples, 3);
  EXPECT_EQ(peak.verdict, Verdict::kTrusted);
  EXPECT_THAT(peak.reasons, IsEmpty());
}

TEST(PeakMemoryMetricTest, TheSameEachTimeIsStillNoBetterThanTheKernelCounts) {
  ScriptedRunner runner({Mebibytes(400), Mebibytes(400), Mebibytes(400)});
  FORALL_ASSERT_OK_AND_ASSIGN(const LoneMetric peak, MeasurePeakMemory(&runner, "net", 3, {}));
  EXPECT_LE(peak.estimate.low, 400 - 64 * 4096 / kMebibyte);
  EXPECT_GE(peak.estimate.high, 400 + 64 * 4096 / kMebibyte);
}

TEST(PeakMemoryMetricTest, ProcessesThatDisagreeAreNoisy) {
  ScriptedRunner runner({Mebibytes(300), Mebibytes(400), Mebibytes(500)});
  FORALL_ASSERT_OK_AND_ASSIGN(const LoneMetric peak, MeasurePeakMemory(&runner, "net", 3, {}));
  EXPECT_EQ(peak.verdict, Verdict::kNoisy);
  EXPECT_THAT(peak.reasons, ElementsAre("sessions_disagree"));
  EXPECT_GE(peak.estimate.low, 0);
}

TEST(PeakMemoryMetricTest, WhatTheKernelDoesNotTellIsRejectedAndNeverNothing) {
  ScriptedRunner refused({absl::UnavailableError("no clear_refs in this kernel")});
  FORALL_ASSERT_OK_AND_ASSIGN(const LoneMetric peak, MeasurePeakMemory(&refused, "net", 3, {}));
  EXPECT_EQ(peak.verdict, Verdict::kRejected);
  EXPECT_THAT(peak.reasons, ElementsAre(HasSubstr("clear_refs")));
  ScriptedRunner nothing({0});
  FORALL_ASSERT_OK_AND_ASSIGN(const LoneMetric none, MeasurePeakMemory(&nothing, "net", 3, {}));
  EXPECT_EQ(none.verdict, Verdict::kRejected);
  EXPECT_THAT(MeasurePeakMemory(&nothing, "broken", 3, {}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

class FakeSensor : public PowerSensor {
 public:
  FakeSensor(const std::string& source, const std::string& domain, SensorKind kind,
             absl::Duration update_period, std::function<absl::StatusOr<double>()> read)
      : read_(std::move(read)) {
    description_.source = source;
    description_.domain = domain;
    description_.kind = kind;
    description_.update_period = update_period;
    description_.most_watts = 1000;
    description_.additive = true;
  }
  const SensorDescription& description() const override { return description_; }
  absl::StatusOr<double> Read() override { return read_(); }
  SensorDescription* mutable_description() { return &description_; }

 private:
  SensorDescription description_;
  const std::function<absl::StatusOr<double>()> read_;
};

// A board that draws 5 W at rest, and 15 W more while a model runs.
class EnergyTest : public ::testing::Test {
 protected:
  EnergyTest() : device_(&clock_, 1) {
    device_.Add("net", {.duration_ns = 2e6});
    LocalSessions::Options local;
    local.backend = &device_;
    local.clock = &clock_;
    local.pin_cores = false;
    sessions_ = std::make_unique<LocalSessions>(std::move(local));
  }

  double Joules(double rest_watts, double load_watts) {
    const double seconds = static_cast<double>(clock_.SteadyNanos()) * 1e-9;
    return 7 + rest_watts * seconds + load_watts * 2e-3 * static_cast<double>(device_.runs);
  }

  std::unique_ptr<FakeSensor> Counter(const std::string& domain, double rest, double load) {
    return std::make_unique<FakeSensor>(
        "rapl", domain, SensorKind::kCounter, absl::Milliseconds(1),
        [this, rest, load] { return absl::StatusOr<double>(Joules(rest, load)); });
  }

  std::unique_ptr<EnergySensors> Choose(std::vector<std::unique_ptr<FakeSensor>> sensors) {
    PowerSensors found;
    for (auto& sensor : sensors) found.Add(std::move(sensor));
    return EnergySensors::Choose(std::move(found)).value();
  }
  std::unique_ptr<EnergySensors> One(std::unique_ptr<FakeSensor> sensor) {
    std::vector<std::unique_ptr<FakeSensor>> sensors;
    sensors.push_back(std::move(sensor));
    return Choose(std::move(sensors));
  }

  absl::StatusOr<LoneMetric> Measure(const EnergySensors& sensors) {
    EnergyOptions options;
    options.sessions = sessions_.get();
    options.sensors = &sensors;
    options.clock = &clock_;
    options.background = false;
    return MeasureEnergy(options, "net", {});
  }

  FakeClock clock_;
  SimulatedBackend device_;
  std::unique_ptr<LocalSessions> sessions_;
};

TEST_F(EnergyTest, IsWhatTheModelAddsToRest) {
  const auto sensors = One(Counter("package-0", 5, 15));
  FORALL_ASSERT_OK_AND_ASSIGN(const LoneMetric energy, Measure(*sensors));
  // 15 W for 2 ms.
  EXPECT_NEAR(energy.estimate.value, 30, 0.01);
  EXPECT_LE(energy.estimate.low, energy.estimate.value);
  EXPECT_GE(energy.estimate.high, energy.estimate.value);
  EXPECT_EQ(energy.samples, 5);
  EXPECT_EQ(energy.verdict, Verdict::kTrusted);
}

TEST_F(EnergyTest, SensorsThatMayBeAddedUpAre) {
  std::vector<std::unique_ptr<FakeSensor>> both;
  both.push_back(Counter("package-0", 5, 15));
  // Memory that the model does not touch draws no more than at rest.
  both.push_back(Counter("dram", 2, 0));
  both.push_back(Counter("dram-1", 2, 1));
  const auto sensors = Choose(std::move(both));
  EXPECT_EQ(sensors->Describe(), "rapl package-0 + rapl dram + rapl dram-1");
  FORALL_ASSERT_OK_AND_ASSIGN(const LoneMetric energy, Measure(*sensors));
  EXPECT_NEAR(energy.estimate.value, 32, 0.01);
}

TEST_F(EnergyTest, ASlowSensorGetsLongerWindows) {
  auto battery =
      std::make_unique<FakeSensor>("battery", "BAT0", SensorKind::kCounter, absl::Seconds(1),
                                   [this] { return absl::StatusOr<double>(Joules(5, 15)); });
  battery->mutable_description()->additive = false;  // as the real one says
  const auto sensors = One(std::move(battery));
  const absl::Time start = clock_.Now();
  FORALL_ASSERT_OK_AND_ASSIGN(const LoneMetric energy, Measure(*sensors));
  // 20 updates and a fifth more, at rest and at work, five times.
  EXPECT_GE(clock_.Now() - start, absl::Seconds(24) * 10);
  EXPECT_NEAR(energy.estimate.value, 30, 0.01);
}

TEST_F(EnergyTest, AStillCounterIsRejectedWithItsReasonAndNeverNothing) {
  const auto sensors = One(
      std::make_unique<FakeSensor>("rapl", "package-0", SensorKind::kCounter, absl::Milliseconds(1),
                                   [] { return absl::StatusOr<double>(42.0); }));
  FORALL_ASSERT_OK_AND_ASSIGN(const LoneMetric energy, Measure(*sensors));
  EXPECT_EQ(energy.verdict, Verdict::kRejected);
  EXPECT_THAT(energy.reasons, ElementsAre(HasSubstr("rapl package-0")));
  EXPECT_EQ(energy.samples, 0);
}

TEST_F(EnergyTest, ALoadThatCannotBeToldFromRestIsRejected) {
  const auto sensors = One(Counter("package-0", 5, 0));
  FORALL_ASSERT_OK_AND_ASSIGN(const LoneMetric energy, Measure(*sensors));
  EXPECT_EQ(energy.verdict, Verdict::kRejected);
  EXPECT_THAT(energy.reasons, ElementsAre(HasSubstr("at rest")));
}

TEST_F(EnergyTest, WindowsThatAreRefusedNowAndThenAreRepeated) {
  int reading = 0;
  const auto sensors =
      One(std::make_unique<FakeSensor>("rapl", "package-0", SensorKind::kCounter,
                                       absl::Milliseconds(1), [&]() -> absl::StatusOr<double> {
                                         if (++reading % 9 == 0)
                                           return absl::UnavailableError("the file is busy");
                                         return Joules(5, 15);
                                       }));
  FORALL_ASSERT_OK_AND_ASSIGN(const LoneMetric energy, Measure(*sensors));
  EXPECT_NEAR(energy.estimate.value, 30, 0.01);
  EXPECT_GE(energy.samples, 3);
}

TEST_F(EnergyTest, WindowsThatDisagreeAreNoisy) {
  const auto sensors = One(std::make_unique<FakeSensor>(
      "rapl", "package-0", SensorKind::kCounter, absl::Milliseconds(1), [this] {
        // The processor draws the more the longer it has worked.
        const double runs = static_cast<double>(device_.runs);
        return absl::StatusOr<double>(Joules(5, 15 + 0.01 * runs));
      }));
  FORALL_ASSERT_OK_AND_ASSIGN(const LoneMetric energy, Measure(*sensors));
  EXPECT_EQ(energy.verdict, Verdict::kNoisy);
  EXPECT_THAT(energy.reasons, ElementsAre("target_missed"));
}

TEST_F(EnergyTest, CancellingEndsIt) {
  const auto sensors = One(Counter("package-0", 5, 15));
  EnergyOptions options;
  options.sessions = sessions_.get();
  options.sensors = sensors.get();
  options.clock = &clock_;
  options.background = false;
  int asked = 0;
  EXPECT_THAT(MeasureEnergy(options, "net", [&] { return ++asked > 150; }),
              StatusIs(absl::StatusCode::kCancelled));
  EXPECT_THAT(MeasureEnergy(options, "no such model", {}),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(EnergySensorsTest, NamesWhyThereIsNone) {
  PowerSensors found;
  found.AddUnavailable("rapl", "", absl::NotFoundError("no intel-rapl in /sys"));
  found.AddUnavailable("battery", "BAT0", absl::FailedPreconditionError("it is being charged"));
  EXPECT_THAT(EnergySensors::Choose(std::move(found)),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("no intel-rapl"), HasSubstr("battery BAT0"),
                             HasSubstr("being charged"))));
  // A graphics card's energy is not that of a model on the processor, a part is in the whole
  // already, and a charge counter would take an hour for each subnet.
  PowerSensors others;
  const auto add = [&](const char* source, absl::Duration period, bool additive) {
    auto sensor = std::make_unique<FakeSensor>(source, "x", SensorKind::kCounter, period,
                                               [] { return absl::StatusOr<double>(1.0); });
    sensor->mutable_description()->additive = additive;
    others.Add(std::move(sensor));
  };
  add("nvml", absl::Milliseconds(100), true);
  add("rapl", absl::Milliseconds(1), false);
  add("battery", absl::Seconds(30), true);
  EXPECT_THAT(EnergySensors::Choose(std::move(others)),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("too seldom")));
}

TEST(EnergySensorsTest, AModelOnTheGpuIsTheGpusEnergy) {
  PowerSensors found;
  for (const char* source : {"rapl", "nvml"}) {
    auto sensor =
        std::make_unique<FakeSensor>(source, "x", SensorKind::kCounter, absl::Milliseconds(1),
                                     [] { return absl::StatusOr<double>(1.0); });
    sensor->mutable_description()->additive = true;
    found.Add(std::move(sensor));
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const auto chosen,
                              EnergySensors::Choose(std::move(found), /*gpu=*/"x"));
  EXPECT_EQ(chosen->Describe(), "nvml x");
}

}  // namespace
}  // namespace forall
