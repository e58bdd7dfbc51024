// SPDX-License-Identifier: Apache-2.0
// What the gate in front of the controller puts on record. Who may pass it: every_rpc_test.cc.
#include "search/service/access/guarded_controller.h"

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "proto/forall/v1/search_service.pb.h"

namespace forall {
namespace {

using ::testing::SizeIs;

TEST(GuardedControllerTest, WhatTheControllerRefusesCountsAsRefusedToo) {
  const testing::TempDir folder;
  const std::string path = folder / "audit.jsonl";
  FakeClock clock;
  AuditLog audit({.path = path, .refusals_per_second = 3, .clock = &clock});
  FORALL_ASSERT_OK_AND_ASSIGN(const auto no_tokens, TokenBook::Create({}));
  const Authorizer anybody({.tokens = no_tokens.get(), .this_machine_only = true});
  const GuardedController gate({.authorizer = &anybody, .audit = &audit});
  const grpc::CallbackServerContext context;
  v1::DeleteSearchJobRequest request;
  request.set_name("searchJobs/1");
  FORALL_ASSERT_OK_AND_ASSIGN(const GuardedController::Pass pass, gate.Admit(context, request));
  for (int i = 0; i < 10; ++i) pass.NoteEnd(absl::PermissionDeniedError("another's"));
  // Errors that are no refusals are all there, however many.
  for (int i = 0; i < 5; ++i) pass.NoteEnd(absl::NotFoundError("there is none"));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string text, ReadFile(path));
  const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipEmpty());
  ASSERT_THAT(lines, SizeIs(3 + 5));
  const nlohmann::json first = nlohmann::json::parse(lines[0]);
  EXPECT_EQ(first["outcome"], "PERMISSION_DENIED");
  EXPECT_EQ(first["who"], "anybody on this machine");
  EXPECT_EQ(nlohmann::json::parse(lines[3])["refusals_left_out"], 7);
  EXPECT_EQ(nlohmann::json::parse(lines[3])["outcome"], "NOT_FOUND");
}

}  // namespace
}  // namespace forall
