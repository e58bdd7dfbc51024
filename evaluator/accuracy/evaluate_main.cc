// SPDX-License-Identifier: Apache-2.0
// forall-evaluate: accuracy on real images, without a controller. Of one ONNX model, or of subnets
// of a supernet package: largest, smallest and as many random ones as asked for. JSON lines out.
#include <cstdint>
#include <iostream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "data/dataset.h"
#include "evaluator/accuracy/accuracy_evaluator.h"
#include "latency/measure/host_lock.h"
#include "nlohmann/json.hpp"
#include "runtime/onnx_session.h"
#include "space/cost_model.h"
#include "supernet/export.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

struct EvaluateOptions {
  std::string model;
  std::string supernet;
  std::string dataset = "fashion_mnist";
  std::string data = "build/deps";
  std::string split = "validation";
  int64_t images = 0;
  int64_t random_subnets = 0;
  uint64_t seed = 1;
  int64_t calibration_images = 2000;
};

// Beside accuracy work of other programs, but never while one of them times a model. Held subnet by
// subnet, so that a timing need not wait for the last.
absl::StatusOr<HostLock::Holder> KeepTimingsOut() {
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<HostLock> lock,
                          HostLock::Open(HostLock::Options{}));
  return lock->AcquireShared();
}

// Evaluates one exported file and fills the figures in.
absl::Status AddAccuracy(const std::string& model, int resolution, const Dataset& dataset,
                         const EvaluateOptions& options, Json* line) {
  const std::vector<int64_t> indices =
      ScreeningSubset(dataset, options.images > 0 ? options.images : dataset.size());
  const int64_t start = Clock::Real()->SteadyNanos();
  FORALL_ASSIGN_OR_RETURN(const Accuracy accuracy,
                          EvaluateAccuracy(model, dataset, indices, resolution, AccuracyOptions{}));
  const double images = static_cast<double>(accuracy.images);
  (*line)["split"] = SplitName(dataset.split());
  (*line)["images"] = accuracy.images;
  (*line)["top1"] = 100.0 * static_cast<double>(accuracy.top1_correct) / images;
  (*line)["top5"] = 100.0 * static_cast<double>(accuracy.top5_correct) / images;
  (*line)["seconds"] = static_cast<double>(Clock::Real()->SteadyNanos() - start) * 1e-9;
  return absl::OkStatus();
}

absl::Status EvaluateModel(const EvaluateOptions& options, const Dataset& dataset) {
  FORALL_ASSIGN_OR_RETURN(const std::string model, ReadFile(options.model));
  FORALL_ASSIGN_OR_RETURN(const auto session, OnnxSession::Create(model, SessionOptions{}));
  const std::vector<int64_t>& shape = session->input_shape(0);
  if (shape.size() != 4 || shape[2] <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.model, ": the input must be [batch, channels, height, width]"));
  }
  FORALL_ASSIGN_OR_RETURN(const HostLock::Holder holder, KeepTimingsOut());
  Json line;
  line["model"] = options.model;
  line["sha256"] = Sha256Hex(model);
  FORALL_RETURN_IF_ERROR(AddAccuracy(model, static_cast<int>(shape[2]), dataset, options, &line));
  std::cout << line.dump() << std::endl;
  return absl::OkStatus();
}

absl::Status EvaluateSubnet(const std::string& name, const Architecture& architecture,
                            const Supernet& supernet, const Dataset& train, const Dataset& dataset,
                            const EvaluateOptions& options) {
  FORALL_ASSIGN_OR_RETURN(const HostLock::Holder holder, KeepTimingsOut());
  CalibrationOptions calibration;
  calibration.images = options.calibration_images;
  SessionOptions session;
  session.intra_op_threads = UsableCores();
  FORALL_ASSIGN_OR_RETURN(
      const ExportedSubnet subnet,
      ExportSubnet(supernet, architecture, train, calibration, DeploymentRecipe{}, session));
  FORALL_ASSIGN_OR_RETURN(const Network network, supernet.family().Describe(architecture));
  const Costs costs = CountCosts(network);
  Json line;
  line["subnet"] = name;
  line["arch_key"] = subnet.arch_key;
  line["macs"] = costs.macs;
  line["params"] = costs.params;
  FORALL_RETURN_IF_ERROR(
      AddAccuracy(subnet.bytes, static_cast<int>(network.input.height), dataset, options, &line));
  std::cout << line.dump() << std::endl;
  return absl::OkStatus();
}

absl::Status EvaluateSupernet(const EvaluateOptions& options, const Dataset& dataset) {
  FORALL_ASSIGN_OR_RETURN(const auto supernet, Supernet::Load(options.supernet));
  FORALL_ASSIGN_OR_RETURN(const auto train,
                          OpenDataset(options.dataset, Split::kTrain, options.data));
  const SearchSpace& space = supernet->family().search_space();
  FORALL_RETURN_IF_ERROR(
      EvaluateSubnet("largest", space.Largest(), *supernet, *train, dataset, options));
  FORALL_RETURN_IF_ERROR(
      EvaluateSubnet("smallest", space.Smallest(), *supernet, *train, dataset, options));
  Random random(options.seed);
  for (int64_t i = 1; i <= options.random_subnets; ++i) {
    FORALL_RETURN_IF_ERROR(EvaluateSubnet(absl::StrCat("random ", i), space.Sample(&random),
                                          *supernet, *train, dataset, options));
  }
  return absl::OkStatus();
}

absl::Status Evaluate(const EvaluateOptions& options) {
  FORALL_ASSIGN_OR_RETURN(const Split split, ParseSplit(options.split));
  FORALL_ASSIGN_OR_RETURN(const auto dataset, OpenDataset(options.dataset, split, options.data));
  if (!options.model.empty()) return EvaluateModel(options, *dataset);
  return EvaluateSupernet(options, *dataset);
}

}  // namespace
}  // namespace forall

int main(int argc, char** argv) {
  forall::EvaluateOptions options;
  CLI::App app{"forall-evaluate: accuracy of a model, or of a supernet's subnets, on real images"};
  auto* model = app.add_option("--model", options.model, "ONNX file, e.g. quickstart/model.onnx");
  auto* supernet =
      app.add_option("--supernet", options.supernet, "Package, e.g. supernets/fashion_mnist");
  model->excludes(supernet);
  app.add_option("--dataset", options.dataset, "Dataset by name")->capture_default_str();
  app.add_option("--data", options.data, "Folder that holds it")->capture_default_str();
  app.add_option("--split", options.split, "train, validation or test")->capture_default_str();
  app.add_option("--images", options.images, "First images of the screening order; 0: all")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()));
  app.add_option("--random", options.random_subnets, "Random subnets, besides largest and smallest")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()));
  app.add_option("--seed", options.seed, "Which random subnets")
      ->check(CLI::Range(int64_t{0}, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  app.add_option("--calibration-images", options.calibration_images, "Training images")
      ->check(CLI::Range(int64_t{1}, std::numeric_limits<int64_t>::max()))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  if (options.model.empty() && options.supernet.empty()) {
    std::cerr << "forall-evaluate: give --model FILE or --supernet FOLDER; --help says more\n";
    return 2;
  }
  const absl::Status status = forall::Evaluate(options);
  if (status.ok()) return 0;
  std::cerr << "forall-evaluate: " << std::string(status.message()) << "\n";
  return 1;
}
