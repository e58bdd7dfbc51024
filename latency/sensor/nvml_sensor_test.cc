// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/nvml_sensor.h"

#include <memory>
#include <string>
#include <vector>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "latency/sensor/testing/recorded_tree.h"

namespace forall {
namespace {

using ::forall::testing::Available;
using ::forall::testing::IsOkAndHolds;
using ::forall::testing::Reason;
using ::forall::testing::StatusIs;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A driver with GPUs whose counters stand where the test puts them.
struct FakeNvml {
  struct Gpu {
    unsigned long long millijoules = 0;  // NOLINT(google-runtime-int)
    unsigned milliwatts = 0;
    int energy_result = kNvmlSuccess;
    int power_result = kNvmlSuccess;
  };
  std::vector<Gpu> gpus;
  int init_result = kNvmlSuccess;
  int open_sessions = 0;

  NvmlApi Api() {
    NvmlApi api;
    api.init = [this] {
      if (init_result == kNvmlSuccess) ++open_sessions;
      return init_result;
    };
    api.shutdown = [this] {
      --open_sessions;
      return kNvmlSuccess;
    };
    api.device_count = [this](unsigned* count) {
      *count = static_cast<unsigned>(gpus.size());
      return kNvmlSuccess;
    };
    api.device_by_index = [this](unsigned i, void** device) {
      *device = &gpus.at(i);
      return kNvmlSuccess;
    };
    api.total_energy = [](void* device, unsigned long long* energy) {  // NOLINT
      *energy = static_cast<Gpu*>(device)->millijoules;
      return static_cast<Gpu*>(device)->energy_result;
    };
    api.power_usage = [](void* device, unsigned* power) {
      *power = static_cast<Gpu*>(device)->milliwatts;
      return static_cast<Gpu*>(device)->power_result;
    };
    api.error_string = [](int result) { return result == 15 ? "GPU is lost" : "some error"; };
    return api;
  }
};

PowerSensors Discover(const NvmlApi& api) {
  const testing::RecordedTree empty;
  return DiscoverPowerSensors(std::make_shared<LocalSysfs>(empty.root()), api);
}

TEST(NvmlSensorTest, CountsMillijoulesPerGpu) {
  FakeNvml driver;
  driver.gpus = {{.millijoules = 5000}, {.millijoules = 1}};
  {
    const PowerSensors sensors = Discover(driver.Api());
    ASSERT_THAT(Available(sensors), ElementsAre("nvml gpu-0", "nvml gpu-1"));
    const SensorDescription& description = sensors.available[0]->description();
    EXPECT_EQ(description.kind, SensorKind::kCounter);
    EXPECT_EQ(description.update_period, absl::Milliseconds(100));
    EXPECT_TRUE(description.additive);
    driver.gpus[0].millijoules = 7500;
    EXPECT_THAT(sensors.available[0]->Read(), IsOkAndHolds(DoubleNear(7.5, 1e-9)));
    EXPECT_EQ(driver.open_sessions, 1);
  }
  EXPECT_EQ(driver.open_sessions, 0);
}

TEST(NvmlSensorTest, TakesPowerWhereNothingIsCounted) {
  FakeNvml driver;
  driver.gpus = {{.milliwatts = 41500, .energy_result = kNvmlNotSupported}, {.milliwatts = 9000}};
  NvmlApi api = driver.Api();
  PowerSensors sensors = Discover(api);
  ASSERT_THAT(Available(sensors), ElementsAre("nvml gpu-0", "nvml gpu-1"));
  EXPECT_EQ(sensors.available[0]->description().kind, SensorKind::kSampled);
  EXPECT_EQ(sensors.available[0]->description().update_period, absl::Seconds(1));
  EXPECT_EQ(sensors.available[1]->description().kind, SensorKind::kCounter);
  EXPECT_THAT(sensors.available[0]->Read(), IsOkAndHolds(DoubleNear(41.5, 1e-9)));

  api.total_energy = nullptr;  // A library from before the counter.
  sensors = Discover(api);
  EXPECT_EQ(sensors.available[1]->description().kind, SensorKind::kSampled);
}

TEST(NvmlSensorTest, SaysWhyAGpuCannotBeRead) {
  FakeNvml driver;
  driver.gpus = {{.energy_result = kNvmlNoPermission},
                 {.energy_result = kNvmlNotSupported, .power_result = kNvmlNotSupported}};
  const PowerSensors sensors = Discover(driver.Api());
  EXPECT_THAT(sensors.available, IsEmpty());
  EXPECT_THAT(Reason(sensors, "nvml", "gpu-0"), StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(Reason(sensors, "nvml", "gpu-1"), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(driver.open_sessions, 0);
}

TEST(NvmlSensorTest, NoDriverAndNoGpuAreReasons) {
  FakeNvml driver;
  EXPECT_THAT(Reason(Discover(driver.Api()), "nvml", ""), StatusIs(absl::StatusCode::kNotFound));
  driver.init_result = 9;
  EXPECT_THAT(Reason(Discover(driver.Api()), "nvml", ""),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("NVML 9")));
  EXPECT_EQ(driver.open_sessions, 0);
}

TEST(NvmlSensorTest, AGpuThatIsLostAndADriverThatIsLoadedAnewAreErrors) {
  FakeNvml driver;
  driver.gpus = {{.millijoules = 5000}};
  const PowerSensors sensors = Discover(driver.Api());
  ASSERT_EQ(sensors.available.size(), 1u);
  driver.gpus[0].energy_result = 15;
  EXPECT_THAT(sensors.available[0]->Read(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("GPU is lost")));
  driver.gpus[0].energy_result = kNvmlSuccess;
  driver.gpus[0].millijoules = 10;
  EXPECT_THAT(sensors.available[0]->Read(), StatusIs(absl::StatusCode::kDataLoss));
}

TEST(NvmlSensorTest, ALibraryThatIsNoneIsAReason) {
  EXPECT_THAT(LoadNvml("libforall-no-such-library.so"), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(LoadNvml("libm.so.6"), StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace forall
