// SPDX-License-Identifier: Apache-2.0
#include "cli/expressions.h"

#include "base/testing/matchers.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(ExpressionsTest, ReadsObjectives) {
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::Objective plain, ParseObjective("accuracy_top1"));
  EXPECT_EQ(plain.metric(), "accuracy_top1");
  EXPECT_TRUE(plain.condition().device().empty());
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::Objective device, ParseObjective("latency_ms@pi5-lab"));
  EXPECT_EQ(device.condition().device(), "devices/pi5-lab");
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::Objective label, ParseObjective("latency_ms@class:x86-64"));
  EXPECT_EQ(label.condition().device_class(), "x86-64");
  for (const v1::Objective& objective : {plain, device, label}) {
    FORALL_ASSERT_OK_AND_ASSIGN(const v1::Objective again,
                                ParseObjective(ObjectiveText(objective)));
    EXPECT_EQ(again.SerializeAsString(), objective.SerializeAsString());
  }
}

TEST(ExpressionsTest, ReadsBatchesAndGrids) {
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::Objective batch,
                              ParseObjective("throughput_ips@pi5-lab:batch=8"));
  EXPECT_EQ(batch.metric(), "throughput_ips");
  EXPECT_EQ(batch.condition().device(), "devices/pi5-lab");
  EXPECT_EQ(batch.condition().batch(), 8);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::Objective both,
                              ParseObjective("carbon_mg@class:x86-64:batch=4:grid=386.5"));
  EXPECT_EQ(both.condition().device_class(), "x86-64");
  EXPECT_EQ(both.condition().batch(), 4);
  EXPECT_EQ(both.condition().grid_grams_per_kwh(), 386.5);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::Objective other_order,
                              ParseObjective("carbon_mg:grid=386.5:batch=4"));
  EXPECT_EQ(other_order.condition().batch(), 4);
  for (const v1::Objective& objective : {batch, both, other_order}) {
    FORALL_ASSERT_OK_AND_ASSIGN(const v1::Objective again,
                                ParseObjective(ObjectiveText(objective)));
    EXPECT_EQ(again.SerializeAsString(), objective.SerializeAsString());
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::Constraint constraint,
                              ParseConstraint("latency_ms:batch=8<=20"));
  EXPECT_EQ(constraint.condition().batch(), 8);
  EXPECT_EQ(constraint.at_most(), 20);
  EXPECT_EQ(ConstraintText(constraint), "latency_ms:batch=8<=20");
  for (const char* const wrong :
       {"latency_ms:batch=", "latency_ms:batch=0", "latency_ms:batch=x",
        "latency_ms:batch=2:batch=3", "carbon_mg:grid=", "carbon_mg:grid=-1", "carbon_mg:grid=nan",
        "carbon_mg:grid=1:grid=2"}) {
    EXPECT_THAT(ParseObjective(wrong), StatusIs(absl::StatusCode::kInvalidArgument)) << wrong;
  }
}

TEST(ExpressionsTest, ReadsConstraintsWithUnits) {
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::Constraint macs, ParseConstraint("macs<=50M"));
  EXPECT_EQ(macs.at_most(), 50e6);
  EXPECT_FALSE(macs.has_at_least());
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::Constraint memory,
                              ParseConstraint("peak_activation_bytes<=320Ki"));
  EXPECT_EQ(memory.at_most(), 327680);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::Constraint accuracy,
                              ParseConstraint("accuracy_top1>=92.5"));
  EXPECT_EQ(accuracy.at_least(), 92.5);
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::Constraint latency, ParseConstraint("latency_ms@pi5<=8"));
  EXPECT_EQ(latency.condition().device(), "devices/pi5");
}

TEST(ExpressionsTest, ErrorsSayWhatToWrite) {
  EXPECT_THAT(ParseObjective("speed").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("latency_ms")));
  EXPECT_THAT(ParseObjective("latency_ms@").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("after @")));
  EXPECT_THAT(ParseConstraint("macs<50M").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("METRIC<=NUMBER")));
  EXPECT_THAT(ParseConstraint("macs<=fifty").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not a number")));
  EXPECT_THAT(ParseConstraint("macs<=nan").status(), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ParseConstraint("macs<=1e308G").status(),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(ExpressionsTest, AddsTheCollectionOnce) {
  EXPECT_EQ(WithCollection("supernets", "x"), "supernets/x");
  EXPECT_EQ(WithCollection("supernets", "supernets/x"), "supernets/x");
}

TEST(ParseObjectiveTest, SaysWhatAMisspeltMetricWasMeantToBe) {
  EXPECT_THAT(ParseObjective("acuracy_top1").status().message(),
              HasSubstr("did you mean accuracy_top1?"));
  EXPECT_THAT(ParseObjective("acc").status().message(), HasSubstr("did you mean accuracy_top1?"));
  EXPECT_THAT(ParseObjective("latency").status().message(), HasSubstr("did you mean latency_ms?"));
  EXPECT_THAT(ParseObjective("watts").status().message(), Not(HasSubstr("did you mean")));
}

}  // namespace
}  // namespace forall
