// SPDX-License-Identifier: Apache-2.0
#include "space/family_rules.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/json_depth.h"
#include "base/status_macros.h"

namespace forall {

using Json = nlohmann::json;

int64_t MakeDivisible(double v) {
  int64_t rounded = static_cast<int64_t>(v + 4) / 8 * 8;
  if (rounded < 8) rounded = 8;
  if (static_cast<double>(rounded) < 0.9 * v) rounded += 8;
  return rounded;
}

int64_t RoundHalfEven(double v) {
  const double floor = std::floor(v);
  const double rest = v - floor;
  if (rest != 0.5) return static_cast<int64_t>(std::floor(v + 0.5));
  const int64_t below = static_cast<int64_t>(floor);
  return below % 2 == 0 ? below : below + 1;
}

void ListBatchNorm(const std::string& prefix, int64_t channels, std::vector<TensorSpec>* tensors) {
  tensors->push_back({prefix + ".weight", {channels}, TensorRole::kBatchNormScale});
  tensors->push_back({prefix + ".bias", {channels}, TensorRole::kBatchNormBias});
  tensors->push_back({prefix + ".running_mean", {channels}, TensorRole::kRunningMean});
  tensors->push_back({prefix + ".running_var", {channels}, TensorRole::kRunningVariance});
  tensors->push_back({prefix + ".num_batches_tracked", {}, TensorRole::kBatchCounter});
}

absl::StatusOr<OfaNotation> OfaNotation::Parse(absl::string_view text,
                                               std::vector<std::string> lists) {
  FORALL_RETURN_IF_ERROR(CheckJsonDepth(text));
  Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object()) {
    return absl::InvalidArgumentError("an architecture must be a JSON object");
  }
  if (!json.contains("search_space")) {
    for (const auto& [key, value] : json.items()) {
      const bool known = key == "r" || std::find(lists.begin(), lists.end(), key) != lists.end();
      if (!known && !value.is_null()) {
        return absl::InvalidArgumentError(
            absl::StrCat(key, ": unknown field of an OFA architecture; known are ",
                         absl::StrJoin(lists, ", "), " and r"));
      }
    }
  }
  return OfaNotation(std::move(json));
}

absl::StatusOr<Json> OfaNotation::Entry(const char* key, size_t index, size_t length) const {
  const auto list = json_.find(key);
  if (list == json_.end() || !list->is_array() || list->size() != length) {
    const std::string got = list != json_.end() && list->is_array()
                                ? absl::StrCat(", it has ", list->size())
                                : std::string();
    return absl::InvalidArgumentError(
        absl::StrCat(key, " must be a list of ", length, " numbers", got));
  }
  return (*list)[index];
}

absl::StatusOr<int32_t> OfaNotation::Integer(const char* key, size_t index, size_t length) const {
  FORALL_ASSIGN_OR_RETURN(const Json entry, Entry(key, index, length));
  if (!entry.is_number_integer() || entry < -1000000 || entry > 1000000) {
    return absl::InvalidArgumentError(
        absl::StrCat(key, "[", index, "]: must be a small integer, not ", entry.dump()));
  }
  return entry.get<int32_t>();
}

absl::StatusOr<double> OfaNotation::Number(const char* key, size_t index, size_t length) const {
  FORALL_ASSIGN_OR_RETURN(const Json entry, Entry(key, index, length));
  if (!entry.is_number()) {
    return absl::InvalidArgumentError(
        absl::StrCat(key, "[", index, "]: must be a number, not ", entry.dump()));
  }
  return entry.get<double>();
}

absl::StatusOr<int32_t> OfaNotation::Resolution() const {
  const Json r = json_.contains("r") ? json_["r"] : Json();
  const Json& value = r.is_array() && r.size() == 1 ? r[0] : r;
  if (!value.is_number_integer() || value < 0 || value > 1000000) {
    return absl::InvalidArgumentError("r must be one resolution, e.g. \"r\": 224");
  }
  return value.get<int32_t>();
}

absl::Status Choose(const SearchSpace& space, absl::string_view dimension, absl::string_view field,
                    int32_t value, Architecture* architecture) {
  const std::optional<int> index = space.FindDimension(dimension);
  if (!index.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(field, ": ", space.id(), " has no dimension ", dimension));
  }
  const std::vector<int32_t>& options = space.dimensions()[*index].options;
  const auto option = std::find(options.begin(), options.end(), value);
  if (option == options.end()) {
    return absl::InvalidArgumentError(absl::StrCat(field, ": ", value,
                                                   " is not an option of dimension ", dimension,
                                                   "; options are ", absl::StrJoin(options, ", ")));
  }
  architecture->choices[*index] = static_cast<int32_t>(option - options.begin());
  return absl::OkStatus();
}

}  // namespace forall
