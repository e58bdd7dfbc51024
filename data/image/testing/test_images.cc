// SPDX-License-Identifier: Apache-2.0
#include "data/image/testing/test_images.h"

#include <png.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

// Needs cstdio before it.
#include <jpeglib.h>

#include "base/file.h"
#include "base/log.h"

namespace forall::testing {

std::string ReferenceFolder() {
  const char* const root = std::getenv("FORALL_SOURCE_DIR");
  return std::string(root != nullptr ? root : ".") + "/data/image/testing/";
}

RgbImage ReadPpm(const std::string& path) {
  const auto bytes = ReadFile(path);
  FORALL_CHECK(bytes.ok()) << bytes.status().message();
  int width = 0;
  int height = 0;
  int header = 0;
  FORALL_CHECK(std::sscanf(bytes->c_str(), "P6 %d %d 255%n", &width, &height, &header) == 2)
      << path;
  RgbImage image(width, height);
  const size_t size = image.bytes();
  FORALL_CHECK(bytes->size() == static_cast<size_t>(header) + 1 + size) << path;
  std::memcpy(image.pixels.get(), bytes->data() + header + 1, size);
  return image;
}

RgbImage Scene(int width, int height) {
  RgbImage image(width, height);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        const int64_t smooth = (x * (3 + c) + y * (5 - c)) / 2;
        const int64_t edges = (x / 7 + y / (5 + c)) % 2 * 60;
        const auto place = static_cast<uint64_t>(x * 7919 + y * 104729 + c * 1299709);
        const auto noise = static_cast<int64_t>(place * 2654435761 % 4294967296 >> 27);
        image.row(static_cast<int>(y))[3 * x + c] =
            static_cast<uint8_t>((smooth + edges + noise) % 256);
      }
    }
  }
  return image;
}

std::string EncodeJpeg(const RgbImage& image, int quality) {
  jpeg_compress_struct info = {};
  jpeg_error_mgr errors = {};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, quality, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    JSAMPROW row = const_cast<JSAMPROW>(image.row(static_cast<int>(info.next_scanline)));
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string bytes(reinterpret_cast<const char*>(buffer), size);
  std::free(buffer);
  return bytes;
}

std::string EncodePng(const RgbImage& image) {
  png_image writer = {};
  writer.version = PNG_IMAGE_VERSION;
  writer.width = static_cast<png_uint_32>(image.width);
  writer.height = static_cast<png_uint_32>(image.height);
  writer.format = PNG_FORMAT_RGB;
  png_alloc_size_t size = 0;
  FORALL_CHECK(png_image_write_get_memory_size(writer, size, 0, image.row(0), 0, nullptr))
      << writer.message;
  std::string bytes(size, '\0');
  FORALL_CHECK(png_image_write_to_memory(&writer, bytes.data(), &size, 0, image.row(0), 0, nullptr))
      << writer.message;
  bytes.resize(size);
  return bytes;
}

}  // namespace forall::testing
