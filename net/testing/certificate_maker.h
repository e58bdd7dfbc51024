// SPDX-License-Identifier: Apache-2.0
// Certificates for tests, of any age, without a program.
#ifndef FORALL_NET_TESTING_CERTIFICATE_MAKER_H_
#define FORALL_NET_TESTING_CERTIFICATE_MAKER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace forall::testing {

// PEM texts.
struct KeyPair {
  std::string certificate;
  std::string key;
};

// A certificate authority. Thread-hostile: a test's own.
class CertificateMaker {
 public:
  explicit CertificateMaker(const std::string& name = "test CA");
  ~CertificateMaker();

  const std::string& authority() const { return authority_; }
  // `names` as OpenSSL spells them: "DNS:localhost", "IP:127.0.0.1", "URI:forall:worker/w". Valid
  // from now + begins to now + ends.
  KeyPair Issue(const std::vector<std::string>& names, absl::Duration begins = -absl::Hours(1),
                absl::Duration ends = absl::Hours(24)) const;

 private:
  struct Keys;
  std::unique_ptr<Keys> keys_;
  std::string authority_;
};

}  // namespace forall::testing

#endif  // FORALL_NET_TESTING_CERTIFICATE_MAKER_H_
