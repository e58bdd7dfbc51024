// SPDX-License-Identifier: Apache-2.0
// Files by the SHA-256 of their content, in a folder: FOLDER/ab/cdef... A file is there whole and
// verified, or not at all, also after a crash or a full disk. Names come from the network: nothing
// but 64 lower-case hex digits reaches the file system.
#ifndef FORALL_SEARCH_STORE_ARTIFACT_STORE_H_
#define FORALL_SEARCH_STORE_ARTIFACT_STORE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/sha256.h"
#include "search/store/file_lock.h"

namespace forall {

// One upload. Removes what it wrote unless Commit succeeded. Thread-compatible.
class ArtifactWriter {
 public:
  ~ArtifactWriter();
  ArtifactWriter(const ArtifactWriter&) = delete;
  ArtifactWriter& operator=(const ArtifactWriter&) = delete;

  // The next bytes. DataLoss: more than announced. ResourceExhausted: disk full. After an error
  // only destruction is left.
  absl::Status Append(absl::string_view bytes);
  // Verifies, syncs, and gives the file its name: durable when OK. DataLoss: the bytes do not have
  // the announced size or hash, and nothing was kept. Call once.
  absl::Status Commit();

 private:
  friend class ArtifactStore;
  ArtifactWriter(int fd, std::string temporary, std::string final_path, std::string sha256,
                 int64_t size_bytes)
      : fd_(fd),
        temporary_(std::move(temporary)),
        final_path_(std::move(final_path)),
        sha256_(std::move(sha256)),
        size_bytes_(size_bytes) {}

  int fd_;
  const std::string temporary_;
  const std::string final_path_;
  const std::string sha256_;
  const int64_t size_bytes_;
  int64_t written_ = 0;
  Sha256 hash_;
};

// One download. Goes on although the store is destroyed. Thread-compatible.
class ArtifactReader {
 public:
  ~ArtifactReader();
  ArtifactReader(const ArtifactReader&) = delete;
  ArtifactReader& operator=(const ArtifactReader&) = delete;

  int64_t size_bytes() const { return size_bytes_; }
  // At most `max_bytes` of what follows; empty at the end.
  absl::StatusOr<std::string> Read(size_t max_bytes);

 private:
  friend class ArtifactStore;
  ArtifactReader(int fd, int64_t size_bytes, int64_t offset)
      : fd_(fd), size_bytes_(size_bytes), offset_(offset) {}

  const int fd_;
  const int64_t size_bytes_;
  int64_t offset_;
};

// Thread-safe.
class ArtifactStore {
 public:
  struct Options {
    std::string folder;                    // made when it is missing
    int64_t max_bytes = int64_t{4} << 30;  // largest single artifact
  };
  // Holds the folder for this store alone (by FOLDER/lock), and removes what interrupted uploads
  // left. FailedPrecondition: another process has it.
  static absl::StatusOr<std::unique_ptr<ArtifactStore>> Create(Options options);

  // InvalidArgument: not a SHA-256. NotFound: there is no such artifact.
  absl::StatusOr<int64_t> Size(absl::string_view sha256) const;
  // False also for what is not a SHA-256.
  bool Exists(absl::string_view sha256) const;
  // Where it lies or would lie. InvalidArgument: not a SHA-256.
  absl::StatusOr<std::string> PathOf(absl::string_view sha256) const;

  // Writing what exists is allowed and changes nothing. InvalidArgument: hash, negative size.
  // ResourceExhausted: larger than the limit, or disk full.
  absl::StatusOr<std::unique_ptr<ArtifactWriter>> NewWriter(absl::string_view sha256,
                                                            int64_t size_bytes) const;
  // From `offset` on. NotFound, InvalidArgument; OutOfRange: offset past the end.
  absl::StatusOr<std::unique_ptr<ArtifactReader>> NewReader(absl::string_view sha256,
                                                            int64_t offset) const;
  // Stores `content` and returns its hash.
  absl::StatusOr<std::string> Put(absl::string_view content) const;

 private:
  ArtifactStore(Options options, std::unique_ptr<FileLock> lock)
      : options_(std::move(options)), lock_(std::move(lock)) {}
  const Options options_;
  const std::unique_ptr<FileLock> lock_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_STORE_ARTIFACT_STORE_H_
