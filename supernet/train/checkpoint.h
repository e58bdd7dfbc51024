// SPDX-License-Identifier: Apache-2.0
// A training checkpoint on disk. One directory per checkpoint, named by its step, holds
// weights.safetensors, momentum.safetensors and average.safetensors, and teacher.safetensors where
// there is one (one flat fp32 vector each), and state.json with their SHA-256; the file LATEST
// names the newest complete one. A crash at any moment leaves the former checkpoint usable.
#ifndef FORALL_SUPERNET_TRAIN_CHECKPOINT_H_
#define FORALL_SUPERNET_TRAIN_CHECKPOINT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace forall {

struct Checkpoint {
  int64_t step = 0;
  double seconds = 0;       // trained so far, over all pieces
  std::string fingerprint;  // RecipeFingerprint, spec and dataset: what it may be resumed with
  std::vector<float> weights;
  std::vector<float> momentum;
  std::vector<float> average;
  std::vector<float> teacher;  // of progressive shrinking, once it has one; else empty
};

// Writes it and deletes the former one. Errors as WriteFileAtomically.
absl::Status SaveCheckpoint(const std::string& directory, const Checkpoint& checkpoint);

// The newest one; nullopt when the directory holds none. DataLoss naming the file when a part is
// absent or was changed.
absl::StatusOr<std::optional<Checkpoint>> LoadCheckpoint(const std::string& directory);

}  // namespace forall

#endif  // FORALL_SUPERNET_TRAIN_CHECKPOINT_H_
