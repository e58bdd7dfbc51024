// SPDX-License-Identifier: Apache-2.0
#include "search/report/option_shares.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace forall {
namespace {

std::string LeadingLetters(const std::string& name) {
  const auto end =
      std::find_if_not(name.begin(), name.end(), [](char c) { return absl::ascii_isalpha(c); });
  return end == name.begin() ? name : std::string(name.begin(), end);
}

// Probability that each dimension is active when all are drawn uniformly.
std::vector<double> ActiveProbability(const SearchSpace& space) {
  std::vector<double> active;
  for (const Dimension& dimension : space.dimensions()) {
    if (!dimension.condition.has_value()) {
      active.push_back(1);
      continue;
    }
    // A condition is on an earlier dimension.
    const auto& options = space.dimensions()[dimension.condition->dimension].options;
    const auto enough = std::count_if(options.begin(), options.end(), [&](int32_t value) {
      return value >= dimension.condition->at_least;
    });
    active.push_back(active[dimension.condition->dimension] * static_cast<double>(enough) /
                     static_cast<double>(options.size()));
  }
  return active;
}

std::string PlaceName(size_t place, size_t count) {
  if (place == 0) return "smallest";
  if (place + 1 == count) return "largest";
  const size_t ordinal = place + 1;
  return absl::StrCat(ordinal, ordinal == 2 ? "nd" : ordinal == 3 ? "rd" : "th");
}

// The names of a group's options; a dimension with fewer options than others has the first of them
// and its last one is "largest" as theirs are.
class Naming {
 public:
  Naming(const SearchSpace& space, const std::vector<int>& dimensions) {
    const std::vector<int32_t>& first = space.dimensions()[dimensions[0]].options;
    for (const int i : dimensions) {
      const std::vector<int32_t>& options = space.dimensions()[i].options;
      by_value_ &= options == first;
      count_ = std::max(count_, options.size());
    }
    for (size_t i = 0; i < count_; ++i) {
      names_.push_back(by_value_ ? absl::StrCat(first[i]) : PlaceName(i, count_));
    }
  }

  size_t Bin(size_t choice, size_t options) const {
    return !by_value_ && choice > 0 && choice + 1 == options ? count_ - 1 : choice;
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  bool by_value_ = true;
  size_t count_ = 0;
  std::vector<std::string> names_;
};

void Normalize(double OptionShare::*share, std::vector<OptionShare>* options) {
  double sum = 0;
  for (const OptionShare& option : *options) sum += option.*share;
  for (OptionShare& option : *options) option.*share = sum > 0 ? option.*share / sum : 0;
}

}  // namespace

std::vector<OptionGroup> OptionShares(const SearchSpace& space,
                                      absl::Span<const Architecture> architectures) {
  std::vector<const Architecture*> valid;
  for (const Architecture& architecture : architectures) {
    if (space.Validate(architecture).ok()) valid.push_back(&architecture);
  }
  if (valid.empty()) return {};
  std::vector<std::pair<std::string, std::vector<int>>> groups;
  std::map<std::string, size_t> index;
  for (size_t i = 0; i < space.dimensions().size(); ++i) {
    const std::string letters = LeadingLetters(space.dimensions()[i].name);
    const auto [it, added] = index.emplace(letters, groups.size());
    if (added) groups.push_back({letters, {}});
    groups[it->second].second.push_back(static_cast<int>(i));
  }
  const std::vector<double> active = ActiveProbability(space);
  std::vector<OptionGroup> shares;
  for (const auto& [letters, dimensions] : groups) {
    const Naming naming(space, dimensions);
    if (naming.names().size() < 2) continue;
    OptionGroup group;
    group.letters = letters;
    group.dimensions = static_cast<int>(dimensions.size());
    for (const std::string& name : naming.names()) group.options.push_back({name, 0, 0});
    for (const int i : dimensions) {
      const size_t options = space.dimensions()[i].options.size();
      for (size_t choice = 0; choice < options; ++choice) {
        group.options[naming.Bin(choice, options)].uniform +=
            active[i] / static_cast<double>(options);
      }
      for (const Architecture* architecture : valid) {
        if (!space.IsActive(*architecture, i)) continue;
        group.options[naming.Bin(architecture->choices[i], options)].chosen += 1;
      }
    }
    Normalize(&OptionShare::chosen, &group.options);
    Normalize(&OptionShare::uniform, &group.options);
    shares.push_back(std::move(group));
  }
  return shares;
}

}  // namespace forall
