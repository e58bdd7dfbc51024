// SPDX-License-Identifier: Apache-2.0
// From model to samples over the local transport, with shell scripts as vendors' programs.
#include "latency/backend/command_backend.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/transport/local_transport.h"

namespace forall {
namespace {

using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CommandBackendTest : public ::testing::Test {
 protected:
  void SetUp() override {
    FORALL_ASSERT_OK_AND_ASSIGN(transport_, LocalTransport::Create({.directory = dir_.path()}));
  }

  std::string Install(const std::string& name, const std::string& script) {
    const std::string path = dir_ / name;
    EXPECT_TRUE(WriteFileAtomically(path, "#!/bin/sh\n" + script).ok());
    EXPECT_EQ(chmod(path.c_str(), 0755), 0);
    return path;
  }

  absl::StatusOr<std::unique_ptr<CommandBackend>> Backend(const std::string& recipe) {
    absl::StatusOr<std::shared_ptr<const Recipe>> made = MakeRecipe(recipe);
    if (!made.ok()) return made.status();
    options_.transport = transport_.get();
    options_.recipe = *made;
    options_.runs_per_call = 3;
    return CommandBackend::Create(options_);
  }

  // One of a tool that prints a number for each run.
  absl::StatusOr<std::unique_ptr<CommandBackend>> Simple(const std::string& script) {
    return Backend(
        absl::StrCat(R"({"name": "tool", "argv": [")", Install("tool", script),
                     R"(", "{model}", "{threads}", "{runs}"], "not_supported": ["no such operator"],
            "samples": {"from": "standard_output", "format": "one_number_per_line", "unit": "us"}})"));
  }

  absl::Status TimeOnce(const std::string& script) {
    const auto backend = Simple(script);
    if (!backend.ok()) return backend.status();
    const auto model = (*backend)->Prepare("model", SessionMemory::kReused);
    if (!model.ok()) return model.status();
    return (*model)->Time(Clock::Real()).status();
  }

  std::vector<std::string> Files() {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(transport_->directory())) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  const TempDir dir_;
  std::unique_ptr<Transport> transport_;
  CommandBackend::Options options_;
};

TEST_F(CommandBackendTest, MeasuresByTheProgram) {
  options_.threads = 2;
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto backend, Simple("[ \"$(cat \"$1\")\" = model ] || exit 9\n"
                                 "i=0; while [ $i -lt $3 ]; do i=$((i+1)); echo $((i*$2)); done"));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto model, backend->Prepare("model", SessionMemory::kFresh));
  EXPECT_THAT(model->Time(Clock::Real()), IsOkAndHolds(ElementsAre(2000, 4000, 6000)));
  FORALL_EXPECT_OK(model->Run());
  EXPECT_THAT(Files(), ElementsAre(Sha256Hex("model") + ".onnx"));
  const BackendDescription description = backend->Describe();
  EXPECT_EQ(description.runtime, "tool");
  EXPECT_EQ(description.runtime_version, "unknown");
  EXPECT_EQ(description.threads, 2);
  EXPECT_EQ(description.runs_per_call, 3);
}

TEST_F(CommandBackendTest, FailuresAreToldApart) {
  EXPECT_THAT(TimeOnce("echo 'no such operator: X' >&2; exit 1"),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no such operator: X")));
  EXPECT_THAT(TimeOnce("echo 'std::bad_alloc' >&2; exit 1"),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(TimeOnce("kill -KILL $$"), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(TimeOnce("echo 'so far so good'; kill -SEGV $$"),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("so far so good")));
  EXPECT_THAT(TimeOnce("echo garbage"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("garbage")));
  EXPECT_THAT(TimeOnce("echo 1; echo 'oh dear' >&2"),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("oh dear")));
  options_.run_timeout = absl::Milliseconds(200);
  EXPECT_THAT(TimeOnce("sleep 1000"), StatusIs(absl::StatusCode::kDeadlineExceeded));
  options_.run_timeout = absl::Minutes(2);
  options_.cancelled = [] { return true; };
  EXPECT_THAT(TimeOnce("sleep 1000"), StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(CommandBackendTest, AMissingProgramIsToldAtOnce) {
  const auto backend = Backend(R"({"recipe": "trtexec", "program": "/no/such/trtexec"})");
  EXPECT_THAT(backend, StatusIs(absl::StatusCode::kFailedPrecondition,
                                HasSubstr("a ready recipe's \"program\"")));
}

// A trtexec of shell that builds slowly enough to notice, and runs.
constexpr char kTrtexec[] = R"sh(
echo "&&&& RUNNING TensorRT.trtexec [TensorRT v8601] # trtexec $*"
echo "$*" >> "$(dirname "$0")/calls"
for a in "$@"; do case $a in
  --onnx=*) onnx=${a#*=};; --saveEngine=*) save=${a#*=};; --loadEngine=*) load=${a#*=};;
  --timingCacheFile=*) cache=${a#*=};; --exportTimes=*) times=${a#*=};; --iterations=*) n=${a#*=};;
  --help) exit 0;;
esac; done
if [ -n "$onnx" ]; then
  grep -q unsupported "$onnx" && { echo "[E] Failed to parse onnx file"; exit 1; }
  { echo engine of; cat "$onnx"; } > "$save"; echo timings > "$cache"
  exit 0
fi
[ "$(head -n 1 "$load")" = "engine of" ] || { echo "[E] Engine deserialization failed"; exit 1; }
echo "[I] Warmup completed 4 queries over 200 ms"
echo "[I] Timing trace has $n queries over 3 s"
{ echo '['; s=' '; i=0; while [ $i -lt $n ]; do echo "$s{ \"latencyMs\" : 1.$i }"; s=','; i=$((i+1)); done
  echo ']'; } > "$times"
echo "&&&& PASSED TensorRT.trtexec [TensorRT v8601] # trtexec"
)sh";

TEST_F(CommandBackendTest, BuildsEnginesOnceAndKeepsThem) {
  const std::string program = Install("trtexec", kTrtexec);
  const auto calls = [&] {
    const auto text = ReadFile(dir_ / "calls");
    int builds = 0;
    for (size_t at = 0; (at = text->find("--saveEngine", at)) != std::string::npos; ++at) ++builds;
    return builds;
  };
  const std::string recipe = absl::StrCat(R"({"recipe": "trtexec", "program": ")", program, "\"}");
  FORALL_ASSERT_OK_AND_ASSIGN(const auto backend, Backend(recipe));
  EXPECT_EQ(backend->Describe().runtime_version, "8.6.1");
  for (int session = 0; session < 3; ++session) {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto model, backend->Prepare("model", SessionMemory::kFresh));
    EXPECT_THAT(model->Time(Clock::Real()), IsOkAndHolds(ElementsAre(1.0e6, 1.1e6, 1.2e6)));
  }
  EXPECT_EQ(calls(), 1);
  EXPECT_EQ(Files().size(), 3u) << "model, engine, timing cache";
  // Another backend of the same device finds the engine; another command line or model does not.
  FORALL_ASSERT_OK_AND_ASSIGN(const auto second, Backend(recipe));
  FORALL_ASSERT_OK(second->Prepare("model", SessionMemory::kFresh).status());
  EXPECT_EQ(calls(), 1);
  FORALL_ASSERT_OK(second->Prepare("model 2", SessionMemory::kFresh).status());
  EXPECT_EQ(calls(), 2);
  FORALL_ASSERT_OK_AND_ASSIGN(const auto half,
                              Backend(absl::StrCat(R"({"recipe": "trtexec", "program": ")", program,
                                                   R"(", "build_arguments": ["--fp16"]})")));
  FORALL_ASSERT_OK(half->Prepare("model", SessionMemory::kFresh).status());
  EXPECT_EQ(calls(), 3);
  EXPECT_THAT(half->Prepare("unsupported", SessionMemory::kFresh),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("Failed to parse onnx")));
  for (const std::string& name : Files()) EXPECT_THAT(name, ::testing::Not(HasSubstr(".part")));
}

TEST_F(CommandBackendTest, BuildingHasItsOwnLimit) {
  options_.build_timeout = absl::Milliseconds(200);
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto backend,
      Backend(absl::StrCat(R"({"name": "tool", "argv": ["cat", "{engine}"], "build": [")",
                           Install("build", "sleep 1000"),
                           R"(", "{model}", "{engine}"], "samples": {"from":
              "standard_output", "format": "one_number_per_line", "unit": "us"}})")));
  EXPECT_THAT(backend->Prepare("model", SessionMemory::kFresh),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("build")));
}

TEST_F(CommandBackendTest, OtherFormatsNeedAConverter) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto backend, Backend("benchmark_model"));
  EXPECT_THAT(backend->Prepare("model", SessionMemory::kFresh),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       ::testing::AllOf(HasSubstr("tflite"), HasSubstr("convert"))));
}

TEST_F(CommandBackendTest, ConvertsOnThisMachine) {
  const std::string converter =
      Install("convert",
              "echo converted >> \"$(dirname \"$0\")/conversions\"\n"
              "grep -q strange \"$1\" && { echo 'strange model' >&2; exit 1; }\n"
              "{ echo tflite; cat \"$1\"; } > \"$2\"");
  const std::string program =
      Install("benchmark_model",
              "f=${1#--graph=}; [ \"$(head -n 1 \"$f\")\" = tflite ] || exit 3\n"
              "echo 'count=50 first=2 curr=2 min=1 max=3 avg=2.5 std=1 p5=1 median=2 p95=3'\n"
              "echo 'Inference timings in us: Init: 7, Inference (avg): 2.5'\n");
  const std::string recipe =
      absl::StrCat(R"({"recipe": "benchmark_model", "program": ")", program, R"(", "convert": [")",
                   converter, R"(", "{model}", "{output}"]})");
  FORALL_ASSERT_OK_AND_ASSIGN(const auto backend, Backend(recipe));
  EXPECT_EQ(backend->Describe().runtime, "benchmark_model (summaries)");
  for (int session = 0; session < 2; ++session) {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto model, backend->Prepare("model", SessionMemory::kFresh));
    EXPECT_THAT(model->Time(Clock::Real()), IsOkAndHolds(ElementsAre(2000)));
  }
  EXPECT_THAT(ReadFile(dir_ / "conversions"), IsOkAndHolds("converted\n"));
  EXPECT_THAT(backend->Prepare("strange", SessionMemory::kFresh),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("strange model")));
}

TEST_F(CommandBackendTest, RunsQnnNetRunAndItsViewer) {
  const std::string converter = Install("convert", "cp \"$1\" \"$2\"; echo raw > \"$3\"");
  const std::string program =
      Install("qnn-net-run",
              "for a in \"$@\"; do case $a in --version) echo 'QNN SDK v2.20.0'; exit 0;;\n"
              "--output_dir=*) d=${a#*=};; --input_list=*) l=${a#*=};; esac; done\n"
              "[ \"$(cat \"$(cat \"$l\")\")\" = raw ] || exit 4\n"
              "[ \"$V\" = 'a b' ] || exit 5\n"
              "mkdir -p \"$d\"; echo log > \"$d/qnn-profiling-data_0.log\"");
  const std::string viewer = Install(
      "viewer",
      "[ -s \"$2\" ] || exit 6\n"
      "{ echo 'Msg Timestamp,Message,Time,Unit of Measurement,Timing Source,Event Level,Event "
      "Identifier'\nfor t in 5 6 7; do echo \"1,EXECUTE,$t,US,NETRUN,ROOT,Graph 0: g\"; done; } > "
      "\"$4\"");
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto backend,
      Backend(absl::StrCat(R"({"recipe": "qnn-net-run", "program": ")", program,
                           R"(", "viewer": ")", viewer,
                           R"(", "environment": ["V=a b"], "convert": [")", converter,
                           R"(", "{model}", "{output}", "{input}"]})")));
  EXPECT_EQ(backend->Describe().runtime_version, "2.20.0");
  FORALL_ASSERT_OK_AND_ASSIGN(const auto model, backend->Prepare("model", SessionMemory::kFresh));
  EXPECT_THAT(model->Time(Clock::Real()), IsOkAndHolds(ElementsAre(5000, 6000, 7000)));
  EXPECT_EQ(Files().size(), 3u) << "model, input, list: nothing of the call";
  // Without an input there is nothing to run.
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto no_input,
      Backend(absl::StrCat(R"({"recipe": "qnn-net-run", "program": ")", program,
                           R"(", "convert": ["cp", "{model}", "{output}"]})")));
  EXPECT_THAT(no_input->Prepare("model", SessionMemory::kFresh),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("input_list")));
}

TEST_F(CommandBackendTest, RefusesOptionsOutOfRange) {
  EXPECT_THAT(CommandBackend::Create({}), StatusIs(absl::StatusCode::kInvalidArgument));
  options_.threads = 0;
  EXPECT_THAT(Simple(""), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("threads")));
  options_.threads = 1;
  options_.run_timeout = absl::ZeroDuration();
  EXPECT_THAT(Simple(""), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("run_timeout")));
}

}  // namespace
}  // namespace forall
