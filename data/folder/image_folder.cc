// SPDX-License-Identifier: Apache-2.0
#include "data/folder/image_folder.h"

#include <zlib.h>

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "data/folder/folder_description.h"
#include "data/folder/folder_index.h"
#include "data/folder/image_loader.h"
#include "data/image/image_decoder.h"
#include "data/image/image_transform.h"

namespace forall {
namespace {

constexpr int64_t kPrefetchBytes = int64_t{128} << 20;

class FolderDataset : public Dataset {
 public:
  FolderDataset(FolderDescription description, Split split, std::unique_ptr<FolderIndex> index,
                std::string cache_directory, const ImageCacheOptions& cache)
      : description_(std::move(description)),
        split_(split),
        index_(std::move(index)),
        cache_directory_(std::move(cache_directory)),
        cache_options_(cache),
        loader_(UsableCores(), kPrefetchBytes,
                [this](const ImageRequest& request, absl::Span<uint8_t> bytes) {
                  return Make(request, bytes);
                }) {}

  const std::string& name() const override { return description_.name; }
  Split split() const override { return split_; }
  int64_t size() const override { return index_->size(); }
  int channels() const override { return 3; }
  int classes() const override { return static_cast<int>(description_.class_names.size()); }
  const std::vector<std::string>& class_names() const override { return description_.class_names; }
  const std::string& checksum() const override { return index_->checksum(); }
  int32_t label(int64_t index) const override { return static_cast<int32_t>(index_->label(index)); }
  const PixelNormalization& normalization() const override { return description_.normalization; }

  absl::Status Load(absl::Span<const int64_t> indices, int resolution,
                    absl::Span<float> output) const override;
  absl::Status LoadForCalibration(absl::Span<const int64_t> indices, int resolution, uint64_t seed,
                                  absl::Span<float> output) const override;
  void Prefetch(absl::Span<const int64_t> indices, int resolution) const override;

 private:
  // One image into its place of `output`.
  void Normalize(size_t position, absl::Span<const uint8_t> bytes, absl::Span<float> output) const;
  absl::StatusOr<RgbImage> ReadImage(int64_t image) const;
  absl::Status Make(const ImageRequest& request, absl::Span<uint8_t> bytes) const;
  // Null where there is none.
  ImageCache* CacheAt(int resolution) const;

  const FolderDescription description_;
  const Split split_;
  const std::unique_ptr<FolderIndex> index_;
  const std::string cache_directory_;
  const ImageCacheOptions cache_options_;

  mutable Mutex mu_;
  mutable std::map<int, std::unique_ptr<ImageCache>> caches_ ABSL_GUARDED_BY(mu_);
  mutable ImageLoader loader_;  // last: its threads use the rest
};

void FolderDataset::Normalize(size_t position, absl::Span<const uint8_t> bytes,
                              absl::Span<float> output) const {
  const size_t plane = bytes.size() / 3;
  for (size_t c = 0; c < 3; ++c) {
    const uint8_t* const in = bytes.data() + c * plane;
    float* const out = output.data() + position * bytes.size() + c * plane;
    const float mean = description_.normalization.mean[c];
    const float stddev = description_.normalization.stddev[c];
    for (size_t i = 0; i < plane; ++i) {
      out[i] = (static_cast<float>(in[i]) / 255.0f - mean) / stddev;
    }
  }
}

absl::Status FolderDataset::Load(absl::Span<const int64_t> indices, int resolution,
                                 absl::Span<float> output) const {
  FORALL_RETURN_IF_ERROR(CheckLoad(*this, indices, resolution, output));
  const ImageCache* const cache = CacheAt(resolution);
  std::vector<uint8_t> bytes(3 * static_cast<size_t>(resolution) * static_cast<size_t>(resolution));
  std::vector<ImageRequest> requests;
  std::vector<size_t> positions;
  for (size_t i = 0; i < indices.size(); ++i) {
    if (cache != nullptr && cache->Read(indices[i], absl::MakeSpan(bytes))) {
      Normalize(i, bytes, output);
    } else {
      requests.push_back({indices[i], resolution, std::nullopt});
      positions.push_back(i);
    }
  }
  if (requests.empty()) return absl::OkStatus();
  return loader_.Load(requests, [&](size_t i, absl::Span<const uint8_t> made) {
    Normalize(positions[i], made, output);
  });
}

absl::Status FolderDataset::LoadForCalibration(absl::Span<const int64_t> indices, int resolution,
                                               uint64_t seed, absl::Span<float> output) const {
  FORALL_RETURN_IF_ERROR(CheckLoad(*this, indices, resolution, output));
  std::vector<ImageRequest> requests;
  requests.reserve(indices.size());
  for (const int64_t index : indices) requests.push_back({index, resolution, seed});
  return loader_.Load(
      requests, [&](size_t i, absl::Span<const uint8_t> made) { Normalize(i, made, output); });
}

void FolderDataset::Prefetch(absl::Span<const int64_t> indices, int resolution) const {
  if (resolution < 1 || resolution > kMaxLoadResolution) return;
  const ImageCache* const cache = CacheAt(resolution);
  std::vector<ImageRequest> requests;
  for (const int64_t index : indices) {
    if (index < 0 || index >= size() || (cache != nullptr && cache->Has(index))) continue;
    requests.push_back({index, resolution, std::nullopt});
  }
  loader_.Prefetch(requests);
}

absl::StatusOr<RgbImage> FolderDataset::ReadImage(int64_t image) const {
  const std::string path =
      description_.ImagePath(split_, index_->label(image), index_->name(image));
  const auto unusable = [&](absl::string_view what) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " of dataset ", name(), ": ", what,
                     " since the folder was added; put "
                     "the file back, or run forall dataset add again"));
  };
  const absl::StatusOr<std::string> bytes = ReadFile(path, index_->file_size(image));
  if (absl::IsNotFound(bytes.status())) return unusable("it has gone");
  if (absl::IsResourceExhausted(bytes.status())) return unusable("it has changed");
  if (!bytes.ok()) return absl::FailedPreconditionError(bytes.status().message());
  const uLong crc = crc32_z(0, reinterpret_cast<const Bytef*>(bytes->data()), bytes->size());
  if (bytes->size() != index_->file_size(image) || crc != index_->file_crc(image)) {
    return unusable("it has changed");
  }
  absl::StatusOr<RgbImage> decoded = DecodeImage(*bytes);
  if (!decoded.ok()) {
    return absl::FailedPreconditionError(absl::StrCat(path, ": ", decoded.status().message()));
  }
  return decoded;
}

absl::Status FolderDataset::Make(const ImageRequest& request, absl::Span<uint8_t> bytes) const {
  FORALL_ASSIGN_OR_RETURN(const RgbImage image, ReadImage(request.image));
  if (request.training_seed.has_value()) {
    Random random = Random::ForStream(*request.training_seed, static_cast<uint64_t>(request.image));
    TransformImage(image, TrainingPlan(image.width, image.height, request.resolution, &random),
                   bytes);
    return absl::OkStatus();
  }
  TransformImage(image, EvaluationPlan(image.width, image.height, request.resolution), bytes);
  if (ImageCache* const cache = CacheAt(request.resolution); cache != nullptr) {
    cache->Write(request.image, bytes);
  }
  return absl::OkStatus();
}

ImageCache* FolderDataset::CacheAt(int resolution) const {
  if (!cache_options_.enabled) return nullptr;
  MutexLock lock(&mu_);
  const auto [entry, added] = caches_.try_emplace(resolution);
  if (added) {
    auto cache = ImageCache::Open(cache_directory_, cache_options_.quota_bytes, SplitName(split_),
                                  checksum(), size(), resolution);
    if (cache.ok()) {
      entry->second = *std::move(cache);
    } else {
      FORALL_LOG(WARNING) << "images are not cached and will be decoded whenever they are wanted: "
                          << cache.status().message() << " dataset=" << name();
    }
  }
  return entry->second.get();
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Dataset>> OpenImageFolder(absl::string_view name, Split split,
                                                               const std::string& folder,
                                                               absl::string_view description,
                                                               const ImageCacheOptions& cache) {
  absl::StatusOr<FolderDescription> parsed = FolderDescription::Parse(description, name);
  if (!parsed.ok()) return WithContext(parsed.status(), absl::StrCat(folder, "/dataset.json"));
  FORALL_ASSIGN_OR_RETURN(std::unique_ptr<FolderIndex> index,
                          FolderIndex::Open(absl::StrCat(folder, "/images.idx"), split,
                                            static_cast<int>(parsed->class_names.size())));
  const std::string place = cache.directory.empty() ? absl::StrCat(folder, "/cache")
                                                    : absl::StrCat(cache.directory, "/", name);
  return std::make_shared<FolderDataset>(*std::move(parsed), split, std::move(index), place, cache);
}

}  // namespace forall
