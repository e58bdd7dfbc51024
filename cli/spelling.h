// SPDX-License-Identifier: Apache-2.0
// What a misspelt word was meant to be.
#ifndef FORALL_CLI_SPELLING_H_
#define FORALL_CLI_SPELLING_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace forall {

// "; did you mean NAME?" for the nearest of `names` that is at most `most` edits away, otherwise
// "".
std::string DidYouMean(absl::string_view word, const std::vector<std::string>& names,
                       size_t most = 2);

}  // namespace forall

#endif  // FORALL_CLI_SPELLING_H_
