// SPDX-License-Identifier: Apache-2.0
// From a checkpoint, as PyTorch or safetensors hold it, to the tensors of a family.
#ifndef FORALL_SUPERNET_IMPORTER_CHECKPOINT_IMPORT_H_
#define FORALL_SUPERNET_IMPORTER_CHECKPOINT_IMPORT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "space/family.h"
#include "supernet/package.h"

namespace forall {

// Reads the tensors of `family` out of a PyTorch checkpoint (either format) or a safetensors file,
// told apart by their first bytes. Names may be spelt as the authors' current code does or as their
// published files do ("blocks.1.mobile_inverted_conv." for "blocks.1.conv.", modules wrapped once
// more or once less, "module." in front); batch counters may be absent. Values become float32.
// Thread-safe.
//
// InvalidArgument naming missing, extra and misshapen tensors (eight of each kind, and how many
// more there are), two names that mean one tensor, or a file of another kind; otherwise as
// TorchCheckpoint::Open and SafetensorsFile::Open. Whether values are finite is checked when the
// package is written.
absl::StatusOr<std::vector<NamedTensor>> ImportCheckpoint(const std::string& path,
                                                          const Family& family);

// The same for any tensors, e.g. those of a published specialised network (StandaloneShapes), in
// the order of `expected`. `owner` is whose they are, for messages.
absl::StatusOr<std::vector<NamedTensor>> ImportTensors(const std::string& path,
                                                       absl::Span<const NamedShape> expected,
                                                       absl::string_view owner);

}  // namespace forall

#endif  // FORALL_SUPERNET_IMPORTER_CHECKPOINT_IMPORT_H_
