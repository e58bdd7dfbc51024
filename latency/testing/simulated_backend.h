// SPDX-License-Identifier: Apache-2.0
// A device made of numbers, for tests: running a model advances a FakeClock by what the script
// says. A model's bytes are the name under which its script was added.
#ifndef FORALL_LATENCY_TESTING_SIMULATED_BACKEND_H_
#define FORALL_LATENCY_TESTING_SIMULATED_BACKEND_H_

#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/random.h"
#include "latency/backend/backend.h"

namespace forall::testing {

// Not thread-safe: one harness, one thread.
class SimulatedBackend : public LatencyBackend {
 public:
  struct Script {
    double duration_ns = 1e6;
    // Multiplies the duration of the model's run number `run` (from 0) in its session.
    std::function<double(int run)> factor = [](int) { return 1.0; };
    // The session's run of this number fails; -1 for none.
    int failing_run = -1;
  };

  SimulatedBackend(FakeClock* clock, uint64_t seed) : clock_(clock), random_(seed) {}

  void Add(const std::string& name, Script script) { scripts_[name] = std::move(script); }

  absl::StatusOr<std::unique_ptr<PreparedModel>> Prepare(absl::string_view model,
                                                         SessionMemory memory) override {
    const auto found = scripts_.find(std::string(model));
    if (found == scripts_.end()) {
      return absl::InvalidArgumentError(absl::StrCat("no operator for ", model));
    }
    memories.push_back(memory);
    const double luck = std::exp(session_noise * random_.Gaussian());
    return std::unique_ptr<PreparedModel>(new Model(this, found->second, luck));
  }

  BackendDescription Describe() const override {
    return {.runtime = "simulated", .runtime_version = "1", .provider = "cpu"};
  }

  // Relative standard deviation of a run, and of a session's speed.
  double noise = 0;
  double session_noise = 0;
  // One run in so many (on average) takes this many times as long; 0 for none.
  double spike_probability = 0;
  double spike_factor = 10;
  // First-order autoregressive noise common to all models, by its coefficient and innovation.
  double slow_noise_memory = 0;
  double slow_noise = 0;
  // Everything takes this many times as long at a time (since the clock's start).
  std::function<double(double seconds)> slowdown = [](double) { return 1.0; };

  // What was prepared, in order.
  std::vector<SessionMemory> memories;
  int64_t runs = 0;

 private:
  class Model : public PreparedModel {
   public:
    Model(SimulatedBackend* device, Script script, double luck)
        : device_(device), script_(std::move(script)), luck_(luck) {}
    absl::Status Run() override {
      if (run_ == script_.failing_run) return absl::InternalError("the device is gone");
      const double factor = script_.factor(run_++) * luck_;
      device_->Spend(script_.duration_ns * factor);
      return absl::OkStatus();
    }

   private:
    SimulatedBackend* const device_;
    const Script script_;
    const double luck_;
    int run_ = 0;
  };

  void Spend(double duration_ns) {
    ++runs;
    slow_state_ = slow_noise_memory * slow_state_ + slow_noise * random_.Gaussian();
    duration_ns *= std::exp(noise * random_.Gaussian() + slow_state_);
    duration_ns *= slowdown(static_cast<double>(clock_->SteadyNanos()) * 1e-9);
    if (spike_probability > 0 && random_.Bernoulli(spike_probability)) duration_ns *= spike_factor;
    clock_->Advance(absl::Nanoseconds(duration_ns));
  }

  FakeClock* const clock_;
  Random random_;
  double slow_state_ = 0;
  std::map<std::string, Script> scripts_;
};

}  // namespace forall::testing

#endif  // FORALL_LATENCY_TESTING_SIMULATED_BACKEND_H_
