// SPDX-License-Identifier: Apache-2.0
// A worker whose results are a function of the subnet alone, so that a search that was disturbed
// can be compared with one that was not. It speaks to a real controller over a real socket and
// survives its death: what was not acknowledged is done again.
#ifndef FORALL_TESTS_FAULTS_SCRIPTED_WORKER_H_
#define FORALL_TESTS_FAULTS_SCRIPTED_WORKER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "proto/forall/v1/fleet_service.pb.h"

namespace forall::testing {

// Works for the controller at `address`, which may come and go, until the process is killed.
// `acknowledged` is called for each accuracy (percent) and latency (milliseconds) that the
// controller has taken; `what` is "trial kind fidelity split". And for every result, parts and
// exports included, with "taken TASK".
//
// With a seed for `mischief` it takes several tasks at a time and, by chance, reports them in
// another order, repeats a result that was taken, sends another one under the same lease, uses
// leases that never were, gives tasks back, drops them without a word, holds them longer than the
// lease, and reports numbers that cannot be. `acknowledged` is called with "mischief KIND" for
// each, and with "fault WHAT" when an answer is not the one that fleet_service.proto promises.
[[noreturn]] void RunScriptedWorker(
    const std::string& id, const std::string& address,
    const std::function<void(const std::string& what, double value)>& acknowledged,
    std::optional<uint64_t> mischief = std::nullopt);

}  // namespace forall::testing

#endif  // FORALL_TESTS_FAULTS_SCRIPTED_WORKER_H_
