// SPDX-License-Identifier: Apache-2.0
#include "search/service/access/authorizer.h"

#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"

namespace forall {
namespace {

constexpr char kHowToAddOne[] =
    "an operator makes one with forall-controller token add; give it in FORALL_TOKEN or "
    "--token-file FILE";

// Patterns that say no worker at all are left out: they bind to nothing, not to everything.
std::vector<std::string> WorkersOf(const std::vector<std::string>& uris) {
  std::vector<std::string> workers;
  for (absl::string_view uri : uris) {
    if (absl::ConsumePrefix(&uri, kWorkerUri) && CheckWorkerPattern(uri).ok()) {
      workers.emplace_back(uri);
    }
  }
  return workers;
}

// The scheme's name is case-insensitive (RFC 7235 section 2.1).
bool ConsumeBearer(absl::string_view* text) {
  constexpr absl::string_view kScheme = "bearer ";
  if (!absl::StartsWithIgnoreCase(*text, kScheme)) return false;
  text->remove_prefix(kScheme.size());
  return true;
}

bool Matches(const std::vector<std::string>& patterns, absl::string_view worker_id) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return MatchesWorker(pattern, worker_id); });
}

}  // namespace

absl::StatusOr<Caller> Authorizer::Identify(const Credentials& credentials) const {
  if (options_.this_machine_only && !options_.tokens->exists()) {
    return Caller{"anybody on this machine", Role::kAdmin, {}, kLocalTenant};
  }
  const std::vector<std::string> workers = WorkersOf(credentials.certificate_uris);
  if (credentials.authorization.empty()) {
    if (!workers.empty()) {
      return Caller{
          absl::StrCat("worker certificate:", absl::StrJoin(workers, ",")), Role::kWork, {workers}};
    }
    return absl::UnauthenticatedError(absl::StrCat(
        credentials.certificate_uris.empty()
            ? "this controller wants a token: "
            : absl::StrCat(
                  "the client certificate names no worker (a subject alternative name URI:",
                  kWorkerUri, "ID), and there is no token: "),
        kHowToAddOne));
  }
  absl::string_view token = credentials.authorization[0];
  if (credentials.authorization.size() > 1 || !ConsumeBearer(&token)) {
    return absl::UnauthenticatedError("authorization: want one header, \"Bearer TOKEN\"");
  }
  const std::optional<TokenRecord> record = options_.tokens->Find(token);
  if (!record.has_value()) {
    return absl::UnauthenticatedError(
        absl::StrCat("the token is not known here, or was revoked: ", kHowToAddOne));
  }
  Caller caller{absl::StrCat("token:", record->name), record->role, {}, record->name};
  if (!record->worker.empty()) caller.bindings.push_back({record->worker});
  if (!workers.empty()) caller.bindings.push_back(workers);
  return caller;
}

absl::Status Authorizer::Permit(const Caller& caller, const AccessRule& rule,
                                absl::string_view worker) {
  absl::string_view method = rule.method;
  absl::ConsumePrefix(&method, "forall.v1.");
  if (!rule.Allows(caller.role)) {
    return absl::PermissionDeniedError(absl::StrCat(
        caller.who, " has the role ", RoleName(caller.role), ", and ", method,
        " is for: ", rule.RolesText(), "; ask an operator for a token of such a role"));
  }
  if (caller.role != Role::kWork || *rule.worker_field == '\0') return absl::OkStatus();
  absl::ConsumePrefix(&worker, "workers/");
  for (const std::vector<std::string>& binding : caller.bindings) {
    if (Matches(binding, worker)) continue;
    return absl::PermissionDeniedError(absl::StrCat(
        rule.worker_field, ": ", caller.who, " may act as worker ", absl::StrJoin(binding, ", "),
        " only; start it with --id of that name, or have a certificate or token made for this "
        "one"));
  }
  return absl::OkStatus();
}

}  // namespace forall
