// SPDX-License-Identifier: Apache-2.0
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

// Needs cstddef and cstdio before it.
#include <jpeglib.h>
// Needs jpeglib.h before it.
#include <jerror.h>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "data/image/format_decoders.h"

namespace forall {
namespace {

constexpr long kMaxLibraryBytes = 512l << 20;
// A progressive file of a few kilobytes may hold thousands of passes over a huge image.
constexpr int kMaxScans = 500;

// libjpeg reports errors by longjmp. Only the functions marked [jump] are left that way: they, and
// everything between them and the library, hold nothing that has a destructor.
struct JpegState {
  jpeg_decompress_struct info;
  jpeg_error_mgr errors;
  jpeg_progress_mgr progress;
  jmp_buf jump;
  bool too_many_scans;
  char message[JMSG_LENGTH_MAX];
};

JpegState* StateOf(j_common_ptr info) { return static_cast<JpegState*>(info->client_data); }

[[noreturn]] void OnError(j_common_ptr info) {
  JpegState* const state = StateOf(info);
  if (state->message[0] == '\0') info->err->format_message(info, state->message);
  longjmp(state->jump, 1);
}

// Warnings that mean wrong pixels. libjpeg goes on after them, with grey where data lack; a dataset
// must not.
bool MeansDamage(int code) {
  switch (code) {
    case JWRN_JPEG_EOF:
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
    case JWRN_BOGUS_PROGRESSION:
      return true;
    default:
      return false;
  }
}

void OnMessage(j_common_ptr info, int level) {
  if (level >= 0 || !MeansDamage(info->err->msg_code)) return;
  if (info->err->msg_code == JWRN_JPEG_EOF) {
    std::snprintf(StateOf(info)->message, JMSG_LENGTH_MAX, "cut short");
  }
  OnError(info);
}

void OnProgress(j_common_ptr info) {
  if (!info->is_decompressor) return;
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMaxScans) return;
  std::snprintf(StateOf(info)->message, JMSG_LENGTH_MAX, "more than %d scans", kMaxScans);
  OnError(info);
}

class JpegReader {
 public:
  explicit JpegReader(absl::string_view bytes) : bytes_(bytes) {}
  ~JpegReader() {
    if (created_) jpeg_destroy_decompress(&state_.info);
  }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  bool Open();                                // [jump]
  bool Read(uint8_t* pixels, uint8_t* cmyk);  // [jump]

  const jpeg_decompress_struct& info() const { return state_.info; }
  absl::Status Error() const { return absl::DataLossError(absl::StrCat("JPEG: ", state_.message)); }

 private:
  const absl::string_view bytes_;
  bool created_ = false;
  JpegState state_ = {};
};

bool JpegReader::Open() {
  state_.info.err = jpeg_std_error(&state_.errors);
  state_.info.client_data = &state_;
  state_.errors.error_exit = OnError;
  state_.errors.emit_message = OnMessage;
  state_.progress.progress_monitor = OnProgress;
  if (setjmp(state_.jump) != 0) return false;
  created_ = true;
  jpeg_create_decompress(&state_.info);
  state_.info.mem->max_memory_to_use = kMaxLibraryBytes;
  state_.info.progress = &state_.progress;
  jpeg_mem_src(&state_.info, reinterpret_cast<const unsigned char*>(bytes_.data()), bytes_.size());
  jpeg_read_header(&state_.info, TRUE);
  return true;
}

// Adobe's CMYK is stored inverted; then PIL's own rule for four inks, with its rounding.
void CmykToRgb(const uint8_t* cmyk, JDIMENSION pixels, uint8_t* rgb) {
  for (JDIMENSION i = 0; i < pixels; ++i, cmyk += 4, rgb += 3) {
    const int light = cmyk[3];
    for (int c = 0; c < 3; ++c) {
      const int product = (255 - cmyk[c]) * light + 128;
      rgb[c] = static_cast<uint8_t>(light - (((product >> 8) + product) >> 8));
    }
  }
}

bool JpegReader::Read(uint8_t* pixels, uint8_t* cmyk) {
  jpeg_decompress_struct* const info = &state_.info;
  if (setjmp(state_.jump) != 0) return false;
  info->out_color_space = cmyk != nullptr ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(info);
  const size_t stride = 3 * static_cast<size_t>(info->output_width);
  while (info->output_scanline < info->output_height) {
    uint8_t* const out = pixels + info->output_scanline * stride;
    JSAMPROW row = cmyk != nullptr ? cmyk : out;
    if (jpeg_read_scanlines(info, &row, 1) != 1) return false;
    if (cmyk != nullptr) CmykToRgb(cmyk, info->output_width, out);
  }
  jpeg_finish_decompress(info);
  return true;
}

}  // namespace

absl::StatusOr<RgbImage> DecodeJpeg(absl::string_view bytes, const DecodeLimits& limits) {
  JpegReader reader(bytes);
  if (!reader.Open()) return reader.Error();
  const jpeg_decompress_struct& info = reader.info();
  FORALL_RETURN_IF_ERROR(CheckSize(info.image_width, info.image_height, limits));
  if (info.num_components != 1 && info.num_components != 3 && info.num_components != 4) {
    return absl::InvalidArgumentError(
        absl::StrCat("JPEG: ", info.num_components, " components; 1, 3 and 4 are read"));
  }
  RgbImage image(static_cast<int>(info.image_width), static_cast<int>(info.image_height));
  std::vector<uint8_t> cmyk;
  if (info.num_components == 4) cmyk.resize(4 * static_cast<size_t>(info.image_width));
  if (!reader.Read(image.pixels.get(), cmyk.empty() ? nullptr : cmyk.data())) {
    return reader.Error();
  }
  return image;
}

}  // namespace forall
