// SPDX-License-Identifier: Apache-2.0
// An ArtifactService in this process that keeps its files in memory and breaks off, lies or counts
// as a test wants.
#ifndef FORALL_EVALUATOR_WORKER_TESTING_FAKE_ARTIFACT_SERVICE_H_
#define FORALL_EVALUATOR_WORKER_TESTING_FAKE_ARTIFACT_SERVICE_H_

#include <grpcpp/server_context.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/sha256.h"
#include "proto/forall/v1/artifact_service.grpc.pb.h"

namespace forall::testing {

// Thread-safe.
class FakeArtifactService final : public v1::ArtifactService::Service {
 public:
  // Returns its hash.
  std::string Put(const std::string& bytes) {
    const std::string sha256 = Sha256Hex(bytes);
    PutAs(sha256, bytes);
    return sha256;
  }
  void PutAs(const std::string& sha256, const std::string& bytes) {
    MutexLock lock(&mu_);
    files_[sha256] = bytes;
  }
  std::string Get(const std::string& sha256) {
    MutexLock lock(&mu_);
    return files_[sha256];
  }
  // The next `times` downloads break off with UNAVAILABLE after `bytes` bytes, and the next `times`
  // uploads before they are stored.
  void BreakOff(int times, size_t bytes) {
    MutexLock lock(&mu_);
    breaks_ = times;
    break_after_ = bytes;
  }
  std::vector<int64_t> download_offsets() {
    MutexLock lock(&mu_);
    return download_offsets_;
  }
  int uploads() {
    MutexLock lock(&mu_);
    return uploads_;
  }

  grpc::Status GetArtifact(grpc::ServerContext* context, const v1::GetArtifactRequest* request,
                           v1::Artifact* response) override {
    MutexLock lock(&mu_);
    if (files_.count(request->sha256()) > 0) return grpc::Status::OK;
    return {grpc::StatusCode::NOT_FOUND, "no such artifact"};
  }

  grpc::Status DownloadArtifact(grpc::ServerContext* context,
                                const v1::DownloadArtifactRequest* request,
                                grpc::ServerWriter<v1::DownloadArtifactResponse>* writer) override {
    std::string bytes;
    bool broken = false;
    {
      MutexLock lock(&mu_);
      download_offsets_.push_back(request->offset());
      const auto found = files_.find(request->sha256());
      if (found == files_.end()) return {grpc::StatusCode::NOT_FOUND, "no such artifact"};
      bytes = found->second;
      if (request->offset() > static_cast<int64_t>(bytes.size())) {
        return {grpc::StatusCode::OUT_OF_RANGE, "offset past the end"};
      }
      bytes.erase(0, static_cast<size_t>(request->offset()));
      broken = breaks_ > 0;
      if (broken) {
        --breaks_;
        bytes.resize(std::min(bytes.size(), break_after_));
      }
    }
    for (size_t i = 0; i < bytes.size(); i += 1000) {
      v1::DownloadArtifactResponse response;
      response.set_content(bytes.substr(i, 1000));
      writer->Write(response);
    }
    if (broken) return {grpc::StatusCode::UNAVAILABLE, "going down"};
    return grpc::Status::OK;
  }

  grpc::Status UploadArtifact(grpc::ServerContext* context,
                              grpc::ServerReader<v1::UploadArtifactRequest>* reader,
                              v1::Artifact* response) override {
    v1::UploadArtifactRequest request;
    if (!reader->Read(&request)) return {grpc::StatusCode::INVALID_ARGUMENT, "empty"};
    const std::string sha256 = request.sha256();
    const int64_t size = request.size_bytes();
    std::string bytes = request.content();
    // Also before an error: gRPC 1.51's synchronous server can hang in its destructor when a
    // handler leaves messages unread.
    while (reader->Read(&request)) bytes += request.content();
    {
      MutexLock lock(&mu_);
      ++uploads_;
      if (breaks_ > 0) {
        --breaks_;
        return {grpc::StatusCode::UNAVAILABLE, "going down"};
      }
    }
    if (static_cast<int64_t>(bytes.size()) != size || Sha256Hex(bytes) != sha256) {
      return {grpc::StatusCode::DATA_LOSS, "other bytes"};
    }
    PutAs(sha256, bytes);
    return grpc::Status::OK;
  }

 private:
  Mutex mu_;
  std::map<std::string, std::string> files_ ABSL_GUARDED_BY(mu_);
  int breaks_ ABSL_GUARDED_BY(mu_) = 0;
  size_t break_after_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<int64_t> download_offsets_ ABSL_GUARDED_BY(mu_);
  int uploads_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace forall::testing

#endif  // FORALL_EVALUATOR_WORKER_TESTING_FAKE_ARTIFACT_SERVICE_H_
