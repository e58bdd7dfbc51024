// SPDX-License-Identifier: Apache-2.0
// A file system layer for SQLite whose operations fail on command: a full, broken or read-only
// disk.
#ifndef FORALL_SEARCH_STORE_TESTING_FAULT_VFS_H_
#define FORALL_SEARCH_STORE_TESTING_FAULT_VFS_H_

#include <sqlite3.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "base/mutex.h"

namespace forall::testing {

// Registers itself under name() and forwards everything to SQLite's default layer. It must outlive
// the connections that use it. Thread-safe.
class FaultVfs {
 public:
  // What SQLite asks of its files; they are bits.
  enum Operation : unsigned {
    kWrite = 1,
    kSync = 2,
    kTruncate = 4,
    kOpen = 8,
    kRead = 16,
    kShare = 32,  // mapping the write-ahead log's index, which makes its file longer
    kEveryChange = kWrite | kSync | kTruncate | kShare,
  };
  struct Fault {
    unsigned operations = kEveryChange;
    int64_t after = 0;  // so many more of them are let through
    int code = SQLITE_FULL;
    bool once = false;  // one fails; otherwise all of them until Heal
  };

  explicit FaultVfs(std::string name);
  ~FaultVfs();
  FaultVfs(const FaultVfs&) = delete;
  FaultVfs& operator=(const FaultVfs&) = delete;

  const std::string& name() const { return name_; }

  // From now on, in place of an earlier fault.
  void Fail(const Fault& fault);
  // After `more` further writes (or syncs), all of them fail with `code` until Heal().
  void FailWritesAfter(int64_t more, int code) { Fail({kWrite, more, code}); }
  void FailSyncsAfter(int64_t more, int code) { Fail({kSync, more, code}); }
  // Writes past this offset of any file fail as on a full disk, until Heal().
  void LimitFileSize(int64_t bytes) { size_limit_ = bytes; }
  void Heal();

  int64_t syncs() const { return syncs_.load(); }
  // Operations that were refused.
  int64_t faults() const { return faults_.load(); }

  // For the layer's own functions: the code to fail with, or SQLITE_OK.
  int On(Operation operation);
  int OnWrite(int64_t end_offset);
  sqlite3_vfs* real() const { return real_; }

 private:
  const std::string name_;
  sqlite3_vfs* const real_;
  sqlite3_vfs vfs_;
  Mutex mu_;
  Fault fault_ ABSL_GUARDED_BY(mu_) = {.operations = 0};
  std::atomic<int64_t> size_limit_;
  std::atomic<int64_t> syncs_ = 0;
  std::atomic<int64_t> faults_ = 0;
};

}  // namespace forall::testing

#endif  // FORALL_SEARCH_STORE_TESTING_FAULT_VFS_H_
