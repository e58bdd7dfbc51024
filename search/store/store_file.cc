// SPDX-License-Identifier: Apache-2.0
#include "search/store/store_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "search/store/migrations.h"
#include "search/store/record_reader.h"

namespace forall {
namespace {

absl::StatusOr<std::unique_ptr<Db>> Open(const std::string& path, const std::string& vfs,
                                         bool alone) {
  std::error_code error;
  // Absolute, so that SQLite takes no name for a URI.
  const std::filesystem::path absolute = std::filesystem::weakly_canonical(path, error);
  const std::filesystem::file_status status = std::filesystem::status(absolute, error);
  if (!std::filesystem::exists(status)) {
    return absl::NotFoundError("there is no such file; name the one that --db named");
  }
  if (!std::filesystem::is_regular_file(status)) {
    return absl::InvalidArgumentError("is no regular file");
  }
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<Db> db,
                          Db::Open({.path = absolute.string(), .vfs = vfs, .read_only = !alone}));
  // Before anything is read: the log's index is then never shared.
  if (alone) FORALL_RETURN_IF_ERROR(db->Execute("PRAGMA locking_mode = EXCLUSIVE"));
  FORALL_RETURN_IF_ERROR(db->Execute("BEGIN"));
  FORALL_RETURN_IF_ERROR(CheckOwnership(db.get(), StoreMigrations()));
  FORALL_ASSIGN_OR_RETURN(const int64_t version, db->QueryInt64("PRAGMA user_version"));
  if (version == 0) return absl::FailedPreconditionError("it is empty: no controller has used it");
  return db;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Db>> OpenStoreFile(const std::string& path) {
  absl::StatusOr<std::unique_ptr<Db>> db = Open(path, "", /*alone=*/false);
  if (!db.ok()) return WithContext(db.status(), absl::StrCat("store ", path));
  return db;
}

absl::StatusOr<std::unique_ptr<Db>> OpenStoreFileOnFullDisk(const std::string& path,
                                                            const std::string& vfs) {
  absl::StatusOr<std::unique_ptr<Db>> db = Open(path, vfs, /*alone=*/false);
  if (absl::IsUnavailable(db.status()) || absl::IsResourceExhausted(db.status())) {
    db = Open(path, vfs, /*alone=*/true);
  }
  if (!db.ok()) return WithContext(db.status(), absl::StrCat("store ", path));
  return db;
}

absl::StatusOr<std::vector<ArtifactRecord>> ArtifactsOf(Db* db) { return ReadArtifacts(db); }

std::string ArtifactPath(absl::string_view sha256) {
  return absl::StrCat(sha256.substr(0, 2), "/", sha256.substr(2));
}

absl::Status FileError(int error, absl::string_view what, absl::string_view path) {
  const std::string message = absl::StrCat(what, " ", path);
  // Abseil has EIO as Unknown, and EDQUOT is a full disk to us.
  if (error == EIO) return absl::UnavailableError(absl::StrCat(message, ": I/O error"));
  if (error == EDQUOT || error == EFBIG) return absl::ErrnoToStatus(ENOSPC, message);
  return absl::ErrnoToStatus(error, message);
}

absl::Status SyncFolder(const std::string& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return FileError(errno, "cannot open folder", folder);
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  return result == 0 ? absl::OkStatus() : FileError(error, "cannot sync folder", folder);
}

}  // namespace forall
