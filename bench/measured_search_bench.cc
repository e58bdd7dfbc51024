// SPDX-License-Identifier: Apache-2.0
#include "bench/measured_search_bench.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/status_macros.h"
#include "data/dataset.h"
#include "evaluator/accuracy/accuracy_evaluator.h"
#include "evaluator/worker/reference_network.h"
#include "latency/backend/onnxruntime_backend.h"
#include "latency/child/child_sessions.h"
#include "latency/child/measuring_child.h"
#include "latency/measure/environment.h"
#include "latency/measure/harness.h"
#include "latency/measure/host_lock.h"
#include "latency/measure/measurement.h"
#include "latency/measure/statistics.h"
#include "nlohmann/json.hpp"
#include "search/pareto/hypervolume.h"
#include "search/sampler/sampler.h"
#include "search/sampler/sampler_factory.h"
#include "space/cost_model.h"
#include "supernet/export.h"
#include "supernet/package.h"

namespace forall {
namespace {

// As `forall quickstart` has it.
constexpr int kCalibrationImages = 500;
constexpr int kAttempts = 3;
constexpr double kBar = 0.5;

struct Measured {
  double accuracy = 0;    // %
  double latency_ms = 0;  // at the reference's baseline
  double seconds = 0;     // what it took
};

class Bench {
 public:
  static absl::StatusOr<std::unique_ptr<Bench>> Create(const MeasuredSearchOptions& options) {
    std::unique_ptr<Bench> bench(new Bench(options));
    FORALL_ASSIGN_OR_RETURN(bench->supernet_, Supernet::Load(options.supernet));
    FORALL_ASSIGN_OR_RETURN(bench->train_,
                            OpenDataset("fashion_mnist", Split::kTrain, options.data));
    FORALL_ASSIGN_OR_RETURN(bench->validation_,
                            OpenDataset("fashion_mnist", Split::kValidation, options.data));
    bench->order_ = ScreeningSubset(
        *bench->validation_, options.images > 0 ? options.images : bench->validation_->size());
    FORALL_ASSIGN_OR_RETURN(bench->host_lock_, HostLock::Open(HostLock::Options{}));
    FORALL_ASSIGN_OR_RETURN(const ReferenceNetwork reference, BuildReferenceNetwork());
    FORALL_ASSIGN_OR_RETURN(bench->backend_, OnnxRuntimeBackend::Create({}));
    ChildSessions::Options child;
    child.command = MeasuringChildCommand();
    child.description = bench->backend_->Describe();
    child.configuration = BackendConfiguration({});
    child.reference_model = reference.onnx;
    bench->sessions_ = std::make_unique<ChildSessions>(std::move(child));
    LatencyHarness::Options harness;
    harness.sessions = bench->sessions_.get();
    harness.calibration_model = reference.calibration_onnx;
    harness.probe = &bench->probe_;
    FORALL_ASSIGN_OR_RETURN(bench->harness_, LatencyHarness::Create(std::move(harness)));
    {
      FORALL_ASSIGN_OR_RETURN(const HostLock::Holder holder, bench->host_lock_->AcquireExclusive());
      FORALL_ASSIGN_OR_RETURN(const Baseline baseline, bench->harness_->Calibrate({}));
      bench->baseline_ns_ = baseline.reference_ns;
    }
    FORALL_RETURN_IF_ERROR(bench->ReadResults());
    return bench;
  }

  const SearchSpace& space() const { return supernet_->family().search_space(); }
  double Macs(const Architecture& a) const {
    const absl::StatusOr<Network> network = supernet_->family().Describe(a);
    return network.ok() ? static_cast<double>(CountCosts(*network).macs) : 0;
  }

  absl::StatusOr<Measured> Measure(const Architecture& architecture) {
    const auto known = known_.find(architecture.choices);
    if (known != known_.end()) return known->second;
    Measured measured;
    FORALL_ASSIGN_OR_RETURN(const std::string model, Evaluate(architecture, &measured));
    FORALL_RETURN_IF_ERROR(Time(model, &measured));
    known_[architecture.choices] = measured;
    return WriteResult(architecture, measured);
  }

 private:
  explicit Bench(const MeasuredSearchOptions& options) : options_(options) {
    if (options_.threads <= 0) options_.threads = UsableCores();
  }

  static double Seconds(int64_t start) {
    return 1e-9 * static_cast<double>(Clock::Real()->SteadyNanos() - start);
  }

  // Exports, and gives the file. Waiting for others' timings is nobody's seconds.
  absl::StatusOr<std::string> Evaluate(const Architecture& architecture, Measured* measured) {
    FORALL_ASSIGN_OR_RETURN(const Network network, supernet_->family().Describe(architecture));
    SessionOptions session;
    session.intra_op_threads = options_.threads;
    CalibrationOptions calibration;
    calibration.images = kCalibrationImages;
    FORALL_ASSIGN_OR_RETURN(const HostLock::Holder holder, host_lock_->AcquireShared());
    const int64_t start = Clock::Real()->SteadyNanos();
    FORALL_ASSIGN_OR_RETURN(
        ExportedSubnet subnet,
        ExportSubnet(*supernet_, architecture, *train_, calibration, DeploymentRecipe(), session));
    FORALL_ASSIGN_OR_RETURN(
        const Accuracy accuracy,
        EvaluateAccuracy(subnet.bytes, *validation_, order_, static_cast<int>(network.input.height),
                         {.threads = options_.threads}));
    measured->accuracy =
        100.0 * static_cast<double>(accuracy.top1_correct) / static_cast<double>(accuracy.images);
    measured->seconds += Seconds(start);
    return std::move(subnet.bytes);
  }

  // A rejected measurement is taken again, as the controller does; the last one counts.
  absl::Status Time(const std::string& model, Measured* measured) {
    FORALL_ASSIGN_OR_RETURN(const Profile profile, ProfileNamed("screening"));
    FORALL_ASSIGN_OR_RETURN(const HostLock::Holder holder, host_lock_->AcquireExclusive());
    const int64_t start = Clock::Real()->SteadyNanos();
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      FORALL_ASSIGN_OR_RETURN(const LatencyResult result, harness_->Measure(model, profile, {}));
      measured->latency_ms = result.ratio * baseline_ns_ * 1e-6;
      if (result.verdict != Verdict::kRejected) break;
    }
    measured->seconds += Seconds(start);
    return absl::OkStatus();
  }

  absl::Status ReadResults() {
    if (options_.results.empty()) return absl::OkStatus();
    const absl::StatusOr<std::string> text = ReadFile(options_.results);
    if (absl::IsNotFound(text.status())) return absl::OkStatus();
    FORALL_RETURN_IF_ERROR(text.status());
    // What follows the last end of a line is a line that was cut.
    const std::string whole = text->substr(0, text->rfind('\n') + 1);
    if (whole.size() < text->size()) {
      FORALL_RETURN_IF_ERROR(WriteFileAtomically(options_.results, whole));
    }
    int number = 0;
    for (const absl::string_view line : absl::StrSplit(whole, '\n', absl::SkipEmpty())) {
      if (const absl::Status status = ReadResult(line); !status.ok()) {
        return absl::InvalidArgumentError(absl::StrCat("--results: ", options_.results, ": line ",
                                                       number + 1, ": ", status.message()));
      }
      ++number;
    }
    return absl::OkStatus();
  }

  absl::Status ReadResult(absl::string_view line) {
    const nlohmann::json json = nlohmann::json::parse(line, nullptr, false);
    const auto numbers = [&](const char* name) {
      return json.is_object() && json.contains(name) && json[name].is_number();
    };
    const auto is_number = [](const nlohmann::json& choice) { return choice.is_number_integer(); };
    if (!numbers("accuracy") || !numbers("ratio") || !numbers("seconds") || !numbers("images") ||
        !json.contains("supernet") || !json.contains("choices") || !json["choices"].is_array() ||
        !std::all_of(json["choices"].begin(), json["choices"].end(), is_number)) {
      return absl::InvalidArgumentError(absl::StrCat("no measured subnet: ", line));
    }
    if (json["images"] != order_.size() || json["supernet"] != supernet_->hash()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "measured on ", json["images"].dump(), " images of supernet ", json["supernet"].dump(),
          ", not on ", order_.size(), " of ", supernet_->hash(), ": name another file"));
    }
    Architecture architecture = space().Smallest();
    architecture.choices = json["choices"].get<std::vector<int32_t>>();
    FORALL_RETURN_IF_ERROR(space().Validate(architecture));
    // Ratios outlive a process, milliseconds hang on its baseline.
    known_[architecture.choices] = {
        json["accuracy"], json["ratio"].get<double>() * baseline_ns_ * 1e-6, json["seconds"]};
    return absl::OkStatus();
  }

  absl::StatusOr<Measured> WriteResult(const Architecture& architecture, const Measured& measured) {
    if (options_.results.empty()) return measured;
    std::ofstream out(options_.results, std::ios::app);
    const nlohmann::json json = {{"supernet", supernet_->hash()},
                                 {"images", order_.size()},
                                 {"choices", architecture.choices},
                                 {"accuracy", measured.accuracy},
                                 {"ratio", measured.latency_ms / (baseline_ns_ * 1e-6)},
                                 {"seconds", measured.seconds}};
    out << json.dump() << "\n";
    if (!out.flush()) {
      return absl::UnavailableError(absl::StrCat("--results: cannot write ", options_.results));
    }
    return measured;
  }

  MeasuredSearchOptions options_;
  std::shared_ptr<const Supernet> supernet_;
  std::shared_ptr<const Dataset> train_;
  std::shared_ptr<const Dataset> validation_;
  std::vector<int64_t> order_;
  EnvironmentProbe probe_;
  std::unique_ptr<HostLock> host_lock_;
  std::unique_ptr<OnnxRuntimeBackend> backend_;
  std::unique_ptr<ChildSessions> sessions_;
  std::unique_ptr<LatencyHarness> harness_;
  double baseline_ns_ = 0;
  std::map<std::vector<int32_t>, Measured> known_;
};

// After each evaluation.
struct Course {
  std::vector<double> hypervolume;
  std::vector<double> seconds;
};

absl::StatusOr<Course> Search(Bench* bench, const std::string& name, uint64_t seed,
                              const std::vector<double>& reference,
                              const MeasuredSearchOptions& options) {
  SamplerOptions sampler_options;
  sampler_options.cost = [bench](const Architecture& a) { return bench->Macs(a); };
  sampler_options.objectives = {{SearchedMetric::Kind::kQuality, nullptr},
                                {SearchedMetric::Kind::kCost, nullptr}};
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<Sampler> sampler,
                          CreateSampler(name, sampler_options, bench->space(), seed));
  Course course;
  std::vector<double> points;
  std::vector<ScoredTrial> history;
  std::vector<Architecture> pending;
  int64_t proposed = 0;
  double seconds = 0;
  const int budget = *std::max_element(options.at.begin(), options.at.end());
  while (static_cast<int>(history.size()) < budget) {
    const int64_t start = Clock::Real()->SteadyNanos();
    const int free = std::min<int>(options.parallel - static_cast<int>(pending.size()),
                                   budget - static_cast<int>(proposed));
    for (Proposal& proposal : sampler->Propose({history, pending, free, proposed})) {
      pending.push_back(std::move(proposal.architecture));
      ++proposed;
    }
    seconds += 1e-9 * static_cast<double>(Clock::Real()->SteadyNanos() - start);
    if (pending.empty()) {
      return absl::InternalError(absl::StrCat(name, " has proposed nothing after ", proposed));
    }
    const Architecture done = pending.front();
    pending.erase(pending.begin());
    FORALL_ASSIGN_OR_RETURN(const Measured measured, bench->Measure(done));
    seconds += measured.seconds;
    const std::vector<double> objectives = {-measured.accuracy, measured.latency_ms};
    points.insert(points.end(), objectives.begin(), objectives.end());
    history.push_back({static_cast<int64_t>(history.size()) + 1, done, objectives, 0});
    FORALL_ASSIGN_OR_RETURN(const double volume, Hypervolume({points, 2}, reference));
    course.hypervolume.push_back(volume);
    course.seconds.push_back(seconds);
  }
  return course;
}

void PrintCourses(const std::string& name, const std::vector<Course>& courses,
                  const MeasuredSearchOptions& options) {
  for (const int at : options.at) {
    std::vector<double> volumes;
    std::vector<double> seconds;
    for (const Course& course : courses) {
      volumes.push_back(course.hypervolume[static_cast<size_t>(at) - 1]);
      seconds.push_back(course.seconds[static_cast<size_t>(at) - 1]);
    }
    const auto [low, high] = std::minmax_element(volumes.begin(), volumes.end());
    std::printf(
        "{\"benchmark\":\"measured-search\",\"sampler\":\"%s\",\"evaluations\":%d,"
        "\"hypervolume_median\":%.4f,\"hypervolume_min\":%.4f,\"hypervolume_max\":%.4f,"
        "\"seconds_median\":%.1f,\"seeds\":%d}\n",
        name.c_str(), at, Median(volumes), *low, *high, Median(seconds), options.seeds);
  }
  std::fflush(stdout);
}

// The first evaluation after which `course` has at least `volume`; one past the last if none.
double EvaluationsTo(double volume, const Course& course) {
  const auto it = std::find_if(course.hypervolume.begin(), course.hypervolume.end(),
                               [volume](double v) { return v >= volume; });
  return static_cast<double>(it - course.hypervolume.begin()) + 1;
}

void PrintMatch(const std::string& other, const std::vector<Course>& guided,
                const std::vector<Course>& others) {
  std::vector<double> evaluations;
  std::vector<double> seconds_shares;
  for (size_t i = 0; i < guided.size(); ++i) {
    evaluations.push_back(EvaluationsTo(others[i].hypervolume.back(), guided[i]));
    const size_t last =
        std::min(static_cast<size_t>(evaluations.back()), guided[i].seconds.size()) - 1;
    seconds_shares.push_back(guided[i].seconds[last] / others[i].seconds.back());
  }
  const double budget = static_cast<double>(others.front().hypervolume.size());
  const double share = Median(evaluations) / budget;
  std::printf(
      "{\"benchmark\":\"measured-search\",\"sampler\":\"guided\",\"against\":\"%s\","
      "\"evaluations_to_match\":%.0f,\"budget\":%.0f,\"share\":%.3f,\"seconds_share\":%.3f,"
      "\"bar\":%.2f,\"ok\":%s}\n",
      other.c_str(), Median(evaluations), budget, share, Median(seconds_shares), kBar,
      share <= kBar ? "true" : "false");
}

}  // namespace

absl::Status RunMeasuredSearchBench(const MeasuredSearchOptions& options) {
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<Bench> bench, Bench::Create(options));
  FORALL_ASSIGN_OR_RETURN(const Measured smallest, bench->Measure(bench->space().Smallest()));
  FORALL_ASSIGN_OR_RETURN(const Measured largest, bench->Measure(bench->space().Largest()));
  const std::vector<double> reference = {-(smallest.accuracy - 0.5), 1.1 * largest.latency_ms};
  std::map<std::string, std::vector<Course>> courses;
  // Every sampler's search of a seed before the next, so that the results of a run that was cut can
  // be compared with fewer seeds.
  for (int i = 0; i < options.seeds; ++i) {
    for (const std::string& name : options.samplers) {
      FORALL_ASSIGN_OR_RETURN(
          Course course, Search(bench.get(), name, options.first_seed + static_cast<uint64_t>(i),
                                reference, options));
      courses[name].push_back(std::move(course));
    }
  }
  for (const std::string& name : options.samplers) PrintCourses(name, courses[name], options);
  const auto guided = courses.find("guided");
  for (const auto& [name, others] : courses) {
    if (guided != courses.end() && name != "guided") PrintMatch(name, guided->second, others);
  }
  return absl::OkStatus();
}

}  // namespace forall
