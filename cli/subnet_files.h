// SPDX-License-Identifier: Apache-2.0
// The files that a subnet leaves as.
#ifndef FORALL_CLI_SUBNET_FILES_H_
#define FORALL_CLI_SUBNET_FILES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "cli/subnet_source.h"

namespace forall {

enum class SubnetFormat { kOnnx, kOnnxHalf, kNetConfig, kSafetensors, kCardMarkdown, kCardJson };

// "onnx", "onnx-fp16", "net.config", "safetensors", "card.md", "card.json", with the name that the
// file has in a bundle. In the order of the enum.
struct SubnetFormatInfo {
  SubnetFormat format;
  const char* name;
  const char* file;
};
const std::vector<SubnetFormatInfo>& SubnetFormats();

// By `name`, or when it is "" by how `path` ends: .onnx, .config, .safetensors, .md, .json.
// InvalidArgument lists the names.
absl::StatusOr<SubnetFormat> SubnetFormatOf(absl::string_view name, absl::string_view path);

// The file's bytes. `client` is asked for the supernet where the weights need it.
absl::StatusOr<std::string> SubnetFile(SubnetFormat format, FoundSubnet* subnet, Client* client);

}  // namespace forall

#endif  // FORALL_CLI_SUBNET_FILES_H_
