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
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "space/cost_model.h"
#include "space/identity.h"
#include "supernet/package.h"
#include "supernet/train/checkpoint.h"
#include "supernet/train/curriculum.h"
#include "supernet/train/depthwise.h"
#include "supernet/train/device_images.h"
#include "supernet/train/run_report.h"
#include "supernet/train/subnet_accuracy.h"
#include "supernet/train/supernet_model.h"

namespace forall {
namespace {

void Say(const std::string& line) {
  std::fprintf(stdout, "%s\n", line.c_str());
  std::fflush(stdout);
}

std::string Minutes(double seconds) {
  const int whole = static_cast<int>(std::max(0.0, seconds) + 0.5);
  return absl::StrFormat("%dm%02ds", whole / 60, whole % 60);
}

// 0 of nothing.
double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
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

// A network of the table: the same for every training with the same --table-seed.
Architecture TableSubnet(const TrainOptions& options, const SearchSpace& space, int number) {
  Random random = Random::ForStream(options.table_seed, Fnv1a64("table"));
  Architecture architecture = space.Sample(&random);
  for (int i = 1; i < number; ++i) architecture = space.Sample(&random);
  return architecture;
}

// What --architecture means.
absl::StatusOr<Architecture> ChosenArchitecture(const TrainOptions& options, const Family& family) {
  const SearchSpace& space = family.search_space();
  absl::string_view text = options.architecture;
  if (text == "largest") return space.Largest();
  if (text == "smallest") return space.Smallest();
  int number = 0;
  if (absl::ConsumePrefix(&text, "random-") && absl::SimpleAtoi(text, &number) && number > 0 &&
      number <= 1000) {
    return TableSubnet(options, space, number);
  }
  std::string json = options.architecture;
  if (!json.empty() && json[0] != '{') {
    const absl::StatusOr<std::string> read = ReadFile(json, 1 << 20);
    if (!read.ok()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--architecture: \"", options.architecture,
          "\" must be largest, smallest, random-N, JSON or its file: ", read.status().message()));
    }
    json = *read;
  }
  absl::StatusOr<Architecture> architecture = family.ParseArchitecture(json);
  if (!architecture.ok()) return WithContext(architecture.status(), "--architecture");
  return space.Canonical(*architecture);
}

class TrainingRun {
 public:
  // `alone` is the architecture of TrainMethod::kAlone.
  TrainingRun(const TrainOptions& options, std::shared_ptr<const Family> family,
              const TrainData& data, std::optional<Architecture> alone, at::Device device,
              Clock* clock)
      : options_(options),
        family_(std::move(family)),
        data_(data),
        alone_(std::move(alone)),
        device_(device),
        clock_(clock),
        train_(*data.train, device),
        validation_(*data.validation, device),
        model_(family_, options, device),
        batch_(std::min<int64_t>(options.batch, data.train->size())),
        steps_per_epoch_(data.train->size() / batch_),
        phases_(PlanPhases(options, family_->search_space(), steps_per_epoch_)),
        calibration_(ToDevice(ScreeningSubset(*data.train, options.calibration_images), device)) {
    momentum_ = at::zeros_like(model_.weights());
    average_ = model_.weights().clone();
  }

  absl::Status Restore();
  absl::StatusOr<TrainResult> Run();

 private:
  struct StepLosses {
    at::Tensor main;      // of the largest subnet; in later phases of shrinking the mean of all
    at::Tensor smallest;  // sandwich only
  };
  // Of one step: augmented images at their native size, and what they show.
  struct StepImages {
    at::Tensor bytes;
    at::Tensor labels;
  };

  StepLosses Step();
  StepLosses SandwichStep(const StepImages& images, Random* random);
  StepLosses PhaseStep(const Phase& phase, const StepImages& images, Random* random);
  void EnterPhase(const Phase& phase);
  at::Tensor LabelLoss(const at::Tensor& log_p, const at::Tensor& labels) const;
  at::Tensor TrainLogits(const Architecture& architecture, const StepImages& images,
                         double dropout);
  at::Tensor NextBatch(uint64_t epoch, int64_t index);
  void Update(int subnets);
  double Seconds() const { return earlier_seconds_ + (clock_->SteadyNanos() - started_) * 1e-9; }
  std::string Fingerprint() const;
  absl::Status Save();
  absl::StatusOr<StepLosses> TrainUntilStopped(bool* out_of_time);
  void LogProgress(const StepLosses& losses, double step_seconds);
  absl::StatusOr<SubnetAccuracy> Measure(std::string label, const Architecture& architecture,
                                         const DeviceImages* test);
  absl::Status EvaluateExtremes();
  absl::Status MakeTable(TrainResult* result);
  absl::Status MakePackage(TrainResult* result);

  int64_t total_steps() const { return steps_per_epoch_ * options_.epochs; }
  const SearchSpace& space() const { return family_->search_space(); }

  const TrainOptions& options_;
  const std::shared_ptr<const Family> family_;
  const TrainData& data_;
  const std::optional<Architecture> alone_;
  const at::Device device_;
  Clock* const clock_;
  DeviceImages train_;
  DeviceImages validation_;
  SupernetModel model_;
  const int64_t batch_;
  const int64_t steps_per_epoch_;
  const std::vector<Phase> phases_;
  const at::Tensor calibration_;
  at::Tensor momentum_;
  at::Tensor average_;
  at::Tensor teacher_;  // undefined before the second phase of progressive shrinking
  int64_t step_ = 0;
  int64_t order_epoch_ = -1;
  at::Tensor order_;  // of the images in order_epoch_
  double earlier_seconds_ = 0;
  int64_t started_ = 0;
  std::vector<double> step_seconds_;  // of each span between progress lines
};

std::string TrainingRun::Fingerprint() const {
  return absl::StrCat(RecipeFlags(options_), " dataset=", data_.train->checksum(),
                      " spec=", Sha256Hex(family_->Spec()),
                      alone_.has_value() ? " subnet=" + ArchKey(space(), *alone_) : "");
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
  const bool taught = !checkpoint->teacher.empty();
  if (checkpoint->weights.size() != size || checkpoint->momentum.size() != size ||
      checkpoint->average.size() != size || (taught && checkpoint->teacher.size() != size)) {
    return absl::DataLossError(
        absl::StrCat(options_.checkpoint_dir, " has vectors of other sizes"));
  }
  FromHost(checkpoint->weights, model_.weights());
  FromHost(checkpoint->momentum, momentum_);
  FromHost(checkpoint->average, average_);
  if (taught) {
    teacher_ = at::empty_like(average_);
    FromHost(checkpoint->teacher, teacher_);
  }
  step_ = checkpoint->step;
  earlier_seconds_ = checkpoint->seconds;
  Say(absl::StrCat("resumed at step ", step_, " (epoch ", step_ / steps_per_epoch_, ")"));
  return absl::OkStatus();
}

absl::Status TrainingRun::Save() {
  if (options_.checkpoint_dir.empty()) return absl::OkStatus();
  return SaveCheckpoint(
      options_.checkpoint_dir,
      {step_, Seconds(), Fingerprint(), ToHost(model_.weights()), ToHost(momentum_),
       ToHost(average_), teacher_.defined() ? ToHost(teacher_) : std::vector<float>()});
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

at::Tensor TrainingRun::LabelLoss(const at::Tensor& log_p, const at::Tensor& labels) const {
  const at::Tensor hit = log_p.gather(1, labels.unsqueeze(1)).mean();
  const double smoothing = options_.label_smoothing;
  return -(hit * (1 - smoothing) + log_p.mean() * smoothing);
}

// The descriptions of valid architectures cannot fail.
at::Tensor TrainingRun::TrainLogits(const Architecture& architecture, const StepImages& images,
                                    double dropout) {
  const Network network = *family_->Describe(architecture);
  const int resolution = static_cast<int>(network.input.height);
  return model_.TrainForward(network, train_.Finish(images.bytes, resolution), dropout);
}

TrainingRun::StepLosses TrainingRun::SandwichStep(const StepImages& images, Random* random) {
  StepLosses losses;
  at::Tensor soft;
  {
    const at::Tensor log_p =
        at::log_softmax(TrainLogits(space().Largest(), images, options_.dropout), 1);
    const at::Tensor loss = LabelLoss(log_p, images.labels);
    model_.Backward(loss);
    losses.main = loss.detach();
    soft = log_p.detach().exp();
  }
  std::vector<Architecture> students = {space().Smallest()};
  for (int i = 0; i < options_.random_subnets; ++i) students.push_back(space().Sample(random));
  for (const Architecture& student : students) {
    const at::Tensor log_p = at::log_softmax(TrainLogits(student, images, 0), 1);
    const at::Tensor loss = -(soft * log_p).sum(1).mean();
    model_.Backward(loss);
    if (!losses.smallest.defined()) losses.smallest = loss.detach();
  }
  Update(2 + options_.random_subnets);
  return losses;
}

// The subnets of a step of progressive shrinking, and its teacher, see one resolution.
TrainingRun::StepLosses TrainingRun::PhaseStep(const Phase& phase, const StepImages& images,
                                               Random* random) {
  StepLosses losses;
  at::Tensor soft;
  const Architecture first = alone_.has_value() ? *alone_ : SampleWithin(space(), phase, random);
  const std::optional<int> resolution = space().FindDimension("r");
  if (teacher_.defined()) {
    Architecture full = space().Largest();
    if (resolution.has_value()) full.choices[*resolution] = first.choices[*resolution];
    const Network network = *family_->Describe(full);
    const at::Tensor inputs = train_.Finish(images.bytes, static_cast<int>(network.input.height));
    soft = at::softmax(model_.TeacherForward(network, teacher_, inputs), 1);
  }
  for (int i = 0; i < phase.subnets; ++i) {
    Architecture subnet = i == 0 ? first : SampleWithin(space(), phase, random);
    if (resolution.has_value()) subnet.choices[*resolution] = first.choices[*resolution];
    const at::Tensor log_p = at::log_softmax(TrainLogits(subnet, images, options_.dropout), 1);
    at::Tensor loss = LabelLoss(log_p, images.labels);
    if (soft.defined()) loss = loss - (soft * log_p).sum(1).mean() * options_.kd_ratio;
    model_.Backward(loss);
    losses.main = losses.main.defined() ? losses.main + loss.detach() : loss.detach();
  }
  losses.main = losses.main / phase.subnets;
  Update(phase.subnets);
  return losses;
}

// The first phase's average is what teaches from then on; momentum begins anew, as for a new
// optimiser.
void TrainingRun::EnterPhase(const Phase& phase) {
  if (!teacher_.defined()) teacher_ = average_.clone();
  momentum_.zero_();
  if (phase.sorts_channels) {
    const Network largest = *family_->Describe(space().Largest());
    Architecture within = space().Largest();
    if (!phase.sorted_within.empty()) within.choices = phase.sorted_within;
    model_.SortChannels(largest, *family_->Describe(within), {model_.weights(), average_});
  }
}

TrainingRun::StepLosses TrainingRun::Step() {
  const Phase& phase = PhaseAt(phases_, step_);
  if (phase.begin == step_ && step_ > 0) EnterPhase(phase);
  Random random = Random::ForStream(options_.seed ^ Fnv1a64("step"), step_);
  SeedDevice(device_, random.Next());
  const at::Tensor indices = NextBatch(step_ / steps_per_epoch_, step_ % steps_per_epoch_);
  const StepImages images = {train_.Augment(train_.Take(indices), options_),
                             train_.labels().index_select(0, indices)};
  model_.gradients().zero_();
  StepLosses losses = options_.method == TrainMethod::kSandwich ? SandwichStep(images, &random)
                                                                : PhaseStep(phase, images, &random);
  ++step_;
  return losses;
}

void TrainingRun::Update(int subnets) {
  c10::NoGradGuard no_grad;
  const at::Tensor& weights = model_.weights();
  const at::Tensor& gradients = model_.gradients();
  gradients.div_(subnets);
  if (options_.clip_norm > 0) {
    gradients.mul_(at::clamp_max(options_.clip_norm / (gradients.norm() + 1e-6), 1.0));
  }
  gradients.add_(weights * model_.decays(), options_.weight_decay);
  momentum_.mul_(options_.momentum).add_(gradients);
  weights.sub_(gradients.add(momentum_, options_.momentum),
               LearningRate(PhaseAt(phases_, step_), options_.schedule, step_));
  // A short memory at the start, so that the first random weights are forgotten.
  const double steps = static_cast<double>(step_);
  const double decay = std::min(options_.ema_decay, (1 + steps) / (10 + steps));
  average_.mul_(decay).add_(weights, 1 - decay);
}

void TrainingRun::LogProgress(const StepLosses& losses, double step_seconds) {
  const double left = static_cast<double>(total_steps() - step_) * step_seconds;
  const Phase& phase = PhaseAt(phases_, step_ - 1);
  std::string smallest;
  if (losses.smallest.defined()) {
    smallest = absl::StrFormat(" smallest %.4f", losses.smallest.item<float>());
  }
  Say(absl::StrFormat(
      "%s epoch %d/%d step %d/%d loss %.4f%s lr %.4f %.1f ms/step elapsed %s ETA %s", phase.name,
      (step_ - 1) / steps_per_epoch_ + 1, options_.epochs, step_, total_steps(),
      losses.main.item<float>(), smallest, LearningRate(phase, options_.schedule, step_ - 1),
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
      if (!std::isfinite(losses.main.item<float>()) ||
          (losses.smallest.defined() && !std::isfinite(losses.smallest.item<float>()))) {
        return absl::InternalError(absl::StrCat("the loss is not finite at step ", step_,
                                                ": try a lower --lr or --clip-norm"));
      }
      const int64_t now = clock_->SteadyNanos();
      step_seconds_.push_back((now - logged_at) * 1e-9 / static_cast<double>(step_ - logged_step));
      LogProgress(losses, step_seconds_.back());
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
  SubnetAccuracy accuracy = {std::move(label), architecture, CountCosts(network).macs};
  accuracy.validation = Accuracy(model_, average_, network, statistics, validation_);
  if (test != nullptr) accuracy.test = Accuracy(model_, average_, network, statistics, *test);
  return accuracy;
}

absl::Status TrainingRun::EvaluateExtremes() {
  if (alone_.has_value()) return absl::OkStatus();
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
  std::vector<std::pair<std::string, Architecture>> rows;
  if (alone_.has_value()) {
    rows.emplace_back("alone", *alone_);
  } else {
    rows = {{"largest", space().Largest()}, {"smallest", space().Smallest()}};
    for (int i = 1; i <= options_.table_subnets; ++i) {
      rows.emplace_back(absl::StrCat("random ", i), TableSubnet(options_, space(), i));
    }
  }
  Say("subnet        validation %    test %");
  for (auto& [label, architecture] : rows) {
    FORALL_ASSIGN_OR_RETURN(SubnetAccuracy accuracy, Measure(label, architecture, test.get()));
    Say(absl::StrFormat("%-12s  %12.2f  %8s", label, accuracy.validation * 100,
                        accuracy.test < 0 ? "-" : absl::StrFormat("%.2f", accuracy.test * 100)));
    result->table.push_back(std::move(accuracy));
  }
  if (!options_.table.empty()) {
    FORALL_RETURN_IF_ERROR(WriteTable(options_.table, space(), *result));
  }
  return options_.lines.empty() ? absl::OkStatus() : AppendLine(options_.lines, options_, *result);
}

absl::Status TrainingRun::MakePackage(TrainResult* result) {
  FORALL_ASSIGN_OR_RETURN(const Network largest, family_->Describe(space().Largest()));
  const NetworkStatistics statistics =
      Calibrate(model_, average_, largest, train_, calibration_, options_.calibration_batch);
  PackageOptions package;
  package.precision = SafetensorsType::kF16;
  package.dataset = data_.train->name();
  package.notes = {
      {"trainer", options_.method == TrainMethod::kProgressive
                      ? "forall-train: progressive shrinking, averaged weights"
                      : "forall-train: sandwich rule, in-place distillation, averaged weights"},
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
    result.last_loss = losses.main.item<float>();
    FORALL_RETURN_IF_ERROR(Save());
    earlier_seconds_ = Seconds();
    started_ = clock_->SteadyNanos();
  }
  result.step = step_;
  result.seconds = earlier_seconds_;
  result.step_seconds = Median(step_seconds_);
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
    std::optional<Architecture> alone;
    if (options.method == TrainMethod::kAlone) {
      FORALL_ASSIGN_OR_RETURN(alone, ChosenArchitecture(options, *family));
    }
    if (PlanPhases(options, family->search_space(), 1).empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--phase-shares: none is left for a phase that ",
                       family->search_space().id(), " has; give one to full"));
    }
    FORALL_ASSIGN_OR_RETURN(const at::Device device, OpenDevice(options));
    TrainingRun run(options, family, data, std::move(alone), device, clock);
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

absl::Status RunAll(const std::vector<std::string>& arguments, const std::string& runs) {
  FORALL_ASSIGN_OR_RETURN(const std::string text, ReadFile(runs, 1 << 20));
  std::vector<std::pair<std::string, TrainOptions>> plan;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    if (line.find_first_not_of(" \t\r") == absl::string_view::npos || line[0] == '#') continue;
    std::vector<std::string> words = arguments;
    for (const absl::string_view word :
         absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty())) {
      words.emplace_back(word);
    }
    words.push_back("--runs=");
    bool help_wanted = false;
    const absl::StatusOr<TrainOptions> options = ParseTrainOptions(words, &help_wanted);
    if (!options.ok()) return WithContext(options.status(), absl::StrCat(runs, ": ", line));
    if (help_wanted) {
      return absl::InvalidArgumentError(absl::StrCat(runs, ": ", line, ": --help is no run"));
    }
    plan.emplace_back(line, *options);
  }
  if (plan.empty()) return absl::InvalidArgumentError(absl::StrCat(runs, ": names no run"));
  for (const auto& [line, options] : plan) {
    Say(absl::StrCat("run: ", line));
    if (absl::Status status = RunTrainer(options); !status.ok()) return WithContext(status, line);
  }
  return absl::OkStatus();
}

}  // namespace forall
