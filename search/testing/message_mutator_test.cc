// SPDX-License-Identifier: Apache-2.0
#include "search/testing/message_mutator.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/forall/v1/fleet_service.pb.h"
#include "proto/forall/v1/search_service.pb.h"

namespace forall::testing {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;
using ::testing::Contains;

// Every field of the type and of the types within it, as "Type.field".
void FieldsOf(const Descriptor& type, std::set<std::string>* fields) {
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (!fields->insert(field.full_name()).second) continue;
    if (field.message_type() != nullptr) FieldsOf(*field.message_type(), fields);
  }
}

// Those that are set somewhere in the message.
void SetFields(const Message& message, std::set<std::string>* fields) {
  std::vector<const FieldDescriptor*> set;
  message.GetReflection()->ListFields(message, &set);
  for (const FieldDescriptor* field : set) {
    fields->insert(field->full_name());
    if (field->message_type() == nullptr) continue;
    const auto& reflection = *message.GetReflection();
    if (!field->is_repeated()) {
      SetFields(reflection.GetMessage(message, field), fields);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
      SetFields(reflection.GetRepeatedMessage(message, field, i), fields);
    }
  }
}

int DepthOf(const Message& message) {
  int deepest = 0;
  std::vector<const FieldDescriptor*> set;
  const auto& reflection = *message.GetReflection();
  reflection.ListFields(message, &set);
  for (const FieldDescriptor* field : set) {
    if (field->message_type() == nullptr) continue;
    const int size = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < size; ++i) {
      deepest = std::max(
          deepest, DepthOf(field->is_repeated() ? reflection.GetRepeatedMessage(message, field, i)
                                                : reflection.GetMessage(message, field)));
    }
  }
  return deepest + 1;
}

template <typename Request>
void ReachesEveryField() {
  std::set<std::string> wanted;
  FieldsOf(*Request::descriptor(), &wanted);
  std::set<std::string> reached;
  MessageMutator mutator(1, {});
  for (int i = 0; i < 20'000 && reached.size() < wanted.size(); ++i) {
    Request request;
    for (int step = 0; step < 8; ++step) mutator.Mutate(&request);
    Request again;
    ASSERT_TRUE(again.ParseFromString(request.SerializeAsString())) << request.DebugString();
    SetFields(request, &reached);
  }
  EXPECT_EQ(reached, wanted);
}

TEST(MessageMutatorTest, ReachesEveryFieldAndAlwaysParses) {
  ReachesEveryField<v1::SubmitSearchJobRequest>();
  ReachesEveryField<v1::QueryParetoFrontierRequest>();
  ReachesEveryField<v1::MeasureNetworksRequest>();
  ReachesEveryField<v1::RegisterWorkerRequest>();
  ReachesEveryField<v1::HeartbeatRequest>();
  ReachesEveryField<v1::CompleteTasksRequest>();
}

TEST(MessageMutatorTest, IsAFunctionOfItsSeed) {
  const auto run = [](uint64_t seed) {
    MessageMutator mutator(seed, {});
    v1::CompleteTasksRequest request;
    for (int i = 0; i < 200; ++i) mutator.Mutate(&request);
    return request.DebugString();
  };
  EXPECT_EQ(run(7), run(7));
  EXPECT_NE(run(7), run(8));
}

TEST(MessageMutatorTest, KeepsItsLimits) {
  MessageMutator mutator(3, {.max_depth = 3, .max_elements = 5});
  v1::SubmitSearchJobRequest request;
  int deepest = 0;
  int most = 0;
  for (int i = 0; i < 3000; ++i) {
    mutator.Mutate(&request);
    deepest = std::max(deepest, DepthOf(request));
    most = std::max(most, request.spec().objectives_size());
  }
  EXPECT_EQ(deepest, 3);
  EXPECT_EQ(most, 5);
}

TEST(MessageMutatorTest, UsesWordsAndMakesUnknownEnums) {
  MessageMutator mutator(5, {.words = {"latency_ms"}});
  std::set<std::string> metrics;
  std::set<int> goals;
  for (int i = 0; i < 3000; ++i) {
    v1::Objective objective;
    mutator.Mutate(&objective);
    metrics.insert(objective.metric());
    goals.insert(objective.goal());
  }
  EXPECT_THAT(metrics, Contains("latency_ms"));
  EXPECT_THAT(goals, Contains(v1::Objective::MAXIMIZE));
  EXPECT_THAT(goals, Contains(::testing::Gt(v1::Objective::MINIMIZE)));
}

TEST(MessageMutatorTest, CrossOverBringsMessagesOver) {
  v1::SubmitSearchJobRequest from;
  from.mutable_spec()->add_objectives()->mutable_condition()->set_device("devices/rare");
  std::set<std::string> devices;
  MessageMutator mutator(9, {});
  for (int i = 0; i < 100; ++i) {
    v1::QueryParetoFrontierRequest to;
    to.add_constraints();
    mutator.CrossOver(from, &to);
    for (const v1::Objective& objective : to.objectives()) {
      devices.insert(objective.condition().device());
    }
    devices.insert(to.constraints(0).condition().device());
  }
  EXPECT_THAT(devices, Contains("devices/rare"));
}

TEST(MessageMutatorTest, CrossOverOfStrangersDoesNothing) {
  v1::HeartbeatRequest from;
  from.add_leases()->set_task("tasks/1");
  v1::ListTrialsRequest to;
  MessageMutator(1, {}).CrossOver(from, &to);
  EXPECT_EQ(to.ByteSizeLong(), 0);
}

TEST(MessageMutatorTest, ToUtf8KeepsWhatIsValid) {
  EXPECT_EQ(MessageMutator::ToUtf8("a\xc3\xa4\xe2\x82\xac"), "a\xc3\xa4\xe2\x82\xac");
  EXPECT_EQ(MessageMutator::ToUtf8("b\xe2\x82\xff"), "b???");
}

TEST(MessageMutatorTest, SerializedFormNeverOutgrowsItsRoom) {
  MessageMutator mutator(11, {});
  v1::SubmitSearchJobRequest seed;
  seed.mutable_spec()->set_supernet("supernets/s");
  v1::SubmitSearchJobRequest message;
  std::vector<uint8_t> data(256, 0xff);
  // What does not parse becomes the fallback with changes.
  size_t size = MutateSerialized(&mutator, seed, &message, data.data(), 10, data.size());
  for (int i = 0; i < 3000; ++i) {
    ASSERT_LE(size, data.size());
    ASSERT_TRUE(message.ParseFromArray(data.data(), static_cast<int>(size)));
    size = MutateSerialized(&mutator, seed, &message, data.data(), size, data.size());
  }
}

}  // namespace
}  // namespace forall::testing
