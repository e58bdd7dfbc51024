// SPDX-License-Identifier: Apache-2.0
// How a client reaches a controller: one set of flags and environment variables for every program,
// and the credentials that follow from them.
#ifndef FORALL_NET_CONTROLLER_ACCESS_H_
#define FORALL_NET_CONTROLLER_ACCESS_H_

#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace forall {

struct ControllerAccess {
  // HOST:PORT, or anything that gRPC understands.
  std::string address = "127.0.0.1:7411";
  // --tls-ca, FORALL_TLS_CA: the authorities that the controller's certificate must come from, a
  // PEM file, or "system" for those that this machine trusts. "": no TLS.
  std::string tls_ca = {};
  // --tls-cert and --tls-key, FORALL_TLS_CERT and FORALL_TLS_KEY: this client's own, both or none.
  std::string tls_certificate = {};
  std::string tls_key = {};
  // --token-file, FORALL_TOKEN_FILE: read before every call, so that a token is changed without a
  // restart.
  std::string token_file = {};
  // FORALL_TOKEN; no flag, since every user of a machine reads command lines. token_file wins.
  std::string token = {};
};

// Sets what is still empty, the address aside, from the environment; `getenv` may return nullptr.
void FillFromEnvironment(const char* (*getenv)(const char*), ControllerAccess* access);

// TLS where `tls_ca` says so; certificate, key and authorities are read again while the channel
// lives. A token goes with every call: over TLS, or in plain text to a peer that the kernel says is
// this machine, never otherwise.
// InvalidArgument, FailedPrecondition or an error of a file; messages name the flag.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const ControllerAccess& access);

}  // namespace forall

#endif  // FORALL_NET_CONTROLLER_ACCESS_H_
