// SPDX-License-Identifier: Apache-2.0
// A Dataset over one split of an image store.
#ifndef FORALL_DATA_STORED_DATASET_H_
#define FORALL_DATA_STORED_DATASET_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "data/dataset.h"
#include "data/image_store.h"

namespace forall {

struct DatasetDescription {
  std::string name;
  ImageFormat format;  // square images
  std::vector<std::string> class_names;
  PixelNormalization normalization;
};

// Images at other resolutions than the stored one are resized when first asked
// for, and kept (4 bytes a value; 10,000 grey images at 24 x 24 take 23 MB).
// Thread-safe.
class StoredDataset : public Dataset {
 public:
  StoredDataset(DatasetDescription description, Split split,
                std::unique_ptr<ImageStoreSplit> store);
  ~StoredDataset() override;

  const std::string& name() const override { return description_.name; }
  Split split() const override { return split_; }
  int64_t size() const override { return store_->size(); }
  int channels() const override { return description_.format.channels; }
  int classes() const override { return description_.format.classes; }
  const std::vector<std::string>& class_names() const override { return description_.class_names; }
  const std::string& checksum() const override { return store_->checksum(); }
  int32_t label(int64_t index) const override { return store_->labels()[index]; }
  absl::Status Load(absl::Span<const int64_t> indices, int resolution,
                    absl::Span<float> output) const override;
  std::optional<StoredPixels> stored_pixels() const override {
    return StoredPixels{side(), store_->pixels()};
  }
  const PixelNormalization& normalization() const override { return description_.normalization; }

 private:
  struct Resized;

  int side() const { return description_.format.height; }
  Resized* AtResolution(int resolution) const;
  void NormalizeNative(int64_t index, absl::Span<float> output) const;

  const DatasetDescription description_;
  const Split split_;
  const std::unique_ptr<ImageStoreSplit> store_;
  std::vector<float> normalized_;  // [channels, 256]: the float of every byte

  mutable Mutex mu_;
  mutable std::map<int, std::unique_ptr<Resized>> resized_ ABSL_GUARDED_BY(mu_);
};

}  // namespace forall

#endif  // FORALL_DATA_STORED_DATASET_H_
