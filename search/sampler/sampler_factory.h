// SPDX-License-Identifier: Apache-2.0
// The samplers by name. A new strategy is one file and one line in sampler_factory.cc; the contract
// test then runs on it by itself.
#ifndef FORALL_SEARCH_SAMPLER_SAMPLER_FACTORY_H_
#define FORALL_SEARCH_SAMPLER_SAMPLER_FACTORY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "search/sampler/sampler.h"

namespace forall {

// In the order of the documentation.
std::vector<std::string> SamplerNames();

// InvalidArgument: an unknown name (the message lists the known ones), or options that the sampler
// refuses.
absl::StatusOr<std::unique_ptr<Sampler>> CreateSampler(absl::string_view name,
                                                       SamplerOptions options, SearchSpace space,
                                                       uint64_t seed);

}  // namespace forall

#endif  // FORALL_SEARCH_SAMPLER_SAMPLER_FACTORY_H_
