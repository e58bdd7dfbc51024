// SPDX-License-Identifier: Apache-2.0
#include "tests/conformance/conformance.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/conformance/formula.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string OraclePath(absl::string_view supernet = "ofa_mbv3_w1.0") {
  const char* source = std::getenv("FORALL_SOURCE_DIR");
  return absl::StrCat(source == nullptr ? "." : source, "/../shared/oracles/ofa/", supernet,
                      ".json");
}

TEST(ConformanceTest, FormulaFollowsItsDefinition) {
  // Golden values by an independent program that follows the definition's text.
  EXPECT_THAT(FormulaImages("input:128", 1, 1, 2).values,
              ElementsAre(0.09223484992980957f, 1.1574149131774902f, 1.9700183868408203f,
                          1.2441627979278564f));
  const std::vector<float> matrix = FormulaWeights("x.5to3_matrix", {3, 3});
  EXPECT_EQ(matrix[0], 1.0493933498859405f);
  EXPECT_EQ(matrix[1], -0.0135295569896698f);
  EXPECT_EQ(matrix[4], 0.9512144207954407f);
  EXPECT_THAT(FormulaWeights("bn.running_var", {2}),
              ElementsAre(1.3616589903831482f, 0.8640015125274658f));
}

class AuthorsConformanceTest : public ::testing::TestWithParam<const char*> {};

TEST_P(AuthorsConformanceTest, Agrees) {
  const absl::StatusOr<std::string> oracle = ReadFile(OraclePath(GetParam()));
  if (!oracle.ok()) GTEST_SKIP() << "NO TEST RAN: no oracle file " << OraclePath(GetParam());
  FORALL_ASSERT_OK_AND_ASSIGN(const ConformanceReport report,
                              RunConformance(*oracle, SessionOptions()));
  EXPECT_THAT(report.failures, ::testing::IsEmpty());
  EXPECT_GE(report.cases.size(), 3u);
  for (const ConformanceCase& item : report.cases) {
    EXPECT_THAT(item.failures, ::testing::IsEmpty()) << item.architecture;
    EXPECT_LE(item.norm_error_running, kConformanceTolerance);
    EXPECT_LE(item.norm_error_calibrated, kConformanceTolerance);
  }
  EXPECT_TRUE(report.passed());
}

INSTANTIATE_TEST_SUITE_P(Ofa, AuthorsConformanceTest,
                         ::testing::Values("ofa_mbv3_w1.0", "ofa_proxyless_w1.3", "ofa_resnet50"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

TEST(ConformanceTest, NoticesWhatDiffers) {
  const absl::StatusOr<std::string> text = ReadFile(OraclePath());
  if (!text.ok()) GTEST_SKIP() << "NO TEST RAN: no oracle file " << OraclePath();
  nlohmann::ordered_json oracle = nlohmann::ordered_json::parse(*text);
  oracle["cases"].erase(oracle["cases"].begin() + 1, oracle["cases"].end());
  oracle["keys"]["first_conv.bn.bias"] = {17};
  oracle["weights_sha256_of_first"]["first_conv.bn.weight"] = std::string(64, '0');
  nlohmann::ordered_json& item = oracle["cases"][0];
  item["macs"] = item["macs"].get<int64_t>() + 1;
  item["logits_running_stats"]["l2"][1] =
      item["logits_running_stats"]["l2"][1].get<double>() * 1.0005;
  item["calibrated_bn"][1]["var_sum"] = item["calibrated_bn"][1]["var_sum"].get<double>() * 1.0005;
  FORALL_ASSERT_OK_AND_ASSIGN(const ConformanceReport report,
                              RunConformance(oracle.dump(), SessionOptions()));
  EXPECT_FALSE(report.passed());
  EXPECT_EQ(report.failures.size(), 2u);
  ASSERT_EQ(report.cases.size(), 1u);
  EXPECT_THAT(report.cases[0].failures, Contains(HasSubstr("MACs")));
  EXPECT_THAT(report.cases[0].failures, Contains(HasSubstr("running statistics, folded, image 1")));
  EXPECT_THAT(report.cases[0].failures, Contains(HasSubstr("calibrated BatchNorm 32")));
}

TEST(ConformanceTest, SaysWhichFamiliesAreKnown) {
  EXPECT_THAT(RunConformance(R"({"supernet": "no_such_net", "keys": {},
                                "weights_sha256_of_first": {}, "cases": []})",
                             SessionOptions()),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("family not known")));
  EXPECT_THAT(RunConformance("{}", SessionOptions()),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("not an oracle file")));
}

}  // namespace
}  // namespace forall
