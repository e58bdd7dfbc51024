// SPDX-License-Identifier: Apache-2.0
#include "search/controller/job_event.h"

#include <limits>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/json_writer.h"
#include "nlohmann/json.hpp"

namespace forall {

// Found by its name. In a log there are hundreds of them: arrays, without names.
void AppendJson(const KnownSubnet& subnet, std::string* text) {
  *text += '[';
  AppendJson(subnet.choices, text);
  *text += ',';
  AppendJson(subnet.measurements, text);
  *text += ']';
}

namespace {

using Json = nlohmann::ordered_json;

// Reading what is of exactly the type that ToRecord writes: the library would also make an integer
// of a number that is beyond all integers. False for anything else.
bool Get(const Json& json, bool* value) {
  if (json.is_boolean()) *value = json.get<bool>();
  return json.is_boolean();
}
bool Get(const Json& json, std::string* value) {
  if (json.is_string()) *value = json.get<std::string>();
  return json.is_string();
}
bool Get(const Json& json, double* value) {
  if (json.is_number()) *value = json.get<double>();
  return json.is_number();
}
template <typename Integer>
requires std::is_integral_v<Integer>
bool Get(const Json& json, Integer* value) {
  if (!json.is_number_integer()) return false;
  // What does not fit an int64_t is unsigned.
  if (json.is_number_unsigned() &&
      json.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
    return false;
  }
  const auto whole = json.get<int64_t>();
  *value = static_cast<Integer>(whole);
  return *value == whole;
}
template <typename T>
bool Get(const Json& json, std::vector<T>* values);
bool Get(const Json& json, KnownSubnet* subnet) {
  return json.is_array() && json.size() == 2 && Get(json[0], &subnet->choices) &&
         Get(json[1], &subnet->measurements);
}
template <typename T>
bool Get(const Json& json, std::vector<T>* values) {
  if (!json.is_array()) return false;
  values->resize(json.size());
  for (size_t i = 0; i < values->size(); ++i) {
    if (!Get(json[i], &(*values)[i])) return false;
  }
  return true;
}

// Visits every field by its name in the JSON, for writing and for reading alike, beside the value
// that is left out.
template <typename Event, typename Visitor>
void VisitFields(Event& event, Visitor visit) {
  static const JobEvent& defaults = *new JobEvent();
  visit("trial", event.trial, defaults.trial);
  visit("trial_id", event.trial_id, defaults.trial_id);
  visit("task", event.task, defaults.task);
  visit("target", event.target, defaults.target);
  visit("state", event.state, defaults.state);
  visit("stopped_by", event.stopped_by, defaults.stopped_by);
  visit("last", event.last, defaults.last);
  visit("reused", event.reused, defaults.reused);
  visit("accuracy_known", event.accuracy_known, defaults.accuracy_known);
  visit("choices", event.choices, defaults.choices);
  visit("measurements", event.measurements, defaults.measurements);
  visit("artifact", event.artifact, defaults.artifact);
  visit("fidelity", event.fidelity, defaults.fidelity);
  visit("split", event.split, defaults.split);
  visit("device", event.device, defaults.device);
  visit("fingerprint", event.fingerprint, defaults.fingerprint);
  visit("profile", event.profile, defaults.profile);
  visit("worker", event.worker, defaults.worker);
  visit("reason", event.reason, defaults.reason);
  visit("message", event.message, defaults.message);
  visit("tenant", event.tenant, defaults.tenant);
  visit("warnings", event.warnings, defaults.warnings);
  visit("values", event.values, defaults.values);
  visit("latencies", event.latencies, defaults.latencies);
  visit("expected", event.expected, defaults.expected);
  visit("deviations", event.deviations, defaults.deviations);
  visit("subnets", event.subnets, defaults.subnets);
  visit("hypervolume", event.hypervolume, defaults.hypervolume);
  visit("frontier", event.frontier, defaults.frontier);
}

}  // namespace

EventRecord ToRecord(int64_t job, const JobEvent& event) {
  std::string payload = "{";
  VisitFields(event, [&](const char* name, const auto& value, const auto& left_out) {
    if (value == left_out) return;
    if (payload.size() > 1) payload += ',';
    absl::StrAppend(&payload, "\"", name, "\":");
    // Text from workers may not be UTF-8: it is replaced, not refused.
    AppendJson(value, &payload);
  });
  payload += '}';
  return {job, event.sequence, event.kind, std::move(payload), event.time};
}

absl::StatusOr<JobEvent> FromRecord(const EventRecord& record) {
  JobEvent event;
  event.kind = record.kind;
  event.sequence = record.sequence;
  event.time = record.time;
  const auto damaged = [&](absl::string_view why) {
    return absl::DataLossError(absl::StrCat("event ", record.sequence, " of job ", record.job_id,
                                            " cannot be read: ", why));
  };
  const Json json = Json::parse(record.payload, nullptr, false);
  if (json.is_discarded() || !json.is_object()) return damaged("it is no JSON object");
  std::string wrong;
  VisitFields(event, [&](const char* name, auto& value, const auto&) {
    if (const auto it = json.find(name); it != json.end() && !Get(*it, &value)) wrong = name;
  });
  if (!wrong.empty()) return damaged(wrong);
  return event;
}

}  // namespace forall
