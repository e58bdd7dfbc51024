// SPDX-License-Identifier: Apache-2.0
// The OFA-ProxylessNAS family (Cai et al., "ProxylessNAS", ICLR 2019; the supernet is that of
// "Once-for-All", ICLR 2020): blocks, dimensions and rules are those of space/inverted_residual.h,
// without squeeze-excite; the last stage is one block; the head is feature mix -> BatchNorm ->
// activation -> mean -> linear.
#ifndef FORALL_SPACE_PROXYLESS_NAS_H_
#define FORALL_SPACE_PROXYLESS_NAS_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "space/family.h"
#include "space/inverted_residual.h"
#include "space/network.h"

namespace forall {

struct ProxylessNasConfig : InvertedResidualConfig {
  int32_t head_feature_width = 1664;
  Activation head_activation = Activation::kRelu6;
};

// InvalidArgument naming the field for options that make no network.
absl::StatusOr<std::shared_ptr<const Family>> CreateProxylessNas(ProxylessNasConfig config);

// The JSON spec, see docs/search-spaces.md.
absl::StatusOr<ProxylessNasConfig> ParseProxylessNasSpec(absl::string_view json);

}  // namespace forall

#endif  // FORALL_SPACE_PROXYLESS_NAS_H_
