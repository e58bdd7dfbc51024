// SPDX-License-Identifier: Apache-2.0
#include "net/certificate_files.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr uint64_t kMaxFileBytes = 4 << 20;

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Bio = std::unique_ptr<BIO, Free>;
using Certificate = std::unique_ptr<X509, Free>;
using Key = std::unique_ptr<EVP_PKEY, Free>;

Bio Over(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// A key with a passphrase is an error, not a question on the terminal.
int NoPassphrase(char*, int, int, void*) { return -1; }

absl::Time FromAsn1(const ASN1_TIME* time) {
  std::tm parts = {};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return absl::InfinitePast();
  return absl::FromTM(parts, absl::UTCTimeZone());
}

// Of a file's certificates, in their order.
std::vector<absl::Time> EndsOf(const PemFile& file) {
  const Bio bio = Over(file.text);
  std::vector<absl::Time> ends;
  while (const auto certificate =
             Certificate(PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr))) {
    ends.push_back(FromAsn1(X509_get0_notAfter(certificate.get())));
  }
  ERR_clear_error();
  return ends;
}

}  // namespace

absl::StatusOr<PemFile> ReadPemFile(const std::string& path) {
  FORALL_ASSIGN_OR_RETURN(std::string text, ReadFile(path, kMaxFileBytes));
  return PemFile{path, std::move(text)};
}

absl::Status CheckCertificateAndKey(const std::string& certificate, const std::string& key,
                                    absl::Time now) {
  FORALL_ASSIGN_OR_RETURN(const PemFile certificate_file, ReadPemFile(certificate));
  FORALL_ASSIGN_OR_RETURN(const PemFile key_file, ReadPemFile(key));
  return CheckCertificateAndKey(certificate_file, key_file, now);
}

absl::Status CheckCertificateAndKey(const PemFile& certificate, const PemFile& key,
                                    absl::Time now) {
  const Bio certificate_bio = Over(certificate.text);
  const Certificate parsed(
      PEM_read_bio_X509(certificate_bio.get(), nullptr, NoPassphrase, nullptr));
  const Bio key_bio = Over(key.text);
  const Key parsed_key(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();  // The queue is this thread's, and gRPC's too.
  if (parsed == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        certificate.path, ": no PEM certificate (one begins with -----BEGIN CERTIFICATE-----)"));
  }
  if (parsed_key == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(key.path,
                     ": no PEM private key without a passphrase (one begins with -----BEGIN "
                     "PRIVATE KEY-----)"));
  }
  const bool match = X509_check_private_key(parsed.get(), parsed_key.get()) == 1;
  ERR_clear_error();
  if (!match) {
    return absl::InvalidArgumentError(
        absl::StrCat(key.path, " is not the private key of the certificate in ", certificate.path));
  }
  const absl::Time begins = FromAsn1(X509_get0_notBefore(parsed.get()));
  const absl::Time ends = FromAsn1(X509_get0_notAfter(parsed.get()));
  if (now < begins || now > ends) {
    return absl::InvalidArgumentError(absl::StrCat(
        certificate.path, ": valid from ", absl::FormatTime(begins, absl::UTCTimeZone()), " to ",
        absl::FormatTime(ends, absl::UTCTimeZone()), ", and now it is ",
        absl::FormatTime(now, absl::UTCTimeZone()), ": make a new one, or set the clock"));
  }
  return absl::OkStatus();
}

absl::Status CheckAuthorities(const std::string& authorities) {
  FORALL_ASSIGN_OR_RETURN(const PemFile file, ReadPemFile(authorities));
  return CheckAuthorities(file);
}

absl::Status CheckAuthorities(const PemFile& authorities) {
  const Bio bio = Over(authorities.text);
  int count = 0;
  while (Certificate(PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr)) != nullptr) {
    ++count;
  }
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (count == 0 || !at_end) {
    return absl::InvalidArgumentError(absl::StrCat(
        authorities.path, ": ", count == 0 ? "no PEM certificate" : "a broken certificate",
        "; want the certificates of the authorities to trust, each beginning with "
        "-----BEGIN CERTIFICATE-----"));
  }
  return absl::OkStatus();
}

absl::Time EndOfFirstCertificate(const PemFile& file) {
  const std::vector<absl::Time> ends = EndsOf(file);
  return ends.empty() ? absl::InfinitePast() : ends[0];
}

absl::Time EndOfLastAuthority(const PemFile& file) {
  absl::Time last = absl::InfinitePast();
  for (const absl::Time end : EndsOf(file)) last = std::max(last, end);
  return last;
}

}  // namespace forall
