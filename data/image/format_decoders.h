// SPDX-License-Identifier: Apache-2.0
// One decoder per file format, behind image_decoder.h.
#ifndef FORALL_DATA_IMAGE_FORMAT_DECODERS_H_
#define FORALL_DATA_IMAGE_FORMAT_DECODERS_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "data/image/image_decoder.h"

namespace forall {

absl::StatusOr<RgbImage> DecodeJpeg(absl::string_view bytes, const DecodeLimits& limits);
absl::StatusOr<RgbImage> DecodePng(absl::string_view bytes, const DecodeLimits& limits);

// ResourceExhausted unless an image of that size may be decoded.
absl::Status CheckSize(int64_t width, int64_t height, const DecodeLimits& limits);

}  // namespace forall

#endif  // FORALL_DATA_IMAGE_FORMAT_DECODERS_H_
