// SPDX-License-Identifier: Apache-2.0
// A controller and workers as processes that can be killed, jobs that run while they are, and what
// must hold afterwards.
#ifndef FORALL_TESTS_FAULTS_FAULT_LAB_H_
#define FORALL_TESTS_FAULTS_FAULT_LAB_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/child_process.h"
#include "base/mutex.h"
#include "base/testing/temp_dir.h"
#include "proto/forall/v1/search_service.pb.h"
#include "tests/end_to_end/lab.h"

namespace forall::testing {

// A controller process that can be killed and started again on the same database and port. Failures
// are the test's.
class ControllerProcess {
 public:
  explicit ControllerProcess(const TempDir& dir) : dir_(dir) {}

  void Start();
  void Kill();
  void Stop() { process_->Stop(absl::Seconds(10)); }

  // HOST:PORT, "" while it is dead.
  std::string address() const;
  int port() const { return port_; }

 private:
  const TempDir& dir_;
  int life_ = 0;
  int port_ = 0;
  std::unique_ptr<ChildProcess> process_;
  mutable Mutex mu_;
  std::string address_ ABSL_GUARDED_BY(mu_);
};

// A worker process, each life with a log of its own.
class WorkerProcess {
 public:
  // The arguments of a life whose log is `log`.
  using Arguments = std::function<std::vector<std::string>(const std::string& log)>;
  WorkerProcess(const TempDir& dir, Arguments arguments)
      : dir_(dir), arguments_(std::move(arguments)) {}

  void Start();
  void Kill();
  // The processes that it has started and that run still: those that measure.
  std::vector<int> Children() const;
  // Of all lives.
  std::vector<std::string> LogLines() const;

 private:
  const TempDir& dir_;
  const Arguments arguments_;
  std::vector<std::string> logs_;
  std::unique_ptr<ChildProcess> process_;
};

// What happens while a job runs; nothing unless set.
struct Trouble {
  uint64_t seed = 99;
  // Between two kills of controller or worker.
  absl::Duration mean_life = absl::InfiniteDuration();
  // The worker repeats, reorders, drops, delays and falsifies results (scripted_worker.h).
  bool mischief = false;
  // The worker's network delays, stops and cuts (flaky_proxy.h).
  bool network = false;
};

struct Outcome {
  v1::SearchJob job;
  std::vector<v1::Trial> trials;
  v1::QueryParetoFrontierResponse frontier;
  std::map<std::string, double> acknowledged;
  // How often the controller has acknowledged a result of each task.
  std::map<std::string, int> taken;
  std::vector<std::string> faults;  // answers to a mischievous worker that should have been others
  std::vector<std::string> log;     // of the job: "kind payload"
  int controller_kills = 0;
  int worker_kills = 0;
  int64_t cuts = 0;
  int64_t stops = 0;
  std::map<std::string, int> mischiefs;  // by kind, how often
};

v1::SearchJob Submit(const v1::SearchJobSpec& spec, const std::string& address);

// Runs one job after the other with a scripted worker, all but the last undisturbed; the outcome is
// the last one's.
Outcome RunJobs(const std::vector<v1::SearchJobSpec>& specs, const Trouble& trouble);
Outcome RunJob(const v1::SearchJobSpec& spec, const Trouble& trouble);

// What was acknowledged is there, and everything once. A task whose result was acknowledged twice
// had lost the first: a scripted worker's second result is the same, so that its number alone tells
// nothing.
void ExpectNothingLostOrDoubled(const Outcome& outcome);
// The same subnets with the same numbers, and the same frontier of the same artifacts.
void ExpectTheSameFrontier(const Outcome& disturbed, const Outcome& calm);
// And every proposal, result and decision in the same order.
void ExpectTheSame(const Outcome& disturbed, const Outcome& calm);

}  // namespace forall::testing

#endif  // FORALL_TESTS_FAULTS_FAULT_LAB_H_
