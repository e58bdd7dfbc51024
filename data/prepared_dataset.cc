// SPDX-License-Identifier: Apache-2.0
#include "data/prepared_dataset.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/identifier.h"
#include "base/json_depth.h"
#include "base/status_macros.h"
#include "data/folder/folder_description.h"
#include "data/folder/image_cache.h"
#include "data/folder/image_folder.h"
#include "data/held_out.h"
#include "data/image_store.h"
#include "data/published_images.h"
#include "data/stored_dataset.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kFormat[] = "forall.dataset.1";
constexpr char kDescriptionFile[] = "dataset.json";
constexpr char kImagesFile[] = "images.bin";
constexpr int kMaxClasses = 256;                              // a label is a byte
constexpr uint64_t kMaxDescriptionBytes = uint64_t{1} << 28;  // it may list many skipped images

// Whether a description is of image files, which are opened elsewhere.
bool IsFolder(absl::string_view text) {
  if (!CheckJsonDepth(text).ok()) return false;
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  return json.is_object() && json.value("source", Json()) == kFolderSource;
}

ImageStoreContent SplitImages(const PublishedImages& images, const PrepareOptions& options) {
  const size_t image_bytes = static_cast<size_t>(images.format.image_bytes());
  std::vector<uint32_t> labels;
  labels.reserve(images.train.labels.size());
  for (const char label : images.train.labels) labels.push_back(static_cast<unsigned char>(label));
  const std::vector<Split> splits =
      HoldOut(labels, images.format.classes, options.validation_share, 0.0, options.name);
  ImageStoreContent content;
  for (size_t i = 0; i < images.train.labels.size(); ++i) {
    const size_t split = static_cast<size_t>(splits[i]);
    content.labels[split].push_back(images.train.labels[i]);
    content.pixels[split].append(images.train.pixels, i * image_bytes, image_bytes);
  }
  content.labels[static_cast<size_t>(Split::kTest)] = images.test.labels;
  content.pixels[static_cast<size_t>(Split::kTest)] = images.test.pixels;
  return content;
}

// Mean and standard deviation of each channel over x / 255.
PixelNormalization Normalization(const ImageFormat& format, const std::string& pixels) {
  const size_t plane = static_cast<size_t>(format.height) * static_cast<size_t>(format.width);
  const size_t channels = static_cast<size_t>(format.channels);
  std::vector<double> sums(channels, 0.0);
  std::vector<double> squares(channels, 0.0);
  for (size_t i = 0; i < pixels.size(); ++i) {
    const double value = static_cast<unsigned char>(pixels[i]) / 255.0;
    sums[i / plane % channels] += value;
    squares[i / plane % channels] += value * value;
  }
  const double count = static_cast<double>(pixels.size()) / static_cast<double>(channels);
  PixelNormalization normalization;
  for (size_t c = 0; c < channels; ++c) {
    const double mean = sums[c] / count;
    const double variance = std::max(squares[c] / count - mean * mean, 1e-6);
    // Four digits, as such figures are published, so that the text holds the value exactly.
    normalization.mean.push_back(static_cast<float>(std::round(mean * 1e4) / 1e4));
    normalization.stddev.push_back(
        static_cast<float>(std::max(std::round(std::sqrt(variance) * 1e4), 1.0) / 1e4));
  }
  return normalization;
}

absl::StatusOr<DatasetDescription> ParseDescription(absl::string_view text,
                                                    absl::string_view name) {
  FORALL_RETURN_IF_ERROR(CheckJsonDepth(text));
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object() || json.value("format", Json()) != kFormat) {
    return absl::DataLossError(absl::StrCat("it is not of the format ", kFormat));
  }
  const auto whole = [&](const char* key) {
    const auto value = json.find(key);
    return value != json.end() && value->is_number_integer() && *value >= 1 && *value <= 1024
               ? value->get<int>()
               : 0;
  };
  const auto reals = [&](const char* key) {
    std::vector<float> values;
    const auto list = json.find(key);
    if (list == json.end() || !list->is_array()) return values;
    for (const Json& value : *list) {
      if (value.is_number()) values.push_back(value.get<float>());
    }
    return values;
  };
  DatasetDescription description;
  description.name = std::string(name);
  description.format = {0, whole("channels"), whole("side"), whole("side")};
  description.normalization = {reals("mean"), reals("stddev")};
  const auto classes = json.find("classes");
  if (classes != json.end() && classes->is_array()) {
    for (const Json& value : *classes) {
      if (value.is_string()) description.class_names.push_back(value.get<std::string>());
    }
  }
  description.format.classes = static_cast<int>(description.class_names.size());
  const size_t channels = static_cast<size_t>(description.format.channels);
  bool usable = json.value("name", Json()) == std::string(name) && channels >= 1 &&
                description.format.height >= 1 && description.format.classes >= 2 &&
                description.format.classes <= kMaxClasses &&
                description.normalization.mean.size() == channels &&
                description.normalization.stddev.size() == channels;
  for (const float stddev : description.normalization.stddev) usable = usable && stddev > 0;
  if (!usable) return absl::DataLossError("a field is missing or does not fit the others");
  return description;
}

}  // namespace

absl::Status CheckDatasetName(absl::string_view name) {
  if (!IsIdentifier(name))
    return absl::InvalidArgumentError(absl::StrCat("name: ", kIdentifierRule));
  if (name != "fashion_mnist") return absl::OkStatus();
  return absl::InvalidArgumentError(
      "name: fashion_mnist is the name of the dataset that comes with forall; choose another");
}

absl::Status CheckValidationShare(double share) {
  if (share >= 0.01 && share <= 0.5) return absl::OkStatus();
  return absl::InvalidArgumentError("validation share: must be from 0.01 to 0.5");
}

absl::StatusOr<DatasetSource> ParseDatasetSource(absl::string_view name) {
  if (name == "idx") return DatasetSource::kIdx;
  if (name == "cifar10") return DatasetSource::kCifar10;
  if (name == "cifar100") return DatasetSource::kCifar100;
  return absl::InvalidArgumentError(
      absl::StrCat("format: \"", name, "\" is none of idx, cifar10, cifar100, imagefolder"));
}

absl::StatusOr<PreparedSizes> PrepareDataset(const PrepareOptions& options,
                                             const std::string& source_directory,
                                             const std::string& directory) {
  FORALL_RETURN_IF_ERROR(CheckDatasetName(options.name));
  FORALL_RETURN_IF_ERROR(CheckValidationShare(options.validation_share));
  absl::StatusOr<PublishedImages> read =
      options.source == DatasetSource::kIdx       ? ReadIdxFolder(source_directory)
      : options.source == DatasetSource::kCifar10 ? ReadCifar10Folder(source_directory)
                                                  : ReadCifar100Folder(source_directory);
  FORALL_RETURN_IF_ERROR(read.status());
  const PublishedImages& images = *read;
  if (images.format.classes < 2)
    return absl::InvalidArgumentError("the images have one class only");
  const ImageStoreContent content = SplitImages(images, options);
  PreparedSizes sizes;
  sizes.train = static_cast<int64_t>(content.labels[0].size());
  sizes.validation = static_cast<int64_t>(content.labels[1].size());
  sizes.test = static_cast<int64_t>(content.labels[2].size());
  sizes.classes = images.format.classes;
  if (sizes.train == 0 || sizes.validation == 0 || sizes.test == 0) {
    return absl::InvalidArgumentError("too few images: a split would be empty");
  }
  const PixelNormalization normalization = Normalization(images.format, content.pixels[0]);
  Json json;
  json["format"] = kFormat;
  json["name"] = options.name;
  json["source"] = options.source == DatasetSource::kIdx       ? "idx"
                   : options.source == DatasetSource::kCifar10 ? "cifar10"
                                                               : "cifar100";
  json["classes"] = images.class_names;
  json["channels"] = images.format.channels;
  json["side"] = images.format.height;
  // As decimals of four digits, not as the nearest floats.
  for (const auto& [key, values] :
       {std::pair("mean", &normalization.mean), std::pair("stddev", &normalization.stddev)}) {
    json[key] = Json::array();
    for (const float value : *values) {
      json[key].push_back(std::round(static_cast<double>(value) * 1e4) / 1e4);
    }
  }
  json["images"] = {{"train", sizes.train}, {"validation", sizes.validation}, {"test", sizes.test}};
  FORALL_RETURN_IF_ERROR(ReplaceDataset(
      directory, options.name,
      {{kImagesFile, SerializeImageStore(images.format, content)},
       {kDescriptionFile, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"}}));
  return sizes;
}

absl::Status ReplaceDataset(const std::string& directory, const std::string& name,
                            const std::vector<std::pair<std::string, std::string>>& files) {
  const std::string fresh = absl::StrCat(directory, "/.", name, ".new");
  const std::string folder = absl::StrCat(directory, "/", name);
  std::error_code ignored;
  std::filesystem::remove_all(fresh, ignored);  // of a run that was interrupted
  FORALL_RETURN_IF_ERROR(CreateDirectories(fresh));
  for (const auto& [file, content] : files) {
    FORALL_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(fresh, "/", file), content));
  }
  // Decoded images carry their own checksums: those of images that are still there serve on.
  std::filesystem::rename(absl::StrCat(folder, "/cache"), absl::StrCat(fresh, "/cache"), ignored);
  return ReplaceDirectory(fresh, folder);
}

absl::StatusOr<std::shared_ptr<const Dataset>> OpenPrepared(absl::string_view name, Split split,
                                                            const std::string& directory) {
  FORALL_RETURN_IF_ERROR(CheckDatasetName(name));
  const std::string folder = absl::StrCat(directory, "/", name);
  const std::string path = absl::StrCat(folder, "/", kDescriptionFile);
  FORALL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxDescriptionBytes));
  if (IsFolder(text)) {
    FORALL_ASSIGN_OR_RETURN(const ImageCacheOptions cache, ImageCacheOptions::FromEnvironment());
    return OpenImageFolder(name, split, folder, text, cache);
  }
  absl::StatusOr<DatasetDescription> description = ParseDescription(text, name);
  if (!description.ok()) return WithContext(description.status(), path);
  FORALL_ASSIGN_OR_RETURN(auto store, ImageStoreSplit::Open(absl::StrCat(folder, "/", kImagesFile),
                                                            split, description->format));
  return std::make_shared<StoredDataset>(*std::move(description), split, std::move(store));
}

std::vector<std::string> PreparedNames(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(directory, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (CheckDatasetName(name).ok() &&
        std::filesystem::exists(entry->path() / kDescriptionFile, error)) {
      names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace forall
