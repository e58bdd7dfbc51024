// SPDX-License-Identifier: Apache-2.0
#include <zlib.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/mutex.h"
#include "base/parallel.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "data/folder/folder_description.h"
#include "data/folder/folder_index.h"
#include "data/folder/folder_scan.h"
#include "data/folder/image_folder.h"
#include "data/held_out.h"
#include "data/image/image_decoder.h"

namespace forall {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{256} << 20;
constexpr uint64_t kMaxDescriptionBytes = uint64_t{1} << 28;

// What reading an image told.
struct Examined {
  uint32_t size = 0;
  uint32_t crc = 0;
  std::array<char, 32> sha256 = {};
  std::string wrong;  // empty when it can be decoded
};

Examined Examine(const std::string& path) {
  Examined examined;
  const absl::StatusOr<std::string> bytes = ReadFile(path, kMaxFileBytes);
  if (!bytes.ok()) {
    examined.wrong = std::string(bytes.status().message());
    return examined;
  }
  examined.size = static_cast<uint32_t>(bytes->size());
  examined.crc = static_cast<uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(bytes->data()), bytes->size()));
  const std::string digest = absl::HexStringToBytes(Sha256Hex(*bytes));
  std::copy_n(digest.begin(), examined.sha256.size(), examined.sha256.begin());
  const absl::Status decoded = DecodeImage(*bytes).status();
  if (!decoded.ok()) examined.wrong = std::string(decoded.message());
  return examined;
}

// Examines all images of both parts, train first.
class Examination {
 public:
  Examination(const FolderOptions& options, const std::string& path, const FoundFolder& found)
      : options_(options), path_(path), found_(found) {
    examined_.resize(found.train.images.size() + found.val.images.size());
  }

  absl::Status Run() {
    const auto total = static_cast<int64_t>(examined_.size());
    return ParallelFor(options_.threads, total, [&](int64_t i) {
      Examined& examined = examined_[static_cast<size_t>(i)];
      examined = Examine(absl::StrCat(path_, "/", Name(i)));
      MutexLock lock(&mu_);
      ++done_;
      bad_ += examined.wrong.empty() ? 0 : 1;
      if (options_.progress) options_.progress(done_, total, bad_);
      return absl::OkStatus();
    });
  }

  // Below the folder that was given.
  std::string Name(int64_t i) const {
    const size_t trained = found_.train.images.size();
    const auto at = static_cast<size_t>(i);
    const FoundPart& part = at < trained ? found_.train : found_.val;
    const FoundImage& image = part.images[at < trained ? at : at - trained];
    return absl::StrCat(part.folder, part.folder.empty() ? "" : "/", found_.classes[image.label],
                        "/", image.name);
  }
  const std::vector<Examined>& examined() const { return examined_; }
  // As FolderFindings has them.
  std::vector<std::string> Corrupt() const {
    std::vector<std::string> corrupt;
    for (size_t i = 0; i < examined_.size(); ++i) {
      if (examined_[i].wrong.empty()) continue;
      corrupt.push_back(absl::StrCat(Name(static_cast<int64_t>(i)), ": ", examined_[i].wrong));
    }
    return corrupt;
  }

 private:
  const FolderOptions& options_;
  const std::string& path_;
  const FoundFolder& found_;
  std::vector<Examined> examined_;  // each written by the one thread that examines it
  Mutex mu_;
  int64_t done_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t bad_ ABSL_GUARDED_BY(mu_) = 0;
};

std::string SplitChecksum(const std::vector<const Examined*>& examined,
                          const std::vector<IndexedImage>& images) {
  Sha256 sha;
  for (size_t i = 0; i < images.size(); ++i) {
    sha.Update({examined[i]->sha256.data(), examined[i]->sha256.size()});
    std::string label;
    for (int shift = 0; shift < 32; shift += 8) {
      label.push_back(static_cast<char>(images[i].label >> shift));
    }
    sha.Update(label);
  }
  return sha.HexDigest();
}

std::array<IndexedSplit, 3> Divide(const FolderOptions& options, const FoundFolder& found,
                                   const Examination& examination) {
  std::vector<const FoundImage*> images;
  std::vector<const Examined*> examined;
  std::vector<Split> splits;
  std::vector<uint32_t> trained;
  const auto take = [&](const FoundPart& part, size_t offset) {
    for (size_t i = 0; i < part.images.size(); ++i) {
      const Examined& seen = examination.examined()[offset + i];
      if (!seen.wrong.empty()) continue;
      images.push_back(&part.images[i]);
      examined.push_back(&seen);
    }
  };
  take(found.train, 0);
  for (const FoundImage* image : images) trained.push_back(image->label);
  const double test_share = found.val.images.empty() ? options.validation_share : 0.0;
  splits = HoldOut(trained, static_cast<int>(found.classes.size()), options.validation_share,
                   test_share, options.name);
  take(found.val, found.train.images.size());
  splits.resize(images.size(), Split::kTest);

  std::array<IndexedSplit, 3> divided;
  for (size_t s = 0; s < divided.size(); ++s) {
    std::vector<const Examined*> own;
    for (size_t i = 0; i < images.size(); ++i) {
      if (static_cast<size_t>(splits[i]) != s) continue;
      own.push_back(examined[i]);
      divided[s].images.push_back(
          {images[i]->name, images[i]->label, examined[i]->size, examined[i]->crc});
    }
    divided[s].checksum = SplitChecksum(own, divided[s].images);
  }
  return divided;
}

// Readable names in the order of `folders`.
absl::StatusOr<std::vector<std::string>> ReadClassNames(const std::string& path,
                                                        const std::vector<std::string>& folders) {
  if (path.empty()) return folders;
  FORALL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxDescriptionBytes));
  std::map<std::string, std::string, std::less<>> names;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripAsciiWhitespace(line);
    if (line.empty()) continue;
    const size_t end = std::min(line.find_first_of(" \t"), line.size());
    const absl::string_view name = absl::StripAsciiWhitespace(line.substr(end));
    if (!names.emplace(std::string(line.substr(0, end)), std::string(name)).second ||
        name.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": \"", line, "\": wanted are lines FOLDER NAME, one per class"));
    }
  }
  std::vector<std::string> ordered;
  for (const std::string& folder : folders) {
    const auto found = names.find(folder);
    if (found == names.end()) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": no name for class ", folder));
    }
    ordered.push_back(found->second);
  }
  return ordered;
}

// JSON holds text only; a folder may be called anything.
absl::Status CheckNames(const FolderDescription& description) {
  FORALL_ASSIGN_OR_RETURN(const FolderDescription kept,
                          FolderDescription::Parse(description.ToJson(), description.name));
  if (kept.path == description.path && kept.folders == description.folders &&
      kept.class_names == description.class_names) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(description.path,
                   ": the names of the folder, of its classes' folders and of the classes must "
                   "be UTF-8"));
}

absl::Status CheckSplits(const std::array<IndexedSplit, 3>& splits, const FoundFolder& found) {
  for (const IndexedSplit& split : splits) {
    if (split.images.empty()) {
      return absl::InvalidArgumentError(
          "too few images: a split would be empty (--validation sets the share held out)");
    }
  }
  std::set<uint32_t> seen;
  for (const IndexedImage& image : splits[0].images) seen.insert(image.label);
  for (uint32_t c = 0; c < found.classes.size(); ++c) {
    if (!seen.contains(c)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "class ", found.classes[c], " has too few usable images: none is left for training"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PreparedSizes> PrepareImageFolder(const FolderOptions& options,
                                                 const std::string& path,
                                                 const std::string& directory,
                                                 FolderFindings* findings) {
  FORALL_RETURN_IF_ERROR(CheckDatasetName(options.name));
  FORALL_RETURN_IF_ERROR(CheckValidationShare(options.validation_share));
  std::error_code error;
  const std::string root = std::filesystem::absolute(path, error).lexically_normal().string();
  if (error) return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.message()));
  FORALL_ASSIGN_OR_RETURN(const FoundFolder found, ScanFolder(path));
  FolderDescription description;
  description.name = options.name;
  description.path = root;
  description.folders = found.classes;
  FORALL_ASSIGN_OR_RETURN(description.class_names,
                          ReadClassNames(options.class_names, found.classes));
  // ImageNet's, as torchvision and the once-for-all authors use them.
  description.normalization = {{0.485f, 0.456f, 0.406f}, {0.229f, 0.224f, 0.225f}};
  FORALL_RETURN_IF_ERROR(CheckNames(description));
  findings->ignored = found.ignored;
  findings->ignored_example = found.ignored_example;

  Examination examination(options, path, found);
  FORALL_RETURN_IF_ERROR(examination.Run());
  findings->corrupt = examination.Corrupt();
  if (!findings->corrupt.empty() && !options.skip_corrupt) {
    return absl::DataLossError(
        absl::StrCat(findings->corrupt.size(), " of ", examination.examined().size(),
                     " images cannot be decoded, the first is ", findings->corrupt[0],
                     "; repair or remove them, or leave them out with --skip-corrupt"));
  }

  const std::array<IndexedSplit, 3> splits = Divide(options, found, examination);
  FORALL_RETURN_IF_ERROR(CheckSplits(splits, found));
  const bool has_val = !found.val.images.empty();
  description.parts = {found.train.folder, found.train.folder,
                       has_val ? found.val.folder : found.train.folder};
  description.skipped = findings->corrupt;
  for (size_t s = 0; s < splits.size(); ++s) {
    description.images[s] = static_cast<int64_t>(splits[s].images.size());
  }
  FORALL_ASSIGN_OR_RETURN(const std::string index,
                          SerializeFolderIndex(static_cast<int>(found.classes.size()), splits));
  FORALL_RETURN_IF_ERROR(ReplaceDataset(
      directory, options.name, {{"images.idx", index}, {"dataset.json", description.ToJson()}}));
  return PreparedSizes{description.images[0], description.images[1], description.images[2],
                       static_cast<int>(found.classes.size())};
}

std::vector<std::string> SkippedImages(const std::string& folder) {
  const auto text = ReadFile(absl::StrCat(folder, "/dataset.json"), kMaxDescriptionBytes);
  if (!text.ok()) return {};
  const auto description =
      FolderDescription::Parse(*text, std::filesystem::path(folder).filename().string());
  return description.ok() ? description->skipped : std::vector<std::string>();
}

}  // namespace forall
