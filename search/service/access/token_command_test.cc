// SPDX-License-Identifier: Apache-2.0
#include "search/service/access/token_command.h"

#include <sstream>

#include "absl/strings/ascii.h"
#include "base/clock.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gtest/gtest.h"
#include "search/service/access/token_file.h"

namespace forall {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class TokenCommandTest : public ::testing::Test {
 protected:
  int Run(const std::vector<std::string>& arguments) {
    out_.str("");
    err_.str("");
    return RunTokenCommand(arguments, absl::FromUnixSeconds(1700000000), out_, err_);
  }

  testing::TempDir directory_;
  const std::string db_ = directory_ / "forall.db";
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(TokenCommandTest, AddsListsAndRevokes) {
  ASSERT_EQ(Run({"list", "--db", db_}), 0);
  EXPECT_THAT(err_.str(), HasSubstr("no tokens"));
  ASSERT_EQ(Run({"add", "--db", db_, "--name=pi", "--role", "work", "--worker", "pi5-*"}), 0);
  const std::string token(absl::StripAsciiWhitespace(out_.str()));
  EXPECT_THAT(err_.str(), Not(HasSubstr(token)));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<TokenBook> book,
                              TokenBook::Create({.path = TokenPathOf(db_)}));
  ASSERT_TRUE(book->Find(token).has_value());
  EXPECT_EQ(book->Find(token)->worker, "pi5-*");
  ASSERT_EQ(Run({"list", "--db", db_}), 0);
  EXPECT_THAT(out_.str(), HasSubstr("pi    work    2023-11-14T22:13:20Z  pi5-*"));
  EXPECT_THAT(out_.str(), Not(HasSubstr(token)));
  ASSERT_EQ(Run({"revoke", "--db", db_, "--name", "pi"}), 0);
  EXPECT_EQ(Run({"revoke", "--db", db_, "--name", "pi"}), 1);
  EXPECT_THAT(err_.str(), HasSubstr("no token pi"));
}

TEST_F(TokenCommandTest, MistakesNameTheFlag) {
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{"make"}, "make"},
      {{"add"}, "--db"},
      {{"add", "--db", db_}, "--name"},
      {{"add", "--db", db_, "--name", "x"}, "--role"},
      {{"add", "--db", db_, "--name", "x", "--role", "king"}, "--role"},
      {{"add", "--db", db_, "--name", "x", "--role", "admin", "--worker", "w"}, "--worker"},
      {{"add", "--db", ":memory:", "--name", "x", "--role", "admin"}, "--db"},
      {{"list", "--db"}, "--db"},
      {{"list", "--db", db_, "--name", "x"}, "--name"},
      {{"revoke", "--db", db_, "--role", "x"}, "--role"}};
  for (const auto& [arguments, text] : cases) {
    EXPECT_EQ(Run(arguments), 2) << text;
    EXPECT_THAT(err_.str(), HasSubstr(text));
    EXPECT_EQ(out_.str(), "");
  }
  EXPECT_EQ(Run({"--help"}), 0);
  EXPECT_THAT(out_.str(), HasSubstr("revoke"));
}

}  // namespace
}  // namespace forall
