// SPDX-License-Identifier: Apache-2.0
#include "data/published_images.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/byte_order.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace forall {
namespace {

// Larger than any published set of small images; what a .gz unfolds to is bounded by it too.
constexpr uint64_t kMaxFile = uint64_t{2} << 30;
constexpr uint32_t kIdxImages = 0x803;  // unsigned bytes, three dimensions
constexpr uint32_t kIdxLabels = 0x801;
constexpr size_t kIdxImageHeader = 16;
constexpr size_t kIdxLabelHeader = 8;
constexpr int kCifarSide = 32;
constexpr size_t kCifarPixels = size_t{3} * kCifarSide * kCifarSide;
constexpr uint32_t kMaxSide = 1024;

uint32_t BigEndian(absl::string_view bytes, size_t offset) {
  return static_cast<uint32_t>(BigEndianInteger(bytes.substr(offset, 4)));
}

absl::StatusOr<std::string> Unzip(absl::string_view packed, const std::string& path) {
  z_stream stream = {};
  constexpr int kGzip = 16 + MAX_WBITS;
  if (inflateInit2(&stream, kGzip) != Z_OK) return absl::ResourceExhaustedError("zlib: no memory");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string bytes;
  char buffer[1 << 16];
  int result = Z_OK;
  while (result == Z_OK && bytes.size() <= kMaxFile) {
    stream.next_out = reinterpret_cast<Bytef*>(buffer);
    stream.avail_out = sizeof(buffer);
    result = inflate(&stream, Z_NO_FLUSH);
    bytes.append(buffer, sizeof(buffer) - stream.avail_out);
  }
  inflateEnd(&stream);
  if (bytes.size() > kMaxFile) {
    return absl::ResourceExhaustedError(absl::StrCat(path, " unfolds to more than 2 GiB"));
  }
  if (result != Z_STREAM_END) {
    return absl::DataLossError(absl::StrCat(path, " is cut short or damaged"));
  }
  return bytes;
}

// `name` or `name`.gz of the folder.
absl::StatusOr<std::string> ReadPlainOrZipped(const std::string& directory,
                                              const std::string& name) {
  const std::string path = absl::StrCat(directory, "/", name);
  absl::StatusOr<std::string> plain = ReadFile(path, kMaxFile);
  if (!absl::IsNotFound(plain.status())) return plain;
  const absl::StatusOr<std::string> zipped = ReadFile(path + ".gz", kMaxFile);
  if (absl::IsNotFound(zipped.status())) {
    return absl::NotFoundError(absl::StrCat("neither ", path, " nor ", name, ".gz is there"));
  }
  FORALL_RETURN_IF_ERROR(zipped.status());
  return Unzip(*zipped, path + ".gz");
}

absl::StatusOr<PublishedPart> ReadIdxPart(const std::string& directory, const std::string& prefix,
                                          ImageFormat* format) {
  const std::string images_name = prefix + "-images-idx3-ubyte";
  FORALL_ASSIGN_OR_RETURN(const std::string images, ReadPlainOrZipped(directory, images_name));
  FORALL_ASSIGN_OR_RETURN(const std::string labels,
                          ReadPlainOrZipped(directory, prefix + "-labels-idx1-ubyte"));
  absl::StatusOr<PublishedPart> part = ParseIdx(images, labels, format);
  if (!part.ok()) return WithContext(part.status(), absl::StrCat(directory, "/", prefix, "-*"));
  return part;
}

// One name a line.
absl::StatusOr<std::vector<std::string>> ReadClassNames(const std::string& path, size_t count) {
  FORALL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 1 << 20));
  std::vector<std::string> names;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const absl::string_view name = absl::StripAsciiWhitespace(line);
    if (!name.empty()) names.emplace_back(name);
  }
  if (names.size() == count) return names;
  return absl::DataLossError(
      absl::StrCat(path, " has ", names.size(), " names, and there are ", count, " classes"));
}

absl::Status AppendCifar(const std::string& path, int label_bytes, int classes,
                         PublishedPart* part) {
  FORALL_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kMaxFile));
  const absl::StatusOr<PublishedPart> read = ParseCifar(bytes, label_bytes, classes);
  if (!read.ok()) return WithContext(read.status(), path);
  part->labels += read->labels;
  part->pixels += read->pixels;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PublishedPart> ParseIdx(absl::string_view images, absl::string_view labels,
                                       ImageFormat* format) {
  if (images.size() < kIdxImageHeader || BigEndian(images, 0) != kIdxImages) {
    return absl::DataLossError("the images are no IDX file of bytes in three dimensions");
  }
  if (labels.size() < kIdxLabelHeader || BigEndian(labels, 0) != kIdxLabels) {
    return absl::DataLossError("the labels are no IDX file of bytes in one dimension");
  }
  const uint64_t count = BigEndian(images, 4);
  const uint32_t height = BigEndian(images, 8);
  const uint32_t width = BigEndian(images, 12);
  if (height != width || height < 1 || height > kMaxSide) {
    return absl::InvalidArgumentError(absl::StrCat("images of ", height, " x ", width,
                                                   " pixels; square ones of at most ", kMaxSide,
                                                   " are read"));
  }
  if (BigEndian(labels, 4) != count) {
    return absl::DataLossError(
        absl::StrCat(count, " images and ", BigEndian(labels, 4), " labels"));
  }
  if (images.size() - kIdxImageHeader != count * height * width ||
      labels.size() - kIdxLabelHeader != count) {
    return absl::DataLossError("a file has another length than its header says");
  }
  PublishedPart part;
  part.labels = std::string(labels.substr(kIdxLabelHeader));
  part.pixels = std::string(images.substr(kIdxImageHeader));
  format->channels = 1;
  format->height = static_cast<int>(height);
  format->width = static_cast<int>(width);
  return part;
}

absl::StatusOr<PublishedPart> ParseCifar(absl::string_view bytes, int label_bytes, int classes) {
  const size_t record = static_cast<size_t>(label_bytes) + kCifarPixels;
  if (bytes.empty() || bytes.size() % record != 0) {
    return absl::DataLossError(
        absl::StrCat(bytes.size(), " bytes are no whole number of records of ", record));
  }
  PublishedPart part;
  for (size_t offset = 0; offset < bytes.size(); offset += record) {
    const char label = bytes[offset + static_cast<size_t>(label_bytes) - 1];
    if (static_cast<unsigned char>(label) >= classes) {
      return absl::DataLossError(absl::StrCat("record ", offset / record, " has label ",
                                              int{static_cast<unsigned char>(label)},
                                              ", and there are ", classes, " classes"));
    }
    part.labels.push_back(label);
    part.pixels.append(bytes.data() + offset + static_cast<size_t>(label_bytes), kCifarPixels);
  }
  return part;
}

absl::StatusOr<PublishedImages> ReadIdxFolder(const std::string& directory) {
  PublishedImages images;
  ImageFormat test_format;
  FORALL_ASSIGN_OR_RETURN(images.train, ReadIdxPart(directory, "train", &images.format));
  FORALL_ASSIGN_OR_RETURN(images.test, ReadIdxPart(directory, "t10k", &test_format));
  if (test_format.height != images.format.height) {
    return absl::InvalidArgumentError("training and test images have different sizes");
  }
  int classes = 0;
  for (const std::string* labels : {&images.train.labels, &images.test.labels}) {
    for (const char label : *labels) {
      classes = std::max(classes, static_cast<unsigned char>(label) + 1);
    }
  }
  images.format.classes = classes;
  for (int c = 0; c < classes; ++c) images.class_names.push_back(absl::StrCat(c));
  return images;
}

absl::StatusOr<PublishedImages> ReadCifar10Folder(const std::string& directory) {
  PublishedImages images;
  images.format = {10, 3, kCifarSide, kCifarSide};
  FORALL_ASSIGN_OR_RETURN(images.class_names, ReadClassNames(directory + "/batches.meta.txt", 10));
  for (int batch = 1; batch <= 5; ++batch) {
    FORALL_RETURN_IF_ERROR(
        AppendCifar(absl::StrCat(directory, "/data_batch_", batch, ".bin"), 1, 10, &images.train));
  }
  FORALL_RETURN_IF_ERROR(AppendCifar(directory + "/test_batch.bin", 1, 10, &images.test));
  return images;
}

absl::StatusOr<PublishedImages> ReadCifar100Folder(const std::string& directory) {
  PublishedImages images;
  images.format = {100, 3, kCifarSide, kCifarSide};
  FORALL_ASSIGN_OR_RETURN(images.class_names,
                          ReadClassNames(directory + "/fine_label_names.txt", 100));
  FORALL_RETURN_IF_ERROR(AppendCifar(directory + "/train.bin", 2, 100, &images.train));
  FORALL_RETURN_IF_ERROR(AppendCifar(directory + "/test.bin", 2, 100, &images.test));
  return images;
}

}  // namespace forall
