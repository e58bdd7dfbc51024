// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "search/report/html_text.h"
#include "search/report/method_section.h"
#include "space/metric_registry.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

// Whether a class comes back out of an expression as it went in.
bool Expressible(const std::string& device_class) {
  if (device_class.find_first_of(" \t\n\v\f\r") == 0 ||
      device_class.find_last_of(" \t\n\v\f\r") + 1 == device_class.size()) {
    return device_class.empty();
  }
  for (const char* other : {":batch=", ":grid=", "<=", ">="}) {
    if (device_class.find(other) != std::string::npos) return false;
  }
  return true;
}

// Few digits where they say all: rounded, the largest number is beyond all numbers.
std::string NumberText(double value) {
  std::string text = absl::StrFormat("%.15g", value);
  double read = 0;
  if (!absl::SimpleAtod(text, &read) || read != value) text = absl::StrFormat("%.17g", value);
  return text;
}

// The double that a person would write for it: 0.1, not 0.100000001.
double Shortest(float value) {
  for (const int digits : {6, 7, 8, 9}) {
    float back = 0;
    double wide = 0;
    const std::string text = absl::StrFormat("%.*g", digits, value);
    if (absl::SimpleAtof(text, &back) && back == value && absl::SimpleAtod(text, &wide)) {
      return wide;
    }
  }
  return value;
}

// "latency_ms@pi5-lab", as the command line writes it.
std::string MetricText(const std::string& metric, const v1::Condition& condition, bool* complete) {
  if (!condition.profile().empty() || !condition.dataset().empty() || !condition.split().empty() ||
      !condition.recipe().empty()) {
    *complete = false;
  }
  std::string text = metric;
  if (!condition.device().empty()) {
    if (!condition.device_class().empty()) *complete = false;
    absl::StrAppend(&text, "@", LastSegment(condition.device()));
  } else if (!condition.device_class().empty()) {
    if (!Expressible(condition.device_class())) *complete = false;
    absl::StrAppend(&text, "@class:", condition.device_class());
  }
  if (condition.batch() > 1) absl::StrAppend(&text, ":batch=", condition.batch());
  if (condition.grid_grams_per_kwh() > 0) {
    absl::StrAppendFormat(&text, ":grid=%.9g", condition.grid_grams_per_kwh());
  }
  return text;
}

Json ObjectivesJson(const v1::SearchJobSpec& spec, bool* complete) {
  Json json = Json::array();
  for (const v1::Objective& objective : spec.objectives()) {
    const MetricInfo* info = FindMetric(objective.metric());
    const bool natural = objective.goal() == v1::Objective::GOAL_UNSPECIFIED ||
                         (info != nullptr &&
                          info->higher_is_better == (objective.goal() == v1::Objective::MAXIMIZE));
    if (!natural) *complete = false;
    json.push_back(MetricText(objective.metric(), objective.condition(), complete));
  }
  return json;
}

Json ConstraintsJson(const v1::SearchJobSpec& spec, bool* complete) {
  Json json = Json::array();
  for (const v1::Constraint& constraint : spec.constraints()) {
    const std::string metric = MetricText(constraint.metric(), constraint.condition(), complete);
    if (constraint.has_at_most()) {
      json.push_back(absl::StrCat(metric, "<=", NumberText(constraint.at_most())));
    }
    if (constraint.has_at_least()) {
      json.push_back(absl::StrCat(metric, ">=", NumberText(constraint.at_least())));
    }
  }
  return json;
}

std::string DurationText(const google::protobuf::Duration& duration) {
  return absl::FormatDuration(absl::Seconds(duration.seconds()) +
                              absl::Nanoseconds(duration.nanos()));
}

Json LatencyRulesJson(const v1::LatencyProfile& rules) {
  Json json = Json::object();
  if (!rules.base().empty()) json["base"] = rules.base();
  if (rules.target_half_width() > 0) json["target_half_width"] = rules.target_half_width();
  if (rules.min_runs() > 0) json["min_runs"] = rules.min_runs();
  if (rules.max_runs() > 0) json["max_runs"] = rules.max_runs();
  if (rules.has_max_duration()) json["max_duration"] = DurationText(rules.max_duration());
  if (rules.sessions() > 0) json["sessions"] = rules.sessions();
  if (rules.has_fresh()) json["fresh"] = rules.fresh();
  return json;
}

}  // namespace

std::string JobFileJson(const v1::SearchJobSpec& spec, bool* complete) {
  *complete = true;
  Json json;
  if (!spec.display_name().empty()) json["name"] = spec.display_name();
  json["supernet"] = std::string(LastSegment(spec.supernet()));
  json["objectives"] = ObjectivesJson(spec, complete);
  if (!spec.constraints().empty()) json["constraints"] = ConstraintsJson(spec, complete);
  Json sampler = Json::object();
  if (!spec.sampler().algorithm().empty()) sampler["algorithm"] = spec.sampler().algorithm();
  if (spec.sampler().population_size() > 0) {
    sampler["population_size"] = spec.sampler().population_size();
  }
  if (spec.sampler().mutation_probability() > 0) {
    sampler["mutation_probability"] = spec.sampler().mutation_probability();
  }
  if (!sampler.empty()) json["sampler"] = sampler;
  json["budget"]["max_trials"] = spec.budget().max_trials();
  if (spec.budget().plateau_trials() > 0) {
    json["budget"]["plateau_trials"] = spec.budget().plateau_trials();
  }
  if (spec.budget().plateau_improvement() > 0) {
    json["budget"]["plateau_improvement"] = spec.budget().plateau_improvement();
  }
  if (spec.budget().has_max_duration()) {
    json["budget"]["max_duration"] = DurationText(spec.budget().max_duration());
  }
  const v1::Fidelity& fidelity = spec.fidelity();
  json["fidelity"] = {{"screening_images", fidelity.screening_images()},
                      {"final_images", fidelity.final_images()},
                      {"calibration_images", fidelity.calibration_images()},
                      {"calibration_seed", fidelity.calibration_seed()},
                      {"tiers", fidelity.tiers()},
                      {"part_images", fidelity.part_images()},
                      {"test_split", fidelity.test_split()}};
  // Rules that say nothing are the same as none.
  const Json screening = LatencyRulesJson(fidelity.screening_latency());
  if (!screening.empty()) json["fidelity"]["screening_latency"] = screening;
  const Json final_rules = LatencyRulesJson(fidelity.final_latency());
  if (!final_rules.empty()) json["fidelity"]["final_latency"] = final_rules;
  json["seed"] = spec.seed();
  if (!spec.dataset().empty()) json["dataset"] = spec.dataset();
  if (spec.parallelism() > 0) json["parallelism"] = spec.parallelism();
  if (spec.priority() != 0) json["priority"] = spec.priority();
  if (spec.has_weight()) json["weight"] = Shortest(spec.weight());
  if (!spec.recipe().empty()) json["recipe"] = spec.recipe();
  if (!spec.accuracy_predictor().empty()) json["accuracy_predictor"] = spec.accuracy_predictor();
  if (spec.cold_start()) json["cold_start"] = true;
  if (!spec.latency_tables().empty()) json["latency_tables"] = spec.latency_tables();
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace forall
