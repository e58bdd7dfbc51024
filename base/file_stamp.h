// SPDX-License-Identifier: Apache-2.0
// Whether a file is still the one that was read.
#ifndef FORALL_BASE_FILE_STAMP_H_
#define FORALL_BASE_FILE_STAMP_H_

#include <cstdint>
#include <optional>
#include <string>

namespace forall {

// Changes whenever the file does: another one of its name, its content, its owner or mode.
struct FileStamp {
  uint64_t inode = 0;
  int64_t size = -1;
  int64_t modified_ns = 0;
  int64_t changed_ns = 0;
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

// Nothing when there is no such file, or nobody lets us look. Thread-safe.
std::optional<FileStamp> StampOf(const std::string& path);

}  // namespace forall

#endif  // FORALL_BASE_FILE_STAMP_H_
