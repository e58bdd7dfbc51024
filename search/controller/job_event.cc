// SPDX-License-Identifier: Apache-2.0
#include "search/controller/job_event.h"

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"

namespace forall {

// Found by the JSON library. In a log there are hundreds of them: arrays, without names.
void to_json(nlohmann::ordered_json& json, const KnownSubnet& subnet) {
  json = nlohmann::ordered_json::array({subnet.choices, subnet.measurements});
}
void from_json(const nlohmann::ordered_json& json, KnownSubnet& subnet) {
  json.at(0).get_to(subnet.choices);
  json.at(1).get_to(subnet.measurements);
}

namespace {

using Json = nlohmann::ordered_json;

// Visits every field by its name in the JSON, for writing and for reading alike.
template <typename Event, typename Visitor>
void VisitFields(Event& event, Visitor visit) {
  visit("trial", event.trial);
  visit("trial_id", event.trial_id);
  visit("task", event.task);
  visit("target", event.target);
  visit("state", event.state);
  visit("stopped_by", event.stopped_by);
  visit("last", event.last);
  visit("reused", event.reused);
  visit("accuracy_known", event.accuracy_known);
  visit("choices", event.choices);
  visit("measurements", event.measurements);
  visit("artifact", event.artifact);
  visit("fidelity", event.fidelity);
  visit("split", event.split);
  visit("device", event.device);
  visit("fingerprint", event.fingerprint);
  visit("profile", event.profile);
  visit("worker", event.worker);
  visit("reason", event.reason);
  visit("message", event.message);
  visit("warnings", event.warnings);
  visit("values", event.values);
  visit("latencies", event.latencies);
  visit("expected", event.expected);
  visit("deviations", event.deviations);
  visit("subnets", event.subnets);
  visit("hypervolume", event.hypervolume);
  visit("frontier", event.frontier);
}

}  // namespace

EventRecord ToRecord(int64_t job, const JobEvent& event) {
  const JobEvent defaults;
  Json filled = Json::object();
  Json empty = Json::object();
  VisitFields(event, [&](const char* name, const auto& value) { filled[name] = value; });
  VisitFields(defaults, [&](const char* name, const auto& value) { empty[name] = value; });
  Json json = Json::object();
  for (const auto& [name, value] : filled.items()) {
    if (value != empty[name]) json[name] = value;
  }
  // Text from workers may not be UTF-8: it is replaced, not refused.
  return {job, event.sequence, event.kind,
          json.dump(-1, ' ', false, Json::error_handler_t::replace), event.time};
}

absl::StatusOr<JobEvent> FromRecord(const EventRecord& record) {
  JobEvent event;
  event.kind = record.kind;
  event.sequence = record.sequence;
  event.time = record.time;
  try {
    const Json json = Json::parse(record.payload);
    VisitFields(event, [&](const char* name, auto& value) {
      if (const auto it = json.find(name); it != json.end()) it->get_to(value);
    });
  } catch (const nlohmann::json::exception& error) {
    return absl::DataLossError(absl::StrCat("event ", record.sequence, " of job ", record.job_id,
                                            " cannot be read: ", error.what()));
  }
  return event;
}

}  // namespace forall
