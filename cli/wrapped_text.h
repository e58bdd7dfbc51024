// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_CLI_WRAPPED_TEXT_H_
#define FORALL_CLI_WRAPPED_TEXT_H_

#include <cstddef>
#include <limits>
#include <string>

#include "absl/strings/string_view.h"

namespace forall {

// Blanks for control characters: what came from another machine commands no terminal.
std::string Printable(absl::string_view text);

// `head` and the words of `text` in lines of at most `width` bytes, each with its line break; the
// later ones begin with `indent` blanks. A word that is longer than a line has its own. The
// text is made printable.
std::string WrappedText(absl::string_view head, absl::string_view text, size_t indent,
                        size_t width);

// Its `width` for output that is so many columns wide, 0 of what is no terminal: any.
inline size_t LineWidth(size_t columns) {
  return columns == 0 ? std::numeric_limits<size_t>::max() : columns;
}

}  // namespace forall

#endif  // FORALL_CLI_WRAPPED_TEXT_H_
