// SPDX-License-Identifier: Apache-2.0
#include "search/queue/lease_tokens.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::StartsWith;

LifeRecord Life(int64_t epoch, char secret, int64_t tasks_before = 0) {
  return {epoch, std::string(kLifeSecretBytes, secret), tasks_before};
}

TEST(LeaseTokensTest, ATokenIsPrintableShortAndNoOtherLease) {
  LeaseTokens tokens({Life(3, 'a')});
  std::set<std::string> made;
  for (const int64_t number : {1, 2}) {
    for (const int64_t task : {7, 8}) {
      for (const char* worker : {"w", "w2"}) made.insert(tokens.Make(number, task, worker));
    }
  }
  EXPECT_EQ(made.size(), 8u);
  for (const std::string& token : made) {
    EXPECT_THAT(token, StartsWith("3-"));
    EXPECT_EQ(token.size(), 4 + 16u);  // 96 bits
    EXPECT_EQ(token.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                      "0123456789-_"),
              std::string::npos);
  }
  const int64_t most = int64_t{1} << 62;
  EXPECT_LE(LeaseTokens({Life(most, 'a')}).Make(most, most, "w").size(), 64u);
}

// A vector, so that a controller of tomorrow knows the leases of today's: what OpenSSL's command
// line says of "forall.lease.v1 3 17 42 pi5-lab" under 32 times 'a'.
TEST(LeaseTokensTest, AreMadeTheSameWayForEver) {
  EXPECT_EQ(LeaseTokens({Life(3, 'a')}).Make(17, 42, "pi5-lab"), "3-17-R51MoDi7UDmqx-Fl");
}

TEST(LeaseTokensTest, ALaterLifeKnowsWhatItsOwnStoreHasGiven) {
  const std::string token = LeaseTokens({Life(3, 'a')}).Make(17, 42, "w");
  const LeaseTokens next({Life(3, 'a'), Life(4, 'b', 50)});
  EXPECT_TRUE(next.GivenEarlier(token, 42, "w"));
  EXPECT_FALSE(next.GivenEarlier(token, 43, "w")) << "another task's";
  EXPECT_FALSE(next.GivenEarlier(token, 42, "w2")) << "another worker's";
  EXPECT_EQ(next.life(), 4);
  // Still, two starts later.
  EXPECT_TRUE(
      LeaseTokens({Life(3, 'a'), Life(4, 'b', 50), Life(5, 'c', 60)}).GivenEarlier(token, 42, "w"));
}

TEST(LeaseTokensTest, NothingThatWasMadeUpIsTaken) {
  LeaseTokens tokens({Life(3, 'a'), Life(4, 'b', 50)});
  const std::string real = LeaseTokens({Life(3, 'a')}).Make(17, 42, "w");
  std::vector<std::string> bad = {"",      "3",       "3-17",          "3-17-",   "2-8",
                                  "x-y-z", "3-17-AA", "-3-17-" + real, real + "A"};
  for (size_t i = 0; i < real.size(); ++i) {
    std::string changed = real;
    changed[i] = changed[i] == 'B' ? 'C' : 'B';
    bad.push_back(changed);
  }
  bad.push_back(absl::StrCat(" ", real));
  bad.push_back(absl::StrCat("0", real));
  for (const std::string& token : bad) EXPECT_FALSE(tokens.GivenEarlier(token, 42, "w")) << token;
  EXPECT_FALSE(tokens.GivenEarlier(tokens.Make(1, 42, "w"), 42, "w"))
      << "of this life the table knows";
}

TEST(LeaseTokensTest, ALifeThatTheStoreDoesNotKnowHasGivenNothing) {
  const std::string token = LeaseTokens({Life(3, 'a')}).Make(17, 42, "w");
  // Its record was dropped, or the store is a backup; or another store's third life.
  EXPECT_FALSE(LeaseTokens({Life(4, 'b', 50)}).GivenEarlier(token, 42, "w"));
  EXPECT_FALSE(LeaseTokens({Life(3, 'x'), Life(4, 'b', 50)}).GivenEarlier(token, 42, "w"));
  EXPECT_FALSE(LeaseTokens({Life(3, 'a'), Life(5, 'b', 50)}).GivenEarlier(token, 42, "w"));
}

// A copy of the store has the secret of the life that it was taken in. That life's later tasks are
// not the tasks of the same number that the copy's next life makes.
TEST(LeaseTokensTest, ATaskOfAfterTheLifeIsNotTheTaskOfItsLeases) {
  const std::string token = LeaseTokens({Life(3, 'a')}).Make(17, 51, "w");
  EXPECT_FALSE(LeaseTokens({Life(3, 'a'), Life(4, 'b', 50)}).GivenEarlier(token, 51, "w"));
  EXPECT_TRUE(LeaseTokens({Life(3, 'a'), Life(4, 'b', 51)}).GivenEarlier(token, 51, "w"));
}

}  // namespace
}  // namespace forall
