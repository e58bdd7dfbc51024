// SPDX-License-Identifier: Apache-2.0
// Reading zip archives whose entries are stored, not compressed, as torch.save writes them.
// (PKWARE's APPNOTE.TXT 6.3, sections 4.3.7 to 4.3.16; zip64 sizes are read, several disks,
// encryption and compression are not.)
#ifndef FORALL_SUPERNET_IMPORTER_ZIP_ARCHIVE_H_
#define FORALL_SUPERNET_IMPORTER_ZIP_ARCHIVE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace forall {

// Views into bytes that must outlive it. Immutable; thread-safe.
class ZipArchive {
 public:
  // Bytes that begin like a zip archive's first entry.
  static bool LooksLikeZip(absl::string_view bytes);

  // DataLoss when the archive's directory is missing or cut short; InvalidArgument for an entry
  // that is compressed (a decompression bomb cannot be told from an honest one), encrypted, named
  // twice, or lies outside the file or over another entry.
  static absl::StatusOr<ZipArchive> Parse(absl::string_view bytes);

  struct Entry {
    std::string name;
    absl::string_view content;
    uint32_t crc32 = 0;
  };
  const std::vector<Entry>& entries() const { return entries_; }
  // nullptr when there is none of that name.
  const Entry* Find(absl::string_view name) const;

  // DataLoss when the content has another checksum than the archive says.
  static absl::Status CheckContent(const Entry& entry);

 private:
  std::vector<Entry> entries_;
  absl::flat_hash_map<std::string, size_t> index_;
};

}  // namespace forall

#endif  // FORALL_SUPERNET_IMPORTER_ZIP_ARCHIVE_H_
