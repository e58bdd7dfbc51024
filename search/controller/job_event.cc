// SPDX-License-Identifier: Apache-2.0
#include "search/controller/job_event.h"

#include <string>
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
// Found by the JSON library.
void from_json(const nlohmann::ordered_json& json, KnownSubnet& subnet) {
  json.at(0).get_to(subnet.choices);
  json.at(1).get_to(subnet.measurements);
}

namespace {

using Json = nlohmann::ordered_json;

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
  try {
    const Json json = Json::parse(record.payload);
    VisitFields(event, [&](const char* name, auto& value, const auto&) {
      if (const auto it = json.find(name); it != json.end()) it->get_to(value);
    });
  } catch (const nlohmann::json::exception& error) {
    return absl::DataLossError(absl::StrCat("event ", record.sequence, " of job ", record.job_id,
                                            " cannot be read: ", error.what()));
  }
  return event;
}

}  // namespace forall
