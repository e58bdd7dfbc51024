// SPDX-License-Identifier: Apache-2.0
#include "bench/fleet_bench.h"

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/library_locks.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "bench/controller_process.h"
#include "bench/simulated_fleet.h"
#include "bench/sqlite_limit.h"
#include "grpcpp/grpcpp.h"
#include "latency/measure/statistics.h"
#include "proto/forall/v1/search_service.grpc.pb.h"

namespace forall {
namespace {

constexpr int kDevices = 8;
constexpr int kTasksPerJob = 500;
// More than any machine here stores: the queue must not run dry.
constexpr double kMostPerSecond = 30'000;
// Workers that export what the others then time.
constexpr int kExporters = 32;
constexpr int kSpareFiles = 256;
constexpr int64_t kMostReplayed = 60'000;
constexpr double kBarShare = 0.5;
constexpr double kBarGrantMs = 5;
constexpr int kBarThreads = 24;
constexpr double kBarRssMib = 160;
// Up to how many workers the bars are meant.
constexpr int kGrantBarWorkers = 1000;
constexpr int kIdleBarWorkers = 2000;

using Samples = std::map<std::string, double>;

// Between two readings of a histogram, by interpolation within buckets as Prometheus does it.
class HistogramDelta {
 public:
  HistogramDelta(const std::string& name, const Samples& before, const Samples& after) {
    const std::string prefix = name + "_bucket{le=\"";
    for (auto it = after.lower_bound(prefix);
         it != after.end() && absl::StartsWith(it->first, prefix); ++it) {
      double bound = 0;
      const std::string text =
          it->first.substr(prefix.size(), it->first.find('"', prefix.size()) - prefix.size());
      if (!absl::SimpleAtod(text, &bound)) continue;
      buckets_[bound] = it->second - Find(before, it->first);
    }
    count_ = Find(after, name + "_count") - Find(before, name + "_count");
    sum_ = Find(after, name + "_sum") - Find(before, name + "_sum");
  }

  double count() const { return count_; }
  double mean() const { return count_ > 0 ? sum_ / count_ : 0; }
  double Quantile(double share) const {
    const double wanted = share * count_;
    double below_bound = 0;
    double below = 0;
    for (const auto& [bound, count] : buckets_) {
      if (count >= wanted && count > below) {
        if (std::isinf(bound)) return below_bound;
        return below_bound + (bound - below_bound) * (wanted - below) / (count - below);
      }
      below_bound = bound;
      below = count;
    }
    return below_bound;
  }

 private:
  static double Find(const Samples& samples, const std::string& name) {
    const auto it = samples.find(name);
    return it == samples.end() ? 0 : it->second;
  }

  std::map<double, double> buckets_;  // bound to what is not above it
  double count_ = 0;
  double sum_ = 0;
};

// One run against one controller.
class Run {
 public:
  Run(const FleetBenchOptions& options, int workers) : options_(options), workers_(workers) {}

  // Prints its line; whether it meets the bars that it has.
  absl::StatusOr<bool> Do() {
    FORALL_ASSIGN_OR_RETURN(controller_,
                            ControllerProcess::Start(options_.supernet, options_.mtls));
    FORALL_RETURN_IF_ERROR(MeasureIdle());
    FORALL_RETURN_IF_ERROR(QueueLatencies());
    // In turn, so that a machine whose speed wanders is the same to both.
    for (int i = 0; i < options_.rounds; ++i) {
      FORALL_ASSIGN_OR_RETURN(const auto sqlite, SqliteLimit::Begin(controller_->db()));
      FORALL_ASSIGN_OR_RETURN(Round round, MeasureCompletions());
      FORALL_RETURN_IF_ERROR(MeasureSqlite(sqlite.get(), &round));
      rounds_.push_back(round);
    }
    rpc_limit_ = fleet_->MeasureEmptyCalls(std::min(2.0, options_.seconds));
    FORALL_RETURN_IF_ERROR(MeasureGrants());
    FORALL_RETURN_IF_ERROR(CheckNoneLost(fleet_->counts()));
    return Print();
  }

 private:
  struct Round {
    double completions = 0;  // a second
    double sqlite = 0;       // likewise
    double full_batches = 0;
    double by_job = 0;
    double rare_checkpoints = 0;
    double share = 0;
    double cores = 0;
    double results_per_commit = 0;
    double results_per_commit_p99 = 0;
    double commit_ms = 0;
  };

  double MedianOf(double Round::*of) const {
    std::vector<double> values;
    for (const Round& round : rounds_) values.push_back(round.*of);
    return Median(values);
  }

  static absl::Status CheckNoneLost(const SimulatedFleet::Counts& counts) {
    if (counts.refused == 0 && counts.failed_calls == 0) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat("fleet: ", counts.refused, " results refused and ",
                                            counts.failed_calls, " calls failed"));
  }

  absl::StatusOr<double> Metric(const std::string& name) const {
    FORALL_ASSIGN_OR_RETURN(const Samples samples, controller_->Metrics());
    double sum = 0;
    for (const auto& [sample, value] : samples) {
      if (sample == name || absl::StartsWith(sample, name + "{")) sum += value;
    }
    return sum;
  }

  absl::StatusOr<std::unique_ptr<SimulatedFleet>> StartFleet(int first, int workers,
                                                             v1::Task::Kind kind) const {
    FORALL_ASSIGN_OR_RETURN(const auto credentials, controller_->WorkerCredentials());
    return SimulatedFleet::Start({.address = controller_->address(),
                                  .credentials = credentials,
                                  .first_worker = first,
                                  .workers = workers,
                                  .devices = std::min(kDevices, workers_),
                                  .callers = options_.callers,
                                  .results_per_call = options_.results_per_call,
                                  .kinds = {kind},
                                  .artifact_sha256 = Sha256Hex(artifact_),
                                  .artifact_bytes = static_cast<int64_t>(artifact_.size())});
  }

  absl::Status MeasureIdle() {
    FORALL_RETURN_IF_ERROR(controller_->UploadArtifact(artifact_));
    FORALL_ASSIGN_OR_RETURN(const ControllerProcess::Usage alone, controller_->ReadUsage());
    FORALL_ASSIGN_OR_RETURN(fleet_, StartFleet(0, workers_, v1::Task::LATENCY));
    FORALL_RETURN_IF_ERROR(Patience(absl::Seconds(60), "idle polls", [&]() -> absl::StatusOr<bool> {
      FORALL_ASSIGN_OR_RETURN(const double parked, Metric("forall_polls_parked"));
      return parked == workers_;
    }));
    // Over a round of heartbeats.
    Clock::Real()->SleepFor(absl::Seconds(std::min(6.0, 1.5 * options_.seconds)));
    FORALL_ASSIGN_OR_RETURN(idle_, controller_->ReadUsage());
    worker_kib_ = (idle_.rss_mib - alone.rss_mib) * 1024 / workers_;
    return absl::OkStatus();
  }

  // Jobs whose trials are all proposed and exported, so that what is left of them is latencies:
  // an export is another result, which is not counted.
  absl::Status QueueLatencies() {
    // At full load in each round; at half load with its first second; and three rounds of all
    // workers.
    const double wanted = kMostPerSecond * options_.rounds * options_.seconds +
                          0.5 * kMostPerSecond * (1 + options_.seconds) +
                          3.0 * workers_ * options_.results_per_call;
    const int jobs = static_cast<int>(wanted / kTasksPerJob) + 1;
    const auto stub = v1::SearchService::NewStub(controller_->channel());
    for (int i = 0; i < jobs; ++i) {
      v1::SubmitSearchJobRequest request;
      v1::SearchJobSpec& spec = *request.mutable_spec();
      spec.set_supernet("supernets/fashion_mnist");
      v1::Objective& latency = *spec.add_objectives();
      latency.set_metric("latency_ms");
      latency.mutable_condition()->set_device(
          absl::StrCat("devices/bench-", i % std::min(kDevices, workers_)));
      spec.add_objectives()->set_metric("macs");
      spec.mutable_sampler()->set_algorithm("random");
      spec.mutable_budget()->set_max_trials(kTasksPerJob);
      spec.set_parallelism(kTasksPerJob);
      spec.set_seed(i + 1);
      spec.set_cold_start(true);
      v1::SearchJob job;
      FORALL_RETURN_IF_ERROR(
          Call(stub.get(), &v1::SearchService::Stub::SubmitSearchJob, request, &job));
    }
    // Others than those that are timed, which take latencies alone.
    FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<SimulatedFleet> exporters,
                            StartFleet(workers_, kExporters, v1::Task::EXPORT));
    exporters->WorkAtOnce();
    const int64_t tasks = int64_t{jobs} * kTasksPerJob;
    return Patience(absl::Seconds(240), "exports", [&]() -> absl::StatusOr<bool> {
      const SimulatedFleet::Counts counts = exporters->counts();
      FORALL_RETURN_IF_ERROR(CheckNoneLost(counts));
      return counts.exports == tasks;
    });
  }

  absl::StatusOr<Round> MeasureCompletions() {
    // Whatever was under way ends.
    Clock::Real()->SleepFor(absl::Milliseconds(500));
    FORALL_ASSIGN_OR_RETURN(const Samples before, controller_->Metrics());
    FORALL_ASSIGN_OR_RETURN(const ControllerProcess::Usage used, controller_->ReadUsage());
    const int64_t stored = fleet_->counts().latencies;
    const int64_t start = Clock::Real()->SteadyNanos();
    fleet_->WorkAtOnce();
    Clock::Real()->SleepFor(absl::Seconds(options_.seconds));
    const SimulatedFleet::Counts counts = fleet_->counts();
    const double seconds = 1e-9 * static_cast<double>(Clock::Real()->SteadyNanos() - start);
    FORALL_ASSIGN_OR_RETURN(const ControllerProcess::Usage now, controller_->ReadUsage());
    FORALL_ASSIGN_OR_RETURN(const Samples after, controller_->Metrics());
    fleet_->Hold();
    Round round;
    round.completions = static_cast<double>(counts.latencies - stored) / seconds;
    round.cores = (now.cpu_seconds - used.cpu_seconds) / seconds;
    const HistogramDelta results("forall_commit_results", before, after);
    round.results_per_commit = results.mean();
    round.results_per_commit_p99 = results.Quantile(0.99);
    round.commit_ms = 1e3 * HistogramDelta("forall_commit_seconds", before, after).mean();
    FORALL_ASSIGN_OR_RETURN(const double waiting, Metric("forall_tasks_waiting"));
    if (waiting > 0) return round;
    return absl::OutOfRangeError("fleet: the queue ran dry; ask for a shorter --duration");
  }

  absl::Status MeasureSqlite(SqliteLimit* sqlite, Round* round) const {
    FORALL_RETURN_IF_ERROR(sqlite->Load(kMostReplayed));
    const SqliteLimitOptions plain{.callers = std::min(options_.callers, workers_),
                                   .results_per_call = options_.results_per_call,
                                   .seconds = std::min(2.0, options_.seconds)};
    SqliteLimitOptions full_batches = plain;
    full_batches.callers_wait = false;
    SqliteLimitOptions by_job = plain;
    by_job.order = SqliteLimitOrder::kByJob;
    SqliteLimitOptions rare_checkpoints = plain;
    rare_checkpoints.checkpoint_pages = 4000;  // the store's
    FORALL_ASSIGN_OR_RETURN(round->sqlite, sqlite->Measure(plain));
    FORALL_ASSIGN_OR_RETURN(round->full_batches, sqlite->Measure(full_batches));
    FORALL_ASSIGN_OR_RETURN(round->by_job, sqlite->Measure(by_job));
    FORALL_ASSIGN_OR_RETURN(round->rare_checkpoints, sqlite->Measure(rare_checkpoints));
    round->share = round->completions / round->sqlite;
    return absl::OkStatus();
  }

  absl::Status MeasureGrants() {
    const double think =
        workers_ * options_.results_per_call / (0.5 * MedianOf(&Round::completions));
    fleet_->WorkFor(think);
    // A first round, so that workers are spread.
    Clock::Real()->SleepFor(absl::Seconds(1 + 1.5 * think));
    FORALL_ASSIGN_OR_RETURN(const Samples before, controller_->Metrics());
    const int64_t stored = fleet_->counts().latencies;
    const int64_t start = Clock::Real()->SteadyNanos();
    // Long enough that every worker polls.
    Clock::Real()->SleepFor(absl::Seconds(std::max(options_.seconds, 1.5 * think)));
    const double seconds = 1e-9 * static_cast<double>(Clock::Real()->SteadyNanos() - start);
    half_load_ = static_cast<double>(fleet_->counts().latencies - stored) / seconds;
    FORALL_ASSIGN_OR_RETURN(const Samples after, controller_->Metrics());
    const HistogramDelta grants("forall_lease_grant_seconds", before, after);
    grants_ = grants.count();
    grant_p50_ms_ = 1e3 * grants.Quantile(0.5);
    grant_p99_ms_ = 1e3 * grants.Quantile(0.99);
    if (grants_ == 0) return absl::OutOfRangeError("fleet: no grant at half load");
    return absl::OkStatus();
  }

  bool Print() const {
    std::vector<std::string> shares;
    for (const Round& round : rounds_) shares.push_back(absl::StrFormat("%.3f", round.share));
    std::vector<std::string> missed;
    if (MedianOf(&Round::share) < kBarShare) missed.push_back("completions");
    if (workers_ <= kGrantBarWorkers && grant_p99_ms_ >= kBarGrantMs) {
      missed.push_back("lease_p99");
    }
    if (workers_ <= kIdleBarWorkers && idle_.threads > kBarThreads) missed.push_back("threads");
    if (workers_ <= kIdleBarWorkers && idle_.rss_mib > kBarRssMib) missed.push_back("rss");
    std::printf(
        "%s\n",
        absl::StrCat(
            absl::StrFormat(R"({"benchmark":"fleet","workers":%d,"completions_per_second":%.0f,)"
                            R"("sqlite_limit_per_second":%.0f,"share_of_sqlite":%.3f,)"
                            R"("share_of_sqlite_by_round":[%s],)"
                            R"("sqlite_full_batches_per_second":%.0f,)"
                            R"("sqlite_by_job_per_second":%.0f,)"
                            R"("sqlite_rare_checkpoints_per_second":%.0f,)"
                            R"("rpc_limit_per_second":%.0f,)"
                            R"("callers":%d,"results_per_call":%d,)",
                            workers_, MedianOf(&Round::completions), MedianOf(&Round::sqlite),
                            MedianOf(&Round::share), absl::StrJoin(shares, ","),
                            MedianOf(&Round::full_batches), MedianOf(&Round::by_job),
                            MedianOf(&Round::rare_checkpoints), rpc_limit_,
                            std::min(options_.callers, workers_), options_.results_per_call),
            absl::StrFormat(R"("results_per_commit":%.1f,"results_per_commit_p99":%.0f,)"
                            R"("commit_ms":%.3f,"controller_cores":%.2f,)",
                            MedianOf(&Round::results_per_commit),
                            MedianOf(&Round::results_per_commit_p99), MedianOf(&Round::commit_ms),
                            MedianOf(&Round::cores)),
            absl::StrFormat(R"("lease_p50_ms":%.3f,"lease_p99_ms":%.3f,"grants":%.0f,)"
                            R"("half_load_per_second":%.0f,)",
                            grant_p50_ms_, grant_p99_ms_, grants_, half_load_),
            absl::StrFormat(
                R"("controller_threads":%d,"controller_rss_mib":%.1f,)"
                R"("idle_worker_kib":%.1f,"transport":"%s",)"
                R"("bar":"completions >= %g x sqlite; to %d workers lease_p99_ms < %g; )"
                R"(to %d idle workers <= %d threads, <= %g MiB","missed":[%s],"ok":%s})",
                idle_.threads, idle_.rss_mib, worker_kib_, options_.mtls ? "mtls" : "plaintext",
                kBarShare, kGrantBarWorkers, kBarGrantMs, kIdleBarWorkers, kBarThreads, kBarRssMib,
                missed.empty() ? "" : "\"" + absl::StrJoin(missed, "\",\"") + "\"",
                missed.empty() ? "true" : "false"))
            .c_str());
    std::fflush(stdout);
    return missed.empty();
  }

  const FleetBenchOptions options_;
  const int workers_;
  const std::string artifact_ = std::string(4096, 'm');
  std::unique_ptr<ControllerProcess> controller_;
  std::unique_ptr<SimulatedFleet> fleet_;  // before the controller goes
  ControllerProcess::Usage idle_;
  double worker_kib_ = 0;
  std::vector<Round> rounds_;
  double rpc_limit_ = 0;
  double grants_ = 0;
  double grant_p50_ms_ = 0;
  double grant_p99_ms_ = 0;
  double half_load_ = 0;
};

// Each worker takes a descriptor here and one in the controller, which inherits the limit.
absl::Status RaiseFileLimit(int workers) {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlim_t wanted = static_cast<rlim_t>(workers) + kSpareFiles;
  if (limit.rlim_cur >= wanted) return absl::OkStatus();
  if (limit.rlim_max >= wanted) {
    limit.rlim_cur = limit.rlim_max;
  } else {
    limit.rlim_cur = limit.rlim_max = wanted;  // as root, perhaps
  }
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0) return absl::OkStatus();
  getrlimit(RLIMIT_NOFILE, &limit);
  return absl::FailedPreconditionError(
      absl::StrCat("fleet: ", workers, " workers take ", wanted,
                   " open files and this machine allows ", limit.rlim_max,
                   ": raise it (ulimit -n, LimitNOFILE, --ulimit nofile of a container) or ask "
                   "for fewer with --workers"));
}

}  // namespace

absl::Status RunFleetBench(const FleetBenchOptions& options) {
  StopOrderingLibraryLocks();
  bool good = true;
  for (const int workers : options.workers) {
    FORALL_RETURN_IF_ERROR(RaiseFileLimit(workers));
    Run run(options, workers);
    FORALL_ASSIGN_OR_RETURN(const bool met, run.Do());
    good = good && met;
  }
  if (options.check && !good) return absl::OutOfRangeError("fleet: a bar is missed");
  return absl::OkStatus();
}

}  // namespace forall
