// SPDX-License-Identifier: Apache-2.0
#include "data/stored_dataset.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "data/resize.h"

namespace forall {
namespace {

// Images resized together under one lock: long enough to be worth it, short
// enough not to be waited for (a few milliseconds).
constexpr int64_t kBlock = 256;

}  // namespace

// Blocks of resized images; a block, once made, never moves.
struct StoredDataset::Resized {
  Resized(int from, int to, int64_t images)
      : resizer(from, to), blocks((images + kBlock - 1) / kBlock) {}

  const PlaneResizer resizer;
  Mutex mu;
  std::vector<std::unique_ptr<std::vector<float>>> blocks ABSL_GUARDED_BY(mu);
};

StoredDataset::StoredDataset(DatasetDescription description, Split split,
                             std::unique_ptr<ImageStoreSplit> store)
    : description_(std::move(description)), split_(split), store_(std::move(store)) {
  normalized_.reserve(static_cast<size_t>(channels()) * 256);
  for (int c = 0; c < channels(); ++c) {
    for (int b = 0; b < 256; ++b) {
      normalized_.push_back((static_cast<float>(b) / 255.0f - description_.normalization.mean[c]) /
                            description_.normalization.stddev[c]);
    }
  }
}

StoredDataset::~StoredDataset() = default;

void StoredDataset::NormalizeNative(int64_t index, absl::Span<float> output) const {
  const int64_t plane = int64_t{side()} * side();
  const uint8_t* bytes = store_->pixels().data() + index * description_.format.image_bytes();
  for (int c = 0; c < channels(); ++c) {
    const float* table = normalized_.data() + c * 256;
    for (int64_t i = 0; i < plane; ++i) output[c * plane + i] = table[bytes[c * plane + i]];
  }
}

StoredDataset::Resized* StoredDataset::AtResolution(int resolution) const {
  MutexLock lock(&mu_);
  std::unique_ptr<Resized>& resized = resized_[resolution];
  if (resized == nullptr) {
    resized = std::make_unique<Resized>(side(), resolution, size());
  }
  return resized.get();
}

absl::Status StoredDataset::Load(absl::Span<const int64_t> indices, int resolution,
                                 absl::Span<float> output) const {
  FORALL_RETURN_IF_ERROR(CheckLoad(*this, indices, resolution, output));
  const size_t plane = static_cast<size_t>(resolution) * resolution;
  const size_t per_image = plane * channels();
  if (resolution == side()) {
    for (size_t i = 0; i < indices.size(); ++i) {
      NormalizeNative(indices[i], output.subspan(i * per_image, per_image));
    }
    return absl::OkStatus();
  }
  Resized* resized = AtResolution(resolution);
  for (size_t i = 0; i < indices.size(); ++i) {
    const int64_t block = indices[i] / kBlock;
    const float* images = nullptr;
    {
      MutexLock lock(&resized->mu);
      std::unique_ptr<std::vector<float>>& made = resized->blocks[block];
      if (made == nullptr) {
        const int64_t begin = block * kBlock;
        const int64_t end = std::min(begin + kBlock, size());
        made = std::make_unique<std::vector<float>>((end - begin) * per_image);
        const size_t native_plane = static_cast<size_t>(side()) * side();
        std::vector<float> native(native_plane * channels());
        for (int64_t image = begin; image < end; ++image) {
          NormalizeNative(image, absl::MakeSpan(native));
          for (int c = 0; c < channels(); ++c) {
            resized->resizer.Resize(
                absl::MakeConstSpan(native).subspan(c * native_plane, native_plane),
                absl::MakeSpan(*made).subspan((image - begin) * per_image + c * plane, plane));
          }
        }
      }
      images = made->data();
    }
    const float* source = images + (indices[i] - block * kBlock) * per_image;
    std::copy_n(source, per_image, output.begin() + i * per_image);
  }
  return absl::OkStatus();
}

}  // namespace forall
