// SPDX-License-Identifier: Apache-2.0
// How bulky evidence is stored: an 8-byte little-endian length, then a zlib stream of that many
// bytes; nothing at all when there is nothing. Samples are IEEE doubles whose bytes are first
// regrouped by significance (all first bytes, then all second bytes, ...): runs of one network
// share their high bytes, which then compress to almost nothing.
#ifndef FORALL_SEARCH_STORE_EVIDENCE_CODEC_H_
#define FORALL_SEARCH_STORE_EVIDENCE_CODEC_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace forall {

// InvalidArgument: more than 64 MiB, which no evidence has. ResourceExhausted: no memory.
absl::StatusOr<std::string> CompressBytes(absl::string_view bytes);
// DataLoss for anything that CompressBytes did not make; allocates no more than 64 MiB, nor than
// zlib could have packed into `compressed`.
absl::StatusOr<std::string> DecompressBytes(absl::string_view compressed);

absl::StatusOr<std::string> CompressSamples(absl::Span<const double> samples);
absl::StatusOr<std::vector<double>> DecompressSamples(absl::string_view compressed);

}  // namespace forall

#endif  // FORALL_SEARCH_STORE_EVIDENCE_CODEC_H_
