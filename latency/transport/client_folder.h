// SPDX-License-Identifier: Apache-2.0
// A private temporary folder for what a client program needs beside itself.
#ifndef FORALL_LATENCY_TRANSPORT_CLIENT_FOLDER_H_
#define FORALL_LATENCY_TRANSPORT_CLIENT_FOLDER_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"

namespace forall {

// Readable by this user only; gone with the object. Thread-safe.
class ClientFolder {
 public:
  // PermissionDenied when none can be made.
  static absl::StatusOr<std::unique_ptr<ClientFolder>> Create();
  ~ClientFolder();
  ClientFolder(const ClientFolder&) = delete;
  ClientFolder& operator=(const ClientFolder&) = delete;

  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  explicit ClientFolder(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

}  // namespace forall

#endif  // FORALL_LATENCY_TRANSPORT_CLIENT_FOLDER_H_
