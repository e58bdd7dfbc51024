// SPDX-License-Identifier: Apache-2.0
// Small rules and notation that several families share.
#ifndef FORALL_SPACE_FAMILY_RULES_H_
#define FORALL_SPACE_FAMILY_RULES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "space/family.h"
#include "space/search_space.h"

namespace forall {

// max(8, int(v + 4) / 8 * 8), plus 8 when that is below 0.9 v.
int64_t MakeDivisible(double v);

// Python's round(): halves go to the even neighbour, whatever rounding mode the process is in.
int64_t RoundHalfEven(double v);

// The five tensors of a BatchNorm, in the order of a state dict.
void ListBatchNorm(const std::string& prefix, int64_t channels, std::vector<TensorSpec>* tensors);

// An architecture in the field's own notation, {"ks":[...],"e":[...],"d":[...],"r":128}, read entry
// by entry. Thread-compatible.
class OfaNotation {
 public:
  // InvalidArgument unless `text` is a JSON object. Fields that are none of `lists` and not "r"
  // must be null.
  static absl::StatusOr<OfaNotation> Parse(absl::string_view text, std::vector<std::string> lists);

  bool has(absl::string_view key) const { return json_.contains(std::string(key)); }
  // InvalidArgument when json[key] is no list of `length` integers (numbers, for Number).
  absl::StatusOr<int32_t> Integer(const char* key, size_t index, size_t length) const;
  absl::StatusOr<double> Number(const char* key, size_t index, size_t length) const;
  // "r": one integer, or a list of one.
  absl::StatusOr<int32_t> Resolution() const;

 private:
  explicit OfaNotation(nlohmann::json json) : json_(std::move(json)) {}
  absl::StatusOr<nlohmann::json> Entry(const char* key, size_t index, size_t length) const;
  nlohmann::json json_;
};

// Sets the choice of `dimension` to the option of that value. InvalidArgument, starting with
// `field`, when it is none of the options.
absl::Status Choose(const SearchSpace& space, absl::string_view dimension, absl::string_view field,
                    int32_t value, Architecture* architecture);

}  // namespace forall

#endif  // FORALL_SPACE_FAMILY_RULES_H_
