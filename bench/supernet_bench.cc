// SPDX-License-Identifier: Apache-2.0
#include "bench/supernet_bench.h"

#include <sys/resource.h>

#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/testing/temp_dir.h"
#include "latency/measure/statistics.h"
#include "runtime/onnx_session.h"
#include "space/family.h"
#include "supernet/importer/checkpoint_import.h"
#include "supernet/onnx/exporter.h"
#include "supernet/package.h"
#include "supernet/subnet_weights.h"
#include "supernet/testing/tiny_supernet.h"
#include "supernet/testing/torch_writer.h"

namespace forall {
namespace {

constexpr double kColdBar = 1.15;
constexpr double kWarmBar = 3.0;

double Seconds(int64_t nanoseconds) { return static_cast<double>(nanoseconds) * 1e-9; }

int64_t PeakKib() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

// The last line that this very program prints when started anew with `arguments`: nothing is warm
// in it, and its peak memory is its own.
absl::StatusOr<std::vector<double>> InFreshProcess(const std::string& arguments) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  FILE* const output = popen(absl::StrCat("'", self, "' ", arguments).c_str(), "r");
  if (output == nullptr) return absl::UnavailableError("cannot start a process");
  double first = 0;
  double second = 0;
  const int got = std::fscanf(output, "%lf %lf", &first, &second);
  if (pclose(output) != 0 || got != 2) return absl::InternalError("a measuring process failed");
  return std::vector<double>{first, second};
}

absl::StatusOr<std::unique_ptr<OnnxSession>> BuildSubnet(const Supernet& supernet,
                                                         const Architecture& architecture) {
  FORALL_ASSIGN_OR_RETURN(const Network network, supernet.family().Describe(architecture));
  FORALL_ASSIGN_OR_RETURN(const std::string model,
                          BuildOnnxModel(network, supernet, OnnxExportOptions()));
  return OnnxSession::Create(model, SessionOptions());
}

// k 5, e 4, d 3 at 224 pixels: the network that the field's own figures name.
Architecture MiddleSubnet(const SearchSpace& space) {
  Architecture architecture = space.Largest();
  for (size_t i = 0; i < architecture.choices.size(); ++i) {
    const Dimension& dimension = space.dimensions()[i];
    if (dimension.name != "r") {
      architecture.choices[i] = static_cast<int32_t>(dimension.options.size() / 2);
    }
  }
  return architecture;
}

}  // namespace

absl::Status MeasureOnce(const std::string& what, const std::string& path) {
  Clock* const clock = Clock::Real();
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Family> family, FindFamily("ofa_mbv3_w1.0"));
  std::shared_ptr<const Supernet> supernet;
  std::string model;
  if (what == "session-once") {
    FORALL_ASSIGN_OR_RETURN(supernet, Supernet::LoadFile(path));
  } else if (what == "onnxruntime-once") {
    FORALL_ASSIGN_OR_RETURN(model, ReadFile(path));
  }
  const int64_t before = PeakKib();
  const int64_t start = clock->SteadyNanos();
  if (what == "session-once") {
    FORALL_RETURN_IF_ERROR(BuildSubnet(*supernet, MiddleSubnet(family->search_space())).status());
  } else if (what == "onnxruntime-once") {
    FORALL_RETURN_IF_ERROR(OnnxSession::Create(model, SessionOptions()).status());
  } else {
    FORALL_RETURN_IF_ERROR(ImportCheckpoint(path, *family).status());
  }
  const double seconds = Seconds(clock->SteadyNanos() - start);
  std::printf("%.6f %.1f\n", seconds, static_cast<double>(PeakKib() - before) / 1024);
  return absl::OkStatus();
}

absl::Status RunImportBench(const SupernetBenchOptions& options) {
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Family> family, FindFamily("ofa_mbv3_w1.0"));
  const testing::TempDir directory;
  struct Format {
    const char* name;
    std::string path;
  };
  const std::vector<Format> formats = {{"pytorch zip", directory / "zip.pth"},
                                       {"pytorch old", directory / "old.pth"},
                                       {"safetensors", directory / "a.safetensors"}};
  {
    const std::vector<NamedTensor> tensors = testing::RandomTensors(*family, 1);
    FORALL_RETURN_IF_ERROR(
        WriteFileAtomically(formats[0].path, testing::MakeZipCheckpoint(tensors)));
    FORALL_RETURN_IF_ERROR(
        WriteFileAtomically(formats[1].path, testing::MakeOldCheckpoint(tensors)));
    std::vector<SafetensorsEntry> entries;
    for (const NamedTensor& tensor : tensors) {
      entries.push_back({tensor.name, SafetensorsType::kF32, tensor.shape, tensor.values});
    }
    FORALL_ASSIGN_OR_RETURN(const std::string bytes, SerializeSafetensors(entries, {}));
    FORALL_RETURN_IF_ERROR(WriteFileAtomically(formats[2].path, bytes));
  }
  for (const Format& format : formats) {
    std::vector<double> seconds;
    for (int round = 0; round < options.rounds; ++round) {
      const int64_t start = Clock::Real()->SteadyNanos();
      FORALL_RETURN_IF_ERROR(ImportCheckpoint(format.path, *family).status());
      seconds.push_back(Seconds(Clock::Real()->SteadyNanos() - start));
    }
    const double mib = static_cast<double>(std::filesystem::file_size(format.path)) / 1048576;
    FORALL_ASSIGN_OR_RETURN(const std::vector<double> fresh,
                            InFreshProcess(absl::StrCat("import-once ", format.path)));
    std::printf("%s\n", absl::StrFormat(R"({"bench":"import","format":"%s","mib":%.1f,)"
                                        R"("seconds":%.4f,"mib_per_second":%.0f,)"
                                        R"("fresh_process_seconds":%.4f,"peak_mib":%.1f})",
                                        format.name, mib, Median(seconds), mib / Median(seconds),
                                        fresh[0], fresh[1])
                            .c_str());
  }
  return absl::OkStatus();
}

absl::Status RunSessionBench(const SupernetBenchOptions& options) {
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<const Family> family, FindFamily("ofa_mbv3_w1.0"));
  const std::shared_ptr<const Supernet> supernet = testing::RandomSupernet(*family);
  const Architecture architecture = MiddleSubnet(family->search_space());
  FORALL_ASSIGN_OR_RETURN(const Network network, family->Describe(architecture));
  FORALL_ASSIGN_OR_RETURN(const SubnetWeights weights, ExtractWeights(*supernet, network));
  FORALL_ASSIGN_OR_RETURN(const std::string model,
                          BuildOnnxModel(network, weights, OnnxExportOptions()));

  bool within = true;
  const auto compare = [&](const char* state, double bar, bool held_to_it,
                           const std::function<absl::StatusOr<double>(bool ours)>& time) {
    std::vector<double> ours;
    std::vector<double> bare;
    std::vector<double> ratios;
    for (int round = 0; round < options.rounds; ++round) {
      // In turn, and each first in turn.
      const bool ours_first = round % 2 == 0;
      FORALL_ASSIGN_OR_RETURN(const double first, time(ours_first));
      FORALL_ASSIGN_OR_RETURN(const double second, time(!ours_first));
      ours.push_back(ours_first ? first : second);
      bare.push_back(ours_first ? second : first);
      ratios.push_back(ours.back() / bare.back());
    }
    const double ratio = Median(ratios);
    within = within && (ratio <= bar || !held_to_it);
    std::printf("%s\n", absl::StrFormat(R"({"bench":"session","state":"%s","build_seconds":%.4f,)"
                                        R"("onnxruntime_seconds":%.4f,"ratio":%.3f,"bar":%.2f,)"
                                        R"("within_bar":%s})",
                                        state, Median(ours), Median(bare), ratio, bar,
                                        ratio <= bar ? "true" : "false")
                            .c_str());
    std::fflush(stdout);
    return absl::OkStatus();
  };
  const auto build = [&](bool ours) -> absl::Status {
    return ours ? BuildSubnet(*supernet, architecture).status()
                : OnnxSession::Create(model, SessionOptions()).status();
  };
  const testing::TempDir directory;
  FORALL_RETURN_IF_ERROR(WriteFileAtomically(directory / "model.onnx", model));
  FORALL_ASSIGN_OR_RETURN(
      const std::string package,
      BuildWeightsFile(*family, testing::RandomTensors(*family, 7), PackageOptions()));
  FORALL_RETURN_IF_ERROR(WriteFileAtomically(directory / "supernet", package));
  const auto cold = [&](bool ours) -> absl::StatusOr<double> {
    FORALL_ASSIGN_OR_RETURN(
        const std::vector<double> fresh,
        InFreshProcess(ours ? absl::StrCat("session-once ", directory / "supernet")
                            : absl::StrCat("onnxruntime-once ", directory / "model.onnx")));
    return fresh[0];
  };
  const auto warm = [&](bool ours) -> absl::StatusOr<double> {
    const int64_t start = Clock::Real()->SteadyNanos();
    FORALL_RETURN_IF_ERROR(build(ours));
    return Seconds(Clock::Real()->SteadyNanos() - start);
  };
  FORALL_RETURN_IF_ERROR(compare("cold", kColdBar, /*held_to_it=*/false, cold));
  FORALL_RETURN_IF_ERROR(build(true));
  FORALL_RETURN_IF_ERROR(compare("warm", kWarmBar, /*held_to_it=*/true, warm));
  if (options.check && !within) return absl::OutOfRangeError("session: a ratio is above its bar");
  return absl::OkStatus();
}

}  // namespace forall
