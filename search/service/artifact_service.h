// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_SEARCH_SERVICE_ARTIFACT_SERVICE_H_
#define FORALL_SEARCH_SERVICE_ARTIFACT_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include "proto/forall/v1/artifact_service.grpc.pb.h"
#include "search/controller/controller.h"
#include "search/store/artifact_store.h"

namespace forall {

// ArtifactService over an artifact store; the controller learns of new files. Both must outlive it.
// Stateless; thread-safe.
class ArtifactServiceImpl : public v1::ArtifactService::CallbackService {
 public:
  ArtifactServiceImpl(Controller* controller, const ArtifactStore* artifacts)
      : controller_(controller), artifacts_(artifacts) {}

  grpc::ServerUnaryReactor* GetArtifact(grpc::CallbackServerContext* context,
                                        const v1::GetArtifactRequest* request,
                                        v1::Artifact* response) override;
  grpc::ServerReadReactor<v1::UploadArtifactRequest>* UploadArtifact(
      grpc::CallbackServerContext* context, v1::Artifact* response) override;
  grpc::ServerWriteReactor<v1::DownloadArtifactResponse>* DownloadArtifact(
      grpc::CallbackServerContext* context, const v1::DownloadArtifactRequest* request) override;

 private:
  Controller* const controller_;
  const ArtifactStore* const artifacts_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_ARTIFACT_SERVICE_H_
