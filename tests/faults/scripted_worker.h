// SPDX-License-Identifier: Apache-2.0
// A worker whose results are a function of the subnet alone, so that a search that was disturbed
// can be compared with one that was not. It speaks to a real controller over a real socket and
// survives its death: what was not acknowledged is sent again.
#ifndef FORALL_TESTS_FAULTS_SCRIPTED_WORKER_H_
#define FORALL_TESTS_FAULTS_SCRIPTED_WORKER_H_

#include <atomic>
#include <functional>
#include <map>
#include <string>

#include "base/mutex.h"
#include "base/thread.h"
#include "proto/forall/v1/fleet_service.pb.h"

namespace forall::testing {

// Thread-safe. Works from construction to Stop().
class ScriptedWorker {
 public:
  // `address` is asked before every connection: a controller that was restarted may listen
  // elsewhere.
  // "" means that none is up.
  ScriptedWorker(std::string id, std::function<std::string()> address);
  ~ScriptedWorker() { Stop(); }

  void Stop();

  // Acknowledged results: "trial kind fidelity split" -> value (percent or milliseconds).
  std::map<std::string, double> Acknowledged() const;

 private:
  struct Session;
  void Work();
  bool WorkOnce(Session* session);

  const std::string id_;
  const std::function<std::string()> address_;
  std::atomic<bool> stopping_{false};
  mutable Mutex mu_;
  std::map<std::string, double> acknowledged_ ABSL_GUARDED_BY(mu_);
  Thread thread_;
};

// What the worker reports for a task; also used to check what the controller kept.
double ScriptedAccuracy(const v1::Task& task);  // percent
double ScriptedLatencyRatio(const v1::Task& task);

}  // namespace forall::testing

#endif  // FORALL_TESTS_FAULTS_SCRIPTED_WORKER_H_
