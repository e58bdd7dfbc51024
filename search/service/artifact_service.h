// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_SEARCH_SERVICE_ARTIFACT_SERVICE_H_
#define FORALL_SEARCH_SERVICE_ARTIFACT_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include "proto/forall/v1/artifact_service.grpc.pb.h"
#include "search/service/access/guarded_controller.h"

namespace forall {

// ArtifactService over the artifact store behind a controller, which learns of new files and must
// outlive it. Stateless; thread-safe.
class ArtifactServiceImpl : public v1::ArtifactService::CallbackService {
 public:
  explicit ArtifactServiceImpl(const GuardedController* controller) : controller_(controller) {}

  grpc::ServerUnaryReactor* GetArtifact(grpc::CallbackServerContext* context,
                                        const v1::GetArtifactRequest* request,
                                        v1::Artifact* response) override;
  grpc::ServerReadReactor<v1::UploadArtifactRequest>* UploadArtifact(
      grpc::CallbackServerContext* context, v1::Artifact* response) override;
  grpc::ServerWriteReactor<v1::DownloadArtifactResponse>* DownloadArtifact(
      grpc::CallbackServerContext* context, const v1::DownloadArtifactRequest* request) override;

 private:
  const GuardedController* const controller_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_ARTIFACT_SERVICE_H_
