// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_NET_CERTIFICATE_KEEPER_H_
#define FORALL_NET_CERTIFICATE_KEEPER_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/file_stamp.h"
#include "base/mutex.h"
#include "base/thread.h"

namespace forall {

// Stands between the files of an operator and gRPC, which watches files but takes whatever it finds
// there, and serves nobody as long as that is broken. The keeper takes over what has changed once
// it is sound as a whole: until then those of before go on serving, and the log says what is wrong.
// gRPC reads copies in memory, which end with the process. Thread-safe.
class CertificateKeeper {
 public:
  struct Options {
    std::string certificate;
    std::string key;
    // "": none.
    std::string authorities = {};
    // How often the files are looked at.
    absl::Duration refresh = absl::Seconds(10);
  };
  // An error of net/certificate_files.h; Unavailable when there is no memory for the copies.
  static absl::StatusOr<std::unique_ptr<CertificateKeeper>> Create(const Options& options);
  ~CertificateKeeper();
  CertificateKeeper(const CertificateKeeper&) = delete;
  CertificateKeeper& operator=(const CertificateKeeper&) = delete;

  // What gRPC is to watch, of this process alone. "" for authorities when there are none.
  std::string certificate() const { return CopyPath(0); }
  std::string key() const { return CopyPath(1); }
  std::string authorities() const { return options_.authorities.empty() ? "" : CopyPath(2); }

  // When what serves now ends; InfiniteFuture for authorities when there are none.
  struct Ends {
    absl::Time certificate;
    absl::Time authorities = absl::InfiniteFuture();
  };
  Ends ends() const;

 private:
  using Stamps = std::array<std::optional<FileStamp>, 3>;

  explicit CertificateKeeper(const Options& options);
  std::string CopyPath(size_t file) const;
  Stamps Look() const;
  // Checks all files and takes them over.
  absl::Status Take();
  void Loop();

  const Options options_;
  const std::array<std::string, 3> paths_;
  std::array<int, 3> copies_ = {-1, -1, -1};  // the numbers stay, what is behind them changes
  Stamps taken_;  // of the files that serve; after Create the thread's own
  mutable Mutex mu_;
  Ends ends_ ABSL_GUARDED_BY(mu_);
  CondVar stop_changed_;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  Thread thread_;
};

}  // namespace forall

#endif  // FORALL_NET_CERTIFICATE_KEEPER_H_
