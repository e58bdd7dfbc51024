// SPDX-License-Identifier: Apache-2.0
#include "search/store/testing/fault_vfs.h"

#include <limits>
#include <utility>

namespace forall::testing {
namespace {

// What SQLite sees as a file; the real layer's file lies right behind it.
struct FaultFile {
  sqlite3_file base;
  FaultVfs* vfs;
};

FaultVfs* VfsOf(sqlite3_file* file) { return reinterpret_cast<FaultFile*>(file)->vfs; }
sqlite3_file* Real(sqlite3_file* file) {
  return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(file) + sizeof(FaultFile));
}

int Close(sqlite3_file* f) { return Real(f)->pMethods->xClose(Real(f)); }
int Read(sqlite3_file* f, void* data, int size, sqlite3_int64 offset) {
  if (const int code = VfsOf(f)->On(FaultVfs::kRead); code != SQLITE_OK) return code;
  return Real(f)->pMethods->xRead(Real(f), data, size, offset);
}
int Write(sqlite3_file* f, const void* data, int size, sqlite3_int64 offset) {
  if (const int code = VfsOf(f)->OnWrite(offset + size); code != SQLITE_OK) return code;
  return Real(f)->pMethods->xWrite(Real(f), data, size, offset);
}
int Truncate(sqlite3_file* f, sqlite3_int64 size) {
  if (const int code = VfsOf(f)->On(FaultVfs::kTruncate); code != SQLITE_OK) return code;
  return Real(f)->pMethods->xTruncate(Real(f), size);
}
int Sync(sqlite3_file* f, int flags) {
  if (const int code = VfsOf(f)->On(FaultVfs::kSync); code != SQLITE_OK) return code;
  return Real(f)->pMethods->xSync(Real(f), flags);
}
int FileSize(sqlite3_file* f, sqlite3_int64* size) {
  return Real(f)->pMethods->xFileSize(Real(f), size);
}
int Lock(sqlite3_file* f, int level) { return Real(f)->pMethods->xLock(Real(f), level); }
int Unlock(sqlite3_file* f, int level) { return Real(f)->pMethods->xUnlock(Real(f), level); }
int CheckReservedLock(sqlite3_file* f, int* result) {
  return Real(f)->pMethods->xCheckReservedLock(Real(f), result);
}
int FileControl(sqlite3_file* f, int op, void* arg) {
  return Real(f)->pMethods->xFileControl(Real(f), op, arg);
}
int SectorSize(sqlite3_file* f) { return Real(f)->pMethods->xSectorSize(Real(f)); }
int DeviceCharacteristics(sqlite3_file* f) {
  return Real(f)->pMethods->xDeviceCharacteristics(Real(f));
}
int ShmMap(sqlite3_file* f, int page, int size, int extend, void volatile** memory) {
  if (extend != 0) {
    if (const int code = VfsOf(f)->On(FaultVfs::kShare); code != SQLITE_OK) {
      *memory = nullptr;
      return code;
    }
  }
  return Real(f)->pMethods->xShmMap(Real(f), page, size, extend, memory);
}
int ShmLock(sqlite3_file* f, int offset, int count, int flags) {
  return Real(f)->pMethods->xShmLock(Real(f), offset, count, flags);
}
void ShmBarrier(sqlite3_file* f) { Real(f)->pMethods->xShmBarrier(Real(f)); }
int ShmUnmap(sqlite3_file* f, int remove) { return Real(f)->pMethods->xShmUnmap(Real(f), remove); }

// Version 2: with the write-ahead log's shared memory, without memory-mapped pages, which would get
// round Write.
constexpr sqlite3_io_methods kMethods = {2,
                                         Close,
                                         Read,
                                         Write,
                                         Truncate,
                                         Sync,
                                         FileSize,
                                         Lock,
                                         Unlock,
                                         CheckReservedLock,
                                         FileControl,
                                         SectorSize,
                                         DeviceCharacteristics,
                                         ShmMap,
                                         ShmLock,
                                         ShmBarrier,
                                         ShmUnmap,
                                         nullptr,
                                         nullptr};

int Open(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  auto* owner = static_cast<FaultVfs*>(vfs->pAppData);
  reinterpret_cast<FaultFile*>(file)->vfs = owner;
  if (const int code = owner->On(FaultVfs::kOpen); code != SQLITE_OK) {
    file->pMethods = nullptr;
    return code;
  }
  const int code = owner->real()->xOpen(owner->real(), name, Real(file), flags, out_flags);
  // SQLite closes a file whose methods are set even when opening it failed.
  file->pMethods = Real(file)->pMethods == nullptr ? nullptr : &kMethods;
  return code;
}

}  // namespace

FaultVfs::FaultVfs(std::string name)
    : name_(std::move(name)), real_(sqlite3_vfs_find(nullptr)), vfs_(*real_) {
  Heal();
  vfs_.zName = name_.c_str();
  vfs_.szOsFile = static_cast<int>(sizeof(FaultFile)) + real_->szOsFile;
  vfs_.pNext = nullptr;
  vfs_.pAppData = this;
  vfs_.xOpen = Open;
  // The other functions are the real layer's own: they look at nothing of the vfs that is changed
  // here.
  sqlite3_vfs_register(&vfs_, 0);
}

FaultVfs::~FaultVfs() { sqlite3_vfs_unregister(&vfs_); }

void FaultVfs::Fail(const Fault& fault) {
  MutexLock lock(&mu_);
  fault_ = fault;
}

void FaultVfs::Heal() {
  Fail({.operations = 0});
  size_limit_ = std::numeric_limits<int64_t>::max();
}

int FaultVfs::On(Operation operation) {
  if (operation == kSync) syncs_.fetch_add(1);
  MutexLock lock(&mu_);
  if ((fault_.operations & operation) == 0 || fault_.after-- > 0) return SQLITE_OK;
  if (fault_.once) fault_.operations = 0;
  faults_.fetch_add(1);
  return fault_.code;
}

int FaultVfs::OnWrite(int64_t end_offset) {
  if (end_offset > size_limit_) {
    faults_.fetch_add(1);
    return SQLITE_FULL;
  }
  return On(kWrite);
}

}  // namespace forall::testing
