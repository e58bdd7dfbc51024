// SPDX-License-Identifier: Apache-2.0
#include "net/certificate_keeper.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "net/certificate_files.h"

namespace forall {
namespace {

// A file in memory, without a name.
absl::StatusOr<int> Copy(const std::string& text) {
  const int fd = memfd_create("forall-certificate", MFD_CLOEXEC);
  if (fd < 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot keep a copy of a certificate in memory: ", std::strerror(errno)));
  }
  size_t written = 0;
  while (written < text.size()) {
    const ssize_t count = write(fd, text.data() + written, text.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      close(fd);
      return absl::UnavailableError(
          absl::StrCat("cannot keep a copy of a certificate in memory: ", std::strerror(error)));
    }
    written += static_cast<size_t>(count);
  }
  return fd;
}

}  // namespace

CertificateKeeper::CertificateKeeper(const Options& options)
    : options_(options), paths_{options.certificate, options.key, options.authorities} {}

absl::StatusOr<std::unique_ptr<CertificateKeeper>> CertificateKeeper::Create(
    const Options& options) {
  std::unique_ptr<CertificateKeeper> keeper(new CertificateKeeper(options));
  for (int& copy : keeper->copies_) {
    FORALL_ASSIGN_OR_RETURN(copy, Copy(""));
  }
  // Before the content: a change in between is then taken at the first look.
  keeper->taken_ = keeper->Look();
  FORALL_RETURN_IF_ERROR(keeper->Take());
  keeper->thread_ = Thread("certificates", [self = keeper.get()] { self->Loop(); });
  return keeper;
}

CertificateKeeper::~CertificateKeeper() {
  {
    MutexLock lock(&mu_);
    stop_ = true;
    stop_changed_.SignalAll();
  }
  thread_.Join();
  for (const int copy : copies_) {
    if (copy >= 0) close(copy);
  }
}

std::string CertificateKeeper::CopyPath(size_t file) const {
  return absl::StrCat("/proc/self/fd/", copies_[file]);
}

CertificateKeeper::Stamps CertificateKeeper::Look() const {
  Stamps stamps;
  for (size_t i = 0; i < paths_.size(); ++i) {
    if (!paths_[i].empty()) stamps[i] = StampOf(paths_[i]);
  }
  return stamps;
}

absl::Status CertificateKeeper::Take() {
  FORALL_ASSIGN_OR_RETURN(const PemFile certificate, ReadPemFile(options_.certificate));
  FORALL_ASSIGN_OR_RETURN(const PemFile key, ReadPemFile(options_.key));
  FORALL_RETURN_IF_ERROR(CheckCertificateAndKey(certificate, key, Clock::Real()->Now()));
  PemFile authorities;
  if (!options_.authorities.empty()) {
    FORALL_ASSIGN_OR_RETURN(authorities, ReadPemFile(options_.authorities));
    FORALL_RETURN_IF_ERROR(CheckAuthorities(authorities));
  }
  const std::string* const texts[] = {&certificate.text, &key.text, &authorities.text};
  std::array<int, 3> fresh = {-1, -1, -1};
  absl::Status status;
  for (size_t i = 0; i < fresh.size() && status.ok(); ++i) {
    const absl::StatusOr<int> copy = Copy(*texts[i]);
    status = copy.status();
    if (copy.ok()) fresh[i] = *copy;
  }
  // gRPC reads all three again if one has changed meanwhile, and again at its next look: that these
  // are three steps does no harm.
  for (size_t i = 0; i < fresh.size(); ++i) {
    if (status.ok() && dup3(fresh[i], copies_[i], O_CLOEXEC) < 0) {
      status = absl::UnavailableError(
          absl::StrCat("cannot take over a certificate: ", std::strerror(errno)));
    }
    if (fresh[i] >= 0) close(fresh[i]);
  }
  FORALL_RETURN_IF_ERROR(status);
  Ends ends;
  ends.certificate = EndOfFirstCertificate(certificate);
  if (!options_.authorities.empty()) ends.authorities = EndOfLastAuthority(authorities);
  MutexLock lock(&mu_);
  ends_ = ends;
  return absl::OkStatus();
}

CertificateKeeper::Ends CertificateKeeper::ends() const {
  MutexLock lock(&mu_);
  return ends_;
}

void CertificateKeeper::Loop() {
  absl::Status trouble;
  while (true) {
    {
      MutexLock lock(&mu_);
      if (!stop_) stop_changed_.WaitWithTimeout(&mu_, options_.refresh);
      if (stop_) return;
    }
    const Stamps now = Look();
    if (now == taken_) continue;
    // What was not sound is tried again: its day may come, or its owner change.
    const absl::Status taken = Take();
    if (taken.ok()) taken_ = now;
    if (!taken.ok() && taken == trouble) continue;  // that was said
    trouble = taken;
    if (taken.ok()) {
      FORALL_LOG(INFO) << "certificates read again file=" << options_.certificate;
    } else {
      FORALL_LOG(ERROR) << "the certificates of before go on serving: " << taken.message();
    }
  }
}

}  // namespace forall
