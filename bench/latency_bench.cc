// SPDX-License-Identifier: Apache-2.0
#include "bench/latency_bench.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/child_process.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/forecast_quality.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "base/thread.h"
#include "evaluator/worker/reference_network.h"
#include "latency/backend/onnxruntime_backend.h"
#include "latency/child/child_sessions.h"
#include "latency/child/measuring_child.h"
#include "latency/measure/core_pin.h"
#include "latency/measure/environment.h"
#include "latency/measure/harness.h"
#include "latency/measure/statistics.h"
#include "space/family.h"

namespace forall {
namespace {

constexpr int kPool = 100;
constexpr double kSmallestGap = 1.02;
constexpr double kWantedGap = 1.035;
constexpr double kLargestGap = 1.06;
constexpr double kMeanLoadSeconds = 0.7;

struct Bar {
  const char* load;
  double least_tau;
  double largest_difference;
  double least_agreement;
};
constexpr Bar kBars[] = {{"quiet", 0.97, 0.013, 0.90}, {"intermittent", 0.95, 1, 0}};
constexpr double kMostSeconds = 2.5;
constexpr double kAhead = 0.02;    // of which it must be below under load
constexpr double kBehind = 0.005;  // how far a fixed protocol's tau may be above

double SecondsSince(int64_t start_ns) {
  return 1e-9 * static_cast<double>(Clock::Real()->SteadyNanos() - start_ns);
}

// Other programs: busy threads in processes' stead, which come and go.
class IntermittentLoad {
 public:
  IntermittentLoad(int threads, uint64_t seed) {
    for (int i = 0; i < threads; ++i) {
      threads_.emplace_back(
          "load", [this, random = Random::ForStream(seed, static_cast<uint64_t>(i))]() mutable {
            bool busy = false;
            while (!ended_) {
              busy = !busy;
              const double seconds = -kMeanLoadSeconds * std::log(1 - random.Double());
              const int64_t start = Clock::Real()->SteadyNanos();
              while (!ended_ && SecondsSince(start) < seconds) {
                if (!busy) Clock::Real()->SleepFor(absl::Milliseconds(5));
              }
            }
          });
    }
  }
  ~IntermittentLoad() { ended_ = true; }
  IntermittentLoad(const IntermittentLoad&) = delete;
  IntermittentLoad& operator=(const IntermittentLoad&) = delete;

 private:
  std::atomic<bool> ended_{false};
  std::vector<Thread> threads_;
};

struct Value {
  double value = 0;
  double low = 0;
  double high = 0;
  double seconds = 0;
  bool trusted = false;
};

enum Protocol { kForall, kTflite, kNcnn, kProtocols };
constexpr const char* kNames[] = {"forall", "tflite", "ncnn"};

class Bench {
 public:
  static absl::StatusOr<std::unique_ptr<Bench>> Create(const LatencyBenchOptions& options) {
    std::unique_ptr<Bench> bench(new Bench(options));
    FORALL_ASSIGN_OR_RETURN(bench->reference_, BuildReferenceNetwork());
    FORALL_ASSIGN_OR_RETURN(const auto backend, OnnxRuntimeBackend::Create({}));
    bench->description_ = backend->Describe();
    bench->folder_ =
        std::filesystem::temp_directory_path() / absl::StrCat("forall-latency-", getpid());
    std::filesystem::create_directories(bench->folder_);
    FORALL_RETURN_IF_ERROR(bench->ChooseProbes());
    return bench;
  }
  ~Bench() {
    std::error_code ignored;  // A folder that stays behind is no failure of the benchmark.
    std::filesystem::remove_all(folder_, ignored);
  }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;

  // Values [protocol][probe] of a sweep in the order of `seed`.
  absl::StatusOr<std::vector<std::vector<Value>>> Sweep(uint64_t seed) {
    std::vector<size_t> order(files_.size());
    std::iota(order.begin(), order.end(), 0);
    Random random(seed);
    random.Shuffle(&order);
    // As a worker that has just been started.
    const auto sessions = NewProcess();
    FORALL_ASSIGN_OR_RETURN(const auto harness, NewHarness(sessions.get()));
    FORALL_ASSIGN_OR_RETURN(const Baseline baseline, harness->Calibrate());
    std::fprintf(stderr, "latency: ratios differ by %.2f %% between sessions\n",
                 100 * baseline.session_spread);
    std::vector<std::vector<Value>> values(kProtocols, std::vector<Value>(files_.size()));
    for (const size_t probe : order) {
      FORALL_ASSIGN_OR_RETURN(values[kForall][probe], MeasureByForall(harness.get(), probe));
      FORALL_ASSIGN_OR_RETURN(values[kTflite][probe], MeasureFixed(kTflite, probe));
      FORALL_ASSIGN_OR_RETURN(values[kNcnn][probe], MeasureFixed(kNcnn, probe));
    }
    return values;
  }

 private:
  explicit Bench(const LatencyBenchOptions& options) : options_(options) {}

  std::unique_ptr<ChildSessions> NewProcess() const {
    ChildSessions::Options child;
    child.command = MeasuringChildCommand();
    child.description = description_;
    child.configuration = BackendConfiguration({});
    child.reference_model = reference_.onnx;
    return std::make_unique<ChildSessions>(std::move(child));
  }

  absl::StatusOr<std::unique_ptr<LatencyHarness>> NewHarness(SessionRunner* sessions) const {
    LatencyHarness::Options harness;
    harness.sessions = sessions;
    harness.probe = &probe_;
    harness.calibration_model = reference_.calibration_onnx;
    return LatencyHarness::Create(harness);
  }

  absl::StatusOr<Value> MeasureByForall(LatencyHarness* harness, size_t probe) const {
    FORALL_ASSIGN_OR_RETURN(const Profile standard, ProfileNamed("standard"));
    const int64_t start = Clock::Real()->SteadyNanos();
    FORALL_ASSIGN_OR_RETURN(const LatencyResult result, harness->Measure(models_[probe], standard));
    std::string reasons;
    for (const Reason reason : result.reasons) absl::StrAppend(&reasons, " ", ReasonName(reason));
    std::fprintf(stderr, "probe %zu ratio %.4f [%.4f, %.4f]%s\n", probe, result.ratio,
                 result.ratio_low, result.ratio_high, reasons.c_str());
    return Value{.value = result.ratio,
                 .low = result.ratio_low,
                 .high = result.ratio_high,
                 .seconds = SecondsSince(start),
                 .trusted = result.verdict == Verdict::kTrusted};
  }

  absl::StatusOr<Value> MeasureFixed(Protocol protocol, size_t probe) const {
    std::vector<std::string> command = MeasuringChildCommand();
    command.pop_back();
    command.insert(command.end(), {"fixed-protocol", kNames[protocol], files_[probe]});
    const int64_t start = Clock::Real()->SteadyNanos();
    FORALL_ASSIGN_OR_RETURN(const ProgramOutput output, RunProgram({.argv = command}));
    Value value;
    value.seconds = SecondsSince(start);
    if (!output.end.ok() || !absl::SimpleAtod(LastLine(output.standard_output), &value.value)) {
      return absl::InternalError(absl::StrCat(kNames[protocol], ": ", output.end.ToString(), " ",
                                              LastLine(output.standard_error)));
    }
    return value;
  }

  absl::Status ChooseProbes() {
    FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Family> family,
                            FindFamily("fashion_mnist"));
    Random random(options_.seed);
    std::vector<std::pair<double, std::string>> pool;
    const auto sessions = NewProcess();
    FORALL_ASSIGN_OR_RETURN(const auto harness, NewHarness(sessions.get()));
    FORALL_ASSIGN_OR_RETURN(const Profile screening, ProfileNamed("screening"));
    for (int i = 0; i < kPool; ++i) {
      FORALL_ASSIGN_OR_RETURN(std::string model,
                              BuildFormulaSubnet(*family, family->search_space().Sample(&random)));
      FORALL_ASSIGN_OR_RETURN(const LatencyResult result, harness->Measure(model, screening));
      pool.emplace_back(result.ratio, std::move(model));
    }
    std::sort(pool.begin(), pool.end());
    // From each one the next that is far enough and nearest to what is wanted, from the start that
    // gives the longest row of small steps.
    std::vector<size_t> best;
    double best_step = 0;
    for (size_t start = 0; start < pool.size(); ++start) {
      std::vector<size_t> row = {start};
      double largest = 1;
      while (static_cast<int>(row.size()) < options_.probes) {
        const double last = pool[row.back()].first;
        size_t next = row.back() + 1;
        while (next < pool.size() && pool[next].first < kSmallestGap * last) ++next;
        while (next + 1 < pool.size() && pool[next + 1].first < kWantedGap * last) ++next;
        if (next >= pool.size()) break;
        largest = std::max(largest, pool[next].first / last);
        row.push_back(next);
      }
      if (row.size() > best.size() || (row.size() == best.size() && largest < best_step)) {
        best = row;
        best_step = largest;
      }
    }
    if (static_cast<int>(best.size()) < std::max(2, options_.probes) || best_step > kLargestGap) {
      return absl::UnavailableError(absl::StrFormat(
          "latency: of %d subnets a row of %d was found, steps up to %.1f %%: another --seed, or a "
          "quieter machine",
          kPool, static_cast<int>(best.size()), 100 * (best_step - 1)));
    }
    for (const size_t index : best) {
      models_.push_back(pool[index].second);
      files_.push_back((folder_ / absl::StrCat("probe-", files_.size(), ".onnx")).string());
      FORALL_RETURN_IF_ERROR(WriteFileAtomically(files_.back(), models_.back()));
    }
    std::fprintf(stderr, "latency: %zu probes, largest step %.1f %%\n", best.size(),
                 100 * (best_step - 1));
    return absl::OkStatus();
  }

  const LatencyBenchOptions options_;
  const EnvironmentProbe probe_;
  ReferenceNetwork reference_;
  BackendDescription description_;
  std::filesystem::path folder_;
  std::vector<std::string> models_;
  std::vector<std::string> files_;
};

struct Summary {
  double tau = 0;
  double median_difference = 0;
  double largest_difference = 0;
  double agreement = 0;
  double trusted = 0;
  double seconds = 0;
};

Summary Compare(const std::vector<Value>& first, const std::vector<Value>& second) {
  Summary summary;
  std::vector<Forecast> pairs;
  std::vector<double> differences;
  std::vector<double> seconds;
  const double n = static_cast<double>(first.size());
  for (size_t i = 0; i < first.size(); ++i) {
    const Value& a = first[i];
    const Value& b = second[i];
    pairs.push_back({.expected = a.value, .measured = b.value});
    differences.push_back(std::abs(a.value - b.value) / (0.5 * (a.value + b.value)));
    summary.agreement += ((a.low <= b.value && b.value <= a.high) ? 0.5 : 0) / n;
    summary.agreement += ((b.low <= a.value && a.value <= b.high) ? 0.5 : 0) / n;
    summary.trusted += ((a.trusted ? 0.5 : 0) + (b.trusted ? 0.5 : 0)) / n;
    seconds.push_back(a.seconds);
    seconds.push_back(b.seconds);
  }
  summary.tau = JudgeForecasts(pairs).kendall_tau.value_or(0);
  summary.median_difference = Median(differences);
  summary.largest_difference = *std::max_element(differences.begin(), differences.end());
  summary.seconds = Median(seconds);
  return summary;
}

// "" when all bars are met.
std::string Missed(const std::string& load, const std::vector<Summary>& summaries) {
  const Summary& ours = summaries[kForall];
  for (const Bar& bar : kBars) {
    if (load != bar.load) continue;
    if (ours.tau < bar.least_tau) return absl::StrCat("tau under ", bar.least_tau);
    if (ours.median_difference > bar.largest_difference) {
      return absl::StrCat("median difference over ", bar.largest_difference);
    }
    if (ours.agreement < bar.least_agreement) {
      return absl::StrCat("interval agreement under ", bar.least_agreement);
    }
  }
  if (ours.seconds > kMostSeconds) return absl::StrCat("more than ", kMostSeconds, " s");
  for (const Protocol other : {kTflite, kNcnn}) {
    if (ours.tau < summaries[other].tau - kBehind) {
      return absl::StrCat("tau behind ", kNames[other]);
    }
    if (load == "intermittent" && ours.tau < summaries[other].tau + kAhead) {
      return absl::StrCat("tau not clearly ahead of ", kNames[other]);
    }
  }
  return "";
}

}  // namespace

absl::Status RunLatencyBench(const LatencyBenchOptions& options) {
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<Bench> bench, Bench::Create(options));
  std::string missed;
  for (const std::string& load : options.loads) {
    std::optional<IntermittentLoad> others;
    if (load == "intermittent") {
      others.emplace(std::max(1, UsableCores() - 1), options.seed);
    } else if (load != "quiet") {
      return absl::InvalidArgumentError(
          absl::StrCat("--load: \"", load, "\" is neither quiet nor intermittent"));
    }
    FORALL_ASSIGN_OR_RETURN(const auto first, bench->Sweep(options.seed));
    FORALL_ASSIGN_OR_RETURN(const auto second, bench->Sweep(options.seed + 1));
    std::vector<Summary> summaries;
    for (int protocol = 0; protocol < kProtocols; ++protocol) {
      const auto p = static_cast<size_t>(protocol);
      const Summary s = Compare(first[p], second[p]);
      summaries.push_back(s);
      const std::string agreement =
          protocol == kForall ? absl::StrFormat("%.3f", s.agreement) : "null";
      const std::string trusted = protocol == kForall ? absl::StrFormat("%.3f", s.trusted) : "null";
      std::printf(
          R"({"benchmark":"latency","protocol":"%s","load":"%s","kendall_tau":%.4f,)"
          R"("median_relative_difference":%.4f,"largest_relative_difference":%.4f,)"
          R"("interval_agreement":%s,"trusted":%s,"seconds_per_measurement":%.3f,"probes":%zu})"
          "\n",
          kNames[p], load.c_str(), s.tau, s.median_difference, s.largest_difference,
          agreement.c_str(), trusted.c_str(), s.seconds, first[p].size());
      std::fflush(stdout);
    }
    const std::string bar = Missed(load, summaries);
    if (!bar.empty()) absl::StrAppend(&missed, missed.empty() ? "" : "; ", load, ": ", bar);
  }
  if (options.check && !missed.empty()) {
    return absl::FailedPreconditionError(absl::StrCat("latency misses its bars: ", missed));
  }
  return absl::OkStatus();
}

absl::Status RunFixedProtocol(const std::vector<std::string>& arguments) {
  const bool tflite = arguments[0] == "tflite";
  FORALL_ASSIGN_OR_RETURN(const std::string model, ReadFile(arguments[1]));
  // As forall's measuring process: what is compared is the protocol.
  const ScopedCorePin pin(1);
  if (setpriority(PRIO_PROCESS, 0, -10) != 0) {
    std::fprintf(stderr, "latency: a higher priority was refused\n");
  }
  FORALL_ASSIGN_OR_RETURN(const auto backend, OnnxRuntimeBackend::Create({}));
  FORALL_ASSIGN_OR_RETURN(const auto prepared, backend->Prepare(model, SessionMemory::kReused));
  Clock* const clock = Clock::Real();
  const auto run = [&](int runs, double seconds, std::vector<double>* samples) -> absl::Status {
    const int64_t start = clock->SteadyNanos();
    for (int i = 0; i < runs || SecondsSince(start) < seconds; ++i) {
      FORALL_ASSIGN_OR_RETURN(const std::vector<double> timing, prepared->Time(clock));
      samples->push_back(timing.front());
    }
    return absl::OkStatus();
  };
  std::vector<double> warm_up;
  std::vector<double> samples;
  FORALL_RETURN_IF_ERROR(run(tflite ? 1 : 8, tflite ? 0.5 : 0, &warm_up));
  FORALL_RETURN_IF_ERROR(run(tflite ? 50 : 4, tflite ? 1.0 : 0, &samples));
  const double mean =
      std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(samples.size());
  std::printf("%.3f\n", tflite ? mean : *std::min_element(samples.begin(), samples.end()));
  return absl::OkStatus();
}

}  // namespace forall
