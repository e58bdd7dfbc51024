// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/served_device.h"

#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "base/thread.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

TEST(WorkerStopTest, EndsWaitsAndIsSeen) {
  WorkerStop stop;
  EXPECT_FALSE(stop.stopped());
  stop.Wait(absl::ZeroDuration());
  Thread stopper("stop", [&stop] { stop.Stop(); });
  stop.Wait(absl::Hours(1));
  EXPECT_TRUE(stop.stopped());
  stopper.Join();
}

TEST(WorkerStopTest, DrainsWhoIsThereAndWhoComesLater) {
  const testing::TempDir dir;
  // Nobody answers there: the workers are not even registered.
  FleetClient fleet(ConnectToController("unix:" + (dir / "nobody")), FleetClient::Options{});
  Worker::Options options;
  options.fleet = &fleet;
  Worker early(options);
  Worker late(options);
  WorkerStop stop;
  stop.Add(&early);
  Thread runs("run", [&early] { FORALL_EXPECT_OK(early.Run()); });
  stop.Stop();
  runs.Join();
  stop.Remove(&early);
  stop.Add(&late);
  FORALL_EXPECT_OK(late.Run());
  stop.Remove(&late);
}

}  // namespace
}  // namespace forall
