// SPDX-License-Identifier: Apache-2.0
#include "supernet/importer/zip_archive.h"

#include <zlib.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/byte_order.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr absl::string_view kLocalSignature("PK\x03\x04", 4);
constexpr absl::string_view kDirectorySignature("PK\x01\x02", 4);
constexpr absl::string_view kEndSignature("PK\x05\x06", 4);
constexpr absl::string_view kEnd64Signature("PK\x06\x06", 4);
constexpr absl::string_view kEnd64LocatorSignature("PK\x06\x07", 4);
constexpr size_t kLocalSize = 30;
constexpr size_t kDirectorySize = 46;
constexpr size_t kEndSize = 22;
constexpr size_t kEnd64Size = 56;
constexpr size_t kEnd64LocatorSize = 20;
constexpr size_t kMaxComment = 65535;
constexpr uint64_t kMaxEntries = 1000000;
constexpr uint64_t kIn64 = 0xffffffff;  // the real value stands in the zip64 field
constexpr uint16_t kZip64Extra = 1;

// `bytes` must hold offset + size.
uint64_t Number(absl::string_view bytes, size_t offset, size_t size) {
  return LittleEndianInteger(bytes.substr(offset, size));
}

absl::Status CutShort() {
  return absl::DataLossError("the zip archive is cut short or damaged: its directory is not there");
}

absl::Status Malformed(absl::string_view name, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("zip entry '", absl::CHexEscape(name.substr(0, 200)), "': ", what));
}

struct Directory {
  uint64_t entries = 0;
  uint64_t offset = 0;
  uint64_t size = 0;
};

absl::StatusOr<Directory> FindDirectory(absl::string_view bytes) {
  if (bytes.size() < kEndSize) return CutShort();
  const size_t earliest =
      bytes.size() > kEndSize + kMaxComment ? bytes.size() - kEndSize - kMaxComment : 0;
  std::optional<size_t> end;
  for (size_t at = bytes.size() - kEndSize + 1; at-- > earliest;) {
    if (bytes.substr(at, 4) == kEndSignature &&
        at + kEndSize + Number(bytes, at + 20, 2) == bytes.size()) {
      end = at;
      break;
    }
  }
  if (!end.has_value()) return CutShort();
  if (Number(bytes, *end + 4, 2) != 0 && Number(bytes, *end + 4, 2) != 0xffff) {
    return absl::InvalidArgumentError("zip archives of several disks are not read");
  }
  Directory directory{Number(bytes, *end + 10, 2), Number(bytes, *end + 16, 4),
                      Number(bytes, *end + 12, 4)};
  const bool zip64 =
      directory.entries == 0xffff || directory.offset == kIn64 || directory.size == kIn64;
  if (zip64) {
    if (*end < kEnd64LocatorSize) return CutShort();
    const size_t locator = *end - kEnd64LocatorSize;
    if (bytes.substr(locator, 4) != kEnd64LocatorSignature) return CutShort();
    const uint64_t at = Number(bytes, locator + 8, 8);
    if (bytes.size() < kEnd64Size || at > bytes.size() - kEnd64Size ||
        bytes.substr(static_cast<size_t>(at), 4) != kEnd64Signature) {
      return CutShort();
    }
    const size_t record = static_cast<size_t>(at);
    directory = {Number(bytes, record + 32, 8), Number(bytes, record + 48, 8),
                 Number(bytes, record + 40, 8)};
  }
  if (directory.offset > bytes.size() || directory.size > bytes.size() - directory.offset) {
    return CutShort();
  }
  if (directory.entries > kMaxEntries || directory.entries > directory.size / kDirectorySize) {
    return absl::InvalidArgumentError("the zip archive claims more entries than it can hold");
  }
  return directory;
}

// One record of the directory.
struct Record {
  absl::string_view name;
  uint64_t flags = 0;
  uint64_t method = 0;
  uint64_t crc32 = 0;
  uint64_t packed_size = 0;
  uint64_t size = 0;
  uint64_t offset = 0;
};

// Replaces sizes and offset that did not fit into 32 bits by those of the zip64 field.
absl::Status ReadZip64(absl::string_view extra, Record* record) {
  while (extra.size() >= 4) {
    const uint64_t tag = Number(extra, 0, 2);
    const size_t size = static_cast<size_t>(Number(extra, 2, 2));
    if (size > extra.size() - 4) return Malformed(record->name, "has a malformed extra field");
    absl::string_view field = extra.substr(4, size);
    extra.remove_prefix(4 + size);
    if (tag != kZip64Extra) continue;
    for (uint64_t* value : {&record->size, &record->packed_size, &record->offset}) {
      if (*value != kIn64) continue;
      if (field.size() < 8) return Malformed(record->name, "has a short zip64 field");
      *value = Number(field, 0, 8);
      field.remove_prefix(8);
    }
  }
  return absl::OkStatus();
}

// Reads the record at the start of `rest` and steps over it.
absl::StatusOr<Record> NextRecord(absl::string_view* rest) {
  if (rest->size() < kDirectorySize || rest->substr(0, 4) != kDirectorySignature) return CutShort();
  Record record;
  record.flags = Number(*rest, 8, 2);
  record.method = Number(*rest, 10, 2);
  record.crc32 = Number(*rest, 16, 4);
  record.packed_size = Number(*rest, 20, 4);
  record.size = Number(*rest, 24, 4);
  const size_t name = static_cast<size_t>(Number(*rest, 28, 2));
  const size_t extra = static_cast<size_t>(Number(*rest, 30, 2));
  const size_t comment = static_cast<size_t>(Number(*rest, 32, 2));
  record.offset = Number(*rest, 42, 4);
  if (rest->size() - kDirectorySize < name + extra + comment) return CutShort();
  record.name = rest->substr(kDirectorySize, name);
  FORALL_RETURN_IF_ERROR(ReadZip64(rest->substr(kDirectorySize + name, extra), &record));
  rest->remove_prefix(kDirectorySize + name + extra + comment);
  return record;
}

absl::StatusOr<absl::string_view> Content(absl::string_view bytes, const Record& record) {
  if ((record.flags & 1) != 0) return Malformed(record.name, "is encrypted");
  if (record.method != 0) {
    return Malformed(
        record.name,
        "is compressed; torch.save stores entries as they are, and a compressed one is "
        "not opened");
  }
  if (record.packed_size != record.size) return Malformed(record.name, "has two different sizes");
  if (bytes.size() < kLocalSize || record.offset > bytes.size() - kLocalSize ||
      bytes.substr(static_cast<size_t>(record.offset), 4) != kLocalSignature) {
    return Malformed(record.name, "does not lie inside the file");
  }
  const size_t local = static_cast<size_t>(record.offset);
  const uint64_t begin =
      record.offset + kLocalSize + Number(bytes, local + 26, 2) + Number(bytes, local + 28, 2);
  if (begin > bytes.size() || record.size > bytes.size() - begin) {
    return Malformed(record.name, "does not lie inside the file");
  }
  return bytes.substr(static_cast<size_t>(begin), static_cast<size_t>(record.size));
}

absl::Status CheckOverlaps(const std::vector<ZipArchive::Entry>& entries) {
  std::vector<const ZipArchive::Entry*> sorted;
  for (const ZipArchive::Entry& entry : entries) {
    if (!entry.content.empty()) sorted.push_back(&entry);
  }
  std::sort(sorted.begin(), sorted.end(),
            [](const auto* a, const auto* b) { return a->content.data() < b->content.data(); });
  for (size_t i = 1; i < sorted.size(); ++i) {
    const absl::string_view before = sorted[i - 1]->content;
    if (before.data() + before.size() > sorted[i]->content.data()) {
      return Malformed(
          sorted[i]->name,
          absl::StrCat("overlaps '", absl::CHexEscape(sorted[i - 1]->name.substr(0, 200)), "'"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

bool ZipArchive::LooksLikeZip(absl::string_view bytes) {
  return absl::StartsWith(bytes, kLocalSignature);
}

absl::StatusOr<ZipArchive> ZipArchive::Parse(absl::string_view bytes) {
  FORALL_ASSIGN_OR_RETURN(const Directory directory, FindDirectory(bytes));
  absl::string_view rest =
      bytes.substr(static_cast<size_t>(directory.offset), static_cast<size_t>(directory.size));
  ZipArchive archive;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    FORALL_ASSIGN_OR_RETURN(const Record record, NextRecord(&rest));
    Entry entry;
    entry.name = std::string(record.name);
    entry.crc32 = static_cast<uint32_t>(record.crc32);
    FORALL_ASSIGN_OR_RETURN(entry.content, Content(bytes, record));
    if (!archive.index_.emplace(entry.name, archive.entries_.size()).second) {
      return Malformed(record.name, "is there twice");
    }
    archive.entries_.push_back(std::move(entry));
  }
  FORALL_RETURN_IF_ERROR(CheckOverlaps(archive.entries_));
  return archive;
}

const ZipArchive::Entry* ZipArchive::Find(absl::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &entries_[it->second];
}

absl::Status ZipArchive::CheckContent(const Entry& entry) {
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
  return absl::OkStatus();  // A fuzzer would not get past a checksum.
#endif
  const auto* data = reinterpret_cast<const Bytef*>(entry.content.data());
  const uLong crc = crc32_z(crc32_z(0, Z_NULL, 0), data, entry.content.size());
  if (crc != entry.crc32) {
    return absl::DataLossError(absl::StrCat("zip entry '",
                                            absl::CHexEscape(entry.name.substr(0, 200)),
                                            "' has another checksum than the archive says: the "
                                            "file is damaged"));
  }
  return absl::OkStatus();
}

}  // namespace forall
