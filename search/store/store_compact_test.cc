// SPDX-License-Identifier: Apache-2.0
#include "search/store/store_compact.h"

#include <signal.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "search/store/file_lock.h"
#include "search/store/sqlite_result_store.h"
#include "search/store/store_backup.h"
#include "search/store/store_check.h"
#include "search/store/store_file.h"
#include "search/store/testing/fault_vfs.h"
#include "search/store/testing/make_records.h"

namespace forall {
namespace {

using ::forall::testing::FaultVfs;
using ::forall::testing::IsOk;
using ::forall::testing::MakeMeasurement;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
constexpr absl::Duration kDay = absl::Hours(24);

// Latencies 1 ... n, each with the samples of `runs` runs: the odd ones are a hundred days old, the
// even ones of yesterday. Of every tenth the percentile that was measured with it follows, and an
// accuracy, a hundred days old as well.
struct World {
  std::vector<MeasurementRecord> records;
  std::vector<MeasurementEvidence> evidence;
};

World MakeWorld(int64_t n, int runs) {
  World world;
  Random random(n);
  const auto add = [&](const char* metric) -> MeasurementRecord& {
    const int64_t id = static_cast<int64_t>(world.records.size()) + 1;
    MeasurementRecord record = MakeMeasurement(id, 0, 0, 0);
    record.key.metric = metric;
    record.key.subject = absl::StrCat("subject ", id);
    record.time = kNow - 100 * kDay;
    world.records.push_back(std::move(record));
    return world.records.back();
  };
  for (int64_t i = 1; i <= n; ++i) {
    MeasurementRecord& latency = add("latency_ms");
    if (i % 2 == 0) latency.time = kNow - kDay;
    MeasurementEvidence evidence;
    evidence.measurement_id = latency.id;
    for (int run = 0; run < runs; ++run) {
      evidence.samples_ns.push_back(5e6 + 1e5 * random.Double());
      evidence.reference_samples_ns.push_back(2e6 + 1e5 * random.Double());
    }
    evidence.environment = {{"governor", "performance"}, {"number", absl::StrCat(i)}};
    world.evidence.push_back(std::move(evidence));
    if (i % 10 != 0) continue;
    add("latency_p95_ms");
    MeasurementRecord& accuracy = add("accuracy_top1");
    accuracy.ratio = accuracy.raw_median_ms = accuracy.reference_median_ms = 0;
    accuracy.baseline_reference_ms = 0;
    accuracy.baseline_id.clear();
    world.evidence.push_back({.measurement_id = accuracy.id,
                              .samples_ns = {},
                              .reference_samples_ns = {},
                              .top1_bitmap = std::string(200, static_cast<char>(i)),
                              .environment = {{"images 0", "of w"}}});
  }
  return world;
}

class StoreCompactTest : public ::testing::Test {
 protected:
  void Store(const World& world, const std::string& path) {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto store, SqliteResultStore::Create({.path = path}));
    StoreBatch batch;
    batch.insert_measurements = world.records;
    batch.insert_evidence = world.evidence;
    FORALL_ASSERT_OK(store->Commit(std::move(batch)));
  }
  CompactOptions Options(absl::Duration keep = 90 * kDay) {
    CompactOptions options;
    options.db = db_;
    options.keep_raw_samples = keep;
    options.clock = &clock_;
    return options;
  }
  // Everything is as it was but that raw samples of old latencies may be gone, each of which says
  // so. Returns how many are gone.
  int64_t CheckOnlySamplesAreGone(const World& world, const std::string& path) {
    const auto store = SqliteResultStore::Create({.path = path});
    EXPECT_THAT(store.status(), IsOk());
    if (!store.ok()) return -1;
    absl::StatusOr<std::vector<MeasurementRecord>> found = (*store)->LoadMeasurements();
    EXPECT_THAT(found.status(), IsOk());
    if (!found.ok()) return -1;
    int64_t gone = 0;
    std::vector<bool> dropped(world.records.size() + 1);
    for (MeasurementRecord& record : *found) {
      if (!record.samples_dropped.has_value()) continue;
      EXPECT_EQ(record.key.metric, "latency_ms");
      EXPECT_EQ(record.time, kNow - 100 * kDay);
      EXPECT_EQ(record.samples_dropped, kNow);
      dropped[static_cast<size_t>(record.id)] = true;
      record.samples_dropped.reset();
      ++gone;
    }
    EXPECT_EQ(*found, world.records);
    for (MeasurementEvidence expected : world.evidence) {
      if (dropped[static_cast<size_t>(expected.measurement_id)]) {
        expected.samples_ns.clear();
        expected.reference_samples_ns.clear();
      }
      const auto evidence = (*store)->LoadEvidence(expected.measurement_id);
      EXPECT_THAT(evidence, testing::IsOkAndHolds(expected));
    }
    return gone;
  }
  void ExpectWhole(const std::string& path) {
    FORALL_ASSERT_OK_AND_ASSIGN(
        const CheckReport report,
        CheckStore({.db = path, .artifacts = path + ".artifacts", .deep = true}));
    EXPECT_THAT(report.findings, IsEmpty());
  }

  TempDir folder_;
  FakeClock clock_{kNow};
  const std::string db_ = folder_ / "store.db";
};

TEST_F(StoreCompactTest, OldSamplesGoAndNothingElse) {
  const World world = MakeWorld(40, 20);
  Store(world, db_);
  CompactOptions options = Options();
  options.slice = 7;
  FORALL_ASSERT_OK_AND_ASSIGN(const CompactReport report, CompactStore(options));
  EXPECT_EQ(report.dropped, 20);
  EXPECT_GT(report.sample_bytes, 20 * 2 * 20 * 4);
  EXPECT_FALSE(report.still_read);
  EXPECT_EQ(CheckOnlySamplesAreGone(world, db_), 20);
  ExpectWhole(db_);
  FORALL_ASSERT_OK_AND_ASSIGN(const CompactReport again, CompactStore(options));
  EXPECT_EQ(again.dropped, 0);
  // So is its backup.
  const std::string copy = folder_ / "copy.db";
  FORALL_ASSERT_OK(
      BackUpStore({.db = db_, .artifacts = db_ + ".artifacts", .file = copy}).status());
  ExpectWhole(copy);
  EXPECT_EQ(CheckOnlySamplesAreGone(world, copy), 20);
}

TEST_F(StoreCompactTest, NothingIsDroppedUnasked) {
  const World world = MakeWorld(40, 20);
  Store(world, db_);
  FORALL_ASSERT_OK_AND_ASSIGN(const CompactReport report,
                              CompactStore(Options(absl::InfiniteDuration())));
  EXPECT_EQ(report.dropped, 0);
  FORALL_ASSERT_OK_AND_ASSIGN(const CompactReport none, CompactStore(Options(101 * kDay)));
  EXPECT_EQ(none.dropped, 0);
  EXPECT_EQ(CheckOnlySamplesAreGone(world, db_), 0);
}

TEST_F(StoreCompactTest, TheFileGetsSmaller) {
  const World world = MakeWorld(2000, 100);
  Store(world, db_);
  FORALL_ASSERT_OK_AND_ASSIGN(const CompactReport report, CompactStore(Options()));
  EXPECT_EQ(report.dropped, 1000);
  EXPECT_GE(report.bytes_before - report.bytes_after, report.sample_bytes * 9 / 10);
  EXPECT_EQ(static_cast<int64_t>(std::filesystem::file_size(db_)), report.bytes_after);
}

TEST_F(StoreCompactTest, ADryRunOnlyCountsAlsoBesideAController) {
  const World world = MakeWorld(40, 20);
  Store(world, db_);
  CompactOptions options = Options();
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto store, SqliteResultStore::Create({.path = db_}));
    EXPECT_THAT(CompactStore(options), StatusIs(absl::StatusCode::kFailedPrecondition));
    options.dry_run = true;
    FORALL_ASSERT_OK_AND_ASSIGN(const CompactReport report, CompactStore(options));
    EXPECT_EQ(report.dropped, 20);
    EXPECT_GT(report.sample_bytes, 0);
    EXPECT_EQ(report.bytes_after, report.bytes_before);
  }
  EXPECT_EQ(CheckOnlySamplesAreGone(world, db_), 0);
}

TEST_F(StoreCompactTest, WhatCannotBeCompactedIsNamed) {
  EXPECT_THAT(CompactStore(Options()), StatusIs(absl::StatusCode::kNotFound, HasSubstr(db_)));
  EXPECT_FALSE(std::filesystem::exists(db_ + ".lock"));
  Store(MakeWorld(2, 5), db_);
  FORALL_ASSERT_OK_AND_ASSIGN(const auto db, Db::Open({.path = db_}));
  FORALL_ASSERT_OK(db->Execute("PRAGMA user_version = 6"));
  EXPECT_THAT(CompactStore(Options()),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("is of schema 6")));
}

TEST_F(StoreCompactTest, BesideAReaderPagesAreFreedAndTheFileShrinksLater) {
  const World world = MakeWorld(400, 100);
  Store(world, db_);
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<Db> reader, OpenStoreFile(db_));
    FORALL_ASSERT_OK(reader->QueryInt64("SELECT count(*) FROM measurements").status());
    FORALL_ASSERT_OK_AND_ASSIGN(const CompactReport report, CompactStore(Options()));
    EXPECT_TRUE(report.still_read);
    EXPECT_EQ(report.dropped, 200);
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const CompactReport report, CompactStore(Options()));
  EXPECT_FALSE(report.still_read);
  EXPECT_LT(report.bytes_after, report.bytes_before * 3 / 4);
  EXPECT_EQ(CheckOnlySamplesAreGone(world, db_), 200);
}

// The disk fails at the first change, at the second, ... for good or once.
TEST_F(StoreCompactTest, ADiskThatFailsAtAnyPointLosesNothing) {
  FaultVfs disk("compact-faults");
  const World world = MakeWorld(30, 60);
  const std::string original = folder_ / "original.db";
  Store(world, original);
  int failed = 0;
  for (const auto& [code, once] : {std::pair(SQLITE_FULL, false), std::pair(SQLITE_IOERR, true)}) {
    for (int64_t after = 0;; ++after) {
      for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(db_ + suffix);
      std::filesystem::copy_file(original, db_, std::filesystem::copy_options::overwrite_existing);
      CompactOptions options = Options();
      options.slice = 4;
      options.vfs = disk.name();
      const int64_t faults = disk.faults();
      disk.Fail({.after = after, .code = code, .once = once});
      const absl::Status status = CompactStore(options).status();
      disk.Heal();
      failed += status.ok() ? 0 : 1;
      const int64_t gone = CheckOnlySamplesAreGone(world, db_);
      if (status.ok()) {
        EXPECT_EQ(gone, 15);
      }
      ASSERT_FALSE(HasFailure()) << "after " << after << ": " << status;
      // Another call does the rest.
      FORALL_ASSERT_OK(CompactStore(options).status());
      EXPECT_EQ(CheckOnlySamplesAreGone(world, db_), 15);
      if (disk.faults() == faults) break;
    }
  }
  EXPECT_GT(failed, 20);
}

TEST_F(StoreCompactTest, KilledAtAnyMomentItLosesNothing) {
  const World world = MakeWorld(600, 40);
  const std::string original = folder_ / "original.db";
  Store(world, original);
  Random random(7);
  int begun = 0;
  int unfinished = 0;
  for (int round = 0; round < 24; ++round) {
    for (const char* suffix : {"-wal", "-shm"}) std::filesystem::remove(db_ + suffix);
    std::filesystem::copy_file(original, db_, std::filesystem::copy_options::overwrite_existing);
    const pid_t child = fork();
    if (child == 0) {
      CompactOptions options = Options();
      options.slice = 10;
      _exit(CompactStore(options).ok() ? 0 : 1);
    }
    Clock::Real()->SleepFor(absl::Microseconds(random.Uniform(80'000)));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status)) {
      ASSERT_EQ(WEXITSTATUS(status), 0);
    }
    const int64_t gone = CheckOnlySamplesAreGone(world, db_);
    begun += gone > 0 ? 1 : 0;
    unfinished += WIFSIGNALED(status) ? 1 : 0;
    ASSERT_FALSE(HasFailure()) << "round " << round;
    ExpectWhole(db_);
    FORALL_ASSERT_OK(CompactStore(Options()).status());
    EXPECT_EQ(CheckOnlySamplesAreGone(world, db_), 300);
  }
  EXPECT_GT(begun + unfinished, 0);
}

}  // namespace
}  // namespace forall
