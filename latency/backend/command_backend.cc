// SPDX-License-Identifier: Apache-2.0
#include "latency/backend/command_backend.h"

#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "base/unique_id.h"
#include "latency/transport/client_folder.h"

namespace forall {
namespace {

constexpr int64_t kMostOutputBytes = int64_t{64} << 20;
constexpr absl::Duration kHelperTimeout = absl::Minutes(1);
constexpr int kMostRunsPerCall = 10000;

// The error with the program's last words behind it.
absl::Status WithWords(const absl::Status& status, const ProgramOutput& output) {
  const std::string words =
      LastLine(output.standard_error.empty() ? output.standard_output : output.standard_error);
  if (words.empty()) return status;
  return absl::Status(status.code(), absl::StrCat(status.message(), "; its last words: ", words));
}

}  // namespace

class CommandBackend::Model : public PreparedModel {
 public:
  Model(CommandBackend* backend, RecipeValues values)
      : backend_(backend), values_(std::move(values)) {}

  absl::Status Run() override { return backend_->Measure(values_).status(); }
  absl::StatusOr<std::vector<double>> Time(Clock* clock) override {
    return backend_->Measure(values_);
  }

 private:
  CommandBackend* const backend_;
  const RecipeValues values_;
};

absl::StatusOr<std::unique_ptr<CommandBackend>> CommandBackend::Create(Options options) {
  if (options.transport == nullptr || options.recipe == nullptr) {
    return absl::InvalidArgumentError("a command backend needs a transport and a recipe");
  }
  if (options.threads < 1 || options.batch < 1) {
    return absl::InvalidArgumentError("threads and batch must be at least 1");
  }
  if (options.runs_per_call < 1 || options.runs_per_call > kMostRunsPerCall) {
    return absl::InvalidArgumentError(
        absl::StrCat("runs_per_call must be between 1 and ", kMostRunsPerCall));
  }
  if (options.build_timeout <= absl::ZeroDuration() ||
      options.run_timeout <= absl::ZeroDuration()) {
    return absl::InvalidArgumentError("build_timeout and run_timeout must be above zero");
  }
  const Recipe::Traits& traits = options.recipe->traits();
  BackendDescription description = {
      .runtime = absl::StrCat(traits.name, traits.summaries ? " (summaries)" : ""),
      .runtime_version = traits.version,
      .provider = traits.provider,
      .threads = options.threads,
      .batch = options.batch,
      .runs_per_call = options.runs_per_call,
      .precision = options.precision};
  const CommandLine version = options.recipe->VersionCommand();
  if (!version.empty()) {
    FORALL_ASSIGN_OR_RETURN(const ProgramOutput output,
                            options.transport->Run({.argv = version,
                                                    .environment = traits.environment,
                                                    .timeout = kHelperTimeout,
                                                    .cancelled = options.cancelled}));
    const absl::Status failure = options.recipe->Failure(output);
    if (absl::IsFailedPrecondition(failure) && !output.end.ok()) return failure;
    // A program may print its version and still call that a failure.
    if (description.runtime_version.empty()) {
      description.runtime_version = options.recipe->ParseVersion(output);
    }
  }
  if (description.runtime_version.empty()) description.runtime_version = "unknown";
  return std::unique_ptr<CommandBackend>(
      new CommandBackend(std::move(options), std::move(description)));
}

absl::StatusOr<ProgramOutput> CommandBackend::RunOnDevice(const CommandLine& line,
                                                          absl::Duration timeout) const {
  return options_.transport->Run({.argv = line,
                                  .environment = options_.recipe->traits().environment,
                                  .timeout = timeout,
                                  .cancelled = options_.cancelled});
}

absl::StatusOr<bool> CommandBackend::IsThere(const std::string& path) const {
  FORALL_ASSIGN_OR_RETURN(const ProgramOutput output,
                          RunOnDevice({"test", "-s", path}, kHelperTimeout));
  return output.end.ok();
}

absl::StatusOr<std::unique_ptr<PreparedModel>> CommandBackend::Prepare(absl::string_view model,
                                                                       SessionMemory memory) {
  const Recipe& recipe = *options_.recipe;
  const std::string hash = Sha256Hex(model);
  RecipeValues values;
  values.threads = options_.threads;
  values.runs = options_.runs_per_call;
  FORALL_RETURN_IF_ERROR(PushModel(model, hash, &values));
  if (recipe.traits().builds) FORALL_RETURN_IF_ERROR(BuildEngine(hash, &values));
  const std::string config = recipe.Config(values);
  if (!config.empty()) {
    FORALL_ASSIGN_OR_RETURN(values.config, options_.transport->Push(config, "json"));
  }
  return std::make_unique<Model>(this, std::move(values));
}

absl::Status CommandBackend::PushModel(absl::string_view model, const std::string& hash,
                                       RecipeValues* values) {
  const Recipe::Traits& traits = options_.recipe->traits();
  values->input_list = traits.input_list;
  if (traits.model_format == "onnx") {
    FORALL_ASSIGN_OR_RETURN(values->model, options_.transport->Push(model, traits.model_extension));
    return absl::OkStatus();
  }
  if (traits.convert.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        traits.name, " reads no ONNX but ", traits.model_format, ": set the recipe's \"convert\" ",
        "to a program on this machine that converts {model} to {output}"));
  }
  {
    RecipeValues known;
    {
      MutexLock lock(&mu_);
      if (const auto found = converted_.find(hash); found != converted_.end()) {
        known = found->second;
      }
    }
    if (!known.model.empty()) {
      FORALL_ASSIGN_OR_RETURN(const bool there, IsThere(known.model));
      if (there) {
        values->model = known.model;
        values->input_list = known.input_list;
        return absl::OkStatus();
      }
    }
  }
  FORALL_RETURN_IF_ERROR(PushConverted(model, values));
  if (traits.needs_input && values->input_list.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        traits.name, " needs an input: set the recipe's \"input_list\", a file on the device, or ",
        "have \"convert\" write {input}"));
  }
  MutexLock lock(&mu_);
  converted_[hash] = *values;
  return absl::OkStatus();
}

absl::Status CommandBackend::PushConverted(absl::string_view model, RecipeValues* values) {
  const Recipe::Traits& traits = options_.recipe->traits();
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<ClientFolder> folder, ClientFolder::Create());
  const std::string source = *folder / "model.onnx";
  const std::string target = *folder / absl::StrCat("converted.", traits.model_extension);
  const std::string input = *folder / "input.raw";
  if (const absl::Status written = WriteFileAtomically(source, model); !written.ok()) {
    return absl::FailedPreconditionError(absl::StrCat("convert: ", written.message()));
  }
  std::map<std::string, std::string> names = {{"model", source}, {"output", target}};
  if (traits.needs_input) names["input"] = input;
  FORALL_ASSIGN_OR_RETURN(const CommandLine argv, Expand(traits.convert, names));
  absl::StatusOr<ProgramOutput> output = RunProgram(
      {.argv = argv, .timeout = options_.build_timeout, .cancelled = options_.cancelled});
  if (absl::IsNotFound(output.status())) {
    return absl::FailedPreconditionError(absl::StrCat("convert: ", output.status().message()));
  }
  if (!output.ok()) return WithContext(output.status(), "convert");
  if (!output->end.ok()) {
    // What cannot be converted will never run there.
    return WithWords(
        absl::InvalidArgumentError(absl::StrCat("converting the model to ", traits.model_format,
                                                " failed with ", output->end.ToString())),
        *output);
  }
  const absl::StatusOr<std::string> bytes = ReadFile(target);
  if (!bytes.ok() || bytes->empty()) {
    return WithWords(absl::FailedPreconditionError("convert wrote no {output}"), *output);
  }
  FORALL_ASSIGN_OR_RETURN(values->model, options_.transport->Push(*bytes, traits.model_extension));
  const absl::StatusOr<std::string> raw = ReadFile(input);
  if (raw.ok() && !raw->empty()) {
    FORALL_ASSIGN_OR_RETURN(const std::string path, options_.transport->Push(*raw, "raw"));
    FORALL_ASSIGN_OR_RETURN(values->input_list,
                            options_.transport->Push(absl::StrCat(path, "\n"), "txt"));
  }
  return absl::OkStatus();
}

absl::Status CommandBackend::BuildEngine(const std::string& hash, RecipeValues* values) {
  const Recipe& recipe = *options_.recipe;
  // Without names that differ each time.
  RecipeValues plain;
  plain.threads = values->threads;
  const std::string version = description_.runtime_version;
  const std::string key = Sha256Hex(
      absl::StrCat(hash, "\n", version, "\n", absl::StrJoin(recipe.BuildCommand(plain), "\n")));
  const std::string& directory = options_.transport->directory();
  values->engine = absl::StrCat(directory, "/", key, ".engine");
  // Shared by all models of a version.
  values->timing_cache = absl::StrCat(
      directory, "/", Sha256Hex(absl::StrCat(recipe.traits().name, "\n", version)), ".timing");
  FORALL_ASSIGN_OR_RETURN(const bool there, IsThere(values->engine));
  if (there) return absl::OkStatus();
  RecipeValues building = *values;
  building.engine = absl::StrCat(values->engine, ".", NewUniqueId(), ".part");
  absl::StatusOr<ProgramOutput> output =
      RunOnDevice(recipe.BuildCommand(building), options_.build_timeout);
  absl::Status status = output.status();
  if (output.ok() && !output->end.ok()) status = recipe.Failure(*output);
  if (status.ok()) {
    FORALL_ASSIGN_OR_RETURN(const ProgramOutput moved,
                            RunOnDevice({"sh", "-c", "test -s \"$1\" && mv -f \"$1\" \"$2\"", "sh",
                                         building.engine, values->engine},
                                        kHelperTimeout));
    if (moved.end.ok()) return absl::OkStatus();
    status = WithWords(absl::InternalError("it wrote no engine"), *output);
  }
  if (!absl::IsUnavailable(status)) {
    // What is left of a build that failed is of no use, and goes by itself later if this fails.
    RunOnDevice({"rm", "-f", building.engine}, kHelperTimeout).IgnoreError();
  }
  return WithContext(status, "build");
}

absl::StatusOr<std::vector<double>> CommandBackend::Measure(RecipeValues values) {
  const Recipe& recipe = *options_.recipe;
  if (recipe.traits().has_output_file) {
    values.output = absl::StrCat(options_.transport->directory(), "/", NewUniqueId(), ".out");
  }
  RecipeOutput result;
  ProgramOutput last;
  absl::Status status;
  for (const CommandLine& line : recipe.RunCommands(values)) {
    absl::StatusOr<ProgramOutput> output = RunOnDevice(line, options_.run_timeout);
    status = output.status();
    if (!status.ok()) break;
    if (!output->end.ok()) {
      status = recipe.Failure(*output);
      break;
    }
    last = *std::move(output);
    absl::StrAppend(&result.standard_output, last.standard_output);
    absl::StrAppend(&result.standard_error, last.standard_error);
  }
  if (status.ok() && recipe.traits().has_output_file) {
    absl::StatusOr<std::string> file = options_.transport->Fetch(values.output, kMostOutputBytes);
    if (file.ok()) {
      result.file = *std::move(file);
    } else if (absl::IsNotFound(file.status())) {
      status = WithWords(absl::DataLossError(
                             absl::StrCat(recipe.traits().name, " ended well but wrote no result")),
                         last);
    } else {
      status = file.status();
    }
  }
  if (!absl::IsUnavailable(status)) TidyUp(values);
  if (!status.ok()) return status;
  absl::StatusOr<std::vector<double>> samples = recipe.ParseSamples(result, options_.runs_per_call);
  if (samples.ok()) return samples;
  return WithWords(WithContext(samples.status(), absl::StrCat("output of ", recipe.traits().name)),
                   last);
}

void CommandBackend::TidyUp(const RecipeValues& values) const {
  CommandLine line = {"sh", "-c",
                      "[ -z \"$1\" ] || rm -rf -- \"$1\" \"$1.d\"; shift; touch -c -- \"$@\"", "sh",
                      values.output};
  for (const std::string* path :
       {&values.model, &values.engine, &values.timing_cache, &values.config}) {
    if (!path->empty()) line.push_back(*path);
  }
  // The cache on the device forgets by itself what this cannot remove.
  RunOnDevice(line, kHelperTimeout).IgnoreError();
}

}  // namespace forall
