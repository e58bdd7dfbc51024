// SPDX-License-Identifier: Apache-2.0
#include "search/store/store_garbage.h"

#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "search/store/file_lock.h"
#include "search/store/record_reader.h"
#include "search/store/sqlite_db.h"
#include "search/store/store_file.h"

namespace forall {
namespace {

absl::StatusOr<std::set<std::string>> Referenced(Db* db, const GarbageOptions& options) {
  std::set<std::string> hashes;
  {
    FORALL_ASSIGN_OR_RETURN(
        Statement rows,
        db->Query("SELECT text FROM keys WHERE id IN (SELECT artifact FROM exports UNION SELECT "
                  "hash FROM supernets UNION SELECT supernet FROM jobs UNION SELECT artifact FROM "
                  "accuracy_parts UNION SELECT subject FROM "
                  "measurements)"));
    FORALL_RETURN_IF_ERROR(rows.ForEachRow([&] {
      hashes.insert(rows.Text(0));
      return absl::OkStatus();
    }));
  }
  {
    FORALL_ASSIGN_OR_RETURN(Statement rows,
                            db->Query("SELECT DISTINCT payload ->> 'artifact' FROM job_events "
                                      "WHERE kind = 'exported' AND json_valid(payload)"));
    FORALL_RETURN_IF_ERROR(rows.ForEachRow([&] {
      hashes.insert(rows.Text(0));
      return absl::OkStatus();
    }));
  }
  FORALL_ASSIGN_OR_RETURN(const std::vector<JobRecord> jobs, ReadJobs(db));
  for (const JobRecord& job : jobs) {
    for (std::string& hash : options.named_by_spec(job.spec)) hashes.insert(std::move(hash));
  }
  return hashes;
}

struct File {
  std::string path;
  int64_t bytes = 0;
  absl::Time changed;
};

// Everything that is named as an artifact is, by hash.
absl::StatusOr<std::map<std::string, File>> FilesIn(const std::string& folder) {
  std::map<std::string, File> files;
  std::error_code error;
  for (auto part = std::filesystem::directory_iterator(folder, error);
       !error && part != std::filesystem::directory_iterator(); part.increment(error)) {
    const std::string prefix = part->path().filename().string();
    if (prefix.size() != 2 || !part->is_directory()) continue;
    for (const auto& entry : std::filesystem::directory_iterator(part->path(), error)) {
      const std::string hash = prefix + entry.path().filename().string();
      struct stat info = {};
      if (!IsSha256Hex(hash) || lstat(entry.path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) {
        continue;
      }
      files[hash] = {entry.path().string(), info.st_size, absl::FromTimeT(info.st_mtime)};
    }
  }
  if (error) return FileError(error.value(), "cannot read", folder);
  return files;
}

absl::Status RemoveRows(const GarbageOptions& options, const std::vector<std::string>& hashes) {
  if (hashes.empty()) return absl::OkStatus();
  FORALL_ASSIGN_OR_RETURN(
      const std::unique_ptr<Db> db,
      Db::Open({.path = std::filesystem::absolute(options.db), .vfs = options.vfs}));
  FORALL_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(db.get()));
  for (const std::string& hash : hashes) {
    FORALL_RETURN_IF_ERROR(
        db->Run("DELETE FROM artifacts WHERE hash = (SELECT id FROM keys WHERE text = ?)", hash));
  }
  return transaction.Commit();
}

}  // namespace

absl::StatusOr<GarbageReport> CollectGarbage(const GarbageOptions& options) {
  std::unique_ptr<FileLock> store_lock;
  std::unique_ptr<FileLock> folder_lock;
  if (!options.dry_run) {
    // First, so that a mistaken path makes no lock file.
    FORALL_RETURN_IF_ERROR(OpenStoreFileOnFullDisk(options.db, options.vfs).status());
    std::error_code error;
    const std::string path = std::filesystem::weakly_canonical(options.db, error).string();
    absl::StatusOr<std::unique_ptr<FileLock>> lock = FileLock::Acquire(path + ".lock");
    if (!lock.ok()) return WithContext(lock.status(), absl::StrCat("store ", options.db));
    store_lock = *std::move(lock);
    lock = FileLock::Acquire(options.artifacts + "/lock");
    if (!lock.ok())
      return WithContext(lock.status(), absl::StrCat("artifacts ", options.artifacts));
    folder_lock = *std::move(lock);
  }
  GarbageReport report;
  std::set<std::string> referenced;
  std::map<std::string, absl::Time> rows;
  {
    FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<Db> db,
                            OpenStoreFileOnFullDisk(options.db, options.vfs));
    FORALL_ASSIGN_OR_RETURN(referenced, Referenced(db.get(), options));
    FORALL_ASSIGN_OR_RETURN(const std::vector<ArtifactRecord> artifacts, ArtifactsOf(db.get()));
    for (const ArtifactRecord& artifact : artifacts) rows[artifact.sha256] = artifact.create_time;
  }
  FORALL_ASSIGN_OR_RETURN(const auto files, FilesIn(options.artifacts));
  const absl::Time oldest = options.clock->Now() - options.least_age;
  std::vector<std::string> rows_to_remove;
  // What a call that was interrupted has left.
  for (const auto& [hash, created] : rows) {
    if (files.count(hash) == 0 && referenced.count(hash) == 0 && created <= oldest &&
        IsSha256Hex(hash)) {
      rows_to_remove.push_back(hash);
    }
  }
  absl::Status trouble;
  for (const auto& [hash, file] : files) {
    if (referenced.count(hash) > 0) {
      ++report.kept;
    } else if (file.changed > oldest) {
      ++report.young;
    } else {
      std::error_code error;
      if (!options.dry_run) std::filesystem::remove(file.path, error);
      if (error) {
        trouble.Update(FileError(error.value(), "cannot remove", file.path));
        continue;
      }
      report.removed.push_back(hash);
      report.bytes += file.bytes;
      if (rows.count(hash) > 0) rows_to_remove.push_back(hash);
    }
  }
  if (options.dry_run) return report;
  trouble.Update(WithContext(
      RemoveRows(options, rows_to_remove),
      absl::StrCat(report.removed.size(), " artifacts, ", report.bytes,
                   " bytes, are removed, and the store still has rows of them, which the next gc "
                   "removes")));
  FORALL_RETURN_IF_ERROR(trouble);
  return report;
}

}  // namespace forall
