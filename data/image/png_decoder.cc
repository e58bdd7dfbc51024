// SPDX-License-Identifier: Apache-2.0
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "data/image/format_decoders.h"

namespace forall {
namespace {

// libpng reports errors by longjmp. Only the functions marked [jump] are left that way: they, and
// everything between them and the library, hold nothing that has a destructor.
class PngReader {
 public:
  explicit PngReader(absl::string_view bytes) : bytes_(bytes) {}
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  bool Open();                              // [jump]
  bool Start();                             // [jump]
  bool Read(uint8_t* rows, size_t stride);  // [jump]

  int64_t width() const { return width_; }
  int64_t height() const { return height_; }
  bool palette() const { return color_type_ == PNG_COLOR_TYPE_PALETTE; }
  bool grey16() const { return color_type_ == PNG_COLOR_TYPE_GRAY && depth_ == 16; }
  // Red, green and blue of every byte. What the file's palette leaves out is a ramp of greys: so
  // PIL.
  std::array<std::array<uint8_t, 3>, 256> Palette();

  absl::Status Error() const { return absl::DataLossError(absl::StrCat("PNG: ", message_)); }

 private:
  static void OnRead(png_structp png, png_bytep out, size_t size);
  [[noreturn]] static void OnError(png_structp png, png_const_charp message);
  static void OnWarning(png_structp, png_const_charp) {}

  const absl::string_view bytes_;
  size_t read_ = 0;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int64_t width_ = 0;
  int64_t height_ = 0;
  int color_type_ = 0;
  int depth_ = 0;
  jmp_buf jump_ = {};
  char message_[120] = {};
};

void PngReader::OnRead(png_structp png, png_bytep out, size_t size) {
  auto* const reader = static_cast<PngReader*>(png_get_io_ptr(png));
  if (size > reader->bytes_.size() - reader->read_) png_error(png, "cut short");
  std::memcpy(out, reader->bytes_.data() + reader->read_, size);
  reader->read_ += size;
}

void PngReader::OnError(png_structp png, png_const_charp message) {
  auto* const reader = static_cast<PngReader*>(png_get_error_ptr(png));
  std::snprintf(reader->message_, sizeof(reader->message_), "%s", message);
  longjmp(reader->jump_, 1);
}

bool PngReader::Open() {
  if (setjmp(jump_) != 0) return false;
  png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, OnError, OnWarning);
  if (png_ == nullptr) return false;
  info_ = png_create_info_struct(png_);
  if (info_ == nullptr) return false;
  // Texts, profiles and gamma are none of our business, nor a way to make us unpack megabytes.
  png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_set_user_limits(png_, 0x7fffffff, 0x7fffffff);
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
  png_set_crc_action(png_, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
#endif
  png_set_read_fn(png_, this, OnRead);
  png_read_info(png_, info_);
  width_ = png_get_image_width(png_, info_);
  height_ = png_get_image_height(png_, info_);
  color_type_ = png_get_color_type(png_, info_);
  depth_ = png_get_bit_depth(png_, info_);
  return true;
}

// After it rows are RGB bytes, except that palette images give indices and 16-bit grey its two
// bytes.
bool PngReader::Start() {
  if (setjmp(jump_) != 0) return false;
  if (palette()) {
    png_set_packing(png_);
  } else if (!grey16()) {
    if (color_type_ == PNG_COLOR_TYPE_GRAY && depth_ < 8) png_set_expand_gray_1_2_4_to_8(png_);
    if (depth_ == 16) png_set_strip_16(png_);
    png_set_strip_alpha(png_);
    if ((color_type_ & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png_);
  }
  png_set_interlace_handling(png_);
  png_read_update_info(png_, info_);
  return true;
}

bool PngReader::Read(uint8_t* rows, size_t stride) {
  if (setjmp(jump_) != 0) return false;
  if (png_get_rowbytes(png_, info_) != stride) png_error(png_, "rows of an unexpected size");
  const int passes = png_get_interlace_type(png_, info_) == PNG_INTERLACE_ADAM7 ? 7 : 1;
  for (int pass = 0; pass < passes; ++pass) {
    for (int64_t y = 0; y < height_; ++y) {
      png_read_row(png_, rows + static_cast<size_t>(y) * stride, nullptr);
    }
  }
  png_read_end(png_, nullptr);
  return true;
}

std::array<std::array<uint8_t, 3>, 256> PngReader::Palette() {
  std::array<std::array<uint8_t, 3>, 256> table;
  for (size_t i = 0; i < table.size(); ++i) table[i].fill(static_cast<uint8_t>(i));
  png_colorp colors = nullptr;
  int count = 0;
  png_get_PLTE(png_, info_, &colors, &count);
  for (int i = 0; i < std::min(count, 256); ++i) {
    table[static_cast<size_t>(i)] = {colors[i].red, colors[i].green, colors[i].blue};
  }
  return table;
}

// Big-endian pairs; PIL clips what is above 255.
void SpreadGrey16(const std::vector<uint8_t>& pairs, RgbImage* image) {
  for (size_t i = 0; 2 * i < pairs.size(); ++i) {
    const uint8_t value = pairs[2 * i] == 0 ? pairs[2 * i + 1] : uint8_t{255};
    std::fill_n(&image->pixels[3 * i], 3, value);
  }
}

}  // namespace

absl::StatusOr<RgbImage> DecodePng(absl::string_view bytes, const DecodeLimits& limits) {
  PngReader reader(bytes);
  if (!reader.Open()) return reader.Error();
  FORALL_RETURN_IF_ERROR(CheckSize(reader.width(), reader.height(), limits));
  if (!reader.Start()) return reader.Error();
  RgbImage image(static_cast<int>(reader.width()), static_cast<int>(reader.height()));
  const size_t width = static_cast<size_t>(reader.width());
  if (!reader.palette() && !reader.grey16()) {
    if (!reader.Read(image.pixels.get(), 3 * width)) return reader.Error();
    return image;
  }
  const size_t stride = reader.palette() ? width : 2 * width;
  std::vector<uint8_t> rows(stride * static_cast<size_t>(reader.height()));
  if (!reader.Read(rows.data(), stride)) return reader.Error();
  if (reader.grey16()) {
    SpreadGrey16(rows, &image);
    return image;
  }
  const auto palette = reader.Palette();
  for (size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(palette[rows[i]].begin(), 3, &image.pixels[3 * i]);
  }
  return image;
}

}  // namespace forall
