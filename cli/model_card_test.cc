// SPDX-License-Identifier: Apache-2.0
#include "cli/model_card.h"

#include <string>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "space/cost_model.h"
#include "space/identity.h"

namespace forall {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

FoundSubnet Subnet() {
  FoundSubnet subnet;
  subnet.family = *FindFamily("fashion_mnist");
  subnet.architecture = subnet.family->search_space().Smallest();
  subnet.network = *subnet.family->Describe(subnet.architecture);
  subnet.onnx = std::string(1234, 'x');
  subnet.sha256 = std::string(64, 'a');
  subnet.recipe = "fp32";
  return subnet;
}

v1::Measurement Measured(const std::string& metric, double value, double low, double high) {
  v1::Measurement measurement;
  measurement.set_metric(metric);
  measurement.set_value(value);
  measurement.mutable_interval()->set_low(low);
  measurement.mutable_interval()->set_high(high);
  measurement.mutable_interval()->set_confidence(0.95);
  measurement.mutable_interval()->set_kind("wilson");
  measurement.set_sample_count(10000);
  measurement.mutable_verdict()->set_state(v1::Verdict::NOISY);
  measurement.mutable_verdict()->add_reasons("drift");
  measurement.set_fidelity("final");
  return measurement;
}

FoundSubnet MeasuredSubnet() {
  FoundSubnet subnet = Subnet();
  subnet.supernet_name = "supernets/fashion_mnist";
  subnet.supernet_sha256 = std::string(64, 'b');
  subnet.dataset = "fashion_mnist";
  subnet.calibration_id = "c1-1";
  subnet.calibration_images = 321;
  subnet.calibration_seed = 7;
  subnet.job.set_name("searchJobs/4");
  subnet.job.mutable_spec()->set_seed(11);
  subnet.job.mutable_spec()->mutable_sampler()->set_algorithm("nsga2");
  subnet.job.set_measured_trials(120);
  subnet.trial.emplace();
  subnet.trial->set_name("searchJobs/4/trials/9");
  *subnet.trial->add_measurements() = Measured("accuracy_top1", 94.25, 93.8, 94.6);
  return subnet;
}

TEST(ModelCardTest, HoldsWhatWasMeasuredAndWhereItComesFrom) {
  FoundSubnet subnet = MeasuredSubnet();
  subnet.member.emplace();
  subnet.member->set_certainty(v1::FrontierMember::CERTAIN);
  subnet.member->set_knee(true);
  const auto card = ModelCard(subnet);
  EXPECT_EQ(card["keys"]["arch_key"], ArchKey(subnet.family->search_space(), subnet.architecture));
  EXPECT_EQ(card["costs"]["macs"], CountCosts(subnet.network).macs);
  EXPECT_EQ(card["measurements"]["accuracy_top1"]["interval"]["high"], 94.6);
  EXPECT_EQ(card["calibration"]["seed"], 7);
  EXPECT_EQ(card["search"]["certainty"], "certain");
  const std::string text = ModelCardMarkdown(card);
  EXPECT_THAT(text, HasSubstr("| accuracy_top1 | 94.25 | 93.8 to 94.6 (95 %, wilson) | 10000 | "
                              "final | NOISY: drift |"));
  EXPECT_THAT(text, HasSubstr("supernets/fashion_mnist, SHA-256 `" + std::string(64, 'b')));
  EXPECT_THAT(text, HasSubstr("searchJobs/4 (nsga2, seed 11, 120 subnets measured) as "
                              "searchJobs/4/trials/9; on its frontier, certain, the knee"));
  EXPECT_THAT(text, HasSubstr("--calibration-images 321 --calibration-seed 7"));
  EXPECT_THAT(text, HasSubstr("| multiply-accumulates | 7657248 |"));
}

TEST(ModelCardTest, SaysWhenNothingWasMeasured) {
  const std::string text = ModelCardMarkdown(ModelCard(Subnet()));
  EXPECT_THAT(text, HasSubstr("has not been measured"));
  EXPECT_THAT(text, HasSubstr("Weights of its own"));
  EXPECT_THAT(text, Not(HasSubstr("calibrat")));
  EXPECT_THAT(ModelCardMarkdown(ModelCard(MeasuredSubnet())), HasSubstr("not on its frontier"));
}

TEST(ModelCardTest, HalfPrecisionCostsHalfTheBytes) {
  FoundSubnet subnet = Subnet();
  const auto single = ModelCard(subnet);
  subnet.recipe = "fp16";
  const auto half = ModelCard(subnet);
  EXPECT_EQ(half["costs"]["model_bytes"].get<int64_t>() * 2,
            single["costs"]["model_bytes"].get<int64_t>());
  EXPECT_EQ(half["costs"]["macs"], single["costs"]["macs"]);
}

}  // namespace
}  // namespace forall
