// SPDX-License-Identifier: Apache-2.0
// In place of the decoders where a trainer is built without libjpeg and libpng.
#include "data/image/format_decoders.h"

namespace forall {
namespace {

absl::Status Absent() {
  return absl::UnimplementedError("this program was built without libjpeg and libpng");
}

}  // namespace

absl::StatusOr<RgbImage> DecodeJpeg(absl::string_view, const DecodeLimits&) { return Absent(); }
absl::StatusOr<RgbImage> DecodePng(absl::string_view, const DecodeLimits&) { return Absent(); }

}  // namespace forall
