// SPDX-License-Identifier: Apache-2.0
#include "supernet/train/train_options.h"

#include <vector>

#include "base/testing/matchers.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

absl::StatusOr<TrainOptions> Parse(const std::vector<std::string>& arguments) {
  bool help_wanted = false;
  return ParseTrainOptions(arguments, &help_wanted);
}

TEST(TrainOptionsTest, BothSpellingsAndSwitches) {
  FORALL_ASSERT_OK_AND_ASSIGN(
      const TrainOptions options,
      Parse({"--epochs", "7", "--lr=0.25", "--no-flip", "--test", "--schedule", "cosine"}));
  EXPECT_EQ(options.epochs, 7);
  EXPECT_EQ(options.schedule_epochs, 7);
  EXPECT_EQ(options.lr, 0.25);
  EXPECT_FALSE(options.flip);
  EXPECT_TRUE(options.test);
  EXPECT_EQ(options.schedule, Schedule::kCosine);
}

TEST(TrainOptionsTest, ErrorsNameTheFlag) {
  const struct {
    std::vector<std::string> arguments;
    const char* message;
  } cases[] = {
      {{"--epoch", "3"}, "--epoch is not known"},
      {{"--epochs"}, "--epochs needs a value"},
      {{"--epochs", "0"}, "--epochs: \"0\" must be a whole number of at least 1"},
      {{"--lr", "nan"}, "--lr: \"nan\" must be a number in 0..100"},
      {{"--schedule", "step"}, "--schedule: \"step\" must be one of one-cycle, cosine"},
      {{"--no-lr"}, "--no-lr is not known"},
      {{"--flip=yes"}, "--flip takes no value"},
      {{"epochs"}, "\"epochs\" is no flag"},
      {{"--resume"}, "--resume and --finish need --checkpoint-dir"},
      {{"--time-limit-seconds", "5"}, "--time-limit-seconds needs --checkpoint-dir"},
      {{"--device", "tpu"}, "--device: \"tpu\" must be cpu or cuda"},
      {{"--depthwise", "custom"}, "--depthwise custom needs --device cuda"},
      {{"--phase-shares", "1,2,3"}, "--phase-shares: \"1,2,3\" must be 6 numbers of at least 0"},
      {{"--phase-lr", "1,1,1,1,1,-1"}, "--phase-lr: \"1,1,1,1,1,-1\" must be 6 numbers"},
      {{"--phase-shares", "0,0,0,0,0,0"}, "not all 0"},
      {{"--architecture", "largest", "--method", "progressive"}, "does not go with --method"},
      {{"--architecture", "largest", "--package", "p"}, "there is no --package to write"},
  };
  for (const auto& test : cases) {
    EXPECT_THAT(Parse(test.arguments),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(test.message)));
  }
}

TEST(TrainOptionsTest, HelpListsEveryFlagWithItsDefault) {
  bool help_wanted = false;
  FORALL_EXPECT_OK(ParseTrainOptions({"--epochs", "3", "--help"}, &help_wanted));
  EXPECT_TRUE(help_wanted);
  EXPECT_THAT(TrainHelp(), HasSubstr("--label-smoothing VALUE  [0.1]"));
}

TEST(TrainOptionsTest, RecipeHoldsWhatDecidesTheWeightsAndParsesBack) {
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainOptions a, Parse({"--epochs=4", "--lr=0.5", "--no-flip"}));
  FORALL_ASSERT_OK_AND_ASSIGN(
      const TrainOptions same,
      Parse({"--epochs=2", "--schedule-epochs=4", "--lr=0.5", "--no-flip", "--log-every=1"}));
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainOptions other, Parse({"--epochs=4", "--lr=0.5"}));
  EXPECT_EQ(RecipeFlags(a), RecipeFlags(same));
  EXPECT_NE(RecipeFlags(a), RecipeFlags(other));
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainOptions progressive,
                              Parse({"--method", "progressive", "--phase-shares=5,4,3,2,1,0.5"}));
  EXPECT_THAT(RecipeFlags(progressive),
              HasSubstr("--method progressive --phase-shares 5,4,3,2,1,0.5 "));
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainOptions alone, Parse({"--architecture=smallest"}));
  EXPECT_EQ(alone.method, TrainMethod::kAlone);
  EXPECT_THAT(RecipeFlags(alone), HasSubstr("--architecture smallest "));
  std::vector<std::string> words;
  std::string word;
  for (const char c : RecipeFlags(a) + " ") {
    if (c != ' ') {
      word += c;
    } else {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  FORALL_ASSERT_OK_AND_ASSIGN(const TrainOptions read_back, Parse(words));
  EXPECT_EQ(RecipeFlags(read_back), RecipeFlags(a));
}

}  // namespace
}  // namespace forall
