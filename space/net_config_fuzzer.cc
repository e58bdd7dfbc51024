// SPDX-License-Identifier: Apache-2.0
// libFuzzer: whatever the text is, readers of net.config and of specs return a status.
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "space/family.h"
#include "space/net_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto family = *forall::FindFamily("fashion_mnist");
  static const auto resnet = *forall::FindFamily("ofa_resnet50");
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  forall::ParseNetConfig(text, *family, 28).status().IgnoreError();
  forall::ParseNetConfig(text, *resnet, 224).status().IgnoreError();
  family->ParseArchitecture(text).status().IgnoreError();
  resnet->ParseArchitecture(text).status().IgnoreError();
  const auto own = forall::FamilyFromSpec(text);
  if (own.ok()) (*own)->Describe((*own)->search_space().Largest()).status().IgnoreError();
  return 0;
}
