// SPDX-License-Identifier: Apache-2.0
// Command line of forall-controller.
#ifndef FORALL_SEARCH_SERVICE_CONTROLLER_FLAGS_H_
#define FORALL_SEARCH_SERVICE_CONTROLLER_FLAGS_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace forall {

struct ControllerFlags {
  std::string db;
  std::string artifacts;  // DB.artifacts when not given
  std::string listen = "127.0.0.1:7411";
  std::string port_file;
  std::string metrics_listen;  // "": metrics are not served
  std::vector<std::string> supernets;
  absl::Duration heartbeat = absl::Seconds(5);
  std::map<std::string, double> tenant_weights;
  int max_workers = 20'000;
  absl::Duration keep_raw_samples = absl::InfiniteDuration();
  std::string tls_certificate;
  std::string tls_key;
  std::string tls_client_authorities;
  bool help = false;
  bool version = false;
};

// `arguments` without the program's name; "--flag value" and "--flag=value" are both understood.
// InvalidArgument naming the flag.
absl::StatusOr<ControllerFlags> ParseControllerFlags(const std::vector<std::string>& arguments);

// The value of --keep-raw-samples, here and in `forall-controller compact`.
absl::StatusOr<absl::Duration> ParseKeepRawSamples(const std::string& text);

std::string ControllerHelp();

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_CONTROLLER_FLAGS_H_
