// SPDX-License-Identifier: Apache-2.0
// The safetensors format: named tensors in one file, little-endian, no code.
//
//   8 bytes   length N of the header, little-endian
//   N bytes   JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...,
//             "__metadata__": {"key": "text", ...}}; offsets count from the end of the header
//   the rest  the tensors' bytes, row-major, without gaps or overlaps
//
// The reader takes hostile files: whatever the bytes are, it returns a status.
#ifndef FORALL_SUPERNET_SAFETENSORS_H_
#define FORALL_SUPERNET_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/file.h"

namespace forall {

// Longest header accepted. The largest real ones (thousands of tensors) are below 1 MiB.
inline constexpr uint64_t kMaxSafetensorsHeader = uint64_t{16} << 20;

enum class SafetensorsType { kF64, kI64, kF32, kI32, kF16, kBF16, kU8 };
const char* SafetensorsTypeName(SafetensorsType type);  // "F32", ...
int64_t SafetensorsTypeSize(SafetensorsType type);      // bytes of one element

// A tensor inside a SafetensorsFile; bytes live as long as the file object. They are not
// necessarily aligned.
struct SafetensorsView {
  std::string name;
  SafetensorsType type = SafetensorsType::kF32;
  std::vector<int64_t> shape;
  absl::string_view bytes;
  int64_t elements() const {
    return static_cast<int64_t>(bytes.size()) / SafetensorsTypeSize(type);
  }
};

// A parsed file. Immutable; thread-safe.
class SafetensorsFile {
 public:
  // Memory-maps `path`; nothing is copied. NotFound when there is no such file; DataLoss when it is
  // cut short; InvalidArgument when it is not a well-formed safetensors file (bad or too long
  // header, unknown dtype, key or tensor given twice, byte range outside the file, overlapping,
  // leaving a gap or of another size than the shape). Messages name the file and the tensor.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::string& path);
  // The same over bytes in memory; `source` names them in messages.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Parse(std::string bytes,
                                                                const std::string& source);

  // In order of their bytes in the file.
  const std::vector<SafetensorsView>& tensors() const { return tensors_; }
  // nullptr when there is none of that name.
  const SafetensorsView* Find(absl::string_view name) const;
  // "__metadata__", empty when absent.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::string& source() const { return source_; }
  // The whole file.
  absl::string_view bytes() const { return mapped_ != nullptr ? mapped_->bytes() : owned_; }

 private:
  SafetensorsFile() = default;
  absl::Status ParseHeader();

  std::string source_;
  std::unique_ptr<MappedFile> mapped_;
  std::string owned_;
  std::vector<SafetensorsView> tensors_;
  absl::flat_hash_map<std::string, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

// Copies `tensor` as float32 into `output`. F32, F16 and BF16 only (InvalidArgument otherwise, and
// when `output` has another size).
absl::Status CopyAsFloats(const SafetensorsView& tensor, absl::Span<float> output);

// A tensor to be written. `values` are rounded to nearest when `type` is F16; F32 and F16 only.
struct SafetensorsEntry {
  std::string name;
  SafetensorsType type = SafetensorsType::kF32;
  std::vector<int64_t> shape;
  absl::Span<const float> values;
};

// The file's bytes: the same input gives the same bytes, whatever the order of `entries` (F32
// before F16, then by name, so that every tensor is aligned to its element; the data begin at a
// multiple of 8). InvalidArgument for a name given twice or reserved, a size that does not fit the
// shape, a finite value that F16 cannot hold, or another type.
absl::StatusOr<std::string> SerializeSafetensors(
    absl::Span<const SafetensorsEntry> entries, const std::map<std::string, std::string>& metadata);

}  // namespace forall

#endif  // FORALL_SUPERNET_SAFETENSORS_H_
