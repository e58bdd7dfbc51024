// SPDX-License-Identifier: Apache-2.0
#include "search/controller/job_estimate.h"

#include <algorithm>
#include <deque>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/binomial.h"
#include "search/controller/cost_range.h"
#include "search/controller/job_history.h"
#include "search/controller/resource_names.h"
#include "search/controller/task_durations.h"

namespace forall {
namespace {

constexpr double kSecondsPerHour = 3600;
constexpr int64_t kTrialsPerMember = 5;    // where no job of this kind has ended
constexpr size_t kMostLookedAt = 100'000;  // measurements, for what a run takes

// Trials that a job has measured finally.
int64_t Finalized(const JobFold& fold) {
  return std::count_if(fold.trials().begin(), fold.trials().end(),
                       [](const TrialEntry& trial) { return trial.finalizing; });
}

class Estimator {
 public:
  Estimator(const Registry& registry, const JobFold& fold, const std::vector<WorkerOffer>& workers)
      : registry_(registry), fold_(fold), plan_(fold.plan()), workers_(workers) {}

  v1::SearchJobEstimate Estimate() {
    const v1::SearchJobSpec& spec = plan_.spec();
    const v1::Fidelity& fidelity = spec.fidelity();
    const int32_t trials = spec.budget().max_trials();
    const int32_t members = plan_.measures() ? Members() : 0;
    export_ = plan_.measures() ? Find({.kind = v1::Task::EXPORT}) : std::nullopt;
    const int32_t screening =
        fidelity.tiers().empty() ? fidelity.screening_images() : *fidelity.tiers().rbegin();
    const bool screens = fidelity.screening_images() != fidelity.final_images();
    if (plan_.needs_accuracy()) {
      AddAccuracy(screens ? "screening" : "final", "validation", screening, trials, true);
      if (screens) AddAccuracy("final", "validation", fidelity.final_images(), members, false);
      if (fidelity.test_split()) AddAccuracy("final", "test", 0, members, false);
    }
    for (size_t i = 0; i < plan_.targets().size(); ++i) {
      const bool exports = !plan_.needs_accuracy() && i == 0;
      AddLatency(static_cast<int>(i), "screening", trials, exports);
      AddLatency(static_cast<int>(i), "final", members, false);
    }
    for (const auto& [what, fidelities] : untimed_) {
      estimate_.add_warnings(absl::StrCat("how long ", what, " (", absl::StrJoin(fidelities, ", "),
                                          ") is not known: none was timed yet"));
    }
    AddTotals();
    AddRanges();
    if (spec.sampler().algorithm() == "guided" && !spec.cold_start()) {
      estimate_.set_known_subnets(
          static_cast<int32_t>(CountComplete(fold_, FindHistory(registry_, fold_))));
    }
    return std::move(estimate_);
  }

 private:
  // Kinds of work that wait for the same workers.
  struct Share {
    double seconds = 0;
    int64_t workers = 0;
  };

  std::optional<Duration> Find(Work work) const {
    work.supernet_sha256 = fold_.record().supernet_sha256;
    work.recipe = plan_.spec().recipe();
    return registry_.durations.Find(work);
  }
  std::optional<Duration> FindWider(Work work) const {
    work.supernet_sha256 = fold_.record().supernet_sha256;
    work.recipe = plan_.spec().recipe();
    return registry_.durations.FindWider(work);
  }

  int32_t Members() {
    const int64_t trials = plan_.spec().budget().max_trials();
    const auto metrics = [](const JobPlan& plan) {
      std::vector<std::string> ids;
      for (const JobPlan::Goal& goal : plan.objectives()) {
        ids.push_back(plan.slots()[goal.slot].metric->id);
      }
      return ids;
    };
    int64_t members = 0;
    for (const auto& [id, job] : registry_.jobs) {
      const JobFold& other = job->fold();
      if (other.record().state == JobState::kSucceeded &&
          other.record().supernet_sha256 == fold_.record().supernet_sha256 &&
          metrics(other.plan()) == metrics(plan_)) {
        members = std::max(members, Finalized(other));
      }
    }
    if (members == 0) {
      members = std::max<int64_t>(1, trials / kTrialsPerMember);
      estimate_.add_warnings(absl::StrCat(
          "no job of this supernet and these objectives has ended yet: final measurements of ",
          members, " frontier members are assumed"));
    }
    return static_cast<int32_t>(std::min(members, trials));
  }

  int64_t CountWorkers(const TaskNeeds& needs) const {
    return std::count_if(workers_.begin(), workers_.end(),
                         [&](const WorkerOffer& offer) { return Satisfies(offer, needs); });
  }

  void Add(v1::SearchJobEstimate::Work view, const std::optional<Duration>& duration, bool exports,
           const std::string& place, const std::string& share, int64_t workers,
           const std::string& note = "") {
    if (duration.has_value()) {
      const double seconds =
          duration->seconds + (exports && export_.has_value() ? export_->seconds : 0);
      view.set_seconds_each(seconds);
      view.set_basis_count(static_cast<int32_t>(duration->count));
      view.set_basis(absl::StrCat("of this supernet", place));
      view.set_device_hours(view.measurements() * seconds / kSecondsPerHour);
      shares_[share].seconds += view.measurements() * seconds;
      total_seconds_ += view.measurements() * seconds;
    } else if (view.measurements() > 0) {
      complete_ = false;
      untimed_[absl::StrCat(view.metric(), " takes", place)].insert(
          absl::StrCat(view.condition().split() == "test" ? "test split" : view.fidelity(),
                       note.empty() ? "" : "; ", note));
    }
    shares_[share].workers = workers;
    *estimate_.add_work() = std::move(view);
  }

  void WarnOfNoWorker(const std::string& what) {
    complete_ = false;
    if (warned_.insert(what).second) estimate_.add_warnings(what);
  }

  void AddAccuracy(const std::string& fidelity, const std::string& split, int64_t images,
                   int32_t measurements, bool exports) {
    v1::SearchJobEstimate::Work view;
    std::vector<std::string> metrics;  // One evaluation has both.
    for (const MetricSlot& slot : plan_.slots()) {
      if (slot.metric->source == MetricSource::kAccuracy) metrics.push_back(slot.metric->id);
    }
    view.set_metric(absl::StrJoin(metrics, ", "));
    const std::string& dataset = plan_.spec().dataset();
    view.mutable_condition()->set_dataset(dataset);
    view.mutable_condition()->set_split(split);
    view.set_fidelity(fidelity);
    view.set_measurements(measurements);
    // Of a split that nobody has seen: as many as there are for validation.
    int64_t all = registry_.index.AllImages(dataset, split);
    if (all == 0) all = registry_.index.AllImages(dataset, "validation");
    if (all > 0) images = images == 0 ? all : std::min(images, all);
    const std::optional<Duration> duration =
        images == 0 ? std::nullopt : Find({.kind = v1::Task::ACCURACY, .images = images});
    std::string place;
    if (duration.has_value() && duration->images != images) {
      place = absl::StrCat(", scaled from ", duration->images, " to ", images, " images");
    }
    TaskNeeds needs;
    needs.dataset = dataset;
    const bool exported = !exports || CountWorkers(needs) > 0;  // TaskKind::kExport
    needs.kind = TaskKind::kAccuracy;
    const int64_t workers = CountWorkers(needs);
    if (workers == 0 || !exported) {
      WarnOfNoWorker(absl::StrCat("no worker that has dataset \"", dataset, "\" is connected"));
    }
    Add(std::move(view), duration, exports, place, "accuracy", workers);
  }

  void AddLatency(int index, const std::string& fidelity, int32_t measurements, bool exports) {
    const LatencyTarget& target = plan_.targets()[index];
    const std::optional<TargetBinding>& binding = fold_.bindings()[index];
    v1::SearchJobEstimate::Work view;
    view.set_metric(absl::StrJoin(TaskMetrics(index), ", "));  // One task has them all.
    view.set_fidelity(fidelity);
    view.set_measurements(measurements);
    v1::Condition* const condition = view.mutable_condition();
    condition->set_device(binding.has_value() ? DeviceName(binding->device) : target.device);
    condition->set_device_class(target.device_class);
    condition->set_profile(binding.has_value() ? binding->profile : target.profile);
    condition->set_batch(target.batch);
    std::string where = " on any device";
    if (!target.device_class.empty()) where = absl::StrCat(" on a ", target.device_class);
    if (!condition->device().empty()) where = absl::StrCat(" on ", condition->device());
    if (target.batch > 1) absl::StrAppend(&where, " in batches of ", target.batch);
    int64_t workers = 0;
    if (binding.has_value()) {
      TaskNeeds needs;
      needs.kind = TaskKind::kLatency;
      needs.device = binding->device;
      needs.device_fingerprint = binding->fingerprint;
      needs.profile = binding->profile;
      needs.metrics = target.metrics;
      workers = CountWorkers(needs);
    }
    if (workers == 0) {
      const std::string metrics = target.metrics.empty() ? std::string(kMedianLatency)
                                                         : absl::StrJoin(target.metrics, " and ");
      WarnOfNoWorker(absl::StrCat("no worker that measures ", metrics, where, " is connected"));
    }
    std::optional<Duration> duration;
    std::string note;
    if (!condition->device().empty()) {
      Work work{.kind = v1::Task::LATENCY,
                .device = condition->device(),
                .fidelity = fidelity,
                .batch = target.batch,
                .metrics = Work::MetricsOf(target.metrics),
                .rules = Work::RulesOf(plan_.LatencyRules(fidelity))};
      duration = FindLatency(work, condition->profile(), &where, &note);
    }
    const std::string share = absl::StrCat("latency ", condition->device());
    Add(std::move(view), duration, exports, where, share, workers, note);
  }

  // What a latency task of the target finds out: latency_ms always, and what follows from it.
  std::vector<std::string> TaskMetrics(int index) const {
    std::vector<std::string> ids = {kMedianLatency};
    const LatencyTarget& target = plan_.targets()[index];
    ids.insert(ids.end(), target.metrics.begin(), target.metrics.end());
    for (const MetricSlot& slot : plan_.slots()) {
      if (slot.target == index && !slot.metric->derived_from.empty()) {
        ids.push_back(slot.metric->id);
      }
    }
    return ids;
  }

  // Of tasks that measured the same; of those that measured more; or of those that measured all but
  // the percentiles, and the runs that these need. How, where it is not the first, is added to
  // `where`. nullopt where a part was never timed; `note` then says what was.
  std::optional<Duration> FindLatency(Work work, const std::string& profile, std::string* where,
                                      std::string* note) const {
    std::optional<Duration> duration = Find(work);
    if (duration.has_value()) return duration;
    if (duration = FindWider(work); duration.has_value()) {
      std::vector<std::string> more;
      std::set_difference(duration->metrics.begin(), duration->metrics.end(), work.metrics.begin(),
                          work.metrics.end(), std::back_inserter(more));
      absl::StrAppend(where, ", with ", absl::StrJoin(more, " and "), " measured too");
      return duration;
    }
    int64_t runs = 0;
    std::vector<std::string> others;
    for (const std::string& id : work.metrics) {
      const double percentile = FindMetric(id)->percentile;
      if (percentile == 0) others.push_back(id);
      if (percentile > 0) runs = std::max(runs, FewestSamplesForPercentile(percentile));
    }
    std::swap(work.metrics, others);
    if (runs > 0) duration = Find(work);
    const Pace pace = duration.has_value() ? PaceOf(work, profile) : Pace();
    if (pace.runs > 0) {
      if (IsTimedByCalls(work.device)) {
        // Each call takes long, however little of it is spent on its runs.
        duration->seconds *= std::max(1.0, static_cast<double>(runs) / pace.runs);
      } else {
        duration->seconds += static_cast<double>(runs) * pace.seconds;
      }
      absl::StrAppend(where, ", scaled for ", runs, " runs");
      return duration;
    }
    work.metrics.clear();
    if (const std::optional<Duration> alone = Find(work); alone.has_value()) {
      *note = absl::StrFormat("%s alone took %.2f s", kMedianLatency, alone->seconds);
    }
    return std::nullopt;
  }

  // Of the latest latencies of this supernet on a device; 0 where there are none.
  struct Pace {
    double seconds = 0;  // mean of a run and the reference's beside it
    double runs = 0;     // mean
  };
  Pace PaceOf(const Work& work, const std::string& profile) const {
    double milliseconds = 0;
    double runs = 0;
    size_t count = 0;
    size_t looked_at = 0;
    const std::string device = ParseDeviceName(work.device).value_or("");
    const std::deque<MeasurementRecord>& all = registry_.index.all();
    for (auto it = all.rbegin(); it != all.rend(); ++it) {
      if (count == TaskDurations::kRemembered || ++looked_at > kMostLookedAt) break;
      if (it->key.metric != kMedianLatency || it->key.device != device ||
          it->key.batch != work.batch || it->key.profile != profile ||
          it->verdict == VerdictState::kRejected) {
        continue;
      }
      const auto job = registry_.jobs.find(it->job_id);
      if (job == registry_.jobs.end() ||
          job->second->fold().record().supernet_sha256 != fold_.record().supernet_sha256) {
        continue;
      }
      milliseconds += it->raw_median_ms + it->reference_median_ms;
      runs += static_cast<double>(it->sample_count);
      ++count;
    }
    if (count == 0) return {};
    const auto latencies = static_cast<double>(count);
    return {milliseconds / 1000 / latencies, runs / latencies};
  }

  // Whether a program of its own measures there, many runs a call.
  bool IsTimedByCalls(const std::string& device) const {
    const auto known = registry_.devices.find(ParseDeviceName(device).value_or(""));
    return known != registry_.devices.end() && known->second.properties.count("reached_by") > 0;
  }

  void AddTotals() {
    estimate_.set_device_hours(total_seconds_ / kSecondsPerHour);
    if (!complete_) return;
    double wall = workers_.empty() ? 0 : total_seconds_ / static_cast<double>(workers_.size());
    for (const auto& [name, share] : shares_) {
      wall =
          std::max(wall, share.seconds / static_cast<double>(std::max<int64_t>(1, share.workers)));
    }
    estimate_.set_wall_hours(wall / kSecondsPerHour);
  }

  void AddRanges() {
    std::vector<std::string> about;
    for (const CostRange& found : AdmissibleCosts(plan_)) {
      v1::SearchJobEstimate::Range* const range = estimate_.add_ranges();
      range->set_metric(found.metric->id);
      range->set_least(found.least);
      range->set_most(found.most);
      if (found.about) about.push_back(found.metric->id);
    }
    if (!about.empty()) {
      estimate_.add_warnings(absl::StrCat(
          "the range of ", absl::StrJoin(about, " and of "),
          " is about right: more than bounds on that cost itself cut it off, so its ends are what "
          "random walks met, and subnets beyond may exist"));
    }
  }

  const Registry& registry_;
  const JobFold& fold_;
  const JobPlan& plan_;
  const std::vector<WorkerOffer>& workers_;
  v1::SearchJobEstimate estimate_;
  std::optional<Duration> export_;
  std::map<std::string, Share> shares_;
  std::set<std::string> warned_;
  std::map<std::string, std::set<std::string>> untimed_;  // by what and where: fidelities
  double total_seconds_ = 0;
  bool complete_ = true;  // all durations known, and a worker for everything
};

}  // namespace

v1::SearchJobEstimate EstimateJob(const Registry& registry, const JobFold& fold,
                                  const std::vector<WorkerOffer>& workers) {
  return Estimator(registry, fold, workers).Estimate();
}

}  // namespace forall
