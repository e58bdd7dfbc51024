// SPDX-License-Identifier: Apache-2.0
#include "latency/transport/client_folder.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace forall {
namespace {

// A socket in it has a longer name, and the kernel takes 107 bytes.
constexpr size_t kLongestParent = 50;

}  // namespace

absl::StatusOr<std::unique_ptr<ClientFolder>> ClientFolder::Create() {
  std::error_code error;
  std::string parent = std::filesystem::temp_directory_path(error).string();
  if (error || parent.size() > kLongestParent) parent = "/tmp";
  std::string pattern = parent + "/forall_XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) {
    return absl::PermissionDeniedError(
        absl::StrCat("cannot make a folder in ", parent, ": ", std::strerror(errno)));
  }
  return std::unique_ptr<ClientFolder>(new ClientFolder(pattern));
}

ClientFolder::~ClientFolder() {
  std::error_code ignored;  // A leftover in a temporary folder harms nobody.
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace forall
