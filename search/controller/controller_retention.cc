// SPDX-License-Identifier: Apache-2.0
// What is not kept for ever: supernets that are deleted, raw samples that grew old.
#include <algorithm>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "search/controller/controller.h"
#include "search/controller/controller_answer.h"
#include "search/controller/resource_names.h"
#include "space/identity.h"
#include "space/metric_registry.h"
#include "space/recipe.h"

namespace forall {
namespace {

constexpr size_t kMostJobsNamed = 5;

// Of one Tick. A latency's samples are some hundred bytes to some kilobytes in the file; a batch of
// so many is stored in about 10 ms.
constexpr size_t kMostLookedAt = 50'000;
constexpr size_t kMostDropped = 500;
constexpr int64_t kMostSamplesDropped = 200'000;
// A pass over all measurements begins so often, once the last one has come to its end.
constexpr absl::Duration kBetweenPasses = absl::Minutes(10);

// Every resolution that a subnet of the family may have.
std::set<int64_t> ResolutionsOf(const Family& family) {
  const SearchSpace& space = family.search_space();
  std::vector<Architecture> samples = {space.Smallest(), space.Largest()};
  if (const std::optional<int> r = space.FindDimension("r"); r.has_value()) {
    for (size_t option = 0; option < space.dimensions()[*r].options.size(); ++option) {
      samples.push_back(space.Smallest());
      samples.back().choices[*r] = static_cast<int32_t>(option);
    }
  }
  std::set<int64_t> resolutions;
  for (const Architecture& architecture : samples) {
    const absl::StatusOr<Network> network = family.Describe(architecture);
    if (network.ok()) resolutions.insert(network->input.height);
  }
  return resolutions;
}

// What was measured of a supernet's subnets.
struct SupernetNumbers {
  std::vector<int64_t> own;  // of it alone, ascending
  int64_t shared = 0;        // that others have, too
};

// Latencies are of graphs, which know the search space and not the weights: subnets that another
// supernet has exported, or that a job has tried, are that one's as well. `exports` are the
// supernet's, and no job uses it.
SupernetNumbers NumbersOf(const Registry& registry, const SupernetEntry& supernet,
                          const std::vector<ExportRecord>& exports) {
  absl::flat_hash_set<std::string> others;  // architectures and artifacts
  absl::flat_hash_set<int64_t> named;
  registry.index.ForEachExport([&](const ExportRecord& record) {
    if (record.supernet_sha256 == supernet.record.sha256) return;
    others.insert(record.arch_key);
    others.insert(record.artifact_sha256);
  });
  for (const auto& [id, job] : registry.jobs) {
    job->fold().AddNamedTo(&named);
    for (const TrialEntry& trial : job->fold().trials()) {
      others.insert(trial.record.arch_key);
      others.insert(trial.artifact_sha256);
    }
  }
  std::set<int32_t> batches;
  for (const MeasurementRecord& record : registry.index.all()) batches.insert(record.key.batch);
  const std::set<int64_t> resolutions = ResolutionsOf(*supernet.family);

  SupernetNumbers numbers;
  absl::flat_hash_set<std::string> seen;
  const auto take = [&](const std::string& subject, bool shared) {
    const absl::Span<const MeasurementRecord* const> about = registry.index.About(subject);
    if (about.empty() || !seen.insert(subject).second) return;
    for (const MeasurementRecord* record : about) {
      if (shared || named.contains(record->id)) {
        ++numbers.shared;
      } else {
        numbers.own.push_back(record->id);
      }
    }
  };
  for (const ExportRecord& record : exports) {
    take(record.artifact_sha256, others.contains(record.artifact_sha256));
    const absl::StatusOr<DeploymentRecipe> recipe = ParseRecipe(record.recipe);
    if (!recipe.ok()) continue;
    const bool shared = others.contains(record.arch_key);
    for (const int64_t resolution : resolutions) {
      bool found = false;
      for (const int32_t batch : batches) {
        const std::string graph = GraphKey(record.arch_key, resolution, batch, *recipe);
        found |= !registry.index.About(graph).empty();
        take(graph, shared);
      }
      // An architecture has one resolution.
      if (found) break;
    }
  }
  std::sort(numbers.own.begin(), numbers.own.end());
  return numbers;
}

}  // namespace

absl::StatusOr<v1::DeleteSupernetResponse> Controller::DeleteSupernetLocked(
    const v1::DeleteSupernetRequest& request) {
  FORALL_ASSIGN_OR_RETURN(const std::string id, ParseSupernetName(request.name()));
  const auto entry = registry_->supernets.find(id);
  if (entry == registry_->supernets.end()) {
    return absl::NotFoundError(absl::StrCat("there is no ", request.name()));
  }
  const SupernetRecord& record = entry->second.record;
  std::vector<std::string> jobs;
  for (const auto& [job_id, job] : registry_->jobs) {
    if (job->fold().plan().spec().supernet() == request.name()) jobs.push_back(JobName(job_id));
  }
  if (!jobs.empty()) {
    const size_t count = jobs.size();
    if (count > kMostJobsNamed) {
      jobs.resize(kMostJobsNamed);
      jobs.push_back("...");
    }
    return absl::FailedPreconditionError(
        absl::StrCat(request.name(), " is used by ", count, count == 1 ? " job (" : " jobs (",
                     absl::StrJoin(jobs, ", "), "): delete ", count == 1 ? "it" : "them",
                     " first (forall delete JOB)"));
  }
  v1::DeleteSupernetResponse response;
  const bool alone = std::none_of(
      registry_->supernets.begin(), registry_->supernets.end(), [&](const auto& other) {
        return other.first != id && other.second.record.sha256 == record.sha256;
      });
  std::vector<ExportRecord> exports;
  if (alone) exports = registry_->index.ExportsOf(record.sha256);
  SupernetNumbers numbers = NumbersOf(*registry_, entry->second, exports);
  response.set_measurements(static_cast<int64_t>(numbers.own.size()));
  response.set_exports(static_cast<int64_t>(exports.size()));
  response.set_kept_measurements(numbers.shared);
  if (request.dry_run()) return response;
  FORALL_LOG(INFO) << "supernet deleted supernet=" << id << " sha256=" << record.sha256
                   << " measurements=" << numbers.own.size() << " exports=" << exports.size();
  registry_->index.Remove(numbers.own);
  if (alone) registry_->index.RemoveExportsOf(record.sha256);
  open_.batch.delete_supernets.push_back({id, record.sha256, alone, std::move(numbers.own), Now()});
  registry_->supernets.erase(entry);
  return response;
}

void Controller::DeleteSupernet(const v1::DeleteSupernetRequest& request,
                                Done<v1::DeleteSupernetResponse> done) {
  Answer<v1::DeleteSupernetResponse>(request.ByteSizeLong(), std::move(done),
                                     [&]() -> absl::StatusOr<v1::DeleteSupernetResponse> {
                                       mu_.AssertHeld();
                                       return DeleteSupernetLocked(request);
                                     });
}

void Controller::DropOldSamplesLocked() {
  if (options_.keep_raw_samples == absl::InfiniteDuration() || read_only_.has_value() ||
      SteadyNanos() < next_samples_pass_ns_) {
    return;
  }
  // One slice at a time: the last one waits for the disk.
  if (!open_.batch.drop_samples.empty()) return;
  const absl::Time now = Now();
  const absl::Time oldest = now - options_.keep_raw_samples;
  const std::deque<MeasurementRecord>& all = registry_->index.all();
  size_t looked_at = 0;
  int64_t samples = 0;
  std::vector<SampleDrop>& drops = open_.batch.drop_samples;
  for (; samples_place_ < all.size() && looked_at < kMostLookedAt && drops.size() < kMostDropped &&
         samples < kMostSamplesDropped;
       ++samples_place_, ++looked_at) {
    const MeasurementRecord& record = all[samples_place_];
    if (record.key.metric != kMedianLatency ||
        (record.baseline_id.empty() && record.raw_median_ms == 0) || record.time >= oldest ||
        record.samples_dropped.has_value()) {
      continue;
    }
    registry_->index.NoteSamplesDropped(record.id, now);
    drops.push_back({record.id, now});
    samples += record.sample_count;
  }
  samples_dropped_ += static_cast<int64_t>(drops.size());
  metrics_.samples_dropped += static_cast<int64_t>(drops.size());
  if (samples_place_ < all.size()) return;
  if (samples_dropped_ > 0) {
    FORALL_LOG(INFO) << "raw samples dropped latencies=" << samples_dropped_ << " older_than=\""
                     << oldest << "\"";
  }
  samples_place_ = 0;
  samples_dropped_ = 0;
  next_samples_pass_ns_ = SteadyNanos() + absl::ToInt64Nanoseconds(kBetweenPasses);
}

}  // namespace forall
