// SPDX-License-Identifier: Apache-2.0
#include "supernet/train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "supernet/package.h"
#include "supernet/train/checkpoint.h"
#include "supernet/train/depthwise.h"
#include "supernet/train/device_images.h"
#include "supernet/train/subnet_accuracy.h"
#include "supernet/train/supernet_model.h"

namespace forall {
namespace {

constexpr double kPi = 3.14159265358979323846;

void Say(const std::string& line) {
  std::fprintf(stdout, "%s\n", line.c_str());
  std::fflush(stdout);
}

std::string Minutes(double seconds) {
  const int whole = static_cast<int>(std::max(0.0, seconds) + 0.5);
  return absl::StrFormat("%dm%02ds", whole / 60, whole % 60);
}

std::vector<float> ToHost(const at::Tensor& flat) {
  const at::Tensor host = flat.to(at::kCPU).contiguous();
  const float* data = host.data_ptr<float>();
  return std::vector<float>(data, data + host.numel());
}

void FromHost(const std::vector<float>& values, const at::Tensor& flat) {
  at::Tensor host = at::empty({static_cast<int64_t>(values.size())}, at::kFloat);
  std::copy(values.begin(), values.end(), host.data_ptr<float>());
  flat.copy_(host);
}

at::Tensor ToDevice(const std::vector<int64_t>& values, at::Device device) {
  at::Tensor host = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), host.data_ptr<int64_t>());
  return host.to(device);
}

// TF32 halves the time of the matrix products in training; figures are made without it.
void AllowTf32(bool allow) {
  at::globalContext().setAllowTF32CuBLAS(allow);
  at::globalContext().setAllowTF32CuDNN(allow);
}

class TrainingRun {
 public:
  TrainingRun(const TrainOptions& options, std::shared_ptr<const Family> family,
              const TrainData& data, at::Device device, Clock* clock)
      : options_(options),
        family_(std::move(family)),
        data_(data),
        device_(device),
        clock_(clock),
        train_(*data.train, device),
        validation_(*data.validation, device),
        model_(family_, options, device),
        batch_(std::min<int64_t>(options.batch, data.train->size())),
        steps_per_epoch_(data.train->size() / batch_),
        calibration_(ToDevice(ScreeningSubset(*data.train, options.calibration_images), device)) {
    momentum_ = at::zeros_like(model_.weights());
    average_ = model_.weights().clone();
  }

  absl::Status Restore();
  absl::StatusOr<TrainResult> Run();

 private:
  struct StepLosses {
    at::Tensor largest;
    at::Tensor smallest;
  };

  StepLosses Step();
  at::Tensor NextBatch(uint64_t epoch, int64_t index);
  void Update();
  double LearningRate() const;
  double Seconds() const { return earlier_seconds_ + (clock_->SteadyNanos() - started_) * 1e-9; }
  std::string Fingerprint() const;
  absl::Status Save();
  absl::StatusOr<StepLosses> TrainUntilStopped(bool* out_of_time);
  void LogProgress(const StepLosses& losses, double step_seconds);
  absl::StatusOr<SubnetAccuracy> Measure(std::string label, const Architecture& architecture,
                                         const DeviceImages* test);
  absl::Status EvaluateExtremes();
  absl::Status MakeTable(TrainResult* result);
  absl::Status WriteTable(const TrainResult& result) const;
  absl::Status MakePackage(TrainResult* result);

  int64_t total_steps() const { return steps_per_epoch_ * options_.epochs; }
  const SearchSpace& space() const { return family_->search_space(); }

  const TrainOptions& options_;
  const std::shared_ptr<const Family> family_;
  const TrainData& data_;
  const at::Device device_;
  Clock* const clock_;
  DeviceImages train_;
  DeviceImages validation_;
  SupernetModel model_;
  const int64_t batch_;
  const int64_t steps_per_epoch_;
  const at::Tensor calibration_;
  at::Tensor momentum_;
  at::Tensor average_;
  int64_t step_ = 0;
  int64_t order_epoch_ = -1;
  at::Tensor order_;  // of the images in order_epoch_
  double earlier_seconds_ = 0;
  int64_t started_ = 0;
};

std::string TrainingRun::Fingerprint() const {
  return absl::StrCat(RecipeFlags(options_), " dataset=", data_.train->checksum(),
                      " spec=", Sha256Hex(family_->Spec()));
}

absl::Status TrainingRun::Restore() {
  FORALL_ASSIGN_OR_RETURN(const std::optional<Checkpoint> checkpoint,
                          LoadCheckpoint(options_.checkpoint_dir));
  if (!checkpoint.has_value()) {
    if (!options_.finish) return absl::OkStatus();
    return absl::FailedPreconditionError(
        absl::StrCat("--finish: ", options_.checkpoint_dir, " holds no checkpoint"));
  }
  if (checkpoint->fingerprint != Fingerprint()) {
    return absl::FailedPreconditionError(
        absl::StrCat(options_.checkpoint_dir,
                     " holds a checkpoint of another training; use its flags or another "
                     "directory.\n  checkpoint: ",
                     checkpoint->fingerprint, "\n  asked for:  ", Fingerprint()));
  }
  const size_t size = static_cast<size_t>(model_.weights().numel());
  if (checkpoint->weights.size() != size || checkpoint->momentum.size() != size ||
      checkpoint->average.size() != size) {
    return absl::DataLossError(
        absl::StrCat(options_.checkpoint_dir, " has vectors of other sizes"));
  }
  FromHost(checkpoint->weights, model_.weights());
  FromHost(checkpoint->momentum, momentum_);
  FromHost(checkpoint->average, average_);
  step_ = checkpoint->step;
  earlier_seconds_ = checkpoint->seconds;
  Say(absl::StrCat("resumed at step ", step_, " (epoch ", step_ / steps_per_epoch_, ")"));
  return absl::OkStatus();
}

absl::Status TrainingRun::Save() {
  if (options_.checkpoint_dir.empty()) return absl::OkStatus();
  return SaveCheckpoint(options_.checkpoint_dir,
                        {step_, Seconds(), Fingerprint(), ToHost(model_.weights()),
                         ToHost(momentum_), ToHost(average_)});
}

double TrainingRun::LearningRate() const {
  const double total = static_cast<double>(steps_per_epoch_) * options_.schedule_epochs;
  const double rise =
      std::min(options_.warmup_epochs * static_cast<double>(steps_per_epoch_), total / 2);
  const double now = static_cast<double>(step_);
  const bool one_cycle = options_.schedule == Schedule::kOneCycle;
  if (now < rise) {
    const double done = (now + 1) / rise;
    if (!one_cycle) return options_.lr * done;
    const double least = options_.lr / 25;
    return least + (options_.lr - least) * (1 - std::cos(kPi * done)) / 2;
  }
  const double done = std::min(1.0, (now - rise) / std::max(1.0, total - rise));
  const double least = options_.lr * 1e-4;
  return least + (options_.lr - least) * (1 + std::cos(kPi * done)) / 2;
}

at::Tensor TrainingRun::NextBatch(uint64_t epoch, int64_t index) {
  if (order_epoch_ != static_cast<int64_t>(epoch)) {
    std::vector<int64_t> order(data_.train->size());
    std::iota(order.begin(), order.end(), 0);
    Random::ForStream(options_.seed ^ Fnv1a64("order"), epoch).Shuffle(&order);
    order_ = ToDevice(order, device_);
    order_epoch_ = static_cast<int64_t>(epoch);
  }
  return order_.narrow(0, index * batch_, batch_);
}

TrainingRun::StepLosses TrainingRun::Step() {
  Random random = Random::ForStream(options_.seed ^ Fnv1a64("step"), step_);
  SeedDevice(device_, random.Next());
  const at::Tensor indices = NextBatch(step_ / steps_per_epoch_, step_ % steps_per_epoch_);
  const at::Tensor labels = train_.labels().index_select(0, indices);
  const at::Tensor bytes = train_.Augment(train_.Take(indices), options_);
  model_.gradients().zero_();

  // The descriptions of valid architectures cannot fail.
  const auto forward = [&](const Architecture& architecture, double dropout) {
    const Network network = *family_->Describe(architecture);
    const at::Tensor images = train_.Finish(bytes, static_cast<int>(network.input.height));
    return model_.TrainForward(network, images, dropout);
  };
  StepLosses losses;
  at::Tensor soft;
  {
    const at::Tensor logits = forward(space().Largest(), options_.dropout);
    const at::Tensor log_p = at::log_softmax(logits, 1);
    const at::Tensor hit = log_p.gather(1, labels.unsqueeze(1)).mean();
    const double smoothing = options_.label_smoothing;
    const at::Tensor loss = -(hit * (1 - smoothing) + log_p.mean() * smoothing);
    model_.Backward(loss);
    losses.largest = loss.detach();
    soft = log_p.detach().exp();
  }
  std::vector<Architecture> students = {space().Smallest()};
  for (int i = 0; i < options_.random_subnets; ++i) students.push_back(space().Sample(&random));
  for (const Architecture& student : students) {
    const at::Tensor log_p = at::log_softmax(forward(student, 0), 1);
    const at::Tensor loss = -(soft * log_p).sum(1).mean();
    model_.Backward(loss);
    if (!losses.smallest.defined()) losses.smallest = loss.detach();
  }
  Update();
  ++step_;
  return losses;
}

void TrainingRun::Update() {
  c10::NoGradGuard no_grad;
  const at::Tensor& weights = model_.weights();
  const at::Tensor& gradients = model_.gradients();
  gradients.div_(2 + options_.random_subnets);
  if (options_.clip_norm > 0) {
    gradients.mul_(at::clamp_max(options_.clip_norm / (gradients.norm() + 1e-6), 1.0));
  }
  gradients.add_(weights * model_.decays(), options_.weight_decay);
  momentum_.mul_(options_.momentum).add_(gradients);
  weights.sub_(gradients.add(momentum_, options_.momentum), LearningRate());
  // A short memory at the start, so that the first random weights are forgotten.
  const double steps = static_cast<double>(step_);
  const double decay = std::min(options_.ema_decay, (1 + steps) / (10 + steps));
  average_.mul_(decay).add_(weights, 1 - decay);
}

void TrainingRun::LogProgress(const StepLosses& losses, double step_seconds) {
  const double left = static_cast<double>(total_steps() - step_) * step_seconds;
  Say(absl::StrFormat(
      "epoch %d/%d step %d/%d loss %.4f smallest %.4f lr %.4f %.1f ms/step elapsed %s ETA %s",
      (step_ - 1) / steps_per_epoch_ + 1, options_.epochs, step_, total_steps(),
      losses.largest.item<float>(), losses.smallest.item<float>(), LearningRate(),
      step_seconds * 1e3, Minutes(Seconds()), Minutes(left)));
}

absl::StatusOr<TrainingRun::StepLosses> TrainingRun::TrainUntilStopped(bool* out_of_time) {
  StepLosses losses;
  int64_t logged_at = clock_->SteadyNanos();
  int64_t logged_step = step_;
  *out_of_time = false;
  while (step_ < total_steps()) {
    losses = Step();
    const bool epoch_over = step_ % steps_per_epoch_ == 0;
    const int64_t epoch = step_ / steps_per_epoch_;
    if (step_ % options_.log_every == 0 || step_ == total_steps()) {
      // Reading the loss waits for the device, so that the time below is of finished steps.
      if (!std::isfinite(losses.largest.item<float>() + losses.smallest.item<float>())) {
        return absl::InternalError(absl::StrCat("the loss is not finite at step ", step_,
                                                ": try a lower --lr or --clip-norm"));
      }
      const int64_t now = clock_->SteadyNanos();
      LogProgress(losses, (now - logged_at) * 1e-9 / static_cast<double>(step_ - logged_step));
      logged_at = now;
      logged_step = step_;
    }
    *out_of_time = options_.time_limit_seconds > 0 &&
                   (clock_->SteadyNanos() - started_) * 1e-9 >= options_.time_limit_seconds;
    if (*out_of_time) break;
    if (epoch_over && epoch % options_.checkpoint_every == 0) FORALL_RETURN_IF_ERROR(Save());
    if (epoch_over && options_.eval_every > 0 && epoch % options_.eval_every == 0) {
      FORALL_RETURN_IF_ERROR(EvaluateExtremes());
    }
  }
  return losses;
}

absl::StatusOr<SubnetAccuracy> TrainingRun::Measure(std::string label,
                                                    const Architecture& architecture,
                                                    const DeviceImages* test) {
  FORALL_ASSIGN_OR_RETURN(const Network network, family_->Describe(architecture));
  const NetworkStatistics statistics =
      Calibrate(model_, average_, network, train_, calibration_, options_.calibration_batch);
  SubnetAccuracy accuracy = {std::move(label), architecture};
  accuracy.validation = Accuracy(model_, average_, network, statistics, validation_);
  if (test != nullptr) accuracy.test = Accuracy(model_, average_, network, statistics, *test);
  return accuracy;
}

absl::Status TrainingRun::EvaluateExtremes() {
  AllowTf32(false);
  FORALL_ASSIGN_OR_RETURN(const SubnetAccuracy largest,
                          Measure("largest", space().Largest(), nullptr));
  FORALL_ASSIGN_OR_RETURN(const SubnetAccuracy smallest,
                          Measure("smallest", space().Smallest(), nullptr));
  AllowTf32(true);
  Say(absl::StrFormat("validation at epoch %d: largest %.2f %%, smallest %.2f %%",
                      step_ / steps_per_epoch_, largest.validation * 100,
                      smallest.validation * 100));
  return absl::OkStatus();
}

absl::Status TrainingRun::MakeTable(TrainResult* result) {
  std::unique_ptr<DeviceImages> test;
  if (options_.test) test = std::make_unique<DeviceImages>(*data_.test, device_);
  std::vector<std::pair<std::string, Architecture>> rows = {{"largest", space().Largest()},
                                                            {"smallest", space().Smallest()}};
  Random random = Random::ForStream(options_.seed, Fnv1a64("table"));
  for (int i = 0; i < options_.table_subnets; ++i) {
    rows.emplace_back(absl::StrCat("random ", i + 1), space().Sample(&random));
  }
  Say("subnet        validation %    test %");
  for (auto& [label, architecture] : rows) {
    FORALL_ASSIGN_OR_RETURN(SubnetAccuracy accuracy, Measure(label, architecture, test.get()));
    Say(absl::StrFormat("%-12s  %12.2f  %8s", label, accuracy.validation * 100,
                        accuracy.test < 0 ? "-" : absl::StrFormat("%.2f", accuracy.test * 100)));
    result->table.push_back(std::move(accuracy));
  }
  return options_.table.empty() ? absl::OkStatus() : WriteTable(*result);
}

absl::Status TrainingRun::WriteTable(const TrainResult& result) const {
  nlohmann::ordered_json table;
  for (const SubnetAccuracy& row : result.table) {
    nlohmann::ordered_json json;
    json["subnet"] = row.label;
    json["validation"] = row.validation;
    if (row.test >= 0) json["test"] = row.test;
    json["architecture"] = nlohmann::ordered_json::parse(space().ToJson(row.architecture));
    table["subnets"].push_back(json);
  }
  table["package_sha256"] = result.package_hash;
  return WriteFileAtomically(options_.table, table.dump(2) + "\n");
}

absl::Status TrainingRun::MakePackage(TrainResult* result) {
  FORALL_ASSIGN_OR_RETURN(const Network largest, family_->Describe(space().Largest()));
  const NetworkStatistics statistics =
      Calibrate(model_, average_, largest, train_, calibration_, options_.calibration_batch);
  PackageOptions package;
  package.precision = SafetensorsType::kF16;
  package.dataset = data_.train->name();
  package.notes = {
      {"trainer", "forall-train: sandwich rule, in-place distillation, averaged weights"},
      {"recipe", RecipeFlags(options_)},
      {"seed", absl::StrCat(options_.seed)},
      {"steps", absl::StrCat(step_)},
      {"epochs",
       absl::StrFormat("%.2f", static_cast<double>(step_) / static_cast<double>(steps_per_epoch_))},
      {"training_seconds", absl::StrFormat("%.0f", earlier_seconds_)},
      {"dataset_train_sha256", data_.train->checksum()},
      {"dataset_validation_sha256", data_.validation->checksum()},
      {"calibration", absl::StrCat(options_.calibration_images, " training images in batches of ",
                                   options_.calibration_batch)},
  };
  FORALL_ASSIGN_OR_RETURN(result->package_hash,
                          WritePackage(options_.package, *family_,
                                       model_.Export(average_, largest, statistics), package));
  Say(absl::StrCat("package ", options_.package, " sha256=", result->package_hash));
  return absl::OkStatus();
}

absl::StatusOr<TrainResult> TrainingRun::Run() {
  started_ = clock_->SteadyNanos();
  TrainResult result;
  bool out_of_time = false;
  AllowTf32(true);
  if (!options_.finish && step_ < total_steps()) {
    FORALL_ASSIGN_OR_RETURN(const StepLosses losses, TrainUntilStopped(&out_of_time));
    result.last_loss = losses.largest.item<float>();
    FORALL_RETURN_IF_ERROR(Save());
    earlier_seconds_ = Seconds();
    started_ = clock_->SteadyNanos();
  }
  result.step = step_;
  result.seconds = earlier_seconds_;
  if (out_of_time) {
    Say(absl::StrCat("time limit: stopped at step ", step_, " of ", total_steps(),
                     "; go on with --resume"));
    return result;
  }
  result.complete = true;
  AllowTf32(false);
  if (!options_.package.empty()) FORALL_RETURN_IF_ERROR(MakePackage(&result));
  FORALL_RETURN_IF_ERROR(MakeTable(&result));
  return result;
}

absl::StatusOr<at::Device> OpenDevice(const TrainOptions& options) {
  if (options.device == "cpu") return at::Device(at::kCPU);
  if (!at::globalContext().hasCUDA()) {
    return absl::FailedPreconditionError(
        "--device cuda: this LibTorch sees no CUDA device; use --device cpu or a CUDA build");
  }
  at::globalContext().setBenchmarkCuDNN(options.cudnn_benchmark);
  return at::Device(at::kCUDA, 0);
}

}  // namespace

absl::StatusOr<TrainResult> Train(const TrainOptions& options,
                                  const std::shared_ptr<const Family>& family,
                                  const TrainData& data, Clock* clock) {
  if (data.train->channels() != family->input_channels() ||
      data.train->classes() != family->classes()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "dataset ", data.train->name(), " has ", data.train->channels(), " channels and ",
        data.train->classes(), " classes; the search space ", family->search_space().id(), " has ",
        family->input_channels(), " and ", family->classes()));
  }
  if (!data.train->stored_pixels().has_value()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "dataset ", data.train->name(),
        " is a folder of image files, which forall-train cannot "
        "train on: it keeps all images on the training device. Train on a dataset of small images "
        "(idx, cifar10, cifar100), or import a supernet that was trained elsewhere"));
  }
  if (options.depthwise == DepthwiseMethod::kCustom && !HasCustomDepthwise()) {
    return absl::FailedPreconditionError("--depthwise custom: this build has no CUDA kernels");
  }
  try {
    FORALL_ASSIGN_OR_RETURN(const at::Device device, OpenDevice(options));
    TrainingRun run(options, family, data, device, clock);
    if (options.resume || options.finish) FORALL_RETURN_IF_ERROR(run.Restore());
    return run.Run();
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("LibTorch: ", error.what()));
  }
}

absl::Status RunTrainer(const TrainOptions& options) {
  if (options.check_depthwise) {
    try {
      FORALL_ASSIGN_OR_RETURN(const at::Device device, OpenDevice(options));
      return CheckDepthwise(device);
    } catch (const std::exception& error) {
      return absl::InternalError(absl::StrCat("LibTorch: ", error.what()));
    }
  }
  absl::StatusOr<std::shared_ptr<const Family>> family = FindFamily(options.family);
  if (!options.spec.empty()) {
    FORALL_ASSIGN_OR_RETURN(const std::string spec, ReadFile(options.spec, 1 << 20));
    family = FamilyFromSpec(spec);
    if (!family.ok()) return WithContext(family.status(), options.spec);
  }
  FORALL_RETURN_IF_ERROR(family.status());
  TrainData data;
  FORALL_ASSIGN_OR_RETURN(data.train, OpenDataset(options.dataset, Split::kTrain, options.data));
  FORALL_ASSIGN_OR_RETURN(data.validation,
                          OpenDataset(options.dataset, Split::kValidation, options.data));
  if (options.test) {
    FORALL_ASSIGN_OR_RETURN(data.test, OpenDataset(options.dataset, Split::kTest, options.data));
  }
  FORALL_ASSIGN_OR_RETURN(const TrainResult result, Train(options, *family, data, Clock::Real()));
  Say(absl::StrFormat("%s after %d steps, %s of training", result.complete ? "done" : "stopped",
                      result.step, Minutes(result.seconds)));
  return absl::OkStatus();
}

}  // namespace forall
