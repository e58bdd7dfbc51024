// SPDX-License-Identifier: Apache-2.0
// PyTorch checkpoints, read without PyTorch: a state dict as torch.save writes it, in the zip
// format (PyTorch 1.6 and later: an archive of data.pkl and one stored entry per storage) and in
// the old one (magic number, protocol, system facts, the state dict, the storages' keys, then each
// storage's element count and bytes). PyTorch's serialization.py is where both are written.
//
// The reader takes hostile files: whatever the bytes are, it returns a status (pickle.h).
#ifndef FORALL_SUPERNET_IMPORTER_TORCH_CHECKPOINT_H_
#define FORALL_SUPERNET_IMPORTER_TORCH_CHECKPOINT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/file.h"
#include "supernet/safetensors.h"

namespace forall {

// A tensor of a checkpoint: a strided view of a storage, whose bytes live as long as the
// checkpoint.
struct TorchTensor {
  std::string name;
  SafetensorsType type = SafetensorsType::kF32;  // of an element
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in elements
  int64_t offset = 0;            // in elements
  absl::string_view storage;     // little-endian
  int64_t elements() const {
    int64_t product = 1;
    for (const int64_t extent : shape) {
      if (extent == 0) return 0;
    }
    for (const int64_t extent : shape) product *= extent;
    return product;
  }
};

// Immutable; thread-safe.
class TorchCheckpoint {
 public:
  // Memory-maps `path`; tensors are not copied. NotFound; DataLoss when the file is cut short or
  // its checksums are wrong; InvalidArgument when it is no checkpoint, needs code to be read, or
  // holds a tensor that does not fit its storage. Messages name the file and what is wrong.
  static absl::StatusOr<std::unique_ptr<TorchCheckpoint>> Open(const std::string& path);
  // The same over bytes in memory; `source` names them in messages.
  static absl::StatusOr<std::unique_ptr<TorchCheckpoint>> Parse(std::string bytes,
                                                                const std::string& source);
  // Bytes that begin like a checkpoint of either format.
  static bool LooksLikeCheckpoint(absl::string_view bytes);

  // Of the dict under "state_dict" where there is one, else of the whole dict, in its order.
  // Entries that are no tensors are left out of a whole dict and refused in a "state_dict".
  const std::vector<TorchTensor>& tensors() const { return tensors_; }
  const std::string& source() const { return source_; }

 private:
  TorchCheckpoint() = default;
  absl::string_view bytes() const { return mapped_ != nullptr ? mapped_->bytes() : owned_; }
  absl::Status Read();

  std::string source_;
  std::unique_ptr<MappedFile> mapped_;
  std::string owned_;
  std::vector<TorchTensor> tensors_;
};

// Copies `tensor`, row-major, as float32 into `output`: floating-point types only. InvalidArgument
// otherwise, and when `output` has another size.
absl::Status CopyAsFloats(const TorchTensor& tensor, absl::Span<float> output);

}  // namespace forall

#endif  // FORALL_SUPERNET_IMPORTER_TORCH_CHECKPOINT_H_
