// SPDX-License-Identifier: Apache-2.0
// libFuzzer: whatever the files of a machine hold, looking for sensors and measuring with them ends
// in a reason or in energy that can be.
//
// The input is the content of the files below, separated by '|', and then once more what those hold
// that change while measuring.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "latency/sensor/energy_meter.h"
#include "latency/sensor/peak_memory.h"
#include "latency/sensor/power_sensor.h"
#include "latency/sensor/sysfs.h"

namespace forall {
namespace {

constexpr const char* kFiles[] = {
    "sys/class/powercap/intel-rapl:0/name",
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj",
    "sys/class/powercap/intel-rapl:0:0/name",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/in1_label",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/update_interval",
    "sys/bus/i2c/drivers/ina3221x/0-0041/iio:device1/rail_name_0",
    "sys/class/power_supply/battery/type",
    "sys/class/power_supply/usb/type",
};
constexpr const char* kChanging[] = {
    "sys/class/powercap/intel-rapl:0/energy_uj",
    "sys/class/powercap/intel-rapl:0:0/energy_uj",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/in1_input",
    "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr1_input",
    "sys/bus/i2c/drivers/ina3221x/0-0041/iio:device1/in_power0_input",
    "sys/class/power_supply/battery/status",
    "sys/class/power_supply/battery/current_now",
    "sys/class/power_supply/battery/voltage_now",
    "sys/class/power_supply/battery/charge_counter",
    "sys/class/power_supply/usb/online",
};

using Contents = std::vector<std::string>;

class FilesInMemory : public Sysfs {
 public:
  absl::StatusOr<std::string> ReadText(const std::string& path) const override {
    const auto file = files_.find(path);
    if (file == files_.end()) return absl::NotFoundError(path);
    return file->second;
  }
  std::vector<std::string> List(const std::string& directory) const override {
    std::set<std::string> names;
    const std::string prefix = directory + "/";
    for (const auto& [path, content] : files_) {
      if (!absl::StartsWith(path, prefix)) continue;
      names.insert(path.substr(prefix.size(), path.find('/', prefix.size()) - prefix.size()));
    }
    return {names.begin(), names.end()};
  }

  // Takes from the end; files for which nothing is left are removed.
  template <size_t N>
  void Fill(const char* const (&paths)[N], Contents* contents) {
    for (const char* const path : paths) {
      if (contents->empty()) {
        files_.erase(path);
        continue;
      }
      files_[path] = std::move(contents->back());
      contents->pop_back();
    }
  }

 private:
  std::map<std::string, std::string> files_;
};

void Check(const SensorDescription& sensor, const absl::StatusOr<EnergyReport>& report,
           absl::Duration shortest) {
  if (!report.ok()) {
    if (report.status().message().empty()) std::abort();
    return;
  }
  if (!std::isfinite(report->joules) || !(report->joules > 0)) std::abort();
  if (report->average_watts > sensor.most_watts) std::abort();
  if (absl::Seconds(report->seconds) < shortest || report->samples < 2) std::abort();
  const absl::StatusOr<double> each = report->JoulesPerInference();
  if (each.ok() && !(*each > 0)) std::abort();
}

void MeasureAll(Contents contents) {
  const auto files = std::make_shared<FilesInMemory>();
  files->Fill(kFiles, &contents);
  files->Fill(kChanging, &contents);
  const PowerSensors sensors = DiscoverPowerSensors(files, absl::NotFoundError("none"));
  FakeClock clock;
  std::vector<std::unique_ptr<EnergyMeter>> meters;
  for (const auto& sensor : sensors.available) {
    EnergyMeter::Options options;
    options.sensor = sensor.get();
    options.background = false;
    options.least_updates = 2;
    options.clock = &clock;
    meters.push_back(std::move(EnergyMeter::Create(options)).value());
    meters.back()->Start().IgnoreError();  // Stop says so.
  }
  // Often enough that no tenth of the interval is unknown.
  for (int step = 0; step < 12; ++step) {
    clock.Advance(absl::Seconds(8));
    for (const auto& meter : meters) meter->Sample().IgnoreError();  // Where it was not started.
  }
  files->Fill(kChanging, &contents);
  for (size_t i = 0; i < meters.size(); ++i) {
    Check(sensors.available[i]->description(), meters[i]->Stop(3), meters[i]->ShortestInterval());
  }
}

}  // namespace
}  // namespace forall

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto peak = forall::ParsePeakResident(text);
  if (peak.ok() && *peak <= 0) std::abort();
  const forall::Contents contents = absl::StrSplit(text, '|');
  forall::MeasureAll({contents.rbegin(), contents.rend()});
  return 0;
}
