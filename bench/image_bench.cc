// SPDX-License-Identifier: Apache-2.0
#include "bench/image_bench.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

// Needs cstdio before it.
#include <jpeglib.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/parallel.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "base/testing/temp_dir.h"
#include "data/folder/image_folder.h"
#include "data/image/image_decoder.h"
#include "data/image/image_transform.h"
#include "data/image/testing/test_images.h"
#include "latency/measure/statistics.h"

namespace forall {
namespace {

constexpr int kFiles = 96;
constexpr int kResolution = 224;
constexpr double kOneCoreBar = 1.25;
constexpr double kAllCoresBar = 1.5;

// Noise of every scale, as photographs have: value noise whose cells halve and whose strength falls
// from octave to octave, and a little grain.
RgbImage Photograph(int width, int height, uint64_t seed) {
  Random random(seed);
  std::vector<double> light(3 * static_cast<size_t>(width) * static_cast<size_t>(height), 0.0);
  double strength = 60;
  for (int cell = 256; cell >= 2; cell /= 2, strength *= 0.74) {
    const int columns = width / cell + 2;
    const int rows = height / cell + 2;
    // Mostly grey: colours of photographs go together.
    std::vector<std::array<double, 3>> knots(static_cast<size_t>(columns) *
                                             static_cast<size_t>(rows));
    for (auto& knot : knots) {
      const double grey = random.Gaussian();
      for (double& channel : knot) channel = grey + 0.35 * random.Gaussian();
    }
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const double fx = static_cast<double>(x % cell) / cell;
        const double fy = static_cast<double>(y % cell) / cell;
        const auto* knot = &knots[static_cast<size_t>(y / cell) * static_cast<size_t>(columns) +
                                  static_cast<size_t>(x / cell)];
        for (size_t c = 0; c < 3; ++c) {
          const double above = knot[0][c] * (1 - fx) + knot[1][c] * fx;
          const double below = knot[columns][c] * (1 - fx) + knot[columns + 1][c] * fx;
          light[3 * static_cast<size_t>(y * width + x) + c] +=
              strength * (above * (1 - fy) + below * fy);
        }
      }
    }
  }
  RgbImage image(width, height);
  for (size_t i = 0; i < light.size(); ++i) {
    const double value = 118 + light[i] + 10 * random.Gaussian();
    image.pixels[i] = static_cast<uint8_t>(std::clamp(value, 0.0, 255.0));
  }
  return image;
}

// The peer: libjpeg-turbo's own calls, rows into one buffer that is kept.
void DecodeBare(const std::string& file, std::vector<uint8_t>* pixels) {
  jpeg_decompress_struct info = {};
  jpeg_error_mgr errors = {};
  info.err = jpeg_std_error(&errors);
  jpeg_create_decompress(&info);
  jpeg_mem_src(&info, reinterpret_cast<const unsigned char*>(file.data()), file.size());
  jpeg_read_header(&info, TRUE);
  info.out_color_space = JCS_RGB;
  jpeg_start_decompress(&info);
  const size_t stride = 3 * static_cast<size_t>(info.output_width);
  pixels->resize(std::max(pixels->size(), stride * info.output_height));
  while (info.output_scanline < info.output_height) {
    JSAMPROW row = pixels->data() + info.output_scanline * stride;
    jpeg_read_scanlines(&info, &row, 1);
  }
  jpeg_finish_decompress(&info);
  jpeg_destroy_decompress(&info);
}

absl::Status DecodeAllBare(const std::vector<std::string>& files, int threads) {
  // One thread's share after another, so that each keeps its buffer.
  return ParallelFor(threads, threads, [&](int64_t share) {
    std::vector<uint8_t> pixels;
    for (auto i = static_cast<size_t>(share); i < files.size(); i += static_cast<size_t>(threads)) {
      DecodeBare(files[i], &pixels);
    }
    return absl::OkStatus();
  });
}

absl::Status TransformAll(const std::vector<std::string>& files) {
  std::vector<uint8_t> planes(3 * kResolution * kResolution);
  for (const std::string& file : files) {
    FORALL_ASSIGN_OR_RETURN(const RgbImage image, DecodeImage(file));
    TransformImage(image, EvaluationPlan(image.width, image.height, kResolution),
                   absl::MakeSpan(planes));
  }
  return absl::OkStatus();
}

// In batches, as an evaluation wants them: each but the first is made ready while its predecessor
// is in use.
absl::Status LoadAll(const Dataset& dataset) {
  constexpr int64_t kBatch = 8;
  std::vector<float> values(kBatch * 3 * kResolution * kResolution);
  std::vector<int64_t> batch(kBatch);
  std::vector<int64_t> next(kBatch);
  for (int64_t first = 0; first + kBatch <= dataset.size(); first += kBatch) {
    for (int64_t i = 0; i < kBatch; ++i) {
      batch[static_cast<size_t>(i)] = first + i;
      next[static_cast<size_t>(i)] = std::min(first + kBatch + i, dataset.size() - 1);
    }
    if (first + 2 * kBatch <= dataset.size()) dataset.Prefetch(next, kResolution);
    FORALL_RETURN_IF_ERROR(dataset.Load(batch, kResolution, absl::MakeSpan(values)));
  }
  return absl::OkStatus();
}

// kFiles photographs in ImageNet's layout below `path`, and their bytes.
absl::StatusOr<std::vector<std::string>> WritePhotographs(const std::string& path) {
  std::vector<std::string> files(kFiles);
  const auto write = [&](int64_t i) -> absl::Status {
    const bool tall = i % 4 == 3;
    const int longer = 500 - static_cast<int>(i % 5) * 4;
    std::string& file = files[static_cast<size_t>(i)];
    file = testing::EncodeJpeg(
        Photograph(tall ? 375 : longer, tall ? longer : 375, static_cast<uint64_t>(i)), 94);
    const std::string folder =
        absl::StrCat(path, "/", i < kFiles / 2 ? "val" : "train", "/c", i % 2);
    FORALL_RETURN_IF_ERROR(CreateDirectories(folder));
    return WriteFileAtomically(absl::StrCat(folder, "/", i, ".jpg"), file);
  };
  FORALL_RETURN_IF_ERROR(ParallelFor(0, kFiles, write));
  return files;
}

absl::StatusOr<double> Seconds(const std::function<absl::Status()>& work) {
  const int64_t start = Clock::Real()->SteadyNanos();
  FORALL_RETURN_IF_ERROR(work());
  return static_cast<double>(Clock::Real()->SteadyNanos() - start) * 1e-9;
}

struct Comparison {
  const char* what;
  int threads;
  double bar;  // 0: none
  double images;
  std::function<absl::Status()> ours;
  std::function<absl::Status()> bare;
  double bare_images;
};

// Prints its line; whether the ratio is within its bar.
absl::StatusOr<bool> Compare(const Comparison& c, int rounds, double kib) {
  std::vector<double> ours;
  std::vector<double> bare;
  std::vector<double> ratios;
  FORALL_RETURN_IF_ERROR(c.ours());  // warm-up
  for (int round = 0; round < rounds; ++round) {
    // In turn, and each first in turn.
    for (const bool first : {round % 2 == 0, round % 2 != 0}) {
      FORALL_ASSIGN_OR_RETURN(const double seconds, Seconds(first ? c.ours : c.bare));
      (first ? ours : bare).push_back(seconds / (first ? c.images : c.bare_images));
    }
    ratios.push_back(ours.back() / bare.back());
  }
  const double ratio = Median(ratios);
  std::printf("%s\n",
              absl::StrFormat(R"({"bench":"images","what":"%s","threads":%d,)"
                              R"("resolution":%d,"file_kib":%.0f,"images_per_second":%.0f,)"
                              R"("libjpeg_turbo_images_per_second":%.0f,"ratio":%.3f%s})",
                              c.what, c.threads, kResolution, kib, 1 / Median(ours),
                              1 / Median(bare), ratio,
                              c.bar == 0 ? ""
                                         : absl::StrFormat(R"(,"bar":%.2f,"within_bar":%s)", c.bar,
                                                           ratio <= c.bar ? "true" : "false"))
                  .c_str());
  std::fflush(stdout);
  return c.bar == 0 || ratio <= c.bar;
}

}  // namespace

absl::Status RunImageBench(const ImageBenchOptions& options) {
  const int threads = options.threads > 0 ? options.threads : UsableCores();
  const testing::TempDir directory;
  FORALL_ASSIGN_OR_RETURN(const std::vector<std::string> files,
                          WritePhotographs(directory / "photos"));
  double kib = 0;
  for (const std::string& file : files) kib += static_cast<double>(file.size()) / 1024 / kFiles;
  FolderOptions folder;
  folder.name = "photos";
  FolderFindings findings;
  const std::string data = directory / "data";
  FORALL_RETURN_IF_ERROR(
      PrepareImageFolder(folder, directory / "photos", data, &findings).status());
  const auto open = [&](bool cached) -> absl::StatusOr<std::shared_ptr<const Dataset>> {
    ImageCacheOptions cache;
    cache.enabled = cached;
    FORALL_ASSIGN_OR_RETURN(const std::string description, ReadFile(data + "/photos/dataset.json"));
    return OpenImageFolder("photos", Split::kTest, data + "/photos", description, cache);
  };
  FORALL_ASSIGN_OR_RETURN(const auto decoded, open(false));
  FORALL_ASSIGN_OR_RETURN(const auto cached, open(true));
  const double all = kFiles;
  const double tested = static_cast<double>(decoded->size());
  const auto bare = [&](int on) { return [&files, on] { return DecodeAllBare(files, on); }; };
  const std::vector<Comparison> comparisons = {
      {"decode and transform", 1, kOneCoreBar, all, [&] { return TransformAll(files); }, bare(1),
       all},
      {"dataset without cache", threads, kAllCoresBar, tested, [&] { return LoadAll(*decoded); },
       bare(threads), all},
      {"dataset from its cache", 1, 0, tested, [&] { return LoadAll(*cached); }, bare(1), all}};
  bool within = true;
  for (const Comparison& comparison : comparisons) {
    FORALL_ASSIGN_OR_RETURN(const bool good, Compare(comparison, options.rounds, kib));
    within = within && good;
  }
  if (options.check && !within) return absl::OutOfRangeError("images: a ratio is above its bar");
  return absl::OkStatus();
}

}  // namespace forall
