// SPDX-License-Identifier: Apache-2.0
#include "bench/frontier_query_bench.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "latency/measure/statistics.h"
#include "search/controller/frontier_query.h"
#include "search/controller/job_event.h"
#include "search/controller/job_validator.h"
#include "search/controller/registry.h"
#include "search/controller/resource_names.h"
#include "search/controller/resource_views.h"
#include "space/family.h"
#include "space/identity.h"

namespace forall {
namespace {

constexpr char kSupernet[] = "fashion_mnist";
constexpr int kJobs = 40;
constexpr int kMeasurementsPerTrial = 3;
constexpr int kImages = 2500;
constexpr int kPage = 100;
constexpr double kOwnBarMs = 10;
constexpr double kAskedBarMs = 50;
constexpr double kPageBarMs = 10;

// A registry as a controller has it after loading, filled from a made-up log.
class World {
 public:
  absl::Status Fill(int64_t measurements) {
    FORALL_ASSIGN_OR_RETURN(family_, FindFamily(kSupernet));
    registry_.supernets[kSupernet] = {{.id = kSupernet,
                                       .sha256 = "supernet",
                                       .spec = {},
                                       .dataset = kSupernet,
                                       .create_time = {}},
                                      family_};
    registry_.devices["bench"] = {.id = "bench",
                                  .device_class = {},
                                  .description = {},
                                  .fingerprint = "fingerprint",
                                  .properties = {}};
    for (int i = 0; i < kImages; ++i) difficulty_.push_back(random_.Double());
    const int64_t trials = std::max<int64_t>(1, measurements / (kJobs * kMeasurementsPerTrial));
    for (int64_t id = 1; id <= kJobs; ++id) FORALL_RETURN_IF_ERROR(AddJob(id, trials));
    return absl::OkStatus();
  }
  const Registry& registry() const { return registry_; }

 private:
  absl::Status AddJob(int64_t id, int64_t trials) {
    v1::SearchJobSpec spec;
    spec.set_supernet(SupernetName(kSupernet));
    spec.add_objectives()->set_metric("accuracy_top1");
    spec.add_objectives()->set_metric("latency_ms");
    spec.mutable_budget()->set_max_trials(static_cast<int32_t>(trials));
    spec.mutable_fidelity()->set_screening_images(kImages);
    FillDefaults(kSupernet, &spec);
    JobRecord record;
    record.id = id;
    record.spec = spec.SerializeAsString();
    record.supernet_sha256 = "supernet";
    // Replaying never calls the host.
    FORALL_ASSIGN_OR_RETURN(std::unique_ptr<JobController> job,
                            JobController::Create(record, family_, {}, &registry_.index,
                                                  /*host=*/nullptr));
    FORALL_RETURN_IF_ERROR(Apply(job.get(), {.kind = "submitted"}));
    FORALL_RETURN_IF_ERROR(Apply(job.get(), {.kind = "bound",
                                             .target = 0,
                                             .device = "bench",
                                             .fingerprint = "fingerprint",
                                             .profile = "profile"}));
    while (static_cast<int64_t>(job->fold().trials().size()) < trials) {
      const Architecture architecture = family_->search_space().Sample(&random_);
      if (job->fold().HasArchitecture(ArchKey(family_->search_space(), architecture))) continue;
      FORALL_RETURN_IF_ERROR(AddTrial(architecture, job.get()));
    }
    // As a finished job has them: members of its frontier are measured finally.
    const std::vector<int64_t> frontier = job->fold().frontier();
    for (const int64_t ordinal : frontier) FORALL_RETURN_IF_ERROR(Finalize(ordinal, job.get()));
    registry_.jobs[id] = std::move(job);
    return absl::OkStatus();
  }

  absl::Status Finalize(int64_t ordinal, JobController* job) {
    const JobFold& fold = job->fold();
    const TrialEntry& trial = *fold.FindTrial(ordinal);
    const std::string& artifact = trial.artifact_sha256;
    std::vector<int64_t> finals;
    for (const int64_t id : trial.measurements) {
      MeasurementRecord record = *registry_.index.Find(id);
      record.id = registry_.index.highest_id() + 1;
      record.key.subject = artifact;
      record.fidelity = FidelityLevel::kFinal;
      if (record.key.metric == "accuracy_top1") {
        registry_.index.AddBitmap(record.id, registry_.index.Bitmap(id));
      }
      finals.push_back(record.id);
      registry_.index.Add(std::move(record));
    }
    FORALL_RETURN_IF_ERROR(Apply(job, {.kind = "finalizing", .trial = ordinal}));
    FORALL_RETURN_IF_ERROR(Apply(job, {.kind = "measured",
                                       .trial = ordinal,
                                       .task = 1,
                                       .measurements = {finals[0], finals[1]},
                                       .fidelity = "final",
                                       .split = "validation"}));
    FORALL_RETURN_IF_ERROR(Apply(job, {.kind = "measured",
                                       .trial = ordinal,
                                       .task = 1,
                                       .target = 0,
                                       .measurements = {finals[2]},
                                       .fidelity = "final"}));
    return Apply(job, {.kind = "finalized", .trial = ordinal});
  }

  absl::Status AddTrial(const Architecture& architecture, JobController* job) {
    const int64_t ordinal = static_cast<int64_t>(job->fold().trials().size()) + 1;
    FORALL_RETURN_IF_ERROR(Apply(job, {.kind = "proposed",
                                       .trial = ordinal,
                                       .trial_id = ++last_trial_,
                                       .choices = architecture.choices}));
    const std::string artifact =
        absl::StrFormat("%016x%048d", SplitMix64(static_cast<uint64_t>(last_trial_)), last_trial_);
    FORALL_RETURN_IF_ERROR(
        Apply(job, {.kind = "exported", .trial = ordinal, .task = 1, .artifact = artifact}));
    const TrialEntry& trial = *job->fold().FindTrial(ordinal);
    const double mega = static_cast<double>(trial.costs.macs) * 1e-6;
    const std::string bits = Bits(0.95 - 0.25 / (2 + mega) + 0.003 * random_.Gaussian());
    int64_t correct = 0;
    for (const char byte : bits) correct += __builtin_popcount(static_cast<unsigned char>(byte));
    const double top1 = 100.0 * static_cast<double>(correct) / kImages;
    const int64_t first = Add(job->fold(), artifact, "accuracy_top1", top1, 0.8);
    registry_.index.AddBitmap(first, bits);
    Add(job->fold(), artifact, "accuracy_top5", std::min(100.0, top1 + 5), 0.3);
    const double latency = (0.05 + 0.01 * mega) * std::exp(0.1 * random_.Gaussian());
    const int64_t timed =
        Add(job->fold(), trial.record.graph_key, "latency_ms", latency, 0.01 * latency);
    FORALL_RETURN_IF_ERROR(Apply(job, {.kind = "measured",
                                       .trial = ordinal,
                                       .task = 1,
                                       .measurements = {first, first + 1},
                                       .fidelity = "screening",
                                       .split = "validation"}));
    FORALL_RETURN_IF_ERROR(Apply(job, {.kind = "measured",
                                       .trial = ordinal,
                                       .task = 1,
                                       .target = 0,
                                       .measurements = {timed},
                                       .fidelity = "screening"}));
    return Apply(
        job,
        {.kind = "decided", .trial = ordinal, .state = static_cast<int>(TrialState::kMeasured)});
  }

  static absl::Status Apply(JobController* job, JobEvent event) {
    event.sequence = job->fold().sequence() + 1;
    return job->Replay(ToRecord(job->fold().record().id, event));
  }

  int64_t Add(const JobFold& fold, const std::string& subject, const std::string& metric,
              double value, double half_interval) {
    MeasurementRecord record;
    record.id = registry_.index.highest_id() + 1;
    record.job_id = fold.record().id;
    record.trial_id = last_trial_;
    record.key.subject = subject;
    record.key.metric = metric;
    record.key.recipe = "fp32";
    if (metric == "latency_ms") {
      record.key.device = "bench";
      record.key.device_fingerprint = "fingerprint";
      record.key.profile = "profile";
    } else {
      record.key.dataset = kSupernet;
      record.key.split = "validation";
      record.sample_count = kImages;
    }
    record.value = value;
    record.low = value - half_interval;
    record.high = value + half_interval;
    registry_.index.Add(record);
    return record.id;
  }

  // Which images a subnet of this accuracy gets right: mostly the easy ones.
  std::string Bits(double accuracy) {
    std::string bits((kImages + 7) / 8, '\0');
    for (size_t i = 0; i < kImages; ++i) {
      const double luck = 0.04 * (random_.Double() - 0.5);
      if (difficulty_[i] + luck < accuracy) {
        bits[i / 8] = static_cast<char>(bits[i / 8] | 1 << (i % 8));
      }
    }
    return bits;
  }

  Random random_{1};
  std::shared_ptr<const Family> family_;
  std::vector<double> difficulty_;
  int64_t last_trial_ = 0;
  Registry registry_;
};

struct Question {
  const char* name;
  bool whole_supernet;
  std::vector<std::string> objectives;  // none: the job's own
  double bar_ms;
};

v1::QueryParetoFrontierRequest RequestOf(const Question& question) {
  v1::QueryParetoFrontierRequest request;
  if (question.whole_supernet) {
    request.set_supernet(SupernetName(kSupernet));
  } else {
    request.set_parent(JobName(1));
  }
  for (const std::string& metric : question.objectives) {
    request.add_objectives()->set_metric(metric);
  }
  return request;
}

// Prints the line of one question; whether it meets its bar.
absl::StatusOr<bool> Ask(const World& world, const std::string& name, int rounds, double bar_ms,
                         const std::function<absl::StatusOr<int64_t>()>& ask) {
  std::vector<double> samples;
  int64_t answers = 0;
  for (int round = 0; round <= rounds; ++round) {
    const int64_t start = Clock::Real()->SteadyNanos();
    FORALL_ASSIGN_OR_RETURN(answers, ask());
    if (round > 0) {
      samples.push_back(static_cast<double>(Clock::Real()->SteadyNanos() - start) * 1e-6);
    }
  }
  const double median = Median(samples);
  const bool good = median <= bar_ms;
  std::printf("%s\n",
              absl::StrFormat(R"({"benchmark":"frontier-query","question":"%s","measurements":%d,)"
                              R"("jobs":%d,"trials_per_job":%d,"answers":%d,"median_ms":%.3f,)"
                              R"("least_ms":%.3f,"rounds":%d,"bar_ms":%g,"ok":%s})",
                              name, world.registry().index.size(), kJobs,
                              world.registry().jobs.at(1)->fold().trials().size(), answers, median,
                              *std::min_element(samples.begin(), samples.end()), rounds, bar_ms,
                              good ? "true" : "false")
                  .c_str());
  std::fflush(stdout);
  return good;
}

int64_t FirstPage(const Registry& registry) {
  const JobFold& fold = registry.jobs.at(1)->fold();
  v1::ListTrialsResponse response;
  for (const TrialEntry& trial : fold.trials()) {
    if (response.trials_size() == kPage) break;
    *response.add_trials() = TrialView(registry, fold, trial);
  }
  return response.trials_size();
}

}  // namespace

absl::Status RunFrontierQueryBench(const FrontierQueryBenchOptions& options) {
  World world;
  FORALL_RETURN_IF_ERROR(world.Fill(options.measurements));
  const std::vector<Question> questions = {
      {"a job's own objectives", false, {}, kOwnBarMs},
      {"accuracy and MACs of a job", false, {"accuracy_top1", "macs"}, kAskedBarMs},
      {"accuracy and latency of a supernet", true, {"accuracy_top1", "latency_ms"}, kAskedBarMs},
      {"accuracy, latency and size of a supernet",
       true,
       {"accuracy_top1", "latency_ms", "model_bytes"},
       kAskedBarMs},
  };
  bool good = true;
  for (const Question& question : questions) {
    const v1::QueryParetoFrontierRequest request = RequestOf(question);
    FORALL_ASSIGN_OR_RETURN(const bool met, Ask(world, question.name, options.rounds,
                                                question.bar_ms, [&]() -> absl::StatusOr<int64_t> {
                                                  FORALL_ASSIGN_OR_RETURN(
                                                      const auto answer,
                                                      QueryFrontier(world.registry(), request));
                                                  return answer.members_size();
                                                }));
    good = good && met;
  }
  FORALL_ASSIGN_OR_RETURN(const bool met, Ask(world, "first page of a job's trials", options.rounds,
                                              kPageBarMs, [&]() -> absl::StatusOr<int64_t> {
                                                return FirstPage(world.registry());
                                              }));
  good = good && met;
  if (options.check && !good) return absl::OutOfRangeError("frontier-query: a bar is missed");
  return absl::OkStatus();
}

}  // namespace forall
