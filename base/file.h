// SPDX-License-Identifier: Apache-2.0
// Whole-file reading and crash-safe writing.
#ifndef FORALL_BASE_FILE_H_
#define FORALL_BASE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace forall {

// The whole file. NotFound when it does not exist, ResourceExhausted above `max_bytes`,
// PermissionDenied or Unavailable otherwise; every message names the path.
absl::StatusOr<std::string> ReadFile(const std::string& path,
                                     uint64_t max_bytes = uint64_t{1} << 32);

// Writes to a temporary file beside `path`, syncs, renames: readers see the old file or the new,
// never half of one. ResourceExhausted when the disk is full; InvalidArgument when `path` is there
// and no regular file: a rename would put one in place of a device or a pipe.
// The file has `mode`, and its owner (GiveToOwnerOf), from the moment it has its name.
absl::Status WriteFileAtomically(const std::string& path, absl::string_view content,
                                 int mode = 0644, const std::string& owner_of = "");

// Gives what root has made to the owner and the group of the file or folder `owner_of`, so that a
// program of theirs can go on using it. Nothing to do for "", or for anybody but root. Only for
// files that the caller has created: whose others are is nobody's to change.
absl::Status GiveToOwnerOf(const std::string& owner_of, int fd, const std::string& path);

// Puts the directory `from` in the place of `to`, in one step where the file system can exchange
// two names (Linux's do), and removes what was there. Unavailable, or as WriteFileAtomically.
absl::Status ReplaceDirectory(const std::string& from, const std::string& to);

// Creates `path` and its parents.
absl::Status CreateDirectories(const std::string& path);

// A read-only memory map. Thread-safe (immutable).
class MappedFile {
 public:
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  absl::string_view bytes() const { return {data_, size_}; }

 private:
  MappedFile(const char* data, size_t size) : data_(data), size_(size) {}
  const char* data_;
  size_t size_;
};

}  // namespace forall

#endif  // FORALL_BASE_FILE_H_
