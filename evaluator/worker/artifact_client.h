// SPDX-License-Identifier: Apache-2.0
// Supernets and exported subnets by their SHA-256: fetched from the controller's ArtifactService
// once, then kept on disk.
#ifndef FORALL_EVALUATOR_WORKER_ARTIFACT_CLIENT_H_
#define FORALL_EVALUATOR_WORKER_ARTIFACT_CLIENT_H_

#include <grpcpp/channel.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "evaluator/worker/backoff.h"
#include "proto/forall/v1/artifact_service.grpc.pb.h"

namespace forall {

// Thread-safe. Several processes may share one cache directory: a file appears there whole, under
// its hash, or not at all; what was downloaded so far lies in <hash>.part under a file lock.
class ArtifactClient {
 public:
  struct Options {
    std::string cache_directory;
    // Least recently used files go when the cache is larger.
    int64_t cache_bytes = int64_t{4} << 30;
    absl::Duration call_timeout = absl::Minutes(10);
    Backoff::Options backoff = {};
  };

  // Creates the directory. PermissionDenied or Unavailable with its path.
  static absl::StatusOr<std::unique_ptr<ArtifactClient>> Create(
      const std::shared_ptr<grpc::Channel>& channel, Options options);

  // The path of a file that has this hash; it was checked just now. Downloads what is missing,
  // going on where an earlier download broke off, while the controller comes and goes. NotFound:
  // the controller has no such artifact. DataLoss: what it sent has another hash (nothing is kept).
  // InvalidArgument: not 64 hex digits. ResourceExhausted: disk full. Cancelled.
  absl::StatusOr<std::string> Fetch(const std::string& sha256, const StopSignal& stop);

  // Returns when the controller has stored it. Also puts it into the cache: whoever exported a
  // subnet is the likeliest to measure it. A full disk there is waited for, as a connection is. The
  // service's other errors; Cancelled.
  absl::Status Upload(absl::string_view bytes, const std::string& sha256, const StopSignal& stop);

 private:
  class PartialFile;

  ArtifactClient(const std::shared_ptr<grpc::Channel>& channel, Options options);
  std::string PathOf(const std::string& sha256) const;
  // Whether the cache has it intact; a damaged file is removed.
  bool IsCached(const std::string& sha256) const;
  absl::Status Download(const std::string& sha256, PartialFile* part, const StopSignal& stop);
  absl::Status Complete(const std::string& sha256, PartialFile* part, const StopSignal& stop);
  absl::StatusOr<bool> IsStored(const std::string& sha256);
  absl::Status Send(absl::string_view bytes, const std::string& sha256, const StopSignal& stop);
  // Makes room by removing what was not used for longest, but not `keep`.
  void Evict(const std::string& keep) const;
  // What processes that were killed left half written.
  void RemoveLeftovers() const;

  const Options options_;
  const std::unique_ptr<v1::ArtifactService::Stub> stub_;
};

}  // namespace forall

#endif  // FORALL_EVALUATOR_WORKER_ARTIFACT_CLIENT_H_
