// SPDX-License-Identifier: Apache-2.0
// Small files of sysfs and procfs: this machine's, a recorded tree's, or those of a device that is
// reached some other way.
#ifndef FORALL_LATENCY_SENSOR_SYSFS_H_
#define FORALL_LATENCY_SENSOR_SYSFS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace forall {

// Paths have no slash at their beginning: "sys/class/powercap". Thread-safe.
class Sysfs {
 public:
  virtual ~Sysfs() = default;

  // A file's text without the white space and NUL at its end. NotFound, PermissionDenied,
  // Unavailable (the driver refuses for now); every message names the file.
  virtual absl::StatusOr<std::string> ReadText(const std::string& path) const = 0;
  // Names in a directory, sorted; none when it is not there or not readable.
  virtual std::vector<std::string> List(const std::string& directory) const = 0;
  // What to call a path in a message.
  virtual std::string Name(const std::string& path) const { return "/" + path; }

  // A file that holds one decimal integer and nothing else. Also Unavailable when it holds anything
  // else, which the message quotes.
  absl::StatusOr<int64_t> ReadInteger(const std::string& path) const;
};

// Files below a folder; "" is the machine itself.
class LocalSysfs : public Sysfs {
 public:
  explicit LocalSysfs(std::string root = "") : root_(std::move(root)) {}

  absl::StatusOr<std::string> ReadText(const std::string& path) const override;
  std::vector<std::string> List(const std::string& directory) const override;
  std::string Name(const std::string& path) const override { return root_ + "/" + path; }

 private:
  const std::string root_;
};

}  // namespace forall

#endif  // FORALL_LATENCY_SENSOR_SYSFS_H_
