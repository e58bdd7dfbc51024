// SPDX-License-Identifier: Apache-2.0
#include "search/store/artifact_store.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"

namespace forall {
namespace {

using ::forall::testing::IsOkAndHolds;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::HasSubstr;

class ArtifactStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    FORALL_ASSERT_OK_AND_ASSIGN(
        store_, ArtifactStore::Create({.folder = folder_ / "artifacts", .max_bytes = 1000}));
  }

  size_t FilesOnDisk() const {
    size_t count = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_.path())) {
      if (entry.is_regular_file() && entry.path().filename() != "lock") ++count;
    }
    return count;
  }

  TempDir folder_;
  std::unique_ptr<ArtifactStore> store_;
};

TEST_F(ArtifactStoreTest, AnUploadInPiecesComesBack) {
  const std::string content = "hello artifact";
  const std::string sha256 = Sha256Hex(content);
  EXPECT_FALSE(store_->Exists(sha256));
  FORALL_ASSERT_OK_AND_ASSIGN(auto writer, store_->NewWriter(sha256, 14));
  FORALL_ASSERT_OK(writer->Append("hello "));
  FORALL_ASSERT_OK(writer->Append(""));
  FORALL_ASSERT_OK(writer->Append("artifact"));
  EXPECT_FALSE(store_->Exists(sha256)) << "visible before it was verified";
  FORALL_ASSERT_OK(writer->Commit());
  EXPECT_TRUE(store_->Exists(sha256));
  EXPECT_THAT(store_->Size(sha256), IsOkAndHolds(14));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string path, store_->PathOf(sha256));
  EXPECT_THAT(ReadFile(path), IsOkAndHolds(content));
  writer.reset();
  EXPECT_TRUE(store_->Exists(sha256));
  EXPECT_EQ(FilesOnDisk(), 1u);
}

TEST_F(ArtifactStoreTest, ADownloadResumesAtAnOffset) {
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string sha256, store_->Put("0123456789"));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto reader, store_->NewReader(sha256, 3));
  EXPECT_EQ(reader->size_bytes(), 10);
  EXPECT_THAT(reader->Read(4), IsOkAndHolds("3456"));
  EXPECT_THAT(reader->Read(1000), IsOkAndHolds("789"));
  EXPECT_THAT(reader->Read(1000), IsOkAndHolds(""));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto at_end, store_->NewReader(sha256, 10));
  EXPECT_THAT(at_end->Read(1), IsOkAndHolds(""));
  EXPECT_THAT(store_->NewReader(sha256, 11), StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(store_->NewReader(sha256, -1), StatusIs(absl::StatusCode::kOutOfRange));
}

TEST_F(ArtifactStoreTest, BytesThatDoNotHaveTheHashAreNotKept) {
  const std::string sha256 = Sha256Hex("expected");
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto writer, store_->NewWriter(sha256, 8));
    FORALL_ASSERT_OK(writer->Append("somewhat"));
    EXPECT_THAT(writer->Commit(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr(sha256)));
  }
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto shorter, store_->NewWriter(sha256, 8));
    FORALL_ASSERT_OK(shorter->Append("expect"));
    EXPECT_THAT(shorter->Commit(), StatusIs(absl::StatusCode::kDataLoss, HasSubstr("6 of the 8")));
  }
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto longer, store_->NewWriter(sha256, 8));
    FORALL_ASSERT_OK(longer->Append("expected"));
    EXPECT_THAT(longer->Append("!"), StatusIs(absl::StatusCode::kDataLoss));
  }
  EXPECT_FALSE(store_->Exists(sha256));
  EXPECT_EQ(FilesOnDisk(), 0u);
}

TEST_F(ArtifactStoreTest, HostileNamesNeverReachTheFileSystem) {
  const std::string digits(64, 'a');
  for (const std::string& name :
       {std::string(), std::string("../../etc/passwd"), std::string(64, 'A'), std::string(63, 'a'),
        digits + "a", "../" + std::string(61, 'a'), std::string(64, '/'), std::string(64, '\0'),
        std::string(1000000, 'a')}) {
    EXPECT_THAT(store_->PathOf(name), StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(store_->Size(name), StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(store_->NewWriter(name, 1), StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(store_->NewReader(name, 0), StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_FALSE(store_->Exists(name));
  }
  EXPECT_THAT(store_->Size(digits), StatusIs(absl::StatusCode::kNotFound));
  EXPECT_THAT(store_->NewReader(digits, 0), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(ArtifactStoreTest, RefusesSizesOutsideTheLimit) {
  const std::string sha256(64, 'a');
  EXPECT_THAT(store_->NewWriter(sha256, 1001), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(store_->NewWriter(sha256, -1), StatusIs(absl::StatusCode::kInvalidArgument));
  FORALL_EXPECT_OK(store_->NewWriter(sha256, 1000));
}

TEST_F(ArtifactStoreTest, TheSameArtifactMayBeUploadedTwiceAtOnce) {
  const std::string sha256 = Sha256Hex("twice");
  FORALL_ASSERT_OK_AND_ASSIGN(const auto first, store_->NewWriter(sha256, 5));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto second, store_->NewWriter(sha256, 5));
  FORALL_ASSERT_OK(first->Append("twice"));
  FORALL_ASSERT_OK(second->Append("twice"));
  FORALL_ASSERT_OK(first->Commit());
  FORALL_ASSERT_OK(second->Commit());
  EXPECT_EQ(FilesOnDisk(), 1u);
}

TEST_F(ArtifactStoreTest, StartsWithoutTheRemainsOfInterruptedUploads) {
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string sha256, store_->Put("kept"));
  std::ofstream(folder_ / "artifacts/incoming/leftover") << "half of someth";
  EXPECT_THAT(ArtifactStore::Create({.folder = folder_ / "artifacts"}),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("in use by process")));
  store_.reset();
  FORALL_ASSERT_OK_AND_ASSIGN(const auto again,
                              ArtifactStore::Create({.folder = folder_ / "artifacts"}));
  EXPECT_TRUE(again->Exists(sha256));
  EXPECT_EQ(FilesOnDisk(), 1u);
}

TEST_F(ArtifactStoreTest, AFolderThatCannotBeMadeIsNamed) {
  std::ofstream(folder_ / "file") << "in the way";
  EXPECT_THAT(ArtifactStore::Create({.folder = folder_ / "file"}).status().message(),
              HasSubstr(folder_ / "file"));
}

}  // namespace
}  // namespace forall
