// SPDX-License-Identifier: Apache-2.0
// The short notations of the command line.
#ifndef FORALL_CLI_EXPRESSIONS_H_
#define FORALL_CLI_EXPRESSIONS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "proto/forall/v1/resources.pb.h"

namespace forall {

// "latency_ms" or "latency_ms@pi5-lab" (a device) or "latency_ms@class:x86-64" (a device class),
// each with ":batch=8" (images per inference) after it, and for carbon_mg ":grid=386" (grams of CO2
// equivalent per kWh). InvalidArgument lists the known metrics.
absl::StatusOr<v1::Objective> ParseObjective(absl::string_view text);

// "latency_ms<=8", "accuracy_top1>=92.5", "macs<=50M", "latency_ms@pi5-lab<=8". Suffixes k, M, G
// multiply by powers of 1000; Ki and Mi (bytes) by powers of 1024.
absl::StatusOr<v1::Constraint> ParseConstraint(absl::string_view text);

// "fashion_mnist" or "supernets/fashion_mnist" -> "supernets/fashion_mnist"; likewise for others.
std::string WithCollection(absl::string_view collection, absl::string_view name);

// "latency_ms@pi5-lab": how both notations begin.
std::string MetricText(const std::string& metric, const v1::Condition& condition);
// The notation that ParseConstraint reads; of two bounds one after the other, with " and " between.
std::string ConstraintText(const v1::Constraint& constraint);
// The notation that ParseObjective reads.
std::string ObjectiveText(const v1::Objective& objective);

}  // namespace forall

#endif  // FORALL_CLI_EXPRESSIONS_H_
