// SPDX-License-Identifier: Apache-2.0
// forall-train: see --help.
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "supernet/train/train_options.h"
#include "supernet/train/trainer.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  bool help_wanted = false;
  const auto options = forall::ParseTrainOptions(arguments, &help_wanted);
  if (help_wanted) {
    std::cout << forall::TrainHelp();
    return 0;
  }
  if (!options.ok()) {
    std::cerr << "forall-train: " << options.status().message() << "\n";
    return 2;
  }
  const absl::Status status = options->runs.empty() ? forall::RunTrainer(*options)
                                                    : forall::RunAll(arguments, options->runs);
  if (!status.ok()) {
    std::cerr << "forall-train: " << status.ToString() << "\n";
    return 1;
  }
  return 0;
}
