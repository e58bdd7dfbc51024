// SPDX-License-Identifier: Apache-2.0
#include "data/image/image_decoder.h"

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "data/image/format_decoders.h"

namespace forall {
namespace {

using absl::string_view;

constexpr string_view kJpegMagic = "\xff\xd8\xff";
constexpr string_view kPngMagic = "\x89PNG\r\n\x1a\n";

// What else people keep in folders of images.
string_view LooksLike(string_view bytes) {
  if (bytes.empty()) return "an empty file";
  if (absl::StartsWith(bytes, "GIF8")) return "a GIF";
  if (absl::StartsWith(bytes, "BM")) return "a BMP";
  if (absl::StartsWith(bytes, "RIFF") && absl::ClippedSubstr(bytes, 8, 4) == "WEBP")
    return "a WebP";
  if (absl::StartsWith(bytes, string_view("II*\0", 4)) ||
      absl::StartsWith(bytes, string_view("MM\0*", 4))) {
    return "a TIFF";
  }
  if (bytes.size() > 12 && bytes.substr(4, 4) == "ftyp") return "a HEIF, AVIF or video";
  if (absl::StartsWith(bytes, "<")) return "a page or drawing in XML";
  // The first bytes of a file that was cut short.
  if (absl::StartsWith(kJpegMagic, bytes) || absl::StartsWith(kPngMagic, bytes)) {
    return "a file cut short";
  }
  return "something else";
}

}  // namespace

absl::Status CheckSize(int64_t width, int64_t height, const DecodeLimits& limits) {
  if (width < 1 || height < 1) {
    return absl::DataLossError(absl::StrCat("an image of ", width, " x ", height, " pixels"));
  }
  if (width <= limits.max_pixels / height) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("the image claims ", width, " x ", height,
                                                   " pixels; at most ", limits.max_pixels,
                                                   " are read"));
}

absl::StatusOr<RgbImage> DecodeImage(absl::string_view bytes, const DecodeLimits& limits) {
  if (absl::StartsWith(bytes, kJpegMagic)) return DecodeJpeg(bytes, limits);
  if (absl::StartsWith(bytes, kPngMagic)) return DecodePng(bytes, limits);
  return absl::InvalidArgumentError(
      absl::StrCat("neither JPEG nor PNG: it looks like ", LooksLike(bytes)));
}

}  // namespace forall
