// SPDX-License-Identifier: Apache-2.0
#include "cli/error_words.h"

#include "cli/expressions.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

v1::SearchJobSpec MakeSpec() {
  v1::SearchJobSpec spec;
  *spec.add_objectives() = *ParseObjective("latency_ms@pi5");
  *spec.add_constraints() = *ParseConstraint("macs<=10M");
  *spec.add_constraints() = *ParseConstraint("macs>=20M");
  return spec;
}

TEST(InUserWordsTest, NamesWhatWasTyped) {
  const v1::SearchJobSpec spec = MakeSpec();
  EXPECT_EQ(InUserWords("spec.constraints[0].at_most: no subnet has that", spec),
            "constraint macs<=10000000: no subnet has that");
  EXPECT_EQ(InUserWords("spec.constraints[1]: contradicts spec.constraints[0]: no", spec),
            "constraint macs>=20000000: contradicts constraint macs<=10000000: no");
  EXPECT_EQ(InUserWords("spec.objectives[0].condition.device: devices/pi5 is not there", spec),
            "objective latency_ms@pi5: devices/pi5 is not there");
  EXPECT_EQ(InUserWords("spec.budget.max_trials: must be", spec),
            "budget.max_trials (--trials): must be");
  EXPECT_EQ(InUserWords("spec.latency_tables[2]: the table", spec), "latency_tables[2]: the table");
  EXPECT_EQ(InUserWords("spec.fidelity.tiers: means nothing without spec.dataset.", spec),
            "fidelity.tiers: means nothing without dataset.");
}

TEST(InUserWordsTest, LeavesAloneWhatIsNoPath) {
  const v1::SearchJobSpec spec = MakeSpec();
  for (const char* text : {"", "myspec.supernet", "constraints[0]", "spec", "a spec, x"}) {
    EXPECT_EQ(InUserWords(text, spec), text);
  }
  EXPECT_EQ(InUserWords("spec.constraints[9]: x", spec), "constraints (--constraint)[9]: x");
  EXPECT_EQ(InUserWords("spec.constraints[", spec), "constraints (--constraint)[");
}

TEST(InUserWordsTest, KnowsTheFlagsOfAQuery) {
  v1::QueryParetoFrontierRequest query;
  *query.add_constraints() = *ParseConstraint("params<=5");
  EXPECT_EQ(InUserWords(absl::InvalidArgumentError("constraints[0].at_most: no"), query),
            absl::InvalidArgumentError("constraint params<=5: no"));
  EXPECT_TRUE(InUserWords(absl::OkStatus(), query).ok());
}

TEST(WithoutFieldTest, LeavesTheMessage) {
  EXPECT_EQ(WithoutField("parent: there is no searchJobs/9"), "there is no searchJobs/9");
  EXPECT_EQ(WithoutField("name: want searchJobs/ID"), "want searchJobs/ID");
  EXPECT_EQ(WithoutField("nothing"), "nothing");
}

}  // namespace
}  // namespace forall
