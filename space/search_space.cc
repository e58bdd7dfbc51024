// SPDX-License-Identifier: Apache-2.0
#include "space/search_space.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/json_depth.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

std::string OptionList(const Dimension& dimension) {
  return absl::StrJoin(dimension.options, ", ");
}

absl::Status CheckDimension(const Dimension& dimension, int index) {
  if (dimension.name.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("dimension ", index, " has no name"));
  }
  if (dimension.options.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("dimension ", dimension.name, " has no options"));
  }
  for (size_t i = 1; i < dimension.options.size(); ++i) {
    if (dimension.options[i] <= dimension.options[i - 1]) {
      return absl::InvalidArgumentError(absl::StrCat("options of dimension ", dimension.name,
                                                     " must ascend, got ", OptionList(dimension)));
    }
  }
  if (dimension.condition.has_value() &&
      (dimension.condition->dimension < 0 || dimension.condition->dimension >= index)) {
    return absl::InvalidArgumentError(
        absl::StrCat("dimension ", dimension.name, " must depend on an earlier dimension"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SearchSpace> SearchSpace::Create(std::string id, int32_t revision,
                                                std::vector<Dimension> dimensions) {
  if (id.empty()) return absl::InvalidArgumentError("a search space needs an id");
  SearchSpace space;
  for (size_t i = 0; i < dimensions.size(); ++i) {
    FORALL_RETURN_IF_ERROR(CheckDimension(dimensions[i], static_cast<int>(i)));
    if (!space.index_.emplace(dimensions[i].name, static_cast<int>(i)).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("two dimensions are called ", dimensions[i].name));
    }
    space.encoded_size_ += static_cast<int>(dimensions[i].options.size());
  }
  space.id_ = std::move(id);
  space.revision_ = revision;
  space.dimensions_ = std::move(dimensions);
  return space;
}

std::optional<int> SearchSpace::FindDimension(absl::string_view name) const {
  const auto it = index_.find(name);
  if (it == index_.end()) return std::nullopt;
  return it->second;
}

absl::Status SearchSpace::Validate(const Architecture& architecture) const {
  if (architecture.search_space != id_ || architecture.revision != revision_) {
    return absl::InvalidArgumentError(absl::StrCat(
        "architecture.search_space: it is of ", architecture.search_space, " revision ",
        architecture.revision, ", this search space is ", id_, " revision ", revision_));
  }
  if (architecture.choices.size() != dimensions_.size()) {
    return absl::InvalidArgumentError(absl::StrCat("architecture.choices: ", dimensions_.size(),
                                                   " choices are needed, got ",
                                                   architecture.choices.size()));
  }
  for (size_t i = 0; i < dimensions_.size(); ++i) {
    const int32_t choice = architecture.choices[i];
    if (choice < 0 || choice >= static_cast<int32_t>(dimensions_[i].options.size())) {
      return absl::InvalidArgumentError(
          absl::StrCat("architecture.choices[", i, "] (", dimensions_[i].name, "): ", choice,
                       " is not an index into its ", dimensions_[i].options.size(), " options ",
                       OptionList(dimensions_[i])));
    }
  }
  return absl::OkStatus();
}

bool SearchSpace::IsActive(const Architecture& architecture, int dimension) const {
  const std::optional<ActivationCondition>& condition = dimensions_[dimension].condition;
  if (!condition.has_value()) return true;
  return IsActive(architecture, condition->dimension) &&
         Value(architecture, condition->dimension) >= condition->at_least;
}

Architecture SearchSpace::Canonical(const Architecture& architecture) const {
  Architecture canonical = architecture;
  for (size_t i = 0; i < dimensions_.size(); ++i) {
    if (!IsActive(architecture, static_cast<int>(i))) canonical.choices[i] = 0;
  }
  return canonical;
}

Architecture SearchSpace::Smallest() const {
  return {id_, revision_, std::vector<int32_t>(dimensions_.size(), 0)};
}

Architecture SearchSpace::Largest() const {
  Architecture largest = Smallest();
  for (size_t i = 0; i < dimensions_.size(); ++i) {
    largest.choices[i] = static_cast<int32_t>(dimensions_[i].options.size()) - 1;
  }
  return largest;
}

Architecture SearchSpace::Sample(Random* random) const {
  Architecture sample = Smallest();
  for (size_t i = 0; i < dimensions_.size(); ++i) {
    sample.choices[i] = static_cast<int32_t>(random->Uniform(dimensions_[i].options.size()));
  }
  return Canonical(sample);
}

Architecture SearchSpace::Mutate(const Architecture& parent, double probability,
                                 Random* random) const {
  const Architecture origin = Canonical(parent);
  Architecture child = origin;
  for (size_t i = 0; i < dimensions_.size(); ++i) {
    // A dimension that was inactive carries no information worth keeping.
    const bool redraw = !IsActive(origin, static_cast<int>(i)) || random->Bernoulli(probability);
    if (redraw) {
      child.choices[i] = static_cast<int32_t>(random->Uniform(dimensions_[i].options.size()));
    }
  }
  child = Canonical(child);
  if (child != origin) return child;

  std::vector<int> movable;
  for (size_t i = 0; i < dimensions_.size(); ++i) {
    if (dimensions_[i].options.size() > 1 && IsActive(origin, static_cast<int>(i))) {
      movable.push_back(static_cast<int>(i));
    }
  }
  if (movable.empty()) return child;
  const int moved = movable[random->Uniform(movable.size())];
  const size_t options = dimensions_[moved].options.size();
  const uint64_t step = 1 + random->Uniform(options - 1);
  child.choices[moved] = static_cast<int32_t>((child.choices[moved] + step) % options);
  for (size_t i = 0; i < dimensions_.size(); ++i) {
    if (IsActive(child, static_cast<int>(i)) && !IsActive(origin, static_cast<int>(i))) {
      child.choices[i] = static_cast<int32_t>(random->Uniform(dimensions_[i].options.size()));
    }
  }
  return Canonical(child);
}

Architecture SearchSpace::Crossover(const Architecture& a, const Architecture& b,
                                    Random* random) const {
  Architecture child = a;
  for (size_t i = 0; i < dimensions_.size(); ++i) {
    if (random->Bernoulli(0.5)) child.choices[i] = b.choices[i];
  }
  return Canonical(child);
}

std::vector<float> SearchSpace::Encode(const Architecture& architecture) const {
  std::vector<float> features(encoded_size_, 0.0f);
  size_t offset = 0;
  for (size_t i = 0; i < dimensions_.size(); ++i) {
    if (IsActive(architecture, static_cast<int>(i))) features[offset + architecture.choices[i]] = 1;
    offset += dimensions_[i].options.size();
  }
  return features;
}

double SearchSpace::Log10Size() const {
  // Counts networks below one setting of everything that conditions look at: for each option of a
  // dimension, the product over its dependents that this option activates.
  const size_t n = dimensions_.size();
  std::vector<std::vector<int>> dependents(n);
  for (size_t i = 0; i < n; ++i) {
    if (dimensions_[i].condition.has_value()) {
      dependents[dimensions_[i].condition->dimension].push_back(static_cast<int>(i));
    }
  }
  std::vector<double> log10_count(n, 0.0);
  double total = 0;
  for (size_t i = n; i-- > 0;) {
    double largest = -1;
    std::vector<double> terms;
    for (const int32_t option : dimensions_[i].options) {
      double term = 0;
      for (const int dependent : dependents[i]) {
        if (option >= dimensions_[dependent].condition->at_least) term += log10_count[dependent];
      }
      terms.push_back(term);
      largest = std::max(largest, term);
    }
    double sum = 0;
    for (const double term : terms) sum += std::pow(10.0, term - largest);
    log10_count[i] = largest + std::log10(sum);
    if (!dimensions_[i].condition.has_value()) total += log10_count[i];
  }
  return total;
}

std::string SearchSpace::ToJson(const Architecture& architecture) const {
  Json choices = Json::object();
  for (size_t i = 0; i < dimensions_.size(); ++i) {
    if (IsActive(architecture, static_cast<int>(i))) {
      choices[dimensions_[i].name] = Value(architecture, static_cast<int>(i));
    }
  }
  Json json;
  json["search_space"] = id_;
  json["revision"] = revision_;
  json["choices"] = std::move(choices);
  return json.dump();
}

absl::StatusOr<Architecture> SearchSpace::FromJson(absl::string_view text) const {
  FORALL_RETURN_IF_ERROR(CheckJsonDepth(text));
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object()) {
    return absl::InvalidArgumentError("an architecture must be a JSON object");
  }
  for (const auto& [key, value] : json.items()) {
    if (key != "search_space" && key != "revision" && key != "choices") {
      return absl::InvalidArgumentError(absl::StrCat(
          "unknown field ", key, "; an architecture has search_space, revision, choices"));
    }
  }
  if (!json.contains("search_space") || json["search_space"] != id_) {
    return absl::InvalidArgumentError(absl::StrCat("search_space must be \"", id_, "\""));
  }
  if (!json.contains("revision") || json["revision"] != revision_) {
    return absl::InvalidArgumentError(absl::StrCat("revision must be ", revision_));
  }
  if (!json.contains("choices") || !json["choices"].is_object()) {
    return absl::InvalidArgumentError("choices must be an object of dimension names and values");
  }
  Architecture architecture = Smallest();
  std::vector<bool> given(dimensions_.size(), false);
  for (const auto& [name, value] : json["choices"].items()) {
    const std::optional<int> index = FindDimension(name);
    if (!index.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("choices.", name, ": ", id_, " has no such dimension"));
    }
    const Dimension& dimension = dimensions_[*index];
    int choice = -1;
    for (size_t i = 0; i < dimension.options.size(); ++i) {
      if (value.is_number_integer() && value == dimension.options[i]) choice = static_cast<int>(i);
    }
    if (choice < 0) {
      return absl::InvalidArgumentError(absl::StrCat("choices.", name, ": ", value.dump(),
                                                     " is not one of ", OptionList(dimension)));
    }
    architecture.choices[*index] = choice;
    given[*index] = true;
  }
  for (size_t i = 0; i < dimensions_.size(); ++i) {
    if (!given[i] && IsActive(architecture, static_cast<int>(i))) {
      return absl::InvalidArgumentError(absl::StrCat("choices.", dimensions_[i].name,
                                                     " is missing; choose one of ",
                                                     OptionList(dimensions_[i])));
    }
  }
  return Canonical(architecture);
}

}  // namespace forall
