// SPDX-License-Identifier: Apache-2.0
#include "search/service/supernet_loader.h"

#include <filesystem>
#include <memory>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "supernet/package.h"

namespace forall {
namespace {

absl::Status Create(const v1::CreateSupernetRequest& request, Controller* controller) {
  struct Waiter {
    Mutex mu;
    CondVar changed;
    bool done ABSL_GUARDED_BY(mu) = false;
    absl::Status status ABSL_GUARDED_BY(mu);
  };
  const auto waiter = std::make_shared<Waiter>();
  controller->CreateSupernet(request, [waiter](const absl::StatusOr<v1::Supernet>& created) {
    MutexLock lock(&waiter->mu);
    waiter->status = created.status();
    waiter->done = true;
    waiter->changed.Signal();
  });
  MutexLock lock(&waiter->mu);
  while (!waiter->done) waiter->changed.Wait(&waiter->mu);
  return waiter->status;
}

}  // namespace

absl::Status AddSupernet(const std::string& source, const ArtifactStore& artifacts,
                         Controller* controller) {
  const size_t equals = source.find('=');
  const std::string path = equals == std::string::npos ? source : source.substr(equals + 1);
  std::error_code ignored;  // What is no directory is read as a file, which says what is wrong.
  const bool directory = std::filesystem::is_directory(path, ignored);
  absl::StatusOr<std::shared_ptr<const Supernet>> supernet =
      directory ? Supernet::Load(path) : Supernet::LoadFile(path);
  if (!supernet.ok()) return WithContext(supernet.status(), absl::StrCat("--supernet ", path));
  if (!artifacts.Exists((*supernet)->hash())) {
    FORALL_ASSIGN_OR_RETURN(const std::string bytes, ReadFile((*supernet)->weights_path()));
    FORALL_RETURN_IF_ERROR(artifacts.Put(bytes).status());
  }
  v1::CreateSupernetRequest request;
  request.set_supernet_id(equals == std::string::npos ? (*supernet)->family().search_space().id()
                                                      : source.substr(0, equals));
  request.set_sha256((*supernet)->hash());
  return WithContext(Create(request, controller), absl::StrCat("--supernet ", source));
}

}  // namespace forall
