// SPDX-License-Identifier: Apache-2.0
#include "supernet/train/checkpoint.h"

#include <filesystem>

#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

TEST(CheckpointTest, TheNewestComesBackExactlyAndTheOldOnesGo) {
  testing::TempDir dir;
  FORALL_ASSERT_OK_AND_ASSIGN(const auto none, LoadCheckpoint(dir.path()));
  EXPECT_FALSE(none.has_value());
  const Checkpoint first = {3, 1.5, "recipe", {1}, {2}, {3}, {}};
  const Checkpoint second = {8, 2.5, "recipe", {0.1f, -0.0f}, {1e-42f, 3e38f}, {5, 6}, {7, 8}};
  FORALL_ASSERT_OK(SaveCheckpoint(dir.path(), first));
  FORALL_ASSERT_OK(SaveCheckpoint(dir.path(), second));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto loaded, LoadCheckpoint(dir.path()));
  ASSERT_TRUE(loaded.has_value());
  EXPECT_EQ(loaded->step, 8);
  EXPECT_EQ(loaded->seconds, 2.5);
  EXPECT_EQ(loaded->fingerprint, "recipe");
  EXPECT_EQ(loaded->weights, second.weights);
  EXPECT_EQ(loaded->momentum, second.momentum);
  EXPECT_EQ(loaded->average, second.average);
  EXPECT_EQ(loaded->teacher, second.teacher);
  EXPECT_FALSE(std::filesystem::exists(dir / "step-3"));
}

TEST(CheckpointTest, ADamagedPartIsNamed) {
  testing::TempDir dir;
  FORALL_ASSERT_OK(SaveCheckpoint(dir.path(), {1, 0, "", {1, 2}, {3, 4}, {5, 6}, {}}));
  const std::string part = dir / "step-1/momentum.safetensors";
  FORALL_ASSERT_OK_AND_ASSIGN(std::string bytes, ReadFile(part));
  bytes.back() ^= 1;
  FORALL_ASSERT_OK(WriteFileAtomically(part, bytes));
  EXPECT_THAT(LoadCheckpoint(dir.path()),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("momentum.safetensors is not the")));
  FORALL_ASSERT_OK(WriteFileAtomically(dir / "step-1/state.json", "{\"step\": 1"));
  EXPECT_THAT(LoadCheckpoint(dir.path()),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("state.json is not a checkpoint")));
}

}  // namespace
}  // namespace forall
