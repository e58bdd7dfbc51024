// SPDX-License-Identifier: Apache-2.0
#include "search/service/access/token_file.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <utility>

#include "base/file.h"
#include "base/sha256.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

class TokenFileTest : public ::testing::Test {
 protected:
  std::string Add(const std::string& name, Role role, const std::string& worker = "") {
    const absl::StatusOr<std::string> token =
        AddToken(path_, name, role, worker, absl::FromUnixSeconds(1700000000));
    EXPECT_THAT(token, IsOk());
    return token.value_or("");
  }

  testing::TempDir directory_;
  const std::string path_ = TokenPathOf(directory_ / "forall.db");
  FakeClock clock_;
};

TEST_F(TokenFileTest, HoldsHashesAndIsItsOwnersAlone) {
  const std::string token = Add("alice", Role::kSubmit);
  // 32 bytes are 43 characters.
  EXPECT_THAT(token, SizeIs(std::string(kTokenPrefix).size() + 43));
  EXPECT_EQ(token.rfind(kTokenPrefix, 0), 0u);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(path_));
  EXPECT_THAT(text, Not(HasSubstr(token.substr(7, 10))));
  EXPECT_THAT(text, HasSubstr(Sha256Hex(token)));
  struct stat info = {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_NE(Add("bob", Role::kSubmit), token);
}

TEST_F(TokenFileTest, KeepsWhatItWasTold) {
  const std::string token = Add("pi", Role::kWork, "pi5-*");
  Add("root", Role::kAdmin);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<TokenRecord> tokens, ReadTokens(path_));
  ASSERT_THAT(tokens, SizeIs(2));
  EXPECT_EQ(tokens[0], (TokenRecord{"pi", Role::kWork, "pi5-*", absl::FromUnixSeconds(1700000000),
                                    Sha256Hex(token)}));
  EXPECT_EQ(tokens[1].role, Role::kAdmin);
  EXPECT_EQ(tokens[1].worker, "");
}

// root writes it, and a controller of another user must go on reading it.
TEST_F(TokenFileTest, RootLeavesItToWhoeverHasIt) {
  if (chown(directory_.path().c_str(), 4001, 4002) != 0) {
    GTEST_SKIP() << "only root can give files to others";
  }
  using Owner = std::pair<uid_t, gid_t>;
  const auto owner = [](const std::string& path) {
    struct stat info = {};
    EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
    return Owner(info.st_uid, info.st_gid);
  };
  const auto give = [](const std::string& path, const Owner& to) {
    ASSERT_EQ(chown(path.c_str(), to.first, to.second), 0) << path;
  };
  const std::string db = directory_ / "forall.db";
  const std::string lock = path_ + ".lock";
  const Owner folders(4001, 4002), databases(4003, 4004), files(4005, 4006);
  Add("alice", Role::kSubmit);
  EXPECT_EQ(owner(path_), folders);
  EXPECT_EQ(owner(lock), folders);
  for (const std::string& path : {path_, lock}) std::filesystem::remove(path);
  FORALL_ASSERT_OK(WriteFileAtomically(db, ""));
  give(db, databases);
  Add("alice", Role::kSubmit);
  EXPECT_EQ(owner(path_), databases);
  EXPECT_EQ(owner(lock), databases);
  give(path_, files);
  Add("bob", Role::kSubmit);
  EXPECT_EQ(owner(path_), files);
  FORALL_ASSERT_OK(RevokeToken(path_, "alice"));
  EXPECT_EQ(owner(path_), files);
  // Nobody knows whose a lock is that was there.
  EXPECT_EQ(owner(lock), databases);
  struct stat info = {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(TokenFileTest, MistakesAreRefused) {
  Add("alice", Role::kSubmit);
  const absl::Time now = absl::FromUnixSeconds(1);
  EXPECT_THAT(AddToken(path_, "alice", Role::kWork, "", now).status(),
              StatusIs(absl::StatusCode::kAlreadyExists));
  for (const auto& [name, role, worker] :
       {std::tuple("A b", Role::kWork, ""), std::tuple("", Role::kWork, ""),
        std::tuple("x", Role::kSubmit, "w"), std::tuple("x", Role::kWork, "*"),
        std::tuple("x", Role::kWork, "a b"), std::tuple("x", Role::kWork, "a*b")}) {
    EXPECT_THAT(AddToken(path_, name, role, worker, now).status(),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << name << " " << worker;
  }
  EXPECT_THAT(RevokeToken(path_, "bob"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(ReadTokens(path_), IsOk());
}

TEST_F(TokenFileTest, BrokenFilesNameTheLine) {
  Add("alice", Role::kSubmit);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(path_));
  for (const std::string& line :
       {std::string("x"), "bob king - 2026-01-01T00:00:00+00:00 " + std::string(64, 'a'),
        "bob admin - 2026-01-01T00:00:00+00:00 " + std::string(63, 'a'),
        "bob admin - yesterday " + std::string(64, 'a'),
        "bob admin * 2026-01-01T00:00:00+00:00 " + std::string(64, 'a')}) {
    FORALL_ASSERT_OK(WriteFileAtomically(path_, text + line + "\n"));
    EXPECT_THAT(ReadTokens(path_), StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(":3")))
        << line;
  }
  FORALL_ASSERT_OK(WriteFileAtomically(path_, "hello\n"));
  EXPECT_THAT(TokenBook::Create({.path = path_}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(path_)));
}

TEST_F(TokenFileTest, PatternsOfWorkers) {
  EXPECT_TRUE(MatchesWorker("pi5", "pi5"));
  EXPECT_FALSE(MatchesWorker("pi5", "pi5-1"));
  EXPECT_TRUE(MatchesWorker("pi5-*", "pi5-1"));
  EXPECT_FALSE(MatchesWorker("pi5-*", "pi5"));
  EXPECT_FALSE(MatchesWorker("pi5", ""));
}

TEST_F(TokenFileTest, BookFollowsTheFile) {
  FORALL_ASSERT_OK_AND_ASSIGN(
      const std::unique_ptr<TokenBook> book,
      TokenBook::Create({.path = path_, .recheck = absl::Seconds(1), .clock = &clock_}));
  EXPECT_FALSE(book->exists());
  const std::string token = Add("alice", Role::kSubmit);
  // Not looked at again yet.
  EXPECT_FALSE(book->exists());
  clock_.Advance(absl::Seconds(1));
  EXPECT_TRUE(book->exists());
  ASSERT_TRUE(book->Find(token).has_value());
  EXPECT_EQ(book->Find(token)->name, "alice");
  EXPECT_FALSE(book->Find(token + "x").has_value());
  EXPECT_FALSE(book->Find("").has_value());
  EXPECT_FALSE(book->Find(Sha256Hex(token)).has_value());

  FORALL_ASSERT_OK(RevokeToken(path_, "alice"));
  clock_.Advance(absl::Seconds(1));
  EXPECT_FALSE(book->Find(token).has_value());
  // A closed door is not opened by taking the last key away.
  EXPECT_TRUE(book->exists());
}

TEST_F(TokenFileTest, ALostOrBrokenFileChangesNothing) {
  const std::string token = Add("alice", Role::kSubmit);
  FORALL_ASSERT_OK_AND_ASSIGN(
      const std::unique_ptr<TokenBook> book,
      TokenBook::Create({.path = path_, .recheck = absl::ZeroDuration(), .clock = &clock_}));
  ASSERT_TRUE(book->Find(token).has_value());
  FORALL_ASSERT_OK(WriteFileAtomically(path_, "broken"));
  EXPECT_TRUE(book->Find(token).has_value());
  ASSERT_EQ(std::remove(path_.c_str()), 0);
  EXPECT_TRUE(book->exists());
  EXPECT_TRUE(book->Find(token).has_value());
  const std::string other = Add("bob", Role::kWork);
  EXPECT_TRUE(book->Find(other).has_value());
  EXPECT_FALSE(book->Find(token).has_value());
}

// As when the process has no descriptor left, or the file is not its own for a moment: the file has
// not changed since, and is read all the same.
TEST_F(TokenFileTest, AFileThatCouldNotBeReadIsTriedAgain) {
  const std::string token = Add("alice", Role::kSubmit);
  FORALL_ASSERT_OK_AND_ASSIGN(
      const std::unique_ptr<TokenBook> book,
      TokenBook::Create({.path = path_, .recheck = absl::ZeroDuration(), .clock = &clock_}));
  ASSERT_TRUE(book->Find(token).has_value());
  FORALL_ASSERT_OK(RevokeToken(path_, "alice"));
  rlimit limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none = {0, limit.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const bool found_meanwhile = book->Find(token).has_value();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_TRUE(found_meanwhile);
  EXPECT_FALSE(book->Find(token).has_value());
}

TEST_F(TokenFileTest, AFirstFileThatCannotBeReadIsAClosedDoor) {
  FORALL_ASSERT_OK_AND_ASSIGN(
      const std::unique_ptr<TokenBook> book,
      TokenBook::Create({.path = path_, .recheck = absl::ZeroDuration(), .clock = &clock_}));
  EXPECT_FALSE(book->exists());
  FORALL_ASSERT_OK(WriteFileAtomically(path_, "broken"));
  EXPECT_TRUE(book->exists());
  EXPECT_FALSE(book->Find("forall_x").has_value());
}

TEST_F(TokenFileTest, NoPathNoTokens) {
  FORALL_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<TokenBook> book, TokenBook::Create({}));
  EXPECT_FALSE(book->exists());
  EXPECT_FALSE(book->Find("forall_x").has_value());
}

}  // namespace
}  // namespace forall
