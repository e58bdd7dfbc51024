// SPDX-License-Identifier: Apache-2.0
#include "latency/backend/recipes/qnn_net_run.h"

#include <array>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "latency/backend/sample_text.h"

namespace forall {
namespace {

constexpr double kNanosPerMicro = 1e3;
// Before the last column: an event's name may hold commas.
constexpr std::array<absl::string_view, 6> kColumns = {
    "Msg Timestamp", "Message", "Time", "Unit of Measurement", "Timing Source", "Event Level"};
enum Column { kTimestamp, kMessage, kTime, kUnit, kSource, kLevel };

class QnnNetRun : public Recipe {
 public:
  explicit QnnNetRun(const RecipeOptions& options)
      : Recipe({.name = "qnn-net-run",
                .provider = options.provider.empty() ? "qnn-htp" : options.provider,
                .version = options.version,
                .model_format = "QNN context binary",
                .model_extension = "bin",
                .has_output_file = true,
                .needs_input = true,
                .environment = options.environment,
                .convert = options.convert,
                .input_list = options.input_list,
                .not_supported = {"Failed to create context from binary", "Failed to deserialize",
                                  "failed to create from binary", "validateOpConfig",
                                  "Graph Finalize failure"},
                .out_of_memory = {"Failed to allocate", "MEM_ALLOC"},
                .error_tags = {"ERROR", "Error", "Failure", "failed"}}),
        program_(options.program.empty() ? "qnn-net-run" : options.program),
        viewer_(options.viewer.empty() ? "qnn-profile-viewer" : options.viewer),
        library_(options.backend_library.empty() ? "libQnnHtp.so" : options.backend_library),
        arguments_(options.arguments) {}

  CommandLine VersionCommand() const override { return {program_, "--version"}; }

  // "QNN SDK v2.20.0.240223161227".
  std::string ParseVersion(const ProgramOutput& output) const override {
    for (const absl::string_view word :
         absl::StrSplit(output.standard_output, absl::ByAnyChar(" \r\n\t"), absl::SkipEmpty())) {
      if (word.size() > 2 && word[0] == 'v' && absl::ascii_isdigit(word[1])) {
        return std::string(word.substr(1, 40));
      }
    }
    return "";
  }

  std::vector<CommandLine> RunCommands(const RecipeValues& values) const override {
    const std::string folder = values.output + ".d";
    CommandLine line = {program_,
                        "--retrieve_context=" + values.model,
                        "--backend=" + library_,
                        "--input_list=" + values.input_list,
                        "--output_dir=" + folder,
                        absl::StrCat("--num_inferences=", values.runs),
                        "--keep_num_outputs=1",
                        "--profiling_level=basic"};
    line.insert(line.end(), arguments_.begin(), arguments_.end());
    // The log is qnn-profiling-data.log or, in later versions, qnn-profiling-data_0.log.
    return {line,
            {"sh", "-c",
             "for f in \"$1\"/qnn-profiling-data*.log; do \"$2\" --input_log \"$f\" --output "
             "\"$3\"; r=$?; rm -rf \"$1\"; exit $r; done",
             "sh", folder, viewer_, values.output}};
  }

  absl::StatusOr<std::vector<double>> ParseSamples(const RecipeOutput& output,
                                                   int runs) const override {
    std::vector<double> samples;
    bool in_table = false;
    if (!absl::EndsWith(output.file, "\n")) {
      return absl::DataLossError("the table of the profile is cut off or empty");
    }
    for (absl::string_view line : absl::StrSplit(output.file, '\n')) {
      line = absl::StripTrailingAsciiWhitespace(line);
      const std::vector<absl::string_view> fields = absl::StrSplit(line, ',');
      if (!in_table) {
        in_table = IsHeader(fields);
        continue;
      }
      if (line.empty()) continue;
      if (fields.size() <= kColumns.size()) {
        return absl::DataLossError(absl::StrCat("no row of the profile: ", Excerpt(line)));
      }
      const auto field = [&fields](Column column) {
        return absl::StripAsciiWhitespace(fields[column]);
      };
      if (field(kMessage) != "EXECUTE" || field(kSource) != "NETRUN" || field(kLevel) != "ROOT") {
        continue;
      }
      if (field(kUnit) != "US") {
        return absl::DataLossError(absl::StrCat("an inference in ", Excerpt(field(kUnit)),
                                                " where microseconds (US) are documented"));
      }
      FORALL_ASSIGN_OR_RETURN(const double sample, DurationNanos(field(kTime), kNanosPerMicro));
      samples.push_back(sample);
    }
    if (!in_table) return absl::DataLossError("the profile has no table (Msg Timestamp, ...)");
    FORALL_RETURN_IF_ERROR(CheckCount(samples.size(), runs));
    return samples;
  }

 private:
  static bool IsHeader(const std::vector<absl::string_view>& fields) {
    if (fields.size() <= kColumns.size()) return false;
    for (size_t i = 0; i < kColumns.size(); ++i) {
      if (absl::StripAsciiWhitespace(fields[i]) != kColumns[i]) return false;
    }
    return true;
  }

  const std::string program_;
  const std::string viewer_;
  const std::string library_;
  const CommandLine arguments_;
};

}  // namespace

std::shared_ptr<const Recipe> MakeQnnNetRunRecipe(const RecipeOptions& options) {
  return std::make_shared<QnnNetRun>(options);
}

}  // namespace forall
