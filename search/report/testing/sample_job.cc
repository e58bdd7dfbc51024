// SPDX-License-Identifier: Apache-2.0
#include "search/report/testing/sample_job.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/sha256.h"
#include "space/cost_model.h"
#include "space/identity.h"
#include "space/metric_registry.h"

namespace forall::testing {
namespace {

constexpr char kDevice[] = "devices/sample-board";
constexpr char kBaseline[] = "baseline-sample-3f1c9d20";
constexpr int64_t kStart = 1750000000;

v1::Measurement* AddMeasurement(const std::string& metric, double value, double low, double high,
                                const std::string& kind, v1::Trial* trial) {
  v1::Measurement* measurement = trial->add_measurements();
  measurement->set_trial(trial->name());
  measurement->set_metric(metric);
  measurement->set_value(value);
  measurement->mutable_interval()->set_low(low);
  measurement->mutable_interval()->set_high(high);
  measurement->mutable_interval()->set_confidence(kind == "exact" ? 1 : 0.95);
  measurement->mutable_interval()->set_kind(kind);
  measurement->mutable_verdict()->set_state(v1::Verdict::TRUSTED);
  measurement->set_worker("workers/sample-board-1");
  measurement->set_worker_build("0.0.0-sample");
  return measurement;
}

void AddAccuracy(const std::string& split, double percent, int64_t images, v1::Trial* trial) {
  const double p = percent / 100;
  const double half = 196 * std::sqrt(p * (1 - p) / static_cast<double>(images));
  v1::Measurement* measurement = AddMeasurement("accuracy_top1", percent, percent - 1.04 * half,
                                                percent + 0.96 * half, "wilson", trial);
  measurement->mutable_condition()->set_dataset("fashion_mnist");
  measurement->mutable_condition()->set_split(split);
  measurement->set_sample_count(images);
  measurement->set_fidelity(images == 10000 ? "final" : "screening");
}

void AddLatency(double ms, double relative, bool noisy, v1::Trial* trial) {
  v1::Measurement* measurement = AddMeasurement("latency_ms", ms, ms * (1 - relative),
                                                ms * (1 + 1.3 * relative), "prediction", trial);
  measurement->mutable_condition()->set_device(kDevice);
  measurement->set_baseline_id(kBaseline);
  measurement->set_baseline_reference_ms(0.8125);
  measurement->set_ratio(ms / 0.8125);
  if (!noisy) return;
  measurement->mutable_verdict()->set_state(v1::Verdict::NOISY);
  measurement->mutable_verdict()->add_reasons("load");
  measurement->mutable_verdict()->add_reasons("drift");
}

double Rounded(double value, double unit) { return std::round(value / unit) * unit; }

v1::Trial MakeTrial(const Family& family, int ordinal, Random* random) {
  // Mixed with the extremes, so that the frontier is as wide as a search would make it.
  const SearchSpace& space = family.search_space();
  Architecture architecture = space.Sample(random);
  if (ordinal == 1) architecture = space.Largest();
  if (ordinal == 2) architecture = space.Smallest();
  if (ordinal % 3 == 0) architecture = space.Crossover(architecture, space.Smallest(), random);
  if (ordinal % 3 == 1) architecture = space.Crossover(architecture, space.Largest(), random);
  const Network network = *family.Describe(architecture);
  const Costs costs = CountCosts(network);

  v1::Trial trial;
  trial.set_name(absl::StrCat("searchJobs/3/trials/", ordinal));
  trial.mutable_architecture()->set_search_space(architecture.search_space);
  trial.mutable_architecture()->set_revision(architecture.revision);
  trial.mutable_architecture()->mutable_choices()->Assign(architecture.choices.begin(),
                                                          architecture.choices.end());
  trial.set_architecture_json(space.ToJson(architecture));
  trial.set_arch_key(ArchKey(space, architecture));
  trial.set_graph_key(Sha256Hex(absl::StrCat("graph", ordinal)));
  trial.set_artifact_sha256(Sha256Hex(absl::StrCat("artifact", ordinal)));
  trial.set_state(v1::Trial::MEASURED);

  const double macs = static_cast<double>(costs.macs);
  const double accuracy = 94.1 - 11 / std::sqrt(macs / 1e6) + 0.25 * random->Gaussian();
  const double ms = (0.35 + macs / 2.6e7) * (1 + 0.06 * random->Gaussian());
  AddAccuracy("validation", Rounded(accuracy, 0.04), 2500, &trial);
  AddLatency(ms, 0.02 + 0.01 * random->Double(), ordinal % 11 == 0, &trial);
  for (const char* metric : {"macs", "params", "model_bytes", "peak_activation_bytes"}) {
    const double cost = ExactCost(costs, metric);
    AddMeasurement(metric, cost, cost, cost, "exact", &trial);
  }
  return trial;
}

// As at the end of a job: more images, the test split, more timed runs.
void Finalize(Random* random, v1::Trial* trial) {
  const double accuracy = trial->measurements(0).value();
  const double ms = trial->measurements(1).value();
  const bool noisy = trial->measurements(1).verdict().state() == v1::Verdict::NOISY;
  v1::Trial final = *trial;
  final.clear_measurements();
  AddAccuracy("validation", accuracy, 10000, &final);
  AddLatency(ms, 0.006, noisy, &final);
  AddAccuracy("test", Rounded(accuracy - 0.2 + 0.1 * random->Gaussian(), 0.01), 10000, &final);
  for (int i = 2; i < trial->measurements_size(); ++i) {
    *final.add_measurements() = trial->measurements(i);
  }
  final.set_finalized(true);
  final.set_on_frontier(true);
  *trial = std::move(final);
}

bool Dominates(const v1::Trial& a, const v1::Trial& b, bool three_objectives) {
  const double da = a.measurements(0).value() - b.measurements(0).value();
  const double dl = a.measurements(1).value() - b.measurements(1).value();
  const double dm = three_objectives ? a.measurements(2).value() - b.measurements(2).value() : 0;
  return da >= 0 && dl <= 0 && dm <= 0 && (da > 0 || dl < 0 || dm < 0);
}

void FillFrontier(const SampleOptions& options, Random* random, ReportInput* input) {
  std::vector<v1::Trial*> members;
  for (v1::Trial& trial : input->trials) {
    if (trial.state() != v1::Trial::MEASURED) continue;
    if (std::none_of(input->trials.begin(), input->trials.end(), [&](const v1::Trial& other) {
          return other.state() == v1::Trial::MEASURED &&
                 Dominates(other, trial, options.three_objectives);
        })) {
      members.push_back(&trial);
    }
  }
  std::sort(members.begin(), members.end(), [](const v1::Trial* a, const v1::Trial* b) {
    return a->measurements(0).value() > b->measurements(0).value();
  });
  const size_t kept = std::min<size_t>(members.size(), options.max_members);
  for (size_t i = 0; i < kept; ++i) {
    v1::Trial* trial = members[i * members.size() / kept];
    Finalize(random, trial);
    v1::FrontierMember* member = input->frontier.add_members();
    *member->mutable_trial() = *trial;
    for (int objective = 0; objective < input->frontier.objectives_size(); ++objective) {
      const int measurement = objective < 2 ? objective : 3;
      member->add_values(trial->measurements(measurement).value());
    }
    const bool contested = i % 4 == 2 || trial->measurements(1).verdict().reasons_size() > 0;
    member->set_certainty(contested ? v1::FrontierMember::CONTESTED : v1::FrontierMember::CERTAIN);
    member->set_knee(i == kept / 2);
  }
  input->frontier.set_hypervolume(0.8731);
  input->frontier.set_considered_trials(static_cast<int>(input->trials.size()));
}

// As if the later two thirds had been predicted, a little too high.
void FillLedger(ReportInput* input, Random* random) {
  for (int objective = 0; objective < 2; ++objective) {
    v1::PredictionLedger::Entry* entry = input->ledger.add_entries();
    *entry->mutable_objective() = input->job.spec().objectives(objective);
    for (size_t i = input->trials.size() / 3; i < input->trials.size(); ++i) {
      const v1::Trial& trial = input->trials[i];
      const double measured = trial.measurements(objective).value();
      const double deviation = (objective == 0 ? 0.002 : 0.05) * measured;
      v1::PredictionLedger::Forecast* forecast = entry->add_forecasts();
      forecast->set_trial(trial.name());
      forecast->set_measured(measured);
      forecast->set_deviation(deviation);
      forecast->set_expected(measured + deviation * (0.3 + random->Gaussian()));
    }
    entry->set_mean_relative_error(objective == 0 ? 0.0017 : 0.042);
    entry->set_within_5_percent(objective == 0 ? 1 : 0.66);
    entry->set_within_10_percent(objective == 0 ? 1 : 0.94);
    entry->set_within_15_percent(1);
    entry->set_mean_signed_error(objective == 0 ? 0.056 : 0.0183);
    entry->set_kendall_tau(0.8125);
    entry->set_spearman_rho(0.9375);
    entry->set_within_interval(0.921);
  }
}

void FillFleet(ReportInput* input) {
  v1::Device device;
  device.set_name(kDevice);
  device.set_device_class("x86-64");
  device.set_description("Sample board, 2 cores (made up for a test)");
  device.set_fingerprint(Sha256Hex("fingerprint"));
  (*device.mutable_properties())["cpu_model"] = "Sample CPU @ 2.6 GHz";
  (*device.mutable_properties())["cores"] = "2";
  (*device.mutable_properties())["governor"] = "performance";
  (*device.mutable_properties())["memory_bytes"] = "8589934592";
  (*device.mutable_properties())["kernel"] = "6.1.0-sample";
  input->devices.push_back(device);
  v1::Worker worker;
  worker.set_name("workers/sample-board-1");
  worker.set_state(v1::Worker::ACTIVE);
  *worker.mutable_device() = device;
  worker.mutable_profile()->set_hash(Sha256Hex("profile"));
  worker.mutable_profile()->set_runtime("onnxruntime");
  worker.mutable_profile()->set_runtime_version("1.30.0");
  worker.mutable_profile()->set_provider("cpu");
  worker.mutable_profile()->set_precision("fp32");
  worker.mutable_profile()->set_threads(1);
  worker.mutable_profile()->set_batch(1);
  worker.set_build("0.0.0-sample");
  worker.set_completed_tasks(412);
  input->workers.push_back(worker);
}

void FillJob(const SampleOptions& options, v1::SearchJob* job) {
  job->set_name("searchJobs/3");
  v1::SearchJobSpec* spec = job->mutable_spec();
  spec->set_display_name("Sample data, not measured");
  spec->set_supernet("supernets/fashion_mnist");
  spec->add_objectives()->set_metric("accuracy_top1");
  v1::Objective* latency = spec->add_objectives();
  latency->set_metric("latency_ms");
  latency->mutable_condition()->set_device(kDevice);
  if (options.three_objectives) spec->add_objectives()->set_metric("macs");
  v1::Constraint* constraint = spec->add_constraints();
  constraint->set_metric("latency_ms");
  constraint->mutable_condition()->set_device(kDevice);
  constraint->set_at_most(3);
  spec->mutable_sampler()->set_algorithm("nsga2");
  spec->mutable_budget()->set_max_trials(options.trials);
  spec->mutable_fidelity()->set_screening_images(2500);
  spec->mutable_fidelity()->set_final_images(10000);
  spec->mutable_fidelity()->set_calibration_images(2000);
  spec->mutable_fidelity()->set_calibration_seed(1);
  spec->mutable_fidelity()->set_test_split(true);
  spec->set_seed(static_cast<int64_t>(options.seed));
  spec->set_dataset("fashion_mnist");
  job->set_state(v1::SearchJob::SUCCEEDED);
  job->set_measured_trials(options.trials);
  job->set_reused_trials(options.trials / 10);
  job->mutable_create_time()->set_seconds(kStart);
  job->mutable_end_time()->set_seconds(kStart + 252);
}

}  // namespace

ReportInput MakeSampleJob(const SampleOptions& options) {
  ReportInput input;
  input.family = *FindFamily("fashion_mnist");
  FillJob(options, &input.job);
  *input.frontier.mutable_objectives() = input.job.spec().objectives();
  Random random(options.seed);
  for (int i = 1; i <= options.trials; ++i) {
    v1::Trial trial = MakeTrial(*input.family, i, &random);
    if (trial.measurements(1).value() > 3) trial.set_state(v1::Trial::INFEASIBLE);
    input.trials.push_back(std::move(trial));
  }
  FillFrontier(options, &random, &input);
  FillFleet(&input);
  FillLedger(&input, &random);
  double hypervolume = 0;
  for (int i = 1; i <= options.trials; ++i) {
    if (i == 1 || random.Bernoulli(4.0 / (4 + i))) {
      hypervolume += (0.8731 - hypervolume) * (0.2 + 0.3 * random.Double());
    }
    input.hypervolume_history.emplace_back(i, hypervolume);
  }
  // Of a random job that is a little worse than the search.
  input.random_jobs = {"searchJobs/2"};
  for (int i = 0; i < 2 * options.trials; ++i) {
    const double cost = random.Double();
    std::vector<double> point = {0.06 + 0.25 * (1 - cost) + 0.1 * random.Double(),
                                 0.05 + cost * (0.8 + 0.2 * random.Double())};
    if (options.three_objectives) point.push_back(0.05 + 0.9 * cost);
    input.random_points.push_back(std::move(point));
  }
  input.generated = absl::FromUnixSeconds(kStart + 260);
  input.build = "0.0.0-sample";
  input.supernet_sha256 = Sha256Hex("sample supernet");
  return input;
}

}  // namespace forall::testing
