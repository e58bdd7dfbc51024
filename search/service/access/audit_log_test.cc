// SPDX-License-Identifier: Apache-2.0
#include "search/service/access/audit_log.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <vector>

#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "base/thread.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using ::testing::SizeIs;

class AuditLogTest : public ::testing::Test {
 protected:
  static std::vector<nlohmann::json> Lines(const std::string& path) {
    std::vector<nlohmann::json> lines;
    const absl::StatusOr<std::string> text = ReadFile(path);
    FORALL_EXPECT_OK(text);
    for (const std::string& line :
         std::vector<std::string>(absl::StrSplit(text.value_or(""), '\n', absl::SkipEmpty()))) {
      lines.push_back(nlohmann::json::parse(line));
    }
    return lines;
  }

  testing::TempDir directory_;
  const std::string path_ = directory_ / "audit.jsonl";
  FakeClock clock_{absl::FromUnixSeconds(1700000000)};
};

TEST_F(AuditLogTest, OneJsonLineACall) {
  AuditLog log({.path = path_, .clock = &clock_});
  log.Write({.who = "token:alice",
             .role = "submit",
             .method = "SearchService.SubmitSearchJob",
             .resource = "searchJobs/1",
             .peer = "ipv4:10.0.0.7:1",
             .outcome = "OK"});
  log.Write({.resource = "no \xff UTF-8 and a\nnew line " + std::string(1000, 'x'),
             .outcome = "PERMISSION_DENIED",
             .message = "why",
             .refused = true});
  const std::vector<nlohmann::json> lines = Lines(path_);
  ASSERT_THAT(lines, SizeIs(2));
  EXPECT_EQ(lines[0], (nlohmann::json{{"time", "2023-11-14T22:13:20.000Z"},
                                      {"who", "token:alice"},
                                      {"role", "submit"},
                                      {"method", "SearchService.SubmitSearchJob"},
                                      {"resource", "searchJobs/1"},
                                      {"peer", "ipv4:10.0.0.7:1"},
                                      {"outcome", "OK"}}));
  EXPECT_EQ(lines[1]["message"], "why");
  EXPECT_LT(lines[1]["resource"].get<std::string>().size(), 400u);
  struct stat info = {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0077, 0u);
}

TEST_F(AuditLogTest, FollowsRotation) {
  AuditLog log({.path = path_, .clock = &clock_});
  log.Write({.who = "one"});
  std::filesystem::rename(path_, path_ + ".1");
  log.Write({.who = "two"});
  EXPECT_THAT(Lines(path_ + ".1"), SizeIs(1));
  ASSERT_THAT(Lines(path_), SizeIs(1));
  EXPECT_EQ(Lines(path_)[0]["who"], "two");
}

TEST_F(AuditLogTest, StrangersCannotFillTheDisk) {
  AuditLog log({.path = path_, .refusals_per_second = 3, .clock = &clock_});
  for (int i = 0; i < 10; ++i) log.Write({.refused = true});
  log.Write({.who = "alice"});
  EXPECT_THAT(Lines(path_), SizeIs(4));
  EXPECT_EQ(Lines(path_)[3]["refusals_left_out"], 7);
  clock_.Advance(absl::Seconds(1));
  log.Write({.refused = true});
  EXPECT_THAT(Lines(path_), SizeIs(5));
  EXPECT_FALSE(Lines(path_)[4].contains("refusals_left_out"));
}

TEST_F(AuditLogTest, GoesOnWhenItCannotWrite) {
  AuditLog log({.path = directory_ / "missing/audit.jsonl", .clock = &clock_});
  for (int i = 0; i < 2; ++i) log.Write({.who = "lost"});
  EXPECT_EQ(log.Collect().samples.at(0).value, 2);
  std::filesystem::create_directory(directory_ / "missing");
  log.Write({.who = "kept"});
  EXPECT_EQ(log.Collect().samples.at(0).value, 2);
  EXPECT_THAT(Lines(directory_ / "missing/audit.jsonl"), SizeIs(1));
  AuditLog none({});
  none.Write({.who = "nowhere"});
}

TEST_F(AuditLogTest, LinesOfManyThreadsStayWhole) {
  AuditLog log({.path = path_});
  {
    std::vector<Thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back("writer", [&log] {
        for (int line = 0; line < 50; ++line) log.Write({.who = std::string(200, 'w')});
      });
    }
  }
  EXPECT_THAT(Lines(path_), SizeIs(200));
}

TEST_F(AuditLogTest, StrangersChooseTheLengthOfNoField) {
  AuditLog log({.path = path_, .clock = &clock_});
  log.Write(
      {.method = "/" + std::string(8000, 'm'), .outcome = "UNAUTHENTICATED", .refused = true});
  EXPECT_LT(std::filesystem::file_size(path_), 1000u);
}

// As on a disk that fills up in the middle of a line.
TEST_F(AuditLogTest, HalfALineIsTakenBack) {
  AuditLog log({.path = path_, .clock = &clock_});
  log.Write({.method = "first", .outcome = "OK"});
  rlimit limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit full = {std::filesystem::file_size(path_) + 10, limit.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &full), 0);
  log.Write({.method = "lost", .outcome = "OK"});
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(log.Collect().samples.at(0).value, 1);
  log.Write({.method = "second", .outcome = "OK"});
  const std::vector<nlohmann::json> lines = Lines(path_);
  ASSERT_THAT(lines, SizeIs(2));
  EXPECT_EQ(lines[0]["method"], "first");
  EXPECT_EQ(lines[1]["method"], "second");
}

}  // namespace
}  // namespace forall
