// SPDX-License-Identifier: Apache-2.0
#include "base/testing/matchers.h"
#include "evaluator/worker/latency_message.h"
#include "evaluator/worker/task_executor.h"
#include "evaluator/worker/task_failure.h"

namespace forall {
namespace {

using ::testing::ElementsAre;

TEST(TaskFailureTest, CodesDecideWhetherATaskIsTriedAgain) {
  EXPECT_EQ(ToTaskFailure(absl::InvalidArgumentError("x")).reason(),
            v1::TaskFailure::DETERMINISTIC);
  EXPECT_EQ(ToTaskFailure(absl::UnimplementedError("x")).reason(), v1::TaskFailure::DETERMINISTIC);
  EXPECT_EQ(ToTaskFailure(absl::ResourceExhaustedError("x")).reason(),
            v1::TaskFailure::OUT_OF_MEMORY);
  EXPECT_EQ(ToTaskFailure(absl::NotFoundError("x")).reason(), v1::TaskFailure::WORKER_UNABLE);
  EXPECT_EQ(ToTaskFailure(absl::DataLossError("x")).reason(), v1::TaskFailure::WORKER_UNABLE);
  EXPECT_EQ(ToTaskFailure(absl::UnavailableError("x")).reason(), v1::TaskFailure::TRANSIENT);
  EXPECT_EQ(ToTaskFailure(absl::InternalError("why")).message(), "why");
}

TEST(StopRelayTest, AsksWhatStopsTheTaskAtHand) {
  StopRelay relay;
  EXPECT_FALSE(relay.stopped()) << "between tasks";
  bool stop = false;
  {
    const StopRelay::Scope task(&relay, [&stop] { return stop; });
    EXPECT_FALSE(relay.stopped());
    stop = true;
    EXPECT_TRUE(relay.stopped());
  }
  EXPECT_FALSE(relay.stopped()) << "the next task is not stopped";
  const StopRelay::Scope nobody(nullptr, [] { return true; });
}

TEST(LatencyMessageTest, TextsThatTheControllerWouldRefuseAreCutWithinNoCharacter) {
  LatencyResult result;
  result.environment["note"] = std::string(1023, 'x') + "\xC3\xA4";
  EXPECT_EQ(ToMessage(result, "abc", Baseline()).environment().at("note"), std::string(1023, 'x'));
}

TEST(LatencyMessageTest, CarriesEverySampleAndTheVerdict) {
  LatencyResult result;
  result.median_ns = 10;
  result.ratio = 2;
  result.ratio_low = 1.9;
  result.ratio_high = 2.1;
  result.runs = 3;
  result.verdict = Verdict::kNoisy;
  result.reasons = {Reason::kDrift, Reason::kLoad};
  result.sessions.resize(2);
  result.sessions[0].candidate_ns = {10, 11};
  result.sessions[0].reference_ns = {5, 6};
  result.sessions[1].candidate_ns = {12};
  result.sessions[1].reference_ns = {7};
  result.environment = {{"governor", "performance"}};
  result.profile.name = "screening";
  Baseline baseline;
  baseline.reference_ns = 5.5;
  baseline.result.verdict = Verdict::kTrusted;
  const v1::LatencyResult message = ToMessage(result, "abc", baseline);
  EXPECT_EQ(message.median_ns(), 10);
  EXPECT_EQ(message.ratio_high(), 2.1);
  EXPECT_EQ(message.runs(), 3);
  EXPECT_EQ(message.verdict().state(), v1::Verdict::NOISY);
  EXPECT_THAT(message.verdict().reasons(), ElementsAre("drift", "load"));
  EXPECT_THAT(message.samples_ns(), ElementsAre(10, 11, 12));
  EXPECT_THAT(message.reference_samples_ns(), ElementsAre(5, 6, 7));
  EXPECT_EQ(message.environment().at("governor"), "performance");
  EXPECT_EQ(message.environment().at("latency_profile"), "screening");
  EXPECT_EQ(message.reference_sha256(), "abc");
  EXPECT_EQ(message.calibrated_reference_ns(), 5.5);
  baseline.result.verdict = Verdict::kRejected;
  EXPECT_EQ(ToMessage(result, "abc", baseline).calibrated_reference_ns(), 0);
}

TEST(LatencyMessageTest, SaysUnderWhichRulesAndSettings) {
  LatencyResult result;
  result.profile =
      Profile{.name = "final", .target_half_width = 0.005, .sessions = 5, .fresh = true};
  result.backend = {.runtime = "onnxruntime",
                    .runtime_version = "1.30.0",
                    .provider = "XNNPACK",
                    .threads = 2,
                    .settings = {{"a", "1"}, {"b", "2"}}};
  const auto fields = ToMessage(result, "abc", Baseline()).environment();
  EXPECT_EQ(fields.at("latency_rules"),
            "half_width=0.005 runs=12-200 duration=5s sessions=5 fresh");
  EXPECT_EQ(fields.at("provider"), "XNNPACK");
  EXPECT_EQ(fields.at("settings"), "a=1 b=2");
}

TEST(LatencyMessageTest, AJobChangesAProfile) {
  v1::LatencyProfile rules;
  FORALL_ASSERT_OK_AND_ASSIGN(const Profile plain, ProfileFromTask("final", rules));
  EXPECT_EQ(plain.name, "final");
  EXPECT_EQ(plain.sessions, 5);
  FORALL_ASSERT_OK_AND_ASSIGN(const Profile nameless, ProfileFromTask("", rules));
  EXPECT_EQ(nameless.name, "screening");

  rules.set_base("standard");
  rules.set_target_half_width(0.003);
  rules.set_min_runs(500);
  rules.mutable_max_duration()->set_nanos(50000000);
  rules.set_sessions(2);
  rules.set_fresh(false);
  FORALL_ASSERT_OK_AND_ASSIGN(const Profile profile, ProfileFromTask("screening", rules));
  EXPECT_EQ(profile.name, "standard");
  EXPECT_EQ(profile.target_half_width, 0.003);
  EXPECT_EQ(profile.min_runs, 500);
  EXPECT_EQ(profile.max_runs, 500) << "moved by min_runs";
  EXPECT_EQ(profile.max_duration, absl::Milliseconds(50));
  EXPECT_EQ(profile.min_duration, absl::Milliseconds(50));
  EXPECT_EQ(profile.sessions, 2);
  EXPECT_FALSE(profile.fresh);
  rules.set_base("sloppy");
  EXPECT_FALSE(ProfileFromTask("screening", rules).ok());
}

}  // namespace
}  // namespace forall
