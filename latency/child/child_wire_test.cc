// SPDX-License-Identifier: Apache-2.0
#include "latency/child/child_wire.h"

#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "base/testing/matchers.h"
#include "base/thread.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;

class ChildWireTest : public ::testing::Test {
 protected:
  ChildWireTest() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends_), 0); }
  ~ChildWireTest() override {
    CloseOther();
    close(ends_[0]);
  }
  void CloseOther() {
    if (ends_[1] >= 0) close(ends_[1]);
    ends_[1] = -1;
  }
  int ends_[2] = {-1, -1};
};

TEST_F(ChildWireTest, FramesOfAnySizeArriveWhole) {
  const std::string large(5 << 20, 'm');
  Thread sender("sender", [&] {
    FORALL_EXPECT_OK(SendFrame(ends_[1], ""));
    FORALL_EXPECT_OK(SendFrame(ends_[1], large));
  });
  EXPECT_THAT(ReceiveFrame(ends_[0], absl::Seconds(60)), ::forall::testing::IsOkAndHolds(""));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string got, ReceiveFrame(ends_[0], absl::Seconds(60)));
  EXPECT_TRUE(got == large);
}

TEST_F(ChildWireTest, TheEndsOfAConversationAreTold) {
  EXPECT_THAT(ReceiveFrame(ends_[0], absl::Milliseconds(30)),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_THAT(ReceiveFrame(ends_[0], absl::InfiniteDuration(), [] { return true; }),
              StatusIs(absl::StatusCode::kCancelled));
  ASSERT_EQ(write(ends_[1], "\xff\xff\xff\xff\xff\xff\xff\xff", 8), 8);
  EXPECT_THAT(ReceiveFrame(ends_[0], absl::Seconds(60)), StatusIs(absl::StatusCode::kDataLoss));
  CloseOther();
  EXPECT_THAT(ReceiveFrame(ends_[0], absl::Seconds(60)), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_THAT(SendFrame(ends_[0], "x"), StatusIs(absl::StatusCode::kUnavailable));
}

TEST_F(ChildWireTest, WhatIsTooLongIsRefusedByItsLength) {
  FORALL_ASSERT_OK(SendFrame(ends_[1], "four"));
  FORALL_ASSERT_OK(SendFrame(ends_[1], "fives"));
  EXPECT_THAT(ReceiveFrame(ends_[0], absl::Seconds(60), {}, 4),
              ::forall::testing::IsOkAndHolds("four"));
  EXPECT_THAT(ReceiveFrame(ends_[0], absl::Seconds(60), {}, 4),
              StatusIs(absl::StatusCode::kDataLoss));
}

TEST(ChildFormsTest, TheLongestSessionFitsAnAnswer) {
  SessionSamples samples;
  // 5,000 runs are the most, of the longest that a number is written.
  samples.candidate_ns.assign(5000, -2.2250738585072014e-308);
  samples.reference_ns = samples.candidate_ns;
  EXPECT_LT(SamplesToJson(samples).size(), size_t{kLargestAnswer} / 16);
}

TEST(ChildFormsTest, ProfilesAndSamplesSurviveTheJourney) {
  Profile profile = *ProfileNamed("final");
  profile.cold_cache = true;
  FORALL_ASSERT_OK_AND_ASSIGN(const Profile read, ProfileFromJson(ProfileToJson(profile)));
  EXPECT_EQ(read.name, "final");
  EXPECT_EQ(read.target_half_width, profile.target_half_width);
  EXPECT_EQ(read.min_runs, profile.min_runs);
  EXPECT_EQ(read.max_runs, profile.max_runs);
  EXPECT_EQ(read.min_duration, profile.min_duration);
  EXPECT_EQ(read.max_duration, profile.max_duration);
  EXPECT_EQ(read.sessions, profile.sessions);
  EXPECT_TRUE(read.fresh);
  EXPECT_TRUE(read.cold_cache);

  SessionSamples samples;
  samples.candidate_ns = {1.0 / 3, 2e9};
  samples.reference_ns = {1, 2};
  samples.candidate_parts_ns = {7};
  samples.warmup_runs = 5;
  samples.warmup_stable = false;
  samples.notes = {{"pinned_cores", "1"}, {"odd", "\xff"}};
  samples.other_process_time = absl::Nanoseconds(123456789);
  FORALL_ASSERT_OK_AND_ASSIGN(const SessionSamples back, SamplesFromJson(SamplesToJson(samples)));
  EXPECT_EQ(back.candidate_ns, samples.candidate_ns);
  EXPECT_EQ(back.reference_ns, samples.reference_ns);
  EXPECT_EQ(back.candidate_parts_ns, samples.candidate_parts_ns);
  EXPECT_EQ(back.warmup_runs, 5);
  EXPECT_FALSE(back.warmup_stable);
  EXPECT_EQ(back.notes.at("pinned_cores"), "1");
  EXPECT_EQ(back.other_process_time, samples.other_process_time);
}

TEST(ChildFormsTest, NonsenseIsAnError) {
  EXPECT_THAT(ProfileFromJson("{}"), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(ProfileFromJson("["), StatusIs(absl::StatusCode::kDataLoss));
  EXPECT_THAT(SamplesFromJson(R"({"candidate_ns":["x"]})"), StatusIs(absl::StatusCode::kDataLoss));
}

}  // namespace
}  // namespace forall
