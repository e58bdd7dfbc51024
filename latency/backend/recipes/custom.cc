// SPDX-License-Identifier: Apache-2.0
#include "latency/backend/recipes/custom.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/json_depth.h"
#include "base/status_macros.h"
#include "latency/backend/sample_text.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;
using Names = std::map<std::string, std::string>;

enum class Format { kOneNumberPerLine, kLinePrefix, kJsonPointer };

struct SampleFormat {
  bool from_file = false;
  Format format = Format::kOneNumberPerLine;
  double nanos_per_unit = 1;
  std::string prefix = {};
  std::string suffix = {};
  std::string pointer = {};
  std::string field = {};
};

absl::Status UnknownKey(absl::string_view key, const std::vector<std::string>& known) {
  return absl::InvalidArgumentError(
      absl::StrCat("there is no key ", Excerpt(key), ": there are ", absl::StrJoin(known, ", ")));
}

bool IsPointer(absl::string_view text) { return text.empty() || text[0] == '/'; }

// nullptr when nothing is there (RFC 6901).
const Json* Follow(const Json& json, absl::string_view pointer) {
  const Json* at = &json;
  if (pointer.empty()) return at;
  for (const absl::string_view raw : absl::StrSplit(pointer.substr(1), '/')) {
    const std::string token =
        absl::StrReplaceAll(absl::StrReplaceAll(raw, {{"~1", "/"}}), {{"~0", "~"}});
    size_t index = 0;
    if (at->is_object() && at->contains(token)) {
      at = &(*at)[token];
    } else if (at->is_array() && absl::SimpleAtoi(token, &index) && index < at->size()) {
      at = &(*at)[index];
    } else {
      return nullptr;
    }
  }
  return at;
}

class CustomRecipe : public Recipe {
 public:
  CustomRecipe(Traits traits, CommandLine argv, CommandLine build, CommandLine version,
               SampleFormat format)
      : Recipe(std::move(traits)),
        argv_(std::move(argv)),
        build_(std::move(build)),
        version_(std::move(version)),
        format_(std::move(format)) {}

  CommandLine VersionCommand() const override { return version_; }
  std::string ParseVersion(const ProgramOutput& output) const override {
    const absl::string_view text = absl::StripAsciiWhitespace(output.standard_output);
    return std::string(text.substr(0, text.find('\n')).substr(0, 80));
  }
  CommandLine BuildCommand(const RecipeValues& values) const override {
    return Filled(build_, values);
  }
  std::vector<CommandLine> RunCommands(const RecipeValues& values) const override {
    return {Filled(argv_, values)};
  }

  absl::StatusOr<std::vector<double>> ParseSamples(const RecipeOutput& output,
                                                   int runs) const override {
    const std::string& text = format_.from_file ? output.file : output.standard_output;
    std::vector<double> samples;
    if (format_.format == Format::kJsonPointer) {
      FORALL_ASSIGN_OR_RETURN(samples, FromJson(text));
    } else {
      FORALL_ASSIGN_OR_RETURN(samples, FromLines(text));
    }
    FORALL_RETURN_IF_ERROR(CheckCount(samples.size(), traits().summaries ? 1 : runs));
    if (traits().summaries && samples.size() != 1) {
      return absl::DataLossError(
          absl::StrCat(samples.size(), " samples where a call gives one summary"));
    }
    return samples;
  }

 private:
  // The names were checked when the recipe was made.
  static CommandLine Filled(const CommandLine& line, const RecipeValues& values) {
    const absl::StatusOr<CommandLine> filled =
        Expand(line, {{"model", values.model},
                      {"engine", values.engine},
                      {"output", values.output},
                      {"threads", absl::StrCat(values.threads)},
                      {"runs", absl::StrCat(values.runs)}});
    return filled.ok() ? *filled : CommandLine();
  }

  absl::StatusOr<std::vector<double>> FromLines(const std::string& text) const {
    std::vector<double> samples;
    for (absl::string_view line : absl::StrSplit(text, '\n')) {
      if (format_.format == Format::kOneNumberPerLine) {
        line = absl::StripAsciiWhitespace(line);
        if (line.empty()) continue;
      } else {
        if (!absl::ConsumePrefix(&line, format_.prefix)) continue;
        line = absl::StripTrailingAsciiWhitespace(line);
        if (!absl::ConsumeSuffix(&line, absl::StripTrailingAsciiWhitespace(format_.suffix))) {
          return absl::DataLossError(
              absl::StrCat(Excerpt(line), " does not end in ", Excerpt(format_.suffix)));
        }
        line = absl::StripAsciiWhitespace(line);
      }
      FORALL_ASSIGN_OR_RETURN(const double sample, DurationNanos(line, format_.nanos_per_unit));
      samples.push_back(sample);
    }
    return samples;
  }

  absl::StatusOr<std::vector<double>> FromJson(const std::string& text) const {
    if (const absl::Status deep = CheckJsonDepth(text); !deep.ok()) {
      return absl::DataLossError(deep.message());
    }
    const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (json.is_discarded()) return absl::DataLossError(absl::StrCat("no JSON: ", Excerpt(text)));
    const Json* list = Follow(json, format_.pointer);
    if (list == nullptr || !list->is_array()) {
      return absl::DataLossError(absl::StrCat("there is no array at ", Excerpt(format_.pointer)));
    }
    std::vector<double> samples;
    for (const Json& entry : *list) {
      const Json* number = Follow(entry, format_.field);
      if (number == nullptr || !number->is_number()) {
        return absl::DataLossError(absl::StrCat("sample ", samples.size(), " is no number"));
      }
      FORALL_ASSIGN_OR_RETURN(const double sample,
                              DurationNanos(number->get<double>(), format_.nanos_per_unit));
      samples.push_back(sample);
    }
    return samples;
  }

  const CommandLine argv_;
  const CommandLine build_;
  const CommandLine version_;
  const SampleFormat format_;
};

absl::StatusOr<SampleFormat> ReadSamples(const Json& json) {
  if (!json.is_object()) return absl::InvalidArgumentError("samples must be an object");
  std::map<std::string, std::string> values;
  const std::vector<std::string> known = {"from",   "format",  "unit", "prefix",
                                          "suffix", "pointer", "field"};
  for (const auto& [key, value] : json.items()) {
    if (!absl::StrContains(absl::StrJoin(known, ",") + ",", key + ",")) {
      return WithContext(UnknownKey(key, known), "samples");
    }
    FORALL_ASSIGN_OR_RETURN(values[key], JsonText(value, absl::StrCat("samples.", key)));
  }
  SampleFormat format;
  if (values["from"] != "standard_output" && values["from"] != "output") {
    return absl::InvalidArgumentError("samples.from must be standard_output or output");
  }
  format.from_file = values["from"] == "output";
  absl::StatusOr<double> unit = NanosOfUnit(values["unit"]);
  if (!unit.ok()) return WithContext(unit.status(), "samples.unit");
  format.nanos_per_unit = *unit;
  format.prefix = values["prefix"];
  format.suffix = values["suffix"];
  format.pointer = values["pointer"];
  format.field = values["field"];
  if (values["format"] == "one_number_per_line") {
    format.format = Format::kOneNumberPerLine;
  } else if (values["format"] == "line_prefix") {
    format.format = Format::kLinePrefix;
    if (format.prefix.empty()) {
      return absl::InvalidArgumentError("samples.prefix must say how a sample's line begins");
    }
  } else if (values["format"] == "json_pointer") {
    format.format = Format::kJsonPointer;
    if (!IsPointer(format.pointer) || !IsPointer(format.field)) {
      return absl::InvalidArgumentError(
          "samples.pointer and samples.field must be empty or begin with a slash (RFC 6901)");
    }
  } else {
    return absl::InvalidArgumentError(
        "samples.format must be one_number_per_line, line_prefix or json_pointer");
  }
  return format;
}

bool IsExtension(absl::string_view text) {
  return !text.empty() && text.size() <= 16 &&
         std::all_of(text.begin(), text.end(), [](char c) { return absl::ascii_isalnum(c); });
}

bool Mentions(const CommandLine& line, absl::string_view name) {
  return absl::StrContains(absl::StrJoin(line, "\n"), name);
}

}  // namespace

absl::StatusOr<std::string> JsonText(const Json& value, absl::string_view key) {
  if (!value.is_string()) return absl::InvalidArgumentError(absl::StrCat(key, " must be a text"));
  return value.get<std::string>();
}

absl::StatusOr<std::vector<std::string>> JsonTexts(const Json& value, absl::string_view key) {
  std::vector<std::string> texts;
  if (!value.is_array()) {
    return absl::InvalidArgumentError(absl::StrCat(key, " must be a list of texts"));
  }
  for (const Json& entry : value) {
    FORALL_ASSIGN_OR_RETURN(const std::string text, JsonText(entry, key));
    texts.push_back(text);
  }
  return texts;
}

absl::StatusOr<std::shared_ptr<const Recipe>> MakeCustomRecipe(const Json& json) {
  Recipe::Traits traits;
  CommandLine argv;
  CommandLine build;
  CommandLine version;
  const std::map<std::string, std::string*> texts = {{"name", &traits.name},
                                                     {"provider", &traits.provider},
                                                     {"model_format", &traits.model_format}};
  const std::map<std::string, std::vector<std::string>*> lists = {
      {"argv", &argv},
      {"build", &build},
      {"version", &version},
      {"environment", &traits.environment},
      {"convert", &traits.convert},
      {"not_supported", &traits.not_supported},
      {"out_of_memory", &traits.out_of_memory}};
  for (const auto& [key, value] : json.items()) {
    if (const auto text = texts.find(key); text != texts.end()) {
      FORALL_ASSIGN_OR_RETURN(*text->second, JsonText(value, key));
    } else if (const auto list = lists.find(key); list != lists.end()) {
      FORALL_ASSIGN_OR_RETURN(*list->second, JsonTexts(value, key));
    } else if (key == "summaries") {
      if (!value.is_boolean()) return absl::InvalidArgumentError("summaries must be true or false");
      traits.summaries = value.get<bool>();
    } else if (key != "samples") {
      return UnknownKey(key,
                        {"name", "argv", "samples", "build", "version", "environment", "provider",
                         "model_format", "convert", "not_supported", "out_of_memory", "summaries"});
    }
  }
  if (traits.name.empty()) return absl::InvalidArgumentError("a recipe of your own needs a name");
  if (argv.empty()) return absl::InvalidArgumentError("argv must name the program to run");
  if (!json.contains("samples")) {
    return absl::InvalidArgumentError("samples must say where the samples are");
  }
  FORALL_ASSIGN_OR_RETURN(SampleFormat format, ReadSamples(json["samples"]));
  traits.builds = !build.empty();
  traits.has_output_file = format.from_file;
  if (traits.model_format != "onnx") {
    // Programs often go by the extension.
    traits.model_extension = IsExtension(traits.model_format) ? traits.model_format : "bin";
  }
  Names names = {{"model", ""}, {"threads", ""}, {"runs", ""}};
  if (traits.builds) names["engine"] = "";
  if (format.from_file) names["output"] = "";
  FORALL_RETURN_IF_ERROR(WithContext(Expand(argv, names).status(), "argv"));
  const Names build_names = {{"model", ""}, {"engine", ""}, {"threads", ""}};
  FORALL_RETURN_IF_ERROR(WithContext(Expand(build, build_names).status(), "build"));
  FORALL_RETURN_IF_ERROR(
      WithContext(Expand(traits.convert, {{"model", ""}, {"output", ""}}).status(), "convert"));
  if (traits.builds && !Mentions(build, "{engine}")) {
    return absl::InvalidArgumentError("build must name {engine}, the file that it writes");
  }
  if (format.from_file && !Mentions(argv, "{output}")) {
    return absl::InvalidArgumentError("argv must name {output}, where samples are read from");
  }
  if (!Mentions(argv, traits.builds ? "{engine}" : "{model}")) {
    return absl::InvalidArgumentError(
        absl::StrCat("argv must name ", traits.builds ? "{engine}" : "{model}"));
  }
  return std::make_shared<CustomRecipe>(std::move(traits), std::move(argv), std::move(build),
                                        std::move(version), std::move(format));
}

}  // namespace forall
