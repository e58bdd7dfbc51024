// SPDX-License-Identifier: Apache-2.0
#include "latency/backend/recipe.h"

#include <csignal>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/json_depth.h"
#include "base/status_macros.h"
#include "latency/backend/recipes/benchmark_model.h"
#include "latency/backend/recipes/custom.h"
#include "latency/backend/recipes/onnxruntime_perf_test.h"
#include "latency/backend/recipes/qnn_net_run.h"
#include "latency/backend/recipes/qnn_throughput_net_run.h"
#include "latency/backend/recipes/trtexec.h"
#include "latency/backend/sample_text.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;
using Factory = std::shared_ptr<const Recipe> (*)(const RecipeOptions&);

constexpr int kNotExecutable = 126;
constexpr int kNotFound = 127;
constexpr size_t kLongestWords = 300;

const std::map<std::string, Factory>& Factories() {
  static const auto* const factories =
      new std::map<std::string, Factory>{{"benchmark_model", MakeBenchmarkModelRecipe},
                                         {"onnxruntime_perf_test", MakeOnnxRuntimePerfTestRecipe},
                                         {"qnn-net-run", MakeQnnNetRunRecipe},
                                         {"qnn-throughput-net-run", MakeQnnThroughputNetRunRecipe},
                                         {"trtexec", MakeTrtexecRecipe}};
  return *factories;
}

bool HasAny(absl::string_view lower, const std::vector<std::string>& texts) {
  for (const std::string& text : texts) {
    if (absl::StrContains(lower, absl::AsciiStrToLower(text))) return true;
  }
  return false;
}

std::string Words(const ProgramOutput& output, const std::vector<std::string>& tags) {
  for (const std::string* text : {&output.standard_error, &output.standard_output}) {
    for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
      for (const std::string& tag : tags) {
        if (absl::StrContains(line, tag)) return std::string(line.substr(0, kLongestWords));
      }
    }
  }
  const std::string last = LastLine(output.standard_error);
  return last.empty() ? LastLine(output.standard_output) : last;
}

absl::StatusOr<RecipeOptions> ReadOptions(const Json& json) {
  RecipeOptions options;
  const std::map<std::string, std::string*> texts = {
      {"program", &options.program}, {"provider", &options.provider},
      {"version", &options.version}, {"backend_library", &options.backend_library},
      {"viewer", &options.viewer},   {"input_list", &options.input_list}};
  const std::map<std::string, std::vector<std::string>*> lists = {
      {"arguments", &options.arguments},
      {"build_arguments", &options.build_arguments},
      {"environment", &options.environment},
      {"convert", &options.convert}};
  for (const auto& [key, value] : json.items()) {
    if (key == "recipe") continue;
    if (const auto text = texts.find(key); text != texts.end()) {
      FORALL_ASSIGN_OR_RETURN(*text->second, JsonText(value, key));
    } else if (const auto list = lists.find(key); list != lists.end()) {
      FORALL_ASSIGN_OR_RETURN(*list->second, JsonTexts(value, key));
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          "a ready recipe has no key ", Excerpt(key), ": it may have ",
          "recipe, program, arguments, build_arguments, environment, provider, version, convert, ",
          "backend_library, viewer, input_list"));
    }
  }
  return options;
}

}  // namespace

absl::Status Recipe::Failure(const ProgramOutput& output) const {
  const std::string message = absl::StrCat(traits_.name, " failed with ", output.end.ToString(),
                                           ": ", Words(output, traits_.error_tags));
  if (output.end.signal == 0 &&
      (output.end.exit_code == kNotFound || output.end.exit_code == kNotExecutable)) {
    return absl::FailedPreconditionError(
        absl::StrCat(message,
                     " (is the program on the device? its path is a ready recipe's \"program\", or "
                     "the first of an own recipe's \"argv\")"));
  }
  const std::string lower =
      absl::AsciiStrToLower(absl::StrCat(output.standard_error, "\n", output.standard_output));
  static const auto* const kOutOfMemory = new std::vector<std::string>{
      "out of memory", "outofmemory", "bad_alloc", "cannot allocate memory"};
  // Nobody here sent the signal: the kernel does when memory runs out.
  if (output.end.signal == SIGKILL || HasAny(lower, *kOutOfMemory) ||
      HasAny(lower, traits_.out_of_memory)) {
    return absl::ResourceExhaustedError(message);
  }
  if (HasAny(lower, traits_.not_supported)) return absl::InvalidArgumentError(message);
  return absl::InternalError(message);
}

std::vector<std::string> RecipeNames() {
  std::vector<std::string> names;
  for (const auto& [name, factory] : Factories()) names.push_back(name);
  return names;
}

absl::StatusOr<std::shared_ptr<const Recipe>> MakeRecipe(absl::string_view name,
                                                         const RecipeOptions& options) {
  const auto found = Factories().find(std::string(name));
  if (found == Factories().end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("there is no recipe ", Excerpt(name), ": there are ",
                     absl::StrJoin(RecipeNames(), ", "), ", and your own as a JSON object"));
  }
  const std::map<std::string, std::string> names = {{"model", ""}, {"output", ""}, {"input", ""}};
  FORALL_RETURN_IF_ERROR(WithContext(Expand(options.convert, names).status(), "convert"));
  return found->second(options);
}

absl::StatusOr<std::shared_ptr<const Recipe>> MakeRecipe(absl::string_view name_or_json) {
  if (!absl::StartsWith(absl::StripLeadingAsciiWhitespace(name_or_json), "{")) {
    return MakeRecipe(name_or_json, RecipeOptions{});
  }
  FORALL_RETURN_IF_ERROR(CheckJsonDepth(name_or_json));
  const Json json = Json::parse(name_or_json, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::InvalidArgumentError("a recipe must be a JSON object");
  if (!json.contains("recipe")) return MakeCustomRecipe(json);
  FORALL_ASSIGN_OR_RETURN(const std::string name, JsonText(json["recipe"], "recipe"));
  FORALL_ASSIGN_OR_RETURN(const RecipeOptions options, ReadOptions(json));
  return MakeRecipe(name, options);
}

absl::StatusOr<CommandLine> Expand(const CommandLine& line,
                                   const std::map<std::string, std::string>& values) {
  CommandLine result;
  for (const std::string& argument : line) {
    std::string text;
    for (size_t i = 0; i < argument.size(); ++i) {
      const char c = argument[i];
      if (c != '{' && c != '}') {
        text += c;
        continue;
      }
      if (i + 1 < argument.size() && argument[i + 1] == c) {
        text += c;
        ++i;
        continue;
      }
      const size_t end = argument.find('}', i);
      const auto value = c == '{' && end != std::string::npos
                             ? values.find(argument.substr(i + 1, end - i - 1))
                             : values.end();
      if (value == values.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat(Excerpt(argument), ": names in braces may be ",
                         absl::StrJoin(values, ", ",
                                       [](std::string* out, const auto& entry) {
                                         absl::StrAppend(out, "{", entry.first, "}");
                                       }),
                         "; a brace itself is written twice"));
      }
      text += value->second;
      i = end;
    }
    result.push_back(text);
  }
  return result;
}

}  // namespace forall
