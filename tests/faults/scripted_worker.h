// SPDX-License-Identifier: Apache-2.0
// A worker whose results are a function of the subnet alone, so that a search that was disturbed
// can be compared with one that was not. It speaks to a real controller over a real socket and
// survives its death: what was not acknowledged is done again.
#ifndef FORALL_TESTS_FAULTS_SCRIPTED_WORKER_H_
#define FORALL_TESTS_FAULTS_SCRIPTED_WORKER_H_

#include <functional>
#include <string>

#include "proto/forall/v1/fleet_service.pb.h"

namespace forall::testing {

// Works for the controller at `address`, which may come and go, until the process is killed.
// `acknowledged` is called for each accuracy (percent) and latency (milliseconds) that the
// controller has taken; `what` is "trial kind fidelity split".
[[noreturn]] void RunScriptedWorker(
    const std::string& id, const std::string& address,
    const std::function<void(const std::string& what, double value)>& acknowledged);

}  // namespace forall::testing

#endif  // FORALL_TESTS_FAULTS_SCRIPTED_WORKER_H_
