// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/artifact_client.h"

#include <fcntl.h>
#include <grpcpp/client_context.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "evaluator/worker/grpc_status.h"
#include "net/artifact_chunk.h"

namespace forall {
namespace {

constexpr absl::Duration kQuestionTimeout = absl::Seconds(20);

absl::Status FileError(int error, const std::string& path) {
  const std::string message = absl::StrCat("cannot write ", path, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(message);
  return absl::FailedPreconditionError(message);
}

void SetDeadline(absl::Duration timeout, grpc::ClientContext* context) {
  context->set_deadline(absl::ToChronoTime(Clock::Real()->Now() + timeout));
}

}  // namespace

// <hash>.part, locked against other downloads of the same file. It is never unlinked, only emptied
// or renamed, so that whoever waits for the lock waits on the right file.
class ArtifactClient::PartialFile {
 public:
  explicit PartialFile(std::string path) : path_(std::move(path)) {}
  ~PartialFile() {
    if (fd_ >= 0) close(fd_);
  }
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  // Unavailable when another download holds it.
  absl::Status Lock() {
    if (fd_ >= 0) close(fd_);
    fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd_ < 0) return FileError(errno, path_);
    if (flock(fd_, LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat(path_, " is being downloaded by another process"));
  }
  absl::StatusOr<int64_t> Size() const {
    struct stat info;
    if (fstat(fd_, &info) != 0) return FileError(errno, path_);
    return static_cast<int64_t>(info.st_size);
  }
  absl::Status Append(absl::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t count = write(fd_, bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return FileError(errno, path_);
      bytes.remove_prefix(static_cast<size_t>(count));
    }
    return absl::OkStatus();
  }
  absl::Status Empty() {
    return ftruncate(fd_, 0) == 0 ? absl::OkStatus() : FileError(errno, path_);
  }
  absl::Status MoveTo(const std::string& path) {
    if (fsync(fd_) != 0 || rename(path_.c_str(), path.c_str()) != 0) return FileError(errno, path);
    return absl::OkStatus();
  }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
  int fd_ = -1;
};

ArtifactClient::ArtifactClient(const std::shared_ptr<grpc::Channel>& channel, Options options)
    : options_(std::move(options)), stub_(v1::ArtifactService::NewStub(channel)) {}

absl::StatusOr<std::unique_ptr<ArtifactClient>> ArtifactClient::Create(
    const std::shared_ptr<grpc::Channel>& channel, Options options) {
  FORALL_RETURN_IF_ERROR(CreateDirectories(options.cache_directory));
  std::unique_ptr<ArtifactClient> client(new ArtifactClient(channel, std::move(options)));
  client->RemoveLeftovers();
  return client;
}

std::string ArtifactClient::PathOf(const std::string& sha256) const {
  return absl::StrCat(options_.cache_directory, "/", sha256);
}

bool ArtifactClient::IsCached(const std::string& sha256) const {
  const std::string path = PathOf(sha256);
  const absl::StatusOr<std::string> actual = Sha256OfFile(path);
  if (!actual.ok()) return false;
  if (*actual == sha256) {
    utimensat(AT_FDCWD, path.c_str(), nullptr, 0);  // used now; only eviction looks at it
    return true;
  }
  FORALL_LOG(WARNING) << "cached file is damaged and is fetched again path=" << path;
  unlink(path.c_str());
  return false;
}

absl::StatusOr<std::string> ArtifactClient::Fetch(const std::string& sha256,
                                                  const StopSignal& stop) {
  if (!IsSha256Hex(sha256)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", sha256, "\" is not a SHA-256 of 64 lower-case hex digits"));
  }
  if (IsCached(sha256)) return PathOf(sha256);
  PartialFile part(PathOf(sha256) + ".part");
  FORALL_RETURN_IF_ERROR(RetryConnection(options_.backoff, stop, [&] { return part.Lock(); }));
  if (IsCached(sha256)) return PathOf(sha256);  // by whoever had the lock before
  FORALL_RETURN_IF_ERROR(Complete(sha256, &part, stop));
  FORALL_RETURN_IF_ERROR(part.MoveTo(PathOf(sha256)));
  Evict(sha256);
  return PathOf(sha256);
}

absl::Status ArtifactClient::Complete(const std::string& sha256, PartialFile* part,
                                      const StopSignal& stop) {
  FORALL_ASSIGN_OR_RETURN(int64_t resumed, part->Size());
  while (true) {
    const absl::Status status =
        RetryConnection(options_.backoff, stop, [&] { return Download(sha256, part, stop); });
    if (status.ok()) {
      FORALL_ASSIGN_OR_RETURN(const std::string actual, Sha256OfFile(part->path()));
      if (actual == sha256) return absl::OkStatus();
    } else if (status.code() != absl::StatusCode::kOutOfRange) {
      return WithContext(status, absl::StrCat("fetch artifact ", sha256));
    }
    FORALL_RETURN_IF_ERROR(part->Empty());
    // An old part may have been of no use; a whole download that fails is the sender's fault.
    if (resumed == 0) {
      return absl::DataLossError(
          absl::StrCat("the bytes that the controller sent do not have the SHA-256 ", sha256));
    }
    resumed = 0;
  }
}

absl::Status ArtifactClient::Download(const std::string& sha256, PartialFile* part,
                                      const StopSignal& stop) {
  v1::DownloadArtifactRequest request;
  request.set_sha256(sha256);
  FORALL_ASSIGN_OR_RETURN(const int64_t offset, part->Size());
  request.set_offset(offset);
  grpc::ClientContext context;
  SetDeadline(options_.call_timeout, &context);
  const auto reader = stub_->DownloadArtifact(&context, request);
  v1::DownloadArtifactResponse response;
  while (reader->Read(&response)) {
    const absl::Status written =
        stop.stopped() ? absl::CancelledError("stopped") : part->Append(response.content());
    if (!written.ok()) {
      context.TryCancel();
      reader->Finish();
      return written;
    }
  }
  return FromGrpcStatus(reader->Finish());
}

absl::Status ArtifactClient::Upload(absl::string_view bytes, const std::string& sha256,
                                    const StopSignal& stop) {
  // Without a cache the file is fetched again, so that a full disk here is no reason to fail.
  if (const absl::Status cached = WriteFileAtomically(PathOf(sha256), bytes); cached.ok()) {
    Evict(sha256);
  } else {
    FORALL_LOG(WARNING) << "cannot cache an exported subnet: " << cached.message();
  }
  bool told = false;
  const absl::Status status = RetryConnection(options_.backoff, stop, [&]() -> absl::Status {
    const absl::Status sent = Send(bytes, sha256, stop);
    if (!absl::IsResourceExhausted(sent)) return sent;
    if (!told) {
      FORALL_LOG(WARNING) << "waiting for the controller to have room for an exported subnet: "
                          << sent.message();
    }
    told = true;
    return absl::UnavailableError(sent.message());
  });
  return WithContext(status, absl::StrCat("upload artifact ", sha256));
}

absl::StatusOr<bool> ArtifactClient::IsStored(const std::string& sha256) {
  grpc::ClientContext context;
  SetDeadline(std::min(options_.call_timeout, kQuestionTimeout), &context);
  v1::GetArtifactRequest request;
  request.set_sha256(sha256);
  v1::Artifact artifact;
  const absl::Status status = FromGrpcStatus(stub_->GetArtifact(&context, request, &artifact));
  if (status.ok()) return true;
  if (absl::IsNotFound(status)) return false;
  return status;
}

absl::Status ArtifactClient::Send(absl::string_view bytes, const std::string& sha256,
                                  const StopSignal& stop) {
  FORALL_ASSIGN_OR_RETURN(const bool stored, IsStored(sha256));
  if (stored) return absl::OkStatus();
  grpc::ClientContext context;
  SetDeadline(options_.call_timeout, &context);
  v1::Artifact artifact;
  const auto writer = stub_->UploadArtifact(&context, &artifact);
  v1::UploadArtifactRequest request;
  request.set_sha256(sha256);
  request.set_size_bytes(static_cast<int64_t>(bytes.size()));
  // A failed write means that the service has its answer already, e.g. that the file is there.
  bool open = writer->Write(request);
  request.Clear();
  while (open && !bytes.empty()) {
    const absl::string_view chunk = bytes.substr(0, kArtifactChunkBytes);
    request.set_content(chunk.data(), chunk.size());
    open = writer->Write(request);
    bytes.remove_prefix(chunk.size());
    if (stop.stopped()) context.TryCancel();
  }
  writer->WritesDone();
  return FromGrpcStatus(writer->Finish());
}

void ArtifactClient::RemoveLeftovers() const {
  const absl::Time old = Clock::Real()->Now() - absl::Hours(24);
  std::error_code error;  // What cannot be looked at stays.
  for (const auto& file : std::filesystem::directory_iterator(options_.cache_directory, error)) {
    const std::string name = file.path().filename().string();
    const bool ours = name.size() > 64 && IsSha256Hex(name.substr(0, 64)) &&
                      absl::StartsWith(name.substr(64), ".tmp");
    struct stat info;
    // A young one may be another process's, which is writing it.
    if (ours && stat(file.path().c_str(), &info) == 0 && absl::FromTimeT(info.st_mtime) < old) {
      std::filesystem::remove(file.path(), error);
    }
  }
}

void ArtifactClient::Evict(const std::string& keep) const {
  struct Entry {
    std::filesystem::file_time_type used;
    int64_t size;
    std::filesystem::path path;
  };
  std::vector<Entry> entries;
  int64_t total = 0;
  std::error_code error;  // Files may vanish meanwhile; those that cannot be read are let be.
  for (const auto& file : std::filesystem::directory_iterator(options_.cache_directory, error)) {
    const int64_t size = static_cast<int64_t>(file.file_size(error));
    if (error) continue;
    const std::filesystem::file_time_type used = file.last_write_time(error);
    if (error) continue;
    total += size;
    if (IsSha256Hex(file.path().filename().string()) && file.path().filename() != keep) {
      entries.push_back({used, size, file.path()});
    }
  }
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.used < b.used; });
  for (const Entry& entry : entries) {
    if (total <= options_.cache_bytes) return;
    if (std::filesystem::remove(entry.path, error)) total -= entry.size;
  }
}

}  // namespace forall
