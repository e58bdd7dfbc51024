// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/device_probe.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/identifier.h"

namespace forall {
namespace {

constexpr size_t kMaxIdLength = 63;

bool IsIdCharacter(char c) {
  return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-' || c == '_' || c == '.';
}

bool Passes(const std::string& property) {
  static constexpr const char* kPassing[] = {"frequency_khz",          "temperature_celsius",
                                             "load_average",           "frequency_cap_khz",
                                             "memory_available_bytes", "warnings"};
  return std::find(std::begin(kPassing), std::end(kPassing), property) != std::end(kPassing);
}

}  // namespace

std::string IdFromName(absl::string_view name) {
  std::string id;
  for (const char c : name) {
    const char lower = absl::ascii_tolower(c);
    const bool first = id.empty();
    if (first && !absl::ascii_isalnum(lower)) continue;
    id.push_back(IsIdCharacter(lower) ? lower : '-');
    if (id.size() == kMaxIdLength) break;
  }
  return id.empty() ? "localhost" : id;
}

std::string IdFromHostname() {
  char name[256] = {};
  if (gethostname(name, sizeof(name) - 1) != 0) return IdFromName("");
  return IdFromName(name);
}

absl::Status CheckWorkerId(absl::string_view flag, absl::string_view id) {
  if (IsIdentifier(id)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": \"", id, "\" is no id: ", kIdentifierRule));
}

std::string DefaultDeviceClass(const Environment& environment) {
  if (environment.architecture == "x86_64") return "x86-64";
  return environment.architecture.empty() ? "unknown" : environment.architecture;
}

v1::Device DescribeDevice(const Environment& environment, const std::string& id,
                          const std::string& device_class) {
  v1::Device device;
  device.set_name(absl::StrCat("devices/", id));
  device.set_device_class(device_class);
  device.set_description(absl::StrCat(environment.cpu_model, ", ", environment.cores,
                                      environment.cores == 1 ? " core" : " cores",
                                      environment.emulation_evidence.empty() ? "" : ", emulated"));
  device.set_fingerprint(DeviceFingerprint(environment));
  for (const auto& [name, value] : environment.Fields()) {
    if (!Passes(name)) (*device.mutable_properties())[name] = value;
  }
  return device;
}

v1::RuntimeProfile DescribeProfile(const Environment& environment,
                                   const BackendDescription& backend) {
  v1::RuntimeProfile profile;
  profile.set_hash(ProfileHash(environment, backend));
  profile.set_runtime(backend.runtime);
  profile.set_runtime_version(backend.runtime_version);
  profile.set_provider(backend.provider);
  profile.set_precision(backend.precision);
  profile.set_threads(backend.threads);
  profile.set_batch(backend.batch);
  profile.set_power_mode(environment.governor);
  profile.mutable_settings()->insert(backend.settings.begin(), backend.settings.end());
  return profile;
}

}  // namespace forall
