// SPDX-License-Identifier: Apache-2.0
// A file system layer for SQLite whose writes and syncs fail on command: a full or broken disk.
#ifndef FORALL_SEARCH_STORE_TESTING_FAULT_VFS_H_
#define FORALL_SEARCH_STORE_TESTING_FAULT_VFS_H_

#include <sqlite3.h>

#include <atomic>
#include <cstdint>
#include <string>

namespace forall::testing {

// Registers itself under name() and forwards everything to SQLite's default layer. It must outlive
// the connections that use it. Thread-safe.
class FaultVfs {
 public:
  explicit FaultVfs(std::string name);
  ~FaultVfs();
  FaultVfs(const FaultVfs&) = delete;
  FaultVfs& operator=(const FaultVfs&) = delete;

  const std::string& name() const { return name_; }

  // After `more` further writes (or syncs), all of them fail with `code` until Heal().
  void FailWritesAfter(int64_t more, int code);
  void FailSyncsAfter(int64_t more, int code);
  // Writes past this offset of any file fail as on a full disk, until Heal().
  void LimitFileSize(int64_t bytes) { size_limit_ = bytes; }
  void Heal();

  int64_t syncs() const { return syncs_.load(); }
  // Writes and syncs that were refused.
  int64_t faults() const { return faults_.load(); }

  // For the layer's own functions: the code to fail with, or SQLITE_OK.
  int OnWrite(int64_t end_offset);
  int OnSync();
  sqlite3_vfs* real() const { return real_; }

 private:
  const std::string name_;
  sqlite3_vfs* const real_;
  sqlite3_vfs vfs_;
  std::atomic<int64_t> writes_left_;
  std::atomic<int64_t> syncs_left_;
  std::atomic<int64_t> size_limit_;
  std::atomic<int> write_error_ = SQLITE_OK;
  std::atomic<int> sync_error_ = SQLITE_OK;
  std::atomic<int64_t> syncs_ = 0;
  std::atomic<int64_t> faults_ = 0;
};

}  // namespace forall::testing

#endif  // FORALL_SEARCH_STORE_TESTING_FAULT_VFS_H_
