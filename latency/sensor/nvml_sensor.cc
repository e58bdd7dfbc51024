// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/nvml_sensor.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr char kSource[] = "nvml";
constexpr double kMostWatts = 5000;

absl::Status ToStatus(const NvmlApi& api, int result, absl::string_view doing) {
  if (result == kNvmlSuccess) return absl::OkStatus();
  const char* const text = api.error_string(result);
  const std::string message =
      absl::StrCat(doing, ": ", text == nullptr ? "unknown" : text, " (NVML ", result, ")");
  if (result == kNvmlNoPermission) return absl::PermissionDeniedError(message);
  return absl::UnavailableError(message);
}

// NVML between its initialisation and its end. Initialisations are counted by the library.
class Session {
 public:
  explicit Session(NvmlApi api) : api_(std::move(api)), status_(Init()) {}
  ~Session() {
    if (status_.ok()) api_.shutdown();
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const NvmlApi& api() const { return api_; }
  const absl::Status& status() const { return status_; }

 private:
  absl::Status Init() const { return ToStatus(api_, api_.init(), "initialising NVML"); }

  const NvmlApi api_;
  const absl::Status status_;
};

class GpuSensor : public PowerSensor {
 public:
  GpuSensor(std::shared_ptr<const Session> session, void* device, SensorDescription description)
      : session_(std::move(session)), device_(device), description_(std::move(description)) {}

  const SensorDescription& description() const override { return description_; }

  absl::StatusOr<double> Read() override {
    const NvmlApi& api = session_->api();
    if (description_.kind == SensorKind::kSampled) {
      unsigned milliwatts = 0;
      FORALL_RETURN_IF_ERROR(
          ToStatus(api, api.power_usage(device_, &milliwatts), "reading a GPU's power"));
      return milliwatts * 1e-3;
    }
    unsigned long long millijoules = 0;  // NOLINT(google-runtime-int)
    FORALL_RETURN_IF_ERROR(
        ToStatus(api, api.total_energy(device_, &millijoules), "reading a GPU's energy"));
    const double joules = static_cast<double>(millijoules) * 1e-3;
    const bool fell = joules < last_joules_;
    last_joules_ = joules;
    if (fell) return absl::DataLossError("a GPU's energy counter fell: its driver was loaded anew");
    return joules;
  }

 private:
  const std::shared_ptr<const Session> session_;
  void* const device_;
  const SensorDescription description_;
  double last_joules_ = 0;
};

bool HasCounter(const NvmlApi& api, void* device) {
  unsigned long long millijoules = 0;  // NOLINT(google-runtime-int)
  return api.total_energy && api.total_energy(device, &millijoules) != kNvmlNotSupported;
}

}  // namespace

void DiscoverNvml(const NvmlApi& api, PowerSensors* sensors) {
  const auto session = std::make_shared<const Session>(api);
  unsigned count = 0;
  absl::Status status = session->status();
  if (status.ok()) status = ToStatus(api, api.device_count(&count), "counting GPUs");
  if (status.ok() && count == 0) status = absl::NotFoundError("NVML knows no GPU");
  if (!status.ok()) {
    sensors->AddUnavailable(kSource, "", std::move(status));
    return;
  }
  for (unsigned i = 0; i < count; ++i) {
    SensorDescription description;
    description.source = kSource;
    description.domain = absl::StrCat("gpu-", i);
    description.covers = "the GPU's board with its memory, whoever uses it";
    description.most_watts = kMostWatts;
    description.additive = true;
    void* device = nullptr;
    const absl::Status found = ToStatus(api, api.device_by_index(i, &device), "opening a GPU");
    if (!found.ok()) {
      sensors->AddUnavailable(kSource, description.domain, found);
      continue;
    }
    const bool counter = HasCounter(api, device);
    description.kind = counter ? SensorKind::kCounter : SensorKind::kSampled;
    description.update_period = counter ? absl::Milliseconds(100) : absl::Seconds(1);
    sensors->Add(std::make_unique<GpuSensor>(session, device, std::move(description)));
  }
}

}  // namespace forall
