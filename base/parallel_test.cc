// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"

#include <atomic>
#include <new>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

TEST(ParallelForTest, CallsEachNumberOnce) {
  std::vector<std::atomic<int>> calls(1000);
  FORALL_EXPECT_OK(ParallelFor(4, 1000, [&](int64_t i) {
    ++calls[static_cast<size_t>(i)];
    return absl::OkStatus();
  }));
  for (const std::atomic<int>& count : calls) EXPECT_EQ(count, 1);
  FORALL_EXPECT_OK(ParallelFor(0, 0, [](int64_t) { return absl::InternalError("never"); }));
  EXPECT_GE(UsableCores(), 1);
}

TEST(ParallelForTest, EndsWithAFailure) {
  std::atomic<int> calls = 0;
  const auto body = [&](int64_t i) {
    ++calls;
    return i >= 10 ? absl::DataLossError(absl::StrCat("number ", i)) : absl::OkStatus();
  };
  EXPECT_THAT(ParallelFor(1, 100, body),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("number 10")));
  EXPECT_EQ(calls, 11);
  EXPECT_THAT(ParallelFor(3, 100, body),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("number 10")));
  EXPECT_THAT(ParallelFor(3, 100, [](int64_t) -> absl::Status { throw std::bad_alloc(); }),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

}  // namespace
}  // namespace forall
