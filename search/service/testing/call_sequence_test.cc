// SPDX-License-Identifier: Apache-2.0
#include "search/service/testing/call_sequence.h"

#include <google/protobuf/descriptor.h>

#include <memory>
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall::testing {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;
using ::testing::IsEmpty;

TEST(CallSequenceTest, EveryMethodOfEveryServiceIsDriven) {
  EXPECT_THAT(UndrivenMethods(), IsEmpty());
}

TEST(CallSequenceTest, SeedsCallEveryMethod) {
  const FieldDescriptor& calls = *EmptyCallSequence().GetDescriptor()->field(0);
  std::set<std::string> missing;
  for (int i = 0; i < calls.message_type()->field_count(); ++i) {
    missing.insert(calls.message_type()->field(i)->name());
  }
  for (const std::unique_ptr<Message>& seed : SeedSequences()) {
    for (int i = 0; i < seed->GetReflection()->FieldSize(*seed, &calls); ++i) {
      const Message& call = seed->GetReflection()->GetRepeatedMessage(*seed, &calls, i);
      missing.erase(call.GetReflection()
                        ->GetOneofFieldDescriptor(call, call.GetDescriptor()->oneof_decl(0))
                        ->name());
    }
  }
  EXPECT_THAT(missing, IsEmpty());
}

// Seeds that are refused would teach a fuzzer nothing.
TEST(CallSequenceTest, SeedsAreLivesThatGoWell) {
  const auto seeds = SeedSequences();
  ASSERT_EQ(seeds.size(), 6);
  int jobs = 0;
  int succeeded = 0;
  for (const std::unique_ptr<Message>& seed : seeds) {
    const SequenceResult result = RunSequence(*seed, true);
    EXPECT_GE(3 * result.answered, 2 * result.calls) << seed->DebugString();
    jobs += result.jobs;
    succeeded += result.succeeded_jobs;
    if (result.succeeded_jobs > 0) EXPECT_GT(result.frontier_members, 0) << seed->DebugString();
  }
  EXPECT_EQ(jobs, 6);
  EXPECT_EQ(succeeded, 4);
}

TEST(CallSequenceTest, AnEmptySequenceIsFine) {
  EXPECT_EQ(RunSequence(EmptyCallSequence(), true).calls, 0);
}

}  // namespace
}  // namespace forall::testing
