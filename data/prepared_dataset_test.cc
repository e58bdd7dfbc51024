// SPDX-License-Identifier: Apache-2.0
#include "data/prepared_dataset.h"

#include <zlib.h>

#include <filesystem>
#include <map>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/file.h"
#include "base/random.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "data/published_images.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string BigEndian(uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(value >> shift));
  return bytes;
}

struct Idx {
  std::string images;
  std::string labels;
};

// `count` images of `side` x `side`; image i is of class i mod 3, and its first pixel is i mod 251.
Idx MakeIdx(uint32_t count, uint32_t side) {
  Idx idx;
  idx.images = BigEndian(0x803) + BigEndian(count) + BigEndian(side) + BigEndian(side);
  idx.labels = BigEndian(0x801) + BigEndian(count);
  Random random(count);
  for (uint32_t i = 0; i < count; ++i) {
    idx.labels.push_back(static_cast<char>(i % 3));
    idx.images.push_back(static_cast<char>(i % 251));
    for (uint32_t p = 1; p < side * side; ++p) {
      idx.images.push_back(static_cast<char>(random.Uniform(256)));
    }
  }
  return idx;
}

std::string Gzip(const std::string& bytes) {
  z_stream stream = {};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(bytes.size() + 1000, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(packed.size() - stream.avail_out);
  deflateEnd(&stream);
  return packed;
}

class PreparedDatasetTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, const std::string& bytes) {
    FORALL_ASSERT_OK(WriteFileAtomically(source_ / name, bytes));
  }
  void WriteIdx(uint32_t train, uint32_t test, uint32_t side) {
    const Idx a = MakeIdx(train, side);
    const Idx b = MakeIdx(test, side);
    Write("train-images-idx3-ubyte", a.images);
    Write("train-labels-idx1-ubyte", a.labels);
    Write("t10k-images-idx3-ubyte.gz", Gzip(b.images));  // each may be zipped
    Write("t10k-labels-idx1-ubyte", b.labels);
  }
  absl::StatusOr<PreparedSizes> Prepare(DatasetSource source, const std::string& name = "mine") {
    return PrepareDataset({name, source, 0.1}, source_.path(), data_.path());
  }

  TempDir source_;
  TempDir data_;
};

TEST_F(PreparedDatasetTest, IdxIsSplitByClassAndReadBack) {
  WriteIdx(300, 60, 6);
  FORALL_ASSERT_OK_AND_ASSIGN(const PreparedSizes sizes, Prepare(DatasetSource::kIdx));
  EXPECT_EQ(sizes.train, 270);
  EXPECT_EQ(sizes.validation, 30);
  EXPECT_EQ(sizes.test, 60);
  EXPECT_EQ(sizes.classes, 3);
  EXPECT_THAT(PreparedNames(data_.path()), ElementsAre("mine"));

  // Every published training image is in exactly one of two splits, each class in its share.
  std::multiset<std::string> seen;
  for (const Split split : {Split::kTrain, Split::kValidation}) {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto dataset, OpenDataset("mine", split, data_.path()));
    EXPECT_EQ(dataset->channels(), 1);
    EXPECT_EQ(dataset->stored_pixels()->side, 6);
    std::map<int32_t, int> per_class;
    for (int64_t i = 0; i < dataset->size(); ++i) {
      ++per_class[dataset->label(i)];
      const uint8_t* image = dataset->stored_pixels()->bytes.data() + i * 36;
      seen.insert(std::string(image, image + 36) + static_cast<char>(dataset->label(i)));
    }
    const int each = static_cast<int>(dataset->size()) / 3;
    EXPECT_THAT(per_class, ElementsAre(std::pair(0, each), std::pair(1, each), std::pair(2, each)));
  }
  const Idx published = MakeIdx(300, 6);
  std::multiset<std::string> expected;
  for (size_t i = 0; i < 300; ++i) {
    expected.insert(published.images.substr(16 + i * 36, 36) + published.labels[8 + i]);
  }
  EXPECT_EQ(seen, expected);

  // The test split is the published one, in its order, and normalised by the training split.
  FORALL_ASSERT_OK_AND_ASSIGN(const auto test, OpenDataset("mine", Split::kTest, data_.path()));
  const Idx published_test = MakeIdx(60, 6);
  std::vector<float> values(36);
  const std::vector<int64_t> index = {17};
  FORALL_ASSERT_OK(test->Load(index, 6, absl::MakeSpan(values)));
  const float mean = test->normalization().mean[0];
  const float stddev = test->normalization().stddev[0];
  for (size_t p = 0; p < 36; ++p) {
    const auto byte = static_cast<unsigned char>(published_test.images[16 + 17 * 36 + p]);
    EXPECT_NEAR(values[p], (static_cast<float>(byte) / 255 - mean) / stddev, 1e-5);
  }
  EXPECT_NEAR(mean, 0.49, 0.02);
  EXPECT_NEAR(stddev, 0.29, 0.02);
}

TEST_F(PreparedDatasetTest, TheSameFilesGiveTheSameSplitsOnEveryMachine) {
  WriteIdx(90, 30, 5);
  const auto checksum = [&](const std::string& name, Split split) {
    FORALL_EXPECT_OK(Prepare(DatasetSource::kIdx, name).status());
    return (*OpenDataset(name, split, data_.path()))->checksum();
  };
  EXPECT_EQ(checksum("mine", Split::kTrain), checksum("mine", Split::kTrain));
  // The name seeds the shuffle.
  EXPECT_NE(checksum("mine", Split::kValidation), checksum("other", Split::kValidation));
  EXPECT_EQ(checksum("mine", Split::kTest), checksum("other", Split::kTest));
  EXPECT_THAT(PreparedNames(data_.path()), ElementsAre("mine", "other"));
}

std::string CifarRecords(int label_bytes, const std::vector<int>& labels) {
  std::string bytes;
  for (const int label : labels) {
    if (label_bytes == 2) bytes.push_back('\x13');
    bytes.push_back(static_cast<char>(label));
    for (int channel = 0; channel < 3; ++channel) {
      bytes += std::string(32 * 32, static_cast<char>(label * 2 + channel * 60));
    }
  }
  return bytes;
}

TEST_F(PreparedDatasetTest, Cifar10AndCifar100) {
  std::vector<int> labels;
  for (int i = 0; i < 20; ++i) labels.push_back(i % 10);
  for (int batch = 1; batch <= 5; ++batch) {
    Write(absl::StrCat("data_batch_", batch, ".bin"), CifarRecords(1, labels));
  }
  Write("test_batch.bin", CifarRecords(1, labels));
  Write("batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
  FORALL_ASSERT_OK_AND_ASSIGN(const PreparedSizes ten, Prepare(DatasetSource::kCifar10, "ten"));
  EXPECT_EQ(ten.train + ten.validation, 100);
  FORALL_ASSERT_OK_AND_ASSIGN(const auto test, OpenDataset("ten", Split::kTest, data_.path()));
  EXPECT_EQ(test->channels(), 3);
  EXPECT_EQ(test->class_names()[3], "d");
  EXPECT_EQ(test->label(13), 3);
  EXPECT_EQ(test->stored_pixels()->bytes[13 * 3072 + 1024], 66)
      << "second channel of an image of class 3";
  EXPECT_EQ(test->normalization().mean.size(), 3u);

  labels.clear();
  for (int i = 0; i < 1000; ++i) labels.push_back(i % 100);
  Write("train.bin", CifarRecords(2, labels));
  Write("test.bin", CifarRecords(2, labels));
  std::string names;
  for (int i = 0; i < 100; ++i) absl::StrAppend(&names, "class", i, "\n");
  Write("fine_label_names.txt", names);
  FORALL_ASSERT_OK_AND_ASSIGN(const PreparedSizes hundred,
                              Prepare(DatasetSource::kCifar100, "hundred"));
  EXPECT_EQ(hundred.classes, 100);
  EXPECT_EQ(hundred.validation, 100);
}

TEST_F(PreparedDatasetTest, SaysWhatIsWrongWithTheSource) {
  const auto expect = [&](absl::StatusCode code, const char* message) {
    EXPECT_THAT(Prepare(DatasetSource::kIdx).status(), StatusIs(code, HasSubstr(message)));
    EXPECT_THAT(PreparedNames(data_.path()), ::testing::IsEmpty());
  };
  expect(absl::StatusCode::kNotFound, "train-images-idx3-ubyte");
  WriteIdx(30, 30, 6);
  const Idx good = MakeIdx(30, 6);
  Write("train-images-idx3-ubyte", good.images.substr(0, 100));
  expect(absl::StatusCode::kDataLoss, "another length");
  Write("train-images-idx3-ubyte", "hello, this is no such file");
  expect(absl::StatusCode::kDataLoss, "no IDX file");
  Write("train-images-idx3-ubyte", MakeIdx(31, 6).images);
  expect(absl::StatusCode::kDataLoss, "31 images and 30 labels");
  Write("train-images-idx3-ubyte",
        BigEndian(0x803) + BigEndian(30) + BigEndian(6) + BigEndian(7) + std::string(30 * 42, 'x'));
  expect(absl::StatusCode::kInvalidArgument, "6 x 7");
  Write("train-images-idx3-ubyte", good.images);
  Write("t10k-images-idx3-ubyte.gz", Gzip(good.images).substr(0, 200));
  expect(absl::StatusCode::kDataLoss, "cut short or damaged");
  Write("t10k-images-idx3-ubyte.gz", Gzip(MakeIdx(30, 7).images));
  expect(absl::StatusCode::kInvalidArgument, "different sizes");

  Write("batches.meta.txt", "a\nb\n");
  EXPECT_THAT(Prepare(DatasetSource::kCifar10).status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("2 names")));
  Write("batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n");
  Write("data_batch_1.bin", CifarRecords(1, {3}) + "x");
  EXPECT_THAT(Prepare(DatasetSource::kCifar10).status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("whole number of records")));
  Write("data_batch_1.bin", CifarRecords(1, {3, 10}));
  EXPECT_THAT(Prepare(DatasetSource::kCifar10).status(),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("record 1 has label 10")));
}

TEST_F(PreparedDatasetTest, BadNamesSharesAndFoldersAreRefused) {
  WriteIdx(60, 30, 4);
  for (const char* name : {"", "Upper", "../up", "a/b", "fashion_mnist"}) {
    EXPECT_THAT(Prepare(DatasetSource::kIdx, name).status(),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("name")));
  }
  EXPECT_THAT(
      PrepareDataset({"mine", DatasetSource::kIdx, 0.9}, source_.path(), data_.path()).status(),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("0.01 to 0.5")));
  EXPECT_THAT(ParseDatasetSource("png").status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("idx, cifar10, cifar100")));
  EXPECT_THAT(OpenDataset("mine", Split::kTrain, data_.path()).status(),
              StatusIs(absl::StatusCode::kNotFound, HasSubstr("forall dataset add")));
  FORALL_ASSERT_OK(Prepare(DatasetSource::kIdx).status());
  const std::string description = data_.path() + "/mine/dataset.json";
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string good, ReadFile(description));
  for (const char* field : {"format", "name", "classes", "channels", "side", "mean", "stddev"}) {
    std::string bad = good;
    bad.replace(bad.find(absl::StrCat("\"", field, "\"")) + 1, 1, "X");
    FORALL_ASSERT_OK(WriteFileAtomically(description, bad));
    EXPECT_THAT(OpenDataset("mine", Split::kTrain, data_.path()).status(),
                StatusIs(absl::StatusCode::kDataLoss, HasSubstr("dataset.json")))
        << field;
  }
}

}  // namespace
}  // namespace forall
