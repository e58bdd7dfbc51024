// SPDX-License-Identifier: Apache-2.0
#include "data/image_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/byte_order.h"
#include "base/sha256.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr absl::string_view kMagic = "FORALLDS";
constexpr uint64_t kVersion = 1;
constexpr size_t kHexDigits = 64;
constexpr size_t kHeaderBytes = 8 + 5 * 4 + 3 * (8 + kHexDigits);

void AppendInteger(std::string* out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out->push_back(static_cast<char>((value >> (8 * i)) & 0xff));
}

uint64_t TakeInteger(absl::string_view* in, int bytes) {
  const uint64_t value = LittleEndianInteger(in->substr(0, static_cast<size_t>(bytes)));
  in->remove_prefix(static_cast<size_t>(bytes));
  return value;
}

absl::Span<const uint8_t> AsBytes(absl::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

std::string SerializeImageStore(const ImageFormat& format, const ImageStoreContent& content) {
  std::string out(kMagic);
  for (const uint64_t field :
       {kVersion, static_cast<uint64_t>(format.classes), static_cast<uint64_t>(format.channels),
        static_cast<uint64_t>(format.height), static_cast<uint64_t>(format.width)}) {
    AppendInteger(&out, field, 4);
  }
  for (size_t s = 0; s < content.labels.size(); ++s) {
    AppendInteger(&out, content.labels[s].size(), 8);
    Sha256 sha;
    sha.Update(content.labels[s]);
    sha.Update(content.pixels[s]);
    out += sha.HexDigest();
  }
  for (size_t s = 0; s < content.labels.size(); ++s) {
    out += content.labels[s];
    out += content.pixels[s];
  }
  return out;
}

absl::StatusOr<std::unique_ptr<ImageStoreSplit>> ImageStoreSplit::Open(
    const std::string& path, Split split, const ImageFormat& expected) {
  std::unique_ptr<ImageStoreSplit> store(new ImageStoreSplit);
  FORALL_ASSIGN_OR_RETURN(store->mapped_, MappedFile::Open(path));
  FORALL_RETURN_IF_ERROR(store->Read(store->mapped_->bytes(), split, expected, path));
  return store;
}

absl::StatusOr<std::unique_ptr<ImageStoreSplit>> ImageStoreSplit::Parse(std::string bytes,
                                                                        Split split,
                                                                        const ImageFormat& expected,
                                                                        const std::string& source) {
  std::unique_ptr<ImageStoreSplit> store(new ImageStoreSplit);
  store->owned_ = std::move(bytes);
  FORALL_RETURN_IF_ERROR(store->Read(store->owned_, split, expected, source));
  return store;
}

absl::Status ImageStoreSplit::Read(absl::string_view bytes, Split split,
                                   const ImageFormat& expected, const std::string& source) {
  const auto damaged = [&](absl::string_view why) {
    return absl::DataLossError(absl::StrCat(source, " is not a usable image store: ", why));
  };
  if (bytes.size() < kHeaderBytes || bytes.substr(0, kMagic.size()) != kMagic) {
    return damaged("it has no header");
  }
  absl::string_view in = bytes.substr(kMagic.size());
  if (TakeInteger(&in, 4) != kVersion) return damaged("it is of another version");
  ImageFormat format;
  for (int* field : {&format.classes, &format.channels, &format.height, &format.width}) {
    *field = static_cast<int>(TakeInteger(&in, 4));
  }
  if (!(format == expected)) return damaged("its images have another shape");
  const uint64_t per_image = static_cast<uint64_t>(expected.image_bytes()) + 1;
  uint64_t offset = kHeaderBytes;
  uint64_t begin = 0;
  uint64_t images = 0;
  for (int s = 0; s < 3; ++s) {
    const uint64_t count = TakeInteger(&in, 8);
    if (count > (bytes.size() - offset) / per_image) return damaged("it is cut short");
    if (s == static_cast<int>(split)) {
      begin = offset;
      images = count;
      checksum_ = std::string(in.substr(0, kHexDigits));
    }
    in.remove_prefix(kHexDigits);
    offset += count * per_image;
  }
  if (offset != bytes.size()) return damaged("it has bytes after the last image");
  const absl::string_view content = bytes.substr(begin, images * per_image);
  if (Sha256Hex(content) != checksum_) {
    return damaged(absl::StrCat("the ", SplitName(split), " split does not have its checksum"));
  }
  labels_ = AsBytes(content.substr(0, images));
  pixels_ = AsBytes(content.substr(images));
  for (const uint8_t label : labels_) {
    if (label >= expected.classes) return damaged("a label is no class");
  }
  return absl::OkStatus();
}

}  // namespace forall
