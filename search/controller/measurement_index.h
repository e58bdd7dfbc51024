// SPDX-License-Identifier: Apache-2.0
// Everything ever measured, in memory: what jobs reuse, and what frontier queries read.
// Measurements are global; a job refers to them by id.
//
// Beside the records themselves stand columns, one per metric and condition, in which a query finds
// the measurement that counts of each subject without touching the records. They cost 32
// bytes a measurement (measurement_column.h), and a subject's name and number about 150.
#ifndef FORALL_SEARCH_CONTROLLER_MEASUREMENT_INDEX_H_
#define FORALL_SEARCH_CONTROLLER_MEASUREMENT_INDEX_H_

#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "search/controller/measurement_column.h"
#include "search/controller/worker_latencies.h"
#include "search/store/result_store.h"

namespace forall {

// Images [first_image, first_image + images) of a dataset's screening order, evaluated.
struct AccuracyPiece {
  int64_t first_image = 0;
  int64_t images = 0;
  int64_t top1_correct = 0;
  int64_t top5_correct = 0;
  const std::string* top1_bitmap = nullptr;
  // Exactly one of both: a part that waits, or the top-1 measurement whose images they are.
  const AccuracyPartRecord* part = nullptr;
  const MeasurementRecord* measurement = nullptr;
};

// What an accuracy was joined from.
struct AccuracySources {
  std::set<std::string> workers;      // of its parts
  std::vector<int64_t> measurements;  // of fewer images, whose bits it took up
  bool empty() const { return workers.empty() && measurements.empty(); }
};
// The same as the environment of its evidence tells it; empty for one that was not joined.
AccuracySources SourcesIn(const std::map<std::string, std::string>& environment);

// What is known and what is missing of an accuracy of the first images.
struct AccuracyCover {
  struct Range {
    int64_t first_image = 0;
    int64_t images = 0;
    bool operator==(const Range&) const = default;
  };
  std::vector<AccuracyPiece> pieces;  // in order, without overlap
  std::vector<Range> missing;         // in order, the gaps between them
};

// Where and how latencies were measured.
struct LatencyPlace {
  std::string device;
  std::string device_class;
  std::string device_fingerprint;
  std::string profile;
  bool operator<(const LatencyPlace& other) const {
    return std::tie(device, device_class, device_fingerprint, profile) <
           std::tie(other.device, other.device_class, other.device_fingerprint, other.profile);
  }
};

// Thread-compatible: the controller's lock guards it.
class MeasurementIndex {
 public:
  // In order of id.
  void Add(MeasurementRecord record);
  // nullptr when there is none, or it was removed. Pointers stay good while the index lives.
  const MeasurementRecord* Find(int64_t id) const;
  // What is known about an artifact or a graph, in order of id.
  absl::Span<const MeasurementRecord* const> About(absl::string_view subject) const;
  // The number of an artifact or a graph, given when it is first heard of and never changed.
  SubjectId NumberOf(absl::string_view subject);
  // All numbers are below it.
  int64_t subjects() const { return static_cast<int64_t>(about_.size()); }
  // What was measured under this condition, whatever the subject (and the device's class); nullptr
  // when nothing that counts was. Cells name their records by place in all().
  const MeasurementColumn* FindColumn(const MeasurementKey& key) const;
  // In order of id. Of those that were removed the id is left, and that they do not count.
  const std::deque<MeasurementRecord>& all() const { return records_; }
  // Without those that were removed.
  int64_t size() const { return static_cast<int64_t>(records_.size()) - removed_; }
  int64_t highest_id() const { return highest_id_; }
  // Of all latencies of jobs that count: neither rejected nor retracted.
  const std::set<LatencyPlace>& latency_places() const { return latency_places_; }
  // nullptr when the worker has measured none.
  const WorkerLatencies* FindWorkerLatencies(const std::string& worker) const;

  // An accuracy of exactly these images is the same wherever it is taken. `images` 0: all. 0 when
  // there is none to reuse. `up_to`: later measurements are not looked at.
  int64_t FindAccuracy(const std::string& artifact, const std::string& metric,
                       const std::string& dataset, const std::string& split, int64_t images,
                       int64_t up_to = std::numeric_limits<int64_t>::max()) const;
  // Takes these out of the count, as if they had been added with `by` as retracted_by: what reads
  // and queries find is what it would be had the index been filled anew. Ids that are not there, or
  // retracted already, are passed over. Some tens of milliseconds for a million records.
  void Retract(const std::vector<int64_t>& ids, const std::string& by);
  // Removes these for good, with bitmaps and sources, as if they had never been added; but
  // highest_id() stays, and their memory (some 700 bytes each) until the index is filled anew. Ids
  // that are not there are passed over. Some seconds for a million records.
  void Remove(const std::vector<int64_t>& ids);
  // The raw samples of this latency were dropped. It must be there.
  void NoteSamplesDropped(int64_t id, absl::Time time);
  // The job is deleted, with these tasks: what was measured for it is of none from now on. Returns
  // how many were the job's. Some tens of milliseconds for a million records.
  int64_t ForgetJob(int64_t job, const std::set<int64_t>& tasks);
  // For accuracies that were joined: of the top-1 measurement; that of top-5 has the next id.
  void NoteSources(int64_t id, AccuracySources sources);
  // nullptr for what was not joined.
  const AccuracySources* SourcesOf(const MeasurementRecord& record) const;

  // Learns how many images "all" are; 0: nobody knows any more.
  void NoteAllImages(const std::string& dataset, const std::string& split, int64_t images);
  // 0 while nobody knows.
  int64_t AllImages(const std::string& dataset, const std::string& split) const;

  // Parts of accuracies wait here until they are joined.
  void AddPart(AccuracyPartRecord part);
  // Forgets the parts that lie wholly within the first `images`, and returns their tasks.
  std::vector<int64_t> RemoveParts(const std::string& artifact, const std::string& dataset,
                                   const std::string& split, int64_t images);
  // Forgets the parts of which `forget` says so, and returns their tasks, ascending.
  std::vector<int64_t> RemovePartsIf(absl::FunctionRef<bool(const AccuracyPartRecord&)> forget);
  bool HasParts(const std::string& dataset, const std::string& split) const;
  // Of the first `images` (positive): parts, and accuracies of fewer images that kept their bits.
  // Pointers stay good until a part is added or removed.
  AccuracyCover Cover(const std::string& artifact, const std::string& dataset,
                      const std::string& split, int64_t images) const;

  // The newest trusted latency, or what else the key's metric is, of `subject` under this key's
  // device, fingerprint, profile, recipe, batch and grid; latency_ms of at least so many runs.
  // Noisy ones are worth another measurement. 0 when there is none. `up_to` as above.
  int64_t FindLatency(const MeasurementKey& key, FidelityLevel fidelity, int64_t least_runs = 0,
                      int64_t up_to = std::numeric_limits<int64_t>::max()) const;

  // Which images a top-1 accuracy got right, one bit each, as many as its value says; "" when it is
  // not known.
  void AddBitmap(int64_t id, std::string bitmap);
  const std::string& Bitmap(int64_t id) const;

  void AddExport(const ExportRecord& record);
  // nullptr when there is none.
  const ExportRecord* FindExport(const std::string& supernet_sha256, const std::string& arch_key,
                                 const std::string& recipe,
                                 const std::string& calibration_id) const;
  // All of this supernet's, in no order that means anything.
  std::vector<ExportRecord> ExportsOf(const std::string& supernet_sha256) const;
  void RemoveExportsOf(const std::string& supernet_sha256);
  // Of all supernets.
  void ForEachExport(absl::FunctionRef<void(const ExportRecord&)> visit) const;
  void AddBaseline(const BaselineRecord& record);
  const BaselineRecord* FindBaseline(const std::string& id) const;
  // By id.
  const std::map<std::string, BaselineRecord>& baselines() const { return baselines_; }

 private:
  // Everything within the first `images`, in order of its first image.
  std::vector<AccuracyPiece> Pieces(const std::string& artifact, const std::string& dataset,
                                    const std::string& split, int64_t images) const;

  // In records_; -1 when there is none.
  int64_t PlaceOf(int64_t id) const;
  bool IsRemoved(size_t place) const { return place < is_removed_.size() && is_removed_[place]; }
  // Fills a cell anew from what counts of the subject.
  void RefillCell(const std::string& column, SubjectId subject);
  void RefillPlaces();
  void NotePlace(const MeasurementRecord& record);

  std::deque<MeasurementRecord> records_;
  // By place; shorter than records_, or empty, where the rest is there.
  std::vector<bool> is_removed_;
  int64_t removed_ = 0;
  // Keys are names_.
  absl::flat_hash_map<absl::string_view, SubjectId> numbers_;
  std::deque<std::string> names_;
  // Even and odd, so that those of a kind are neighbours in a column.
  SubjectId next_artifact_ = 0;
  SubjectId next_graph_ = 1;
  std::vector<std::vector<const MeasurementRecord*>> about_;  // by subject
  absl::flat_hash_map<std::string, MeasurementColumn> columns_;
  std::set<LatencyPlace> latency_places_;
  absl::flat_hash_map<std::string, WorkerLatencies> worker_latencies_;
  std::map<std::pair<std::string, std::string>, int64_t> all_images_;
  // By artifact, dataset and split; in order of arrival.
  std::map<std::tuple<std::string, std::string, std::string>, std::vector<AccuracyPartRecord>>
      parts_;
  absl::flat_hash_map<int64_t, std::string> bitmaps_;
  absl::flat_hash_map<int64_t, AccuracySources> sources_;
  // Node-based: callers keep pointers.
  std::map<std::string, ExportRecord> exports_;
  std::map<std::string, BaselineRecord> baselines_;
  int64_t highest_id_ = 0;
};

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_MEASUREMENT_INDEX_H_
