// SPDX-License-Identifier: Apache-2.0
#include "search/controller/measurement_index.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "space/identity.h"
#include "space/metric_registry.h"

namespace forall {
namespace {

bool Counts(const MeasurementRecord& record) {
  return record.retracted_by.empty() && record.verdict != VerdictState::kRejected;
}

// What a column's measurements have in common; "" for a metric that is not measured.
std::string ColumnName(const MeasurementKey& key) {
  const MetricInfo* const metric = FindMetric(key.metric);
  if (metric == nullptr) return "";
  if (metric->source == MetricSource::kAccuracy) {
    return absl::StrCat(key.metric, "\n", key.recipe, "\n", key.dataset, "\n", key.split);
  }
  if (metric->source != MetricSource::kLatency) return "";
  return absl::StrCat(key.metric, "\n", key.recipe, "\n", key.device, "\n", key.device_fingerprint,
                      "\n", key.profile, "\n", key.batch, "\n", key.dataset);
}

std::string ExportKey(const std::string& supernet, const std::string& arch_key,
                      const std::string& recipe, const std::string& calibration) {
  return absl::StrCat(supernet, "\n", arch_key, "\n", recipe, "\n", calibration);
}

}  // namespace

void MeasurementIndex::Add(MeasurementRecord record) {
  highest_id_ = std::max(highest_id_, record.id);
  records_.push_back(std::move(record));
  const MeasurementRecord& added = records_.back();
  const SubjectId subject = NumberOf(added.key.subject);
  about_[subject].push_back(&added);
  if (added.key.metric == "latency_ms" && !added.worker.empty()) {
    worker_latencies_[added.worker].Note(added);
  }
  if (!Counts(added)) return;
  NotePlace(added);
  const std::string name = ColumnName(added.key);
  if (!name.empty()) columns_[name].Offer(subject, records_, records_.size() - 1);
}

void MeasurementIndex::NotePlace(const MeasurementRecord& record) {
  // A lookup table's are of no trial: no frontier holds them.
  if (record.key.metric != kMedianLatency || IsTimingKey(record.key.subject)) return;
  latency_places_.insert({record.key.device, record.key.device_class, record.key.device_fingerprint,
                          record.key.profile});
}

const MeasurementRecord* MeasurementIndex::Find(int64_t id) const {
  const int64_t place = PlaceOf(id);
  if (place < 0 || IsRemoved(static_cast<size_t>(place))) return nullptr;
  return &records_[static_cast<size_t>(place)];
}

int64_t MeasurementIndex::PlaceOf(int64_t id) const {
  if (records_.empty()) return -1;
  // Ids have no gaps, except where measurements were not kept.
  const int64_t place = id - records_.front().id;
  if (place >= 0 && place < static_cast<int64_t>(records_.size()) && records_[place].id == id) {
    return place;
  }
  const auto it = std::lower_bound(
      records_.begin(), records_.end(), id,
      [](const MeasurementRecord& record, int64_t wanted) { return record.id < wanted; });
  return it != records_.end() && it->id == id ? it - records_.begin() : -1;
}

void MeasurementIndex::Retract(const std::vector<int64_t>& ids, const std::string& by) {
  std::set<std::pair<std::string, SubjectId>> cells;
  bool places = false;
  for (const int64_t id : ids) {
    const int64_t place = PlaceOf(id);
    if (place < 0) continue;
    MeasurementRecord& record = records_[static_cast<size_t>(place)];
    const bool counted = Counts(record);
    if (record.retracted_by.empty()) record.retracted_by = by;
    if (!counted) continue;
    places |= record.key.metric == kMedianLatency;
    std::string name = ColumnName(record.key);
    if (!name.empty()) cells.emplace(std::move(name), NumberOf(record.key.subject));
  }
  for (const auto& [name, subject] : cells) RefillCell(name, subject);
  if (places) RefillPlaces();
}

void MeasurementIndex::RefillCell(const std::string& name, SubjectId subject) {
  MeasurementColumn& column = columns_[name];
  column.Forget(subject);
  for (const MeasurementRecord* record : about_[subject]) {
    if (Counts(*record) && ColumnName(record->key) == name) {
      column.Offer(subject, records_, static_cast<size_t>(PlaceOf(record->id)));
    }
  }
  if (column.size() == 0) columns_.erase(name);
}

void MeasurementIndex::RefillPlaces() {
  latency_places_.clear();
  for (const MeasurementRecord& record : records_) {
    if (Counts(record)) NotePlace(record);
  }
}

void MeasurementIndex::Remove(const std::vector<int64_t>& ids) {
  std::set<std::pair<std::string, SubjectId>> cells;
  std::set<SubjectId> subjects;
  is_removed_.resize(records_.size());
  std::vector<size_t> places;
  for (const int64_t id : ids) {
    const int64_t at = PlaceOf(id);
    if (at < 0 || is_removed_[static_cast<size_t>(at)]) continue;
    const size_t place = static_cast<size_t>(at);
    is_removed_[place] = true;
    places.push_back(place);
    const MeasurementRecord& record = records_[place];
    const SubjectId subject = NumberOf(record.key.subject);
    subjects.insert(subject);
    std::string name = ColumnName(record.key);
    if (Counts(record) && !name.empty()) cells.emplace(std::move(name), subject);
    bitmaps_.erase(id);
    sources_.erase(id);
  }
  if (places.empty()) return;
  removed_ += static_cast<int64_t>(places.size());
  for (const SubjectId subject : subjects) {
    std::erase_if(about_[subject], [&](const MeasurementRecord* record) {
      return is_removed_[static_cast<size_t>(PlaceOf(record->id))];
    });
  }
  for (const size_t place : places) {
    MeasurementRecord gone;
    gone.id = records_[place].id;
    gone.retracted_by = "removed";
    records_[place] = std::move(gone);
  }
  for (const auto& [name, subject] : cells) RefillCell(name, subject);
  RefillPlaces();
  worker_latencies_.clear();
  for (const MeasurementRecord& record : records_) {
    if (record.key.metric == kMedianLatency && !record.worker.empty()) {
      worker_latencies_[record.worker].Note(record);
    }
  }
}

void MeasurementIndex::NoteSamplesDropped(int64_t id, absl::Time time) {
  records_[static_cast<size_t>(PlaceOf(id))].samples_dropped = time;
}

int64_t MeasurementIndex::ForgetJob(int64_t job, const std::set<int64_t>& tasks) {
  int64_t forgotten = 0;
  for (MeasurementRecord& record : records_) {
    if (tasks.count(record.task_id) > 0) record.task_id = 0;
    if (record.job_id != job) continue;
    record.job_id = 0;
    record.trial_id = 0;
    ++forgotten;
  }
  return forgotten;
}

void MeasurementIndex::NoteSources(int64_t id, AccuracySources sources) {
  if (!sources.empty()) sources_[id] = std::move(sources);
}

const AccuracySources* MeasurementIndex::SourcesOf(const MeasurementRecord& record) const {
  int64_t id = record.id;
  if (record.key.metric == "accuracy_top5") {
    const MeasurementRecord* const top1 = Find(--id);
    if (top1 == nullptr || top1->key.metric != "accuracy_top1" ||
        top1->key.subject != record.key.subject || top1->task_id != record.task_id) {
      return nullptr;
    }
  }
  const auto it = sources_.find(id);
  return it == sources_.end() ? nullptr : &it->second;
}

AccuracySources SourcesIn(const std::map<std::string, std::string>& environment) {
  AccuracySources sources;
  for (const auto& [name, value] : environment) {
    absl::string_view from = value;
    int64_t id = 0;
    if (!absl::StartsWith(name, "images ")) continue;
    if (absl::ConsumePrefix(&from, "measurement ")) {
      if (absl::SimpleAtoi(from, &id)) sources.measurements.push_back(id);
    } else if (const size_t space = from.find(' '); space != absl::string_view::npos) {
      sources.workers.emplace(from.substr(space + 1));
    }
  }
  return sources;
}

const WorkerLatencies* MeasurementIndex::FindWorkerLatencies(const std::string& worker) const {
  const auto it = worker_latencies_.find(worker);
  return it == worker_latencies_.end() ? nullptr : &it->second;
}

SubjectId MeasurementIndex::NumberOf(absl::string_view subject) {
  if (const auto it = numbers_.find(subject); it != numbers_.end()) return it->second;
  // As GraphKey makes them (space/identity.h). Only the layout of columns depends on it.
  const bool graph = absl::StartsWith(subject, "g1-");
  SubjectId& next = graph ? next_graph_ : next_artifact_;
  const SubjectId number = next;
  next += 2;
  names_.emplace_back(subject);
  if (number >= subjects()) about_.resize(number + 1);
  numbers_[names_.back()] = number;
  return number;
}

absl::Span<const MeasurementRecord* const> MeasurementIndex::About(
    absl::string_view subject) const {
  const auto it = numbers_.find(subject);
  if (it == numbers_.end()) return {};
  return about_[it->second];
}

const MeasurementColumn* MeasurementIndex::FindColumn(const MeasurementKey& key) const {
  const auto it = columns_.find(ColumnName(key));
  return it == columns_.end() ? nullptr : &it->second;
}

void MeasurementIndex::NoteAllImages(const std::string& dataset, const std::string& split,
                                     int64_t images) {
  if (images > 0) {
    all_images_[{dataset, split}] = images;
  } else {
    all_images_.erase({dataset, split});
  }
}

int64_t MeasurementIndex::AllImages(const std::string& dataset, const std::string& split) const {
  const auto it = all_images_.find({dataset, split});
  return it == all_images_.end() ? 0 : it->second;
}

void MeasurementIndex::AddPart(AccuracyPartRecord part) {
  parts_[{part.artifact_sha256, part.dataset, part.split}].push_back(std::move(part));
}

std::vector<int64_t> MeasurementIndex::RemoveParts(const std::string& artifact,
                                                   const std::string& dataset,
                                                   const std::string& split, int64_t images) {
  std::vector<int64_t> tasks;
  const auto it = parts_.find({artifact, dataset, split});
  if (it == parts_.end()) return tasks;
  std::erase_if(it->second, [&](const AccuracyPartRecord& part) {
    if (part.first_image + part.images > images) return false;
    tasks.push_back(part.task_id);
    return true;
  });
  if (it->second.empty()) parts_.erase(it);
  return tasks;
}

bool MeasurementIndex::HasParts(const std::string& dataset, const std::string& split) const {
  return std::any_of(parts_.begin(), parts_.end(), [&](const auto& parts) {
    return std::get<1>(parts.first) == dataset && std::get<2>(parts.first) == split;
  });
}

std::vector<int64_t> MeasurementIndex::RemovePartsIf(
    absl::FunctionRef<bool(const AccuracyPartRecord&)> forget) {
  std::vector<int64_t> tasks;
  for (auto it = parts_.begin(); it != parts_.end();) {
    std::erase_if(it->second, [&](const AccuracyPartRecord& part) {
      if (!forget(part)) return false;
      tasks.push_back(part.task_id);
      return true;
    });
    it = it->second.empty() ? parts_.erase(it) : std::next(it);
  }
  std::sort(tasks.begin(), tasks.end());
  return tasks;
}

std::vector<AccuracyPiece> MeasurementIndex::Pieces(const std::string& artifact,
                                                    const std::string& dataset,
                                                    const std::string& split,
                                                    int64_t images) const {
  std::vector<AccuracyPiece> pieces;
  if (const auto it = parts_.find({artifact, dataset, split}); it != parts_.end()) {
    for (const AccuracyPartRecord& part : it->second) {
      pieces.push_back({part.first_image, part.images, part.top1_correct, part.top5_correct,
                        &part.top1_bitmap, &part, nullptr});
    }
  }
  for (const MeasurementRecord* about : About(artifact)) {
    const MeasurementRecord& top1 = *about;
    const int64_t id = top1.id;
    if (!Counts(top1) || top1.key.metric != "accuracy_top1" || top1.key.dataset != dataset ||
        top1.key.split != split || Bitmap(id).empty()) {
      continue;
    }
    const int64_t count = top1.sample_count;
    const int64_t top5 = FindAccuracy(artifact, "accuracy_top5", dataset, split, count);
    if (top5 == 0) continue;
    const auto correct = [count](const MeasurementRecord& record) {
      return static_cast<int64_t>(std::llround(record.value / 100 * static_cast<double>(count)));
    };
    pieces.push_back({0, count, correct(top1), correct(*Find(top5)), &Bitmap(id), nullptr, &top1});
  }
  std::erase_if(pieces, [&](const AccuracyPiece& piece) {
    return piece.first_image + piece.images > images;
  });
  // At each image the longest piece first; of equal ones the one that was there first.
  std::stable_sort(pieces.begin(), pieces.end(), [](const auto& a, const auto& b) {
    if (a.first_image != b.first_image) return a.first_image < b.first_image;
    return a.images > b.images;
  });
  return pieces;
}

AccuracyCover MeasurementIndex::Cover(const std::string& artifact, const std::string& dataset,
                                      const std::string& split, int64_t images) const {
  AccuracyCover cover;
  int64_t at = 0;
  for (AccuracyPiece& piece : Pieces(artifact, dataset, split, images)) {
    if (piece.first_image < at) continue;
    if (piece.first_image > at) cover.missing.push_back({at, piece.first_image - at});
    at = piece.first_image + piece.images;
    cover.pieces.push_back(std::move(piece));
  }
  if (at < images) cover.missing.push_back({at, images - at});
  return cover;
}

int64_t MeasurementIndex::FindAccuracy(const std::string& artifact, const std::string& metric,
                                       const std::string& dataset, const std::string& split,
                                       int64_t images, int64_t up_to) const {
  const auto all = all_images_.find({dataset, split});
  int64_t wanted = images;
  if (all != all_images_.end()) {
    wanted = images == 0 ? all->second : std::min(images, all->second);
  } else if (images == 0) {
    return 0;  // Nobody has measured all of them yet.
  }
  for (const MeasurementRecord* about : About(artifact)) {
    const MeasurementRecord& record = *about;
    if (record.id > up_to) break;
    if (Counts(record) && record.key.metric == metric && record.key.dataset == dataset &&
        record.key.split == split && record.sample_count == wanted) {
      return record.id;
    }
  }
  return 0;
}

int64_t MeasurementIndex::FindLatency(const MeasurementKey& key, FidelityLevel fidelity,
                                      int64_t least_runs, int64_t up_to) const {
  const absl::Span<const MeasurementRecord* const> about = About(key.subject);
  for (auto it = about.rbegin(); it != about.rend(); ++it) {
    const MeasurementRecord& record = **it;
    // A noisy screening is as good as the next one would be; a noisy final is worth another try.
    const bool good_enough =
        record.verdict == VerdictState::kTrusted || fidelity == FidelityLevel::kScreening;
    if (record.id <= up_to && Counts(record) && good_enough && record.fidelity == fidelity &&
        (key.metric != "latency_ms" || record.sample_count >= least_runs) &&
        record.key.metric == key.metric && record.key.device == key.device &&
        record.key.device_fingerprint == key.device_fingerprint &&
        record.key.profile == key.profile && record.key.recipe == key.recipe &&
        record.key.batch == key.batch && record.key.dataset == key.dataset) {
      return record.id;
    }
  }
  return 0;
}

void MeasurementIndex::AddBitmap(int64_t id, std::string bitmap) {
  if (!bitmap.empty()) bitmaps_[id] = std::move(bitmap);
}

const std::string& MeasurementIndex::Bitmap(int64_t id) const {
  static const auto* const none = new std::string;
  const auto it = bitmaps_.find(id);
  return it == bitmaps_.end() ? *none : it->second;
}

void MeasurementIndex::AddExport(const ExportRecord& record) {
  exports_.try_emplace(
      ExportKey(record.supernet_sha256, record.arch_key, record.recipe, record.calibration_id),
      record);
}

const ExportRecord* MeasurementIndex::FindExport(const std::string& supernet_sha256,
                                                 const std::string& arch_key,
                                                 const std::string& recipe,
                                                 const std::string& calibration_id) const {
  const auto it = exports_.find(ExportKey(supernet_sha256, arch_key, recipe, calibration_id));
  return it == exports_.end() ? nullptr : &it->second;
}

std::vector<ExportRecord> MeasurementIndex::ExportsOf(const std::string& supernet_sha256) const {
  std::vector<ExportRecord> found;
  for (auto it = exports_.lower_bound(supernet_sha256 + "\n");
       it != exports_.end() && it->second.supernet_sha256 == supernet_sha256; ++it) {
    found.push_back(it->second);
  }
  return found;
}

void MeasurementIndex::RemoveExportsOf(const std::string& supernet_sha256) {
  auto it = exports_.lower_bound(supernet_sha256 + "\n");
  while (it != exports_.end() && it->second.supernet_sha256 == supernet_sha256) {
    it = exports_.erase(it);
  }
}

void MeasurementIndex::ForEachExport(absl::FunctionRef<void(const ExportRecord&)> visit) const {
  for (const auto& [key, record] : exports_) visit(record);
}

void MeasurementIndex::AddBaseline(const BaselineRecord& record) {
  baselines_.try_emplace(record.id, record);
}

const BaselineRecord* MeasurementIndex::FindBaseline(const std::string& id) const {
  const auto it = baselines_.find(id);
  return it == baselines_.end() ? nullptr : &it->second;
}

}  // namespace forall
