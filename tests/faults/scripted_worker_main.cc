// SPDX-License-Identifier: Apache-2.0
// scripted-worker CONTROLLER LOG [SEED]: the scripted worker as a process that tests can kill, with
// mischief by SEED. Appends a line "what<TAB>value" to LOG for every result that the controller
// acknowledged.
#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <iostream>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "tests/faults/scripted_worker.h"

int main(int argc, char** argv) {
  uint64_t seed = 0;
  if (argc < 3 || argc > 4 || (argc == 4 && !absl::SimpleAtoi(argv[3], &seed))) {
    std::cerr << "usage: scripted-worker CONTROLLER LOG [SEED]\n";
    return 2;
  }
  const int log = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0) {
    std::cerr << "cannot write " << argv[2] << "\n";
    return 1;
  }
  forall::testing::RunScriptedWorker(
      "scripted", argv[1],
      [log](const std::string& what, double value) {
        const std::string line = absl::StrFormat("%s\t%.17g\n", what, value);
        // One call, so that a killed process leaves no half of a line.
        if (write(log, line.data(), line.size()) < 0) _exit(1);
      },
      argc == 4 ? std::optional<uint64_t>(seed) : std::nullopt);
}
