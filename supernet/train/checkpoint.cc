// SPDX-License-Identifier: Apache-2.0
#include "supernet/train/checkpoint.h"

#include <unistd.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "supernet/safetensors.h"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

struct Part {
  const char* name;
  std::vector<float> Checkpoint::*values;
};
constexpr Part kParts[] = {{"weights", &Checkpoint::weights},
                           {"momentum", &Checkpoint::momentum},
                           {"average", &Checkpoint::average},
                           {"teacher", &Checkpoint::teacher}};
constexpr uint64_t kMaxStateFile = 1 << 20;

std::string PartPath(const std::string& directory, const Part& part) {
  return absl::StrCat(directory, "/", part.name, ".safetensors");
}

absl::Status ReadPart(const std::string& directory, const Part& part, const std::string& sha256,
                      Checkpoint* checkpoint) {
  const std::string path = PartPath(directory, part);
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(path));
  if (Sha256Hex(file->bytes()) != sha256) {
    return absl::DataLossError(absl::StrCat(path, " is not the file that state.json describes"));
  }
  const SafetensorsView* view = file->Find(part.name);
  if (view == nullptr) return absl::DataLossError(absl::StrCat(path, " lacks its tensor"));
  std::vector<float>& values = checkpoint->*part.values;
  values.resize(view->elements());
  return CopyAsFloats(*view, absl::MakeSpan(values));
}

// Plain system calls: binary LibTorch releases have shown their own std::filesystem to programs
// that link them, and removing a tree crashed in it. An old checkpoint that stays costs only disk.
void RemoveCheckpoint(const std::string& directory) {
  for (const Part& part : kParts) unlink(PartPath(directory, part).c_str());
  unlink((directory + "/state.json").c_str());
  rmdir(directory.c_str());
}

absl::StatusOr<std::string> LatestName(const std::string& directory) {
  FORALL_ASSIGN_OR_RETURN(std::string name, ReadFile(directory + "/LATEST", kMaxStateFile));
  while (!name.empty() && name.back() == '\n') name.pop_back();
  if (name.find('/') != std::string::npos) {
    return absl::DataLossError(absl::StrCat(directory, "/LATEST names no checkpoint"));
  }
  return name;
}

}  // namespace

absl::Status SaveCheckpoint(const std::string& directory, const Checkpoint& checkpoint) {
  const std::string name = absl::StrCat("step-", checkpoint.step);
  const std::string target = absl::StrCat(directory, "/", name);
  FORALL_RETURN_IF_ERROR(CreateDirectories(target));
  Json state;
  state["step"] = checkpoint.step;
  state["seconds"] = checkpoint.seconds;
  state["fingerprint"] = checkpoint.fingerprint;
  for (const Part& part : kParts) {
    const std::vector<float>& values = checkpoint.*part.values;
    if (values.empty()) continue;
    const SafetensorsEntry entry = {
        part.name, SafetensorsType::kF32, {static_cast<int64_t>(values.size())}, values};
    FORALL_ASSIGN_OR_RETURN(const std::string bytes, SerializeSafetensors({entry}, {}));
    FORALL_RETURN_IF_ERROR(WriteFileAtomically(PartPath(target, part), bytes));
    state["sha256"][part.name] = Sha256Hex(bytes);
  }
  FORALL_RETURN_IF_ERROR(WriteFileAtomically(target + "/state.json", state.dump(2) + "\n"));
  const absl::StatusOr<std::string> former = LatestName(directory);
  FORALL_RETURN_IF_ERROR(WriteFileAtomically(directory + "/LATEST", name + "\n"));
  if (former.ok() && *former != name) RemoveCheckpoint(absl::StrCat(directory, "/", *former));
  return absl::OkStatus();
}

absl::StatusOr<std::optional<Checkpoint>> LoadCheckpoint(const std::string& directory) {
  const absl::StatusOr<std::string> latest = LatestName(directory);
  if (absl::IsNotFound(latest.status())) return std::optional<Checkpoint>();
  FORALL_RETURN_IF_ERROR(latest.status());
  const std::string source = absl::StrCat(directory, "/", *latest);
  const std::string state_path = source + "/state.json";
  FORALL_ASSIGN_OR_RETURN(const std::string text, ReadFile(state_path, kMaxStateFile));
  Checkpoint checkpoint;
  try {
    const Json state = Json::parse(text);
    checkpoint.step = state.at("step").get<int64_t>();
    checkpoint.seconds = state.at("seconds").get<double>();
    checkpoint.fingerprint = state.at("fingerprint").get<std::string>();
    for (const Part& part : kParts) {
      const Json& hashes = state.at("sha256");
      if (part.values == &Checkpoint::teacher && !hashes.contains(part.name)) continue;
      FORALL_RETURN_IF_ERROR(
          ReadPart(source, part, hashes.at(part.name).get<std::string>(), &checkpoint));
    }
  } catch (const Json::exception& error) {
    return absl::DataLossError(
        absl::StrCat(state_path, " is not a checkpoint's state: ", error.what()));
  }
  return std::optional<Checkpoint>(std::move(checkpoint));
}

}  // namespace forall
