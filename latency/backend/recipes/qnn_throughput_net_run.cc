// SPDX-License-Identifier: Apache-2.0
#include "latency/backend/recipes/qnn_throughput_net_run.h"

#include <cmath>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "latency/backend/sample_text.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kNanosPerMicro = 1e3;
constexpr absl::string_view kThread = "forall";

class QnnThroughputNetRun : public Recipe {
 public:
  explicit QnnThroughputNetRun(const RecipeOptions& options)
      : Recipe({.name = "qnn-throughput-net-run",
                .provider = options.provider.empty() ? "qnn-htp" : options.provider,
                .version = options.version,
                .model_format = "QNN context binary",
                .model_extension = "bin",
                .summaries = true,
                .needs_input = true,
                .environment = options.environment,
                .convert = options.convert,
                .input_list = options.input_list,
                .not_supported = {"Failed to create context from binary", "Failed to deserialize",
                                  "failed to create from binary"},
                .out_of_memory = {"Failed to allocate", "MEM_ALLOC"},
                .error_tags = {"ERROR", "Error", "failed"}}),
        program_(options.program.empty() ? "qnn-throughput-net-run" : options.program),
        library_(options.backend_library.empty() ? "libQnnHtp.so" : options.backend_library),
        arguments_(options.arguments) {}

  std::vector<CommandLine> RunCommands(const RecipeValues& values) const override {
    CommandLine line = {program_, "--config", values.config};
    line.insert(line.end(), arguments_.begin(), arguments_.end());
    return {line};
  }

  std::string Config(const RecipeValues& values) const override {
    const Json config = {
        {"backends",
         {{{"backendName", "backend"}, {"backendPath", library_}, {"profilingLevel", "OFF"}}}},
        {"models",
         {{{"modelName", "model"},
           {"modelPath", values.model},
           {"loadFromCachedBinary", true},
           {"inputPath", values.input_list},
           {"inputDataType", "FLOAT"},
           {"outputDataType", "FLOAT_ONLY"},
           {"saveOutput", "NONE"}}}},
        {"contexts", {{{"contextName", "context"}}}},
        {"testCase",
         {{"iteration", 1},
          {"logLevel", "error"},
          {"threads",
           {{{"threadName", std::string(kThread)},
             {"backend", "backend"},
             {"context", "context"},
             {"model", "model"},
             {"interval", 0},
             {"loopUnit", "count"},
             {"loop", values.runs}}}}}}};
    return config.dump(1, ' ', false, Json::error_handler_t::replace);
  }

  absl::StatusOr<std::vector<double>> ParseSamples(const RecipeOutput& output,
                                                   int runs) const override {
    std::optional<double> total;
    std::optional<double> count;
    for (absl::string_view line : absl::StrSplit(output.standard_output, '\n')) {
      line = absl::StripAsciiWhitespace(line);
      if (absl::StrContains(line, "TotalTime")) {
        if (total.has_value()) return absl::DataLossError("TotalTime comes twice");
        FORALL_ASSIGN_OR_RETURN(total, LastAndOnlyNumber(line));
      } else if (absl::ConsumePrefix(&line, absl::StrCat(kThread, ":graphExecute:"))) {
        if (count.has_value()) return absl::DataLossError("graphExecute comes twice");
        line = absl::StripLeadingAsciiWhitespace(line);
        FORALL_ASSIGN_OR_RETURN(count, PlainNumber(line.substr(0, line.find_first_of(" \t"))));
      }
    }
    if (!total.has_value() || !count.has_value()) {
      return absl::DataLossError("the output has no TotalTime and graphExecute of the thread");
    }
    if (!(*count >= 0 && *count <= 1e9) || *count != std::floor(*count)) {
      return absl::DataLossError(absl::StrCat(*count, " is no number of runs"));
    }
    FORALL_RETURN_IF_ERROR(CheckCount(static_cast<size_t>(*count), runs));
    FORALL_ASSIGN_OR_RETURN(const double sample, DurationNanos(*total / *count, kNanosPerMicro));
    return std::vector<double>{sample};
  }

 private:
  static absl::StatusOr<double> LastAndOnlyNumber(absl::string_view line) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    for (size_t i = 0; i + 1 < words.size(); ++i) {
      if (PlainNumber(words[i]).ok()) {
        return absl::DataLossError(absl::StrCat("more than one number: ", Excerpt(line)));
      }
    }
    return PlainNumber(words.back());
  }

  const std::string program_;
  const std::string library_;
  const CommandLine arguments_;
};

}  // namespace

std::shared_ptr<const Recipe> MakeQnnThroughputNetRunRecipe(const RecipeOptions& options) {
  return std::make_shared<QnnThroughputNetRun>(options);
}

}  // namespace forall
