// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/host_lock.h"

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "base/thread.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::HasSubstr;

class HostLockTest : public ::testing::Test {
 protected:
  // As another process would open it; waits pass at once.
  std::unique_ptr<HostLock> Open() {
    auto lock = HostLock::Open({.path = dir_ / "timing.lock", .clock = &clock_});
    EXPECT_THAT(lock, IsOk());
    return *std::move(lock);
  }

  TempDir dir_;
  FakeClock clock_;
};

TEST_F(HostLockTest, ExclusiveKeepsEverybodyOut) {
  const auto timing = Open();
  const auto other = Open();
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto holder, timing->AcquireExclusive());
    EXPECT_THAT(other->AcquireExclusive(absl::Seconds(1)),
                StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("timing.lock")));
    EXPECT_THAT(other->AcquireShared(absl::Seconds(1)),
                StatusIs(absl::StatusCode::kDeadlineExceeded));
    EXPECT_THAT(timing->AcquireShared(absl::ZeroDuration()),
                StatusIs(absl::StatusCode::kDeadlineExceeded))
        << "also a thread of the same process";
  }
  EXPECT_THAT(other->AcquireExclusive(absl::ZeroDuration()), IsOk());
}

TEST_F(HostLockTest, SharersGoTogetherAndKeepTimingOut) {
  const auto first = Open();
  const auto second = Open();
  FORALL_ASSERT_OK_AND_ASSIGN(auto a, first->AcquireShared());
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto b, second->AcquireShared(absl::ZeroDuration()));
    EXPECT_THAT(first->AcquireExclusive(absl::Seconds(1)),
                StatusIs(absl::StatusCode::kDeadlineExceeded));
  }
  EXPECT_THAT(first->AcquireExclusive(absl::Seconds(1)),
              StatusIs(absl::StatusCode::kDeadlineExceeded))
      << "one sharer is left";
  { const HostLock::Holder gone = std::move(a); }
  EXPECT_THAT(first->AcquireExclusive(absl::ZeroDuration()), IsOk());
}

TEST_F(HostLockTest, WaitingCanBeCancelled) {
  const auto lock = Open();
  FORALL_ASSERT_OK_AND_ASSIGN(const auto holder, lock->AcquireShared());
  int asked = 0;
  EXPECT_THAT(lock->AcquireExclusive(absl::InfiniteDuration(), [&] { return ++asked == 3; }),
              StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(asked, 3);
}

TEST_F(HostLockTest, AnExclusiveWaiterIsNotStarvedByNewSharers) {
  const auto lock = Open();
  FORALL_ASSERT_OK_AND_ASSIGN(auto holder, lock->AcquireShared());
  Mutex mu;
  bool waiting = false;
  bool give_up = false;
  CondVar changed;
  Thread timing("timing", [&] {
    const auto result = lock->AcquireExclusive(absl::InfiniteDuration(), [&] {
      MutexLock l(&mu);
      waiting = true;  // Asked only once the gate is passed and the lock was found busy.
      changed.SignalAll();
      return give_up;
    });
    EXPECT_THAT(result, StatusIs(absl::StatusCode::kCancelled));
  });
  {
    MutexLock l(&mu);
    while (!waiting) changed.Wait(&mu);
  }
  EXPECT_THAT(lock->AcquireShared(absl::ZeroDuration()),
              StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr(".gate")));
  {
    MutexLock l(&mu);
    give_up = true;
  }
  timing.Join();
  EXPECT_THAT(lock->AcquireShared(absl::ZeroDuration()), IsOk());
}

TEST_F(HostLockTest, AKilledProcessFreesIt) {
  const auto lock = Open();
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const auto holder = lock->AcquireExclusive();
    const char answer = holder.ok() ? 'y' : 'n';
    if (write(ready[1], &answer, 1) != 1) _exit(1);
    while (true) pause();
  }
  char answer = 0;
  ASSERT_EQ(read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  EXPECT_THAT(lock->AcquireShared(absl::Seconds(1)), StatusIs(absl::StatusCode::kDeadlineExceeded));
  ASSERT_EQ(kill(child, SIGKILL), 0);
  ASSERT_EQ(waitpid(child, nullptr, 0), child);
  EXPECT_THAT(lock->AcquireShared(absl::ZeroDuration()), IsOk());
  close(ready[0]);
  close(ready[1]);
}

TEST_F(HostLockTest, AFileThatACleanerRemovedIsMadeAnew) {
  const auto lock = Open();
  std::filesystem::remove(lock->path());
  std::filesystem::remove(lock->path() + ".gate");
  FORALL_ASSERT_OK_AND_ASSIGN(const auto holder, lock->AcquireExclusive(absl::ZeroDuration()));
  EXPECT_THAT(Open()->AcquireShared(absl::ZeroDuration()),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST_F(HostLockTest, OthersMayOpenItButSymbolicLinksAreNotFollowed) {
  Open();
  using std::filesystem::perms;
  EXPECT_EQ(std::filesystem::status(dir_ / "timing.lock").permissions(),
            perms::owner_read | perms::owner_write | perms::group_read | perms::others_read);
  std::filesystem::create_symlink("timing.lock", dir_ / "link.lock");
  EXPECT_THAT(HostLock::Open({.path = dir_ / "link.lock"}),
              StatusIs(absl::StatusCode::kPermissionDenied, HasSubstr("FORALL_TIMING_LOCK")));
  EXPECT_THAT(HostLock::Open({.path = dir_ / "no such folder/timing.lock"}),
              StatusIs(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace forall
