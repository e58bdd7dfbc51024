// SPDX-License-Identifier: Apache-2.0
#include "data/folder/folder_scan.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace forall {
namespace {

namespace fs = std::filesystem;

constexpr int kDeepest = 32;

bool IsDirectory(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

bool NamedAsImage(const fs::path& path) {
  const std::string extension = absl::AsciiStrToLower(path.extension().string());
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

absl::StatusOr<std::vector<fs::path>> Entries(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  auto entry = fs::directory_iterator(folder, error);
  while (!error && entry != fs::directory_iterator()) {
    if (entry->path().filename().string()[0] != '.') entries.push_back(entry->path());
    entry.increment(error);
  }
  if (error) {
    return absl::UnavailableError(
        absl::StrCat("cannot list ", folder.string(), ": ", error.message()));
  }
  return entries;
}

absl::StatusOr<std::vector<std::string>> Classes(const std::string& folder) {
  FORALL_ASSIGN_OR_RETURN(const std::vector<fs::path> entries, Entries(folder));
  std::vector<std::string> classes;
  for (const fs::path& entry : entries) {
    if (IsDirectory(entry)) classes.push_back(entry.filename().string());
  }
  std::sort(classes.begin(), classes.end());
  return classes;
}

bool IsRegularFile(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

// An image that somebody meant to be there: it is reported by name like any that cannot be read.
bool IsDanglingLink(const fs::path& path) {
  std::error_code error;
  return fs::is_symlink(path, error) && !fs::exists(path, error);
}

// A link to the folder itself or to one that it lies in: following it would list images again,
// under other names and perhaps of other classes.
bool LeadsBack(const fs::path& entry, const fs::path& folder) {
  std::error_code error;
  if (!fs::is_symlink(entry, error)) return false;
  const fs::path target = fs::canonical(entry, error);
  if (error) return false;
  const fs::path here = fs::canonical(folder, error);
  const auto [rest, ignored] =
      std::mismatch(target.begin(), target.end(), here.begin(), here.end());
  return !error && rest == target.end();
}

// Names of images below `folder`, each behind `prefix`.
absl::Status Collect(const fs::path& folder, const std::string& prefix, int depth,
                     std::vector<std::string>* names, FoundFolder* found) {
  FORALL_ASSIGN_OR_RETURN(const std::vector<fs::path> entries, Entries(folder));
  for (const fs::path& entry : entries) {
    const std::string name = prefix + entry.filename().string();
    if (IsDirectory(entry) && !LeadsBack(entry, folder)) {
      if (depth == kDeepest) {
        return absl::InvalidArgumentError(
            absl::StrCat(entry.string(), ": folders nested deeper than ", kDeepest));
      }
      FORALL_RETURN_IF_ERROR(Collect(entry, name + "/", depth + 1, names, found));
    } else if (NamedAsImage(entry) && (IsRegularFile(entry) || IsDanglingLink(entry))) {
      names->push_back(name);
    } else if (found->ignored++ == 0) {
      found->ignored_example = entry.string();
    }
  }
  return absl::OkStatus();
}

absl::Status CollectClass(const std::string& folder, uint32_t label, FoundPart* part,
                          FoundFolder* found) {
  std::vector<std::string> names;
  FORALL_RETURN_IF_ERROR(Collect(folder, "", 1, &names, found));
  std::sort(names.begin(), names.end());
  for (std::string& name : names) part->images.push_back({std::move(name), label});
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<FoundFolder> ScanFolder(const std::string& path) {
  FoundFolder found;
  const bool has_train = IsDirectory(path + "/train");
  found.train.folder = has_train ? "train" : "";
  found.val.folder = "val";
  const std::string root = has_train ? path + "/train" : path;
  FORALL_ASSIGN_OR_RETURN(found.classes, Classes(root));
  if (found.classes.empty()) {
    return absl::NotFoundError(absl::StrCat(
        root,
        ": no folders of classes; wanted are train/CLASS/*.jpg and val/CLASS/*.jpg, only "
        "train, or CLASS/*.jpg"));
  }
  if (found.classes.size() < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat(root, ": one class only (", found.classes[0], ")"));
  }
  for (size_t c = 0; c < found.classes.size(); ++c) {
    const size_t before = found.train.images.size();
    const std::string folder = absl::StrCat(root, "/", found.classes[c]);
    FORALL_RETURN_IF_ERROR(CollectClass(folder, static_cast<uint32_t>(c), &found.train, &found));
    if (found.train.images.size() == before) {
      return absl::InvalidArgumentError(
          absl::StrCat(folder, ": a class without images (.jpg, .jpeg or .png)"));
    }
  }
  if (!has_train || !IsDirectory(path + "/val")) return found;
  FORALL_ASSIGN_OR_RETURN(const std::vector<std::string> tested, Classes(path + "/val"));
  for (const std::string& name : tested) {
    const auto at = std::lower_bound(found.classes.begin(), found.classes.end(), name);
    const std::string folder = absl::StrCat(path, "/val/", name);
    if (at == found.classes.end() || *at != name) {
      return absl::InvalidArgumentError(
          absl::StrCat(folder, ": a class that ", root, " does not have"));
    }
    FORALL_RETURN_IF_ERROR(CollectClass(folder, static_cast<uint32_t>(at - found.classes.begin()),
                                        &found.val, &found));
  }
  if (found.val.images.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(
        path,
        "/val: no images in folders of classes; remove it to hold the test split out of "
        "train"));
  }
  return found;
}

}  // namespace forall
