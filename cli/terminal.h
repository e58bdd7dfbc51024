// SPDX-License-Identifier: Apache-2.0
// How wide what is printed may be.
#ifndef FORALL_CLI_TERMINAL_H_
#define FORALL_CLI_TERMINAL_H_

#include <cstddef>

namespace forall {

// Columns of the terminal that the descriptor is: as COLUMNS says, otherwise as the terminal does,
// otherwise 80. 0 where it is none: a file or a program gets everything in full.
size_t TerminalWidth(int descriptor);

// The same of standard output.
size_t OutputWidth();

}  // namespace forall

#endif  // FORALL_CLI_TERMINAL_H_
