// SPDX-License-Identifier: Apache-2.0
#include "latency/backend/recipes/benchmark_model.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "latency/backend/sample_text.h"

namespace forall {
namespace {

constexpr double kNanosPerMicro = 1e3;
constexpr double kMostBytes = 1e15;
// Both are printed with six digits.
constexpr double kSameMean = 1e-4;

// "name=value" by name. DataLoss for anything else and for a name that comes twice.
absl::StatusOr<std::map<std::string, double>> Statistics(absl::string_view line) {
  std::map<std::string, double> values;
  // "curr=4523(all same)": there is nothing between least and most.
  line = absl::StripSuffix(absl::StripTrailingAsciiWhitespace(line), "(all same)");
  for (absl::string_view field : absl::StrSplit(line, ' ', absl::SkipEmpty())) {
    field = absl::StripSuffix(field, "(all");
    if (field == "same)") continue;
    const std::vector<absl::string_view> parts = absl::StrSplit(field, '=');
    if (parts.size() != 2) {
      return absl::DataLossError(
          absl::StrCat(Excerpt(field), " in the statistics is no name=value"));
    }
    FORALL_ASSIGN_OR_RETURN(const double value, PlainNumber(parts[1]));
    if (!values.emplace(std::string(parts[0]), value).second) {
      return absl::DataLossError(absl::StrCat(Excerpt(parts[0]), " comes twice in the statistics"));
    }
  }
  return values;
}

class BenchmarkModel : public Recipe {
 public:
  explicit BenchmarkModel(const RecipeOptions& options)
      : Recipe({.name = "benchmark_model",
                .provider = options.provider.empty() ? "cpu" : options.provider,
                .version = options.version,
                .model_format = "tflite",
                .model_extension = "tflite",
                .summaries = true,
                .environment = options.environment,
                .convert = options.convert,
                .not_supported = {"Failed to load model", "Didn't find op for builtin opcode",
                                  "Encountered unresolved custom op",
                                  "Failed to construct interpreter", "not a valid Flatbuffer",
                                  "Registration failed"},
                .out_of_memory = {"Failed to allocate"},
                .error_tags = {"ERROR", "Error"}}),
        program_(options.program.empty() ? "benchmark_model" : options.program),
        arguments_(options.arguments) {}

  std::vector<CommandLine> RunCommands(const RecipeValues& values) const override {
    CommandLine line = {program_,
                        "--graph=" + values.model,
                        absl::StrCat("--num_threads=", values.threads),
                        absl::StrCat("--num_runs=", values.runs),
                        "--min_secs=0",
                        "--warmup_runs=5",
                        "--warmup_min_secs=0.2"};
    line.insert(line.end(), arguments_.begin(), arguments_.end());
    return {line};
  }

  absl::StatusOr<std::vector<double>> ParseSamples(const RecipeOutput& output,
                                                   int runs) const override {
    // The tool logs to standard output on a desktop and to standard error on Android.
    const std::string log = absl::StrCat(output.standard_output, "\n", output.standard_error);
    absl::string_view last;
    absl::string_view timings;
    for (const absl::string_view line : absl::StrSplit(log, '\n')) {
      if (const size_t at = line.find("count="); at != absl::string_view::npos) {
        last = line.substr(at);
      }
      if (absl::StrContains(line, "Inference timings in us:")) timings = line;
    }
    if (last.empty()) return absl::DataLossError("the log has no line of statistics (count=...)");
    FORALL_ASSIGN_OR_RETURN(const auto values, Statistics(last));
    const double count = values.at("count");
    if (!(count >= 0 && count <= 1e9) || count != std::floor(count)) {
      return absl::DataLossError(absl::StrCat("count=", count, " is no number of runs"));
    }
    FORALL_RETURN_IF_ERROR(CheckCount(static_cast<size_t>(count), runs));
    const bool all_same = values.count("avg") == 0;
    for (const char* name : {"first", "curr", "min", "max", "std"}) {
      if (values.count(name) == 0 && !(all_same && std::string(name) != "curr")) {
        return absl::DataLossError(
            absl::StrCat("the statistics have no ", name, ": ", Excerpt(last)));
      }
    }
    const double mean = values.at(all_same ? "curr" : "avg");
    FORALL_RETURN_IF_ERROR(CheckMean(timings, mean));
    const auto median = values.find("median");
    const double middle = median == values.end() ? mean : median->second;
    if (!all_same && (middle < values.at("min") || middle > values.at("max"))) {
      return absl::DataLossError(
          absl::StrCat("the statistics contradict themselves: ", Excerpt(last)));
    }
    FORALL_ASSIGN_OR_RETURN(const double sample, DurationNanos(middle, kNanosPerMicro));
    return std::vector<double>{sample};
  }

 private:
  // The closing line repeats the mean of the timed runs.
  static absl::Status CheckMean(absl::string_view timings, double mean) {
    constexpr absl::string_view kName = "Inference (avg): ";
    const size_t at = timings.find(kName);
    if (at == absl::string_view::npos) {
      return absl::DataLossError("the log ends before \"Inference timings in us\"");
    }
    FORALL_ASSIGN_OR_RETURN(
        const double told,
        PlainNumber(absl::StripTrailingAsciiWhitespace(timings.substr(at + kName.size()))));
    if (std::abs(told - mean) <= kSameMean * std::abs(mean) + 1e-9) return absl::OkStatus();
    return absl::DataLossError(
        absl::StrCat("the log tells two means of one call, ", mean, " and ", told, " us"));
  }

  const std::string program_;
  const CommandLine arguments_;
};

}  // namespace

std::shared_ptr<const Recipe> MakeBenchmarkModelRecipe(const RecipeOptions& options) {
  return std::make_shared<BenchmarkModel>(options);
}

std::optional<double> PeakMemoryBytes(absl::string_view log) {
  constexpr absl::string_view kName = "Overall peak memory footprint (MB) via periodic monitoring:";
  const size_t at = log.rfind(kName);
  if (at == absl::string_view::npos) return std::nullopt;
  absl::string_view value = log.substr(at + kName.size());
  value = absl::StripAsciiWhitespace(value.substr(0, value.find('\n')));
  const absl::StatusOr<double> megabytes = PlainNumber(value);
  if (!megabytes.ok() || *megabytes <= 0 || *megabytes * 1048576 > kMostBytes) return std::nullopt;
  return *megabytes * 1048576;
}

}  // namespace forall
