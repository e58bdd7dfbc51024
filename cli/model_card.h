// SPDX-License-Identifier: Apache-2.0
// The model card of a subnet that leaves (after Mitchell et al., "Model Cards for Model Reporting",
// FAT* 2019): what it is, what was measured and how far to trust it, where it comes from, how to
// make it again.
#ifndef FORALL_CLI_MODEL_CARD_H_
#define FORALL_CLI_MODEL_CARD_H_

#include <string>

#include "cli/subnet_source.h"
#include "nlohmann/json_fwd.hpp"

namespace forall {

// For programs; docs/exports.md lists the fields. Numbers are in the units of the metrics. Pure.
nlohmann::ordered_json ModelCard(const FoundSubnet& subnet);

// The same for people.
std::string ModelCardMarkdown(const nlohmann::ordered_json& card);

}  // namespace forall

#endif  // FORALL_CLI_MODEL_CARD_H_
