// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/ina3221_sensor.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr char kHwmonDriver[] = "sys/bus/i2c/drivers/ina3221";
constexpr char kIioDriver[] = "sys/bus/i2c/drivers/ina3221x";
constexpr char kSource[] = "ina3221";
constexpr int kChannels = 3;
// The chip's reset value: three channels, one sample of 1.1 ms each for voltage and current.
constexpr absl::Duration kDefaultUpdate = absl::Milliseconds(7);
// The older driver does not say; its averaging is at most a few hundred conversions.
constexpr absl::Duration kOlderUpdate = absl::Milliseconds(100);
constexpr double kMostWatts = 1000;

struct Rail {
  std::string label;
  // Either both or, in the older layout, power alone.
  std::string millivolt_path;
  std::string milliampere_path;
  std::string milliwatt_path;
  absl::Duration update_period;
};

class RailSensor : public PowerSensor {
 public:
  RailSensor(std::shared_ptr<const Sysfs> files, SensorDescription description,
             std::vector<Rail> rails)
      : files_(std::move(files)), description_(std::move(description)), rails_(std::move(rails)) {}

  const SensorDescription& description() const override { return description_; }

  absl::StatusOr<double> Read() override {
    double watts = 0;
    for (const Rail& rail : rails_) {
      FORALL_ASSIGN_OR_RETURN(const double of_rail, ReadRail(rail));
      watts += of_rail;
    }
    // A rail at rest may read a step below zero; all of a board may not.
    if (watts < 0) {
      return absl::UnavailableError(
          absl::StrCat(description_.domain, " reads ", watts, " W, less than nothing"));
    }
    return watts;
  }

 private:
  absl::StatusOr<double> ReadRail(const Rail& rail) const {
    if (!rail.milliwatt_path.empty()) {
      FORALL_ASSIGN_OR_RETURN(const int64_t milliwatts, files_->ReadInteger(rail.milliwatt_path));
      return static_cast<double>(milliwatts) * 1e-3;
    }
    FORALL_ASSIGN_OR_RETURN(const int64_t millivolts, files_->ReadInteger(rail.millivolt_path));
    FORALL_ASSIGN_OR_RETURN(const int64_t milliamperes, files_->ReadInteger(rail.milliampere_path));
    return static_cast<double>(millivolts) * static_cast<double>(milliamperes) * 1e-6;
  }

  const std::shared_ptr<const Sysfs> files_;
  const SensorDescription description_;
  const std::vector<Rail> rails_;
};

bool Connected(const absl::StatusOr<std::string>& label) {
  return label.ok() && !label->empty() && *label != "NC";
}

void AddHwmonRails(const Sysfs& files, const std::string& directory, std::vector<Rail>* rails) {
  const int64_t interval_ms = files.ReadInteger(directory + "/update_interval").value_or(0);
  for (int channel = 1; channel <= kChannels; ++channel) {
    const std::string in = absl::StrCat(directory, "/in", channel);
    const absl::StatusOr<std::string> label = files.ReadText(in + "_label");
    if (!Connected(label) || files.ReadInteger(in + "_enable").value_or(1) == 0) continue;
    rails->push_back(
        {.label = *label,
         .millivolt_path = in + "_input",
         .milliampere_path = absl::StrCat(directory, "/curr", channel, "_input"),
         .update_period = interval_ms > 0 ? absl::Milliseconds(interval_ms) : kDefaultUpdate});
  }
}

void AddIioRails(const Sysfs& files, const std::string& directory, std::vector<Rail>* rails) {
  for (int channel = 0; channel < kChannels; ++channel) {
    const absl::StatusOr<std::string> label =
        files.ReadText(absl::StrCat(directory, "/rail_name_", channel));
    if (!Connected(label)) continue;
    rails->push_back({.label = *label,
                      .milliwatt_path = absl::StrCat(directory, "/in_power", channel, "_input"),
                      .update_period = kOlderUpdate});
  }
}

std::vector<Rail> FindRails(const Sysfs& files) {
  std::vector<Rail> rails;
  for (const std::string& chip : files.List(kHwmonDriver)) {
    const std::string parent = absl::StrCat(kHwmonDriver, "/", chip, "/hwmon");
    for (const std::string& hwmon : files.List(parent)) {
      if (absl::StartsWith(hwmon, "hwmon")) {
        AddHwmonRails(files, absl::StrCat(parent, "/", hwmon), &rails);
      }
    }
  }
  for (const std::string& chip : files.List(kIioDriver)) {
    const std::string parent = absl::StrCat(kIioDriver, "/", chip);
    for (const std::string& device : files.List(parent)) {
      // Some releases have a link iio_device to the same folder beside it.
      if (absl::StartsWith(device, "iio:device")) {
        AddIioRails(files, absl::StrCat(parent, "/", device), &rails);
      }
    }
  }
  return rails;
}

std::unique_ptr<PowerSensor> MakeSensor(std::shared_ptr<const Sysfs> files,
                                        const std::string& domain, const std::string& covers,
                                        bool additive, std::vector<Rail> rails) {
  SensorDescription description;
  description.source = kSource;
  description.domain = domain;
  description.covers = covers;
  description.kind = SensorKind::kSampled;
  description.most_watts = kMostWatts;
  description.additive = additive;
  for (const Rail& rail : rails) {
    description.update_period = std::max(description.update_period, rail.update_period);
  }
  return std::make_unique<RailSensor>(files, std::move(description), std::move(rails));
}

// Rails that together are one module's input, without overlap. The first that a board has decides.
const std::vector<std::vector<std::string>>& KnownTotals() {
  static const auto* const totals = new std::vector<std::vector<std::string>>{
      {"VDD_IN"},                                      // TX1, TX2, Xavier NX, Orin NX, Orin Nano
      {"POM_5V_IN"},                                   // Nano
      {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"},    // AGX Orin
      {"GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"}};  // AGX Xavier
  return *totals;
}

}  // namespace

void DiscoverIna3221(std::shared_ptr<const Sysfs> files, PowerSensors* sensors) {
  const std::vector<Rail> rails = FindRails(*files);
  if (rails.empty()) {
    sensors->AddUnavailable(
        kSource, "",
        absl::NotFoundError(absl::StrCat("no INA3221 with a named rail under ", files->Name(""),
                                         kHwmonDriver, " or ", kIioDriver)));
    return;
  }
  std::map<std::string, Rail> by_label;
  std::vector<std::string> repeated;
  for (const Rail& rail : rails) {
    if (!by_label.emplace(rail.label, rail).second) repeated.push_back(rail.label);
  }
  const std::vector<std::string>* total = nullptr;
  for (const std::vector<std::string>& labels : KnownTotals()) {
    const auto known = [&](const std::string& label) {
      return by_label.count(label) > 0 &&
             std::find(repeated.begin(), repeated.end(), label) == repeated.end();
    };
    if (total == nullptr && std::all_of(labels.begin(), labels.end(), known)) total = &labels;
  }
  if (total == nullptr) {
    const auto name = [](std::string* out, const Rail& rail) { out->append(rail.label); };
    sensors->AddUnavailable(
        kSource, "module",
        absl::UnavailableError(absl::StrCat("which rails are the whole board is not known of: ",
                                            absl::StrJoin(rails, ", ", name))));
  } else {
    std::vector<Rail> parts;
    for (const std::string& label : *total) parts.push_back(by_label.at(label));
    sensors->Add(MakeSensor(
        files, total->size() == 1 ? total->front() : "module",
        absl::StrCat("the whole module, not its carrier board: ", absl::StrJoin(*total, " + ")),
        /*additive=*/true, std::move(parts)));
  }
  for (const auto& [label, rail] : by_label) {
    if (total != nullptr && total->size() == 1 && total->front() == label) continue;
    sensors->Add(MakeSensor(files, label, "one rail of the board", /*additive=*/false, {rail}));
  }
}

}  // namespace forall
