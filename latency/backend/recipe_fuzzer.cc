// SPDX-License-Identifier: Apache-2.0
// libFuzzer over everything that reads what devices and users say: recipes, samples, versions,
// failures, sensors. The first byte chooses. Whatever the text is, a status or a list of believable
// durations comes back.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "latency/backend/recipe.h"
#include "latency/backend/recipes/benchmark_model.h"
#include "latency/transport/sensors.h"

namespace {

using forall::MakeRecipe;
using forall::Recipe;

const std::vector<std::shared_ptr<const Recipe>>& Recipes() {
  static const auto* const recipes = [] {
    auto* list = new std::vector<std::shared_ptr<const Recipe>>;
    for (const std::string& name : forall::RecipeNames()) list->push_back(*MakeRecipe(name));
    for (
        const char* samples :
        {R"("from": "standard_output", "format": "one_number_per_line", "unit": "us")",
         R"("from": "standard_output", "format": "line_prefix", "prefix": "t ", "suffix": " ms", "unit": "ms")",
         R"("from": "standard_output", "format": "json_pointer", "pointer": "/a/0", "field": "/t", "unit": "s")"}) {
      list->push_back(
          *MakeRecipe(std::string(R"({"name": "own", "argv": ["t", "{model}"], "samples": {)") +
                      samples + "}}"));
    }
    return list;
  }();
  return *recipes;
}

void CheckSamples(const Recipe& recipe, const std::string& text) {
  // The trace of trtexec is read with a log that fits ever so many queries.
  for (const char* log :
       {"", "Warmup completed 0 queries over 1\nTiming trace has 1 queries over 1"}) {
    forall::RecipeOutput output;
    output.standard_output = *log == '\0' ? text : log;
    output.standard_error = text;
    output.file = text;
    const auto samples = recipe.ParseSamples(output, 1);
    if (!samples.ok()) {
      if (!absl::IsDataLoss(samples.status())) std::abort();
      continue;
    }
    if (samples->empty()) std::abort();
    for (const double sample : *samples) {
      if (!(sample > 0) || !(sample <= 3600e9)) std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const size_t choice = data[0] % (Recipes().size() + 2);
  if (choice < Recipes().size()) {
    const Recipe& recipe = *Recipes()[choice];
    CheckSamples(recipe, text);
    forall::ProgramOutput output;
    output.standard_output = text;
    output.standard_error = text;
    recipe.ParseVersion(output);
    if (recipe.Failure(output).ok()) std::abort();
    forall::PeakMemoryBytes(text);
  } else if (choice == Recipes().size()) {
    const auto recipe = MakeRecipe(text);
    if (recipe.ok()) {
      (*recipe)->RunCommands({});
      (*recipe)->BuildCommand({});
      CheckSamples(**recipe, "1\n");
    }
  } else {
    forall::SensorReadings readings;
    forall::AddThermalZones(text, &readings);
    forall::AddThermalService(text, &readings);
    forall::AddBattery(text, &readings);
    for (const auto& [name, value] : readings) {
      if (name.empty() || value != value) std::abort();
    }
  }
  return 0;
}
