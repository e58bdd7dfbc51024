// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "base/testing/matchers.h"
#include "gtest/gtest.h"
#include "space/cost_model.h"
#include "space/family.h"

namespace forall {
namespace {

std::string DynastFolder() {
  const char* root = std::getenv("FORALL_SOURCE_DIR");
  return std::string(root == nullptr ? "." : root) + "/../shared/data/dynast";
}

// Every row of DyNAS-T's logs of OFA-MobileNetV3 w1.0: the costs they recorded, counted by us.
TEST(DynastCostsTest, EqualsEveryRowOfTheirLogs) {
  if (!std::filesystem::exists(DynastFolder())) {
    GTEST_SKIP() << "NO TEST RAN: no " << DynastFolder();
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const auto family, FindFamily("ofa_mbv3_w1.0"));
  int rows = 0;
  for (const auto& entry : std::filesystem::directory_iterator(DynastFolder())) {
    if (entry.path().extension() != ".csv") continue;
    std::ifstream in(entry.path());
    std::string line;
    std::getline(in, line);
    while (std::getline(in, line)) {
      const size_t close = line.rfind('"');
      ASSERT_NE(close, std::string::npos);
      const std::string json =
          absl::StrReplaceAll(line.substr(1, close - 1), {{"'", "\""}, {"None", "null"}});
      const std::vector<std::string> fields = absl::StrSplit(line.substr(close + 2), ',');
      int64_t params, macs;
      ASSERT_TRUE(absl::SimpleAtoi(fields[1], &params));
      ASSERT_TRUE(absl::SimpleAtoi(fields[3], &macs));
      FORALL_ASSERT_OK_AND_ASSIGN(const Architecture a, family->ParseArchitecture(json));
      FORALL_ASSERT_OK_AND_ASSIGN(const Network network, family->Describe(a));
      const Costs costs = CountCosts(network);
      ASSERT_EQ(costs.macs, macs) << json;
      ASSERT_EQ(costs.params, params) << json;
      ++rows;
    }
  }
  EXPECT_EQ(rows, 2373);
}

}  // namespace
}  // namespace forall
