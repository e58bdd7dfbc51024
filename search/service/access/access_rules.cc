// SPDX-License-Identifier: Apache-2.0
#include "search/service/access/access_rules.h"

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "proto/forall/v1/artifact_service.pb.h"
#include "proto/forall/v1/fleet_service.pb.h"
#include "proto/forall/v1/search_service.pb.h"

namespace forall {
namespace {

constexpr bool kSubmit = true;
constexpr bool kNoSubmit = false;
constexpr bool kWork = true;
constexpr bool kNoWork = false;
constexpr bool kAudited = true;
constexpr bool kQuiet = false;

constexpr AccessRule kRules[] = {
    // Whoever submits reads all jobs and frontiers: measurements are shared between jobs anyway.
    // Workers are told in their tasks what they need, and get none of it.
    {"forall.v1.SearchService.SubmitSearchJob", kSubmit, kNoWork, "", kAudited},
    {"forall.v1.SearchService.EstimateSearchJob", kSubmit, kNoWork, "", kQuiet},
    {"forall.v1.SearchService.GetSearchJob", kSubmit, kNoWork, "", kQuiet},
    {"forall.v1.SearchService.ListSearchJobs", kSubmit, kNoWork, "", kQuiet},
    {"forall.v1.SearchService.CancelSearchJob", kSubmit, kNoWork, "", kAudited},
    {"forall.v1.SearchService.PauseSearchJob", kSubmit, kNoWork, "", kAudited},
    {"forall.v1.SearchService.ResumeSearchJob", kSubmit, kNoWork, "", kAudited},
    // Of one's own jobs, which the controller sees to; an administrator of all.
    {"forall.v1.SearchService.DeleteSearchJob", kSubmit, kNoWork, "", kAudited},
    {"forall.v1.SearchService.WatchSearchJob", kSubmit, kNoWork, "", kQuiet},
    {"forall.v1.SearchService.ListTrials", kSubmit, kNoWork, "", kQuiet},
    {"forall.v1.SearchService.GetTrial", kSubmit, kNoWork, "", kQuiet},
    {"forall.v1.SearchService.QueryParetoFrontier", kSubmit, kNoWork, "", kQuiet},
    {"forall.v1.SearchService.GetPredictionLedger", kSubmit, kNoWork, "", kQuiet},
    {"forall.v1.SearchService.ExportSubnet", kSubmit, kNoWork, "", kQuiet},
    {"forall.v1.SearchService.GetReport", kSubmit, kNoWork, "", kQuiet},
    {"forall.v1.SearchService.GetSupernet", kSubmit, kNoWork, "", kQuiet},
    {"forall.v1.SearchService.ListSupernets", kSubmit, kNoWork, "", kQuiet},
    // A name is taken once and never moved, so that nobody changes another's supernet.
    {"forall.v1.SearchService.CreateSupernet", kSubmit, kNoWork, "", kAudited},
    // Everybody's: for administrators alone.
    {"forall.v1.SearchService.DeleteSupernet", kNoSubmit, kNoWork, "", kAudited},
    {"forall.v1.SearchService.GetSearchSpace", kSubmit, kNoWork, "", kQuiet},
    // Asked again every second while it runs: too often for the log.
    {"forall.v1.SearchService.MeasureNetworks", kSubmit, kNoWork, "", kQuiet},

    // A worker's own calls. At full rate they would drown the log; the store has who measured what.
    {"forall.v1.FleetService.RegisterWorker", kNoSubmit, kWork, "worker_id", kAudited},
    {"forall.v1.FleetService.LeaseTasks", kNoSubmit, kWork, "worker", kQuiet},
    {"forall.v1.FleetService.Heartbeat", kNoSubmit, kWork, "worker", kQuiet},
    {"forall.v1.FleetService.CompleteTasks", kNoSubmit, kWork, "worker", kQuiet},
    {"forall.v1.FleetService.ReleaseTask", kNoSubmit, kWork, "worker", kQuiet},
    // A worker that leaves drains itself; others are an operator's business.
    {"forall.v1.FleetService.DrainWorker", kNoSubmit, kWork, "name", kAudited},
    // Whoever submits must know which devices there are and how far to trust them.
    {"forall.v1.FleetService.ListWorkers", kSubmit, kNoWork, "", kQuiet},
    {"forall.v1.FleetService.InspectWorker", kSubmit, kNoWork, "", kQuiet},
    {"forall.v1.FleetService.GetServerStatus", kSubmit, kNoWork, "", kQuiet},
    // Numbers of everybody's jobs go, for good: an operator's business.
    {"forall.v1.FleetService.RetractMeasurements", kNoSubmit, kNoWork, "", kAudited},

    // Supernets and predictors come from those who submit, exported subnets from workers, and both
    // fetch. Files are named by their content, so that nobody changes what another has uploaded.
    {"forall.v1.ArtifactService.GetArtifact", kSubmit, kWork, "", kQuiet},
    {"forall.v1.ArtifactService.UploadArtifact", kSubmit, kWork, "", kAudited},
    {"forall.v1.ArtifactService.DownloadArtifact", kSubmit, kWork, "", kQuiet},
};

using RuleMap = absl::flat_hash_map<const google::protobuf::Descriptor*, const AccessRule*>;

RuleMap ByRequest() {
  // So that their descriptors are linked and in the pool.
  v1::GetSearchJobRequest::descriptor();
  v1::HeartbeatRequest::descriptor();
  v1::GetArtifactRequest::descriptor();
  RuleMap map;
  for (const AccessRule& rule : kRules) {
    const google::protobuf::MethodDescriptor* const method =
        google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(rule.method);
    if (method == nullptr) continue;
    const auto [at, added] = map.emplace(method->input_type(), &rule);
    if (!added) at->second = nullptr;
  }
  return map;
}

}  // namespace

absl::string_view RoleName(Role role) {
  switch (role) {
    case Role::kSubmit:
      return "submit";
    case Role::kWork:
      return "work";
    case Role::kAdmin:
      break;
  }
  return "admin";
}

absl::StatusOr<Role> ParseRole(absl::string_view name) {
  for (const Role role : {Role::kSubmit, Role::kWork, Role::kAdmin}) {
    if (name == RoleName(role)) return role;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", name, "\" is no role; want submit, work or admin"));
}

std::string AccessRule::RolesText() const {
  return absl::StrCat(submit ? "submit, " : "", work ? "work, " : "", "admin");
}

absl::Span<const AccessRule> AccessRules() { return kRules; }

const AccessRule* FindRule(const google::protobuf::Descriptor* request) {
  static const RuleMap* const map = new RuleMap(ByRequest());
  const auto found = map->find(request);
  return found == map->end() ? nullptr : found->second;
}

ForeignAccess ForeignAccessOf(absl::string_view path) {
  if (absl::StartsWith(path, "/grpc.health.v1.Health/")) return ForeignAccess::kOpen;
  if (absl::StartsWith(path, "/forall.v1.")) return ForeignAccess::kOurs;
  return ForeignAccess::kIdentified;
}

}  // namespace forall
