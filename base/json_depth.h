// SPDX-License-Identifier: Apache-2.0
// JSON from others is parsed without recursion, but copying, comparing and printing it recurse: a
// text of a million brackets would end the process. Ask here before parsing.
#ifndef FORALL_BASE_JSON_DEPTH_H_
#define FORALL_BASE_JSON_DEPTH_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace forall {

// Far more than anything of ours nests.
inline constexpr int kMaxJsonDepth = 32;

// InvalidArgument when arrays and objects nest deeper than kMaxJsonDepth. Says nothing else about
// the text, which need not be JSON. Linear in its length.
absl::Status CheckJsonDepth(absl::string_view text);

}  // namespace forall

#endif  // FORALL_BASE_JSON_DEPTH_H_
