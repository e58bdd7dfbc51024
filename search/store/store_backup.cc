// SPDX-License-Identifier: Apache-2.0
#include "search/store/store_backup.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <memory>
#include <set>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "search/store/file_lock.h"
#include "search/store/sqlite_db.h"
#include "search/store/store_file.h"

namespace forall {
namespace {

absl::Status CheckTarget(const std::string& file) {
  std::error_code error;
  if (file.empty()) return absl::InvalidArgumentError("backup: name the file to write");
  if (std::filesystem::exists(std::filesystem::symlink_status(file, error))) {
    return absl::AlreadyExistsError(
        absl::StrCat("backup ", file,
                     ": it exists already, and no backup is written over; give "
                     "another name"));
  }
  const std::filesystem::path folder = std::filesystem::absolute(file, error).parent_path();
  if (std::filesystem::is_directory(folder, error)) return absl::OkStatus();
  return absl::NotFoundError(
      absl::StrCat("backup ", file, ": its folder does not exist: create ", folder.string()));
}

// All pages in one step: those of one moment, which writers do not change meanwhile.
absl::Status CopyPages(Db* from, Db* to) {
  sqlite3_backup* const backup = sqlite3_backup_init(to->handle(), "main", from->handle(), "main");
  if (backup == nullptr) {
    return SqliteError(sqlite3_extended_errcode(to->handle()), sqlite3_errmsg(to->handle()));
  }
  const int step = sqlite3_backup_step(backup, -1);
  const int finish = sqlite3_backup_finish(backup);
  if (step != SQLITE_DONE) return SqliteError(step, sqlite3_errstr(step));
  return SqliteError(finish, sqlite3_errstr(finish));
}

// Whoever takes the copy in the store's place begins anew: leases that the store has given, and
// goes on giving, are not good there. Their secrets leave no trace in the file.
absl::Status RemoveSecrets(Db* copy) {
  FORALL_ASSIGN_OR_RETURN(
      const int64_t tables,
      copy->QueryInt64("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = "
                       "'lives'"));
  if (tables == 0) return absl::OkStatus();  // of an older schema
  // Into the file itself: what closing the copy does to its log is not reported.
  return copy->Execute(
      "PRAGMA secure_delete = ON; DELETE FROM lives; PRAGMA wal_checkpoint(TRUNCATE);");
}

absl::Status CheckCopy(Db* copy) {
  FORALL_ASSIGN_OR_RETURN(Statement check, copy->Query("PRAGMA quick_check(1)"));
  FORALL_ASSIGN_OR_RETURN(const bool row, check.Step());
  if (row && check.Text(0) == "ok") return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the copy is damaged (", row ? check.Text(0) : "",
                                          "): run forall-controller check on the original"));
}

absl::Status SyncFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return FileError(errno, "cannot open", path);
  const int result = fsync(fd);
  const int error = errno;
  close(fd);
  return result == 0 ? absl::OkStatus() : FileError(error, "cannot sync", path);
}

void RemoveDatabase(const std::string& path) {
  std::error_code ignored;
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    std::filesystem::remove(path + suffix, ignored);
  }
}

absl::Status CopyDatabase(Db* from, const std::string& partial) {
  {
    FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<Db> to, Db::Open({.path = partial}));
    FORALL_RETURN_IF_ERROR(CopyPages(from, to.get()));
  }
  {
    FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<Db> copy, Db::Open({.path = partial}));
    FORALL_RETURN_IF_ERROR(RemoveSecrets(copy.get()));
    FORALL_RETURN_IF_ERROR(CheckCopy(copy.get()));
  }
  return SyncFile(partial);
}

enum class Put { kLinked, kCopied, kPresent, kMissing };

absl::StatusOr<Put> PutArtifact(const std::string& from, const std::string& to, int64_t size) {
  std::error_code error;
  if (const auto there = std::filesystem::file_size(to, error);
      !error && there == static_cast<uintmax_t>(size)) {
    return Put::kPresent;
  }
  const auto have = std::filesystem::file_size(from, error);
  if (error || have != static_cast<uintmax_t>(size)) return Put::kMissing;
  std::filesystem::remove(to, error);
  if (link(from.c_str(), to.c_str()) == 0) return Put::kLinked;
  // Another file system, or one without links.
  const std::string partial = to + ".partial";
  if (!std::filesystem::copy_file(from, partial, std::filesystem::copy_options::overwrite_existing,
                                  error)) {
    const absl::Status status = FileError(error.value(), "cannot copy to", partial);
    std::filesystem::remove(partial, error);
    return status;
  }
  FORALL_RETURN_IF_ERROR(SyncFile(partial));
  if (rename(partial.c_str(), to.c_str()) != 0) return FileError(errno, "cannot rename to", to);
  return Put::kCopied;
}

absl::Status PutArtifacts(const std::vector<ArtifactRecord>& artifacts, const std::string& from,
                          const std::string& to, BackupSummary* summary) {
  FORALL_RETURN_IF_ERROR(CreateDirectories(to));
  std::set<std::string> folders;
  for (const ArtifactRecord& artifact : artifacts) {
    // A damaged name would be a path to anywhere.
    if (!IsSha256Hex(artifact.sha256)) {
      summary->missing.push_back(artifact.sha256);
      continue;
    }
    const std::string path = ArtifactPath(artifact.sha256);
    const std::string folder = absl::StrCat(to, "/", path.substr(0, 2));
    if (folders.insert(folder).second) FORALL_RETURN_IF_ERROR(CreateDirectories(folder));
    FORALL_ASSIGN_OR_RETURN(const Put put,
                            PutArtifact(absl::StrCat(from, "/", path), absl::StrCat(to, "/", path),
                                        artifact.size_bytes));
    summary->linked += put == Put::kLinked;
    summary->copied += put == Put::kCopied;
    summary->present += put == Put::kPresent;
    if (put == Put::kMissing) {
      summary->missing.push_back(artifact.sha256);
    } else {
      summary->artifact_bytes += artifact.size_bytes;
    }
  }
  for (const std::string& folder : folders) FORALL_RETURN_IF_ERROR(SyncFolder(folder));
  return SyncFolder(to);
}

}  // namespace

absl::StatusOr<BackupSummary> BackUpStore(const BackupOptions& options) {
  FORALL_RETURN_IF_ERROR(CheckTarget(options.file));
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<Db> from, OpenStoreFile(options.db));
  std::error_code error;
  const std::filesystem::path target = std::filesystem::absolute(options.file, error);
  const std::string partial = target.string() + ".partial";
  // Two that write the same files would spoil both.
  const absl::StatusOr<std::unique_ptr<FileLock>> lock =
      FileLock::Acquire((target.parent_path() / ".forall-backup.lock").string());
  if (absl::IsFailedPrecondition(lock.status())) {
    return absl::FailedPreconditionError(absl::StrCat(
        "backup ", options.file, ": another backup into that folder is being written; try again"));
  }
  if (!lock.ok()) return WithContext(lock.status(), absl::StrCat("backup ", options.file));
  FORALL_RETURN_IF_ERROR(CheckTarget(options.file));
  RemoveDatabase(partial);
  BackupSummary summary;
  FORALL_ASSIGN_OR_RETURN(summary.jobs, from->QueryInt64("SELECT count(*) FROM jobs"));
  FORALL_ASSIGN_OR_RETURN(summary.measurements,
                          from->QueryInt64("SELECT count(*) FROM measurements"));
  absl::StatusOr<std::vector<ArtifactRecord>> artifacts = ArtifactsOf(from.get());
  if (!artifacts.ok()) return artifacts.status();
  absl::Status copied = CopyDatabase(from.get(), partial);
  // The log of the store cannot begin anew while its moment is held.
  from.reset();
  if (copied.ok()) {
    summary.bytes = static_cast<int64_t>(std::filesystem::file_size(partial, error));
    if (rename(partial.c_str(), target.c_str()) != 0) {
      copied = FileError(errno, "cannot give the copy its name,", options.file);
    }
  }
  RemoveDatabase(partial);
  FORALL_RETURN_IF_ERROR(WithContext(copied, absl::StrCat("backup ", options.file)));
  FORALL_RETURN_IF_ERROR(SyncFolder(target.parent_path().string()));
  if (options.with_artifacts) {
    FORALL_RETURN_IF_ERROR(
        PutArtifacts(*artifacts, options.artifacts, target.string() + ".artifacts", &summary));
  }
  return summary;
}

}  // namespace forall
