// SPDX-License-Identifier: Apache-2.0
// The whole method on simulated devices: noisy, throttling, spiky, bimodal, correlated, slow to
// start.
#include "latency/measure/harness.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/measure/analysis.h"
#include "latency/testing/simulated_backend.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::SimulatedBackend;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::Pair;

constexpr double kReferenceNs = 1e6;

class HarnessTest : public ::testing::Test {
 protected:
  HarnessTest() { NewDevice(1); }

  void NewDevice(uint64_t seed) {
    device_ = std::make_unique<SimulatedBackend>(&clock_, seed);
    device_->Add("reference", {.duration_ns = kReferenceNs});
    device_->Add("net", {.duration_ns = 2 * kReferenceNs});
  }

  LatencyHarness::Options Options(const std::string& reference = "reference", bool pin = false) {
    LocalSessions::Options sessions;
    sessions.backend = device_.get();
    sessions.clock = &clock_;
    sessions.reference_model = reference;
    sessions.pin_cores = pin;
    sessions.flush_caches = [this] { ++flushes_; };
    sessions_.push_back(std::make_unique<LocalSessions>(std::move(sessions)));
    LatencyHarness::Options options;
    options.sessions = sessions_.back().get();
    options.clock = &clock_;
    return options;
  }

  std::unique_ptr<LatencyHarness> MakeHarness(const LatencyHarness::Options& options) {
    auto harness = LatencyHarness::Create(options);
    EXPECT_THAT(harness, IsOk());
    return *std::move(harness);
  }

  // The rules of one session; how sessions are put together has tests of its own.
  static Profile OneSession(const std::string& name) {
    Profile profile = *ProfileNamed(name);
    profile.sessions = 1;
    profile.fresh = false;
    return profile;
  }

  LatencyResult Measure(const std::string& profile, const LatencyHarness::Options& options) {
    auto result = MakeHarness(options)->Measure(
        "net", profile == "standard" ? OneSession(profile) : *ProfileNamed(profile));
    EXPECT_THAT(result, IsOk());
    return *std::move(result);
  }
  LatencyResult Measure(const std::string& profile) { return Measure(profile, Options()); }

  FakeClock clock_;
  std::unique_ptr<SimulatedBackend> device_;
  std::vector<std::unique_ptr<LocalSessions>> sessions_;
  int flushes_ = 0;
};

TEST_F(HarnessTest, QuietDeviceTakesTheFewestRuns) {
  const LatencyResult result = Measure("standard");
  EXPECT_EQ(result.verdict, Verdict::kTrusted);
  EXPECT_THAT(result.reasons, IsEmpty());
  // The interval has no width after 12 runs; 36 are the first look after min_duration.
  EXPECT_EQ(result.runs, 36);
  EXPECT_EQ(result.warmup_runs, 10);
  EXPECT_DOUBLE_EQ(result.ratio, 2);
  EXPECT_DOUBLE_EQ(result.median_ns, 2 * kReferenceNs);
  EXPECT_DOUBLE_EQ(result.reference_median_ns, kReferenceNs);
  EXPECT_THAT(result.ReferenceSamples(), Each(kReferenceNs));
  EXPECT_EQ(result.backend.runtime, "simulated");
  EXPECT_EQ(result.duration, absl::Nanoseconds(46 * 3 * kReferenceNs));
}

TEST_F(HarnessTest, PercentilesGetTheRunsThatTheyNeed) {
  // One run in 20 takes three times as long: the 90th percentile is none of them, the 99th is.
  device_->spike_probability = 0.05;
  device_->spike_factor = 3;
  device_->noise = 0.002;
  const Profile screening = *ProfileNamed("screening");
  auto harness = MakeHarness(Options());
  absl::StatusOr<LatencyResult> result = harness->Measure("net", ForPercentile(screening, 90));
  ASSERT_THAT(result, IsOk());
  EXPECT_GE(result->runs, 64);
  absl::StatusOr<TailEstimate> tail = EstimateTail(*result, 90);
  ASSERT_THAT(tail, IsOk());
  EXPECT_NEAR(tail->ratio.value, 2, 0.05);
  EXPECT_EQ(tail->samples, result->runs);
  EXPECT_EQ(tail->verdict, result->verdict);
  EXPECT_THAT(EstimateTail(*result, 99),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("662")));

  const Profile final = ForPercentile(*ProfileNamed("final"), 99);
  EXPECT_EQ(final.min_runs, 133);
  result = harness->Measure("net", final);
  ASSERT_THAT(result, IsOk());
  EXPECT_GE(result->runs, 662);
  tail = EstimateTail(*result, 99);
  ASSERT_THAT(tail, IsOk());
  EXPECT_NEAR(tail->ratio.value, 6, 0.1);
  EXPECT_LE(tail->ratio.low, tail->ratio.value);
  EXPECT_LT(tail->ratio.value, tail->ratio.high);
}

TEST_F(HarnessTest, APercentileOfASlowNetworkIsRefusedAfterAMinute) {
  device_->Add("slow", {.duration_ns = 500e6});
  const absl::StatusOr<LatencyResult> result =
      MakeHarness(Options())->Measure("slow", ForPercentile(*ProfileNamed("screening"), 99));
  ASSERT_THAT(result, IsOk());
  EXPECT_LT(result->duration, absl::Seconds(75));
  EXPECT_GT(result->runs, 100);
  EXPECT_THAT(EstimateTail(*result, 99),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("662")));
}

TEST_F(HarnessTest, NoisierDevicesTakeMoreRunsAndMeetTheTarget) {
  device_->noise = 0.03;
  const LatencyResult screening = Measure("screening");
  const LatencyResult standard = Measure("standard");
  EXPECT_LT(screening.runs, standard.runs);
  EXPECT_LE((standard.ratio_high - standard.ratio_low) / 2 / standard.ratio, 0.01);
  EXPECT_NEAR(standard.ratio, 2, 0.04);
  EXPECT_LE(standard.runs, 200);
}

// Stopping when the interval is narrow favours intervals that are narrow by luck; the claim of 95 %
// must survive that.
TEST_F(HarnessTest, IntervalsHoldDespiteTheStoppingRule) {
  device_->noise = 0.03;
  const auto harness = MakeHarness(Options());
  int covered = 0;
  constexpr int kTrials = 400;
  for (int i = 0; i < kTrials; ++i) {
    FORALL_ASSERT_OK_AND_ASSIGN(const LatencyResult result,
                                harness->Measure("net", *ProfileNamed("screening")));
    covered += result.ratio_low <= 2 && 2 <= result.ratio_high ? 1 : 0;
  }
  EXPECT_GE(covered, 0.92 * kTrials);
}

// A model whose successive runs depend on each other: first-order autoregressive on the log scale.
std::function<double(int)> Correlated(Random* random, double memory, double deviation) {
  const double innovation = deviation * std::sqrt(1 - memory * memory);
  return [random, memory, deviation, innovation, state = 0.0](int run) mutable {
    state = run == 0 ? deviation * random->Gaussian()
                     : memory * state + innovation * random->Gaussian();
    return std::exp(state);
  };
}

TEST_F(HarnessTest, IntervalsHoldForCorrelatedRunsToo) {
  constexpr int kTrials = 1000;
  for (const char* profile_name : {"screening", "final"}) {
    Profile profile = *ProfileNamed(profile_name);
    profile.sessions = 1;
    for (const double memory : {0.0, 0.1, 0.2, 0.3}) {
      Random random(static_cast<uint64_t>(100 * memory) + 1);
      const auto harness = MakeHarness(Options());
      int covered = 0;
      for (int i = 0; i < kTrials; ++i) {
        device_->Add(
            "net", {.duration_ns = 2 * kReferenceNs, .factor = Correlated(&random, memory, 0.03)});
        FORALL_ASSERT_OK_AND_ASSIGN(const LatencyResult result, harness->Measure("net", profile));
        covered += result.ratio_low <= 2 && 2 <= result.ratio_high ? 1 : 0;
      }
      EXPECT_GE(covered, 0.93 * kTrials) << profile_name << " " << memory;
      EXPECT_LE(covered, 0.98 * kTrials) << profile_name << " " << memory;
    }
  }
}

TEST_F(HarnessTest, StrongCorrelationIsToldAlways) {
  for (const double memory : {0.5, 0.7, 0.9}) {
    Random random(static_cast<uint64_t>(100 * memory));
    const auto harness = MakeHarness(Options());
    int told = 0;
    for (int i = 0; i < 200; ++i) {
      device_->Add("net",
                   {.duration_ns = 2 * kReferenceNs, .factor = Correlated(&random, memory, 0.03)});
      FORALL_ASSERT_OK_AND_ASSIGN(const LatencyResult result,
                                  harness->Measure("net", *ProfileNamed("screening")));
      told += std::count(result.reasons.begin(), result.reasons.end(), Reason::kCorrelated);
    }
    EXPECT_GE(told, 190) << memory;
  }
}

TEST_F(HarnessTest, SlowingDownTogetherLeavesTheRatioAlone) {
  device_->noise = 0.005;
  device_->slowdown = [](double seconds) { return 1 + 0.08 * std::min(1.0, seconds / 0.1); };
  const LatencyResult result = Measure("standard");
  EXPECT_EQ(result.verdict, Verdict::kTrusted);
  EXPECT_NEAR(result.ratio, 2, 0.02);
}

TEST_F(HarnessTest, AChangedPaceIsNoisyAsLongAsTheRatioHolds) {
  device_->slowdown = [](double seconds) { return seconds > 0.045 ? 1.25 : 1.0; };
  const LatencyResult result = Measure("standard");
  EXPECT_EQ(result.verdict, Verdict::kNoisy);
  EXPECT_THAT(result.reasons, ElementsAre(Reason::kPaceChanged));
  EXPECT_GT(result.reference_drift, 0.2);
  EXPECT_DOUBLE_EQ(result.ratio, 2);
  EXPECT_THAT(result.environment, Contains(Pair("repeated_sessions", "0")));
}

TEST_F(HarnessTest, ThrottlingIsRejectedAndTriedAgain) {
  // Less than two thirds of the speed from 0.045 s on (early in the samples) until 0.5 s, which the
  // cool-down outlasts.
  double start = 0;
  device_->slowdown = [&start](double seconds) {
    return seconds > start + 0.045 && seconds < start + 0.5 ? 1.6 : 1.0;
  };
  auto options = Options();
  options.attempts = 1;
  const LatencyResult once = Measure("standard", options);
  EXPECT_EQ(once.verdict, Verdict::kRejected);
  EXPECT_THAT(once.reasons, Contains(Reason::kThrottled));
  EXPECT_GT(once.reference_drift, 0.5);
  EXPECT_DOUBLE_EQ(once.ratio, 2);

  clock_.Advance(absl::Seconds(100));
  start = static_cast<double>(clock_.SteadyNanos()) * 1e-9;
  options.attempts = 2;
  const LatencyResult twice = Measure("standard", options);
  EXPECT_EQ(twice.verdict, Verdict::kTrusted);
  EXPECT_THAT(twice.environment, Contains(Pair("repeated_sessions", "1")));
}

TEST_F(HarnessTest, SpikesAreCountedAndKeptButDoNotMoveTheMedian) {
  device_->noise = 0.01;
  device_->spike_probability = 0.03;
  device_->spike_factor = 20;
  const LatencyResult result = Measure("final");
  EXPECT_NEAR(result.ratio, 2, 0.03);
  EXPECT_GT(result.outliers, 0);
  const std::vector<double> samples = result.CandidateSamples();
  EXPECT_EQ(static_cast<int>(samples.size()), result.runs);
  EXPECT_GT(*std::max_element(samples.begin(), samples.end()), 20 * kReferenceNs);
}

TEST_F(HarnessTest, TwoModesAreAReason) {
  device_->noise = 0.005;
  Random random(7);
  device_->Add("net", {.duration_ns = 2 * kReferenceNs,
                       .factor = [&](int) { return random.Bernoulli(0.4) ? 1.15 : 1.0; }});
  const LatencyResult result = Measure("standard");
  EXPECT_EQ(result.verdict, Verdict::kNoisy);
  EXPECT_THAT(result.reasons, Contains(Reason::kTwoModes));
}

TEST_F(HarnessTest, CorrelatedRunsCountForLess) {
  Random random(8);
  double state = 0;
  device_->Add("net", {.duration_ns = 2 * kReferenceNs, .factor = [&](int) {
                         state = 0.9 * state + 0.01 * random.Gaussian();
                         return std::exp(state);
                       }});
  const LatencyResult result = Measure("standard");
  EXPECT_EQ(result.verdict, Verdict::kNoisy);
  EXPECT_THAT(result.reasons, Contains(Reason::kCorrelated));
  EXPECT_GT(result.autocorrelation, 0.6);
}

TEST_F(HarnessTest, SlowStartIsWaitedFor) {
  device_->Add("net", {.duration_ns = 2 * kReferenceNs,
                       .factor = [](int run) { return run < 40 ? 3 - 0.05 * run : 1.0; }});
  const LatencyResult result = Measure("standard");
  EXPECT_EQ(result.verdict, Verdict::kTrusted);
  EXPECT_GE(result.warmup_runs, 40);
  EXPECT_DOUBLE_EQ(result.ratio, 2);
}

TEST_F(HarnessTest, WarmUpThatNeverEndsIsAReason) {
  device_->Add("net", {.duration_ns = 2 * kReferenceNs,
                       .factor = [](int run) { return run / 5 % 2 == 0 ? 1.0 : 1.03; }});
  const LatencyResult result = Measure("standard");
  EXPECT_EQ(result.warmup_runs, 100);
  EXPECT_EQ(result.verdict, Verdict::kNoisy);
  EXPECT_THAT(result.reasons, Contains(Reason::kUnstableWarmup));
}

TEST_F(HarnessTest, SlowModelsEndAtTheTimeCap) {
  device_->Add("net", {.duration_ns = 0.6e9});
  const LatencyResult few = Measure("screening");
  EXPECT_EQ(few.verdict, Verdict::kNoisy);
  EXPECT_THAT(few.reasons, Contains(Reason::kTooFewRuns));
  EXPECT_NEAR(few.ratio, 600, 1);
  EXPECT_LE(few.duration, absl::Seconds(12));

  device_->Add("net", {.duration_ns = 3e9});
  const LatencyResult hopeless = Measure("screening");
  EXPECT_EQ(hopeless.verdict, Verdict::kRejected);
  EXPECT_EQ(hopeless.runs, 2);
}

TEST_F(HarnessTest, FinalIntervalsHoldForAnotherSession) {
  device_->noise = 0.01;
  device_->session_noise = 0.01;
  const auto harness = MakeHarness(Options());
  Profile single = *ProfileNamed("final");
  single.sessions = 1;
  int final_covers = 0;
  int single_covers = 0;
  double spread = 0;
  constexpr int kTrials = 100;
  for (int i = 0; i < kTrials; ++i) {
    const auto fresh = MakeHarness(Options());  // Its reference is another session too.
    FORALL_ASSERT_OK_AND_ASSIGN(const LatencyResult another, fresh->Measure("net", single));
    FORALL_ASSERT_OK_AND_ASSIGN(const LatencyResult five,
                                fresh->Measure("net", *ProfileNamed("final")));
    FORALL_ASSERT_OK_AND_ASSIGN(const LatencyResult one, harness->Measure("net", single));
    const auto holds = [&](const LatencyResult& r) {
      return r.ratio_low <= another.ratio && another.ratio <= r.ratio_high;
    };
    final_covers += holds(five) ? 1 : 0;
    single_covers += holds(one) ? 1 : 0;
    spread += five.session_spread / kTrials;
  }
  EXPECT_GE(final_covers, 88);
  EXPECT_LT(single_covers, 60) << "a single session does not know how sessions differ";
  EXPECT_NEAR(spread, 0.014, 0.003) << "two sessions of 1 % each";
}

TEST_F(HarnessTest, ScreeningKeepsItsReferenceAndFinalTakesFreshOnes) {
  const auto harness = MakeHarness(Options());
  device_->memories.clear();
  FORALL_ASSERT_OK(harness->Measure("net", *ProfileNamed("screening")));
  FORALL_ASSERT_OK(harness->Measure("net", *ProfileNamed("screening")));
  EXPECT_THAT(device_->memories,
              ElementsAre(SessionMemory::kReused, SessionMemory::kReused, SessionMemory::kReused));
  device_->memories.clear();
  FORALL_ASSERT_OK(harness->Measure("net", *ProfileNamed("final")));
  EXPECT_EQ(device_->memories.size(), 10u);
  EXPECT_THAT(device_->memories, Each(SessionMemory::kFresh));
}

TEST_F(HarnessTest, CalibrationMakesTheYardstick) {
  device_->noise = 0.005;
  device_->session_noise = 0.01;
  const auto harness = MakeHarness(Options());
  FORALL_ASSERT_OK_AND_ASSIGN(const LatencyResult before,
                              harness->Measure("net", *ProfileNamed("screening")));
  FORALL_ASSERT_OK_AND_ASSIGN(const Baseline baseline, harness->Calibrate());
  EXPECT_NEAR(baseline.reference_ns, kReferenceNs, 0.03 * kReferenceNs);
  EXPECT_GT(baseline.session_spread, 0.002);
  EXPECT_NEAR(baseline.result.ratio, 1, 0.04);
  FORALL_ASSERT_OK_AND_ASSIGN(const LatencyResult after,
                              harness->Measure("net", *ProfileNamed("screening")));
  EXPECT_GT(after.ratio_high - after.ratio_low, before.ratio_high - before.ratio_low)
      << "the spread between sessions is known now";
  EXPECT_EQ(after.verdict, Verdict::kTrusted);

  device_->slowdown = [](double) { return 1.3; };
  FORALL_ASSERT_OK_AND_ASSIGN(const LatencyResult shifted,
                              harness->Measure("net", *ProfileNamed("screening")));
  EXPECT_THAT(shifted.reasons, Contains(Reason::kBaselineShift));
  EXPECT_EQ(shifted.verdict, Verdict::kNoisy);
  EXPECT_NEAR(shifted.AtBaseline(baseline.reference_ns).value, 2 * kReferenceNs,
              0.08 * kReferenceNs);
}

// What differs between sessions minutes apart, which sessions within a second cannot show.
TEST_F(HarnessTest, ControlsLearnTheSpreadOfOtherMinutes) {
  device_->noise = 0.003;
  Random random(4);
  double mood = 1;
  device_->Add("calibration",
               {.duration_ns = 2 * kReferenceNs, .factor = [&mood](int) { return mood; }});
  auto options = Options();
  options.calibration_model = "calibration";
  options.control_interval = 2;
  const auto harness = MakeHarness(options);
  FORALL_ASSERT_OK_AND_ASSIGN(const Baseline baseline, harness->Calibrate());
  EXPECT_LT(baseline.session_spread, 0.005);
  const Profile profile = *ProfileNamed("screening");
  FORALL_ASSERT_OK_AND_ASSIGN(const LatencyResult before, harness->Measure("net", profile));
  const auto width = [](const LatencyResult& r) { return (r.ratio_high - r.ratio_low) / r.ratio; };
  EXPECT_LT(width(before), 0.05);
  for (int i = 0; i < 40; ++i) {
    mood = std::exp(0.03 * random.Gaussian());
    FORALL_ASSERT_OK(harness->Measure("net", profile));
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const LatencyResult after, harness->Measure("net", profile));
  // Student's factor of 24 degrees of freedom, and one session of a further process.
  EXPECT_NEAR(width(after), 2 * 2.06 * 0.03 * std::sqrt(2.0), 0.05);
  EXPECT_GT(width(after), 2 * width(before));

  device_->memories.clear();
  FORALL_ASSERT_OK(harness->Measure("net", profile));
  FORALL_ASSERT_OK(harness->Measure("net", profile));
  EXPECT_THAT(device_->memories, Contains(SessionMemory::kFresh));
  options.control_interval = 0;
  const auto never = MakeHarness(options);
  FORALL_ASSERT_OK(never->Calibrate());
  device_->memories.clear();
  for (int i = 0; i < 10; ++i) FORALL_ASSERT_OK(never->Measure("net", profile));
  EXPECT_THAT(device_->memories, Each(SessionMemory::kReused));
}

TEST_F(HarnessTest, ErrorsOfTheModelAreErrors) {
  const auto harness = MakeHarness(Options());
  const Profile profile = *ProfileNamed("screening");
  EXPECT_THAT(harness->Measure("unknown", profile), StatusIs(absl::StatusCode::kInvalidArgument));
  device_->Add("net", {.failing_run = 15});
  EXPECT_THAT(harness->Measure("net", profile), StatusIs(absl::StatusCode::kInternal));
  EXPECT_THAT(LatencyHarness::Create(Options("unknown")),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("reference network")))
      << "no subnet's fault";
  auto options = Options();
  options.calibration_model = "unknown";
  EXPECT_THAT(MakeHarness(options)->Calibrate(), StatusIs(absl::StatusCode::kFailedPrecondition));
  Profile broken = profile;
  broken.max_runs = 5;
  EXPECT_THAT(harness->Measure("net", broken), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_F(HarnessTest, CancellationIsHeardBetweenRuns) {
  const auto harness = MakeHarness(Options());
  const int64_t before = device_->runs;
  int asked = 0;
  EXPECT_THAT(harness->Measure("net", *ProfileNamed("screening"), [&] { return ++asked > 7; }),
              StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(device_->runs - before, 14);
}

TEST_F(HarnessTest, HoldsTheHostLockExactlyWhileMeasuring) {
  const TempDir dir;
  const HostLock::Options lock_options = {.path = dir / "timing.lock", .clock = &clock_};
  FORALL_ASSERT_OK_AND_ASSIGN(const auto mine, HostLock::Open(lock_options));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto accuracy, HostLock::Open(lock_options));
  int entered = 0;
  int runs = 0;
  device_->Add("net", {.factor = [&](int) {
                 ++runs;
                 entered += accuracy->AcquireShared(absl::ZeroDuration()).ok() ? 1 : 0;
                 return 1.0;
               }});
  auto options = Options();
  options.host_lock = mine.get();
  Measure("screening", options);
  EXPECT_GT(runs, 20);
  EXPECT_EQ(entered, 0);
  EXPECT_THAT(accuracy->AcquireShared(absl::ZeroDuration()), IsOk());
}

TEST_F(HarnessTest, OtherProgramsLoadIsAReason) {
  const TempDir dir;
  int64_t ticks = 0;
  int64_t idle_share = 100;
  const auto write = [&](const std::string& path, const std::string& content) {
    std::filesystem::create_directories(std::filesystem::path(dir / path).parent_path());
    std::ofstream(dir / path, std::ios::trunc) << content;
  };
  const auto tick = [&] {
    ticks += 20;
    write("proc/stat", absl::StrCat("cpu ", ticks * (100 - idle_share) / 100, " 0 0 ",
                                    ticks * idle_share / 100, " 0 0 0 0 0 0\n"));
    return 1.0;
  };
  write("sys/devices/system/cpu/online", "0-1\n");
  write("proc/self/stat", "1 (x) R 1 2 3 4 5 6 7 8 9 10 0 0 0 0\n");
  device_->Add("net", {.factor = [&](int) { return tick(); }});
  const EnvironmentProbe probe(dir.path());
  auto options = Options();
  options.probe = &probe;
  tick();
  EXPECT_THAT(Measure("screening", options).reasons, IsEmpty());
  idle_share = 30;
  ticks = 0;
  tick();
  const LatencyResult loaded = Measure("screening", options);
  EXPECT_THAT(loaded.reasons, ElementsAre(Reason::kLoad));
  EXPECT_THAT(loaded.environment, Contains(Pair("load_other_cores", "1.4")));
  EXPECT_THAT(loaded.environment, Contains(Key("warnings")));
}

TEST_F(HarnessTest, ColdCachesAreEmptiedBeforeEveryRun) {
  Profile profile = *ProfileNamed("screening");
  const auto harness = MakeHarness(Options());
  FORALL_ASSERT_OK(harness->Measure("net", profile));
  EXPECT_EQ(flushes_, 0);
  profile.cold_cache = true;
  FORALL_ASSERT_OK_AND_ASSIGN(const LatencyResult result, harness->Measure("net", profile));
  EXPECT_EQ(flushes_, 2 * (result.runs + result.warmup_runs));
}

TEST_F(HarnessTest, ADeviceThatStaysHotIsNoisyAndSaysWhy) {
  double celsius = 90;
  Gate gate(GateLimits{.max_celsius = 65, .patience = absl::Seconds(20)},
            [&celsius] { return GateReading{.celsius = celsius}; });
  LatencyHarness::Options options = Options();
  options.gate = &gate;
  const LatencyResult hot = Measure("screening", options);
  EXPECT_EQ(hot.verdict, Verdict::kNoisy);
  EXPECT_THAT(hot.reasons, ElementsAre(Reason::kGate));
  EXPECT_THAT(hot.environment, Contains(Pair("gate_waited", "20s")));
  EXPECT_THAT(hot.environment, Contains(Pair("gate", HasSubstr("90 degrees"))));
  celsius = 60;
  EXPECT_THAT(Measure("screening", options).reasons, IsEmpty());
}

TEST_F(HarnessTest, ACalibrationIsAsColdAsWhatFollows) {
  LatencyHarness::Options options = Options();
  options.cold_cache = true;
  const auto harness = MakeHarness(options);
  FORALL_ASSERT_OK_AND_ASSIGN(const Baseline baseline, harness->Calibrate());
  EXPECT_EQ(flushes_, 2 * (baseline.result.runs + baseline.result.warmup_runs));
}

TEST_F(HarnessTest, PinningIsReported) {
  const LatencyResult result = Measure("screening", Options("reference", true));
  EXPECT_TRUE(result.environment.count("pinned_cores") == 1 ||
              result.environment.count("pin_refused") == 1);
}

// Kendall's tau-a of values that should be increasing.
double TauOfIncreasing(const std::vector<double>& values) {
  int agree = 0;
  int pairs = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    for (size_t j = i + 1; j < values.size(); ++j) {
      agree += values[i] < values[j] ? 1 : -1;
      ++pairs;
    }
  }
  return static_cast<double>(agree) / pairs;
}

// Forty models, each 1 % slower than the one before, on a device that heats up and cools down: what
// measuring is for. The bar is the one for which common tools' defaults fail.
TEST_F(HarnessTest, RanksSimilarModelsOnAThrottlingDevice) {
  for (const double throttle : {0.08, 0.25}) {
    NewDevice(11);
    device_->noise = 0.015;
    device_->spike_probability = 0.01;
    device_->slowdown = [throttle](double seconds) {
      return 1 + throttle * (0.5 - 0.5 * std::cos(seconds * 6.2832 / 7));
    };
    const auto harness = MakeHarness(Options());
    std::vector<double> ratios;
    double seconds = 0;
    for (int i = 0; i < 40; ++i) {
      const std::string name = absl::StrCat("net", i);
      device_->Add(name, {.duration_ns = 4e6 * std::pow(1.01, i)});
      FORALL_ASSERT_OK_AND_ASSIGN(const LatencyResult result,
                                  harness->Measure(name, OneSession("standard")));
      ratios.push_back(result.ratio);
      seconds += absl::ToDoubleSeconds(result.duration) / 40;
    }
    EXPECT_GE(TauOfIncreasing(ratios), 0.975) << throttle;
    EXPECT_LE(seconds, 1.3) << throttle;
  }
}

}  // namespace
}  // namespace forall
