// SPDX-License-Identifier: Apache-2.0
// A directory that is gone when the test is.
#ifndef FORALL_BASE_TESTING_TEMP_DIR_H_
#define FORALL_BASE_TESTING_TEMP_DIR_H_

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace forall::testing {

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "forall_test_XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TempDir() {
    std::error_code ignored;  // Nothing useful can be done about a leftover in a temporary folder.
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace forall::testing

#endif  // FORALL_BASE_TESTING_TEMP_DIR_H_
