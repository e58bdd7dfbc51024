// SPDX-License-Identifier: Apache-2.0
// Reading small files of sysfs and procfs under a root, which tests replace by a recorded tree.
#ifndef FORALL_LATENCY_SENSOR_SYSFS_H_
#define FORALL_LATENCY_SENSOR_SYSFS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace forall {

// Thread-safe (immutable).
class Sysfs {
 public:
  // `root` holds proc/ and sys/; "" is the machine itself.
  explicit Sysfs(std::string root = "") : root_(std::move(root)) {}

  // A file's text without the white space and NUL at its end. Errors as ReadFile in base/file.h:
  // NotFound, PermissionDenied, Unavailable (the driver refuses for now).
  absl::StatusOr<std::string> ReadText(const std::string& path) const;
  // A file that holds one decimal integer and nothing else. Also Unavailable when it holds anything
  // else, which the message quotes.
  absl::StatusOr<int64_t> ReadInteger(const std::string& path) const;
  // Names in a directory, sorted; none when it is not there or not readable.
  std::vector<std::string> List(const std::string& directory) const;

  const std::string& root() const { return root_; }

 private:
  const std::string root_;
};

}  // namespace forall

#endif  // FORALL_LATENCY_SENSOR_SYSFS_H_
