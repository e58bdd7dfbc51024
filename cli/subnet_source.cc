// SPDX-License-Identifier: Apache-2.0
#include "cli/subnet_source.h"

#include <filesystem>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/json_depth.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/expressions.h"
#include "data/dataset.h"
#include "nlohmann/json.hpp"
#include "space/identity.h"
#include "space/net_config.h"
#include "space/recipe.h"
#include "supernet/export.h"
#include "supernet/importer/checkpoint_import.h"
#include "supernet/onnx/exporter.h"
#include "supernet/onnx/model_reader.h"
#include "supernet/standalone.h"

namespace forall {
namespace {

constexpr uint64_t kMaxArchitectureFile = uint64_t{4} << 20;

bool IsFile(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

bool Exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

// A net.config lists blocks; an architecture lists choices.
bool IsNetConfig(const std::string& text) {
  if (!CheckJsonDepth(text).ok()) return false;
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  return json.is_object() && json.contains("blocks");
}

absl::StatusOr<std::shared_ptr<const Supernet>> FetchSupernet(const std::string& name,
                                                              Client* client) {
  v1::GetSupernetRequest request;
  request.set_name(WithCollection("supernets", name));
  FORALL_ASSIGN_OR_RETURN(
      const v1::Supernet supernet,
      client->Call(client->search(), &v1::SearchService::Stub::GetSupernet, request));
  FORALL_ASSIGN_OR_RETURN(std::string bytes, client->FetchArtifact(supernet.sha256()));
  return Supernet::FromBytes(std::move(bytes), supernet.name());
}

absl::StatusOr<std::shared_ptr<const Supernet>> LoadSupernet(const std::string& path) {
  absl::StatusOr<std::shared_ptr<const Supernet>> supernet =
      IsFile(path) ? Supernet::LoadFile(path) : Supernet::Load(path);
  if (!supernet.ok()) return LocalFile(supernet.status());
  return supernet;
}

// An architecture of a supernet, calibrated and exported here.
absl::StatusOr<FoundSubnet> BuildFromSupernet(const SubnetRequest& request, Client* client) {
  FoundSubnet found;
  FORALL_ASSIGN_OR_RETURN(found.supernet, Exists(request.supernet)
                                              ? LoadSupernet(request.supernet)
                                              : FetchSupernet(request.supernet, client));
  found.family = found.supernet->shared_family();
  FORALL_ASSIGN_OR_RETURN(found.architecture,
                          ReadArchitecture(request.subject, *found.family, request.resolution));
  FORALL_ASSIGN_OR_RETURN(found.network, found.family->Describe(found.architecture));
  found.dataset = request.dataset.empty() ? found.supernet->dataset() : request.dataset;
  if (found.dataset.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(request.supernet,
                     " does not say what it was trained on: name the images that BatchNorm "
                     "is calibrated on with --dataset"));
  }
  const absl::StatusOr<std::shared_ptr<const Dataset>> train =
      OpenDataset(found.dataset, Split::kTrain, request.data);
  if (!train.ok()) return LocalFile(train.status());
  CalibrationOptions calibration;
  calibration.images = request.calibration_images;
  calibration.seed = request.calibration_seed;
  FORALL_ASSIGN_OR_RETURN(ExportedSubnet exported,
                          ExportSubnet(*found.supernet, found.architecture, **train, calibration,
                                       DeploymentRecipe{}, SessionOptions{}));
  found.onnx = std::move(exported.bytes);
  found.sha256 = exported.sha256;
  found.recipe = "fp32";
  found.supernet_name = request.supernet;
  found.supernet_sha256 = found.supernet->hash();
  found.calibration_id = exported.calibration_id;
  found.calibration_images = request.calibration_images;
  found.calibration_seed = request.calibration_seed;
  return found;
}

// A network with weights of its own, as the authors publish specialised ones.
absl::StatusOr<FoundSubnet> BuildFromWeights(const SubnetRequest& request) {
  if (request.family.empty()) {
    return absl::InvalidArgumentError(
        "--weights needs --family: the space of `forall spaces`, or a spec file, that the network "
        "is of");
  }
  FoundSubnet found;
  FORALL_ASSIGN_OR_RETURN(found.family, FamilyOf(request.family));
  FORALL_ASSIGN_OR_RETURN(found.architecture,
                          ReadArchitecture(request.subject, *found.family, request.resolution));
  FORALL_ASSIGN_OR_RETURN(found.network, found.family->Describe(found.architecture));
  absl::StatusOr<std::vector<NamedTensor>> tensors =
      ImportTensors(request.weights, StandaloneShapes(found.network), request.subject);
  if (!tensors.ok()) return LocalFile(tensors.status());
  FORALL_ASSIGN_OR_RETURN(SubnetWeights weights,
                          WeightsOfStandalone(found.network, *std::move(tensors)));
  const SearchSpace& space = found.family->search_space();
  OnnxExportOptions options;
  options.metadata = {{kMetadataArchKey, ArchKey(space, found.architecture)},
                      {kMetadataArchitecture, space.ToJson(found.architecture)},
                      {kMetadataRecipe, "fp32"},
                      {kMetadataResolution, absl::StrCat(found.network.input.height)},
                      {kMetadataSearchSpace, space.id()}};
  FORALL_ASSIGN_OR_RETURN(found.onnx, BuildOnnxModel(found.network, weights, options));
  FORALL_RETURN_IF_ERROR(CheckOnnxModel(found.onnx));
  found.sha256 = Sha256Hex(found.onnx);
  found.recipe = "fp32";
  found.weights = std::move(weights);
  return found;
}

absl::StatusOr<FoundSubnet> FetchTrial(const SubnetRequest& request, Client* client) {
  v1::ExportSubnetRequest wanted;
  wanted.set_name(absl::StartsWith(request.subject, kArchKeyPrefix)
                      ? request.subject
                      : WithCollection("searchJobs", request.subject));
  FORALL_ASSIGN_OR_RETURN(
      const v1::ExportSubnetResponse response,
      client->Call(client->search(), &v1::SearchService::Stub::ExportSubnet, wanted));
  FoundSubnet found;
  found.trial = response.trial();
  found.sha256 = response.artifact_sha256();
  const std::string& trial = found.trial->name();
  FORALL_ASSIGN_OR_RETURN(found.job, client->GetJob(trial.substr(0, trial.find("/trials/"))));
  v1::GetSupernetRequest supernet;
  supernet.set_name(found.job.spec().supernet());
  FORALL_ASSIGN_OR_RETURN(
      const v1::Supernet held,
      client->Call(client->search(), &v1::SearchService::Stub::GetSupernet, supernet));
  FORALL_ASSIGN_OR_RETURN(found.family, FamilyFromSpec(held.spec()));
  found.architecture = {
      found.trial->architecture().search_space(),
      found.trial->architecture().revision(),
      {found.trial->architecture().choices().begin(), found.trial->architecture().choices().end()}};
  FORALL_ASSIGN_OR_RETURN(found.network, found.family->Describe(found.architecture));
  FORALL_ASSIGN_OR_RETURN(found.onnx, client->FetchArtifact(found.sha256));
  found.recipe = found.job.spec().recipe();
  found.supernet_name = held.name();
  found.supernet_sha256 = held.sha256();
  found.dataset = found.job.spec().dataset();
  FORALL_ASSIGN_OR_RETURN(auto metadata, ReadOnnxMetadata(found.onnx));
  found.calibration_id = metadata[kMetadataCalibrationId];
  found.calibration_images = found.job.spec().fidelity().calibration_images();
  found.calibration_seed = static_cast<uint64_t>(found.job.spec().fidelity().calibration_seed());
  v1::QueryParetoFrontierRequest query;
  query.set_parent(found.job.name());
  FORALL_ASSIGN_OR_RETURN(
      const v1::QueryParetoFrontierResponse frontier,
      client->Call(client->search(), &v1::SearchService::Stub::QueryParetoFrontier, query));
  for (const v1::FrontierMember& member : frontier.members()) {
    if (member.trial().name() == found.trial->name()) found.member = member;
  }
  return found;
}

}  // namespace

absl::StatusOr<Architecture> ReadArchitecture(const std::string& file, const Family& family,
                                              int32_t resolution) {
  const absl::StatusOr<std::string> text = ReadFile(file, kMaxArchitectureFile);
  if (!text.ok()) return LocalFile(text.status());
  if (!IsNetConfig(*text)) {
    const absl::StatusOr<Architecture> architecture = family.ParseArchitecture(*text);
    if (!architecture.ok()) return WithContext(architecture.status(), file);
    return family.search_space().Canonical(*architecture);
  }
  if (resolution == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(file,
                     " is a net.config, which does not name the input's size: "
                     "say it with --resolution"));
  }
  absl::StatusOr<Architecture> architecture = ParseNetConfig(*text, family, resolution);
  if (!architecture.ok()) return WithContext(architecture.status(), file);
  return architecture;
}

bool IsLocal(const SubnetRequest& request) {
  return IsFile(request.subject) && (request.supernet.empty() || Exists(request.supernet));
}

absl::StatusOr<FoundSubnet> FindSubnet(const SubnetRequest& request, Client* client) {
  if (!IsFile(request.subject)) {
    if (!request.supernet.empty() || !request.weights.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("there is no file ", request.subject,
                       ": --supernet and --weights go with an architecture file"));
    }
    return FetchTrial(request, client);
  }
  if (request.supernet.empty() == request.weights.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(request.subject,
                     " is a file: say with either --supernet or --weights where "
                     "its weights come from"));
  }
  return request.supernet.empty() ? BuildFromWeights(request) : BuildFromSupernet(request, client);
}

absl::StatusOr<SubnetWeights> CalibratedWeights(FoundSubnet* subnet, Client* client) {
  if (subnet->weights.has_value()) return *subnet->weights;
  if (subnet->recipe != "fp32") {
    return absl::FailedPreconditionError(absl::StrCat(
        subnet->trial->name(), " was exported as ", subnet->recipe,
        ", which its float32 weights cannot be had from: export its architecture file with "
        "--supernet"));
  }
  if (subnet->supernet == nullptr) {
    FORALL_ASSIGN_OR_RETURN(subnet->supernet, FetchSupernet(subnet->supernet_name, client));
  }
  FORALL_ASSIGN_OR_RETURN(SubnetWeights weights,
                          ExtractWeights(*subnet->supernet, subnet->network));
  FORALL_RETURN_IF_ERROR(RecoverCalibration(subnet->onnx, subnet->network, &weights));
  return weights;
}

}  // namespace forall
