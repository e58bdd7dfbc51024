// SPDX-License-Identifier: Apache-2.0
// Who may call what: one table, from which everything about permissions follows. An RPC without a
// line in it is refused to everybody.
#ifndef FORALL_SEARCH_SERVICE_ACCESS_ACCESS_RULES_H_
#define FORALL_SEARCH_SERVICE_ACCESS_ACCESS_RULES_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "google/protobuf/descriptor.h"

namespace forall {

// What an identity is for. ADMIN may do all that the others may.
enum class Role {
  kSubmit,  // searches, and reads everything
  kWork,    // leases tasks and reports them
  kAdmin,   // and looks after fleet and store
};

// "submit", "work", "admin".
absl::string_view RoleName(Role role);
// InvalidArgument lists the roles.
absl::StatusOr<Role> ParseRole(absl::string_view name);

struct AccessRule {
  // Full name of the method, "forall.v1.FleetService.Heartbeat".
  const char* method;
  bool submit;
  bool work;
  // The field of the request that says as which worker a WORK caller acts; "" for none. One bound
  // to workers may name no others there.
  const char* worker_field;
  // Whether successful calls are in the audit log. Refused ones always are.
  bool audited;

  bool Allows(Role role) const {
    return role == Role::kAdmin || (role == Role::kSubmit ? submit : work);
  }
  // "submit, admin"
  std::string RolesText() const;
};

absl::Span<const AccessRule> AccessRules();

// The rule of the RPC that takes such a request, nullptr when there is none or several RPCs take
// it. Thread-safe.
const AccessRule* FindRule(const google::protobuf::Descriptor* request);

// What callers may do beside the services of the table: gRPC's own.
enum class ForeignAccess {
  kOpen,        // health: load balancers and init systems have no identity
  kIdentified,  // all else, reflection in the first place
  kOurs,        // a service of the table; its handlers ask
};
// By ":path", "/package.Service/Method".
ForeignAccess ForeignAccessOf(absl::string_view path);

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_ACCESS_ACCESS_RULES_H_
