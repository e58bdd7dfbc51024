// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_BASE_SHA256_H_
#define FORALL_BASE_SHA256_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace forall {

// SHA-256 over pieces (OpenSSL's). Thread-compatible; one use.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void Update(absl::string_view bytes);
  // 64 lower-case hex digits. Call once.
  std::string HexDigest();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// 64 lower-case hex digits.
std::string Sha256Hex(absl::string_view bytes);

// HMAC-SHA256 (RFC 2104): 32 bytes that nobody can tell for `message` who does not have `key`.
std::string HmacSha256(absl::string_view key, absl::string_view message);

// The same by a key that signs many messages: in half the time, since what follows from the key
// alone is done once. Thread-compatible, and Sign is no exception.
class HmacSha256Key {
 public:
  explicit HmacSha256Key(absl::string_view key);
  ~HmacSha256Key();
  HmacSha256Key(HmacSha256Key&&) noexcept;
  HmacSha256Key& operator=(HmacSha256Key&&) noexcept;
  std::string Sign(absl::string_view message);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// Of a file's content, streamed. NotFound or Unavailable with the path when it cannot be read.
absl::StatusOr<std::string> Sha256OfFile(const std::string& path);

// True for exactly 64 lower-case hex digits.
bool IsSha256Hex(absl::string_view text);

}  // namespace forall

#endif  // FORALL_BASE_SHA256_H_
