// SPDX-License-Identifier: Apache-2.0
#include "cli/error_words.h"

#include <cstddef>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "cli/expressions.h"

namespace forall {
namespace {

// Fields whose names differ from the job file's, or that have a flag; the longer of two that begin
// alike first.
constexpr std::pair<absl::string_view, absl::string_view> kFields[] = {
    {"spec.budget.max_trials", "budget.max_trials (--trials)"},
    {"spec.sampler.algorithm", "sampler.algorithm (--sampler)"},
    {"spec.accuracy_predictor", "accuracy_predictor (--accuracy-predictor)"},
    {"spec.display_name", "name (--name)"},
    {"spec.parallelism", "parallelism (--parallelism)"},
    {"spec.priority", "priority (--priority)"},
    {"spec.weight", "weight (--weight)"},
    {"spec.supernet", "supernet (--supernet)"},
    {"spec.objectives", "objectives (--objective)"},
    {"spec.constraints", "constraints (--constraint)"},
    {"spec.seed", "seed (--seed)"},
    {"spec.", ""},
};

bool IsFieldByte(char c) {
  return absl::ascii_isalnum(c) || c == '_' || c == '.' || c == '[' || c == ']';
}

// An expression for each element, in the words of the command line.
struct Lists {
  std::string prefix;  // "spec." or ""
  std::vector<std::string> objectives;
  std::vector<std::string> constraints;
};

template <typename Message>
Lists ListsOf(const Message& message, const std::string& prefix) {
  Lists lists{prefix, {}, {}};
  for (const v1::Objective& objective : message.objectives()) {
    lists.objectives.push_back(absl::StrCat("objective ", ObjectiveText(objective)));
  }
  for (const v1::Constraint& constraint : message.constraints()) {
    lists.constraints.push_back(absl::StrCat("constraint ", ConstraintText(constraint)));
  }
  return lists;
}

// "constraints[3].at_most" at the front of `text`: what stands for it, and `text` without it. ""
// when there is no such path.
std::string ConsumeElement(absl::string_view name, const std::vector<std::string>& words,
                           absl::string_view* text) {
  absl::string_view rest = *text;
  if (!absl::ConsumePrefix(&rest, name) || !absl::ConsumePrefix(&rest, "[")) return "";
  const size_t end = rest.find(']');
  size_t index = 0;
  if (end == absl::string_view::npos || !absl::SimpleAtoi(rest.substr(0, end), &index) ||
      index >= words.size()) {
    return "";
  }
  rest.remove_prefix(end + 1);
  // What follows within the element says no more than the message.
  size_t field = 0;
  while (field < rest.size() && IsFieldByte(rest[field])) ++field;
  if (field > 0 && rest[field - 1] == '.') --field;  // the end of a sentence
  *text = rest.substr(field);
  return words[index];
}

std::string Translated(absl::string_view message, const Lists& lists) {
  std::string result;
  while (!message.empty()) {
    const bool begins = result.empty() || !IsFieldByte(result.back());
    if (begins) {
      std::string words = ConsumeElement(lists.prefix + "objectives", lists.objectives, &message);
      if (words.empty()) {
        words = ConsumeElement(lists.prefix + "constraints", lists.constraints, &message);
      }
      for (const auto& [field, name] : kFields) {
        if (!words.empty() || lists.prefix.empty()) break;
        if (!absl::ConsumePrefix(&message, field)) continue;
        if (name.empty()) break;
        words = std::string(name);
      }
      absl::StrAppend(&result, words);
      if (message.empty()) break;
    }
    result.push_back(message[0]);
    message.remove_prefix(1);
  }
  return result;
}

absl::Status WithMessage(const absl::Status& status, const std::string& message) {
  return status.ok() ? status : absl::Status(status.code(), message);
}

}  // namespace

std::string InUserWords(absl::string_view message, const v1::SearchJobSpec& spec) {
  return Translated(message, ListsOf(spec, "spec."));
}

absl::Status InUserWords(const absl::Status& status, const v1::SearchJobSpec& spec) {
  return WithMessage(status, InUserWords(status.message(), spec));
}

absl::Status InUserWords(const absl::Status& status, const v1::QueryParetoFrontierRequest& query) {
  return WithMessage(status, Translated(status.message(), ListsOf(query, "")));
}

std::string WithoutField(absl::string_view message) {
  for (const absl::string_view field : {"parent: ", "name: "}) {
    if (absl::ConsumePrefix(&message, field)) break;
  }
  return std::string(message);
}

}  // namespace forall
