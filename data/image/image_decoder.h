// SPDX-License-Identifier: Apache-2.0
// JPEG (libjpeg-turbo) and PNG (libpng) files to RGB bytes, as PIL's Image.open(f).convert("RGB")
// gives them: slow-but-exact integer DCT, fancy upsampling, CMYK and YCCK taken as Adobe's inverted
// ones, palettes looked up, alpha and transparency dropped, 16-bit colour cut to its high byte,
// 16-bit grey clipped at 255 (so PIL), EXIF orientation and gamma not applied.
//
// The bytes decide the format, not a file's name: ImageNet has a PNG that is called .JPEG.
#ifndef FORALL_DATA_IMAGE_IMAGE_DECODER_H_
#define FORALL_DATA_IMAGE_IMAGE_DECODER_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace forall {

// Rows from the top, three bytes (red, green, blue) per pixel, without gaps. A few bytes follow the
// last pixel, so that vector code may read whole words.
struct RgbImage {
  static constexpr size_t kPadding = 16;

  RgbImage() = default;
  // What its bytes are at first is undefined.
  RgbImage(int w, int h)
      : width(w),
        height(h),
        pixels(std::make_unique_for_overwrite<uint8_t[]>(bytes() + kPadding)) {}
  size_t bytes() const { return 3 * static_cast<size_t>(width) * static_cast<size_t>(height); }
  const uint8_t* row(int y) const {
    return pixels.get() + 3 * static_cast<size_t>(width) * static_cast<size_t>(y);
  }
  uint8_t* row(int y) {
    return pixels.get() + 3 * static_cast<size_t>(width) * static_cast<size_t>(y);
  }

  int width = 0;
  int height = 0;
  std::unique_ptr<uint8_t[]> pixels;
};

struct DecodeLimits {
  // Width times height; the largest ImageNet image has 61 million. A larger image is refused when
  // its header is read, before memory is taken. Decoding takes up to 7 bytes a pixel for PNG, and
  // for progressive JPEG 9, of which what libjpeg-turbo takes ends at 512 MiB.
  int64_t max_pixels = int64_t{1} << 26;
};

// The image in `bytes`. InvalidArgument when they are neither JPEG nor PNG (naming what they look
// like) or of a kind that PIL does not read either; ResourceExhausted for more than the limit of
// pixels; DataLoss, saying what is wrong, when they are cut short or damaged. Thread-safe.
absl::StatusOr<RgbImage> DecodeImage(absl::string_view bytes, const DecodeLimits& limits = {});

}  // namespace forall

#endif  // FORALL_DATA_IMAGE_IMAGE_DECODER_H_
