// SPDX-License-Identifier: Apache-2.0
// Invariants 2 and 4 of docs/architecture.md, at the store: a process that commits is killed at
// random moments, and what it had been told is durable is there, once, and never half of a batch.
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "search/store/sqlite_result_store.h"
#include "search/store/testing/make_records.h"

namespace forall {
namespace {

using ::forall::testing::Done;
using ::forall::testing::IsOkAndHolds;
using ::forall::testing::MakeEvent;
using ::forall::testing::MakeEvidence;
using ::forall::testing::MakeJob;
using ::forall::testing::MakeMeasurement;
using ::forall::testing::MakeTask;
using ::forall::testing::MakeTrial;
using ::forall::testing::TempDir;

constexpr int kRounds = 24;
constexpr int kMaxUnanswered = 16;

// The n-th batch proposes trial n and completes the task of trial n - 1, as a controller does.
StoreBatch NthBatch(int64_t n) {
  StoreBatch batch;
  if (n == 1) batch.insert_jobs = {MakeJob(1)};
  batch.insert_trials = {MakeTrial(n, 1, n)};
  batch.insert_tasks = {MakeTask(n, 1, n)};
  batch.append_events = {MakeEvent(1, n)};
  if (n > 1) {
    batch.update_tasks = {Done(MakeTask(n - 1, 1, n - 1))};
    batch.insert_measurements = {MakeMeasurement(n - 1, 1, n - 1, n - 1)};
    batch.insert_evidence = {MakeEvidence(n - 1)};
  }
  return batch;
}

// The process to be killed: commits for ever and writes the number of each acknowledged batch to
// `fd`.
[[noreturn]] void CommitForEver(const std::string& path, int fd) {
  // A small log, so that kills also meet checkpoints.
  auto store = SqliteResultStore::Create({.path = path, .checkpoint_pages = 50});
  if (!store.ok()) _exit(2);
  const auto ids = (*store)->LoadIds();
  if (!ids.ok()) _exit(3);
  Mutex mu;
  CondVar answered;
  int unanswered = 0;
  for (int64_t n = ids->trial + 1;; ++n) {
    {
      MutexLock lock(&mu);
      while (unanswered == kMaxUnanswered) answered.Wait(&mu);
      ++unanswered;
    }
    (*store)->CommitAsync(NthBatch(n), [&, n](absl::Status status) {
      if (!status.ok()) _exit(4);
      if (write(fd, &n, sizeof(n)) != sizeof(n)) _exit(5);
      MutexLock lock(&mu);
      --unanswered;
      answered.Signal();
    });
  }
}

// Reads acknowledged numbers until `deadline_ns`, or to the end of the pipe when it is negative.
// Returns the highest.
int64_t ReadAcknowledged(int fd, int64_t deadline_ns) {
  int64_t highest = 0;
  while (true) {
    int timeout_ms = -1;
    if (deadline_ns >= 0) {
      const int64_t left_ns = deadline_ns - Clock::Real()->SteadyNanos();
      if (left_ns <= 0) return highest;
      timeout_ms = static_cast<int>(left_ns / 1000000) + 1;
    }
    pollfd ready = {.fd = fd, .events = POLLIN, .revents = 0};
    if (poll(&ready, 1, timeout_ms) <= 0) continue;
    int64_t n = 0;
    if (read(fd, &n, sizeof(n)) != sizeof(n)) return highest;
    highest = std::max(highest, n);
  }
}

constexpr int64_t kTrialsOfAJob = 40;

// Job n with all that belongs to one, done.
StoreBatch NthJob(int64_t n) {
  StoreBatch batch;
  batch.insert_jobs = {MakeJob(n)};
  for (int64_t i = 1; i <= kTrialsOfAJob; ++i) {
    const int64_t id = (n - 1) * kTrialsOfAJob + i;
    batch.insert_trials.push_back(MakeTrial(id, n, i));
    batch.insert_tasks.push_back(Done(MakeTask(id, n, id)));
    batch.insert_measurements.push_back(MakeMeasurement(id, n, id, id));
    batch.append_events.push_back(MakeEvent(n, i));
  }
  return batch;
}

// The process to be killed: makes jobs for ever, deletes each, and tells of each deletion.
[[noreturn]] void DeleteForEver(const std::string& path, int fd) {
  auto store = SqliteResultStore::Create({.path = path, .checkpoint_pages = 50});
  if (!store.ok()) _exit(2);
  const auto ids = (*store)->LoadIds();
  const auto left = (*store)->LoadJobs();
  if (!ids.ok() || !left.ok()) _exit(3);
  const auto remove = [&](int64_t job) {
    StoreBatch deletion;
    deletion.delete_jobs = {{.job = job, .time = absl::UnixEpoch()}};
    if (!(*store)->Commit(std::move(deletion)).ok()) _exit(5);
  };
  // Of the one before, which was killed.
  for (const JobRecord& job : *left) remove(job.id);
  for (int64_t n = ids->job + 1;; ++n) {
    if (!(*store)->Commit(NthJob(n)).ok()) _exit(4);
    remove(n);
    if (write(fd, &n, sizeof(n)) != sizeof(n)) _exit(6);
  }
}

// Supernet n with its numbers, and three that are nobody's.
StoreBatch NthSupernet(int64_t n, std::vector<int64_t>* own) {
  StoreBatch batch;
  const std::string hash = absl::StrCat("hash ", n);
  batch.insert_supernets = {{absl::StrCat("net-", n), hash, "{}", "images", absl::UnixEpoch()}};
  for (int64_t i = 1; i <= kTrialsOfAJob; ++i) {
    const int64_t id = (n - 1) * kTrialsOfAJob + i;
    batch.insert_measurements.push_back(MakeMeasurement(id, 0, 0, 0));
    batch.insert_evidence.push_back(MakeEvidence(id));
    batch.insert_exports.push_back({hash, absl::StrCat("arch ", i), "fp32", "c", "artifact", 1});
    if (i > 3) own->push_back(id);
  }
  return batch;
}

// The process to be killed: adds supernets for ever, deletes each, and tells of each deletion.
[[noreturn]] void DeleteSupernetsForEver(const std::string& path, int fd) {
  auto store = SqliteResultStore::Create({.path = path, .checkpoint_pages = 50});
  if (!store.ok()) _exit(2);
  const auto ids = (*store)->LoadIds();
  const auto left = (*store)->LoadSupernets();
  if (!ids.ok() || !left.ok()) _exit(3);
  const auto remove = [&](int64_t n, std::vector<int64_t> own) {
    StoreBatch deletion;
    deletion.delete_supernets = {{absl::StrCat("net-", n), absl::StrCat("hash ", n), true,
                                  std::move(own), absl::UnixEpoch()}};
    if (!(*store)->Commit(std::move(deletion)).ok()) _exit(5);
  };
  int64_t n = ids->measurement / kTrialsOfAJob;
  // Of the one before, which was killed.
  if (!left->empty()) {
    std::vector<int64_t> own;
    NthSupernet(n, &own);
    remove(n, std::move(own));
  }
  for (++n;; ++n) {
    std::vector<int64_t> own;
    if (!(*store)->Commit(NthSupernet(n, &own)).ok()) _exit(4);
    remove(n, std::move(own));
    if (write(fd, &n, sizeof(n)) != sizeof(n)) _exit(6);
  }
}

// Starts a process, kills it after `life_ns`, and returns the highest number that it was told.
int64_t RunAndKill(const std::string& path, int64_t life_ns,
                   void (*work)(const std::string&, int) = CommitForEver) {
  int ends[2];
  if (pipe(ends) != 0) return -1;
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    work(path, ends[1]);
  }
  close(ends[1]);
  const int64_t early = ReadAcknowledged(ends[0], Clock::Real()->SteadyNanos() + life_ns);
  EXPECT_EQ(kill(child, SIGKILL), 0);
  const int64_t late = ReadAcknowledged(ends[0], -1);
  close(ends[0]);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status)) << "it ended by itself, with " << WEXITSTATUS(status);
  return std::max(early, late);
}

// Batches 1 ... n are all there, each whole and once, and nothing else. Returns n.
int64_t CheckWhole(ResultStore* store) {
  const auto trials = store->LoadTrials(1);
  const auto tasks = store->LoadTasks(1);
  const auto events = store->LoadEvents(1, 0, 1 << 30);
  const auto measurements = store->LoadMeasurements();
  EXPECT_TRUE(trials.ok() && tasks.ok() && events.ok() && measurements.ok());
  const size_t n = trials->size();
  EXPECT_EQ(tasks->size(), n);
  EXPECT_EQ(events->size(), n);
  EXPECT_EQ(measurements->size(), n == 0 ? 0 : n - 1);
  for (size_t i = 0; i < n; ++i) {
    const int64_t id = static_cast<int64_t>(i) + 1;
    EXPECT_EQ((*trials)[i], MakeTrial(id, 1, id));
    EXPECT_EQ((*events)[i], MakeEvent(1, id));
    const TaskRecord task = MakeTask(id, 1, id);
    EXPECT_EQ((*tasks)[i], i + 1 == n ? task : Done(task));
    if (i + 1 == n) continue;
    EXPECT_EQ((*measurements)[i], MakeMeasurement(id, 1, id, id));
    EXPECT_THAT(store->LoadEvidence(id), IsOkAndHolds(MakeEvidence(id)));
  }
  return static_cast<int64_t>(n);
}

TEST(SqliteResultStoreKillTest, NoAcknowledgedBatchIsLostDoubledOrHalved) {
  Random random(20240817);
  int64_t acknowledged_in_all = 0;
  TempDir folder;
  std::string path;
  int64_t before = 0;
  for (int round = 0; round < kRounds; ++round) {
    // Every sixth round starts on a new file, so that kills also meet its creation.
    if (round % 6 == 0) {
      path = folder / std::to_string(round);
      before = 0;
    }
    const auto life_ns = static_cast<int64_t>(random.Uniform(60000000));
    const int64_t acknowledged = RunAndKill(path, life_ns);
    FORALL_ASSERT_OK_AND_ASSIGN(const auto store, SqliteResultStore::Create({.path = path}));
    const int64_t found = CheckWhole(store.get());
    ASSERT_FALSE(HasFailure()) << "round " << round;
    EXPECT_GE(found, std::max(acknowledged, before));
    if (acknowledged > 0) {
      EXPECT_LE(found, acknowledged + kMaxUnanswered);
      acknowledged_in_all += acknowledged - before;
    }
    before = found;
  }
  EXPECT_GT(acknowledged_in_all, kRounds) << "too slow a machine for the test to mean anything";
}

TEST(SqliteResultStoreKillTest, AJobIsDeletedWholeOrNotAtAll) {
  Random random(20260817);
  const TempDir folder;
  const std::string path = folder / "store.db";
  int64_t deleted_in_all = 0;
  for (int round = 0; round < kRounds; ++round) {
    const int64_t told =
        RunAndKill(path, static_cast<int64_t>(random.Uniform(60000000)), DeleteForEver);
    FORALL_ASSERT_OK_AND_ASSIGN(const auto store, SqliteResultStore::Create({.path = path}));
    FORALL_ASSERT_OK_AND_ASSIGN(const StoreIds ids, store->LoadIds());
    FORALL_ASSERT_OK_AND_ASSIGN(const auto jobs, store->LoadJobs());
    FORALL_ASSERT_OK_AND_ASSIGN(const auto measurements, store->LoadMeasurements());
    // What was measured is there whatever became of its job, and numbers only grow.
    EXPECT_EQ(static_cast<int64_t>(measurements.size()), ids.job * kTrialsOfAJob);
    EXPECT_EQ(ids.task, ids.job * kTrialsOfAJob);
    EXPECT_GE(ids.job, told);
    for (const JobRecord& job : jobs) EXPECT_GT(job.id, told) << "it was deleted";
    for (int64_t id = std::max<int64_t>(1, told - 2); id <= ids.job; ++id) {
      const bool there = std::any_of(jobs.begin(), jobs.end(),
                                     [id](const JobRecord& job) { return job.id == id; });
      const size_t rows = there ? kTrialsOfAJob : 0;
      const auto trials = store->LoadTrials(id);
      const auto tasks = store->LoadTasks(id);
      const auto events = store->LoadEvents(id, 0, 1000);
      ASSERT_TRUE(trials.ok() && tasks.ok() && events.ok());
      EXPECT_EQ(trials->size(), rows);
      EXPECT_EQ(tasks->size(), rows);
      EXPECT_EQ(events->size(), rows);
    }
    ASSERT_FALSE(HasFailure()) << "round " << round;
    deleted_in_all = std::max(deleted_in_all, told);
  }
  EXPECT_GT(deleted_in_all, 0) << "too slow a machine for the test to mean anything";
}

TEST(SqliteResultStoreKillTest, ASupernetIsDeletedWholeOrNotAtAll) {
  Random random(20260911);
  const TempDir folder;
  const std::string path = folder / "store.db";
  int64_t deleted_in_all = 0;
  for (int round = 0; round < kRounds; ++round) {
    const int64_t told =
        RunAndKill(path, static_cast<int64_t>(random.Uniform(60000000)), DeleteSupernetsForEver);
    FORALL_ASSERT_OK_AND_ASSIGN(const auto store, SqliteResultStore::Create({.path = path}));
    FORALL_ASSERT_OK_AND_ASSIGN(const StoreIds ids, store->LoadIds());
    FORALL_ASSERT_OK_AND_ASSIGN(const auto supernets, store->LoadSupernets());
    FORALL_ASSERT_OK_AND_ASSIGN(const auto exports, store->LoadExports());
    FORALL_ASSERT_OK_AND_ASSIGN(const auto measurements, store->LoadMeasurements());
    ASSERT_EQ(ids.measurement % kTrialsOfAJob, 0);
    const int64_t added = ids.measurement / kTrialsOfAJob;
    EXPECT_GE(added, told);
    ASSERT_LE(supernets.size(), 1u);
    if (!supernets.empty()) {
      EXPECT_EQ(supernets[0].id, absl::StrCat("net-", added));
      EXPECT_GT(added, told) << "it was deleted";
    }
    const int64_t there = static_cast<int64_t>(supernets.size());
    EXPECT_EQ(static_cast<int64_t>(exports.size()), there * kTrialsOfAJob);
    EXPECT_EQ(static_cast<int64_t>(measurements.size()), 3 * added + there * (kTrialsOfAJob - 3));
    for (const MeasurementRecord& record : measurements) {
      EXPECT_TRUE(store->LoadEvidence(record.id).ok());
    }
    ASSERT_FALSE(HasFailure()) << "round " << round;
    deleted_in_all = std::max(deleted_in_all, told);
  }
  EXPECT_GT(deleted_in_all, 0) << "too slow a machine for the test to mean anything";
}

}  // namespace
}  // namespace forall
