// SPDX-License-Identifier: Apache-2.0
#ifndef FORALL_SEARCH_STORE_TESTING_PACK_BYTES_H_
#define FORALL_SEARCH_STORE_TESTING_PACK_BYTES_H_

#include <string>

#include "absl/strings/string_view.h"

namespace forall::testing {

// As CompressBytes (evidence_codec.h), also of more than it takes: what a hostile store may hold.
std::string PackBytes(absl::string_view bytes);

}  // namespace forall::testing

#endif  // FORALL_SEARCH_STORE_TESTING_PACK_BYTES_H_
