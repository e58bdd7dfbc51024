// SPDX-License-Identifier: Apache-2.0
// A job that asks for everything that a device can say of a subnet: percentile, rate at a batch,
// memory, energy and carbon, on the shipped supernet. The energy counter is a RAPL tree in a folder
// that this test feeds: 5 W at rest, and 20 W for the processor time of the worker's children.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/thread.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/end_to_end/lab.h"

namespace forall {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The parent of a process and the nanoseconds that it ran; false when it is gone.
bool ReadProcess(const std::string& pid, int64_t* parent, double* seconds) {
  std::ifstream stat(absl::StrCat("/proc/", pid, "/stat"));
  std::string text;
  if (!std::getline(stat, text)) return false;
  const size_t end = text.rfind(')');
  if (end == std::string::npos) return false;
  const std::vector<std::string> fields =
      absl::StrSplit(text.substr(end + 1), ' ', absl::SkipEmpty());
  std::ifstream schedule(absl::StrCat("/proc/", pid, "/schedstat"));
  double nanoseconds = 0;
  schedule >> nanoseconds;
  *seconds = nanoseconds * 1e-9;
  return fields.size() > 1 && absl::SimpleAtoi(fields[1], parent);
}

class SimulatedRapl {
 public:
  explicit SimulatedRapl(const std::string& root)
      : zone_(root + "/sys/class/powercap/intel-rapl:0") {
    std::filesystem::create_directories(zone_);
    Write("name", "package-0");
    Write("max_energy_range_uj", "262143328850");
    Write("energy_uj", "1000000");
    thread_ = Thread("rapl", [this] { Feed(); });
  }
  ~SimulatedRapl() {
    stop_ = true;
    thread_.Join();
  }
  void set_worker(int64_t pid) { worker_ = pid; }

 private:
  void Write(const std::string& name, const std::string& text) {
    WriteFileAtomically(zone_ + "/" + name, text + "\n").IgnoreError();
  }

  void Feed() {
    const int64_t start_ns = Clock::Real()->SteadyNanos();
    std::map<std::string, double> ran;
    double busy_seconds = 0;
    while (!stop_) {
      for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
        const std::string pid = entry.path().filename();
        int64_t parent = 0;
        double seconds = 0;
        if (pid.find_first_not_of("0123456789") != std::string::npos ||
            !ReadProcess(pid, &parent, &seconds) || parent != worker_) {
          continue;
        }
        busy_seconds += std::max(0.0, seconds - ran[pid]);
        ran[pid] = seconds;
      }
      const double elapsed = static_cast<double>(Clock::Real()->SteadyNanos() - start_ns) * 1e-9;
      const double joules = 1 + 5 * elapsed + 20 * busy_seconds;
      Write("energy_uj", absl::StrCat(static_cast<int64_t>(joules * 1e6)));
      Clock::Real()->SleepFor(absl::Milliseconds(2));
    }
  }

  const std::string zone_;
  std::atomic<int64_t> worker_ = -1;
  std::atomic<bool> stop_ = false;
  Thread thread_;
};

class DeviceMetricsEndToEndTest : public testing::Lab {
 protected:
  void SetUp() override {
    if (!HasData())
      GTEST_SKIP() << "NO TEST RAN: no Fashion-MNIST in " << Data() << ": run tools/setup.sh";
    controller_ = StartController();
  }

  std::unique_ptr<ChildProcess> StartWorker(const std::string& sysfs) {
    std::unique_ptr<ChildProcess> worker =
        Start({"forall-worker", "--controller", address_, "--id", "w", "--device", "board",
               "--data", Data(), "--cache", dir_ / "cache", "--sysfs", sysfs});
    AwaitWorker("board");
    return worker;
  }

  std::unique_ptr<ChildProcess> controller_;
};

TEST_F(DeviceMetricsEndToEndTest, AJobKnowsThemAll) {
  SimulatedRapl rapl(dir_ / "tree");
  const auto worker = StartWorker(dir_ / "tree");
  rapl.set_worker(worker->pid());
  ASSERT_THAT(WriteFileAtomically(dir_ / "job.yaml", R"(
supernet: fashion_mnist
objectives: [accuracy_top1, latency_p90_ms, "throughput_ips:batch=4", peak_memory_mib]
constraints: ["energy_mj<=1M", "carbon_mg:grid=360<=1M"]
sampler: {algorithm: random}
budget: {max_trials: 2}
fidelity: {screening_images: 200, final_images: 200, calibration_images: 100}
)"),
              testing::IsOk());
  Run("submit " + dir_ / "job.yaml");
  ASSERT_EQ(exit_code_, 0) << *ReadFile(dir_ / "output");
  EXPECT_THAT(Run("watch 1"), HasSubstr("succeeded"))
      << *ReadFile(dir_ / "forall-worker.log") << Run("jobs");
  const nlohmann::json frontier =
      nlohmann::json::parse(Run("frontier 1 --format json"), nullptr, false);
  ASSERT_TRUE(frontier.is_object()) << *ReadFile(dir_ / "output");
  ASSERT_FALSE(frontier["members"].empty());
  for (const nlohmann::json& member : frontier["members"]) {
    const nlohmann::json& measured = member["measurements"];
    for (const char* const name :
         {"latency_ms@devices/board", "latency_p90_ms@devices/board",
          "latency_ms@devices/board:batch=4", "throughput_ips@devices/board:batch=4",
          "peak_memory_mib@devices/board", "energy_mj@devices/board",
          "carbon_mg@devices/board:grid=360"}) {
      ASSERT_TRUE(measured.contains(name)) << name << " is not in " << measured.dump(1);
      EXPECT_GT(measured[name]["value"], 0) << name;
      EXPECT_LE(measured[name]["interval"]["low"], measured[name]["value"]) << name;
      EXPECT_GE(measured[name]["interval"]["high"], measured[name]["value"]) << name;
      EXPECT_THAT(measured[name]["verdict"], ::testing::AnyOf("TRUSTED", "NOISY")) << name;
    }
    EXPECT_GE(measured["latency_p90_ms@devices/board"]["samples"], 64);
    const double energy = measured["energy_mj@devices/board"]["value"];
    EXPECT_NEAR(measured["carbon_mg@devices/board:grid=360"]["value"].get<double>(), energy * 1e-4,
                energy * 1e-9);
    // A millisecond of one core is 20 mJ, and no subnet takes a second.
    EXPECT_LT(energy, 20'000);
    // Some megabytes of weights and buffers, not the whole process.
    EXPECT_GT(measured["peak_memory_mib@devices/board"]["value"], 0.5);
    EXPECT_LT(measured["peak_memory_mib@devices/board"]["value"], 500);
  }
  const nlohmann::json inspection =
      nlohmann::json::parse(Run("worker inspect w --format json"), nullptr, false);
  ASSERT_TRUE(inspection.is_object()) << *ReadFile(dir_ / "output");
  std::set<std::string> beside;
  for (const nlohmann::json& measured : inspection["beside"]) {
    beside.insert(measured["metric"].get<std::string>());
    EXPECT_NE(measured["verdict"], "UNSPECIFIED") << measured;
  }
  EXPECT_THAT(beside, ElementsAre("carbon_mg", "energy_mj", "latency_p90_ms", "peak_memory_mib",
                                  "throughput_ips"));
  std::string question = Run("frontier 1 --objective energy_mj --objective accuracy_top1");
  EXPECT_EQ(exit_code_, 0) << question;
  EXPECT_THAT(question, HasSubstr("energy_mj"));
  Run("report 1 --output " + dir_ / "report.html");
  ASSERT_EQ(exit_code_, 0) << *ReadFile(dir_ / "output");
  const std::string report = *ReadFile(dir_ / "report.html");
  EXPECT_THAT(report, AllOf(HasSubstr("latency (90th percentile)"), HasSubstr("images/s"),
                            HasSubstr("at batch 4"), HasSubstr("peak resident memory"),
                            HasSubstr("energy of an inference"), HasSubstr("360 g/kWh")));
}

TEST_F(DeviceMetricsEndToEndTest, EnergyWithoutASensorIsRefusedWithTheReason) {
  std::filesystem::create_directories(dir_ / "empty");
  const auto worker = StartWorker(dir_ / "empty");
  const std::string refusal =
      Run("submit --supernet fashion_mnist --objective accuracy_top1 --objective energy_mj@board "
          "--trials 2");
  EXPECT_NE(exit_code_, 0);
  EXPECT_THAT(refusal, AllOf(HasSubstr("does not measure energy_mj"), HasSubstr("rapl"),
                             HasSubstr("peak_memory_mib")));
  EXPECT_THAT(Run("submit --supernet fashion_mnist --objective carbon_mg@board --trials 2"),
              HasSubstr("grid=386"));
  EXPECT_NE(exit_code_, 0);
}

}  // namespace
}  // namespace forall
