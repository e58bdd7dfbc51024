// SPDX-License-Identifier: Apache-2.0
#include "net/host_port.h"

#include "base/testing/matchers.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;

TEST(HostPortTest, IsAHostAndAPort) {
  FORALL_ASSERT_OK_AND_ASSIGN(const HostPort lab, ParseHostPort("lab.example.com:7411", 1));
  EXPECT_EQ(lab.host, "lab.example.com");
  EXPECT_EQ(lab.port, 7411);
  FORALL_ASSERT_OK_AND_ASSIGN(const HostPort six, ParseHostPort("[::1]:65535", 1));
  EXPECT_EQ(six.host, "[::1]");
  EXPECT_THAT(ParseHostPort("lab:0", 0), IsOk());
  EXPECT_THAT(ParseHostPort("lab:0", 1), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(ParseHostPort("lab", 0), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(LoopbackTest, OnlyThisMachinesOwnAddresses) {
  for (const char* loopback : {"127.0.0.1:0", "localhost:7411", "[::1]:7411"}) {
    EXPECT_THAT(IsLoopback(loopback), IsOkAndHolds(true)) << loopback;
  }
  for (const char* open : {"0.0.0.0:7411", "[::]:7411", "127.0.0.1.example.com:1", "10.0.0.1:1",
                           "127.9.9.9:1", "localhost.example.com:1"}) {
    EXPECT_THAT(IsLoopback(open), IsOkAndHolds(false)) << open;
  }
  for (const char* bad : {"", "7411", ":7411", "host", "host:port", "host:70000", "host:-1"}) {
    EXPECT_THAT(IsLoopback(bad), StatusIs(absl::StatusCode::kInvalidArgument)) << bad;
  }
}

}  // namespace
}  // namespace forall
