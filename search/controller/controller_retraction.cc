// SPDX-License-Identifier: Apache-2.0
// Taking measurements out of the count: docs/adr/0010-retraction.md.
#include <algorithm>
#include <set>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "search/controller/controller.h"
#include "search/controller/controller_answer.h"
#include "search/controller/resource_names.h"

namespace forall {
namespace {

constexpr size_t kMaxReason = 1024;
constexpr size_t kMaxBuild = 1024;
// One transaction, and one answer.
constexpr size_t kMostAtOnce = 100'000;

// Which measurements are meant.
struct Selection {
  std::string worker;  // "": any
  std::string device;
  std::string build;
  absl::Time since = absl::InfinitePast();
  absl::Time until = absl::InfiniteFuture();

  bool Covers(const std::string& by_worker, const std::string& by_build, absl::Time time) const {
    return (worker.empty() || worker == by_worker) && (build.empty() || build == by_build) &&
           time >= since && time < until;
  }
  bool Covers(const MeasurementRecord& record, const AccuracySources* sources) const {
    if (!device.empty() && record.key.device != device) return false;
    if (Covers(record.worker, record.worker_build, record.time)) return true;
    // A part of it is the worker's. Of parts no more is known than who measured them.
    return !worker.empty() && sources != nullptr && sources->workers.count(worker) > 0 &&
           record.time >= since;
  }
};

absl::StatusOr<absl::Time> TimeOf(const google::protobuf::Timestamp& stamp, const char* field) {
  // From year 1 to 9999, as the type says.
  if (stamp.seconds() < -62135596800 || stamp.seconds() > 253402300799 || stamp.nanos() < 0 ||
      stamp.nanos() > 999999999) {
    return absl::InvalidArgumentError(absl::StrCat(field, ": is no time"));
  }
  return absl::FromUnixSeconds(stamp.seconds()) + absl::Nanoseconds(stamp.nanos());
}

absl::StatusOr<Selection> SelectionOf(const v1::RetractMeasurementsRequest& request) {
  Selection selection;
  if (!request.worker().empty()) {
    FORALL_ASSIGN_OR_RETURN(selection.worker, ParseWorkerName(request.worker()));
  }
  if (!request.device().empty()) {
    FORALL_ASSIGN_OR_RETURN(selection.device, ParseDeviceName(request.device()));
  }
  if (request.worker_build().size() > kMaxBuild) {
    return absl::InvalidArgumentError(absl::StrCat("worker_build: at most ", kMaxBuild, " bytes"));
  }
  selection.build = request.worker_build();
  if (request.has_since()) {
    FORALL_ASSIGN_OR_RETURN(selection.since, TimeOf(request.since(), "since"));
  }
  if (request.has_until()) {
    FORALL_ASSIGN_OR_RETURN(selection.until, TimeOf(request.until(), "until"));
  }
  if (selection.worker.empty() && selection.device.empty() && selection.build.empty() &&
      !request.has_since() && !request.has_until()) {
    return absl::InvalidArgumentError(
        "worker, device, worker_build, since, until: give at least one; all measurements at once "
        "are never retracted");
  }
  if (selection.since >= selection.until) {
    return absl::InvalidArgumentError("until: must be later than since");
  }
  const absl::string_view reason = absl::StripAsciiWhitespace(request.reason());
  if (reason.empty() && !request.dry_run()) {
    return absl::InvalidArgumentError("reason: required: why, and who says so");
  }
  if (request.reason().size() > kMaxReason) {
    return absl::InvalidArgumentError(
        absl::StrCat("reason: at most ", kMaxReason, " bytes, got ", request.reason().size()));
  }
  return selection;
}

// Ascending, without those that are retracted already.
std::vector<int64_t> Select(const MeasurementIndex& index, const Selection& selection) {
  std::vector<int64_t> ids;
  absl::flat_hash_set<int64_t> chosen;
  for (const MeasurementRecord& record : index.all()) {
    if (!record.retracted_by.empty()) continue;
    const AccuracySources* const sources = index.SourcesOf(record);
    bool covered = selection.Covers(record, sources);
    // What took up a retracted accuracy is retracted with it; it has the higher id.
    if (!covered && sources != nullptr) {
      covered = std::any_of(sources->measurements.begin(), sources->measurements.end(),
                            [&](int64_t id) { return chosen.contains(id); });
    }
    if (!covered) continue;
    ids.push_back(record.id);
    chosen.insert(record.id);
  }
  return ids;
}

}  // namespace

v1::RetractMeasurementsResponse Controller::RetractLocked(
    const std::vector<int64_t>& ids, const v1::RetractMeasurementsRequest& request) {
  v1::RetractMeasurementsResponse response;
  response.set_measurements(static_cast<int64_t>(ids.size()));
  const absl::flat_hash_set<int64_t> gone(ids.begin(), ids.end());
  if (!request.dry_run()) {
    registry_->index.Retract(ids, request.reason());
    for (const int64_t id : ids) open_.batch.retractions.push_back({id, request.reason()});
  }
  for (const auto& [id, job] : registry_->jobs) {
    const RetractionEffect effect = job->fold().EffectOfRetracting(gone);
    if (effect.empty()) continue;
    v1::RetractMeasurementsResponse::Job* const view = response.add_jobs();
    view->set_search_job(JobName(id));
    view->set_measurements(static_cast<int64_t>(effect.measurements.size()));
    view->set_remeasured_trials(static_cast<int64_t>(effect.remeasured.size()));
    view->set_lost_trials(static_cast<int64_t>(effect.lost.size()));
    view->set_dropped_known(effect.dropped_known);
    if (!request.dry_run()) job->OnRetracted(effect, request.reason());
  }
  return response;
}

void Controller::ForgetUnusedDatasetsLocked() {
  // What a split's images are is what the first who measured on them said. Where nothing that was
  // measured on them counts any more, whoever measures next says it anew.
  std::set<std::pair<std::string, std::string>> used;
  const MeasurementRecord* last = nullptr;  // most are of the split that the one before was of
  for (const MeasurementRecord& record : registry_->index.all()) {
    if (!record.retracted_by.empty() || record.key.split.empty()) continue;
    if (last == nullptr || record.key.split != last->key.split ||
        record.key.dataset != last->key.dataset) {
      used.emplace(record.key.dataset, record.key.split);
    }
    last = &record;
  }
  for (auto it = registry_->datasets.begin(); it != registry_->datasets.end();) {
    const auto& [dataset, split] = it->first;
    if (used.count(it->first) > 0 || registry_->index.HasParts(dataset, split)) {
      ++it;
      continue;
    }
    FORALL_LOG(WARNING) << "images forgotten, nothing that was measured on them counts dataset="
                        << dataset << " split=" << split << " checksum=" << it->second.checksum;
    registry_->index.NoteAllImages(dataset, split, 0);
    std::erase_if(open_.batch.insert_datasets, [&key = it->first](const DatasetRecord& record) {
      return record.name == key.first && record.split == key.second;
    });
    open_.batch.delete_datasets.emplace_back(dataset, split);
    it = registry_->datasets.erase(it);
  }
}

void Controller::RetractMeasurements(const v1::RetractMeasurementsRequest& request,
                                     Done<v1::RetractMeasurementsResponse> done) {
  const absl::StatusOr<Selection> selection = SelectionOf(request);
  if (!selection.ok()) return done(selection.status());
  Answer<v1::RetractMeasurementsResponse>(
      request.ByteSizeLong(), std::move(done),
      [&]() -> absl::StatusOr<v1::RetractMeasurementsResponse> {
        mu_.AssertHeld();
        const std::vector<int64_t> ids = Select(registry_->index, *selection);
        if (ids.size() > kMostAtOnce) {
          return absl::InvalidArgumentError(
              absl::StrCat("since, until: ", ids.size(), " measurements are meant, at most ",
                           kMostAtOnce, " are retracted at once: do it a shorter time at a time"));
        }
        v1::RetractMeasurementsResponse response = RetractLocked(ids, request);
        if (request.dry_run()) return response;
        // Parts that wait to be joined are no measurements yet: what they were of is done again.
        if (selection->device.empty()) {
          const std::vector<int64_t> parts =
              registry_->index.RemovePartsIf([&](const AccuracyPartRecord& part) {
                return selection->Covers(part.worker, part.worker_build, part.time);
              });
          open_.batch.delete_parts.insert(open_.batch.delete_parts.end(), parts.begin(),
                                          parts.end());
          for (const auto& [id, job] : registry_->jobs) {
            if (parts.empty() || job->fold().ended()) continue;
            job->AdvanceAll();
            job->Pump();
          }
        }
        ForgetUnusedDatasetsLocked();
        FORALL_LOG(WARNING) << "measurements retracted measurements=" << ids.size()
                            << " jobs=" << response.jobs_size() << " reason=\"" << request.reason()
                            << "\"";
        return response;
      });
}

}  // namespace forall
