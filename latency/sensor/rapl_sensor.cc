// SPDX-License-Identifier: Apache-2.0
#include "latency/sensor/rapl_sensor.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr char kPowercap[] = "sys/class/powercap";
constexpr char kZonePrefix[] = "intel-rapl:";
// Of one zone. The largest packages are specified for about 500 W and may exceed it briefly.
constexpr double kMostWatts = 2000;

struct Zone {
  std::string path;
  int64_t range_uj = 0;  // 0: unknown.
  std::optional<int64_t> last_uj;
};

bool AllDigits(absl::string_view text) {
  for (const char c : text) {
    if (!absl::ascii_isdigit(c)) return false;
  }
  return !text.empty();
}

// 1 for "intel-rapl:0", 2 for "intel-rapl:0:1", 0 for anything else.
int ZoneDepth(absl::string_view name) {
  if (!absl::StartsWith(name, kZonePrefix)) return 0;
  const std::vector<absl::string_view> numbers =
      absl::StrSplit(name.substr(sizeof(kZonePrefix) - 1), ':');
  for (const absl::string_view number : numbers) {
    if (!AllDigits(number)) return 0;
  }
  return static_cast<int>(numbers.size());
}

class RaplSensor : public PowerSensor {
 public:
  RaplSensor(std::shared_ptr<const Sysfs> files, SensorDescription description,
             std::vector<Zone> zones)
      : files_(std::move(files)), description_(std::move(description)), zones_(std::move(zones)) {}

  const SensorDescription& description() const override { return description_; }

  absl::StatusOr<double> Read() override {
    // First all values, then all sums: a zone that fails must not lose what the others counted.
    std::vector<int64_t> values;
    for (const Zone& zone : zones_) {
      FORALL_ASSIGN_OR_RETURN(values.emplace_back(), ReadZone(zone));
    }
    std::string loss;
    for (size_t i = 0; i < zones_.size(); ++i) {
      Zone& zone = zones_[i];
      const int64_t before = zone.last_uj.value_or(values[i]);
      zone.last_uj = values[i];
      if (values[i] < before && zone.range_uj == 0) {
        loss = absl::StrCat(zone.path, " fell from ", before, " to ", values[i],
                            " microjoules, and max_energy_range_uj does not say where it wraps");
        continue;
      }
      const int64_t wrapped = values[i] < before ? zone.range_uj : 0;
      joules_ += static_cast<double>(values[i] - before + wrapped) * 1e-6;
    }
    if (!loss.empty()) return absl::DataLossError(loss);
    return joules_;
  }

 private:
  absl::StatusOr<int64_t> ReadZone(const Zone& zone) const {
    absl::StatusOr<int64_t> value = files_->ReadInteger(absl::StrCat(zone.path, "/energy_uj"));
    if (absl::IsPermissionDenied(value.status())) {
      return absl::PermissionDeniedError(
          absl::StrCat(value.status().message(),
                       ": run as root, or let the user's group read energy_uj (a udev rule that "
                       "sets its group and mode)"));
    }
    FORALL_RETURN_IF_ERROR(value.status());
    if (*value < 0 || (zone.range_uj > 0 && *value > zone.range_uj)) {
      return absl::UnavailableError(absl::StrCat(
          zone.path, " counts ", *value, " microjoules, outside of its range of ", zone.range_uj));
    }
    return value;
  }

  const std::shared_ptr<const Sysfs> files_;
  const SensorDescription description_;
  std::vector<Zone> zones_;
  double joules_ = 0;
};

struct Domain {
  const char* name;
  const char* covers;
  bool additive;
};

constexpr Domain kDomains[] = {
    {"package", "all processor packages: cores, caches, memory controllers, built-in graphics",
     true},
    {"dram", "the memory of all packages", true},
    {"core", "the cores, a part of the packages", false},
    {"uncore", "built-in graphics, a part of the packages", false},
    {"psys", "the platform: packages, memory and more, as its maker wired it", false},
};

// The domain of a zone; "" when the names say nothing that is known.
std::string DomainOf(absl::string_view name, int depth) {
  if (depth == 1) {
    if (absl::StartsWith(name, "package-")) return "package";
    return name == "psys" ? "psys" : "";
  }
  const bool known = name == "core" || name == "uncore" || name == "dram";
  return known ? std::string(name) : "";
}

}  // namespace

void DiscoverRapl(std::shared_ptr<const Sysfs> files, PowerSensors* sensors) {
  std::map<std::string, std::vector<Zone>> domains;
  std::set<std::string> seen;  // Packages and, by parent, their subzones.
  bool any = false;
  for (const std::string& entry : files->List(kPowercap)) {
    const int depth = ZoneDepth(entry);
    if (depth != 1 && depth != 2) continue;
    any = true;
    Zone zone{.path = absl::StrCat(kPowercap, "/", entry)};
    const absl::StatusOr<std::string> name = files->ReadText(zone.path + "/name");
    if (!name.ok()) {
      sensors->AddUnavailable("rapl", entry, name.status());
      continue;
    }
    const std::string domain = DomainOf(*name, depth);
    const std::string parent = depth == 2 ? entry.substr(0, entry.rfind(':')) : "";
    if (domain.empty() || !seen.insert(absl::StrCat(parent, "/", *name)).second) continue;
    // Not readable: a counter that wraps around will be noticed, and be an error.
    zone.range_uj =
        std::max<int64_t>(0, files->ReadInteger(zone.path + "/max_energy_range_uj").value_or(0));
    domains[domain].push_back(std::move(zone));
  }
  if (!any) {
    sensors->AddUnavailable(
        "rapl", "",
        absl::NotFoundError(absl::StrCat(files->Name(kPowercap),
                                         " has no intel-rapl zone: no RAPL, or load the kernel "
                                         "module intel_rapl_msr")));
  }
  for (const Domain& domain : kDomains) {
    std::vector<Zone>& zones = domains[domain.name];
    if (zones.empty()) continue;
    SensorDescription description;
    description.source = "rapl";
    description.domain = domain.name;
    description.covers = domain.covers;
    description.kind = SensorKind::kCounter;
    description.update_period = absl::Milliseconds(1);
    description.most_watts = kMostWatts * static_cast<double>(zones.size());
    description.additive = domain.additive;
    for (const Zone& zone : zones) {
      if (zone.range_uj == 0) continue;
      const double seconds = static_cast<double>(zone.range_uj) * 1e-6 / kMostWatts;
      description.longest_gap = std::min(description.longest_gap, absl::Seconds(seconds));
    }
    sensors->Add(std::make_unique<RaplSensor>(files, std::move(description), std::move(zones)));
  }
}

}  // namespace forall
