// SPDX-License-Identifier: Apache-2.0
// Who a caller is and whether it may do what it asks for: no gRPC, so that every case is a plain
// test.
#ifndef FORALL_SEARCH_SERVICE_ACCESS_AUTHORIZER_H_
#define FORALL_SEARCH_SERVICE_ACCESS_AUTHORIZER_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "search/service/access/access_rules.h"
#include "search/service/access/token_file.h"

namespace forall {

// A certificate's subject alternative name of type URI that says which worker it is:
// "forall:worker/ID", or "forall:worker/BEGINNING*" for all whose id begins so. A certificate may
// hold several: a process that serves several devices is several workers.
inline constexpr char kWorkerUri[] = "forall:worker/";

// The tenant of a machine's own callers, while they need no token.
inline constexpr char kLocalTenant[] = "(local)";

// What came with a call.
struct Credentials {
  // Every "authorization" header.
  std::vector<std::string> authorization;
  // Subject alternative names of type URI of a client certificate that was verified.
  std::vector<std::string> certificate_uris;
};

struct Caller {
  std::string who;  // as in AuditEntry
  Role role = Role::kSubmit;
  // Each a list of patterns of workers, of which one must match. Empty: may act as any worker.
  std::vector<std::vector<std::string>> bindings;
  // Whose jobs are those that it submits: the token's name, or kLocalTenant.
  std::string tenant = {};
};

// Thread-safe.
class Authorizer {
 public:
  struct Options {
    TokenBook* tokens = nullptr;  // not owned, must outlive
    // Nobody but this machine reaches the listener, and it asks for no client certificates: while
    // there is no file of tokens, everybody may do everything.
    bool this_machine_only = false;
  };
  explicit Authorizer(const Options& options) : options_(options) {}

  // A token counts before a certificate; one that is not known is refused also beside a valid
  // certificate. With both, a WORK caller is bound by both. Unauthenticated says what to do.
  absl::StatusOr<Caller> Identify(const Credentials& credentials) const;

  // `worker`: what the request holds in the rule's worker_field. PermissionDenied says who may.
  static absl::Status Permit(const Caller& caller, const AccessRule& rule,
                             absl::string_view worker);

 private:
  const Options options_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_ACCESS_AUTHORIZER_H_
