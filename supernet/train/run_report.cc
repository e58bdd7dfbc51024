// SPDX-License-Identifier: Apache-2.0
#include "supernet/train/run_report.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

const char* MethodName(TrainMethod method) {
  switch (method) {
    case TrainMethod::kSandwich:
      return "sandwich";
    case TrainMethod::kProgressive:
      return "progressive";
    case TrainMethod::kAlone:
      return "alone";
  }
  return "";
}

Json Row(const SubnetAccuracy& row) {
  Json json;
  json["subnet"] = row.label;
  json["macs"] = row.macs;
  json["validation"] = row.validation;
  if (row.test >= 0) json["test"] = row.test;
  return json;
}

}  // namespace

absl::Status WriteTable(const std::string& path, const SearchSpace& space,
                        const TrainResult& result) {
  Json table;
  for (const SubnetAccuracy& row : result.table) {
    Json json = Row(row);
    json["architecture"] = Json::parse(space.ToJson(row.architecture));
    table["subnets"].push_back(json);
  }
  table["package_sha256"] = result.package_hash;
  return WriteFileAtomically(path, table.dump(2) + "\n");
}

absl::Status AppendLine(const std::string& path, const TrainOptions& options,
                        const TrainResult& result) {
  Json line;
  line["method"] = MethodName(options.method);
  if (!options.architecture.empty()) line["architecture"] = options.architecture;
  line["seed"] = options.seed;
  line["epochs"] = options.epochs;
  line["steps"] = result.step;
  line["seconds"] = result.seconds;
  line["seconds_per_step"] = result.step_seconds;
  line["recipe"] = RecipeFlags(options);
  for (const SubnetAccuracy& row : result.table) line["subnets"].push_back(Row(row));
  std::ofstream file(path, std::ios::app);
  file << line.dump() << "\n" << std::flush;
  if (file.good()) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("--lines: cannot write to ", path, ": ", std::strerror(errno)));
}

}  // namespace forall
