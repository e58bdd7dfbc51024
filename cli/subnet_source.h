// SPDX-License-Identifier: Apache-2.0
// What `forall export` takes home, found or built: a trial of a controller, a subnet by its key, or
// an architecture with a supernet or with weights of its own.
#ifndef FORALL_CLI_SUBNET_SOURCE_H_
#define FORALL_CLI_SUBNET_SOURCE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "cli/client.h"
#include "proto/forall/v1/search_service.pb.h"
#include "space/family.h"
#include "space/network.h"
#include "space/search_space.h"
#include "supernet/package.h"
#include "supernet/subnet_weights.h"

namespace forall {

struct SubnetRequest {
  // A job (its knee), a trial, an arch_key, or a file: the architecture as JSON in either notation
  // of docs/search-spaces.md, or a net.config.
  std::string subject;
  int32_t resolution = 0;  // of a net.config, which does not say it
  // For a file: a package's directory, a weights file, or a supernet that the controller holds ...
  std::string supernet;
  std::string dataset;  // what it calibrates on; "" is what it was trained on
  std::string data;     // the folder that holds it
  // As of a job that says nothing else: the same architecture then becomes the same file.
  int64_t calibration_images = 1000;
  uint64_t calibration_seed = 0;
  // ... or weights of the network's own, in a file that ImportTensors reads, and the space it is
  // of.
  std::string weights;
  std::string family;
};

struct FoundSubnet {
  std::shared_ptr<const Family> family;
  Architecture architecture;
  Network network;
  std::string onnx;  // the file
  std::string sha256;
  std::string recipe;  // "fp32" or "fp16"

  std::string supernet_name;  // as the user or the controller calls it; "" when there is none
  std::string supernet_sha256;
  std::string dataset;
  // "" and 0 when nothing was calibrated.
  std::string calibration_id;
  int64_t calibration_images = 0;
  uint64_t calibration_seed = 0;

  // Where it was measured; nullopt when it was built here.
  std::optional<v1::Trial> trial;
  v1::SearchJob job;
  std::optional<v1::FrontierMember> member;  // of the job's frontier

  std::shared_ptr<const Supernet>
      supernet;                          // nullptr until CalibratedWeights needs the controller's
  std::optional<SubnetWeights> weights;  // of a network with weights of its own
};

// The architecture in `file`, in either notation or as a net.config, which needs the resolution (0:
// not given). InvalidArgument names the file and the field.
absl::StatusOr<Architecture> ReadArchitecture(const std::string& file, const Family& family,
                                              int32_t resolution);

// Whether the request is answered by files of this machine alone.
bool IsLocal(const SubnetRequest& request);

// InvalidArgument naming the option that is missing or the field of the file that is wrong;
// otherwise the controller's errors, and those of ExportSubnet.
absl::StatusOr<FoundSubnet> FindSubnet(const SubnetRequest& request, Client* client);

// Weights with BatchNorm unfolded, as calibrated. Downloads the supernet from the controller when
// the subnet was found there. FailedPrecondition for a subnet that was exported as fp16, from which
// they cannot be had.
absl::StatusOr<SubnetWeights> CalibratedWeights(FoundSubnet* subnet, Client* client);

}  // namespace forall

#endif  // FORALL_CLI_SUBNET_SOURCE_H_
