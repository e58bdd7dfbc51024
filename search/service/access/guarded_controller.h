// SPDX-License-Identifier: Apache-2.0
// The only way from a call to the controller. Services hold a GuardedController, which hands the
// controller to nobody but the holder of a Pass, and a Pass comes only from Admit.
#ifndef FORALL_SEARCH_SERVICE_ACCESS_GUARDED_CONTROLLER_H_
#define FORALL_SEARCH_SERVICE_ACCESS_GUARDED_CONTROLLER_H_

#include <grpcpp/grpcpp.h>
#include <grpcpp/security/auth_metadata_processor.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message.h"
#include "search/controller/controller.h"
#include "search/service/access/audit_log.h"
#include "search/service/access/authorizer.h"
#include "search/store/artifact_store.h"

namespace forall {

// Thread-safe.
class GuardedController {
 public:
  struct Options {
    // None is owned, all must outlive it.
    Controller* controller = nullptr;
    const ArtifactStore* artifacts = nullptr;
    const Authorizer* authorizer = nullptr;
    AuditLog* audit = nullptr;
  };

  // What a call that was admitted holds until its end. Copies are the same pass.
  class Pass {
   public:
    Controller* controller() const { return gate_->options_.controller; }
    const ArtifactStore& artifacts() const { return *gate_->options_.artifacts; }
    const Principal& principal() const { return principal_; }
    // Tells the audit log how the call ended, where its rule says so. `named` is a message that
    // names what the call was about, better than the request did, or nullptr.
    void NoteEnd(const absl::Status& status,
                 const google::protobuf::Message* named = nullptr) const;

   private:
    friend class GuardedController;
    explicit Pass(const GuardedController* gate) : gate_(gate) {}
    const GuardedController* gate_;
    Principal principal_;
    std::shared_ptr<AuditEntry> entry_;  // nullptr: nothing to tell
  };

  explicit GuardedController(const Options& options) : options_(options) {}

  // `request` is the call's, or the default one of a client stream, whose messages come later.
  // Unauthenticated or PermissionDenied, which the audit log has then.
  absl::StatusOr<Pass> Admit(const grpc::CallbackServerContext& context,
                             const google::protobuf::Message& request) const;

  // For the listener's credentials: guards services that are not ours (reflection) before any
  // handler of theirs.
  std::shared_ptr<grpc::AuthMetadataProcessor> ForeignGuard() const;

 private:
  const Options options_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_ACCESS_GUARDED_CONTROLLER_H_
