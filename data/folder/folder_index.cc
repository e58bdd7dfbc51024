// SPDX-License-Identifier: Apache-2.0
#include "data/folder/folder_index.h"

#include <zlib.h>

#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr char kMagic[8] = {'F', 'O', 'R', 'A', 'L', 'L', 'I', 'X'};
constexpr uint32_t kVersion = 1;
constexpr size_t kArrays = 4;  // labels, sizes, checksums, ends of names

struct SplitHeader {
  uint64_t images = 0;
  uint64_t name_bytes = 0;
  char checksum[64] = {};
  uint32_t crc = 0;
  uint32_t unused = 0;
};
struct Header {
  char magic[sizeof(kMagic)] = {};
  uint32_t version = 0;
  uint32_t classes = 0;
  SplitHeader splits[3];
};
static_assert(sizeof(Header) == 16 + 3 * 88, "the header has no gaps");

uint32_t Crc(absl::string_view bytes) {
  return static_cast<uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

void AppendArray(std::string* out, const std::vector<uint32_t>& values) {
  out->append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(uint32_t));
}

absl::StatusOr<std::string> SerializeSection(const IndexedSplit& split) {
  std::vector<uint32_t> labels;
  std::vector<uint32_t> sizes;
  std::vector<uint32_t> crcs;
  std::vector<uint32_t> ends;
  std::string names;
  for (const IndexedImage& image : split.images) {
    labels.push_back(image.label);
    sizes.push_back(image.size);
    crcs.push_back(image.crc);
    names += image.name;
    if (names.size() > std::numeric_limits<uint32_t>::max()) {
      return absl::ResourceExhaustedError("the names of the images of a split exceed 4 GiB");
    }
    ends.push_back(static_cast<uint32_t>(names.size()));
  }
  std::string section;
  for (const auto* values : {&labels, &sizes, &crcs, &ends}) AppendArray(&section, *values);
  section += names;
  section.resize((section.size() + 3) / 4 * 4, '\0');
  return section;
}

}  // namespace

absl::StatusOr<std::string> SerializeFolderIndex(int classes,
                                                 const std::array<IndexedSplit, 3>& splits) {
  Header header;
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kVersion;
  header.classes = static_cast<uint32_t>(classes);
  std::string sections;
  for (size_t s = 0; s < splits.size(); ++s) {
    FORALL_ASSIGN_OR_RETURN(const std::string section, SerializeSection(splits[s]));
    SplitHeader& split = header.splits[s];
    split.images = splits[s].images.size();
    for (const IndexedImage& image : splits[s].images) split.name_bytes += image.name.size();
    if (splits[s].checksum.size() != sizeof(split.checksum)) {
      return absl::InternalError("a split's checksum has not 64 digits");
    }
    std::memcpy(split.checksum, splits[s].checksum.data(), sizeof(split.checksum));
    split.crc = Crc(section);
    sections += section;
  }
  return std::string(reinterpret_cast<const char*>(&header), sizeof(header)) + sections;
}

absl::StatusOr<std::unique_ptr<FolderIndex>> FolderIndex::Open(const std::string& path, Split split,
                                                               int classes) {
  std::unique_ptr<FolderIndex> index(new FolderIndex);
  FORALL_ASSIGN_OR_RETURN(index->mapped_, MappedFile::Open(path));
  if (absl::Status status = index->Read(split, classes); !status.ok()) {
    return absl::DataLossError(absl::StrCat(path, " is not a usable index (", status.message(),
                                            "): run forall dataset add again"));
  }
  return index;
}

absl::Status FolderIndex::Read(Split split, int classes) {
  const absl::string_view bytes = mapped_->bytes();
  Header header;
  if (bytes.size() < sizeof(header)) return absl::DataLossError("it has no header");
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (std::memcmp(header.magic, kMagic, sizeof(kMagic)) != 0 || header.version != kVersion) {
    return absl::DataLossError("it is of another kind or version");
  }
  if (header.classes != static_cast<uint32_t>(classes)) {
    return absl::DataLossError("it has another number of classes");
  }
  uint64_t offset = sizeof(header);
  absl::string_view section;
  for (size_t s = 0; s < 3; ++s) {
    const SplitHeader& part = header.splits[s];
    const uint64_t left = bytes.size() - offset;
    if (part.images > left / (kArrays * sizeof(uint32_t)) || part.name_bytes > left) {
      return absl::DataLossError("it is cut short");
    }
    const uint64_t size = part.images * kArrays * sizeof(uint32_t) + (part.name_bytes + 3) / 4 * 4;
    if (size > left) return absl::DataLossError("it is cut short");
    if (s == static_cast<size_t>(split)) section = bytes.substr(offset, size);
    offset += size;
  }
  if (offset != bytes.size()) return absl::DataLossError("it has bytes after its end");
  const SplitHeader& own = header.splits[static_cast<size_t>(split)];
  if (Crc(section) != own.crc) {
    return absl::DataLossError(absl::StrCat("its ", SplitName(split), " split is damaged"));
  }
  checksum_ = std::string(own.checksum, sizeof(own.checksum));
  const size_t images = own.images;
  // A map begins at a page, and header and sections are whole words.
  const auto* words = reinterpret_cast<const uint32_t*>(section.data());
  labels_ = {words, images};
  sizes_ = {words + images, images};
  crcs_ = {words + 2 * images, images};
  name_ends_ = {words + 3 * images, images};
  names_ = section.substr(kArrays * sizeof(uint32_t) * images, own.name_bytes);
  uint32_t end = 0;
  for (size_t i = 0; i < images; ++i) {
    if (labels_[i] >= header.classes || name_ends_[i] < end || name_ends_[i] > names_.size()) {
      return absl::DataLossError("a label or name is out of range");
    }
    end = name_ends_[i];
  }
  return absl::OkStatus();
}

absl::string_view FolderIndex::name(int64_t image) const {
  const auto i = static_cast<size_t>(image);
  const uint32_t begin = i == 0 ? 0 : name_ends_[i - 1];
  return names_.substr(begin, name_ends_[i] - begin);
}

}  // namespace forall
