// SPDX-License-Identifier: Apache-2.0
#include "search/store/store_compact.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "search/store/batch_writer.h"
#include "search/store/file_lock.h"
#include "search/store/migrations.h"
#include "search/store/sqlite_db.h"
#include "search/store/store_file.h"
#include "search/store/stored_value.h"

namespace forall {
namespace {

int64_t SizeOf(const std::string& path) {
  int64_t bytes = 0;
  for (const char* suffix : {"", "-wal"}) {
    std::error_code error;
    const auto size = std::filesystem::file_size(path + suffix, error);
    if (!error) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

absl::Status CheckVersion(Db* db) {
  const int64_t newest = static_cast<int64_t>(StoreMigrations().size());
  FORALL_ASSIGN_OR_RETURN(const int64_t version, db->QueryInt64("PRAGMA user_version"));
  if (version == newest) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("it is of schema ", version, ", this forall compacts ", newest,
                   ": start the controller on it once, which brings it up to date"));
}

// Latencies that were measured before `cutoff` and still have their samples, in order of id.
constexpr char kOldLatencies[] =
    "SELECT l.measurement, length(e.samples) + length(e.reference_samples) FROM latencies l "
    "JOIN measurements m ON m.id = l.measurement JOIN evidence e ON e.measurement = l.measurement "
    "WHERE l.measurement > ? AND l.samples_dropped IS NULL AND m.time < ? "
    "ORDER BY l.measurement LIMIT ?";

class Compaction {
 public:
  explicit Compaction(const CompactOptions& options) : options_(options) {
    std::error_code ignored;
    path_ = std::filesystem::weakly_canonical(options.db, ignored).string();
    if (options.keep_raw_samples != absl::InfiniteDuration()) {
      cutoff_ = options.clock->Now() - options.keep_raw_samples;
    }
  }

  absl::StatusOr<CompactReport> Run() {
    FORALL_RETURN_IF_ERROR(Look());
    if (options_.dry_run) return report_;
    FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<FileLock> lock,
                            FileLock::Acquire(path_ + ".lock"));
    FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<Db> db,
                            Db::Open({.path = path_, .vfs = options_.vfs}));
    // Again: a controller may have been there between the look and the lock.
    FORALL_RETURN_IF_ERROR(CheckVersion(db.get()));
    FORALL_RETURN_IF_ERROR(db->Execute("PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL"));
    FORALL_RETURN_IF_ERROR(DropSamples(db.get()));
    FORALL_RETURN_IF_ERROR(Rewrite(db.get()));
    report_.bytes_after = SizeOf(path_);
    return report_;
  }

 private:
  // Reads only; what a dry run tells.
  absl::Status Look() {
    FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<Db> db, OpenStoreFile(options_.db));
    FORALL_RETURN_IF_ERROR(CheckVersion(db.get()));
    FORALL_ASSIGN_OR_RETURN(const int64_t page_bytes, db->QueryInt64("PRAGMA page_size"));
    FORALL_ASSIGN_OR_RETURN(const int64_t free_pages, db->QueryInt64("PRAGMA freelist_count"));
    report_.free_bytes = page_bytes * free_pages;
    report_.bytes_before = SizeOf(path_);
    report_.bytes_after = report_.bytes_before;
    if (!options_.dry_run || !cutoff_.has_value()) return absl::OkStatus();
    FORALL_ASSIGN_OR_RETURN(Statement rows,
                            db->Query(kOldLatencies, 0, ToStoredTime(*cutoff_), int64_t{-1}));
    return rows.ForEachRow([&] {
      ++report_.dropped;
      report_.sample_bytes += rows.Int64(1);
      return absl::OkStatus();
    });
  }

  absl::Status DropSamples(Db* db) {
    if (!cutoff_.has_value()) return absl::OkStatus();
    const absl::Time now = options_.clock->Now();
    BatchWriter writer(db);
    for (int64_t after = 0;;) {
      const int64_t start = options_.clock->SteadyNanos();
      StoreBatch batch;
      int64_t bytes = 0;
      {
        FORALL_ASSIGN_OR_RETURN(Statement rows, db->Query(kOldLatencies, after,
                                                          ToStoredTime(*cutoff_), options_.slice));
        FORALL_RETURN_IF_ERROR(rows.ForEachRow([&] {
          after = rows.Int64(0);
          bytes += rows.Int64(1);
          batch.drop_samples.push_back({after, now});
          return absl::OkStatus();
        }));
      }
      if (batch.drop_samples.empty()) return absl::OkStatus();
      FORALL_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(db));
      FORALL_RETURN_IF_ERROR(writer.Apply(batch));
      FORALL_RETURN_IF_ERROR(transaction.Commit());
      report_.dropped += static_cast<int64_t>(batch.drop_samples.size());
      report_.sample_bytes += bytes;
      report_.longest_slice =
          std::max(report_.longest_slice, absl::Nanoseconds(options_.clock->SteadyNanos() - start));
    }
  }

  absl::Status Rewrite(Db* db) {
    const int64_t start = options_.clock->SteadyNanos();
    if (const absl::Status rewritten = db->Execute("VACUUM"); !rewritten.ok()) {
      return WithContext(
          rewritten,
          absl::StrCat("raw samples of ", report_.dropped,
                       " latencies are dropped, but the file could not be rewritten and keeps its "
                       "size (it needs room for about itself, beside itself and in the folder "
                       "SQLITE_TMPDIR): mend that and repeat the command"));
    }
    // Whoever reads may go on for long.
    FORALL_RETURN_IF_ERROR(db->Execute("PRAGMA busy_timeout = 500"));
    FORALL_ASSIGN_OR_RETURN(Statement checkpoint, db->Query("PRAGMA wal_checkpoint(TRUNCATE)"));
    FORALL_ASSIGN_OR_RETURN(const bool row, checkpoint.Step());
    report_.still_read = row && checkpoint.Int64(0) != 0;
    report_.rewriting = absl::Nanoseconds(options_.clock->SteadyNanos() - start);
    return absl::OkStatus();
  }

  const CompactOptions& options_;
  std::string path_;
  std::optional<absl::Time> cutoff_;
  CompactReport report_;
};

}  // namespace

absl::StatusOr<CompactReport> CompactStore(const CompactOptions& options) {
  absl::StatusOr<CompactReport> report = Compaction(options).Run();
  if (report.ok() || absl::StrContains(report.status().message(), options.db)) return report;
  return WithContext(report.status(), absl::StrCat("store ", options.db));
}

}  // namespace forall
