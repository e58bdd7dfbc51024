// SPDX-License-Identifier: Apache-2.0
#include "base/sha256.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace forall {

struct Sha256::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(evp); }
};

namespace {

// Looked up once: EVP_sha256() makes every hash look it up again, which takes longer than hashing
// the little that most are of.
const EVP_MD* Algorithm() {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return algorithm == nullptr ? EVP_sha256() : algorithm;
}

}  // namespace

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  EVP_DigestInit_ex(context_->evp, Algorithm(), nullptr);
}
Sha256::~Sha256() = default;

void Sha256::Update(absl::string_view bytes) {
  EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size());
}

std::string Sha256::HexDigest() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  EVP_DigestFinal_ex(context_->evp, digest.data(), &size);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), size));
}

std::string Sha256Hex(absl::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.HexDigest();
}

std::string HmacSha256(absl::string_view key, absl::string_view message) {
  return HmacSha256Key(key).Sign(message);
}

struct HmacSha256Key::Context {
  explicit Context(EVP_MAC* mac) : evp(EVP_MAC_CTX_new(mac)) {}
  ~Context() { EVP_MAC_CTX_free(evp); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  EVP_MAC_CTX* const evp;
};

HmacSha256Key::HmacSha256Key(absl::string_view key) {
  static EVP_MAC* const hmac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  FORALL_CHECK(hmac != nullptr) << "OpenSSL has no HMAC";
  context_ = std::make_unique<Context>(hmac);
  std::string digest = "SHA256";
  const std::array<OSSL_PARAM, 2> parameters = {
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest.data(), 0),
      OSSL_PARAM_construct_end()};
  FORALL_CHECK(EVP_MAC_init(context_->evp, reinterpret_cast<const unsigned char*>(key.data()),
                            key.size(), parameters.data()) == 1)
      << "OpenSSL has no HMAC-SHA256";
}
HmacSha256Key::~HmacSha256Key() = default;
HmacSha256Key::HmacSha256Key(HmacSha256Key&&) noexcept = default;
HmacSha256Key& HmacSha256Key::operator=(HmacSha256Key&&) noexcept = default;

std::string HmacSha256Key::Sign(absl::string_view message) {
  std::string mac(32, '\0');
  size_t size = 0;
  // Without a key: with the one that it has, from OpenSSL 3.0.3 on
  // (cmake/ForallDependencies.cmake).
  const bool done =
      EVP_MAC_init(context_->evp, nullptr, 0, nullptr) == 1 &&
      EVP_MAC_update(context_->evp, reinterpret_cast<const unsigned char*>(message.data()),
                     message.size()) == 1 &&
      EVP_MAC_final(context_->evp, reinterpret_cast<unsigned char*>(mac.data()), &size,
                    mac.size()) == 1;
  // Anybody could make what it would be otherwise.
  FORALL_CHECK(done && size == mac.size()) << "OpenSSL cannot sign";
  return mac;
}

absl::StatusOr<std::string> Sha256OfFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("cannot open ", path));
  Sha256 hash;
  std::vector<char> buffer(1 << 20);
  while (in) {
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    hash.Update(absl::string_view(buffer.data(), static_cast<size_t>(in.gcount())));
  }
  if (in.bad()) return absl::UnavailableError(absl::StrCat("error while reading ", path));
  return hash.HexDigest();
}

bool IsSha256Hex(absl::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace forall
