// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/energy_meter.h"

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/sensor/testing/recorded_tree.h"

namespace forall {
namespace {

using ::forall::testing::FindSensor;
using ::forall::testing::IsOk;
using ::forall::testing::IsOkAndHolds;
using ::forall::testing::RecordedTree;
using ::forall::testing::StatusIs;
using ::testing::DoubleNear;
using ::testing::HasSubstr;

// Reads whatever the test says.
class FakeSensor : public PowerSensor {
 public:
  FakeSensor(SensorKind kind, absl::Duration update_period,
             std::function<absl::StatusOr<double>()> read)
      : read_(std::move(read)) {
    description_.source = "fake";
    description_.domain = "all";
    description_.kind = kind;
    description_.update_period = update_period;
    description_.most_watts = 1000;
  }
  const SensorDescription& description() const override { return description_; }
  absl::StatusOr<double> Read() override { return read_(); }
  SensorDescription* mutable_description() { return &description_; }

 private:
  SensorDescription description_;
  const std::function<absl::StatusOr<double>()> read_;
};

class EnergyMeterTest : public ::testing::Test {
 protected:
  EnergyMeterTest()
      : counter_(SensorKind::kCounter, absl::Milliseconds(1), [this] { return value_; }),
        power_(SensorKind::kSampled, absl::Milliseconds(100), [this] { return value_; }) {}

  EnergyMeter::Options OptionsOf(PowerSensor* sensor) {
    EnergyMeter::Options options;
    options.sensor = sensor;
    options.background = false;
    options.clock = &clock_;
    return options;
  }
  static std::unique_ptr<EnergyMeter> MakeMeter(const EnergyMeter::Options& options) {
    absl::StatusOr<std::unique_ptr<EnergyMeter>> meter = EnergyMeter::Create(options);
    EXPECT_THAT(meter, IsOk());
    return std::move(meter).value();
  }
  std::unique_ptr<EnergyMeter> MakeMeter(PowerSensor* sensor) {
    return MakeMeter(OptionsOf(sensor));
  }
  // Samples a power that changes linearly to `to` over `count` periods of 100 ms.
  void Ramp(double to, int count, EnergyMeter* meter) {
    const double from = value_.value_or(0);
    for (int i = 1; i <= count; ++i) {
      clock_.Advance(absl::Milliseconds(100));
      value_ = from + (to - from) * i / count;
      FORALL_EXPECT_OK(meter->Sample());
    }
  }

  FakeClock clock_;
  absl::StatusOr<double> value_ = 0.0;
  FakeSensor counter_;
  FakeSensor power_;
};

TEST_F(EnergyMeterTest, ACounterIsTheDifferenceOfTwoReadings) {
  value_ = 100.0;
  const auto meter = MakeMeter(&counter_);
  FORALL_ASSERT_OK(meter->Start());
  clock_.Advance(absl::Seconds(2));
  value_ = 130.0;
  FORALL_ASSERT_OK_AND_ASSIGN(const EnergyReport report, meter->Stop(10));
  EXPECT_DOUBLE_EQ(report.joules, 30);
  EXPECT_DOUBLE_EQ(report.seconds, 2);
  EXPECT_DOUBLE_EQ(report.average_watts, 15);
  EXPECT_EQ(report.source, "fake");
  EXPECT_EQ(report.domain, "all");
  EXPECT_EQ(report.kind, SensorKind::kCounter);
  EXPECT_EQ(report.samples, 2);
  EXPECT_EQ(report.inferences, 10);
  EXPECT_FALSE(report.idle_watts.has_value());
  EXPECT_THAT(report.JoulesPerInference(), IsOkAndHolds(DoubleNear(3, 1e-12)));
}

TEST_F(EnergyMeterTest, PowerIsIntegratedByTheTrapezoidRule) {
  value_ = 10.0;
  const auto meter = MakeMeter(&power_);
  FORALL_ASSERT_OK(meter->Start());
  Ramp(20, 20, meter.get());  // 2 s at 15 W on average
  Ramp(20, 10, meter.get());  // 1 s at 20 W
  Ramp(0, 40, meter.get());   // 4 s at 10 W
  FORALL_ASSERT_OK_AND_ASSIGN(const EnergyReport report, meter->Stop(1));
  EXPECT_NEAR(report.joules, 90, 1e-9);
  EXPECT_NEAR(report.seconds, 7, 1e-9);
  EXPECT_EQ(report.kind, SensorKind::kSampled);
  EXPECT_EQ(report.samples, 72);
  EXPECT_EQ(report.failed_samples, 0);
  EXPECT_EQ(report.longest_gap, absl::Milliseconds(100));
  EXPECT_EQ(report.sample_interval, absl::Seconds(7) / 71);
}

TEST_F(EnergyMeterTest, TheBaselineIsSubtractedPerSecond) {
  const auto meter = MakeMeter(&counter_);
  FORALL_ASSERT_OK(meter->Start());
  clock_.Advance(absl::Seconds(4));
  value_ = 20.0;
  EXPECT_THAT(meter->StopAsBaseline(), IsOkAndHolds(DoubleNear(5, 1e-12)));
  FORALL_ASSERT_OK(meter->Start());
  clock_.Advance(absl::Seconds(2));
  value_ = 50.0;
  FORALL_ASSERT_OK_AND_ASSIGN(const EnergyReport report, meter->Stop(100));
  EXPECT_DOUBLE_EQ(report.joules, 30);
  EXPECT_EQ(report.idle_watts, 5);
  EXPECT_THAT(report.JoulesPerInference(), IsOkAndHolds(DoubleNear(0.2, 1e-12)));
}

TEST_F(EnergyMeterTest, ALoadThatCannotBeToldFromRestHasNoEnergyPerInference) {
  EnergyMeter::Options options = OptionsOf(&counter_);
  options.idle_watts = 15;
  const auto meter = MakeMeter(options);
  FORALL_ASSERT_OK(meter->Start());
  clock_.Advance(absl::Seconds(2));
  value_ = 30.0;
  FORALL_ASSERT_OK_AND_ASSIGN(const EnergyReport report, meter->Stop(100));
  EXPECT_THAT(report.JoulesPerInference(), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(EnergyMeterTest, TooShortAnIntervalIsRefused) {
  const auto meter = MakeMeter(&counter_);
  EXPECT_EQ(meter->ShortestInterval(), absl::Milliseconds(20));
  FORALL_ASSERT_OK(meter->Start());
  clock_.Advance(absl::Milliseconds(19));
  value_ = 1.0;
  EXPECT_THAT(meter->Stop(1), StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("20ms")));
  FORALL_ASSERT_OK(meter->Start());
  clock_.Advance(absl::Milliseconds(20));
  value_ = 2.0;
  EXPECT_THAT(meter->Stop(1), IsOk());

  EnergyMeter::Options options = OptionsOf(&power_);
  EXPECT_EQ(MakeMeter(options)->ShortestInterval(), absl::Seconds(2));
  options.sample_period = absl::Seconds(1);
  EXPECT_EQ(MakeMeter(options)->ShortestInterval(), absl::Seconds(20));
  options.sample_period = absl::Milliseconds(1);
  options.least_updates = 5;
  EXPECT_EQ(MakeMeter(options)->ShortestInterval(), absl::Milliseconds(500));
}

TEST_F(EnergyMeterTest, WhatStandsStillIsUnavailableAndNotZero) {
  const auto meter = MakeMeter(&counter_);
  FORALL_ASSERT_OK(meter->Start());
  clock_.Advance(absl::Seconds(10));
  EXPECT_THAT(meter->Stop(1), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("stood still")));
  const auto sampled = MakeMeter(&power_);
  FORALL_ASSERT_OK(sampled->Start());
  Ramp(0, 50, sampled.get());
  EXPECT_THAT(sampled->Stop(1), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("no power")));
}

TEST_F(EnergyMeterTest, MorePowerThanThereCanBeIsAFault) {
  const auto meter = MakeMeter(&counter_);
  FORALL_ASSERT_OK(meter->Start());
  clock_.Advance(absl::Seconds(1));
  value_ = 65000.0;
  EXPECT_THAT(meter->Stop(1), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("65000 W")));
  FORALL_ASSERT_OK(meter->Start());
  clock_.Advance(absl::Seconds(1));
  value_ = std::nan("");
  EXPECT_THAT(meter->Stop(1), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(EnergyMeterTest, ASensorThatIsGoneAtTheEndHasNoResult) {
  value_ = 10.0;
  const auto meter = MakeMeter(&power_);
  FORALL_ASSERT_OK(meter->Start());
  Ramp(10, 30, meter.get());
  value_ = absl::NotFoundError("no such file");
  EXPECT_THAT(meter->Stop(1), StatusIs(absl::StatusCode::kUnavailable, HasSubstr("no such file")));
  EXPECT_THAT(meter->Start(), StatusIs(absl::StatusCode::kNotFound));
  value_ = 10.0;
  EXPECT_THAT(meter->Start(), IsOk());
}

TEST_F(EnergyMeterTest, OneReadingMayFailAndManyMayNot) {
  for (const int failing : {1, 20}) {
    value_ = 10.0;
    const auto meter = MakeMeter(&power_);
    FORALL_ASSERT_OK(meter->Start());
    Ramp(10, 30, meter.get());
    for (int i = 0; i < failing; ++i) {
      clock_.Advance(absl::Milliseconds(100));
      value_ = absl::UnavailableError("timed out");
      FORALL_EXPECT_OK(meter->Sample());
    }
    value_ = 10.0;
    Ramp(10, 30, meter.get());
    const absl::StatusOr<EnergyReport> report = meter->Stop(1);
    if (failing == 1) {
      FORALL_ASSERT_OK(report);
      EXPECT_EQ(report->failed_samples, 1);
      EXPECT_NEAR(report->joules, 61, 1e-9);
    } else {
      EXPECT_THAT(report, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("20 readings")));
    }
  }
}

TEST_F(EnergyMeterTest, AStateThatForbidsMeasuringSpoilsAllEvenWhenItPasses) {
  for (const absl::Status& spoils :
       {absl::FailedPreconditionError("charging"), absl::DataLossError("fell")}) {
    value_ = 10.0;
    const auto meter = MakeMeter(&power_);
    FORALL_ASSERT_OK(meter->Start());
    Ramp(10, 30, meter.get());
    value_ = spoils;
    FORALL_EXPECT_OK(meter->Sample());
    value_ = 10.0;
    Ramp(10, 30, meter.get());
    EXPECT_THAT(meter->Stop(1), StatusIs(spoils.code(), HasSubstr(std::string(spoils.message()))));
  }
}

TEST_F(EnergyMeterTest, ACounterThatMayHaveWrappedTwiceIsALoss) {
  counter_.mutable_description()->longest_gap = absl::Seconds(30);
  const auto meter = MakeMeter(&counter_);
  FORALL_ASSERT_OK(meter->Start());
  clock_.Advance(absl::Seconds(31));
  value_ = 10.0;
  EXPECT_THAT(meter->Stop(1), StatusIs(absl::StatusCode::kDataLoss));
  FORALL_ASSERT_OK(meter->Start());
  for (int i = 1; i <= 2; ++i) {
    clock_.Advance(absl::Seconds(29));
    value_ = 10.0 + i;
    FORALL_EXPECT_OK(meter->Sample());
  }
  EXPECT_THAT(meter->Stop(1), IsOk());
}

TEST_F(EnergyMeterTest, IsStartedAndStoppedInTurn) {
  const auto meter = MakeMeter(&counter_);
  EXPECT_THAT(meter->Stop(1), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(meter->Sample(), StatusIs(absl::StatusCode::kFailedPrecondition));
  FORALL_ASSERT_OK(meter->Start());
  EXPECT_THAT(meter->Start(), StatusIs(absl::StatusCode::kFailedPrecondition));
  clock_.Advance(absl::Seconds(1));
  value_ = 10.0;
  EXPECT_THAT(meter->Stop(0), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(meter->Stop(1), StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST_F(EnergyMeterTest, BadOptionsAreRefused) {
  const auto code = [](const EnergyMeter::Options& options) {
    return EnergyMeter::Create(options).status().code();
  };
  EnergyMeter::Options options = OptionsOf(&counter_);
  EXPECT_EQ(code(options), absl::StatusCode::kOk);
  options.sensor = nullptr;
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  options = OptionsOf(&counter_);
  options.least_updates = 0;
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  options = OptionsOf(&counter_);
  options.sample_period = absl::Milliseconds(-1);
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  options = OptionsOf(&counter_);
  options.idle_watts = -1;
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
}

// With a real thread, which is waited for by counting its readings. Time passes only while the
// sensor is read, so that it does not matter when the thread is.
TEST(EnergyMeterThreadTest, SamplesByItself) {
  Mutex mu;
  CondVar changed;
  int readings = 0;
  FakeClock clock;
  FakeSensor sensor(SensorKind::kSampled, absl::Milliseconds(1), [&]() -> absl::StatusOr<double> {
    clock.Advance(absl::Milliseconds(1));
    MutexLock lock(&mu);
    ++readings;
    changed.SignalAll();
    return 8.0;
  });
  EnergyMeter::Options options;
  options.sensor = &sensor;
  options.sample_period = absl::Milliseconds(1);
  options.clock = &clock;
  const auto meter = EnergyMeter::Create(options);
  FORALL_ASSERT_OK(meter);
  FORALL_ASSERT_OK((*meter)->Start());
  EXPECT_THAT((*meter)->Sample(), StatusIs(absl::StatusCode::kFailedPrecondition));
  {
    MutexLock lock(&mu);
    while (readings < 30) changed.Wait(&mu);
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const EnergyReport report, (*meter)->Stop(4));
  EXPECT_GE(report.samples, 30);
  EXPECT_EQ(report.samples, readings);
  EXPECT_EQ(report.sample_interval, absl::Milliseconds(1));
  EXPECT_NEAR(report.seconds, 0.001 * (readings - 1), 1e-9);
  EXPECT_NEAR(report.joules, 8 * report.seconds, 1e-9);
}

TEST(EnergyMeterThreadTest, EndsItsThreadWithItself) {
  FakeSensor sensor(SensorKind::kSampled, absl::Seconds(1), [] { return 1.0; });
  EnergyMeter::Options options;
  options.sensor = &sensor;
  const auto meter = EnergyMeter::Create(options);
  FORALL_ASSERT_OK(meter);
  FORALL_ASSERT_OK((*meter)->Start());
}

// From the files to the report.
TEST(EnergyMeterEndToEndTest, MeasuresAPackageAcrossItsWrapAround) {
  RecordedTree tree;
  const std::string zone = "sys/class/powercap/intel-rapl:0/";
  tree.Write(zone + "name", "package-0\n");
  tree.Write(zone + "max_energy_range_uj", "65532610987\n");
  tree.Write(zone + "energy_uj", "65530610987\n");
  const PowerSensors sensors = tree.Discover();
  FakeClock clock;
  EnergyMeter::Options options;
  options.sensor = FindSensor(sensors, "rapl", "package");
  options.background = false;
  options.clock = &clock;
  const auto meter = EnergyMeter::Create(options);
  FORALL_ASSERT_OK(meter);
  FORALL_ASSERT_OK((*meter)->Start());
  clock.Advance(absl::Seconds(1));
  tree.Write(zone + "energy_uj", "40000000\n");
  FORALL_ASSERT_OK_AND_ASSIGN(const EnergyReport report, (*meter)->Stop(21));
  EXPECT_NEAR(report.joules, 42, 1e-6);
  EXPECT_THAT(report.JoulesPerInference(), IsOkAndHolds(DoubleNear(2, 1e-6)));
  // A virtual machine: the file is there and never moves.
  FORALL_ASSERT_OK((*meter)->Start());
  clock.Advance(absl::Seconds(1));
  EXPECT_THAT((*meter)->Stop(1),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("rapl package")));
}

TEST(EnergyMeterEndToEndTest, APhoneThatIsPluggedInMeanwhileHasNoResult) {
  RecordedTree tree;
  const std::string battery = "sys/class/power_supply/battery/";
  tree.Write(battery + "type", "Battery\n");
  tree.Write(battery + "status", "Discharging\n");
  tree.Write(battery + "current_now", "-500000\n");
  tree.Write(battery + "voltage_now", "4000000\n");
  const PowerSensors sensors = tree.Discover();
  FakeClock clock;
  EnergyMeter::Options options;
  options.sensor = FindSensor(sensors, "battery", "battery");
  options.background = false;
  options.clock = &clock;
  const auto meter = EnergyMeter::Create(options);
  FORALL_ASSERT_OK(meter);
  const auto run = [&](int seconds) {
    for (int i = 0; i < seconds; ++i) {
      clock.Advance(absl::Seconds(1));
      FORALL_EXPECT_OK((*meter)->Sample());
    }
  };
  FORALL_ASSERT_OK((*meter)->Start());
  run(30);
  FORALL_ASSERT_OK_AND_ASSIGN(const EnergyReport report, (*meter)->Stop(60));
  EXPECT_NEAR(report.joules, 60, 1e-9);
  FORALL_ASSERT_OK((*meter)->Start());
  run(10);
  tree.Write(battery + "status", "Charging\n");
  run(1);
  tree.Write(battery + "status", "Discharging\n");
  run(19);
  EXPECT_THAT((*meter)->Stop(60), StatusIs(absl::StatusCode::kFailedPrecondition));
}

}  // namespace
}  // namespace forall
