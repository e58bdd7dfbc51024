// SPDX-License-Identifier: Apache-2.0
// Real processes, really killed (child_test_main.cc is what they run).
#include "latency/child/child_sessions.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/child/child_wire.h"
#include "latency/child/measuring_child.h"
#include "latency/measure/harness.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Key;

ChildSessions::Options Scripted() {
  ChildSessions::Options options;
  options.command = MeasuringChildCommand();
  options.configuration = "scripted";
  options.description.runtime = "scripted";
  options.reference_model = "fast";
  return options;
}

Profile Short() {
  Profile profile = *ProfileNamed("screening");
  profile.max_runs = 12;
  profile.min_duration = absl::ZeroDuration();
  return profile;
}

bool IsAlive(pid_t pid) { return kill(pid, 0) == 0; }

TEST(ChildSessionsTest, MeasuresInAProcessThatIsReused) {
  ChildSessions sessions(Scripted());
  FORALL_ASSERT_OK(sessions.Check());
  const pid_t child = sessions.pid();
  EXPECT_GT(child, 0);
  FORALL_ASSERT_OK_AND_ASSIGN(const SessionSamples samples, sessions.Run("fast", Short(), {}));
  EXPECT_EQ(samples.candidate_ns.size(), 12u);
  EXPECT_EQ(samples.reference_ns.size(), 12u);
  EXPECT_GE(*std::min_element(samples.candidate_ns.begin(), samples.candidate_ns.end()), 1e5);
  EXPECT_GT(samples.other_process_time, absl::ZeroDuration());
  EXPECT_THAT(samples.notes, Contains(Key("peak_resident_bytes")));
  FORALL_ASSERT_OK(sessions.Run("fast", Short(), {}));
  EXPECT_EQ(sessions.pid(), child);
}

TEST(ChildSessionsTest, ALoneModelHasAProcessAndItsMemory) {
  ChildSessions sessions(Scripted());
  FORALL_ASSERT_OK(sessions.Check());
  const pid_t child = sessions.pid();
  const auto peak_of = [&](const std::string& model) {
    const absl::StatusOr<std::unique_ptr<LoneModel>> lone = sessions.LoadAlone(model, {});
    EXPECT_THAT(lone, IsOk());
    return (*lone)->PeakMemoryBytes();
  };
  const absl::StatusOr<int64_t> large = peak_of("holds 48 MiB");
  if (absl::IsUnavailable(large.status()) || absl::IsNotFound(large.status())) {
    GTEST_SKIP() << "NO TEST RAN: this kernel does not let a peak begin anew: "
                 << large.status().message();
  }
  ASSERT_THAT(large, IsOk());
  EXPECT_GE(*large, int64_t{48} << 20);
  if (!kSanitized) {
    EXPECT_LE(*large, int64_t{52} << 20);
  }
  EXPECT_LE(*peak_of("fast"), int64_t{8} << 20);
  // The process that is kept for sessions is another, and is still there.
  EXPECT_EQ(sessions.pid(), child);
  FORALL_ASSERT_OK(sessions.Run("fast", Short(), {}));
  EXPECT_EQ(sessions.pid(), child);
}

TEST(ChildSessionsTest, ALoneModelRunsForAsLongAsItIsTold) {
  ChildSessions sessions(Scripted());
  FORALL_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<LoneModel> lone,
                              sessions.LoadAlone("fast", {}));
  FORALL_ASSERT_OK_AND_ASSIGN(const LoneRun run, lone->RunFor(absl::Milliseconds(30), {}));
  EXPECT_GE(run.inferences, 1);
  EXPECT_GT(run.process_time, absl::ZeroDuration());
  FORALL_ASSERT_OK_AND_ASSIGN(const LoneRun longer, lone->RunFor(absl::Milliseconds(300), {}));
  EXPECT_GT(longer.inferences, 1);
}

TEST(ChildSessionsTest, ALoneModelThatMisbehavesIsToldOf) {
  ChildSessions::Options options = Scripted();
  options.prepare_limit = absl::Milliseconds(500);
  ChildSessions sessions(options);
  for (const char* const model :
       {"invalid", "crash", "crash while loading", "exit", "hang while loading", "hang"}) {
    EXPECT_THAT(sessions.LoadAlone(model, {}), StatusIs(absl::StatusCode::kInvalidArgument))
        << model;
  }
  EXPECT_THAT(sessions.LoadAlone("killed", {}), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(sessions.LoadAlone("error", {}), StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_THAT(sessions.LoadAlone("fast", [] { return true; }),
              StatusIs(absl::StatusCode::kCancelled));
}

TEST(ChildSessionsTest, SeveralSessionsHaveAProcessEach) {
  ChildSessions sessions(Scripted());
  FORALL_ASSERT_OK(sessions.Check());
  const pid_t first = sessions.pid();
  Profile profile = Short();
  profile.fresh = true;
  FORALL_ASSERT_OK(sessions.Run("fast", profile, {}));
  EXPECT_EQ(sessions.pid(), -1);
  EXPECT_FALSE(IsAlive(first));
}

TEST(ChildSessionsTest, ErrorsOfTheModelLeaveTheChildAlive) {
  ChildSessions sessions(Scripted());
  FORALL_ASSERT_OK(sessions.Check());
  const pid_t child = sessions.pid();
  EXPECT_THAT(sessions.Run("invalid", Short(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("this is no model")));
  EXPECT_THAT(sessions.Run("error", Short(), {}), StatusIs(absl::StatusCode::kUnimplemented));
  EXPECT_EQ(sessions.pid(), child);
  EXPECT_THAT(sessions.Run("fast", Short(), {}), IsOk());
}

TEST(ChildSessionsTest, ACrashIsTheModelsResult) {
  ChildSessions sessions(Scripted());
  EXPECT_THAT(sessions.Run("crash", Short(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("crashes the runtime")));
  EXPECT_THAT(sessions.Run("crash while loading", Short(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("crashes the runtime")));
  EXPECT_THAT(sessions.Run("exit", Short(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("exit code 7")));
  EXPECT_THAT(sessions.Run("fast", Short(), {}), IsOk());
}

TEST(ChildSessionsTest, OneCrashIsForgivenInAFreshProcess) {
  const TempDir dir;
  FORALL_ASSERT_OK(WriteFileAtomically(dir / "crash_once", "x"));
  ChildSessions sessions(Scripted());
  EXPECT_THAT(sessions.Run(dir / "crash_once", Short(), {}), IsOk());
}

TEST(ChildSessionsTest, AHangIsTheModelsResult) {
  ChildSessions::Options options = Scripted();
  options.run_limit = absl::Milliseconds(-9500);  // Half a second with the profile's own ten.
  ChildSessions sessions(options);
  FORALL_ASSERT_OK(sessions.Check());
  const pid_t child = sessions.pid();
  EXPECT_THAT(sessions.Run("hang", Short(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("did not end within")));
  EXPECT_FALSE(IsAlive(child));
  EXPECT_EQ(sessions.pid(), -1) << "the next model gets a fresh one";
}

TEST(ChildSessionsTest, LoadingHasALimitOfItsOwn) {
  ChildSessions::Options options = Scripted();
  options.prepare_limit = absl::Seconds(kSanitized ? 10 : 3);
  ChildSessions sessions(options);
  EXPECT_THAT(sessions.Run("hang while loading", Short(), {}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("was not loaded within")));
  EXPECT_THAT(sessions.Run("fast", Short(), {}), IsOk());
}

TEST(ChildSessionsTest, MemoryIsLimited) {
  if (kSanitized) GTEST_SKIP() << "sanitizers need memory of their own";
  ChildSessions::Options options = Scripted();
  options.memory_bytes = int64_t{512} << 20;
  ChildSessions sessions(options);
  EXPECT_THAT(sessions.Run("memory", Short(), {}), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(sessions.Run("fast", Short(), {}), IsOk());
}

TEST(ChildSessionsTest, KilledFromOutsideIsWantOfMemory) {
  ChildSessions sessions(Scripted());
  EXPECT_THAT(sessions.Run("killed", Short(), {}),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("memory")));
  EXPECT_THAT(sessions.Run("fast", Short(), {}), IsOk());
}

TEST(ChildSessionsTest, AnIdleChildThatDiedIsReplaced) {
  ChildSessions sessions(Scripted());
  FORALL_ASSERT_OK(sessions.Check());
  kill(sessions.pid(), SIGKILL);
  EXPECT_THAT(sessions.Run("fast", Short(), {}), IsOk());
}

TEST(ChildSessionsTest, CancellationKillsWhateverTheModelDoes) {
  ChildSessions sessions(Scripted());
  FORALL_ASSERT_OK(sessions.Check());
  const pid_t child = sessions.pid();
  int asked = 0;
  EXPECT_THAT(sessions.Run("hang", Short(), [&asked] { return ++asked > 20; }),
              StatusIs(absl::StatusCode::kCancelled));
  EXPECT_FALSE(IsAlive(child));
  EXPECT_THAT(sessions.Run("fast", Short(), {}), IsOk());
}

// Of a model that has taken over its process, which speaks to the worker.
TEST(ChildSessionsTest, NonsenseEndsTheChild) {
  ChildSessions::Options options = Scripted();
  options.run_limit = absl::Milliseconds(500);
  ChildSessions sessions(options);
  std::vector<std::string> models = {
      // More than an answer has: nobody waits for it, or takes memory for it.
      absl::StrCat("announce ", kLargestAnswer + 1),
      "announce 3000000000",
      "say {",
      R"(say {"event":"error","code":"3","message":""})",
      R"(say {"event":"error","code":1e300,"message":""})",
      absl::StrCat(R"(say {"event":"result","samples":)", std::string(1'000'000, '['),
                   std::string(1'000'000, ']'), "}")};
  // OK; what the worker itself says of calls that it gave up; and no codes at all.
  for (const int64_t code : std::initializer_list<int64_t>{0, 1, 4, 10, 15, 16, 17, -1, 1 << 20}) {
    models.push_back(absl::StrCat(R"(say {"event":"error","code":)", code, R"(,"message":""})"));
  }
  for (const std::string& model : models) {
    FORALL_ASSERT_OK(sessions.Check());
    const pid_t child = sessions.pid();
    EXPECT_THAT(sessions.Run(model, Short(), {}), StatusIs(absl::StatusCode::kDataLoss))
        << model.substr(0, 80);
    EXPECT_FALSE(IsAlive(child));
  }
  FORALL_EXPECT_OK(sessions.Run("fast", Short(), {}));
}

TEST(ChildSessionsTest, ABadReferenceIsTheWorkersTrouble) {
  for (const char* reference : {"crash while loading", "invalid"}) {
    ChildSessions::Options options = Scripted();
    options.reference_model = reference;
    ChildSessions sessions(options);
    EXPECT_THAT(sessions.Check(), StatusIs(absl::StatusCode::kFailedPrecondition)) << reference;
    EXPECT_THAT(sessions.Run("fast", Short(), {}), StatusIs(absl::StatusCode::kFailedPrecondition))
        << reference;
  }
  ChildSessions::Options options = Scripted();
  options.configuration = "nonsense";
  ChildSessions sessions(options);
  EXPECT_THAT(sessions.Check(), StatusIs(absl::StatusCode::kFailedPrecondition));
  options.command = {"/no/such/program"};
  ChildSessions none(options);
  EXPECT_THAT(none.Check(), StatusIs(absl::StatusCode::kNotFound));
}

TEST(ChildSessionsTest, TheChildEndsWithItsOwner) {
  pid_t child = -1;
  {
    ChildSessions sessions(Scripted());
    FORALL_ASSERT_OK(sessions.Check());
    child = sessions.pid();
    EXPECT_TRUE(IsAlive(child));
  }
  EXPECT_FALSE(IsAlive(child));
}

TEST(ChildSessionsTest, TheHarnessMeasuresThroughIt) {
  ChildSessions sessions(Scripted());
  LatencyHarness::Options options;
  options.sessions = &sessions;
  const EnvironmentProbe probe;
  options.probe = &probe;
  options.attempts = 1;
  FORALL_ASSERT_OK_AND_ASSIGN(const auto harness, LatencyHarness::Create(options));
  Profile profile = Short();
  profile.sessions = 3;
  profile.fresh = true;
  FORALL_ASSERT_OK_AND_ASSIGN(const LatencyResult result, harness->Measure("fast", profile));
  EXPECT_EQ(result.sessions.size(), 3u);
  EXPECT_GT(result.ratio, 0);
  EXPECT_THAT(result.environment, Contains(Key("involuntary_switches")));
  EXPECT_THAT(harness->Measure("crash", profile), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace forall
