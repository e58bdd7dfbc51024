// SPDX-License-Identifier: Apache-2.0
#include "data/folder/image_folder.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/status_macros.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "data/image/image_transform.h"
#include "data/image/testing/test_images.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::EncodeJpeg;
using ::forall::testing::EncodePng;
using ::forall::testing::Scene;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr absl::StatusCode kBad = absl::StatusCode::kInvalidArgument;
constexpr absl::StatusCode kUnusable = absl::StatusCode::kFailedPrecondition;

class ImageFolderTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, const std::string& bytes) {
    const std::string path = source_->path() + "/" + name;
    FORALL_ASSERT_OK(CreateDirectories(std::filesystem::path(path).parent_path().string()));
    FORALL_ASSERT_OK(WriteFileAtomically(path, bytes));
  }
  // Ten images of each class; no two alike. Every third is a PNG, whatever its name says.
  void WriteClasses(const std::string& part, const std::vector<std::string>& classes) {
    int size = part == "val/" ? 40 : 60;
    for (const std::string& name : classes) {
      for (int i = 0; i < 10; ++i) {
        const RgbImage image = Scene(size++, 50);
        Write(absl::StrCat(part, name, "/image_", i, ".JPEG"),
              i % 3 == 0 ? EncodePng(image) : EncodeJpeg(image, 85));
      }
    }
  }
  void WriteImageNet() {
    WriteClasses("train/", {"n02", "n01", "n03"});
    WriteClasses("val/", {"n01", "n03", "n02"});
  }
  absl::StatusOr<PreparedSizes> Add(bool skip_corrupt = false, const std::string& name = "photos") {
    FolderOptions options;
    options.name = name;
    options.skip_corrupt = skip_corrupt;
    options.class_names = class_names_;
    findings_ = {};
    return PrepareImageFolder(options, source_->path(), data_.path(), &findings_);
  }
  absl::StatusOr<std::shared_ptr<const Dataset>> Open(Split split,
                                                      const ImageCacheOptions& cache = {},
                                                      const std::string& name = "photos") {
    const std::string folder = data_ / name;
    FORALL_ASSIGN_OR_RETURN(const std::string description, ReadFile(folder + "/dataset.json"));
    return OpenImageFolder(name, split, folder, description, cache);
  }

  std::unique_ptr<TempDir> source_ = std::make_unique<TempDir>();
  TempDir data_;
  std::string class_names_;
  FolderFindings findings_;
};

absl::Status LoadOne(const Dataset& dataset, int64_t index, std::vector<float>* values,
                     int resolution = 16) {
  values->resize(3 * static_cast<size_t>(resolution) * static_cast<size_t>(resolution));
  return dataset.Load({index}, resolution, absl::MakeSpan(*values));
}

TEST_F(ImageFolderTest, SplitsByClassAndKeepsTheOrder) {
  WriteImageNet();
  FORALL_ASSERT_OK_AND_ASSIGN(const PreparedSizes sizes, Add());
  EXPECT_EQ(sizes.train, 27);
  EXPECT_EQ(sizes.validation, 3);
  EXPECT_EQ(sizes.test, 30);
  EXPECT_EQ(sizes.classes, 3);
  EXPECT_THAT(PreparedNames(data_.path()), ElementsAre("photos"));
  std::set<std::string> checksums;
  for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest}) {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto dataset, OpenDataset("photos", split, data_.path()));
    EXPECT_EQ(dataset->name(), "photos");
    EXPECT_EQ(dataset->split(), split);
    EXPECT_EQ(dataset->channels(), 3);
    EXPECT_EQ(dataset->classes(), 3);
    EXPECT_THAT(dataset->class_names(), ElementsAre("n01", "n02", "n03"));
    EXPECT_FALSE(dataset->stored_pixels().has_value());
    EXPECT_EQ(dataset->checksum().size(), 64u);
    checksums.insert(dataset->checksum());
    std::map<int32_t, int64_t> per_class;
    for (int64_t i = 0; i < dataset->size(); ++i) {
      ++per_class[dataset->label(i)];
      if (i > 0) {
        EXPECT_GE(dataset->label(i), dataset->label(i - 1));
      }
    }
    const int64_t each = dataset->size() / 3;
    EXPECT_THAT(per_class, ElementsAre(std::pair(0, each), std::pair(1, each), std::pair(2, each)));
  }
  EXPECT_EQ(checksums.size(), 3u);
}

TEST_F(ImageFolderTest, LoadsByTheEvaluationTransform) {
  WriteImageNet();
  FORALL_ASSERT_OK(Add());
  FORALL_ASSERT_OK_AND_ASSIGN(const auto test, Open(Split::kTest));
  // n01 was written first, from 40 pixels of width on; image 3 is a PNG, so exact.
  const RgbImage scene = Scene(43, 50);
  std::vector<uint8_t> planes(3 * 20 * 20);
  TransformImage(scene, EvaluationPlan(43, 50, 20), absl::MakeSpan(planes));
  std::vector<float> values(planes.size());
  const std::vector<int64_t> index = {3};
  const float mean[] = {0.485f, 0.456f, 0.406f};
  const float stddev[] = {0.229f, 0.224f, 0.225f};
  for (int round = 0; round < 2; ++round) {  // decoded, then from the cache
    FORALL_ASSERT_OK(test->Load(index, 20, absl::MakeSpan(values)));
    for (size_t i = 0; i < planes.size(); ++i) {
      const size_t c = i / 400;
      ASSERT_NEAR(values[i], (static_cast<float>(planes[i]) / 255 - mean[c]) / stddev[c], 1e-5);
    }
  }
  EXPECT_EQ(test->label(3), 0);
}

TEST_F(ImageFolderTest, TheSameWithAndWithoutCacheThreadsAndPrefetching) {
  WriteImageNet();
  FORALL_ASSERT_OK(Add());
  ImageCacheOptions off;
  off.enabled = false;
  FORALL_ASSERT_OK_AND_ASSIGN(const auto bare, Open(Split::kTest, off));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto cached, Open(Split::kTest));
  EXPECT_EQ(bare->checksum(), cached->checksum());
  const size_t one = 3 * 16 * 16;
  std::vector<int64_t> all;
  for (int64_t i = 0; i < 30; ++i) all.push_back((i * 7) % 30);
  std::vector<float> expected(all.size() * one);
  bare->Prefetch(absl::MakeConstSpan(all).subspan(10), 16);
  FORALL_ASSERT_OK(bare->Load(all, 16, absl::MakeSpan(expected)));
  FORALL_EXPECT_OK(ParallelFor(4, 8, [&](int64_t) {
    std::vector<float> values(expected.size());
    cached->Prefetch(all, 16);
    FORALL_RETURN_IF_ERROR(cached->Load(all, 16, absl::MakeSpan(values)));
    return values == expected ? absl::OkStatus() : absl::InternalError("other values");
  }));
  // From the cache alone: the files are not looked at any more.
  source_.reset();
  std::vector<float> values(expected.size());
  FORALL_ASSERT_OK(cached->Load(all, 16, absl::MakeSpan(values)));
  EXPECT_EQ(values, expected);
}

TEST_F(ImageFolderTest, CachesWhereItIsTold) {
  WriteImageNet();
  FORALL_ASSERT_OK(Add());
  const TempDir fast;
  ImageCacheOptions elsewhere;
  elsewhere.directory = fast.path();
  FORALL_ASSERT_OK_AND_ASSIGN(const auto test, Open(Split::kTest, elsewhere));
  std::vector<float> values;
  FORALL_ASSERT_OK(LoadOne(*test, 0, &values));
  EXPECT_FALSE(std::filesystem::exists(data_ / "photos/cache"));
  EXPECT_TRUE(std::filesystem::exists(fast / "photos"));
  // Where no cache can be made, images are decoded all the same.
  FORALL_ASSERT_OK(WriteFileAtomically(fast / "file", "x"));
  elsewhere.directory = fast / "file";
  FORALL_ASSERT_OK_AND_ASSIGN(const auto without, Open(Split::kTest, elsewhere));
  FORALL_EXPECT_OK(LoadOne(*without, 0, &values));
}

TEST_F(ImageFolderTest, CalibrationImagesFollowSeedAndIndexOnly) {
  WriteImageNet();
  FORALL_ASSERT_OK(Add());
  FORALL_ASSERT_OK_AND_ASSIGN(const auto train, Open(Split::kTrain));
  const size_t one = 3 * 16 * 16;
  std::vector<float> batch(5 * one);
  FORALL_ASSERT_OK(train->LoadForCalibration({4, 1, 9, 3, 20}, 16, 1, absl::MakeSpan(batch)));
  std::vector<float> single(one);
  FORALL_ASSERT_OK(train->LoadForCalibration({9}, 16, 1, absl::MakeSpan(single)));
  EXPECT_TRUE(std::equal(single.begin(), single.end(), batch.begin() + 2 * one));
  std::vector<float> other(one);
  FORALL_ASSERT_OK(train->LoadForCalibration({9}, 16, 2, absl::MakeSpan(other)));
  EXPECT_NE(other, single);
  FORALL_ASSERT_OK(LoadOne(*train, 9, &other));
  EXPECT_NE(other, single) << "not the evaluation transform";
}

TEST_F(ImageFolderTest, TheSameImagesElsewhereHaveTheSameChecksums) {
  WriteImageNet();
  FORALL_ASSERT_OK(Add());
  std::vector<std::string> first;
  for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest}) {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto dataset, Open(split));
    first.push_back(dataset->checksum());
  }
  source_ = std::make_unique<TempDir>();
  WriteImageNet();
  FORALL_ASSERT_OK(Add());
  for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest}) {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto dataset, Open(split));
    EXPECT_EQ(dataset->checksum(), first[static_cast<size_t>(split)]);
  }
  // One image less: its split changes, and the others as far as the shuffle goes.
  std::filesystem::remove(source_->path() + "/val/n02/image_4.JPEG");
  FORALL_ASSERT_OK(Add());
  FORALL_ASSERT_OK_AND_ASSIGN(const auto test, Open(Split::kTest));
  EXPECT_NE(test->checksum(), first[2]);
  FORALL_ASSERT_OK_AND_ASSIGN(const auto train, Open(Split::kTrain));
  EXPECT_EQ(train->checksum(), first[0]);
}

TEST_F(ImageFolderTest, CorruptImagesAreNamedAndSkippedOnlyIfAsked) {
  WriteImageNet();
  const std::string good = EncodeJpeg(Scene(64, 48), 85);
  Write("train/n02/broken.jpg", good.substr(0, good.size() / 2));
  Write("train/n01/page.jpg", "<html>404</html>");
  Write("val/n03/empty.png", "");
  Write("val/n03/notes.txt", "not an image");
  EXPECT_THAT(Add().status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("3 of 63 images cannot be decoded")));
  EXPECT_THAT(findings_.corrupt, ElementsAre(HasSubstr("train/n01/page.jpg: neither JPEG nor PNG"),
                                             HasSubstr("train/n02/broken.jpg: JPEG: cut short"),
                                             HasSubstr("val/n03/empty.png: neither JPEG nor PNG")));
  EXPECT_EQ(findings_.ignored, 1);
  EXPECT_THAT(findings_.ignored_example, HasSubstr("notes.txt"));
  EXPECT_THAT(PreparedNames(data_.path()), IsEmpty());

  FORALL_ASSERT_OK_AND_ASSIGN(const PreparedSizes sizes, Add(/*skip_corrupt=*/true));
  EXPECT_EQ(sizes.train + sizes.validation, 30);
  EXPECT_EQ(sizes.test, 30);
  EXPECT_EQ(SkippedImages(data_ / "photos"), findings_.corrupt);
  std::vector<float> values;
  for (const Split split : {Split::kTrain, Split::kValidation, Split::kTest}) {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto dataset, Open(split));
    for (int64_t i = 0; i < dataset->size(); ++i) FORALL_EXPECT_OK(LoadOne(*dataset, i, &values));
  }
  // What was there stays when adding again fails.
  EXPECT_FALSE(Add().ok());
  EXPECT_THAT(PreparedNames(data_.path()), ElementsAre("photos"));
}

TEST_F(ImageFolderTest, AMissingOrChangedFileIsNamed) {
  WriteImageNet();
  FORALL_ASSERT_OK(Add());
  FORALL_ASSERT_OK_AND_ASSIGN(const auto test, Open(Split::kTest));
  std::vector<float> values;
  std::filesystem::remove(source_->path() + "/val/n01/image_0.JPEG");
  EXPECT_THAT(
      LoadOne(*test, 0, &values),
      StatusIs(kUnusable, HasSubstr("val/n01/image_0.JPEG of dataset photos: it has gone")));
  FORALL_ASSERT_OK_AND_ASSIGN(std::string bytes,
                              ReadFile(source_->path() + "/val/n01/image_1.JPEG"));
  Write("val/n01/image_1.JPEG", bytes + "x");
  EXPECT_THAT(LoadOne(*test, 1, &values),
              StatusIs(kUnusable, HasSubstr("image_1.JPEG of dataset photos: it has changed")));
  bytes[bytes.size() / 2] ^= 1;
  Write("val/n01/image_1.JPEG", bytes);
  EXPECT_THAT(LoadOne(*test, 1, &values), StatusIs(kUnusable, HasSubstr("it has changed")));
  FORALL_EXPECT_OK(LoadOne(*test, 2, &values));
  // A batch is as good as its worst image.
  std::vector<float> batch(3 * values.size());
  EXPECT_THAT(test->Load({2, 0, 3}, 16, absl::MakeSpan(batch)), StatusIs(kUnusable));
}

TEST_F(ImageFolderTest, FoldersWithoutValHoldTheirTestSplitOut) {
  WriteClasses("train/", {"cat", "dog"});
  FORALL_ASSERT_OK_AND_ASSIGN(const PreparedSizes sizes, Add());
  EXPECT_EQ(sizes.train, 16);
  EXPECT_EQ(sizes.validation, 2);
  EXPECT_EQ(sizes.test, 2);
  std::vector<float> values;
  FORALL_ASSERT_OK_AND_ASSIGN(auto test, Open(Split::kTest));
  FORALL_EXPECT_OK(LoadOne(*test, 1, &values));

  // The same below PATH itself, with images deeper down and capitals in names.
  source_ = std::make_unique<TempDir>();
  WriteClasses("", {"cat", "dog"});
  Write("dog/more/deep.PNG", EncodePng(Scene(31, 20)));
  Write(".git/x.jpg", "not looked at");
  FORALL_ASSERT_OK_AND_ASSIGN(const PreparedSizes flat, Add(false, "flat"));
  EXPECT_EQ(flat.train + flat.validation + flat.test, 21);
  FORALL_ASSERT_OK_AND_ASSIGN(test, Open(Split::kTest, {}, "flat"));
  FORALL_EXPECT_OK(LoadOne(*test, 1, &values));
}

TEST_F(ImageFolderTest, ClassesHaveReadableNames) {
  WriteImageNet();
  class_names_ = data_ / "names.txt";
  FORALL_ASSERT_OK(WriteFileAtomically(
      class_names_, "n03 hen\nn01\ttench, Tinca tinca\r\n\nn02 great white shark\nn04 unused\n"));
  FORALL_ASSERT_OK(Add());
  FORALL_ASSERT_OK_AND_ASSIGN(const auto test, Open(Split::kTest));
  EXPECT_THAT(test->class_names(), ElementsAre("tench, Tinca tinca", "great white shark", "hen"));
  FORALL_ASSERT_OK(WriteFileAtomically(class_names_, "n01 tench\nn02 shark\n"));
  EXPECT_THAT(Add().status(), StatusIs(kBad, HasSubstr("no name for class n03")));
  FORALL_ASSERT_OK(WriteFileAtomically(class_names_, "n01 tench\nn02\nn03 hen\n"));
  EXPECT_THAT(Add().status(), StatusIs(kBad, HasSubstr("\"n02\": wanted are lines")));
}

TEST_F(ImageFolderTest, SaysWhatIsWrongWithAFolder) {
  EXPECT_THAT(Add().status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("no folders of classes")));
  WriteClasses("train/", {"only"});
  EXPECT_THAT(Add().status(), StatusIs(kBad, HasSubstr("one class only (only)")));
  FORALL_ASSERT_OK(CreateDirectories(source_->path() + "/train/second"));
  EXPECT_THAT(Add().status(), StatusIs(kBad, HasSubstr("second: a class without images")));
  WriteClasses("train/", {"second"});
  WriteClasses("val/", {"only", "third"});
  EXPECT_THAT(Add().status(), StatusIs(kBad, HasSubstr("val/third: a class that")));
  std::filesystem::remove_all(source_->path() + "/val");
  FORALL_EXPECT_OK(Add().status());
  WriteClasses("train/", {"Fu\xdf"});  // Latin-1
  EXPECT_THAT(Add().status(), StatusIs(kBad, HasSubstr("must be UTF-8")));
  for (const char* name : {"Photos", "", "fashion_mnist"}) {
    EXPECT_THAT(Add(false, name).status(), StatusIs(kBad, HasSubstr("name")));
  }
}

TEST_F(ImageFolderTest, PipesAreNoImagesAndLinksThatLeadBackAreNotFollowed) {
  WriteImageNet();
  const std::string folder = source_->path() + "/train/n01";
  ASSERT_EQ(mkfifo((folder + "/pipe.jpg").c_str(), 0600), 0);
  std::filesystem::create_directory_symlink("..", folder + "/up");
  std::filesystem::create_directory_symlink(".", folder + "/again.png");
  // A folder that is called like an image holds images.
  Write("train/n01/more.jpg/extra.jpg", EncodeJpeg(Scene(99, 40), 85));
  FORALL_ASSERT_OK_AND_ASSIGN(const PreparedSizes sizes, Add());
  EXPECT_EQ(sizes.train + sizes.validation, 31);
  EXPECT_EQ(findings_.ignored, 3);
}

TEST_F(ImageFolderTest, AFailedReplacementLeavesTheFormerDataset) {
  WriteImageNet();
  FORALL_ASSERT_OK(Add().status());
  FORALL_ASSERT_OK_AND_ASSIGN(const auto before, Open(Split::kTrain));
  // What an interrupted run left behind is no obstacle, and no dataset.
  FORALL_ASSERT_OK(CreateDirectories(data_ / ".photos.new"));
  FORALL_ASSERT_OK(WriteFileAtomically(data_ / ".photos.new/images.idx", "half"));
  EXPECT_THAT(PreparedNames(data_.path()), ElementsAre("photos"));
  Write("train/n01/image_0.JPEG", "no image");
  EXPECT_THAT(Add(), StatusIs(absl::StatusCode::kDataLoss));
  FORALL_ASSERT_OK_AND_ASSIGN(const auto kept, Open(Split::kTrain));
  EXPECT_EQ(kept->checksum(), before->checksum());
  FORALL_ASSERT_OK(Add(/*skip_corrupt=*/true).status());
  FORALL_ASSERT_OK_AND_ASSIGN(const auto replaced, Open(Split::kTrain));
  EXPECT_NE(replaced->checksum(), before->checksum());
  EXPECT_FALSE(std::filesystem::exists(data_ / ".photos.new"));
}

TEST_F(ImageFolderTest, BadArgumentsAndDamagedFilesAreErrors) {
  WriteImageNet();
  FORALL_ASSERT_OK(Add());
  FORALL_ASSERT_OK_AND_ASSIGN(const auto test, Open(Split::kTest));
  std::vector<float> values(3 * 16 * 16);
  EXPECT_THAT(test->Load({30}, 16, absl::MakeSpan(values)),
              StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(test->Load({-1}, 16, absl::MakeSpan(values)),
              StatusIs(absl::StatusCode::kOutOfRange));
  EXPECT_THAT(test->Load({0}, 17, absl::MakeSpan(values)), StatusIs(kBad, HasSubstr("output")));
  EXPECT_THAT(test->Load({0}, 0, absl::MakeSpan(values)), StatusIs(kBad, HasSubstr("resolution")));
  EXPECT_THAT(test->LoadForCalibration({0}, 2000, 1, absl::MakeSpan(values)),
              StatusIs(kBad, HasSubstr("resolution")));
  test->Prefetch({-5, 100}, 16);  // nothing to be made ready
  test->Prefetch({1}, -3);

  const std::string description = data_ / "photos/dataset.json";
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string good, ReadFile(description));
  for (const char* field : {"format", "name", "path", "parts", "images", "mean", "stddev",
                            "skipped", "classes", "folders"}) {
    std::string bad = good;
    bad.replace(bad.find(absl::StrCat("\"", field, "\"")) + 1, 1, "X");
    FORALL_ASSERT_OK(WriteFileAtomically(description, bad));
    EXPECT_THAT(OpenDataset("photos", Split::kTrain, data_.path()).status(),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("dataset.json")))
        << field;
  }
  FORALL_ASSERT_OK(WriteFileAtomically(description, good));
  const std::string index = data_ / "photos/images.idx";
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string whole, ReadFile(index));
  for (size_t size = 0; size < whole.size(); size += 97) {
    FORALL_ASSERT_OK(WriteFileAtomically(index, whole.substr(0, size)));
    EXPECT_THAT(OpenDataset("photos", Split::kTest, data_.path()).status(),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("images.idx")));
  }
  std::string damaged = whole;
  damaged[whole.size() - 20] ^= 4;  // in the test split
  FORALL_ASSERT_OK(WriteFileAtomically(index, damaged));
  EXPECT_THAT(Open(Split::kTest).status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("test split is damaged")));
  FORALL_EXPECT_OK(Open(Split::kTrain).status());
}

}  // namespace
}  // namespace forall
