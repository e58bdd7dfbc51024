// SPDX-License-Identifier: Apache-2.0
// Calls about what is there to search: supernets, search spaces, artifacts.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "search/controller/controller.h"
#include "search/controller/controller_answer.h"
#include "search/controller/resource_names.h"
#include "search/controller/resource_views.h"
#include "supernet/package.h"

namespace forall {

void Controller::GetSupernet(const v1::GetSupernetRequest& request, Done<v1::Supernet> done) {
  Read<v1::Supernet>(
      request.ByteSizeLong(), std::move(done), [this, request]() -> absl::StatusOr<v1::Supernet> {
        mu_.AssertHeld();
        FORALL_ASSIGN_OR_RETURN(const std::string id, ParseSupernetName(request.name()));
        const auto it = registry_->supernets.find(id);
        if (it == registry_->supernets.end()) {
          return absl::NotFoundError(absl::StrCat("there is no ", request.name()));
        }
        return SupernetView(it->second,
                            options_.artifacts->Size(it->second.record.sha256).value_or(0));
      });
}

void Controller::ListSupernets(const v1::ListSupernetsRequest& request,
                               Done<v1::ListSupernetsResponse> done) {
  Read<v1::ListSupernetsResponse>(
      request.ByteSizeLong(), std::move(done),
      [this, request]() -> absl::StatusOr<v1::ListSupernetsResponse> {
        mu_.AssertHeld();
        FORALL_ASSIGN_OR_RETURN(const int32_t size, CheckPageSize(request.page_size(), 100));
        FORALL_ASSIGN_OR_RETURN(const std::string after,
                                page_tokens_->Read({"supernets"}, request.page_token()));
        v1::ListSupernetsResponse response;
        std::string last;
        for (auto it = registry_->supernets.upper_bound(after); it != registry_->supernets.end();
             ++it) {
          if (response.supernets_size() == size) {
            response.set_next_page_token(page_tokens_->Make({"supernets"}, last));
            break;
          }
          last = it->first;
          *response.add_supernets() = SupernetView(
              it->second, options_.artifacts->Size(it->second.record.sha256).value_or(0));
        }
        return response;
      });
}

absl::StatusOr<v1::Supernet> Controller::CreateSupernetLocked(const std::string& id,
                                                              const std::string& sha256,
                                                              std::shared_ptr<const Family> family,
                                                              const std::string& dataset) {
  FORALL_ASSIGN_OR_RETURN(const int64_t size, options_.artifacts->Size(sha256));
  // The store still has it while the rest of the round is written.
  for (const SupernetDeletion& deletion : open_.batch.delete_supernets) {
    if (deletion.id != id) continue;
    return absl::UnavailableError(
        absl::StrCat("supernet_id: ", SupernetName(id),
                     " is being deleted at this moment; repeat the call in a second"));
  }
  const auto known = registry_->supernets.find(id);
  if (known != registry_->supernets.end()) {
    if (known->second.record.sha256 == sha256) return SupernetView(known->second, size);
    return absl::AlreadyExistsError(absl::StrCat("supernet_id: ", SupernetName(id),
                                                 " is another file (", known->second.record.sha256,
                                                 "); choose another id"));
  }
  // Keys of architectures, and with them latencies, know a space by its name and revision alone.
  const SearchSpace& space = family->search_space();
  for (const auto& [other_id, other] : registry_->supernets) {
    const SearchSpace& known_space = other.family->search_space();
    if (known_space.id() != space.id() || known_space.revision() != space.revision() ||
        other.family->Spec() == family->Spec()) {
      continue;
    }
    return absl::FailedPreconditionError(
        absl::StrCat("sha256: its search space ", space.id(), " revision ", space.revision(),
                     " is another network than that of ", SupernetName(other_id),
                     "; give it another name or a higher revision and make the package again"));
  }
  SupernetEntry entry;
  entry.record = {id, sha256, family->Spec(), dataset, Now()};
  entry.family = std::move(family);
  open_.batch.insert_artifacts.push_back({sha256, size, Now()});
  open_.batch.insert_supernets.push_back(entry.record);
  FORALL_LOG(INFO) << "supernet added supernet=" << id << " sha256=" << sha256;
  const v1::Supernet view = SupernetView(entry, size);
  registry_->supernets[id] = std::move(entry);
  return view;
}

void Controller::CreateSupernet(const v1::CreateSupernetRequest& request, Done<v1::Supernet> done) {
  if (const absl::Status valid = CheckId(request.supernet_id(), "supernet_id"); !valid.ok()) {
    return done(valid);
  }
  if (!options_.artifacts->Exists(request.sha256())) {
    return done(
        absl::NotFoundError("sha256: there is no such artifact; upload the weights file first"));
  }
  const absl::StatusOr<std::string> path = options_.artifacts->PathOf(request.sha256());
  if (!path.ok()) return done(path.status());
  // Read without the lock: the file has megabytes.
  const absl::StatusOr<std::shared_ptr<const Supernet>> supernet =
      Supernet::LoadFile(*path, request.sha256());
  if (!supernet.ok()) {
    return done(absl::InvalidArgumentError(
        absl::StrCat("sha256: what was uploaded is not a supernet: ",
                     absl::StrReplaceAll(supernet.status().message(), {{*path + ": ", ""}}))));
  }
  Answer<v1::Supernet>(
      request.ByteSizeLong(), std::move(done), [&]() -> absl::StatusOr<v1::Supernet> {
        mu_.AssertHeld();
        return CreateSupernetLocked(request.supernet_id(), request.sha256(),
                                    (*supernet)->shared_family(), (*supernet)->dataset());
      });
}

void Controller::GetSearchSpace(const v1::GetSearchSpaceRequest& request,
                                Done<v1::SearchSpace> done) {
  Read<v1::SearchSpace>(
      request.ByteSizeLong(), std::move(done),
      [this, request]() -> absl::StatusOr<v1::SearchSpace> {
        mu_.AssertHeld();
        FORALL_ASSIGN_OR_RETURN(const std::string id, ParseSearchSpaceName(request.name()));
        for (const auto& [name, supernet] : registry_->supernets) {
          if (supernet.family->search_space().id() == id) return SearchSpaceView(*supernet.family);
        }
        return absl::NotFoundError(absl::StrCat("there is no ", request.name(),
                                                " among the supernets of this controller"));
      });
}

void Controller::RecordArtifact(const std::string& sha256, int64_t size_bytes, Done<int64_t> done) {
  Answer<int64_t>(sha256.size(), std::move(done), [&]() -> absl::StatusOr<int64_t> {
    mu_.AssertHeld();
    open_.batch.insert_artifacts.push_back({sha256, size_bytes, Now()});
    return size_bytes;
  });
}

}  // namespace forall
