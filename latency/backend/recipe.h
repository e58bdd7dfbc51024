// SPDX-License-Identifier: Apache-2.0
// How a model is measured by a program on the device: what it needs, the command lines, and how
// every sample is read. docs/device-recipes.md describes the ready ones and how to write one.
#ifndef FORALL_LATENCY_BACKEND_RECIPE_H_
#define FORALL_LATENCY_BACKEND_RECIPE_H_

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/child_process.h"

namespace forall {

// What a user may set of a ready recipe; empty: the recipe's own.
struct RecipeOptions {
  std::string program = {};                       // On the device.
  std::vector<std::string> arguments = {};        // Added to the measuring command line.
  std::vector<std::string> build_arguments = {};  // Added to the building one.
  std::vector<std::string> environment = {};      // "NAME=value", on the device.
  std::string provider = {};
  std::string version = {};  // Where the program does not tell it.
  // Run on this machine where the program wants another format than ONNX: {model} is read,
  // {output} is written, and {input}, if named, too (raw bytes for the model's input).
  std::vector<std::string> convert = {};
  std::string backend_library = {};  // QNN: on the device.
  std::string viewer = {};           // QNN: qnn-profile-viewer on the device.
  std::string input_list = {};       // QNN: on the device, unless `convert` writes {input}.
};

// Files on the device, and numbers, that command lines name.
struct RecipeValues {
  std::string model = {};
  std::string engine = {};
  std::string timing_cache = {};
  std::string output = {};
  std::string input_list = {};
  std::string config = {};
  int threads = 1;
  int runs = 1;
};

using CommandLine = std::vector<std::string>;

// What came of a call.
struct RecipeOutput {
  std::string standard_output = {};
  std::string standard_error = {};
  std::string file = {};  // The content of RecipeValues::output, for recipes that have one.
};

// Immutable, hence thread-safe.
class Recipe {
 public:
  struct Traits {
    std::string name = {};
    std::string provider = {};
    std::string version = {};           // "": what the version command tells.
    std::string model_format = "onnx";  // Anything else takes `convert`.
    std::string model_extension = "onnx";
    bool builds = false;  // An engine is built first and kept.
    bool has_output_file = false;
    // A call gives one number for all its runs rather than one for each.
    bool summaries = false;
    bool needs_input = false;
    std::vector<std::string> environment = {};
    CommandLine convert = {};
    std::string input_list = {};
    // Texts, in any case, by which a failure is understood.
    std::vector<std::string> not_supported = {};
    std::vector<std::string> out_of_memory = {};
    // The first line with one of them says why it failed, rather than the last line of all.
    std::vector<std::string> error_tags = {};
  };

  virtual ~Recipe() = default;
  const Traits& traits() const { return traits_; }

  // Empty where the program tells no version.
  virtual CommandLine VersionCommand() const { return {}; }
  virtual std::string ParseVersion(const ProgramOutput& output) const { return ""; }
  // What the engine depends on besides model and version: the same text, the same engine.
  virtual CommandLine BuildCommand(const RecipeValues& values) const { return {}; }
  // In order; the first that fails ends the call.
  virtual std::vector<CommandLine> RunCommands(const RecipeValues& values) const = 0;
  // The text of a file that the command lines name as RecipeValues::config; "": none.
  virtual std::string Config(const RecipeValues& values) const { return ""; }
  // Nanoseconds, in order, at least one; for summaries exactly one. DataLoss for whatever is not
  // the documented form or not `runs` runs.
  virtual absl::StatusOr<std::vector<double>> ParseSamples(const RecipeOutput& output,
                                                           int runs) const = 0;

  // Why a program failed, from its end and its words: InvalidArgument when it says that it does
  // not support the model, ResourceExhausted for lack of memory, FailedPrecondition when the
  // program is not there, Internal otherwise.
  absl::Status Failure(const ProgramOutput& output) const;

 protected:
  explicit Recipe(Traits traits) : traits_(std::move(traits)) {}

 private:
  const Traits traits_;
};

// The names of the ready recipes.
std::vector<std::string> RecipeNames();

// A ready recipe by its name, or by JSON {"recipe": NAME, options as in RecipeOptions}, or the
// user's own by JSON {"name": ..., "argv": [...], ...} (latency/backend/recipes/custom.h).
// InvalidArgument names the key that is wrong.
absl::StatusOr<std::shared_ptr<const Recipe>> MakeRecipe(absl::string_view name_or_json);
absl::StatusOr<std::shared_ptr<const Recipe>> MakeRecipe(absl::string_view name,
                                                         const RecipeOptions& options);

// Puts values in the place of {name}; "{{" and "}}" stand for braces. InvalidArgument for a name
// that is not among them, listing those that are, and for a brace alone.
absl::StatusOr<CommandLine> Expand(const CommandLine& line,
                                   const std::map<std::string, std::string>& values);

}  // namespace forall

#endif  // FORALL_LATENCY_BACKEND_RECIPE_H_
