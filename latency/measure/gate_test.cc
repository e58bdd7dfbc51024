// SPDX-License-Identifier: Apache-2.0
#include "latency/measure/gate.h"

#include <string>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::testing::HasSubstr;
using testing::StatusIs;

class GateTest : public ::testing::Test {
 protected:
  // Cools by a degree a second from `celsius` on.
  Gate Cooling(double celsius, GateLimits limits) {
    const int64_t start = clock_.SteadyNanos();
    return Gate(limits, [this, celsius, start] {
      const double seconds = static_cast<double>(clock_.SteadyNanos() - start) * 1e-9;
      return GateReading{.celsius = celsius - seconds};
    });
  }

  FakeClock clock_;
};

TEST_F(GateTest, IsOpenWhereNothingIsKnownOrAsked) {
  Gate silent(GateLimits{.max_celsius = 50}, [] { return GateReading(); });
  FORALL_ASSERT_OK_AND_ASSIGN(const Gate::Outcome outcome, silent.Wait(&clock_, {}));
  EXPECT_EQ(outcome.waited, absl::ZeroDuration());
  EXPECT_EQ(outcome.trouble, "");
  Gate unlimited = Cooling(200, {});
  FORALL_ASSERT_OK_AND_ASSIGN(const Gate::Outcome hot, unlimited.Wait(&clock_, {}));
  EXPECT_EQ(hot.trouble, "");
}

TEST_F(GateTest, WaitsUntilTheDeviceIsCool) {
  Gate gate = Cooling(80, GateLimits{.max_celsius = 65});
  FORALL_ASSERT_OK_AND_ASSIGN(const Gate::Outcome outcome, gate.Wait(&clock_, {}));
  EXPECT_EQ(outcome.waited, absl::Seconds(15));
  EXPECT_EQ(outcome.trouble, "");
}

TEST_F(GateTest, DoesNotWaitForEver) {
  Gate gate = Cooling(300, GateLimits{.max_celsius = 65, .patience = absl::Seconds(30)});
  FORALL_ASSERT_OK_AND_ASSIGN(const Gate::Outcome outcome, gate.Wait(&clock_, {}));
  EXPECT_EQ(outcome.waited, absl::Seconds(30));
  EXPECT_THAT(outcome.trouble, HasSubstr("270 degrees Celsius, more than 65"));
}

TEST_F(GateTest, ACapOfTheOwnerIsTheDeviceALowerOneIsNot) {
  int64_t cap = 1'500'000;
  // Beside a slower core that is never capped.
  Gate gate(GateLimits{.patience = absl::Seconds(3)}, [&cap] {
    return GateReading{.frequency_caps_khz = {900'000, cap, 0}};
  });
  FORALL_ASSERT_OK_AND_ASSIGN(Gate::Outcome outcome, gate.Wait(&clock_, {}));
  EXPECT_EQ(outcome.trouble, "");
  cap = 1'200'000;
  FORALL_ASSERT_OK_AND_ASSIGN(outcome, gate.Wait(&clock_, {}));
  EXPECT_THAT(outcome.trouble, HasSubstr("core 1 capped at 1200 MHz, it was 1500"));
  cap = 1'490'000;
  FORALL_ASSERT_OK_AND_ASSIGN(outcome, gate.Wait(&clock_, {}));
  EXPECT_EQ(outcome.trouble, "");
}

TEST_F(GateTest, ADeviceThatDoesNotTellAnyMoreMayBeHot) {
  GateReading reading{.celsius = 40};
  Gate gate(GateLimits{.max_celsius = 65, .patience = absl::Seconds(3)},
            [&reading] { return reading; });
  FORALL_ASSERT_OK_AND_ASSIGN(Gate::Outcome outcome, gate.Wait(&clock_, {}));
  EXPECT_EQ(outcome.trouble, "");
  reading.celsius.reset();
  FORALL_ASSERT_OK_AND_ASSIGN(outcome, gate.Wait(&clock_, {}));
  EXPECT_THAT(outcome.trouble, HasSubstr("cannot be read"));
}

TEST_F(GateTest, IsCancelled) {
  Gate gate = Cooling(300, GateLimits{.max_celsius = 65});
  int asked = 0;
  EXPECT_THAT(gate.Wait(&clock_, [&asked] { return ++asked > 3; }),
              StatusIs(absl::StatusCode::kCancelled));
}

}  // namespace
}  // namespace forall
