// SPDX-License-Identifier: Apache-2.0
// Every recipe on its tool's documented output and on what is not.
#include "latency/backend/recipe.h"

#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/backend/recipes/benchmark_model.h"

namespace forall {
namespace {

using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;
using ::testing::Contains;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

std::shared_ptr<const Recipe> Make(const std::string& name_or_json) {
  const auto recipe = MakeRecipe(name_or_json);
  EXPECT_TRUE(recipe.ok()) << recipe.status();
  return recipe.ok() ? *recipe : nullptr;
}

ProgramOutput Said(const std::string& standard_output, const std::string& standard_error = "",
                   ProgramEnd end = {}) {
  return {.end = end, .standard_output = standard_output, .standard_error = standard_error};
}

// A thousand brackets.
std::string Bomb() { return std::string(1000, '['); }

// Every proper prefix of an output, at steps, is refused or, where only white space is missing,
// reads the same.
void ExpectTruncationIsNoticed(const Recipe& recipe, const RecipeOutput& whole,
                               std::string RecipeOutput::*part, int runs) {
  const auto full = recipe.ParseSamples(whole, runs);
  FORALL_ASSERT_OK(full.status());
  for (size_t size = 0; size < (whole.*part).size(); ++size) {
    RecipeOutput cut = whole;
    (cut.*part).resize(size);
    const auto samples = recipe.ParseSamples(cut, runs);
    if (samples.ok()) {
      EXPECT_EQ(*samples, *full) << (cut.*part);
    } else {
      EXPECT_EQ(samples.status().code(), absl::StatusCode::kDataLoss) << samples.status();
    }
  }
}

// In place of `number` in a good output, nothing that is no duration is taken.
void ExpectOnlyDurations(const Recipe& recipe, const RecipeOutput& good,
                         std::string RecipeOutput::*part, const std::string& number, int runs) {
  ASSERT_THAT(good.*part, HasSubstr(number));
  for (const char* bad : {"nan",
                          "NaN",
                          "-nan",
                          "inf",
                          "-inf",
                          "Infinity",
                          "-1.5",
                          "0",
                          "0.0",
                          "1e99",
                          "1e999",
                          "0x10",
                          "1,5",
                          "1.5ms",
                          "",
                          " ",
                          "1 2",
                          "--1",
                          "1e",
                          "null",
                          "\"1\"",
                          "1.5.5",
                          "99999999999999999999999999"}) {
    RecipeOutput output = good;
    absl::StrReplaceAll({{number, bad}}, &(output.*part));
    EXPECT_THAT(recipe.ParseSamples(output, runs), StatusIs(absl::StatusCode::kDataLoss)) << bad;
  }
}

// As trtexec 8.6 and later write it (exportJSONTrace).
constexpr char kTrace[] = R"([
  { "startEnqMs" : 201.1, "endEnqMs" : 201.4, "startH2dMs" : 201.1, "endH2dMs" : 201.2, "startComputeMs" : 201.2, "endComputeMs" : 202.6, "startD2hMs" : 202.6, "endD2hMs" : 202.61, "h2dMs" : 0.1, "computeMs" : 1.4, "d2hMs" : 0.01, "latencyMs" : 1.52709 }
, { "startEnqMs" : 203.1, "endEnqMs" : 203.4, "startH2dMs" : 203.1, "endH2dMs" : 203.2, "startComputeMs" : 203.2, "endComputeMs" : 204.6, "startD2hMs" : 204.6, "endD2hMs" : 204.61, "h2dMs" : 0.1, "computeMs" : 1.4, "d2hMs" : 0.01, "latencyMs" : 1.43655 }
]
)";
// Of version 8.6.1 (sampleReporting.cpp, printProlog).
constexpr char kTrtexecLog[] =
    "&&&& RUNNING TensorRT.trtexec [TensorRT v8601] # trtexec --loadEngine=e\n"
    "[04/07/2025-23:59:50] [I] Warmup completed 1 queries over 200 ms\n"
    "[04/07/2025-23:59:50] [I] Timing trace has 2 queries over 3.0039 s\n"
    "&&&& PASSED TensorRT.trtexec [TensorRT v8601] # trtexec --loadEngine=e\n";

TEST(TrtexecTest, ReadsTheExportedTrace) {
  const auto recipe = Make("trtexec");
  const RecipeOutput output = {.standard_output = kTrtexecLog, .file = kTrace};
  EXPECT_THAT(recipe->ParseSamples(output, 2),
              IsOkAndHolds(ElementsAre(DoubleNear(1527090, 1e-3), DoubleNear(1436550, 1e-3))));
  EXPECT_THAT(recipe->ParseSamples(output, 3),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("2 samples where 3")));
  ExpectTruncationIsNoticed(*recipe, output, &RecipeOutput::file, 2);
  ExpectOnlyDurations(*recipe, output, &RecipeOutput::file, "1.43655", 2);
}

TEST(TrtexecTest, LeavesOutTheWarmUpThatOldVersionsExport) {
  const auto recipe = Make("trtexec");
  RecipeOutput output = {.standard_output = kTrtexecLog, .file = kTrace};
  absl::StrReplaceAll({{"has 2 queries", "has 1 queries"}}, &output.standard_output);
  EXPECT_THAT(recipe->ParseSamples(output, 1), IsOkAndHolds(SizeIs(1)));
  for (const char* count :
       {"has 3 queries", "has 0 queries", "has -1 queries", "has nan queries"}) {
    output.standard_output = absl::StrReplaceAll(kTrtexecLog, {{"has 2 queries", count}});
    EXPECT_THAT(recipe->ParseSamples(output, 1), StatusIs(absl::StatusCode::kDataLoss)) << count;
  }
  output.standard_output = "";
  EXPECT_THAT(recipe->ParseSamples(output, 1), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(TrtexecTest, RefusesWhatIsNoTrace) {
  const auto recipe = Make("trtexec");
  for (const std::string& file :
       {std::string(), std::string("[]"), std::string("{}"), std::string("[1,2]"),
        std::string("[{\"latencyMs\":\"1\"},{}]"), std::string(kTrace) + "trailing", Bomb(),
        absl::StrReplaceAll(kTrace, {{"latencyMs", "latencyUs"}})}) {
    EXPECT_THAT(recipe->ParseSamples({.standard_output = kTrtexecLog, .file = file}, 1),
                StatusIs(absl::StatusCode::kDataLoss))
        << file.substr(0, 80);
  }
}

TEST(TrtexecTest, TellsVersionsAndCommandLines) {
  const auto recipe = Make(
      R"({"recipe": "trtexec", "program": "/usr/src/tensorrt/bin/trtexec",
          "build_arguments": ["--fp16"], "arguments": ["--useCudaGraph"], "provider": "tensorrt-fp16"})");
  const auto version = [&](const char* banner) { return recipe->ParseVersion(Said(banner)); };
  EXPECT_EQ(version(kTrtexecLog), "8.6.1");
  EXPECT_EQ(version("[TensorRT v100300]"), "10.3.0");
  EXPECT_EQ(version("[TensorRT v101601] [b11] # trtexec"), "10.16.1");
  EXPECT_EQ(version("[TensorRT v8401]"), "8.4.1");
  EXPECT_EQ(version("[TensorRT vx]"), "");
  EXPECT_EQ(version(""), "");
  const RecipeValues values = {
      .model = "m", .engine = "e", .timing_cache = "t", .output = "o", .threads = 1, .runs = 50};
  EXPECT_THAT(
      recipe->BuildCommand(values),
      ElementsAre("/usr/src/tensorrt/bin/trtexec", "--onnx=m", "--saveEngine=e",
                  "--timingCacheFile=t", "--iterations=1", "--duration=0", "--warmUp=0", "--fp16"));
  EXPECT_THAT(
      recipe->RunCommands(values),
      ElementsAre(ElementsAre("/usr/src/tensorrt/bin/trtexec", "--loadEngine=e", "--exportTimes=o",
                              "--iterations=50", "--duration=0", "--warmUp=200", "--exposeDMA",
                              "--useSpinWait", "--useCudaGraph")));
  EXPECT_EQ(recipe->traits().provider, "tensorrt-fp16");
}

TEST(TrtexecTest, UnderstandsFailures) {
  const auto recipe = Make("trtexec");
  const auto failure = [&](const std::string& log, ProgramEnd end) {
    return recipe->Failure(Said(log, "", end));
  };
  EXPECT_THAT(
      failure("[09/02/2024-17:35:22] [E] [TRT] ModelImporter.cpp:951: No importer registered for "
              "op: X\n"
              "[09/02/2024-17:35:22] [E] Failed to parse onnx file\n"
              "&&&& FAILED TensorRT.trtexec [TensorRT v100300] # trtexec --onnx=m\n",
              {.exit_code = 1}),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("No importer registered for op: X")));
  EXPECT_THAT(failure("[E] Error[1]: Cuda Runtime (out of memory)\n[E] Could not find any "
                      "implementation for node\n",
                      {.exit_code = 1}),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(failure("", {.signal = SIGKILL}), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(failure("going well\n", {.signal = SIGSEGV}),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("signal 11")));
  EXPECT_THAT(failure("sh: trtexec: not found\n", {.exit_code = 127}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("program")));
}

// As DumpToFile writes it.
constexpr char kResultFile[] =
    "forall,0.0559777,123456789,98,0\n"
    "forall,0.0561,123456789,98,1\n"
    "forall,5.5e-02,123456789,98,2\n";

TEST(OnnxRuntimePerfTestTest, ReadsTheResultFile) {
  const auto recipe = Make("onnxruntime_perf_test");
  const RecipeOutput output = {.file = kResultFile};
  EXPECT_THAT(recipe->ParseSamples(output, 3),
              IsOkAndHolds(ElementsAre(DoubleNear(55977700, 1), DoubleNear(56100000, 1),
                                       DoubleNear(55000000, 1))));
  EXPECT_THAT(recipe->ParseSamples(output, 4), StatusIs(absl::StatusCode::kDataLoss));
  ExpectTruncationIsNoticed(*recipe, output, &RecipeOutput::file, 3);
  ExpectOnlyDurations(*recipe, output, &RecipeOutput::file, "0.0561", 3);
  EXPECT_THAT(
      recipe->ParseSamples({.file = absl::StrCat(kResultFile, "\nMin Latency: 0.05 s\n")}, 3),
      IsOkAndHolds(SizeIs(3)))
      << "statistics behind an empty line";
  EXPECT_THAT(recipe->ParseSamples({.file = "a,b,c,0.5,1,2,0\n"}, 1),
              IsOkAndHolds(ElementsAre(5e8)))
      << "the name may hold commas";
}

TEST(OnnxRuntimePerfTestTest, RefusesWhatIsNoResultFile) {
  const auto recipe = Make("onnxruntime_perf_test");
  for (const std::string& file :
       {std::string(), std::string("\n"), std::string("words\n"), std::string("m,0.1,5,5\n"),
        std::string("m,0.1,5,5,1\n"), std::string("m,0.1,5,5,0\nm,0.1,5,5,0\n"),
        std::string("m,0.1,x,5,0\n"), std::string("m,0.1 sec,5,5,0\n"), Bomb() + "\n",
        std::string("m,55977700,5,5,0\n"), std::string("m,0.1,5,5,0\nn,0.1,5,5,1\n")}) {
    EXPECT_THAT(recipe->ParseSamples({.file = file}, 1), StatusIs(absl::StatusCode::kDataLoss))
        << file.substr(0, 80);
  }
}

TEST(OnnxRuntimePerfTestTest, CommandLineAndFailures) {
  const auto recipe = Make(
      R"({"recipe": "onnxruntime_perf_test", "provider": "xnnpack", "arguments": ["-C", "a|1"]})");
  EXPECT_THAT(recipe->RunCommands({.model = "m.onnx", .output = "o", .threads = 4, .runs = 20}),
              ElementsAre(ElementsAre("onnxruntime_perf_test", "-I", "-S", "1", "-m", "times", "-r",
                                      "20", "-e", "xnnpack", "-x", "4", "-y", "1", "-o", "99", "-C",
                                      "a|1", "m.onnx", "o")));
  EXPECT_THAT(
      recipe->Failure(Said("",
                           "Load model from m.onnx failed:Fatal error: Foo(1) is not a registered "
                           "function/op\n",
                           {.exit_code = 255})),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("Foo(1)")));
}

// As benchmark_model prints it; the second line of statistics is the timed runs'.
constexpr char kBenchmarkLog[] =
    "INFO: Initialized session in 0.7ms.\n"
    "INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if "
    "exceeding 150 seconds.\n"
    "INFO: count=19 first=30000 curr=26000 min=25900 max=30000 avg=26500 std=900\n"
    "\n"
    "INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if "
    "exceeding 150 seconds.\n"
    "INFO: count=50 first=26041 curr=26322 min=25923 max=29541 avg=26432.5 std=741\n"
    "\n"
    "INFO: Inference timings in us: Init: 700, First inference: 30000, Warmup (avg): 26500, "
    "Inference (avg): 26432.5\n"
    "INFO: Overall peak memory footprint (MB) via periodic monitoring: 33.5\n";

TEST(BenchmarkModelTest, ReadsTheMeanOrTheMedian) {
  const auto recipe = Make("benchmark_model");
  EXPECT_TRUE(recipe->traits().summaries);
  const RecipeOutput output = {.standard_output = kBenchmarkLog};
  EXPECT_THAT(recipe->ParseSamples(output, 50), IsOkAndHolds(ElementsAre(26432500)));
  EXPECT_THAT(recipe->ParseSamples({.standard_error = kBenchmarkLog}, 50),
              IsOkAndHolds(ElementsAre(26432500)))
      << "Android's log";
  EXPECT_THAT(recipe->ParseSamples(output, 51), StatusIs(absl::StatusCode::kDataLoss));
  const std::string newer =
      absl::StrReplaceAll(kBenchmarkLog, {{"std=741", "std=741 p5=25930 median=26200 p95=28000"}});
  EXPECT_THAT(recipe->ParseSamples({.standard_output = newer}, 50),
              IsOkAndHolds(ElementsAre(26200000)));
  const std::string same = absl::StrReplaceAll(
      kBenchmarkLog, {{"count=50 first=26041 curr=26322 min=25923 max=29541 avg=26432.5 std=741",
                       "count=50 curr=26432.5(all same)"}});
  EXPECT_THAT(recipe->ParseSamples({.standard_output = same}, 50),
              IsOkAndHolds(ElementsAre(26432500)));
}

TEST(BenchmarkModelTest, RefusesWhatIsNotTheWholeLog) {
  const auto recipe = Make("benchmark_model");
  const RecipeOutput output = {.standard_output = kBenchmarkLog};
  ExpectTruncationIsNoticed(*recipe, output, &RecipeOutput::standard_output, 50);
  ExpectOnlyDurations(*recipe, output, &RecipeOutput::standard_output, "26432.5", 50);
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"count=50", "count=7"},
           {"count=50", "count=1e99"},
           {"count=50", "count=50.5"},
           {"count=50", "count=-50"},
           {"count=50", "count=0"},
           {"(avg): 26432.5", "(avg): 99999"},
           {"(avg): 26432.5", "(avg): 26432.5 ms"},
           {"min=25923", "min=27000"},
           {"min=25923", "min=25923 min=3"},
           {"min=25923", "least"},
           {"std=741", "std=741 p5=1 median=1 p95=1"},
           {"Inference timings in us", "Inference timings in ms"}}) {
    EXPECT_THAT(recipe->ParseSamples(
                    {.standard_output = absl::StrReplaceAll(kBenchmarkLog, {{from, to}})}, 50),
                StatusIs(absl::StatusCode::kDataLoss))
        << to;
  }
}

TEST(BenchmarkModelTest, CommandLineMemoryAndFailures) {
  const auto recipe = Make("benchmark_model");
  EXPECT_THAT(recipe->RunCommands({.model = "m.tflite", .threads = 2, .runs = 50}),
              ElementsAre(ElementsAre("benchmark_model", "--graph=m.tflite", "--num_threads=2",
                                      "--num_runs=50", "--min_secs=0", "--warmup_runs=5",
                                      "--warmup_min_secs=0.2")));
  EXPECT_EQ(PeakMemoryBytes(kBenchmarkLog), 33.5 * 1048576);
  for (const char* none : {"", "Overall peak memory footprint (MB) via periodic monitoring:",
                           "Overall peak memory footprint (MB) via periodic monitoring: -1",
                           "Overall peak memory footprint (MB) via periodic monitoring: inf"}) {
    EXPECT_FALSE(PeakMemoryBytes(none).has_value()) << none;
  }
  EXPECT_THAT(recipe->Failure(Said("",
                                   "ERROR: Didn't find op for builtin opcode 'CONV_2D' version "
                                   "'99'.\nFailed to construct interpreter\n",
                                   {.exit_code = 1})),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("CONV_2D")));
}

// As qnn-profile-viewer writes it for two inferences.
constexpr char kProfile[] =
    "Input Log File Location: qnn-profiling-data_0.log\n"
    "\n"
    "Msg Timestamp,Message,Time,Unit of Measurement,Timing Source,Event Level,Event Identifier\n"
    "15422000000,INIT,91234,US,NETRUN,ROOT,Init, with a comma\n"
    "15423026395,EXECUTE,3301,US,NETRUN,ROOT,Graph 0: tiny_block_decode\n"
    "15423026396,EXECUTE,1851,US,BACKEND,ROOT,QNN accelerator (execute) time\n"
    "15423026397,EXECUTE,149241,CYCLES,BACKEND,ROOT,Accelerator (execute) time (cycles)\n"
    "15423026398,EXECUTE,500,CYCLES,BACKEND,SUB-EVENT,_Softmax:OpId_127 (cycles)\n"
    "15423030000,EXECUTE,3278,US,NETRUN,ROOT,Graph 0: tiny_block_decode\n"
    "15423030001,EXECUTE IPS,303.9,INF/SEC,NETRUN,ROOT,IPS\n"
    "15423040000,DE-INIT,700,US,NETRUN,ROOT,end\n";

TEST(QnnNetRunTest, ReadsEveryInference) {
  const auto recipe = Make("qnn-net-run");
  const RecipeOutput output = {.file = kProfile};
  EXPECT_THAT(recipe->ParseSamples(output, 2), IsOkAndHolds(ElementsAre(3301000, 3278000)));
  EXPECT_THAT(recipe->ParseSamples(output, 3), StatusIs(absl::StatusCode::kDataLoss));
  ExpectOnlyDurations(*recipe, output, &RecipeOutput::file, ",3278,", 2);
  for (const std::string& bad :
       {absl::StrReplaceAll(kProfile, {{"3278,US", "3278,MS"}}),
        absl::StrReplaceAll(kProfile, {{"Timing Source", "Source"}}),
        absl::StrReplaceAll(kProfile, {{"15423040000,DE-INIT,700", "what is this"}}),
        std::string(kProfile).substr(0, sizeof(kProfile) - 3), std::string(), std::string("\n"),
        Bomb() + "\n"}) {
    EXPECT_THAT(recipe->ParseSamples({.file = bad}, 2), StatusIs(absl::StatusCode::kDataLoss))
        << bad.substr(0, 200);
  }
}

TEST(QnnNetRunTest, CommandLines) {
  const auto recipe = Make(
      R"({"recipe": "qnn-net-run", "backend_library": "/q/libQnnHtp.so", "viewer": "/q/viewer",
          "input_list": "/q/inputs.txt", "environment": ["LD_LIBRARY_PATH=/q"]})");
  const auto lines =
      recipe->RunCommands({.model = "m.bin", .output = "o", .input_list = "l", .runs = 20});
  ASSERT_THAT(lines, SizeIs(2));
  EXPECT_THAT(lines[0],
              ElementsAre("qnn-net-run", "--retrieve_context=m.bin", "--backend=/q/libQnnHtp.so",
                          "--input_list=l", "--output_dir=o.d", "--num_inferences=20",
                          "--keep_num_outputs=1", "--profiling_level=basic"));
  EXPECT_THAT(lines[1], Contains("/q/viewer"));
  EXPECT_EQ(recipe->ParseVersion(Said("QNN SDK v2.20.0.240223161227\n")), "2.20.0.240223161227");
  EXPECT_EQ(recipe->ParseVersion(Said("very well\n")), "");
  EXPECT_EQ(recipe->traits().input_list, "/q/inputs.txt");
}

TEST(QnnThroughputNetRunTest, ReadsTheMean) {
  const auto recipe = Make("qnn-throughput-net-run");
  const RecipeOutput output = {.standard_output =
                                   "TotalTime (us): 100000\nforall:graphExecute:   50   2000 us\n"};
  EXPECT_THAT(recipe->ParseSamples(output, 50), IsOkAndHolds(ElementsAre(2000000)));
  EXPECT_THAT(recipe->ParseSamples(output, 51), StatusIs(absl::StatusCode::kDataLoss));
  ExpectOnlyDurations(*recipe, output, &RecipeOutput::standard_output, "100000", 50);
  for (const char* bad :
       {"", "TotalTime 1\n", "forall:graphExecute: 50\n",
        "TotalTime 1\nTotalTime 1\nforall:graphExecute: 50\n",
        "TotalTime 1\nother:graphExecute: 50\n", "TotalTime 1\nforall:graphExecute: 0\n",
        "TotalTime 1\nforall:graphExecute: -50\n", "TotalTime 1\nforall:graphExecute: inf\n"}) {
    EXPECT_THAT(recipe->ParseSamples({.standard_output = bad}, 1),
                StatusIs(absl::StatusCode::kDataLoss))
        << bad;
  }
  EXPECT_THAT(recipe->Config({.model = "m", .input_list = "l", .runs = 7}),
              HasSubstr("\"loop\": 7"));
}

TEST(CustomRecipeTest, OneNumberPerLine) {
  const auto recipe = Make(R"({"name": "mine", "argv": ["/opt/{{tool}}", "{model}", "-t{threads}",
      "-n{runs}"], "version": ["/opt/tool", "-V"], "provider": "npu",
      "samples": {"from": "standard_output", "format": "one_number_per_line", "unit": "us"}})");
  EXPECT_THAT(recipe->RunCommands({.model = "m", .threads = 3, .runs = 9}),
              ElementsAre(ElementsAre("/opt/{tool}", "m", "-t3", "-n9")));
  const RecipeOutput output = {.standard_output = "1.5\n\n 2\n"};
  EXPECT_THAT(recipe->ParseSamples(output, 2), IsOkAndHolds(ElementsAre(1500, 2000)));
  EXPECT_THAT(recipe->ParseSamples(output, 3), StatusIs(absl::StatusCode::kDataLoss));
  for (const char* bad :
       {"", "nan\n1\n", "-1\n1\n", "1\nwords\n", "1 2\n1\n", "1e99\n1\n", "0\n1\n"}) {
    EXPECT_THAT(recipe->ParseSamples({.standard_output = bad}, 2),
                StatusIs(absl::StatusCode::kDataLoss))
        << bad;
  }
  EXPECT_EQ(recipe->ParseVersion(Said("tool 3.1\nmore\n")), "tool 3.1");
}

TEST(CustomRecipeTest, LinePrefix) {
  const auto recipe = Make(R"({"name": "mine", "argv": ["t", "{model}", "{output}"],
      "samples": {"from": "output", "format": "line_prefix", "prefix": "latency: ", "suffix": " ms",
                  "unit": "ms"}})");
  EXPECT_THAT(recipe->ParseSamples({.file = "hello\nlatency: 1.5 ms\nlatency: 2 ms\r\nbye\n"}, 2),
              IsOkAndHolds(ElementsAre(1.5e6, 2e6)));
  for (const char* bad : {"latency: 1.5 us\n", "latency: nan ms\n", "latency: \n", "hello\n"}) {
    EXPECT_THAT(recipe->ParseSamples({.file = bad}, 1), StatusIs(absl::StatusCode::kDataLoss))
        << bad;
  }
}

TEST(CustomRecipeTest, JsonPointer) {
  const auto recipe = Make(R"({"name": "mine", "argv": ["t", "{model}"],
      "samples": {"from": "standard_output", "format": "json_pointer", "pointer": "/a~1b/0/runs",
                  "field": "/t", "unit": "s"}})");
  EXPECT_THAT(recipe->ParseSamples(
                  {.standard_output = R"({"a/b": [{"runs": [{"t": 0.5}, {"t": 1}]}]})"}, 2),
              IsOkAndHolds(ElementsAre(5e8, 1e9)));
  for (const std::string& bad :
       {std::string("{}"), std::string(R"({"a/b": []})"), std::string(R"({"a/b": [{"runs": 3}]})"),
        std::string(R"({"a/b": [{"runs": [{"t": "1"}]}]})"),
        std::string(R"({"a/b": [{"runs": []}]})"),
        std::string(R"({"a/b": [{"runs": [{"t": 1e999}]}]})"), std::string("no json"), Bomb(),
        std::string(R"({"a/b": [{"runs": [{"t": -1}]}]})")}) {
    EXPECT_THAT(recipe->ParseSamples({.standard_output = bad}, 1),
                StatusIs(absl::StatusCode::kDataLoss))
        << bad.substr(0, 80);
  }
}

TEST(MakeRecipeTest, WrongRecipesAreToldWhatIsWrong) {
  const std::string samples =
      R"("samples": {"from": "standard_output", "format": "one_number_per_line", "unit": "ms"})";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"tensorrt", "trtexec"},
      {"{", "JSON object"},
      {"{}", "name"},
      {R"({"recipe": "nothing"})", "qnn-net-run"},
      {R"({"recipe": 3})", "recipe must be a text"},
      {R"({"recipe": "trtexec", "argumets": []})", "argumets"},
      {R"({"recipe": "trtexec", "arguments": "--fp16"})", "list of texts"},
      {R"({"recipe": "benchmark_model", "convert": ["c", "{modle}"]})", "{model}"},
      {R"({"name": "a", "argv": ["t", "{model}"], "sample": {}})", "\"sample\""},
      {R"({"name": "a", "argv": ["t", "{model}"]})", "samples"},
      {R"({"name": "a", )" + samples + "}", "argv"},
      {R"({"name": "a", "argv": ["t"], )" + samples + "}", "{model}"},
      {R"({"name": "a", "argv": ["t", "{model}", "{gpu}"], )" + samples + "}", "{threads}"},
      {R"({"name": "a", "argv": ["t", "{model}", "{output}"], )" + samples + "}", "{output}"},
      {R"({"name": "a", "argv": ["t", "{model}", "{"], )" + samples + "}", "twice"},
      {R"({"name": "a", "argv": ["t", "{model}"], "build": ["b", "{model}"], )" + samples + "}",
       "{engine}"},
      {R"({"name": "a", "argv": ["t", "{model}"], "samples": {"from": "output", "format":
          "one_number_per_line", "unit": "ms"}})",
       "{output}"},
      {R"({"name": "a", "argv": ["t", "{model}"], "samples": {"from": "standard_output", "format":
          "one_number_per_line", "unit": "min"}})",
       "unit"},
      {R"({"name": "a", "argv": ["t", "{model}"], "samples": {"from": "standard_output", "format":
          "regex", "unit": "ms"}})",
       "format"},
      {R"({"name": "a", "argv": ["t", "{model}"], "samples": {"from": "standard_output", "format":
          "one_number_per_line", "unit": "ms", "colour": "red"}})",
       "colour"},
      {R"({"name": "a", "argv": ["t", "{model}"], "samples": {"from": "standard_output", "format":
          "json_pointer", "unit": "ms", "pointer": "a"}})",
       "slash"},
      {"{\"name\": " + Bomb(), ""}};
  for (const auto& [text, words] : cases) {
    EXPECT_THAT(MakeRecipe(text), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(words)))
        << text;
  }
}

TEST(MakeRecipeTest, EveryReadyRecipeCanBeMade) {
  EXPECT_THAT(RecipeNames(), SizeIs(5));
  for (const std::string& name : RecipeNames()) {
    const auto recipe = Make(name);
    ASSERT_NE(recipe, nullptr);
    EXPECT_EQ(recipe->traits().name, name);
    EXPECT_THAT(recipe->RunCommands({.model = "m"}), Not(SizeIs(0)));
    EXPECT_THAT(recipe->ParseSamples({}, 1), StatusIs(absl::StatusCode::kDataLoss));
  }
}

}  // namespace
}  // namespace forall
