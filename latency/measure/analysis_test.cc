// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/analysis.h"

#include <cmath>
#include <functional>
#include <vector>

#include "base/random.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;

// A session whose reference takes 1000 and whose ratio and reference pace are given per run.
SessionSamples MakeSession(
    int runs, const std::function<double(int)>& ratio,
    const std::function<double(int)>& pace = [](int) { return 1.0; }) {
  SessionSamples samples;
  for (int i = 0; i < runs; ++i) {
    samples.reference_ns.push_back(1000 * pace(i));
    samples.candidate_ns.push_back(1000 * pace(i) * ratio(i));
  }
  samples.warmup_runs = 10;
  return samples;
}

const Profile kScreening = {.name = "screening", .target_half_width = 0.02};

TEST(AnalyzeSessionTest, QuietSessionHasNoReason) {
  Random random(3);
  const SessionAnalysis analysis = AnalyzeSession(
      MakeSession(40, [&](int) { return 2 + 0.01 * random.Gaussian(); }), kScreening);
  EXPECT_THAT(analysis.reasons, IsEmpty());
  EXPECT_NEAR(analysis.ratio.value, 2, 0.01);
  EXPECT_NEAR(analysis.candidate_ns.value, 2000, 10);
  EXPECT_EQ(analysis.reference_ns.value, 1000);
}

TEST(AnalyzeSessionTest, PaceOfTheDeviceCancelsUntilTheRatioFollows) {
  // Halfway the device becomes slower by `slower`, the candidate by `more` beyond that.
  const auto session = [](double slower, double more = 0) {
    return MakeSession(
        48, [=](int run) { return run < 24 ? 2.0 : 2.0 * (1 + more); },
        [=](int run) { return run < 24 ? 1.0 : 1 + slower; });
  };
  const SessionAnalysis slight = AnalyzeSession(session(0.08), kScreening);
  EXPECT_THAT(slight.reasons, IsEmpty());
  EXPECT_NEAR(slight.reference_drift, 0.08, 1e-9);
  EXPECT_NEAR(slight.ratio.value, 2, 1e-9);
  const SessionAnalysis changed = AnalyzeSession(session(0.25), kScreening);
  EXPECT_THAT(changed.reasons, ElementsAre(Reason::kPaceChanged));
  EXPECT_NEAR(changed.ratio.value, 2, 1e-9);
  EXPECT_FALSE(IsThrottled(session(0.25, 0.04)));
  EXPECT_TRUE(IsThrottled(session(0.25, 0.06)));
  EXPECT_THAT(AnalyzeSession(session(0.25, 0.06), kScreening).reasons,
              Contains(Reason::kThrottled));
  EXPECT_THAT(AnalyzeSession(session(0.55), kScreening).reasons, ElementsAre(Reason::kThrottled));
}

TEST(AnalyzeSessionTest, AStepOfTheRatioIsDrift) {
  Random random(2);
  const SessionAnalysis analysis = AnalyzeSession(
      MakeSession(60, [&](int run) { return (run < 30 ? 2 : 2.06) + 0.01 * random.Gaussian(); }),
      kScreening);
  EXPECT_THAT(analysis.reasons, Contains(Reason::kDrift));
  EXPECT_THAT(analysis.reasons, Contains(Reason::kCorrelated));
}

TEST(AnalyzeSessionTest, WideIntervalMissesItsTarget) {
  Random random(3);
  const SessionAnalysis analysis = AnalyzeSession(
      MakeSession(20, [&](int) { return 2 * std::exp(0.3 * random.Gaussian()); }), kScreening);
  EXPECT_THAT(analysis.reasons, Contains(Reason::kTargetMissed));
}

TEST(AnalyzeSessionTest, AFewOutliersAreCountedManyAreAReason) {
  Random random(4);
  const auto session = [&](int every) {
    return MakeSession(60, [&random, every](int run) {
      return (run % every == 0 ? 20 : 2) + 0.005 * random.Gaussian();
    });
  };
  const SessionAnalysis few = AnalyzeSession(session(20), kScreening);
  EXPECT_EQ(few.outliers, 3);
  EXPECT_THAT(few.reasons, Not(Contains(Reason::kOutliers)));
  EXPECT_NEAR(few.ratio.value, 2, 0.01);
  const SessionAnalysis many = AnalyzeSession(session(6), kScreening);
  EXPECT_THAT(many.reasons, Contains(Reason::kOutliers));
}

TEST(CombineSessionsTest, ScatterBetweenSessionsWidens) {
  const auto at = [](double value) {
    return Estimate{.value = value, .low = value * 0.999, .high = value * 1.001};
  };
  // Mean 2, standard deviation 0.02, Student's factor for four degrees of freedom.
  const Estimate combined = CombineSessions({at(1.98), at(1.98), at(2), at(2.02), at(2.02)}, {});
  EXPECT_NEAR(combined.value, 2, 1e-9);
  const double arm = std::hypot(0.002, 2.776 * 0.02 * std::sqrt(1 + 1.0 / 5));
  EXPECT_NEAR(combined.high - combined.value, arm, 1e-5);
  EXPECT_NEAR(combined.value - combined.low, arm, 1e-5);
  const Estimate agreeing = CombineSessions({at(2), at(2), at(2)}, {});
  EXPECT_NEAR(agreeing.high, 2.002, 1e-9) << "never narrower than the sessions themselves";
}

TEST(CombineSessionsTest, KnownSpreadStandsInForASingleSession) {
  const Estimate alone = {.value = 2, .low = 1.99, .high = 2.01};
  EXPECT_NEAR(CombineSessions({alone}, {}).high, 2.01, 1e-9);
  EXPECT_NEAR(CombineSessions({alone}, {.relative = 0.01, .degrees = 4}).high,
              2 + std::hypot(0.01, 2.776 * 0.01 * 2 * std::sqrt(2.0)), 1e-9);
  EXPECT_EQ(CombineSessions({}, {.relative = 0.01, .degrees = 4}).value, 0);
}

TEST(CombineSessionsTest, KnownSpreadSteadiesALuckyFew) {
  const Estimate same = {.value = 2, .low = 2, .high = 2};
  const Estimate lucky = CombineSessions({same, same, same}, {.relative = 0.01, .degrees = 4});
  // Two own degrees of freedom with no scatter, four of the calibration.
  EXPECT_NEAR(lucky.high - 2, 2.447 * std::sqrt(4.0 / 6) * 0.02 * std::sqrt(4.0 / 3), 1e-6);
}

TEST(AnalyzeResultTest, JudgesStoredSamplesAnew) {
  Random random(5);
  LatencyResult result;
  result.profile = kScreening;
  for (int session = 0; session < 4; ++session) {
    result.sessions.push_back(MakeSession(
        20, [&random, session](int) { return 2 + 0.1 * session + 0.002 * random.Gaussian(); }));
  }
  AnalyzeResult({}, 0, &result);
  EXPECT_EQ(result.runs, 80);
  EXPECT_EQ(result.warmup_runs, 40);
  EXPECT_NEAR(result.ratio, 2.15, 0.01);
  EXPECT_LT(result.ratio_low, 2.0);
  EXPECT_GT(result.ratio_high, 2.3);
  EXPECT_NEAR(result.session_spread, 0.129 / 2.15, 0.005);
  EXPECT_THAT(result.reasons, ElementsAre(Reason::kSessionsDisagree));
  EXPECT_EQ(result.verdict, Verdict::kNoisy);
  EXPECT_EQ(result.CandidateSamples().size(), 80u);
}

TEST(AnalyzeResultTest, ReferenceOffItsBaselineIsAReason) {
  LatencyResult result;
  result.profile = kScreening;
  result.sessions = {MakeSession(12, [](int) { return 2.0; })};
  LatencyResult shifted = result;
  AnalyzeResult({}, 1150, &result);
  EXPECT_EQ(result.verdict, Verdict::kTrusted);
  AnalyzeResult({}, 1300, &shifted);
  EXPECT_THAT(shifted.reasons, ElementsAre(Reason::kBaselineShift));
}

TEST(AnalyzeResultTest, AnEmulatedMeasurementIsNeverTrusted) {
  LatencyResult result;
  result.profile = kScreening;
  result.sessions = {MakeSession(12, [](int) { return 2.0; })};
  result.environment["emulated"] = "yes";
  AnalyzeResult({}, 0, &result);
  EXPECT_THAT(result.reasons, ElementsAre(Reason::kEmulated));
  EXPECT_EQ(result.verdict, Verdict::kNoisy);
}

TEST(AnalyzeResultTest, NothingMeasuredIsRejected) {
  LatencyResult result;
  AnalyzeResult({}, 0, &result);
  EXPECT_EQ(result.verdict, Verdict::kRejected);
}

}  // namespace
}  // namespace forall
