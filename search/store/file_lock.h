// SPDX-License-Identifier: Apache-2.0
// One process at a time: an advisory lock on a file, which the kernel releases when its holder
// ends, however it ends.
#ifndef FORALL_SEARCH_STORE_FILE_LOCK_H_
#define FORALL_SEARCH_STORE_FILE_LOCK_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace forall {

// Thread-compatible. Releases in its destructor; the file stays, since deleting it would let two
// holders lock two files of one name.
class FileLock {
 public:
  // Creates `path` when it does not exist, as root for the owner of `owner_of` (GiveToOwnerOf).
  // FailedPrecondition when somebody holds it, with the holder's process id; PermissionDenied or
  // another code when the file cannot be opened.
  static absl::StatusOr<std::unique_ptr<FileLock>> Acquire(const std::string& path,
                                                           const std::string& owner_of = "");
  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  const int fd_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_STORE_FILE_LOCK_H_
