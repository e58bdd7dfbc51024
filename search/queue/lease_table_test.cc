// SPDX-License-Identifier: Apache-2.0
#include "search/queue/lease_table.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;

constexpr absl::Duration kBeat = absl::Seconds(5);

WorkerOffer Offer(const std::string& device = "pc") {
  WorkerOffer offer;
  offer.device = device;
  offer.device_fingerprint = "f1";
  offer.profile = "p1";
  offer.datasets = {"fashion_mnist"};
  return offer;
}

QueuedTask Task(int64_t id, TaskKind kind = TaskKind::kAccuracy, int64_t job = 1) {
  QueuedTask task;
  task.id = id;
  task.job = job;
  task.needs.kind = kind;
  if (kind == TaskKind::kLatency) {
    task.needs.device = "pc";
    task.needs.device_fingerprint = "f1";
    task.needs.profile = "p1";
  } else {
    task.needs.dataset = "fashion_mnist";
  }
  return task;
}

// Lives 1 to `last` of one store, which had a hundred tasks from its first on.
std::vector<LifeRecord> Lives(int64_t last) {
  std::vector<LifeRecord> lives;
  for (int64_t epoch = 1; epoch <= last; ++epoch) {
    lives.push_back({epoch, std::string(kLifeSecretBytes, static_cast<char>('a' + epoch)), 100});
  }
  return lives;
}

// Of lease 8 of the life before the table's.
std::string FormerToken(int64_t task, const std::string& worker, int64_t life = 2) {
  return LeaseTokens(Lives(life)).Make(8, task, worker);
}

class LeaseTableTest : public ::testing::Test {
 protected:
  LeaseTableTest() { table_ = std::make_unique<LeaseTable>(Options()); }

  LeaseTable::Options Options() { return {&clock_, Lives(3), kBeat}; }

  std::vector<Grant> Lease(const std::string& worker, int max = 1) {
    absl::StatusOr<std::vector<Grant>> grants = table_->Lease(worker, max);
    EXPECT_THAT(grants, IsOk());
    return grants.ok() ? *grants : std::vector<Grant>();
  }
  std::vector<int64_t> LeaseIds(const std::string& worker, int max) {
    std::vector<int64_t> ids;
    for (const Grant& grant : Lease(worker, max)) ids.push_back(grant.task);
    return ids;
  }
  std::vector<std::string> Lost(const std::string& worker,
                                const std::vector<std::pair<int64_t, std::string>>& held) {
    return table_->Heartbeat(worker, held)->lost_tokens;
  }

  FakeClock clock_;
  std::unique_ptr<LeaseTable> table_;
};

TEST_F(LeaseTableTest, UnregisteredWorkerIsTold) {
  EXPECT_THAT(table_->Lease("w", 1).status(), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(table_->Heartbeat("w", {}).status(), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(LeaseTableTest, Invariant1TaskHasAtMostOneCurrentLease) {
  table_->RegisterWorker("a", Offer());
  table_->RegisterWorker("b", Offer());
  table_->AddTask(Task(7));
  const std::vector<Grant> first = Lease("a");
  ASSERT_THAT(first, SizeIs(1));
  EXPECT_EQ(first[0].token, LeaseTokens(Lives(3)).Make(1, 7, "a"));
  EXPECT_THAT(Lease("b"), IsEmpty());
  // It runs out, goes to b; a's token is not current any more.
  clock_.Advance(3 * kBeat);
  EXPECT_EQ(table_->Sweep().expired_leases, 1);
  const std::vector<Grant> second = Lease("b");
  ASSERT_THAT(second, SizeIs(1));
  EXPECT_EQ(second[0].previous_attempts, 1);
  EXPECT_THAT(table_->CheckLease(7, first[0].token, "a"), StatusIs(absl::StatusCode::kAborted));
  EXPECT_THAT(table_->CheckLease(7, second[0].token, "b"), IsOk());
  EXPECT_THAT(table_->CheckLease(7, second[0].token, "a"), StatusIs(absl::StatusCode::kAborted));
}

TEST_F(LeaseTableTest, HeartbeatRenewsOnlyWhatItLists) {
  table_->RegisterWorker("a", Offer());
  table_->AddTask(Task(1));
  table_->AddTask(Task(2));
  const std::vector<Grant> grants = Lease("a", 2);
  for (int i = 0; i < 4; ++i) {
    clock_.Advance(kBeat);
    EXPECT_THAT(Lost("a", {{1, grants[0].token}}), IsEmpty());
    table_->Sweep();
  }
  EXPECT_TRUE(table_->IsLeased(1));
  EXPECT_FALSE(table_->IsLeased(2));
}

TEST_F(LeaseTableTest, LateResultOfATaskNobodyTookIsAccepted) {
  table_->RegisterWorker("a", Offer());
  table_->AddTask(Task(1));
  const std::string token = Lease("a")[0].token;
  clock_.Advance(4 * kBeat);
  table_->Sweep();
  EXPECT_THAT(table_->CheckLease(1, token, "a"), IsOk());
  EXPECT_TRUE(table_->IsLeased(1));
}

// A worker takes several tasks and does one after the other: what it waited for is nobody's time.
TEST_F(LeaseTableTest, TellsHowLongATaskHeldItsWorker) {
  table_->RegisterWorker("a", Offer());
  for (int64_t task = 1; task <= 4; ++task) table_->AddTask(Task(task));
  Lease("a", 3);
  EXPECT_EQ(table_->SecondsHeld(4), 0) << "not leased";
  clock_.Advance(absl::Seconds(5));
  EXPECT_EQ(table_->SecondsHeld(1), 5);
  table_->Complete(1);
  EXPECT_EQ(table_->SecondsHeld(1), 0) << "gone";
  clock_.Advance(absl::Seconds(2));
  EXPECT_EQ(table_->SecondsHeld(2), 2);
  table_->Fail(2, /*unable=*/false, "no luck");
  clock_.Advance(absl::Seconds(1));
  EXPECT_EQ(table_->SecondsHeld(3), 1);
  clock_.Advance(absl::Seconds(30));
  Lease("a");
  clock_.Advance(absl::Seconds(3));
  EXPECT_EQ(table_->SecondsHeld(2), 3) << "since its own lease";
}

TEST_F(LeaseTableTest, WhenALeaseOfAnEarlierEpochBeganIsNotKnown) {
  table_->RegisterWorker("a", Offer());
  table_->AddTask(Task(1));
  EXPECT_THAT(Lost("a", {{1, FormerToken(1, "a")}}), IsEmpty());
  clock_.Advance(absl::Seconds(9));
  EXPECT_TRUE(table_->IsLeased(1));
  EXPECT_EQ(table_->SecondsHeld(1), 0);
}

TEST_F(LeaseTableTest, LeaseOfAnEarlierEpochIsAdoptedAtTheFirstHeartbeat) {
  table_->RegisterWorker("a", Offer());
  table_->RegisterWorker("b", Offer());
  table_->AddTask(Task(1));
  table_->AddTask(Task(2));
  ASSERT_THAT(LeaseIds("b", 1), ElementsAre(1));
  // Before the restart, a held both; one went to b meanwhile.
  const std::string first = FormerToken(1, "a");
  const std::string second = FormerToken(2, "a", 1);
  EXPECT_THAT(Lost("a", {{1, first}, {2, second}}), ElementsAre(first));
  EXPECT_THAT(table_->CheckLease(2, second, "a"), IsOk());
  EXPECT_THAT(LeaseIds("b", 1), IsEmpty());
}

TEST_F(LeaseTableTest, TokensThatWereNeverGivenAreNotAdopted) {
  table_->RegisterWorker("a", Offer());
  table_->AddTask(Task(1));
  const std::string mine = FormerToken(1, "a");
  const std::vector<std::string> made_up = {
      "3-99",
      "2-8",  // what once was a token
      "",
      "x-y",
      mine.substr(0, mine.size() - 1),
      FormerToken(1, "b"),
      FormerToken(2, "a"),
      LeaseTokens(Lives(3)).Make(99, 1, "a"),
      LeaseTokens(Lives(4)).Make(1, 1, "a"),
  };
  for (const std::string& token : made_up) {
    EXPECT_THAT(Lost("a", {{1, token}}), SizeIs(1)) << token;
  }
  EXPECT_THAT(Lost("a", {{5, FormerToken(5, "a")}}), SizeIs(1)) << "of a task that is not open";
  EXPECT_FALSE(table_->IsLeased(1));
}

TEST_F(LeaseTableTest, LeaseOfAnotherStoreIsNotAdopted) {
  LeaseTable::Options restored = Options();
  restored.lives.erase(restored.lives.begin(), restored.lives.end() - 1);
  table_ = std::make_unique<LeaseTable>(restored);
  table_->RegisterWorker("a", Offer());
  table_->AddTask(Task(1));
  EXPECT_THAT(table_->CheckLease(1, FormerToken(1, "a"), "a"),
              StatusIs(absl::StatusCode::kAborted));
}

TEST_F(LeaseTableTest, LeaseIsNotAdoptedByAWorkerThatCannotDoIt) {
  table_->RegisterWorker("phone", Offer("phone"));
  table_->AddTask(Task(1, TaskKind::kLatency));
  EXPECT_THAT(Lost("phone", {{1, FormerToken(1, "phone")}}), SizeIs(1));
}

TEST_F(LeaseTableTest, WorkerThatRegistersAnewKeepsWhatItListsAndReturnsTheRest) {
  table_->RegisterWorker("a", Offer());
  table_->AddTask(Task(1));
  table_->AddTask(Task(2));
  const std::vector<Grant> grants = Lease("a", 2);
  table_->RegisterWorker("a", Offer());
  EXPECT_THAT(Lost("a", {{2, grants[1].token}}), IsEmpty());
  EXPECT_FALSE(table_->IsLeased(1));
  EXPECT_TRUE(table_->IsLeased(2));
}

TEST_F(LeaseTableTest, LatencyGoesToItsDeviceFingerprintAndProfileOnly) {
  WorkerOffer other_profile = Offer();
  other_profile.profile = "p2";
  WorkerOffer changed = Offer();
  changed.device_fingerprint = "f2";
  WorkerOffer no_latency = Offer();
  no_latency.kinds = {TaskKind::kExport, TaskKind::kAccuracy};
  table_->RegisterWorker("phone", Offer("phone"));
  table_->RegisterWorker("other_profile", other_profile);
  table_->RegisterWorker("changed", changed);
  table_->RegisterWorker("no_latency", no_latency);
  table_->RegisterWorker("right", Offer());
  table_->AddTask(Task(1, TaskKind::kLatency));
  for (const char* worker : {"phone", "other_profile", "changed", "no_latency"}) {
    EXPECT_THAT(LeaseIds(worker, 1), IsEmpty()) << worker;
  }
  EXPECT_THAT(LeaseIds("right", 1), ElementsAre(1));
}

TEST_F(LeaseTableTest, AccuracyNeedsTheDataset) {
  WorkerOffer offer = Offer();
  offer.datasets = {"cifar10"};
  table_->RegisterWorker("a", offer);
  table_->AddTask(Task(1));
  EXPECT_THAT(LeaseIds("a", 1), IsEmpty());
}

TEST_F(LeaseTableTest, ExportsComeFirstThenLatenciesThenAccuraciesInOrderOfId) {
  table_->RegisterWorker("a", Offer());
  table_->AddTask(Task(1, TaskKind::kAccuracy));
  table_->AddTask(Task(4, TaskKind::kExport));
  table_->AddTask(Task(3, TaskKind::kExport));
  table_->AddTask(Task(2, TaskKind::kLatency));
  EXPECT_THAT(LeaseIds("a", 9), ElementsAre(3, 4, 2, 1));
}

TEST_F(LeaseTableTest, JobsTakeTurns) {
  table_->RegisterWorker("a", Offer());
  for (int64_t id = 1; id <= 4; ++id) table_->AddTask(Task(id, TaskKind::kAccuracy, 1));
  for (int64_t id = 5; id <= 6; ++id) table_->AddTask(Task(id, TaskKind::kAccuracy, 2));
  EXPECT_THAT(LeaseIds("a", 6), ElementsAre(1, 5, 2, 6, 3, 4));
}

TEST_F(LeaseTableTest, HigherPriorityGoesFirstAmongWhatTheWorkerCanDo) {
  table_->RegisterWorker("a", Offer());
  table_->RegisterWorker("b", Offer("phone"));
  table_->SetShare(2, {.priority = 1});
  for (int64_t task = 1; task <= 3; ++task) table_->AddTask(Task(task));
  table_->AddTask(Task(4, TaskKind::kLatency, 2));
  table_->AddTask(Task(5, TaskKind::kAccuracy, 2));
  EXPECT_THAT(LeaseIds("b", 2), ElementsAre(5, 1)) << "task 4 is not for its device";
  EXPECT_THAT(LeaseIds("a", 3), ElementsAre(4, 2, 3));
}

TEST_F(LeaseTableTest, JobsShareByWhatTheirTasksCost) {
  table_->RegisterWorker("a", Offer());
  table_->SetShare(1, {.tenant = "a"});
  table_->SetShare(2, {.tenant = "a", .weight = 3});
  std::map<int64_t, int64_t> job_of;
  for (int64_t task = 1; task <= 800; ++task) {
    const int64_t job = job_of[task] = task <= 400 ? 1 : 2;
    table_->AddTask(Task(task, TaskKind::kAccuracy, job));
  }
  std::map<int64_t, int> leased;
  for (int i = 0; i < 25; ++i) {
    for (const int64_t task : LeaseIds("a", 16)) {
      ++leased[job_of[task]];
      table_->Complete(task);
    }
  }
  EXPECT_THAT(leased, ElementsAre(Pair(1, 100), Pair(2, 300)));
}

TEST_F(LeaseTableTest, ShortTasksOfOneJobAreGivenOutTogetherForASecond) {
  double seconds = 1;
  LeaseTable::Options options = Options();
  options.cost = [&seconds](int32_t work) { return work == 7 ? seconds : 0; };
  table_ = std::make_unique<LeaseTable>(options);
  table_->RegisterWorker("a", Offer());
  for (int64_t id = 1; id <= 16; ++id) {
    QueuedTask task = Task(id, TaskKind::kAccuracy, id <= 8 ? 1 : 2);
    task.work = 7;
    table_->AddTask(task);
  }
  EXPECT_THAT(LeaseIds("a", 4), ElementsAre(1, 9, 2, 10));
  seconds = 0.3;  // As is learnt after they were added.
  EXPECT_THAT(LeaseIds("a", 9), ElementsAre(3, 4, 5, 11, 12, 13, 6, 7, 8));
  EXPECT_THAT(LeaseIds("a", 2), ElementsAre(14, 15)) << "no longer than the call asks";
}

TEST_F(LeaseTableTest, AWorkerHasSoManyTasksAndOthersGetTheRest) {
  table_->RegisterWorker("greedy", Offer());
  table_->RegisterWorker("other", Offer());
  for (int64_t task = 1; task <= 200; ++task) table_->AddTask(Task(task));
  size_t taken = 0;
  for (int i = 0; i < 10; ++i) taken += LeaseIds("greedy", 15).size();
  EXPECT_EQ(taken, LeaseTable::kMostLeases);
  // Its poll waits, and is in nobody's way.
  table_->Park("greedy", 1, absl::Seconds(30));
  table_->Park("other", 3, absl::Seconds(30));
  const std::vector<Delivery> deliveries = table_->Match();
  ASSERT_EQ(deliveries.size(), 1u);
  EXPECT_EQ(deliveries[0].grants.size(), 3u);
  table_->Complete(1);
  ASSERT_EQ(table_->Match().size(), 1u) << "one of its tasks is done";
  EXPECT_EQ(table_->FindWorker("greedy")->leases, static_cast<int>(LeaseTable::kMostLeases));
}

TEST_F(LeaseTableTest, TheOldestLeaseIsOfWhoeverHasItNow) {
  table_->RegisterWorker("a", Offer());
  EXPECT_EQ(table_->OldestLeaseSeconds(), 0);
  for (const int64_t task : {1, 2}) table_->AddTask(Task(task));
  EXPECT_EQ(table_->OldestLeaseSeconds(), 0) << "nobody has one";
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(1));
  clock_.Advance(absl::Seconds(3));
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(2));
  clock_.Advance(absl::Seconds(4));
  EXPECT_DOUBLE_EQ(table_->OldestLeaseSeconds(), 7);
  table_->Complete(1);
  EXPECT_DOUBLE_EQ(table_->OldestLeaseSeconds(), 4);
}

TEST_F(LeaseTableTest, WhoSaysOfSixteenTasksInARowThatNobodyCanDoThemIsQuarantined) {
  table_->RegisterWorker("a", Offer());
  for (int64_t task = 1; task <= 40; ++task) table_->AddTask(Task(task));
  const auto fail_for_good = [&] {
    const std::vector<int64_t> task = LeaseIds("a", 1);
    return !task.empty() && table_->FailForGood(task[0], "no such operator").quarantined;
  };
  for (int i = 0; i < 15; ++i) EXPECT_FALSE(fail_for_good());
  table_->Complete(LeaseIds("a", 1).at(0));
  for (int i = 0; i < 15; ++i) EXPECT_FALSE(fail_for_good()) << "one was done between";
  const Grant last = table_->Lease("a", 1)->at(0);
  EXPECT_TRUE(table_->FailForGood(last.task, "no such operator").quarantined);
  EXPECT_EQ(table_->FindWorker("a")->state, WorkerState::kQuarantined);
  EXPECT_THAT(table_->FindWorker("a")->reason,
              AllOf(HasSubstr("16 tasks in a row"), HasSubstr("no such operator")));
  // What did not become durable has not happened.
  table_->AddTask(Task(last.task));
  table_->Restore(last.task, last.token, "a", LeaseEnd::kFailedForGood);
  EXPECT_EQ(table_->FindWorker("a")->state, WorkerState::kActive);
}

TEST_F(LeaseTableTest, ADeviceMayBeTooSmallForSixteenSubnetsInARow) {
  table_->RegisterWorker("a", Offer());
  for (int64_t task = 1; task <= 20; ++task) {
    table_->AddTask(Task(task, TaskKind::kLatency));
    EXPECT_FALSE(table_->FailForGood(LeaseIds("a", 1).at(0), "out of memory").quarantined);
  }
}

TEST_F(LeaseTableTest, AQuarantinedWorkerThatIsDrainedLeavesAndIsForgotten) {
  table_->RegisterWorker("a", Offer());
  for (int64_t task = 1; task <= 4; ++task) table_->AddTask(Task(task));
  for (int i = 0; i < 3; ++i) {
    table_->Fail(LeaseIds("a", 1).at(0), /*unable=*/true, "no data");
  }
  ASSERT_EQ(table_->FindWorker("a")->state, WorkerState::kQuarantined);
  FORALL_EXPECT_OK(table_->DrainWorker("a"));
  EXPECT_THAT(LeaseIds("a", 1), IsEmpty()) << "it is to leave, and gets nothing";
  EXPECT_TRUE(table_->Heartbeat("a", {})->drain);
  clock_.Advance(2 * table_->lease_time());
  table_->Sweep();
  EXPECT_EQ(table_->FindWorker("a")->state, WorkerState::kDrained);
  EXPECT_TRUE(table_->ForgetWorker("a", absl::ZeroDuration()));
}

TEST_F(LeaseTableTest, AWorkerThatIsForgottenCountsNoMore) {
  table_->RegisterWorker("a", Offer());
  table_->RegisterWorker("b", Offer());
  EXPECT_EQ(table_->ActiveWorkers(), 2);
  table_->AddTask(Task(1));
  EXPECT_THAT(LeaseIds("b", 1), ElementsAre(1));
  const absl::Duration life = table_->lease_time();
  clock_.Advance(2 * life - absl::Seconds(1));
  EXPECT_FALSE(table_->ForgetWorker("a", absl::ZeroDuration())) << "it may be at work";
  clock_.Advance(absl::Seconds(1));
  EXPECT_FALSE(table_->ForgetWorker("a", 3 * life));
  EXPECT_FALSE(table_->ForgetWorker("b", absl::ZeroDuration())) << "it has a lease";
  EXPECT_FALSE(table_->ForgetWorker("c", absl::ZeroDuration()));
  EXPECT_TRUE(table_->ForgetWorker("a", absl::ZeroDuration()));
  EXPECT_EQ(table_->ActiveWorkers(), 1);
  EXPECT_THAT(table_->Workers(), ElementsAre("b"));
}

TEST_F(LeaseTableTest, TenantOfManyJobsGetsNoMoreThanOneOfOneJob) {
  LeaseTable::Options options = Options();
  options.tenant_weights = {{"c", 2}};
  table_ = std::make_unique<LeaseTable>(options);
  table_->RegisterWorker("a", Offer());
  std::map<int64_t, std::string> tenant_of;
  int64_t task = 0;
  for (int64_t job = 1; job <= 102; ++job) {
    const std::string tenant = job <= 100 ? "a" : job == 101 ? "b" : "c";
    table_->SetShare(job, {.tenant = tenant});
    for (int i = 0; i < (job <= 100 ? 10 : 500); ++i) {
      tenant_of[++task] = tenant;
      table_->AddTask(Task(task, TaskKind::kAccuracy, job));
    }
  }
  std::map<std::string, int> leased;
  for (int i = 0; i < 40; ++i) {
    for (const int64_t id : LeaseIds("a", 10)) {
      ++leased[tenant_of[id]];
      table_->Complete(id);
    }
  }
  EXPECT_THAT(leased, ElementsAre(Pair("a", 100), Pair("b", 100), Pair("c", 200)));
}

TEST_F(LeaseTableTest, HeldJobIsNotLeased) {
  table_->RegisterWorker("a", Offer());
  table_->AddTask(Task(1));
  table_->HoldJob(1, true);
  EXPECT_THAT(LeaseIds("a", 1), IsEmpty());
  table_->HoldJob(1, false);
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(1));
}

TEST_F(LeaseTableTest, EndedJobLosesWaitingTasksAndLeasedOnesWhenTheirLeaseEnds) {
  table_->RegisterWorker("a", Offer());
  table_->AddTask(Task(1));
  table_->AddTask(Task(2));
  const std::string token = Lease("a")[0].token;
  EXPECT_THAT(table_->EndJob(1), ElementsAre(2));
  EXPECT_THAT(table_->CheckLease(1, token, "a"), IsOk());
  FORALL_ASSERT_OK(table_->Release(1, token, "a"));
  EXPECT_THAT(table_->Sweep().dropped, ElementsAre(1));
  EXPECT_THAT(LeaseIds("a", 1), IsEmpty());
  EXPECT_EQ(table_->waiting_tasks(), 0);
}

TEST_F(LeaseTableTest, TaskThatFailsOnTwoWorkersIsPoison) {
  table_->RegisterWorker("a", Offer());
  table_->RegisterWorker("b", Offer());
  table_->AddTask(Task(1));
  Lease("a");
  EXPECT_FALSE(table_->Fail(1, false, "boom").poisoned);
  Lease("b");
  EXPECT_TRUE(table_->Fail(1, false, "boom").poisoned);
  EXPECT_THAT(table_->Tasks(), IsEmpty());
}

TEST_F(LeaseTableTest, TaskThatFailsThreeTimesIsPoisonAndFailuresOfEarlierLivesCount) {
  table_->RegisterWorker("a", Offer());
  QueuedTask task = Task(1);
  task.failed_on = {"a", "a"};
  table_->AddTask(task);
  Lease("a");
  EXPECT_TRUE(table_->Fail(1, false, "boom").poisoned);
}

TEST_F(LeaseTableTest, FailedLeaseIsNotTakenUpAgain) {
  table_->RegisterWorker("a", Offer());
  table_->AddTask(Task(1));
  const std::string token = Lease("a")[0].token;
  table_->Fail(1, false, "boom");
  EXPECT_THAT(table_->CheckLease(1, token, "a"), StatusIs(absl::StatusCode::kAborted));
}

TEST_F(LeaseTableTest, WorkerThatIsUnableIsNotAskedAgainButOthersAre) {
  table_->RegisterWorker("a", Offer());
  table_->RegisterWorker("b", Offer());
  table_->AddTask(Task(1));
  Lease("a");
  EXPECT_FALSE(table_->Fail(1, true, "wrong supernet").poisoned);
  EXPECT_THAT(LeaseIds("a", 1), IsEmpty());
  EXPECT_THAT(LeaseIds("b", 1), ElementsAre(1));
}

TEST_F(LeaseTableTest, WorkerThatFailsThreeTasksInARowIsQuarantinedUntilItRegistersAnew) {
  table_->RegisterWorker("a", Offer());
  for (int64_t id = 1; id <= 5; ++id) table_->AddTask(Task(id));
  for (int64_t id = 1; id <= 2; ++id) {
    Lease("a");
    EXPECT_FALSE(table_->Fail(id, true, "no disk").quarantined);
  }
  Lease("a");
  EXPECT_TRUE(table_->Fail(3, true, "no disk").quarantined);
  EXPECT_EQ(table_->FindWorker("a")->state, WorkerState::kQuarantined);
  EXPECT_THAT(table_->FindWorker("a")->reason, HasSubstr("no disk"));
  EXPECT_THAT(table_->Lease("a", 1), StatusIs(absl::StatusCode::kFailedPrecondition));
  table_->RegisterWorker("a", Offer());
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(1));
}

TEST_F(LeaseTableTest, SuccessEndsARowOfFailures) {
  table_->RegisterWorker("a", Offer());
  for (int64_t id = 1; id <= 5; ++id) table_->AddTask(Task(id));
  for (int64_t id = 1; id <= 2; ++id) {
    Lease("a");
    table_->Fail(id, true, "x");
  }
  Lease("a");
  table_->Complete(3);
  for (int64_t id = 4; id <= 5; ++id) {
    Lease("a");
    EXPECT_FALSE(table_->Fail(id, true, "x").quarantined);
  }
}

TEST_F(LeaseTableTest, TaskWhoseLeaseIsLostTenTimesIsPoison) {
  table_->RegisterWorker("a", Offer());
  table_->AddTask(Task(1));
  for (int i = 1; i <= 10; ++i) {
    ASSERT_THAT(LeaseIds("a", 1), ElementsAre(1));
    clock_.Advance(3 * kBeat);
    EXPECT_THAT(table_->Sweep().poisoned, SizeIs(i < 10 ? 0 : 1));
  }
}

TEST_F(LeaseTableTest, OnlyAsManyPollsAreAnsweredAsThereAreTasks) {
  std::vector<int64_t> polls;
  for (const char* worker : {"a", "b", "c"}) {
    table_->RegisterWorker(worker, Offer());
    polls.push_back(table_->Park(worker, 4, absl::Seconds(30)));
  }
  table_->AddTask(Task(1));
  const std::vector<Delivery> deliveries = table_->Match();
  ASSERT_THAT(deliveries, SizeIs(1));
  EXPECT_EQ(deliveries[0].poll, polls[0]);
  EXPECT_THAT(deliveries[0].grants, SizeIs(1));
  EXPECT_EQ(table_->parked_polls(), 2);
}

TEST_F(LeaseTableTest, PollOfAWorkerThatCannotDoTheTaskStaysParked) {
  table_->RegisterWorker("phone", Offer("phone"));
  table_->RegisterWorker("pc", Offer());
  table_->Park("phone", 1, absl::Seconds(30));
  const int64_t poll = table_->Park("pc", 1, absl::Seconds(30));
  table_->AddTask(Task(1, TaskKind::kLatency));
  const std::vector<Delivery> deliveries = table_->Match();
  ASSERT_THAT(deliveries, SizeIs(1));
  EXPECT_EQ(deliveries[0].poll, poll);
}

TEST_F(LeaseTableTest, PollIsAnsweredWithNothingWhenItsTimeIsUp) {
  table_->RegisterWorker("a", Offer());
  const int64_t poll = table_->Park("a", 1, absl::Seconds(30));
  clock_.Advance(absl::Seconds(29));
  EXPECT_THAT(table_->Sweep().deliveries, IsEmpty());
  clock_.Advance(absl::Seconds(1));
  const SweepResult swept = table_->Sweep();
  ASSERT_THAT(swept.deliveries, SizeIs(1));
  EXPECT_EQ(swept.deliveries[0].poll, poll);
  EXPECT_THAT(swept.deliveries[0].grants, IsEmpty());
}

TEST_F(LeaseTableTest, CancelledPollGetsNoTask) {
  table_->RegisterWorker("a", Offer());
  table_->CancelPoll(table_->Park("a", 1, absl::Seconds(30)));
  table_->AddTask(Task(1));
  EXPECT_THAT(table_->Match(), IsEmpty());
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(1));
}

TEST_F(LeaseTableTest, NewerPollAnswersTheOlder) {
  table_->RegisterWorker("a", Offer());
  const int64_t older = table_->Park("a", 1, absl::Seconds(30));
  const int64_t newer = table_->Park("a", 1, absl::Seconds(30));
  std::vector<Delivery> deliveries = table_->Match();
  ASSERT_THAT(deliveries, SizeIs(1));
  EXPECT_EQ(deliveries[0].poll, older);
  table_->AddTask(Task(1));
  deliveries = table_->Match();
  ASSERT_THAT(deliveries, SizeIs(1));
  EXPECT_EQ(deliveries[0].poll, newer);
}

TEST_F(LeaseTableTest, DrainedWorkerGetsNothingNewAndIsTold) {
  table_->RegisterWorker("a", Offer());
  const int64_t poll = table_->Park("a", 1, absl::Seconds(30));
  FORALL_ASSERT_OK(table_->DrainWorker("a"));
  FORALL_ASSERT_OK(table_->DrainWorker("a"));
  table_->AddTask(Task(1));
  const std::vector<Delivery> deliveries = table_->Match();
  ASSERT_THAT(deliveries, SizeIs(1));
  EXPECT_EQ(deliveries[0].poll, poll);
  EXPECT_TRUE(deliveries[0].drain);
  EXPECT_THAT(LeaseIds("a", 1), IsEmpty());
  EXPECT_TRUE(table_->Heartbeat("a", {})->drain);
  EXPECT_THAT(table_->DrainWorker("b"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(LeaseTableTest, SilentWorkerIsLostAndComesBackWithItsNextCall) {
  table_->RegisterWorker("a", Offer());
  EXPECT_EQ(table_->ActiveWorkers(), 1);
  clock_.Advance(3 * kBeat);
  table_->Sweep();
  EXPECT_EQ(table_->FindWorker("a")->state, WorkerState::kLost);
  EXPECT_EQ(table_->ActiveWorkers(), 0);
  table_->Heartbeat("a", {}).status().IgnoreError();
  EXPECT_EQ(table_->FindWorker("a")->state, WorkerState::kActive);
}

TEST_F(LeaseTableTest, LeaseWhoseEndDidNotBecomeDurableIsRestored) {
  table_->RegisterWorker("a", Offer());
  table_->RegisterWorker("b", Offer());
  table_->AddTask(Task(1));
  const std::string token = Lease("a")[0].token;
  table_->Complete(1);
  table_->Restore(1, token, "a", LeaseEnd::kCompleted);
  EXPECT_THAT(LeaseIds("b", 1), IsEmpty());
  table_->AddTask(Task(1));
  table_->Restore(1, token, "a", LeaseEnd::kCompleted);
  EXPECT_THAT(LeaseIds("b", 1), IsEmpty());
  EXPECT_THAT(table_->CheckLease(1, token, "a"), IsOk());
}

TEST_F(LeaseTableTest, FailureThatDidNotBecomeDurableCountsAgainstNobody) {
  table_->RegisterWorker("a", Offer());
  table_->AddTask(Task(1));
  const std::string token = Lease("a")[0].token;
  for (int i = 0; i < 4; ++i) {
    const bool unable = i % 2 == 1;
    EXPECT_FALSE(table_->Fail(1, unable, "disk full").poisoned);
    table_->AddTask(Task(1));  // as the store knows it
    table_->Restore(1, token, "a", unable ? LeaseEnd::kUnable : LeaseEnd::kFailed);
    EXPECT_EQ(table_->FindWorker("a")->state, WorkerState::kActive);
    EXPECT_EQ(table_->FindWorker("a")->failed, 0);
    EXPECT_THAT(table_->CheckLease(1, token, "a"), IsOk());
  }
  EXPECT_FALSE(table_->FindStuck(1).has_value());
}

TEST_F(LeaseTableTest, QuarantineThatDidNotBecomeDurableIsLifted) {
  table_->RegisterWorker("a", Offer());
  for (int64_t id = 1; id <= 3; ++id) table_->AddTask(Task(id));
  std::string token;
  for (int64_t id = 1; id <= 3; ++id) {
    token = Lease("a")[0].token;
    table_->Fail(id, true, "x");
  }
  EXPECT_EQ(table_->FindWorker("a")->state, WorkerState::kQuarantined);
  table_->Restore(3, token, "a", LeaseEnd::kUnable);
  EXPECT_EQ(table_->FindWorker("a")->state, WorkerState::kActive);
  EXPECT_EQ(table_->FindWorker("a")->failed, 2);
}

TEST_F(LeaseTableTest, MendedWorkerThatRegistersAnewIsAskedAgain) {
  table_->RegisterWorker("a", Offer());
  table_->AddTask(Task(1));
  Lease("a");
  table_->Fail(1, true, "no space in the cache");
  EXPECT_THAT(LeaseIds("a", 1), IsEmpty());
  table_->RegisterWorker("a", Offer());
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(1));
}

TEST_F(LeaseTableTest, DrainedWorkerThatWasSilentStillDrains) {
  table_->RegisterWorker("a", Offer());
  FORALL_ASSERT_OK(table_->DrainWorker("a"));
  clock_.Advance(4 * kBeat);
  table_->Sweep();
  EXPECT_EQ(table_->FindWorker("a")->state, WorkerState::kDrained);
  FORALL_EXPECT_OK(table_->DrainWorker("a"));
  EXPECT_EQ(table_->FindWorker("a")->state, WorkerState::kDrained) << "it is still not there";
  table_->Heartbeat("a", {}).status().IgnoreError();
  EXPECT_EQ(table_->FindWorker("a")->state, WorkerState::kDraining);
}

TEST_F(LeaseTableTest, WorkerThatDiesWhileItDrainsIsLost) {
  table_->RegisterWorker("a", Offer());
  table_->AddTask(Task(1));
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(1));
  FORALL_ASSERT_OK(table_->DrainWorker("a"));
  table_->Heartbeat("a", {}).status().IgnoreError();
  clock_.Advance(4 * kBeat);
  table_->Sweep();
  EXPECT_EQ(table_->FindWorker("a")->state, WorkerState::kLost) << "its task was not finished";
}

TEST_F(LeaseTableTest, LostWorkerIsToldToDrainWhenItComesBack) {
  table_->RegisterWorker("a", Offer());
  clock_.Advance(4 * kBeat);
  table_->Sweep();
  FORALL_ASSERT_OK(table_->DrainWorker("a"));
  EXPECT_EQ(table_->FindWorker("a")->state, WorkerState::kLost);
  FORALL_ASSERT_OK_AND_ASSIGN(const auto reply, table_->Heartbeat("a", {}));
  EXPECT_TRUE(reply.drain);
}

TEST_F(LeaseTableTest, TaskOfAJobThatGoesOnAfterAllReturnsToItsQueue) {
  table_->RegisterWorker("a", Offer());
  table_->AddTask(Task(1));
  const std::string token = Lease("a")[0].token;
  EXPECT_THAT(table_->EndJob(1), IsEmpty());
  table_->AddTask(Task(1));  // the end was not kept: the store has the job running
  FORALL_ASSERT_OK(table_->Release(1, token, "a"));
  EXPECT_THAT(table_->Sweep().dropped, IsEmpty());
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(1));
}

TEST_F(LeaseTableTest, TaskThatNobodyCanTakeIsFoundWithItsReason) {
  table_->AddTask(Task(1));
  ASSERT_TRUE(table_->FindStuck(1).has_value());
  EXPECT_EQ(table_->FindStuck(1)->task, 1);
  EXPECT_THAT(table_->FindStuck(1)->unable, IsEmpty());
  table_->RegisterWorker("a", Offer());
  EXPECT_FALSE(table_->FindStuck(1).has_value());
  Lease("a");
  table_->Fail(1, true, "wrong supernet");
  ASSERT_TRUE(table_->FindStuck(1).has_value());
  EXPECT_THAT(table_->FindStuck(1)->unable, ElementsAre(Pair("a", "wrong supernet")));
  table_->HoldJob(1, true);
  EXPECT_FALSE(table_->FindStuck(1).has_value());
  table_->HoldJob(1, false);
  table_->RegisterWorker("b", Offer());
  EXPECT_FALSE(table_->FindStuck(1).has_value());
}

TEST_F(LeaseTableTest, RemovedTaskIsLostToItsWorker) {
  table_->RegisterWorker("a", Offer());
  table_->AddTask(Task(1));
  const std::string token = Lease("a")[0].token;
  table_->RemoveTask(1);
  EXPECT_THAT(Lost("a", {{1, token}}), ElementsAre(token));
  EXPECT_EQ(table_->leased_tasks(), 0);
}

TEST_F(LeaseTableTest, SecondInstanceIsRefusedWhileTheFirstIsHeardOf) {
  EXPECT_EQ(table_->TakenFor("a", "one"), absl::ZeroDuration()) << "nobody is there yet";
  table_->RegisterWorker("a", Offer(), "one");
  EXPECT_EQ(table_->TakenFor("a", "one"), absl::ZeroDuration());
  for (const char* other : {"two", ""}) EXPECT_EQ(table_->TakenFor("a", other), 3 * kBeat);
  clock_.Advance(2 * kBeat);
  EXPECT_EQ(table_->TakenFor("a", "two"), kBeat);
  // Whatever it says is a sign of life.
  FORALL_EXPECT_OK(table_->CheckInstance("a", "one"));
  EXPECT_EQ(table_->TakenFor("a", "two"), 3 * kBeat);
  clock_.Advance(3 * kBeat);
  EXPECT_EQ(table_->TakenFor("a", "two"), absl::ZeroDuration());
}

// The poll of a machine that stands still stays open.
TEST_F(LeaseTableTest, ParkedPollDoesNotKeepAnotherInstanceOut) {
  table_->RegisterWorker("a", Offer(), "one");
  const int64_t poll = table_->Park("a", 1, absl::Minutes(1));
  clock_.Advance(3 * kBeat);
  ASSERT_EQ(table_->TakenFor("a", "two"), absl::ZeroDuration());
  table_->RegisterWorker("a", Offer(), "two");
  table_->AddTask(Task(1));
  const std::vector<Delivery> deliveries = table_->Match();
  ASSERT_THAT(deliveries, SizeIs(1));
  EXPECT_EQ(deliveries[0].poll, poll);
  EXPECT_THAT(deliveries[0].grants, IsEmpty());
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(1));
}

TEST_F(LeaseTableTest, WorkerWithoutAnInstanceIsNotDisplacedAndDisplacesNone) {
  table_->RegisterWorker("old", Offer());
  table_->RegisterWorker("new", Offer(), "one");
  EXPECT_EQ(table_->TakenFor("old", "one"), 3 * kBeat);
  EXPECT_EQ(table_->TakenFor("old", ""), absl::ZeroDuration()) << "as it always was";
  EXPECT_EQ(table_->TakenFor("new", ""), 3 * kBeat);
}

TEST_F(LeaseTableTest, TakeoverSendsTheLeasesOfTheFormerInstanceBack) {
  table_->RegisterWorker("a", Offer(), "one");
  table_->AddTask(Task(1));
  table_->AddTask(Task(2));
  const std::vector<Grant> grants = Lease("a", 2);
  clock_.Advance(kBeat);
  FORALL_EXPECT_OK(table_->CheckLease(2, grants[1].token, "a"));  // it runs out later
  clock_.Advance(2 * kBeat);
  EXPECT_EQ(table_->Sweep().expired_leases, 1);
  ASSERT_EQ(table_->TakenFor("a", "two"), absl::ZeroDuration());
  table_->RegisterWorker("a", Offer(), "two");
  EXPECT_EQ(table_->leased_tasks(), 0);
  EXPECT_THAT(table_->CheckInstance("a", "one"), StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(table_->CheckInstance("a", ""), StatusIs(absl::StatusCode::kFailedPrecondition));
  for (const Grant& grant : grants) {
    EXPECT_THAT(table_->CheckLease(grant.task, grant.token, "a"),
                StatusIs(absl::StatusCode::kAborted))
        << "neither of them is taken up again";
  }
  EXPECT_THAT(LeaseIds("a", 2), ElementsAre(1, 2));
  EXPECT_TRUE(table_->Heartbeat("a", {})->lost_tokens.empty());
  EXPECT_EQ(table_->leased_tasks(), 2) << "a takeover leaves nothing in doubt";
}

TEST_F(LeaseTableTest, FormerInstanceMayComeBackOnceTheOtherHasGone) {
  table_->RegisterWorker("a", Offer(), "one");
  clock_.Advance(3 * kBeat);
  table_->RegisterWorker("a", Offer(), "two");
  EXPECT_EQ(table_->TakenFor("a", "one"), 3 * kBeat);
  clock_.Advance(3 * kBeat);
  EXPECT_THAT(table_->CheckInstance("a", "one"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_EQ(table_->TakenFor("a", "one"), absl::ZeroDuration());
}

TEST_F(LeaseTableTest, RestartOfOneInstanceGoesOnAtOnce) {
  table_->RegisterWorker("a", Offer(), "one");
  table_->AddTask(Task(1));
  const std::string token = Lease("a")[0].token;
  ASSERT_EQ(table_->TakenFor("a", "one"), absl::ZeroDuration());
  table_->RegisterWorker("a", Offer(), "one");
  EXPECT_TRUE(table_->IsLeased(1)) << "until its first heartbeat";
  EXPECT_THAT(Lost("a", {{1, token}}), IsEmpty());
}

TEST_F(LeaseTableTest, DrainedInstanceThatHoldsNothingMakesRoom) {
  table_->RegisterWorker("a", Offer(), "one");
  table_->AddTask(Task(1));
  const std::string token = Lease("a")[0].token;
  FORALL_ASSERT_OK(table_->DrainWorker("a"));
  EXPECT_TRUE(table_->IsServing("a"));
  EXPECT_EQ(table_->TakenFor("a", "two"), 3 * kBeat) << "it finishes its task";
  FORALL_ASSERT_OK(table_->Release(1, token, "a"));
  EXPECT_EQ(table_->TakenFor("a", "two"), absl::ZeroDuration());
  EXPECT_FALSE(table_->IsServing("a"));
}

TEST_F(LeaseTableTest, SharedTaskIsGivenAtTheFirstTurnOfAnyJobAndChargedToIt) {
  LeaseTable::Options options = Options();
  options.cost = [](int32_t work) { return work == 7 ? 2.0 : 1.0; };
  table_ = std::make_unique<LeaseTable>(options);
  table_->RegisterWorker("a", Offer());
  table_->SetShare(1, {.priority = -1});
  table_->SetShare(2, {.tenant = "t"});
  table_->SetShare(3, {.tenant = "u"});
  for (int64_t id = 1; id <= 9; ++id) table_->AddTask(Task(id, TaskKind::kAccuracy, 1));
  for (int64_t id = 11; id <= 19; ++id) table_->AddTask(Task(id, TaskKind::kAccuracy, 2));
  for (QueuedTask task : {Task(21), Task(22), Task(23)}) {
    task.job = 3;
    task.work = 7;  // Alone in its turn.
    table_->AddTask(task);
  }
  EXPECT_EQ(table_->waiting_tasks(), 21);
  table_->ShareTask(8, 3);
  table_->ShareTask(8, 3);
  table_->ShareTask(8, 1);   // its own
  table_->ShareTask(99, 3);  // not there
  EXPECT_EQ(table_->waiting_tasks(), 21);
  ASSERT_THAT(table_->Waiting(), SizeIs(1));
  EXPECT_EQ(table_->Waiting()[0].tasks, 21);
  // Before what the job has itself, by its number; a second of another's work goes in between.
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(11));
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(8));
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(12));
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(21));
  // It was charged two seconds for that and one for the other's: three of theirs follow.
  EXPECT_THAT(LeaseIds("a", 2), ElementsAre(13, 14));
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(22));
}

TEST_F(LeaseTableTest, SharedTaskIsGivenWhileItsOwnJobIsHeldAlsoWhenItsLeaseWasLost) {
  table_->RegisterWorker("a", Offer());
  table_->AddTask(Task(1, TaskKind::kAccuracy, 1));
  table_->ShareTask(1, 2);
  table_->HoldJob(1, true);
  const std::vector<Grant> grants = Lease("a");
  ASSERT_THAT(grants, SizeIs(1));
  FORALL_ASSERT_OK(table_->Release(1, grants[0].token, "a"));
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(1));
  clock_.Advance(3 * kBeat);
  table_->Sweep();
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(1));
  clock_.Advance(3 * kBeat);
  table_->Sweep();
  table_->UnshareTask(1, 2);
  EXPECT_THAT(LeaseIds("a", 1), IsEmpty());
  table_->ShareTask(1, 2);
  table_->ShareTask(1, 3);
  table_->UnshareAll();
  EXPECT_THAT(LeaseIds("a", 1), IsEmpty());
  table_->HoldJob(1, false);
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(1));
}

TEST_F(LeaseTableTest, SharedTaskLeavesWithItsOwnJobAndNotWithAnother) {
  table_->RegisterWorker("a", Offer());
  for (int64_t id = 1; id <= 3; ++id) table_->AddTask(Task(id, TaskKind::kAccuracy, 1));
  for (int64_t id = 1; id <= 3; ++id) table_->ShareTask(id, 2);
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(1));
  EXPECT_THAT(table_->EndJob(2), IsEmpty());
  EXPECT_EQ(table_->waiting_tasks(), 2);
  EXPECT_THAT(LeaseIds("a", 1), ElementsAre(2));
  table_->ShareTask(3, 4);
  EXPECT_THAT(table_->EndJob(1), ElementsAre(3));
  EXPECT_EQ(table_->waiting_tasks(), 0);
  EXPECT_THAT(LeaseIds("a", 2), IsEmpty());
  table_->ShareTask(2, 4);  // of a job that has ended: it leaves when its lease does
  clock_.Advance(3 * kBeat);
  EXPECT_THAT(table_->Sweep().dropped, ElementsAre(1, 2));
  EXPECT_THAT(LeaseIds("a", 2), IsEmpty());
}

TEST_F(LeaseTableTest, WhoSharesATaskThatNobodyCanDoIsStuckToo) {
  table_->RegisterWorker("a", Offer("other"));
  table_->AddTask(Task(1, TaskKind::kLatency, 1));
  EXPECT_FALSE(table_->FindStuck(2).has_value());
  table_->ShareTask(1, 2);
  ASSERT_TRUE(table_->FindStuck(2).has_value());
  EXPECT_EQ(table_->FindStuck(2)->task, 1);
}

TEST_F(LeaseTableTest, TakeoversCountTowardsPoison) {
  table_->AddTask(Task(1));
  for (int i = 1; i <= 10; ++i) {
    table_->RegisterWorker("a", Offer(), absl::StrCat("instance ", i));
    ASSERT_THAT(LeaseIds("a", 1), ElementsAre(1));
    clock_.Advance(3 * kBeat);
  }
  EXPECT_THAT(table_->Sweep().poisoned, ElementsAre(1));
}

}  // namespace
}  // namespace forall
