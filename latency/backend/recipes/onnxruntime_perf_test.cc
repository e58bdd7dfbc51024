// SPDX-License-Identifier: Apache-2.0
#include "latency/backend/recipes/onnxruntime_perf_test.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "latency/backend/sample_text.h"

namespace forall {
namespace {

constexpr double kNanosPerSecond = 1e9;
// Behind the model's name, which may hold commas itself.
constexpr size_t kFields = 4;

class PerfTest : public Recipe {
 public:
  explicit PerfTest(const RecipeOptions& options)
      : Recipe({.name = "onnxruntime_perf_test",
                .provider = options.provider.empty() ? "cpu" : options.provider,
                .version = options.version,
                .has_output_file = true,
                .environment = options.environment,
                .not_supported = {"NOT_IMPLEMENTED", "INVALID_GRAPH", "INVALID_PROTOBUF",
                                  "Could not find an implementation", "is not a registered",
                                  "This is an invalid model", "is under development and support"},
                .error_tags = {"Exception", "error code", "Error", "failed"}}),
        program_(options.program.empty() ? "onnxruntime_perf_test" : options.program),
        arguments_(options.arguments) {}

  std::vector<CommandLine> RunCommands(const RecipeValues& values) const override {
    CommandLine line = {program_, "-I",
                        "-S",     "1",
                        "-m",     "times",
                        "-r",     absl::StrCat(values.runs),
                        "-e",     traits().provider,
                        "-x",     absl::StrCat(values.threads),
                        "-y",     "1",
                        "-o",     "99"};
    line.insert(line.end(), arguments_.begin(), arguments_.end());
    line.push_back(values.model);
    line.push_back(values.output);
    return {line};
  }

  absl::StatusOr<std::vector<double>> ParseSamples(const RecipeOutput& output,
                                                   int runs) const override {
    std::vector<double> samples;
    std::string name;
    if (!absl::EndsWith(output.file, "\n")) {
      return absl::DataLossError("the result file is cut off or empty");
    }
    for (const absl::string_view line : absl::StrSplit(output.file, '\n')) {
      // An empty line, then statistics if they were asked for.
      if (absl::StripSuffix(line, "\r").empty()) break;
      FORALL_ASSIGN_OR_RETURN(const double sample, ParseLine(line, samples.size(), &name));
      samples.push_back(sample);
    }
    FORALL_RETURN_IF_ERROR(CheckCount(samples.size(), runs));
    return samples;
  }

 private:
  // `name` is what stands before the four fields of the first line, and so of all.
  static absl::StatusOr<double> ParseLine(absl::string_view line, size_t run, std::string* name) {
    const std::vector<absl::string_view> fields =
        absl::StrSplit(absl::StripSuffix(line, "\r"), ',');
    const size_t names = fields.size() - std::min(fields.size(), kFields);
    const std::string here = absl::StrJoin(fields.begin(), fields.begin() + names, ",");
    if (run == 0) *name = here;
    if (names == 0 || here != *name || fields.back() != absl::StrCat(run)) {
      return absl::DataLossError(absl::StrCat("line ", run + 1, " of the result file is not run ",
                                              run, ": ", Excerpt(line)));
    }
    for (size_t i = fields.size() - 3; i + 1 < fields.size(); ++i) {
      FORALL_RETURN_IF_ERROR(PlainNumber(fields[i]).status());
    }
    return DurationNanos(fields[fields.size() - kFields], kNanosPerSecond);
  }

  const std::string program_;
  const CommandLine arguments_;
};

}  // namespace

std::shared_ptr<const Recipe> MakeOnnxRuntimePerfTestRecipe(const RecipeOptions& options) {
  return std::make_shared<PerfTest>(options);
}

}  // namespace forall
