// SPDX-License-Identifier: Apache-2.0
#include "net/testing/certificate_maker.h"

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_join.h"
#include "base/secret.h"

namespace forall::testing {
namespace {

struct Free {
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509_EXTENSION* extension) const { X509_EXTENSION_free(extension); }
};
using Bio = std::unique_ptr<BIO, Free>;
using Certificate = std::unique_ptr<X509, Free>;
using Key = std::unique_ptr<EVP_PKEY, Free>;

// Nothing here depends on input, so a failure is a broken library.
void Require(bool ok) {
  if (!ok) std::abort();
}

std::string TextOf(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

std::string PemOf(X509* certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  Require(PEM_write_bio_X509(bio.get(), certificate) == 1);
  return TextOf(bio.get());
}

std::string PemOf(EVP_PKEY* key) {
  const Bio bio(BIO_new(BIO_s_mem()));
  Require(PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) ==
          1);
  return TextOf(bio.get());
}

void Extend(X509* certificate, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const std::unique_ptr<X509_EXTENSION, Free> extension(
      X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str()));
  Require(extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1);
}

Certificate Begin(EVP_PKEY* key, const std::string& name, absl::Duration begins,
                  absl::Duration ends) {
  Certificate certificate(X509_new());
  Require(certificate != nullptr);
  int64_t serial = 0;
  const std::string bytes = SecretBytes(7);
  std::memcpy(&serial, bytes.data(), bytes.size());
  ASN1_INTEGER_set_int64(X509_get_serialNumber(certificate.get()), serial);
  X509_set_version(certificate.get(), 2);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), absl::ToInt64Seconds(begins));
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), absl::ToInt64Seconds(ends));
  X509_set_pubkey(certificate.get(), key);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  return certificate;
}

}  // namespace

struct CertificateMaker::Keys {
  Key key;
  Certificate certificate;
};

CertificateMaker::CertificateMaker(const std::string& name) : keys_(std::make_unique<Keys>()) {
  keys_->key.reset(EVP_EC_gen("P-256"));
  Require(keys_->key != nullptr);
  keys_->certificate = Begin(keys_->key.get(), name, -absl::Hours(1), absl::Hours(48));
  X509* const certificate = keys_->certificate.get();
  X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
  Extend(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE");
  Extend(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
  Require(X509_sign(certificate, keys_->key.get(), EVP_sha256()) > 0);
  authority_ = PemOf(certificate);
}

CertificateMaker::~CertificateMaker() = default;

KeyPair CertificateMaker::Issue(const std::vector<std::string>& names, absl::Duration begins,
                                absl::Duration ends) const {
  const Key key(EVP_EC_gen("P-256"));
  Require(key != nullptr);
  const Certificate certificate = Begin(key.get(), "test", begins, ends);
  X509_set_issuer_name(certificate.get(), X509_get_subject_name(keys_->certificate.get()));
  Extend(certificate.get(), keys_->certificate.get(), NID_basic_constraints, "critical,CA:FALSE");
  if (!names.empty()) {
    Extend(certificate.get(), keys_->certificate.get(), NID_subject_alt_name,
           absl::StrJoin(names, ","));
  }
  Require(X509_sign(certificate.get(), keys_->key.get(), EVP_sha256()) > 0);
  return {PemOf(certificate.get()), PemOf(key.get())};
}

}  // namespace forall::testing
