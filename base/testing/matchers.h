// SPDX-License-Identifier: Apache-2.0
// Matchers for absl::Status and absl::StatusOr: IsOk(), IsOkAndHolds(m), StatusIs(code,
// message_matcher).
#ifndef FORALL_BASE_TESTING_MATCHERS_H_
#define FORALL_BASE_TESTING_MATCHERS_H_

#include <ostream>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall::testing {

inline const absl::Status& GetStatus(const absl::Status& status) { return status; }
template <typename T>
const absl::Status& GetStatus(const absl::StatusOr<T>& result) {
  return result.status();
}

MATCHER(IsOk, "is OK") {
  const absl::Status& status = GetStatus(arg);
  if (status.ok()) return true;
  *result_listener << status.ToString();
  return false;
}

MATCHER_P2(StatusIs, code, message_matcher, "has the code and a matching message") {
  const absl::Status& status = GetStatus(arg);
  *result_listener << status.ToString();
  return status.code() == code &&
         ::testing::ExplainMatchResult(message_matcher, std::string(status.message()),
                                       result_listener);
}
template <typename Code>
auto StatusIs(Code code) {
  return StatusIs(code, ::testing::_);
}

MATCHER_P(IsOkAndHolds, value_matcher, "is OK and its value matches") {
  if (!arg.ok()) {
    *result_listener << arg.status().ToString();
    return false;
  }
  return ::testing::ExplainMatchResult(value_matcher, *arg, result_listener);
}

}  // namespace forall::testing

#define FORALL_ASSERT_OK(expr) ASSERT_THAT(expr, ::forall::testing::IsOk())
#define FORALL_EXPECT_OK(expr) EXPECT_THAT(expr, ::forall::testing::IsOk())
#define FORALL_TEST_CONCAT_INNER_(x, y) x##y
#define FORALL_TEST_CONCAT_(x, y) FORALL_TEST_CONCAT_INNER_(x, y)
// In a test body: FORALL_ASSERT_OK_AND_ASSIGN(auto value, Compute());
#define FORALL_ASSERT_OK_AND_ASSIGN(lhs, expr)                    \
  auto FORALL_TEST_CONCAT_(forall_result_, __LINE__) = (expr);    \
  ASSERT_TRUE(FORALL_TEST_CONCAT_(forall_result_, __LINE__).ok()) \
      << FORALL_TEST_CONCAT_(forall_result_, __LINE__).status();  \
  lhs = std::move(FORALL_TEST_CONCAT_(forall_result_, __LINE__)).value()

#endif  // FORALL_BASE_TESTING_MATCHERS_H_
