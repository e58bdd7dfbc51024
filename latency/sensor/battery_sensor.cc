// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/battery_sensor.h"

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr char kSupplies[] = "sys/class/power_supply";
constexpr char kSource[] = "battery";
constexpr double kMostWatts = 500;
// Fuel gauges measure a few times a second at most; many drivers ask them once a second.
constexpr absl::Duration kUpdatePeriod = absl::Seconds(1);
// charge_counter moves in steps of unknown size, often a milliampere-hour.
constexpr absl::Duration kChargeUpdatePeriod = absl::Seconds(30);
// Less than a device that computes draws: some drivers count in milliamperes and millivolts.
constexpr int64_t kLeastMicroamperes = 5000;
constexpr int64_t kLeastMicrovolts = 100000;
constexpr int64_t kLeastMicrowatts = 5000;

enum class Measure { kPower, kCurrent, kCharge };

absl::Status Implausible(const std::string& path, int64_t value, absl::string_view unit) {
  return absl::UnavailableError(absl::StrCat(path, " reads ", value, " ", unit,
                                             ", less than a running device draws: its driver may "
                                             "count in another unit"));
}

// Of a supply of type Battery: there, and not that of a mouse.
bool IsSystemBattery(const Sysfs& files, const std::string& path) {
  return files.ReadText(path + "/scope").value_or("System") != "Device" &&
         files.ReadInteger(path + "/present").value_or(1) != 0;
}

class BatterySensor : public PowerSensor {
 public:
  BatterySensor(std::shared_ptr<const Sysfs> files, SensorDescription description, std::string path,
                Measure measure)
      : files_(std::move(files)),
        description_(std::move(description)),
        path_(std::move(path)),
        measure_(measure) {}

  const SensorDescription& description() const override { return description_; }

  absl::StatusOr<double> Read() override {
    FORALL_RETURN_IF_ERROR(CheckIsOnlySource());
    switch (measure_) {
      case Measure::kPower: {
        FORALL_ASSIGN_OR_RETURN(const double microwatts,
                                ReadMagnitude("power_now", kLeastMicrowatts, "microwatts"));
        return microwatts * 1e-6;
      }
      case Measure::kCurrent: {
        FORALL_ASSIGN_OR_RETURN(const double microamperes,
                                ReadMagnitude("current_now", kLeastMicroamperes, "microamperes"));
        FORALL_ASSIGN_OR_RETURN(const double volts, ReadVolts());
        return microamperes * 1e-6 * volts;
      }
      case Measure::kCharge:
        return ReadCharge();
    }
    return absl::InternalError("no such measure");
  }

 private:
  absl::Status CheckIsOnlySource() const {
    FORALL_ASSIGN_OR_RETURN(const std::string status, files_->ReadText(path_ + "/status"));
    if (status != "Discharging") {
      return absl::FailedPreconditionError(absl::StrCat(
          "battery ", description_.domain, " is '", status,
          "': energy can be read from it while it is discharging, unplug the charger"));
    }
    for (const std::string& supply : files_->List(kSupplies)) {
      const std::string path = absl::StrCat(kSupplies, "/", supply);
      if (path == path_) continue;
      const std::string type = files_->ReadText(path + "/type").value_or("");
      if (type == "Battery") {
        if (!IsSystemBattery(*files_, path)) continue;
        if (files_->ReadText(path + "/status").value_or("") != "Discharging") continue;
        return absl::FailedPreconditionError(
            absl::StrCat("batteries ", description_.domain, " and ", supply,
                         " are discharging at once: neither is all that feeds the device"));
      }
      if (files_->ReadInteger(path + "/online").value_or(0) == 0) continue;
      return absl::FailedPreconditionError(
          absl::StrCat(type, " supply ", supply, " is online: battery ", description_.domain,
                       " is not all that feeds the device, unplug it"));
    }
    return absl::OkStatus();
  }

  // Without its sign (see the header).
  absl::StatusOr<double> ReadMagnitude(const std::string& name, int64_t least,
                                       absl::string_view unit) const {
    FORALL_ASSIGN_OR_RETURN(const int64_t value, files_->ReadInteger(path_ + "/" + name));
    // Not abs(): the smallest integer has no counterpart.
    if (value > -least && value < least) return Implausible(path_ + "/" + name, value, unit);
    return std::abs(static_cast<double>(value));
  }

  absl::StatusOr<double> ReadVolts() const {
    FORALL_ASSIGN_OR_RETURN(const int64_t microvolts, files_->ReadInteger(path_ + "/voltage_now"));
    if (microvolts < kLeastMicrovolts) {
      return Implausible(path_ + "/voltage_now", microvolts, "microvolts");
    }
    return static_cast<double>(microvolts) * 1e-6;
  }

  absl::StatusOr<double> ReadCharge() {
    FORALL_ASSIGN_OR_RETURN(const double volts, ReadVolts());
    FORALL_ASSIGN_OR_RETURN(const int64_t charge, files_->ReadInteger(path_ + "/charge_counter"));
    // Microampere-hours that the battery has lost. In double: the difference of two integers of a
    // driver that is out of its mind may be none.
    const double lost =
        static_cast<double>(last_charge_.value_or(charge)) - static_cast<double>(charge);
    last_charge_ = charge;
    if (lost < 0) {
      return absl::DataLossError(absl::StrCat(path_, "/charge_counter rose to ", charge,
                                              " while the battery was discharging"));
    }
    joules_ += lost * 1e-6 * 3600 * volts;
    return joules_;
  }

  const std::shared_ptr<const Sysfs> files_;
  const SensorDescription description_;
  const std::string path_;
  const Measure measure_;
  std::optional<int64_t> last_charge_;
  double joules_ = 0;
};

std::optional<Measure> FindMeasure(const Sysfs& files, const std::string& path) {
  // A driver may have a file and no value for it: what cannot be read does not count.
  const auto readable = [&](const char* name) {
    return files.ReadInteger(absl::StrCat(path, "/", name)).ok();
  };
  if (readable("power_now")) return Measure::kPower;
  if (!readable("voltage_now")) return std::nullopt;
  if (readable("current_now")) return Measure::kCurrent;
  if (readable("charge_counter")) return Measure::kCharge;
  return std::nullopt;
}

}  // namespace

void DiscoverBatteries(std::shared_ptr<const Sysfs> files, PowerSensors* sensors) {
  bool any = false;
  for (const std::string& supply : files->List(kSupplies)) {
    const std::string path = absl::StrCat(kSupplies, "/", supply);
    if (files->ReadText(path + "/type").value_or("") != "Battery") continue;
    if (!IsSystemBattery(*files, path)) continue;
    any = true;
    const std::optional<Measure> measure = FindMeasure(*files, path);
    if (!measure.has_value()) {
      const absl::Status denied = files->ReadText(path + "/voltage_now").status();
      sensors->AddUnavailable(
          kSource, supply,
          absl::IsPermissionDenied(denied)
              ? denied
              : absl::UnavailableError(absl::StrCat(
                    files->Name(path),
                    " has neither power_now, nor voltage_now with current_now or charge_counter")));
      continue;
    }
    SensorDescription description;
    description.source = kSource;
    description.domain = supply;
    description.covers = "all of the device that this battery feeds, its screen and radios too";
    description.kind = *measure == Measure::kCharge ? SensorKind::kCounter : SensorKind::kSampled;
    description.update_period = *measure == Measure::kCharge ? kChargeUpdatePeriod : kUpdatePeriod;
    description.most_watts = kMostWatts;
    sensors->Add(std::make_unique<BatterySensor>(files, std::move(description), path, *measure));
  }
  if (!any) {
    sensors->AddUnavailable(kSource, "",
                            absl::NotFoundError(absl::StrCat(files->Name(kSupplies),
                                                             " has no battery of this machine")));
  }
}

}  // namespace forall
