// SPDX-License-Identifier: Apache-2.0
#include "search/controller/page_tokens.h"

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

auto Refused() {
  return StatusIs(absl::StatusCode::kInvalidArgument,
                  AllOf(HasSubstr("page_token"), HasSubstr("leave it empty")));
}

LifeRecord Life(int64_t epoch) {
  return {.epoch = epoch, .secret = std::string(kLifeSecretBytes, static_cast<char>('a' + epoch))};
}

TEST(PageTokensTest, ATokenIsGoodForItsListAndQuestion) {
  const PageTokens tokens({Life(1)});
  EXPECT_THAT(tokens.ReadNumber({"jobs"}, tokens.Make({"jobs"}, 17)), IsOkAndHolds(17));
  EXPECT_THAT(tokens.Read({"workers"}, tokens.Make({"workers"}, "lab 1")), IsOkAndHolds("lab 1"));
  EXPECT_THAT(tokens.Read({"workers"}, ""), IsOkAndHolds(""));
  EXPECT_THAT(tokens.ReadNumber({"jobs"}, ""), IsOkAndHolds(0));
  const PageScope trials = {"trials", "searchJobs/1"};
  const std::string token = tokens.Make(trials, 100);
  EXPECT_THAT(tokens.ReadNumber(trials, token), IsOkAndHolds(100));
  EXPECT_THAT(tokens.Read({"trials", "searchJobs/2"}, token), Refused());
  EXPECT_THAT(tokens.Read({"trials"}, token), Refused());
  EXPECT_THAT(tokens.Read({"jobs", "searchJobs/1"}, token), Refused());
}

TEST(PageTokensTest, OneThatWasMadeUpChangedOrCutIsRefused) {
  const PageTokens tokens({Life(1)});
  const PageScope scope = {"jobs"};
  const std::string token = tokens.Make(scope, 17);
  for (size_t i = 0; i < token.size(); ++i) {
    if (i > 0) {
      EXPECT_THAT(tokens.Read(scope, token.substr(0, i)), Refused()) << i;
    }
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_THAT(tokens.Read(scope, changed), Refused()) << changed;
  }
  // What base64 would read as the same, and what is no base64.
  for (const std::string& other :
       {token + " ", "\n" + token, token + "=", token + "A", std::string("!"),
        std::string(100'000, 'A'), std::string("\0", 1)}) {
    EXPECT_THAT(tokens.Read(scope, other), Refused());
  }
  // Readable by anybody, and signed by nobody.
  EXPECT_THAT(tokens.Read(scope, absl::WebSafeBase64Escape("jobs:17")), Refused());
  EXPECT_THAT(tokens.Read(scope, absl::WebSafeBase64Escape("123456789012"
                                                           "1 1 17")),
              Refused());
}

TEST(PageTokensTest, ItOutlivesRestartsButNotItsSecret) {
  const PageScope scope = {"jobs"};
  const std::string token = PageTokens({Life(1)}).Make(scope, 17);
  const PageTokens later({Life(1), Life(2), Life(3)});
  EXPECT_THAT(later.ReadNumber(scope, token), IsOkAndHolds(17));
  EXPECT_NE(later.Make(scope, 17), token) << "given by the last life";
  EXPECT_THAT(PageTokens({Life(2), Life(3)}).Read(scope, token), Refused());
  LifeRecord other = Life(1);
  other.secret[0] = 'x';
  EXPECT_THAT(PageTokens({other}).Read(scope, token), Refused()) << "of another store";
}

TEST(PageTokensTest, NumbersArePositive) {
  const PageTokens tokens({Life(1)});
  for (const char* const text : {"0", "-3", "x", "", "1 2", "99999999999999999999"}) {
    EXPECT_THAT(tokens.ReadNumber({"jobs"}, tokens.Make({"jobs"}, text)), Refused()) << text;
  }
}

TEST(PageTokensTest, TheLongestNameFits) {
  const PageTokens tokens({Life(1'000'000'000'000)});
  const std::string name(100, 'n');
  EXPECT_THAT(tokens.Read({"workers"}, tokens.Make({"workers"}, name)), IsOkAndHolds(name));
}

}  // namespace
}  // namespace forall
