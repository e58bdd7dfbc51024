// SPDX-License-Identifier: Apache-2.0
// Looks at PEM files before gRPC does, whose own errors say neither which file nor what is wrong.
#ifndef FORALL_NET_CERTIFICATE_FILES_H_
#define FORALL_NET_CERTIFICATE_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace forall {

// A file's content, and the name by which messages call it.
struct PemFile {
  std::string path;
  std::string text;
};
// At most 4 MiB. NotFound, PermissionDenied, Unavailable.
absl::StatusOr<PemFile> ReadPemFile(const std::string& path);

// OK when `certificate` holds a PEM certificate (its own first, then those up to the authority)
// that is valid at `now`, and `key` its private key, without a passphrase. NotFound,
// PermissionDenied or Unavailable when a file cannot be read; InvalidArgument otherwise. Messages
// name the file.
absl::Status CheckCertificateAndKey(const std::string& certificate, const std::string& key,
                                    absl::Time now);
absl::Status CheckCertificateAndKey(const PemFile& certificate, const PemFile& key, absl::Time now);

// OK when `authorities` holds at least one PEM certificate and nothing that merely looks like one.
// Errors as above.
absl::Status CheckAuthorities(const std::string& authorities);
absl::Status CheckAuthorities(const PemFile& authorities);

// When the first certificate of a file ends, a server's own; InfinitePast when there is none.
absl::Time EndOfFirstCertificate(const PemFile& file);
// When the last of its certificates ends, so that nobody is let in any more.
absl::Time EndOfLastAuthority(const PemFile& file);

}  // namespace forall

#endif  // FORALL_NET_CERTIFICATE_FILES_H_
