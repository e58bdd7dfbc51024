// SPDX-License-Identifier: Apache-2.0
#include "latency/backend/recipes/trtexec.h"

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/json_depth.h"
#include "base/status_macros.h"
#include "latency/backend/sample_text.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using Json = nlohmann::json;

constexpr double kNanosPerMilli = 1e6;

// The number between two texts, of their last occurrence.
std::optional<int64_t> NumberBetween(absl::string_view text, absl::string_view before,
                                     absl::string_view after) {
  const size_t at = text.rfind(before);
  if (at == absl::string_view::npos) return std::nullopt;
  text.remove_prefix(at + before.size());
  int64_t number = 0;
  if (!absl::SimpleAtoi(text.substr(0, text.find(after)), &number)) return std::nullopt;
  return number;
}

class Trtexec : public Recipe {
 public:
  explicit Trtexec(const RecipeOptions& options)
      : Recipe({.name = "trtexec",
                .provider = options.provider.empty() ? "tensorrt" : options.provider,
                .version = options.version,
                .builds = true,
                .has_output_file = true,
                .environment = options.environment,
                .not_supported = {"Failed to parse onnx file", "No importer registered",
                                  "Could not find any implementation for node",
                                  "Network must have at least one output"},
                .out_of_memory = {"Cuda Runtime (out of memory)", "OutOfMemory",
                                  "insufficient memory"},
                .error_tags = {"[E]"}}),
        program_(options.program.empty() ? "trtexec" : options.program),
        arguments_(options.arguments),
        build_arguments_(options.build_arguments) {}

  CommandLine VersionCommand() const override { return {program_, "--help"}; }

  // "&&&& RUNNING TensorRT.trtexec [TensorRT v8601] # ...": 8.6.1; v100300: 10.3.0.
  std::string ParseVersion(const ProgramOutput& output) const override {
    const std::string all = absl::StrCat(output.standard_output, "\n", output.standard_error);
    const std::optional<int64_t> number = NumberBetween(all, "[TensorRT v", "]");
    if (!number.has_value() || *number < 1000 || *number > 9999999) return "";
    const int64_t major = *number / (*number >= 100000 ? 10000 : 1000);
    return absl::StrCat(major, ".", *number / 100 % (*number >= 100000 ? 100 : 10), ".",
                        *number % 100);
  }

  CommandLine BuildCommand(const RecipeValues& values) const override {
    CommandLine line = {program_, "--onnx=" + values.model, "--saveEngine=" + values.engine,
                        "--timingCacheFile=" + values.timing_cache,
                        // The flag that leaves inference out differs between versions.
                        "--iterations=1", "--duration=0", "--warmUp=0"};
    line.insert(line.end(), build_arguments_.begin(), build_arguments_.end());
    return line;
  }

  std::vector<CommandLine> RunCommands(const RecipeValues& values) const override {
    CommandLine line = {program_, "--loadEngine=" + values.engine, "--exportTimes=" + values.output,
                        absl::StrCat("--iterations=", values.runs), "--duration=0", "--warmUp=200",
                        // One query after the other, as in a loop of its own.
                        "--exposeDMA", "--useSpinWait"};
    line.insert(line.end(), arguments_.begin(), arguments_.end());
    return {line};
  }

  absl::StatusOr<std::vector<double>> ParseSamples(const RecipeOutput& output,
                                                   int runs) const override {
    if (const absl::Status deep = CheckJsonDepth(output.file); !deep.ok()) {
      return absl::DataLossError(deep.message());
    }
    const Json trace = Json::parse(output.file, nullptr, /*allow_exceptions=*/false);
    if (!trace.is_array()) {
      return absl::DataLossError(
          absl::StrCat("the exported trace is no JSON array: ", Excerpt(output.file)));
    }
    FORALL_ASSIGN_OR_RETURN(const size_t warmups, WarmupsIn(output, trace.size()));
    std::vector<double> samples;
    for (size_t i = warmups; i < trace.size(); ++i) {
      const Json& entry = trace[i];
      if (!entry.is_object() || !entry.contains("latencyMs") || !entry["latencyMs"].is_number()) {
        return absl::DataLossError(absl::StrCat("query ", i, " has no number \"latencyMs\""));
      }
      FORALL_ASSIGN_OR_RETURN(const double sample,
                              DurationNanos(entry["latencyMs"].get<double>(), kNanosPerMilli));
      samples.push_back(sample);
    }
    FORALL_RETURN_IF_ERROR(CheckCount(samples.size(), runs));
    return samples;
  }

 private:
  // How many of the exported queries are warm-up.
  static absl::StatusOr<size_t> WarmupsIn(const RecipeOutput& output, size_t exported) {
    const auto warmups =
        NumberBetween(output.standard_output, "Warmup completed ", " queries over");
    const auto timed = NumberBetween(output.standard_output, "Timing trace has ", " queries over");
    if (!warmups.has_value() || !timed.has_value() || *warmups < 0 || *timed < 0) {
      return absl::DataLossError("the log does not tell the number of queries");
    }
    const auto count = static_cast<int64_t>(exported);
    if (count == *timed) return size_t{0};
    if (*timed <= count && count - *timed == *warmups) return static_cast<size_t>(*warmups);
    return absl::DataLossError(absl::StrCat("the trace has ", exported,
                                            " queries, the log tells of ", *timed, " after ",
                                            *warmups, " to warm up"));
  }

  const std::string program_;
  const CommandLine arguments_;
  const CommandLine build_arguments_;
};

}  // namespace

std::shared_ptr<const Recipe> MakeTrtexecRecipe(const RecipeOptions& options) {
  return std::make_shared<Trtexec>(options);
}

}  // namespace forall
