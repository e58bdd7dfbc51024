// SPDX-License-Identifier: Apache-2.0
// `forall-bench fleet`: how many workers a controller holds and how many results it stores. Workers
// are simulated, each with a connection of its own over loopback and made-up measurements; the
// controller is a real forall-controller, a process of its own with a store on disk, so that its
// threads, memory and processor time are its alone.
#ifndef FORALL_BENCH_FLEET_BENCH_H_
#define FORALL_BENCH_FLEET_BENCH_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace forall {

struct FleetBenchOptions {
  // One line each, by a controller of its own.
  std::vector<int> workers = {10, 100, 1000};
  // Completion calls under way at once while the most completions are counted, and results in each.
  int callers = 32;
  int results_per_call = 8;
  int rounds = 3;        // of completions and bare SQLite, in turn
  double seconds = 2.5;  // of each timed part
  bool mtls = false;     // workers by certificate over TLS, otherwise plain text
  std::string supernet = "supernets/fashion_mnist";
  bool check = false;  // whether a missed bar is an error (OutOfRange)
};

// For each number of workers, against one controller: its threads and memory while all of them wait
// for work; results stored per second at most, and in turn with that, `rounds` times, what a bare
// SQLite loop with the same schema, rows, callers and results per call stores (medians); how many
// empty calls the same connections carry; then how long grants take inside the controller at half
// of that rate. FailedPrecondition: more workers than the machine's limit of open files, or no
// forall-controller beside this program.
absl::Status RunFleetBench(const FleetBenchOptions& options);

}  // namespace forall

#endif  // FORALL_BENCH_FLEET_BENCH_H_
