// SPDX-License-Identifier: Apache-2.0
#include "latency/transport/sensors.h"

#include <cmath>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace forall {
namespace {

// Colder or hotter than any device that still answers: the sensor is off or its unit another.
constexpr double kColdest = -60;
constexpr double kHottest = 200;
constexpr size_t kMostReadings = 1000;

bool ReadNumber(absl::string_view text, double* value) {
  return absl::SimpleAtod(text, value) && std::isfinite(*value);
}

void AddTemperature(absl::string_view name, double celsius, SensorReadings* readings) {
  if (celsius <= kColdest || celsius >= kHottest || readings->size() >= kMostReadings) return;
  std::string key = "thermal_";
  for (const char c : name.substr(0, 64)) {
    key += absl::ascii_isalnum(c) ? absl::ascii_tolower(c) : '_';
  }
  // Several zones may have one name: the hottest counts.
  const auto [entry, fresh] = readings->emplace(absl::StrCat(key, "_celsius"), celsius);
  if (!fresh && celsius > entry->second) entry->second = celsius;
}

// The value behind "NAME=" up to a comma or the closing brace.
absl::string_view Field(absl::string_view text, absl::string_view name) {
  const size_t at = text.find(name);
  if (at == absl::string_view::npos) return {};
  text.remove_prefix(at + name.size());
  return text.substr(0, text.find_first_of(",}"));
}

}  // namespace

std::string ThermalZonesScript(const std::string& quoted_root) {
  return absl::StrCat("for z in ", quoted_root,
                      "/class/thermal/thermal_zone*; do [ -r \"$z/temp\" ] && "
                      "printf '%s|%s\\n' \"$(cat \"$z/type\" 2>/dev/null)\" "
                      "\"$(cat \"$z/temp\" 2>/dev/null)\"; done; :");
}

void AddThermalZones(absl::string_view text, SensorReadings* readings) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const size_t bar = line.rfind('|');
    double value = 0;
    if (bar == absl::string_view::npos || bar == 0 || !ReadNumber(line.substr(bar + 1), &value)) {
      continue;
    }
    AddTemperature(line.substr(0, bar), std::abs(value) >= 1000 ? value / 1000 : value, readings);
  }
}

void AddThermalService(absl::string_view text, SensorReadings* readings) {
  SensorReadings cached;
  SensorReadings current;
  bool is_current = false;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    double value = 0;
    if (absl::ConsumePrefix(&line, "Thermal Status:")) {
      if (ReadNumber(line, &value) && value >= 0 && value <= 6) {
        (*readings)["thermal_status"] = value;
      }
    } else if (absl::StartsWith(line, "Current temperatures from HAL")) {
      is_current = true;
    } else if (absl::StartsWith(line, "Current cooling devices") ||
               absl::StartsWith(line, "Temperature static thresholds")) {
      is_current = false;
    } else if (absl::ConsumePrefix(&line, "Temperature{")) {
      const absl::string_view name = Field(line, "mName=");
      if (!name.empty() && ReadNumber(Field(line, "mValue="), &value)) {
        AddTemperature(name, value, is_current ? &current : &cached);
      }
    }
  }
  for (const auto& [name, value] : current.empty() ? cached : current) {
    if (readings->size() < kMostReadings) (*readings)[name] = value;
  }
}

void AddBattery(absl::string_view text, SensorReadings* readings) {
  bool told = false;
  bool charging = false;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    double value = 0;
    if (absl::StrContains(line, " powered:")) {
      told = true;
      charging = charging || absl::EndsWith(line, "true");
    } else if (absl::ConsumePrefix(&line, "level:")) {
      if (ReadNumber(line, &value) && value >= 0 && value <= 100) {
        (*readings)["battery_level_percent"] = value;
      }
    } else if (absl::ConsumePrefix(&line, "temperature:")) {
      if (ReadNumber(line, &value) && value / 10 > kColdest && value / 10 < kHottest) {
        (*readings)["battery_temperature_celsius"] = value / 10;
      }
    } else if (absl::ConsumePrefix(&line, "voltage:")) {
      if (ReadNumber(line, &value) && value > 0) {
        (*readings)["battery_voltage_millivolts"] = value;
      }
    }
  }
  if (told) (*readings)["battery_charging"] = charging ? 1 : 0;
}

}  // namespace forall
