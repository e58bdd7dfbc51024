// SPDX-License-Identifier: Apache-2.0
#include "search/controller/measurement_maker.h"

#include <string>

#include "base/sha256.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

v1::TaskResult SomeResult() {
  v1::TaskResult result;
  result.set_task("tasks/17");
  result.set_lease_token("3-5-abc");
  v1::LatencyResult* const latency = result.mutable_latency_result();
  latency->set_ratio(1.25);
  latency->set_runs(64);
  for (const char* name : {"governor", "core", "temperature_celsius"}) {
    (*latency->mutable_environment())[name] = "1";
  }
  result.mutable_end_time()->set_seconds(7);
  return result;
}

// Stored fingerprints tell calls of before an upgrade from others: what is hashed may never change.
TEST(ResultFingerprintTest, IsThatOfTheResultWithoutTaskAndLease) {
  v1::TaskResult bare = SomeResult();
  bare.clear_task();
  bare.clear_lease_token();
  // Without a map of several entries, whose order plain serialisation leaves open.
  bare.mutable_latency_result()->clear_environment();
  v1::TaskResult named = bare;
  EXPECT_EQ(ResultFingerprint(bare), Sha256Hex(bare.SerializeAsString()));
  for (const std::string& task :
       {std::string(), std::string("tasks/1"), std::string(200, 't'), std::string(20'000, 't')}) {
    for (const std::string& token : {std::string(), std::string("1-2-x"), std::string(300, 'l')}) {
      named.set_task(task);
      named.set_lease_token(token);
      EXPECT_EQ(ResultFingerprint(named), ResultFingerprint(bare)) << task << " " << token;
    }
  }
  named = SomeResult();
  bare = named;
  bare.clear_task();
  bare.clear_lease_token();
  EXPECT_EQ(ResultFingerprint(named), ResultFingerprint(bare));
}

TEST(ResultFingerprintTest, TellsResultsApart) {
  const std::string fingerprint = ResultFingerprint(SomeResult());
  v1::TaskResult other = SomeResult();
  other.mutable_latency_result()->set_runs(65);
  EXPECT_NE(ResultFingerprint(other), fingerprint);
  other = SomeResult();
  (*other.mutable_latency_result()->mutable_environment())["core"] = "2";
  EXPECT_NE(ResultFingerprint(other), fingerprint);
  other = SomeResult();
  other.mutable_end_time()->set_seconds(8);
  EXPECT_NE(ResultFingerprint(other), fingerprint);
  other = SomeResult();
  other.mutable_failure()->set_message("tasks/17");
  EXPECT_NE(ResultFingerprint(other), fingerprint);
}

}  // namespace
}  // namespace forall
