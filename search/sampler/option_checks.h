// SPDX-License-Identifier: Apache-2.0
// Checks that the samplers' Create functions share; each names the option in its error.
#ifndef FORALL_SEARCH_SAMPLER_OPTION_CHECKS_H_
#define FORALL_SEARCH_SAMPLER_OPTION_CHECKS_H_

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "search/sampler/sampler.h"

namespace forall {

inline absl::Status CheckPositive(int value, absl::string_view option) {
  if (value >= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(option, " must be at least 1, got ", value));
}

inline absl::Status CheckFraction(double value, absl::string_view option) {
  if (value >= 0 && value <= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(option, " must be from 0 to 1, got ", value));
}

// What SpreadInitial needs.
inline absl::Status CheckInitialOptions(const SamplerOptions& options, absl::string_view sampler) {
  if (options.initial_samples < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("initial_samples must not be negative, got ", options.initial_samples));
  }
  if (options.cost == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("sampler ", sampler, " needs a cost function to spread its first samples"));
  }
  return absl::OkStatus();
}

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_OPTION_CHECKS_H_
