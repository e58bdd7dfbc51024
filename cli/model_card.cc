// SPDX-License-Identifier: Apache-2.0
#include "cli/model_card.h"

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "cli/frontier_format.h"
#include "nlohmann/json.hpp"
#include "space/cost_model.h"
#include "space/identity.h"
#include "space/metric_registry.h"
#include "space/recipe.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

Json CostsJson(const FoundSubnet& subnet) {
  const absl::StatusOr<DeploymentRecipe> recipe = ParseRecipe(subnet.recipe);
  const Costs costs = CountCosts(subnet.network, recipe.ok() ? *recipe : DeploymentRecipe{});
  Json json;
  for (const MetricInfo& metric : Metrics()) {
    if (metric.source == MetricSource::kExactCost) {
      json[metric.id] = static_cast<int64_t>(ExactCost(costs, metric.id));
    }
  }
  return json;
}

Json ModelJson(const FoundSubnet& subnet) {
  const FeatureShape& input = subnet.network.input;
  return {{"format", "ONNX, opset 17"},
          {"sha256", subnet.sha256},
          {"bytes", subnet.onnx.size()},
          {"recipe", subnet.recipe},
          {"input",
           {{"name", "image"}, {"shape", {"batch", input.channels, input.height, input.width}}}},
          {"output", {{"name", "logits"}, {"shape", {"batch", subnet.network.classes}}}}};
}

Json SearchJson(const FoundSubnet& subnet) {
  Json json;
  json["job"] = subnet.job.name();
  json["trial"] = subnet.trial->name();
  if (!subnet.job.spec().display_name().empty()) json["name"] = subnet.job.spec().display_name();
  json["sampler"] = subnet.job.spec().sampler().algorithm();
  json["seed"] = subnet.job.spec().seed();
  json["measured_trials"] = subnet.job.measured_trials();
  json["on_frontier"] = subnet.member.has_value();
  if (subnet.member.has_value()) {
    json["certainty"] = CertaintyName(*subnet.member);
    json["knee"] = subnet.member->knee();
  }
  return json;
}

Json CalibrationJson(const FoundSubnet& subnet) {
  return {{"id", subnet.calibration_id},
          {"dataset", subnet.dataset},
          {"split", "train"},
          {"images", subnet.calibration_images},
          {"batch", kCalibrationBatch},
          {"seed", subnet.calibration_seed}};
}

// Commands whose first line's file holds the architecture above.
Json CommandsJson(const FoundSubnet& subnet) {
  Json commands = Json::array();
  if (subnet.supernet_name.empty()) {
    commands.push_back(
        "forall export architecture.json --weights FILE --family FAMILY -o model.onnx");
  } else {
    commands.push_back(
        absl::StrCat("forall export architecture.json --supernet ", subnet.supernet_name,
                     " --dataset ", subnet.dataset, " --calibration-images ",
                     subnet.calibration_images, " --calibration-seed ", subnet.calibration_seed,
                     subnet.recipe == "fp16" ? " --format onnx-fp16" : "", " -o model.onnx"));
  }
  if (!subnet.dataset.empty()) {
    commands.push_back(absl::StrCat("forall-evaluate --model model.onnx --dataset ", subnet.dataset,
                                    " --split validation"));
  }
  return commands;
}

// Text in a cell of a Markdown table.
std::string Cell(const std::string& text) {
  return absl::StrReplaceAll(text, {{"|", "\\|"}, {"\n", " "}});
}

std::string Text(const Json& json, const char* key) {
  const auto value = json.find(key);
  if (value == json.end()) return "";
  return value->is_string() ? value->get<std::string>() : value->dump();
}

std::string Number(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15) return absl::StrFormat("%.0f", value);
  return absl::StrFormat("%.4g", value);
}

void AppendMeasurements(const Json& card, std::string* text) {
  absl::StrAppend(text, "## Measurements\n\n");
  if (card["measurements"].empty()) {
    absl::StrAppend(text,
                    "None: this file was built from an architecture and has not been measured. "
                    "Accuracies and latencies of other subnets say nothing about it.\n\n");
    return;
  }
  absl::StrAppend(text, "| metric | value | interval | samples | fidelity | verdict |\n",
                  "|---|---|---|---|---|---|\n");
  for (const auto& [name, measurement] : card["measurements"].items()) {
    if (card["costs"].contains(name)) continue;  // counted, and above
    const Json& interval = measurement["interval"];
    const std::string kind = Text(interval, "kind");
    std::string verdict = Text(measurement, "verdict");
    if (!measurement["reasons"].empty()) {
      absl::StrAppend(&verdict, ": ",
                      absl::StrJoin(measurement["reasons"].get<std::vector<std::string>>(), ", "));
    }
    const std::string range = absl::StrFormat(
        "%s to %s (%.0f %%, %s)", Number(interval["low"].get<double>()),
        Number(interval["high"].get<double>()), 100 * interval["confidence"].get<double>(), kind);
    absl::StrAppend(text, "| ", Cell(name), " | ", Number(measurement["value"].get<double>()),
                    " | ", range, " | ", Text(measurement, "samples"), " | ",
                    Text(measurement, "fidelity"), " | ", Cell(verdict), " |\n");
  }
  absl::StrAppend(text,
                  "\nAccuracies in percent, latencies in milliseconds. An accuracy's interval is "
                  "what the number of images leaves open; a latency's is where one further session "
                  "on the same device would find it. A verdict of NOISY names what disturbed the "
                  "measurement; *screening* numbers were taken on a part of the images, or "
                  "briefly.\n\n");
}

void AppendOrigin(const Json& card, std::string* text) {
  absl::StrAppend(text, "## Where it comes from\n\n");
  if (card.contains("supernet")) {
    const Json& supernet = card["supernet"];
    absl::StrAppend(text, "- Supernet: ", Text(supernet, "name"), ", SHA-256 `",
                    Text(supernet, "sha256"), "`\n");
  } else {
    absl::StrAppend(text, "- Weights of its own, not cut from a supernet\n");
  }
  if (card.contains("search")) {
    const Json& search = card["search"];
    absl::StrAppend(text, "- Found by ", Text(search, "job"), " (", Text(search, "sampler"),
                    ", seed ", Text(search, "seed"), ", ", Text(search, "measured_trials"),
                    " subnets measured) as ", Text(search, "trial"));
    if (search["on_frontier"].get<bool>()) {
      absl::StrAppend(text, "; on its frontier, ", Text(search, "certainty"),
                      search["knee"].get<bool>() ? ", the knee" : "");
    } else {
      absl::StrAppend(text, "; not on its frontier");
    }
    absl::StrAppend(text, "\n");
  }
  if (card.contains("calibration")) {
    const Json& calibration = card["calibration"];
    absl::StrAppend(text, "- BatchNorm statistics from ", Text(calibration, "images"),
                    " images of ", Text(calibration, "dataset"), " (train), seed ",
                    Text(calibration, "seed"), ", in batches of ", Text(calibration, "batch"),
                    "; folded into the convolutions\n");
  }
  absl::StrAppend(text, "\n");
}

}  // namespace

Json ModelCard(const FoundSubnet& subnet) {
  const SearchSpace& space = subnet.family->search_space();
  Json card;
  card["model"] = ModelJson(subnet);
  card["architecture"] =
      Json::parse(space.ToJson(subnet.architecture), nullptr, /*allow_exceptions=*/false);
  card["keys"]["arch_key"] = ArchKey(space, subnet.architecture);
  if (subnet.trial.has_value()) card["keys"]["graph_key"] = subnet.trial->graph_key();
  card["keys"]["artifact_sha256"] = subnet.sha256;
  card["costs"] = CostsJson(subnet);
  card["measurements"] = Json::object();
  if (subnet.trial.has_value()) {
    card["measurements"] = MeasuredJson(*subnet.trial);
    card["search"] = SearchJson(subnet);
  }
  if (!subnet.supernet_sha256.empty()) {
    card["supernet"] = {{"name", subnet.supernet_name},
                        {"sha256", subnet.supernet_sha256},
                        {"search_space", space.id()},
                        {"revision", space.revision()}};
  }
  if (!subnet.calibration_id.empty()) card["calibration"] = CalibrationJson(subnet);
  card["reproduce"] = CommandsJson(subnet);
  return card;
}

std::string ModelCardMarkdown(const Json& card) {
  const Json& model = card["model"];
  std::string text = absl::StrCat("# Model card: ", card["architecture"]["search_space"].dump(),
                                  " ", Text(card["keys"], "arch_key"), "\n\n");
  text = absl::StrReplaceAll(text, {{"\"", ""}});
  absl::StrAppend(&text, "| | |\n|---|---|\n| file | ", Text(model, "format"), ", ",
                  Text(model, "recipe"), ", ", Text(model, "bytes"), " bytes |\n| SHA-256 | `",
                  Text(model, "sha256"), "` |\n");
  for (const char* end : {"input", "output"}) {
    absl::StrAppend(&text, "| ", end, " | `", Text(model[end], "name"), "` ",
                    absl::StrReplaceAll(model[end]["shape"].dump(), {{"\"", ""}, {",", ", "}}),
                    ", float32 |\n");
  }
  for (const auto& [cost, value] : card["costs"].items()) {
    const MetricInfo* metric = FindMetric(cost);
    absl::StrAppend(
        &text, "| ", metric == nullptr ? cost : metric->label, " | ", value.dump(),
        metric == nullptr || metric->unit.empty() ? "" : absl::StrCat(" ", metric->unit), " |\n");
  }
  absl::StrAppend(&text, "\n");
  AppendMeasurements(card, &text);
  AppendOrigin(card, &text);
  absl::StrAppend(
      &text, "## Architecture\n\n```json\n", card["architecture"].dump(), "\n```\n\n",
      "## How to make it again\n\nWith the architecture above in `architecture.json`:\n\n");
  for (const Json& command : card["reproduce"]) {
    absl::StrAppend(&text, "    ", command.get<std::string>(), "\n");
  }
  absl::StrAppend(&text,
                  "\nEqual inputs give the same bytes on the same kind of processor; another's "
                  "arithmetic differs in the last bits. Latencies hold for the device named, its "
                  "runtime and settings, and for no other.\n");
  return text;
}

}  // namespace forall
