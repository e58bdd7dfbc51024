// SPDX-License-Identifier: Apache-2.0
// What an operator does with a store beside the controller: `forall-controller backup`, `check`,
// `gc`, `compact`.
#ifndef FORALL_SEARCH_SERVICE_CONTROLLER_TOOLS_H_
#define FORALL_SEARCH_SERVICE_CONTROLLER_TOOLS_H_

#include <ostream>
#include <string>
#include <vector>

namespace forall {

// Whether the arguments, without the program's name, begin with the name of such a command.
bool IsControllerTool(const std::vector<std::string>& arguments);

// Runs it. Results go to `out`, what went wrong to `err`. Returns the exit code: 0 all is well; 1
// something is not (findings, a missing artifact, a disk that is full); 2 the command line is
// wrong.
int RunControllerTool(const std::vector<std::string>& arguments, std::ostream& out,
                      std::ostream& err);

}  // namespace forall

#endif  // FORALL_SEARCH_SERVICE_CONTROLLER_TOOLS_H_
