// SPDX-License-Identifier: Apache-2.0
#include "supernet/importer/zip_archive.h"

#include <string>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "supernet/testing/torch_writer.h"

namespace forall {
namespace {

using ::forall::testing::LittleEndian;
using ::forall::testing::MakeZip;
using ::forall::testing::StatusIs;
using ::testing::HasSubstr;

TEST(ZipArchiveTest, ReadsStoredEntries) {
  const std::string bytes =
      MakeZip({{"a/b", "hello"}, {"empty", ""}, {"c", std::string(3000, 'x')}});
  EXPECT_TRUE(ZipArchive::LooksLikeZip(bytes));
  FORALL_ASSERT_OK_AND_ASSIGN(const ZipArchive archive, ZipArchive::Parse(bytes));
  ASSERT_EQ(archive.entries().size(), 3u);
  ASSERT_NE(archive.Find("a/b"), nullptr);
  EXPECT_EQ(archive.Find("a/b")->content, "hello");
  EXPECT_EQ(archive.Find("c")->content.size(), 3000u);
  EXPECT_EQ(archive.Find("d"), nullptr);
  for (const ZipArchive::Entry& entry : archive.entries()) {
    FORALL_EXPECT_OK(ZipArchive::CheckContent(entry));
  }
}

TEST(ZipArchiveTest, ACommentMayFollow) {
  std::string bytes = MakeZip({{"a", "1"}});
  bytes.replace(bytes.size() - 2, 2, LittleEndian(5, 2));
  bytes += "PK\x05\x06!";  // looks like another end
  FORALL_ASSERT_OK_AND_ASSIGN(const ZipArchive archive, ZipArchive::Parse(bytes));
  EXPECT_EQ(archive.entries().size(), 1u);
}

TEST(ZipArchiveTest, EveryCutIsNoticed) {
  const std::string bytes = MakeZip({{"a", "content"}, {"b", "more"}});
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(ZipArchive::Parse(bytes.substr(0, size)).ok()) << size;
  }
}

TEST(ZipArchiveTest, AFlippedByteIsNoticedByItsChecksum) {
  std::string bytes = MakeZip({{"a", "content"}});
  bytes[bytes.find("content")] = 'C';
  FORALL_ASSERT_OK_AND_ASSIGN(const ZipArchive archive, ZipArchive::Parse(bytes));
  EXPECT_THAT(ZipArchive::CheckContent(archive.entries()[0]),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("checksum")));
}

TEST(ZipArchiveTest, RefusesWhatTorchDoesNotWrite) {
  EXPECT_THAT(ZipArchive::Parse(MakeZip({{"a", "x", 8}})),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'a': is compressed")));
  EXPECT_THAT(ZipArchive::Parse(MakeZip({{"a", "x"}, {"a", "y"}})),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("twice")));
  // Many entries over the same bytes, as an archive that unpacks to far more than it is.
  std::string bytes = MakeZip({{"a", "xxxx"}, {"b", "yyyy"}});
  const size_t second = bytes.find("PK\x01\x02", bytes.find("PK\x01\x02") + 1);
  bytes.replace(second + 42, 4, LittleEndian(0, 4));
  EXPECT_THAT(ZipArchive::Parse(bytes),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("overlaps")));
  bytes.replace(second + 42, 4, LittleEndian(1u << 30, 4));
  EXPECT_THAT(ZipArchive::Parse(bytes),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("inside the file")));
  bytes = MakeZip({{"a", "x"}});
  bytes.replace(bytes.size() - 12, 2, LittleEndian(60000, 2));
  EXPECT_THAT(ZipArchive::Parse(bytes),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("more entries")));
}

}  // namespace
}  // namespace forall
