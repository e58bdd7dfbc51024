// SPDX-License-Identifier: Apache-2.0
#include "bench/soak_bench.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "bench/controller_process.h"
#include "bench/simulated_fleet.h"
#include "proto/forall/v1/fleet_service.grpc.pb.h"
#include "proto/forall/v1/search_service.grpc.pb.h"

namespace forall {
namespace {

constexpr int kDevices = 4;
constexpr int kTrialsPerJob = 8;
constexpr int kListsPerRound = 20;
constexpr int kWatchersPerRound = 8;
constexpr absl::Duration kRound = absl::Seconds(2);
constexpr double kWarmUpShare = 1.0 / 3;
constexpr size_t kFewestSamples = 4;
// A trial with its events, spec, tasks and measurements, as the controller remembers it.
constexpr double kKibPerTrial = 8;
constexpr double kSpareMib = 16;
// A connection that is just being closed; a thread of gRPC's that is about to end.
constexpr int kSpareDescriptors = 4;
constexpr int kSpareThreads = 4;
constexpr double kShortestMemoryMinutes = 5;

struct Sample {
  double seconds = 0;
  int64_t trials = 0;
  ControllerProcess::Usage usage;
};

// Least squares, per hour.
double SlopePerHour(const std::vector<Sample>& samples) {
  double time = 0;
  double rss = 0;
  for (const Sample& sample : samples) {
    time += sample.seconds;
    rss += sample.usage.rss_mib;
  }
  const double count = static_cast<double>(samples.size());
  double above = 0;
  double below = 0;
  for (const Sample& sample : samples) {
    above += (sample.seconds - time / count) * (sample.usage.rss_mib - rss / count);
    below += (sample.seconds - time / count) * (sample.seconds - time / count);
  }
  return below > 0 ? 3600 * above / below : 0;
}

class Soak {
 public:
  explicit Soak(const SoakBenchOptions& options) : options_(options) {}

  absl::Status Do() {
    FORALL_ASSIGN_OR_RETURN(controller_,
                            ControllerProcess::Start(options_.supernet, /*mtls=*/false));
    const std::string artifact(4096, 's');
    FORALL_RETURN_IF_ERROR(controller_->UploadArtifact(artifact));
    artifact_sha256_ = Sha256Hex(artifact);
    artifact_bytes_ = static_cast<int64_t>(artifact.size());
    search_ = v1::SearchService::NewStub(controller_->channel());
    fleet_stub_ = v1::FleetService::NewStub(controller_->channel());
    FORALL_ASSIGN_OR_RETURN(fleet_, StartFleet(0, options_.workers));
    fleet_->WorkAtOnce();
    const int64_t start = Clock::Real()->SteadyNanos();
    const double wanted = 60 * options_.minutes;
    double seconds = 0;
    while (seconds < wanted || samples_.size() < kFewestSamples) {
      FORALL_RETURN_IF_ERROR(Round());
      FORALL_ASSIGN_OR_RETURN(Sample sample, Settle());
      seconds = 1e-9 * static_cast<double>(Clock::Real()->SteadyNanos() - start);
      sample.seconds = seconds;
      ++rounds_;
      if (seconds >= kWarmUpShare * wanted) samples_.push_back(sample);
    }
    return Judge();
  }

 private:
  absl::StatusOr<std::unique_ptr<SimulatedFleet>> StartFleet(int first, int workers) const {
    FORALL_ASSIGN_OR_RETURN(const auto credentials, controller_->WorkerCredentials());
    return SimulatedFleet::Start({.address = controller_->address(),
                                  .credentials = credentials,
                                  .first_worker = first,
                                  .workers = workers,
                                  .devices = kDevices,
                                  .kinds = {},
                                  .artifact_sha256 = artifact_sha256_,
                                  .artifact_bytes = artifact_bytes_});
  }

  absl::StatusOr<std::string> Submit() {
    v1::SubmitSearchJobRequest request;
    v1::SearchJobSpec& spec = *request.mutable_spec();
    spec.set_supernet("supernets/fashion_mnist");
    v1::Objective& latency = *spec.add_objectives();
    latency.set_metric("latency_ms");
    latency.mutable_condition()->set_device(absl::StrCat("devices/bench-", jobs_ % kDevices));
    spec.add_objectives()->set_metric("macs");
    spec.mutable_sampler()->set_algorithm("random");
    spec.mutable_budget()->set_max_trials(kTrialsPerJob);
    spec.set_seed(++jobs_);
    spec.set_cold_start(true);
    v1::SearchJob job;
    FORALL_RETURN_IF_ERROR(
        Call(search_.get(), &v1::SearchService::Stub::SubmitSearchJob, request, &job));
    return job.name();
  }

  // Reads once and goes away, or to the end.
  absl::Status Watch(const std::string& job, bool to_its_end) {
    v1::WatchSearchJobRequest request;
    request.set_name(job);
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(Clock::Real()->Now() + absl::Minutes(2)));
    const auto stream = search_->WatchSearchJob(&context, request);
    v1::SearchJobUpdate update;
    if (!stream->Read(&update)) {
      return absl::UnavailableError(
          absl::StrCat("soak: cannot watch: ", stream->Finish().error_message()));
    }
    if (!to_its_end) context.TryCancel();
    while (stream->Read(&update)) {
    }
    const grpc::Status status = stream->Finish();
    if (status.ok() || !to_its_end) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat("soak: watching: ", status.error_message()));
  }

  absl::Status ListAll(const std::string& job) {
    v1::ListSearchJobsRequest jobs;
    jobs.set_page_size(10);
    for (int page = 0; page < 2; ++page) {
      v1::ListSearchJobsResponse response;
      FORALL_RETURN_IF_ERROR(
          Call(search_.get(), &v1::SearchService::Stub::ListSearchJobs, jobs, &response));
      jobs.set_page_token(response.next_page_token());
    }
    v1::ListTrialsRequest trials;
    trials.set_parent(job);
    v1::ListTrialsResponse trials_response;
    FORALL_RETURN_IF_ERROR(
        Call(search_.get(), &v1::SearchService::Stub::ListTrials, trials, &trials_response));
    v1::QueryParetoFrontierRequest frontier;
    frontier.set_parent(job);
    v1::QueryParetoFrontierResponse frontier_response;
    FORALL_RETURN_IF_ERROR(Call(search_.get(), &v1::SearchService::Stub::QueryParetoFrontier,
                                frontier, &frontier_response));
    v1::ListWorkersResponse workers;
    return Call(fleet_stub_.get(), &v1::FleetService::Stub::ListWorkers, v1::ListWorkersRequest(),
                &workers);
  }

  absl::Status Round() {
    const int64_t start = Clock::Real()->SteadyNanos();
    FORALL_ASSIGN_OR_RETURN(std::unique_ptr<SimulatedFleet> visitors,
                            StartFleet(options_.workers, std::max(1, options_.workers / 4)));
    visitors->WorkAtOnce();
    FORALL_ASSIGN_OR_RETURN(const std::string done, Submit());
    FORALL_ASSIGN_OR_RETURN(const std::string cancelled, Submit());
    v1::CancelSearchJobRequest cancel;
    cancel.set_name(cancelled);
    v1::SearchJob job;
    const absl::Status answer =
        Call(search_.get(), &v1::SearchService::Stub::CancelSearchJob, cancel, &job);
    // It may have ended before.
    if (!answer.ok() && !absl::IsFailedPrecondition(answer)) return answer;
    for (int i = 0; i < kWatchersPerRound; ++i) {
      FORALL_RETURN_IF_ERROR(Watch(done, /*to_its_end=*/false));
    }
    for (int i = 0; i < kListsPerRound; ++i) FORALL_RETURN_IF_ERROR(ListAll(done));
    // They may hold leases: those run out, or the same worker takes them up in the next round.
    visitors.reset();
    FORALL_RETURN_IF_ERROR(Watch(done, /*to_its_end=*/true));
    const absl::Duration taken = absl::Nanoseconds(Clock::Real()->SteadyNanos() - start);
    if (taken < kRound) Clock::Real()->SleepFor(kRound - taken);
    return absl::OkStatus();
  }

  // What is used once the visitors' connections are gone.
  absl::StatusOr<Sample> Settle() {
    Sample sample;
    sample.trials = jobs_ * kTrialsPerJob;
    int last = -1;
    FORALL_RETURN_IF_ERROR(
        Patience(absl::Minutes(1), "connections to be closed", [&]() -> absl::StatusOr<bool> {
          FORALL_ASSIGN_OR_RETURN(sample.usage, controller_->ReadUsage());
          const bool still = sample.usage.descriptors == last;
          last = sample.usage.descriptors;
          return still;
        }));
    return sample;
  }

  absl::Status Judge() {
    // The least of a few samples: what is held, not what was just in use.
    const size_t few = std::max<size_t>(1, samples_.size() / 5);
    const auto least = [few](auto begin, auto value) {
      auto result = value(*begin);
      for (auto it = begin; it != begin + static_cast<int64_t>(few); ++it) {
        result = std::min(result, value(*it));
      }
      return result;
    };
    const auto last = samples_.end() - static_cast<int64_t>(few);
    const auto rss = [](const Sample& sample) { return sample.usage.rss_mib; };
    const auto descriptors = [](const Sample& sample) { return sample.usage.descriptors; };
    const auto threads = [](const Sample& sample) { return sample.usage.threads; };
    const double growth = least(last, rss) - least(samples_.begin(), rss);
    const int64_t trials = samples_.back().trials - samples_.front().trials;
    const double explained = kKibPerTrial / 1024 * static_cast<double>(trials);
    std::vector<std::string> missed;
    if (least(last, descriptors) > least(samples_.begin(), descriptors) + kSpareDescriptors) {
      missed.push_back("descriptors");
    }
    if (least(last, threads) > least(samples_.begin(), threads) + kSpareThreads) {
      missed.push_back("threads");
    }
    const bool judged = options_.minutes >= kShortestMemoryMinutes;
    if (judged && growth > explained + kSpareMib) missed.push_back("memory");
    const SimulatedFleet::Counts counts = fleet_->counts();
    std::printf(
        R"({"benchmark":"soak","minutes":%.2f,"rounds":%d,"workers":%d,"jobs":%d,)"
        R"("results":%d,"trials_after_warm_up":%d,)"
        R"("controller_rss_mib":{"first":%.1f,"last":%.1f,"slope_per_hour":%.1f},)"
        R"("rss_growth_mib":%.1f,"rss_explained_mib":%.1f,"memory_judged":%s,)"
        R"("descriptors":{"first":%d,"last":%d},"threads":{"first":%d,"last":%d},)"
        R"("bar":"rss growth <= %g KiB x trials + %g MiB from %g minutes on; descriptors +%d, threads +%d",)"
        R"("missed":[%s],"ok":%s})"
        "\n",
        samples_.back().seconds / 60, rounds_, options_.workers, static_cast<int>(jobs_),
        static_cast<int>(counts.exports + counts.latencies), static_cast<int>(trials),
        least(samples_.begin(), rss), least(last, rss), SlopePerHour(samples_), growth, explained,
        judged ? "true" : "false", least(samples_.begin(), descriptors), least(last, descriptors),
        least(samples_.begin(), threads), least(last, threads), kKibPerTrial, kSpareMib,
        kShortestMemoryMinutes, kSpareDescriptors, kSpareThreads,
        (missed.empty() ? std::string() : "\"" + absl::StrJoin(missed, "\",\"") + "\"").c_str(),
        missed.empty() ? "true" : "false");
    std::fflush(stdout);
    if (missed.empty()) return absl::OkStatus();
    return absl::OutOfRangeError(absl::StrCat("soak: grew: ", absl::StrJoin(missed, ", ")));
  }

  const SoakBenchOptions options_;
  std::unique_ptr<ControllerProcess> controller_;
  std::unique_ptr<v1::SearchService::Stub> search_;
  std::unique_ptr<v1::FleetService::Stub> fleet_stub_;
  std::unique_ptr<SimulatedFleet> fleet_;  // before the controller goes
  std::string artifact_sha256_;
  int64_t artifact_bytes_ = 0;
  int64_t jobs_ = 0;
  int rounds_ = 0;
  std::vector<Sample> samples_;  // after the warm-up
};

}  // namespace

absl::Status RunSoakBench(const SoakBenchOptions& options) { return Soak(options).Do(); }

}  // namespace forall
