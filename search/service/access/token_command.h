// SPDX-License-Identifier: Apache-2.0
// forall-controller token add|list|revoke: beside a running controller, which sees the change
// within a second.
#ifndef FORALL_SEARCH_SERVICE_ACCESS_TOKEN_COMMAND_H_
#define FORALL_SEARCH_SERVICE_ACCESS_TOKEN_COMMAND_H_

#include <ostream>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace forall {

// `arguments` are those after "token". Returns the exit code: 0 done, 1 failed, 2 bad argument. A
// new token alone is on `out`, so that a script can keep it; all that explains is on `err`.
int RunTokenCommand(const std::vector<std::string>& arguments, absl::Time now, std::ostream& out,
                    std::ostream& err);

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_ACCESS_TOKEN_COMMAND_H_
