// SPDX-License-Identifier: Apache-2.0
#include "latency/table/table_lint.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> KeysOf(const std::vector<TableFinding>& findings, TableProblem problem) {
  std::vector<std::string> keys;
  for (const TableFinding& finding : findings) {
    if (finding.problem == problem) keys.push_back(finding.key);
  }
  return keys;
}

std::string BlockKey(int kernel, int expand) {
  return absl::StrCat("expanded_conv-input:8x8x8-output:8x8x8-expand:", expand, "-kernel:", kernel,
                      "-stride:1-idskip:1-se:0-hs:0");
}

// Every network's keys are among those that a whole table must have, and each of those is used.
TEST(SpaceKeysTest, AreThoseOfEveryNetwork) {
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("fashion_mnist"));
  const SearchSpace& space = family->search_space();
  const int r = *space.FindDimension("r");
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<std::string> keys, SpaceKeys(*family, 24));
  std::set<std::string> unused(keys.begin(), keys.end());
  Random random(8);
  for (int i = 0; i < 400; ++i) {
    Architecture architecture = space.Sample(&random);
    architecture.choices[r] = 1;  // 20, 24, 28
    FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<std::string> of_network,
                                TableKeys(*family->Describe(architecture)));
    for (const std::string& key : of_network) {
      EXPECT_TRUE(std::binary_search(keys.begin(), keys.end(), key)) << key;
      unused.erase(key);
    }
  }
  EXPECT_THAT(unused, IsEmpty());
  EXPECT_THAT(SpaceKeys(*family, 25).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("20, 24, 28")));
}

TEST(TableLintTest, FindsEachProblemAndNothingElse) {
  LatencyTable table;
  LatencyRows& rows = table.resolutions[8];
  for (const int kernel : {3, 5, 7}) {
    for (const int expand : {24, 32, 48}) {
      rows[BlockKey(kernel, expand)] = {0.01 * kernel * expand, 0.01, 100};
    }
  }
  EXPECT_THAT(LintTable(table, {{8, {BlockKey(3, 24)}}}, {}), IsEmpty());

  // A larger kernel a little faster is noise; much faster is a finding.
  rows[BlockKey(5, 24)].mean_ms = rows[BlockKey(3, 24)].mean_ms * 0.99;
  EXPECT_THAT(LintTable(table, {}, {}), IsEmpty());
  rows[BlockKey(5, 24)].mean_ms = rows[BlockKey(3, 24)].mean_ms * 0.7;
  EXPECT_THAT(KeysOf(LintTable(table, {}, {}), TableProblem::kNotMonotone),
              ::testing::ElementsAre(BlockKey(5, 24)));
  // The same difference within a wide scatter of few runs is noise.
  rows[BlockKey(5, 24)].stddev_ms = 10;
  rows[BlockKey(5, 24)].count = 4;
  EXPECT_THAT(LintTable(table, {}, {}), IsEmpty());

  rows[BlockKey(7, 48)].mean_ms = 0;
  rows["Logits-input:1x1x8-output:3"] = {1, -1, 3};
  const std::vector<TableFinding> findings =
      LintTable(table, {{8, {"Conv-input:1x1x1-output:1x1x1"}}}, {});
  EXPECT_THAT(KeysOf(findings, TableProblem::kMissing),
              ::testing::ElementsAre("Conv-input:1x1x1-output:1x1x1"));
  EXPECT_EQ(KeysOf(findings, TableProblem::kNotPositive).size(), 2u);

  LatencyTable other;
  other.resolutions[8][BlockKey(3, 24)] = rows[BlockKey(3, 24)];
  other.resolutions[8][BlockKey(3, 32)] = {0.5, 0.01, 100};
  const std::vector<TableFinding> copied = LintTable(table, {}, {{"other.json", other}});
  EXPECT_THAT(KeysOf(copied, TableProblem::kCopied), ::testing::ElementsAre(BlockKey(3, 24)));
  for (const TableFinding& finding : copied) {
    if (finding.problem == TableProblem::kCopied) {
      EXPECT_THAT(finding.detail, HasSubstr("other.json"));
    }
  }
}

// The published Jetson tables hold rows that are the phone's, to the last digit.
TEST(TableLintTest, FindsTheCopiedRowsOfThePublishedTables) {
  const char* source = std::getenv("FORALL_SOURCE_DIR");
  const std::string data = absl::StrCat(source == nullptr ? "." : source, "/../shared/data/");
  const absl::StatusOr<std::string> jetson =
      ReadFile(data + "ofa_jetson_cpu/224_lookup_table.json");
  const absl::StatusOr<std::string> phone = ReadFile(data + "ofa_note10/224_lookup_table.yaml");
  if (!jetson.ok() || !phone.ok()) GTEST_SKIP() << "no published tables beside the repository";
  LatencyTable table;
  LatencyTable other;
  FORALL_ASSERT_OK(AddRows(*ParsePublishedTable(*jetson, 1), &table));
  FORALL_ASSERT_OK(AddRows(*ParsePublishedTable(*phone, 1), &other));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("ofa_mbv3_w1.2"));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::vector<std::string> keys, SpaceKeys(*family, 224));
  const std::vector<TableFinding> findings = LintTable(table, {{224, keys}}, {{"note10", other}});
  EXPECT_THAT(KeysOf(findings, TableProblem::kMissing), IsEmpty());
  const std::vector<std::string> copied = KeysOf(findings, TableProblem::kCopied);
  EXPECT_THAT(copied, ::testing::Contains("expanded_conv-input:112x112x24-output:112x112x24-"
                                          "expand:24-kernel:3-stride:1-idskip:1-se:0-hs:0"));
  EXPECT_THAT(KeysOf(LintTable(other, {{224, keys}}, {}), TableProblem::kMissing), IsEmpty());
}

}  // namespace
}  // namespace forall
