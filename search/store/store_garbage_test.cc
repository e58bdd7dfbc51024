// SPDX-License-Identifier: Apache-2.0
#include "search/store/store_garbage.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <memory>
#include <string>

#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "search/store/artifact_store.h"
#include "search/store/sqlite_result_store.h"
#include "search/store/store_check.h"
#include "search/store/testing/fault_vfs.h"
#include "search/store/testing/make_records.h"

namespace forall {
namespace {

using ::forall::testing::FaultVfs;
using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::forall::testing::TestTime;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

class StoreGarbageTest : public ::testing::Test {
 protected:
  void SetUp() override {
    FORALL_ASSERT_OK_AND_ASSIGN(store_, SqliteResultStore::Create({.path = db_}));
    FORALL_ASSERT_OK_AND_ASSIGN(artifacts_, ArtifactStore::Create({.folder = db_ + ".artifacts"}));
    for (std::string* hash : {&exported_, &weights_, &table_, &unused_, &logged_}) {
      *hash = artifacts_->Put(std::string("content ") + static_cast<char>('a' + count_++)).value();
    }
    stray_ = artifacts_->Put("a file without a row").value();
    StoreBatch batch;
    for (const std::string& hash : {exported_, weights_, table_, unused_, logged_}) {
      batch.insert_artifacts.push_back({hash, 9, TestTime(1)});
    }
    batch.insert_jobs = {testing::MakeJob(1)};
    batch.append_events = {testing::MakeEvent(1, 1)};
    batch.append_events[0].kind = "submitted";
    batch.insert_exports = {{"supernet", "arch", "fp32", "calibration", exported_, 9}};
    batch.append_events.push_back(testing::MakeEvent(1, 2));
    batch.append_events[1].kind = "exported";
    batch.append_events[1].payload = absl::StrCat(R"({"artifact":")", logged_, "\"}");
    batch.insert_supernets = {{"tiny", weights_, "{}", "images", TestTime(1)}};
    FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
  }
  // As if the files were from the day before yesterday.
  void Age(const std::string& hash) {
    const timespec two_days_ago = absl::ToTimespec(Clock::Real()->Now() - absl::Hours(48));
    const timespec times[] = {two_days_ago, two_days_ago};
    ASSERT_EQ(utimensat(AT_FDCWD, artifacts_->PathOf(hash).value().c_str(), times, 0), 0);
  }
  absl::StatusOr<GarbageReport> Collect(bool dry_run, const std::string& vfs = "") {
    GarbageOptions options;
    options.db = db_;
    options.artifacts = db_ + ".artifacts";
    options.dry_run = dry_run;
    options.vfs = vfs;
    options.named_by_spec = [this](const std::string& spec) {
      return spec == testing::MakeJob(1).spec ? std::vector<std::string>{table_}
                                              : std::vector<std::string>();
    };
    return CollectGarbage(options);
  }
  void Stop() {
    store_.reset();
    artifacts_.reset();
  }

  TempDir folder_;
  const std::string db_ = folder_ / "store.db";
  int count_ = 0;
  std::unique_ptr<SqliteResultStore> store_;
  std::unique_ptr<ArtifactStore> artifacts_;
  std::string exported_, weights_, table_, unused_, logged_, stray_;
};

TEST_F(StoreGarbageTest, WhatNothingRefersToGoesOnceItIsOld) {
  for (const std::string& hash : {exported_, weights_, table_, logged_, stray_}) Age(hash);
  FORALL_ASSERT_OK_AND_ASSIGN(GarbageReport report, Collect(/*dry_run=*/true));
  EXPECT_THAT(report.removed, UnorderedElementsAre(stray_));
  EXPECT_EQ(report.kept, 4);
  EXPECT_EQ(report.young, 1);
  EXPECT_TRUE(artifacts_->Exists(stray_));
  Age(unused_);
  const std::string path = artifacts_->PathOf(unused_).value();
  Stop();
  FORALL_ASSERT_OK_AND_ASSIGN(report, Collect(/*dry_run=*/false));
  EXPECT_THAT(report.removed, UnorderedElementsAre(stray_, unused_));
  EXPECT_EQ(report.bytes, 20 + 9);
  EXPECT_FALSE(std::filesystem::exists(path));
  // Neither file nor row is missed.
  FORALL_ASSERT_OK_AND_ASSIGN(const CheckReport check,
                              CheckStore({.db = db_, .artifacts = db_ + ".artifacts"}));
  EXPECT_THAT(check.findings, IsEmpty());
  EXPECT_EQ(check.artifacts, 4);
  FORALL_ASSERT_OK_AND_ASSIGN(report, Collect(/*dry_run=*/false));
  EXPECT_THAT(report.removed, IsEmpty());
}

TEST_F(StoreGarbageTest, WhatOnlyADeletedJobNamedGoesAndItsModelsStay) {
  for (const std::string& hash : {exported_, weights_, table_, logged_}) Age(hash);
  StoreBatch batch;
  batch.delete_jobs = {{.job = 1, .time = TestTime(2)}};
  FORALL_ASSERT_OK(store_->Commit(std::move(batch)));
  Stop();
  FORALL_ASSERT_OK_AND_ASSIGN(const GarbageReport report, Collect(/*dry_run=*/false));
  EXPECT_THAT(report.removed, UnorderedElementsAre(table_, logged_));
  FORALL_ASSERT_OK_AND_ASSIGN(const CheckReport check,
                              CheckStore({.db = db_, .artifacts = db_ + ".artifacts"}));
  EXPECT_THAT(check.findings, IsEmpty());
  EXPECT_EQ(check.jobs, 0);
}

TEST_F(StoreGarbageTest, AFullDiskIsReadAndFilesGoBeforeAnythingIsWritten) {
  for (const std::string& hash : {exported_, weights_, table_, unused_, logged_, stray_}) Age(hash);
  const std::string path = artifacts_->PathOf(unused_).value();
  Stop();
  const auto findings = [this] {
    const auto check = CheckStore({.db = db_, .artifacts = db_ + ".artifacts"});
    EXPECT_THAT(check, IsOk());
    return check.ok() ? check->findings : std::vector<Finding>();
  };
  FaultVfs disk("garbage-faults");
  disk.Fail({.operations = FaultVfs::kEveryChange});
  FORALL_ASSERT_OK_AND_ASSIGN(GarbageReport report, Collect(/*dry_run=*/true, disk.name()));
  EXPECT_THAT(report.removed, UnorderedElementsAre(stray_, unused_));
  EXPECT_TRUE(std::filesystem::exists(path));
  // Another disk than the files': what was removed gave the rows no room.
  EXPECT_THAT(Collect(/*dry_run=*/false, disk.name()),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("2 artifacts, 29 bytes")));
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_THAT(findings(), SizeIs(1));
  disk.Heal();
  FORALL_ASSERT_OK_AND_ASSIGN(report, Collect(/*dry_run=*/false, disk.name()));
  EXPECT_THAT(report.removed, IsEmpty());
  EXPECT_EQ(report.kept, 4);
  EXPECT_THAT(findings(), IsEmpty());
}

TEST_F(StoreGarbageTest, ALostFileThatIsReferredToKeepsItsRow) {
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string path, artifacts_->PathOf(exported_));
  Stop();
  std::filesystem::remove(path);
  FORALL_ASSERT_OK(Collect(/*dry_run=*/false).status());
  FORALL_ASSERT_OK_AND_ASSIGN(const CheckReport check,
                              CheckStore({.db = db_, .artifacts = db_ + ".artifacts"}));
  EXPECT_THAT(check.findings, SizeIs(1));
  EXPECT_EQ(check.artifacts, 5);
}

TEST_F(StoreGarbageTest, NothingIsRemovedUnderARunningController) {
  EXPECT_THAT(Collect(/*dry_run=*/false), StatusIs(absl::StatusCode::kFailedPrecondition));
  store_.reset();
  EXPECT_THAT(Collect(/*dry_run=*/false), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_TRUE(artifacts_->Exists(unused_));
}

TEST_F(StoreGarbageTest, AMistakenPathIsNamed) {
  GarbageOptions options;
  options.db = folder_ / "none.db";
  EXPECT_THAT(CollectGarbage(options), StatusIs(absl::StatusCode::kNotFound, HasSubstr("none.db")));
  EXPECT_FALSE(std::filesystem::exists(options.db + ".lock"));
}

}  // namespace
}  // namespace forall
