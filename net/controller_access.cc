// SPDX-License-Identifier: Apache-2.0
#include "net/controller_access.h"

#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "net/certificate_files.h"
#include "net/host_port.h"

namespace forall {
namespace {

constexpr unsigned int kCertificateRefreshSeconds = 60;
constexpr uint64_t kMaxTokenBytes = 4096;
constexpr char kSystem[] = "system";

// `text` without the line break at its end, when that is one word.
absl::StatusOr<std::string> AsToken(absl::string_view text) {
  const absl::string_view token = absl::StripAsciiWhitespace(text);
  const auto visible = [](char c) { return c > ' ' && c < '\x7f'; };
  if (token.empty() || !std::all_of(token.begin(), token.end(), visible)) {
    return absl::InvalidArgumentError("no token: want the one word that forall-controller printed");
  }
  return std::string(token);
}

// The token in a file. Errors name it.
absl::StatusOr<std::string> ReadToken(const std::string& path) {
  FORALL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxTokenBytes));
  absl::StatusOr<std::string> token = AsToken(text);
  if (!token.ok()) return WithContext(token.status(), path);
  return token;
}

// Thread-safe.
class TokenPlugin : public grpc::MetadataCredentialsPlugin {
 public:
  TokenPlugin(std::string file, std::string token)
      : file_(std::move(file)), token_(std::move(token)) {}

  // A file of some bytes is no wait.
  bool IsBlocking() const override { return false; }
  const char* GetType() const override { return "forall-token"; }
  grpc::string DebugString() override { return "TokenPlugin"; }

  grpc::Status GetMetadata(grpc::string_ref service_url, grpc::string_ref method_name,
                           const grpc::AuthContext& channel_auth_context,
                           std::multimap<grpc::string, grpc::string>* metadata) override {
    MutexLock lock(&mu_);
    if (!file_.empty()) {
      // While the file is being replaced, or cannot be read, the last token goes on serving.
      if (absl::StatusOr<std::string> token = ReadToken(file_); token.ok()) {
        token_ = *std::move(token);
      }
    }
    metadata->insert({"authorization", absl::StrCat("Bearer ", token_)});
    return grpc::Status::OK;
  }

 private:
  const std::string file_;
  Mutex mu_;
  std::string token_ ABSL_GUARDED_BY(mu_);
};

// "" for none.
absl::StatusOr<std::string> TokenOf(const ControllerAccess& access) {
  if (access.token_file.empty() && access.token.empty()) return std::string();
  absl::StatusOr<std::string> token =
      access.token_file.empty() ? AsToken(access.token) : ReadToken(access.token_file);
  if (!token.ok()) {
    return WithContext(token.status(), access.token_file.empty() ? "FORALL_TOKEN" : "--token-file");
  }
  return token;
}

absl::Status CheckTls(const ControllerAccess& access) {
  if (access.tls_certificate.empty() != access.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key go together");
  }
  if (access.tls_ca.empty() && !access.tls_key.empty()) {
    return absl::InvalidArgumentError(
        "--tls-cert: goes with --tls-ca FILE, the authority of the controller's certificate (or "
        "\"system\" for those that this machine trusts)");
  }
  if (!access.tls_ca.empty() && access.tls_ca != kSystem) {
    FORALL_RETURN_IF_ERROR(WithContext(CheckAuthorities(access.tls_ca), "--tls-ca"));
  }
  if (access.tls_key.empty()) return absl::OkStatus();
  return WithContext(
      CheckCertificateAndKey(access.tls_certificate, access.tls_key, Clock::Real()->Now()),
      "--tls-cert, --tls-key");
}

std::shared_ptr<grpc::ChannelCredentials> TlsOf(const ControllerAccess& access) {
  grpc::experimental::TlsChannelCredentialsOptions options;
  const std::string authorities = access.tls_ca == kSystem ? "" : access.tls_ca;
  if (!authorities.empty() || !access.tls_key.empty()) {
    options.set_certificate_provider(
        std::make_shared<grpc::experimental::FileWatcherCertificateProvider>(
            access.tls_key, access.tls_certificate, authorities, kCertificateRefreshSeconds));
  }
  if (!authorities.empty()) options.watch_root_certs();
  if (!access.tls_key.empty()) options.watch_identity_key_cert_pairs();
  return grpc::experimental::TlsCredentials(options);
}

}  // namespace

void FillFromEnvironment(const char* (*getenv)(const char*), ControllerAccess* access) {
  const std::pair<const char*, std::string*> variables[] = {
      {"FORALL_TLS_CA", &access->tls_ca},
      {"FORALL_TLS_CERT", &access->tls_certificate},
      {"FORALL_TLS_KEY", &access->tls_key},
      {"FORALL_TOKEN_FILE", &access->token_file},
      {"FORALL_TOKEN", &access->token}};
  for (const auto& [name, value] : variables) {
    const char* const text = getenv(name);
    if (value->empty() && text != nullptr) *value = text;
  }
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const ControllerAccess& access) {
  FORALL_RETURN_IF_ERROR(CheckTls(access));
  FORALL_ASSIGN_OR_RETURN(const std::string token, TokenOf(access));
  if (token.empty()) {
    return access.tls_ca.empty() ? grpc::InsecureChannelCredentials() : TlsOf(access);
  }
  auto plugin = std::make_unique<TokenPlugin>(access.token_file, token);
  if (!access.tls_ca.empty()) {
    return grpc::CompositeChannelCredentials(
        TlsOf(access), grpc::MetadataCredentialsFromPlugin(std::move(plugin)));
  }
  const absl::StatusOr<bool> loopback = IsLoopback(access.address);
  if (!loopback.ok() || !*loopback) {
    return absl::FailedPreconditionError(absl::StrCat(
        "a token is not sent to ", access.address,
        " in plain text, where others can read it: give --tls-ca FILE, the authority of the "
        "controller's certificate, or unset FORALL_TOKEN and FORALL_TOKEN_FILE"));
  }
  // Local credentials look at the connected socket: a name that leads elsewhere gets no token.
  return grpc::CompositeChannelCredentials(
      grpc::experimental::LocalCredentials(LOCAL_TCP),
      grpc::experimental::MetadataCredentialsFromPlugin(std::move(plugin), GRPC_SECURITY_NONE));
}

}  // namespace forall
