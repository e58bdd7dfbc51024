// SPDX-License-Identifier: Apache-2.0
#include "search/service/artifact_service.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/sha256.h"
#include "net/artifact_chunk.h"
#include "search/service/grpc_status.h"
#include "search/service/refused_call.h"

namespace forall {
namespace {

class UploadCall : public grpc::ServerReadReactor<v1::UploadArtifactRequest> {
 public:
  UploadCall(GuardedController::Pass pass, v1::Artifact* response)
      : pass_(std::move(pass)), response_(response) {
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    if (finished_) return;
    const absl::Status status = ok ? Take() : Complete();
    if (!status.ok()) return End(status);
    if (ok && !finished_) StartRead(&request_);
  }

  void OnDone() override { delete this; }

 private:
  // The next message.
  absl::Status Take() {
    if (writer_ == nullptr) {
      if (!IsSha256Hex(request_.sha256())) {
        return absl::InvalidArgumentError(
            "sha256: the first message must hold 64 lower-case hex digits");
      }
      sha256_ = request_.sha256();
      if (const absl::StatusOr<int64_t> size = pass_.artifacts().Size(sha256_); size.ok()) {
        Succeed(*size);
        return absl::OkStatus();
      }
      size_bytes_ = request_.size_bytes();
      absl::StatusOr<std::unique_ptr<ArtifactWriter>> writer =
          pass_.artifacts().NewWriter(sha256_, size_bytes_);
      if (!writer.ok()) return writer.status();
      writer_ = *std::move(writer);
    }
    if (request_.content().size() > kArtifactChunkBytes) {
      return absl::InvalidArgumentError(absl::StrCat("content: at most ", kArtifactChunkBytes,
                                                     " bytes a message, got ",
                                                     request_.content().size()));
    }
    return writer_->Append(request_.content());
  }

  // The client has sent all, or has gone; which of the two, the hash tells.
  absl::Status Complete() {
    if (writer_ == nullptr) return absl::InvalidArgumentError("sha256: the upload was empty");
    const absl::Status committed = writer_->Commit();
    if (committed.ok()) Succeed(size_bytes_);
    return committed;
  }

  void Succeed(int64_t size_bytes) {
    finished_ = true;
    response_->set_sha256(sha256_);
    response_->set_size_bytes(size_bytes);
    pass_.controller()->RecordArtifact(sha256_, size_bytes,
                                       [this](const absl::StatusOr<int64_t>& done) {
                                         pass_.NoteEnd(done.status(), response_);
                                         Finish(ToGrpcStatus(done.status()));
                                       });
  }

  void End(const absl::Status& status) {
    finished_ = true;
    writer_.reset();
    response_->set_sha256(sha256_);
    pass_.NoteEnd(status, response_);
    Finish(ToGrpcStatus(status));
  }

  const GuardedController::Pass pass_;
  v1::Artifact* const response_;
  // gRPC delivers a call's reads one after the other: no lock.
  v1::UploadArtifactRequest request_;
  std::string sha256_;
  int64_t size_bytes_ = 0;
  std::unique_ptr<ArtifactWriter> writer_;
  bool finished_ = false;
};

class DownloadCall : public grpc::ServerWriteReactor<v1::DownloadArtifactResponse> {
 public:
  DownloadCall(const v1::DownloadArtifactRequest& request, const ArtifactStore& artifacts) {
    absl::StatusOr<std::unique_ptr<ArtifactReader>> reader =
        artifacts.NewReader(request.sha256(), request.offset());
    if (!reader.ok()) {
      Finish(ToGrpcStatus(reader.status()));
      return;
    }
    reader_ = *std::move(reader);
    Next();
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      Next();
    } else {
      Finish(grpc::Status::CANCELLED);
    }
  }

  void OnDone() override { delete this; }

 private:
  void Next() {
    absl::StatusOr<std::string> content = reader_->Read(kArtifactChunkBytes);
    if (!content.ok() || content->empty()) {
      Finish(ToGrpcStatus(content.status()));
      return;
    }
    response_.set_content(*std::move(content));
    StartWrite(&response_);
  }

  std::unique_ptr<ArtifactReader> reader_;
  v1::DownloadArtifactResponse response_;
};

}  // namespace

grpc::ServerUnaryReactor* ArtifactServiceImpl::GetArtifact(grpc::CallbackServerContext* context,
                                                           const v1::GetArtifactRequest* request,
                                                           v1::Artifact* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const absl::StatusOr<GuardedController::Pass> pass = controller_->Admit(*context, *request);
  const absl::StatusOr<int64_t> size =
      pass.ok() ? pass->artifacts().Size(request->sha256()) : pass.status();
  if (size.ok()) {
    response->set_sha256(request->sha256());
    response->set_size_bytes(*size);
  }
  reactor->Finish(ToGrpcStatus(size.status()));
  return reactor;
}

grpc::ServerReadReactor<v1::UploadArtifactRequest>* ArtifactServiceImpl::UploadArtifact(
    grpc::CallbackServerContext* context, v1::Artifact* response) {
  absl::StatusOr<GuardedController::Pass> pass =
      controller_->Admit(*context, v1::UploadArtifactRequest::default_instance());
  if (!pass.ok()) {
    return new RefusedCall<grpc::ServerReadReactor<v1::UploadArtifactRequest>>(pass.status());
  }
  return new UploadCall(*std::move(pass), response);
}

grpc::ServerWriteReactor<v1::DownloadArtifactResponse>* ArtifactServiceImpl::DownloadArtifact(
    grpc::CallbackServerContext* context, const v1::DownloadArtifactRequest* request) {
  const absl::StatusOr<GuardedController::Pass> pass = controller_->Admit(*context, *request);
  if (!pass.ok()) {
    return new RefusedCall<grpc::ServerWriteReactor<v1::DownloadArtifactResponse>>(pass.status());
  }
  return new DownloadCall(*request, pass->artifacts());
}

}  // namespace forall
