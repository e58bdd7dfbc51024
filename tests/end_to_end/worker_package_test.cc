// SPDX-License-Identifier: Apache-2.0
// The worker's tarballs in roots that hold nothing else, as on a board whose libraries do not fit:
// natively for x86-64, and for aarch64 under user-mode emulation, where the worker registers with
// the controller as a device of a class of its own, times what another worker exported, and its
// numbers are marked as an emulator's.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/child_process.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "cli/client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace forall {
namespace {

namespace fs = std::filesystem;

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "." : value;
}

std::string Source(const std::string& path) {
  return absl::StrCat(Environment("FORALL_SOURCE_DIR"), "/", path);
}

std::string Program(const std::string& name) {
  return absl::StrCat(Environment("FORALL_BIN_DIR"), "/", name);
}

// The file of a program of PATH; "" when there is none.
std::string InPath(const std::string& program) {
  const auto found = RunProgram({.argv = {"sh", "-c", "command -v " + program}});
  return found.ok() ? std::string(absl::StripAsciiWhitespace(found->standard_output)) : "";
}

std::string LogOf(const std::string& path) { return ReadFile(path).value_or("(no log)"); }

// What a board's kernel says of its processor. Emulators before QEMU 8 show the computer's own
// instead, and ONNX Runtime's search for an ARM processor in it ends in a crash.
constexpr char kCpuInfo[] =
    "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd aes pmull sha1 sha2 crc32 "
    "cpuid\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
    "CPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n";

// A folder to be the root of a process: an unpacked tarball, a /tmp, and the kernel's /proc and
// /sys. Mounts are the process's own and end with it.
class EmptyRoot {
 public:
  explicit EmptyRoot(std::string folder) : folder_(std::move(folder)) {
    for (const char* name : {"", "/proc", "/sys", "/tmp"}) fs::create_directories(folder_ + name);
  }

  // "" or why there can be no such root here.
  std::string Refusal() {
    for (const bool root_user : {false, true}) {
      unshare_ = {"unshare", "--mount"};
      if (root_user) unshare_.push_back("--map-root-user");
      const auto end = RunProgram({.argv = Command({}, "exit 0")});
      if (end.ok() && end->end.ok()) return "";
    }
    return "no mount namespaces here: run as root, or allow user namespaces";
  }

  void ShowCpuInfo(const std::string& text) {
    cpu_info_ = folder_ + ".cpuinfo";
    FORALL_ASSERT_OK(WriteFileAtomically(cpu_info_, text));
  }

  void Hold(const std::string& file) {
    fs::copy_file(file, folder_ + "/" + fs::path(file).filename().string());
  }

  // To run `words` in there, in an environment of its own.
  std::vector<std::string> Enter(const std::vector<std::string>& environment,
                                 const std::vector<std::string>& words) const {
    std::vector<std::string> command = {"env", "-i"};
    command.insert(command.end(), environment.begin(), environment.end());
    command.insert(command.end(), {"/usr/sbin/chroot", folder_});
    command.insert(command.end(), words.begin(), words.end());
    return Command(command, "exec \"$@\"");
  }

  const std::string& folder() const { return folder_; }

 private:
  std::vector<std::string> Command(const std::vector<std::string>& words,
                                   const std::string& last) const {
    std::string script = absl::StrCat("mount --rbind /proc '", folder_, "/proc' && ",
                                      "mount --rbind /sys '", folder_, "/sys' && ");
    if (!cpu_info_.empty()) {
      absl::StrAppend(&script, "mount --bind '", cpu_info_, "' '", folder_, "/proc/cpuinfo' && ");
    }
    std::vector<std::string> command = unshare_;
    command.insert(command.end(), {"sh", "-c", script + last, "sh"});
    command.insert(command.end(), words.begin(), words.end());
    return command;
  }

  const std::string folder_;
  std::string cpu_info_;
  std::vector<std::string> unshare_;
};

class WorkerPackageTest : public ::testing::Test {
 protected:
  void StartController() {
    FORALL_ASSERT_OK_AND_ASSIGN(
        controller_, ChildProcess::Start({Program("forall-controller"), "--db", dir_ / "forall.db",
                                          "--listen", "127.0.0.1:0", "--port-file", dir_ / "port",
                                          "--supernet", Source("supernets/fashion_mnist")},
                                         dir_ / "controller.log"));
    for (int i = 0; i < 3000 && controller_->IsRunning(); ++i) {
      const absl::StatusOr<std::string> port = ReadFile(dir_ / "port");
      if (port.ok() && !port->empty()) {
        address_ = absl::StrCat("127.0.0.1:", absl::StripAsciiWhitespace(*port));
        client_ = std::make_unique<Client>(ControllerEndpoint{.address = address_});
        return;
      }
      Clock::Real()->SleepFor(absl::Milliseconds(10));
    }
    FAIL() << "the controller did not start: " << LogOf(dir_ / "controller.log");
  }

  // Packs a worker and unpacks it below `folder`; returns the unpacked folder's name, "" on
  // failure.
  std::string Unpack(const std::string& machine, const std::string& program,
                     const std::string& folder) {
    const auto packed = RunProgram({.argv = {Source("tools/package_worker.sh"), machine,
                                             "--program", program, "--output", dir_ / "packages"}});
    EXPECT_THAT(packed, testing::IsOk());
    EXPECT_TRUE(packed->end.ok()) << packed->standard_error;
    const std::string tarball(absl::StripAsciiWhitespace(packed->standard_output));
    const auto unpacked = RunProgram({.argv = {"tar", "-xzf", tarball, "-C", folder}});
    EXPECT_THAT(unpacked, testing::IsOk());
    EXPECT_TRUE(unpacked->end.ok()) << unpacked->standard_error;
    const std::string name = fs::path(tarball).filename().string();
    return name.substr(0, name.size() - std::string(".tar.gz").size());
  }

  // Absent: it did not come within a minute.
  std::optional<v1::Worker> AwaitWorker(const std::string& id, ChildProcess* process) {
    for (int i = 0; i < 600 && process->IsRunning(); ++i) {
      const auto workers = client_->ListWorkers();
      EXPECT_THAT(workers, testing::IsOk());
      for (const v1::Worker& worker : *workers) {
        if (worker.name() == "workers/" + id) return worker;
      }
      Clock::Real()->SleepFor(absl::Milliseconds(100));
    }
    return std::nullopt;
  }

  // The first latencies of a job's trials; none when there are none within `patience`.
  std::vector<v1::Measurement> AwaitLatencies(const std::string& job, absl::Duration patience) {
    std::vector<v1::Measurement> latencies;
    const absl::Time end = Clock::Real()->Now() + patience;
    while (latencies.empty() && Clock::Real()->Now() < end) {
      Clock::Real()->SleepFor(absl::Milliseconds(200));
      const auto trials = client_->ListTrials(job);
      EXPECT_THAT(trials, testing::IsOk());
      if (!trials.ok()) break;
      for (const v1::Trial& trial : *trials) {
        for (const v1::Measurement& measurement : trial.measurements()) {
          if (measurement.metric() == "latency_ms") latencies.push_back(measurement);
        }
      }
    }
    return latencies;
  }

  testing::TempDir dir_;
  std::unique_ptr<ChildProcess> controller_;
  std::string address_;
  std::unique_ptr<Client> client_;
};

// The words by which the tarball's own wrapper starts the worker, seen from within the root.
std::string Launcher(const std::string& package, const std::string& loader) {
  return absl::StrCat("/", package, "/lib/", loader, " --library-path /", package, "/lib /",
                      package, "/bin/forall-worker.bin");
}

std::vector<std::string> Words(const std::string& launcher,
                               const std::vector<std::string>& arguments) {
  std::vector<std::string> words = absl::StrSplit(launcher, ' ');
  words.insert(words.end(), arguments.begin(), arguments.end());
  return words;
}

TEST_F(WorkerPackageTest, RunsWithoutTheSystemsLibraries) {
#if !defined(__x86_64__)
  GTEST_SKIP() << "NO TEST RAN: this machine is no x86-64";
#endif
  EmptyRoot root(dir_ / "root");
  if (const std::string why = root.Refusal(); !why.empty()) GTEST_SKIP() << "NO TEST RAN: " << why;
  ASSERT_NO_FATAL_FAILURE(StartController());
  const std::string package = Unpack("x86-64", Program("forall-worker"), root.folder());
  FORALL_ASSERT_OK_AND_ASSIGN(
      const ProgramOutput version,
      RunProgram({.argv = {absl::StrCat(root.folder(), "/", package, "/bin/forall-worker"),
                           "--version"}}));
  EXPECT_THAT(version.standard_output, HasSubstr("forall-worker ")) << version.standard_error;

  const std::string launcher = Launcher(package, "ld-linux-x86-64.so.2");
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto worker,
      ChildProcess::Start(
          root.Enter({"FORALL_LAUNCHER=" + launcher,
                      absl::StrCat("FORALL_ONNXRUNTIME=/", package, "/lib/libonnxruntime.so.1")},
                     Words(launcher, {"--controller", address_, "--id", "packed", "--kinds",
                                      "latency", "--cache", "/tmp/cache"})),
          dir_ / "worker.log"));
  const auto registered = AwaitWorker("packed", worker.get());
  ASSERT_TRUE(registered.has_value()) << LogOf(dir_ / "worker.log");
  EXPECT_EQ(registered->device().device_class(), "x86-64");
  EXPECT_EQ(registered->device().properties().count("emulated"), 0u);
  EXPECT_EQ(registered->profile().runtime(), "onnxruntime");
}

TEST_F(WorkerPackageTest, AnEmulatedBoardTimesAndSaysThatItIsEmulated) {
#if !defined(__x86_64__)
  GTEST_SKIP() << "NO TEST RAN: this machine is no x86-64";
#endif
  const std::string program = Source("build/aarch64/bin/forall-worker");
  const std::string emulator = InPath("qemu-aarch64-static");
  if (!fs::exists(program)) {
    GTEST_SKIP() << "NO TEST RAN: no " << program << "; run tools/setup.sh --aarch64, then "
                 << "cmake --preset aarch64 && cmake --build --preset aarch64";
  }
  if (emulator.empty()) {
    GTEST_SKIP() << "NO TEST RAN: no qemu-aarch64-static; run tools/setup.sh --aarch64";
  }
  if (!fs::exists(Source("build/deps/fashion-mnist"))) {
    GTEST_SKIP() << "NO TEST RAN: no images in build/deps; tools/setup.sh fetches them";
  }
  EmptyRoot root(dir_ / "root");
  if (const std::string why = root.Refusal(); !why.empty()) GTEST_SKIP() << "NO TEST RAN: " << why;
  ASSERT_NO_FATAL_FAILURE(StartController());
  const std::string package = Unpack("aarch64", program, root.folder());
  FORALL_ASSERT_OK_AND_ASSIGN(
      const ProgramOutput version,
      RunProgram(
          {.argv = {absl::StrCat(root.folder(), "/", package, "/bin/forall-worker"), "--version"},
           .environment = {"FORALL_EMULATOR=" + emulator}}));
  EXPECT_THAT(version.standard_output, HasSubstr("forall-worker ")) << version.standard_error;

  root.Hold(emulator);
  root.ShowCpuInfo(kCpuInfo);
  const std::string launcher = "/qemu-aarch64-static " + Launcher(package, "ld-linux-aarch64.so.1");
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto board,
      ChildProcess::Start(
          // A processor without the vector extension whose emulation is ten times slower.
          root.Enter({"QEMU_CPU=cortex-a72", "FORALL_LAUNCHER=" + launcher,
                      absl::StrCat("FORALL_ONNXRUNTIME=/", package, "/lib/libonnxruntime.so.1")},
                     Words(launcher, {"--controller", address_, "--id", "board", "--device",
                                      "board", "--kinds", "latency", "--cache", "/tmp/cache"})),
          dir_ / "board.log"));
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto computer,
      ChildProcess::Start({Program("forall-worker"), "--controller", address_, "--id", "computer",
                           "--device", "computer", "--kinds", "export,accuracy", "--data",
                           Source("build/deps"), "--cache", dir_ / "cache"},
                          dir_ / "computer.log"));

  const auto registered = AwaitWorker("board", board.get());
  ASSERT_TRUE(registered.has_value()) << LogOf(dir_ / "board.log");
  const v1::Device& device = registered->device();
  EXPECT_EQ(device.device_class(), "aarch64");
  EXPECT_THAT(device.description(), AllOf(HasSubstr("0x41 part 0xd08"), HasSubstr("emulated")));
  EXPECT_THAT(device.properties(), Contains(::testing::Pair("emulated", "yes")));
  EXPECT_THAT(LogOf(dir_ / "board.log"), HasSubstr("times say nothing about the processor"));
  ASSERT_TRUE(AwaitWorker("computer", computer.get()).has_value()) << LogOf(dir_ / "computer.log");

  FORALL_ASSERT_OK_AND_ASSIGN(
      const ProgramOutput submitted,
      RunProgram(
          {.argv = {Program("forall"), "--controller", address_, "submit", "--supernet",
                    "fashion_mnist", "--objective", "latency_ms@class:aarch64", "--objective",
                    "macs", "--constraint", "macs<=10M", "--sampler", "random", "--trials", "1"}}));
  ASSERT_TRUE(submitted.end.ok()) << submitted.standard_error;
  // Most of the time is the calibration, whose ten runs a session take seconds here.
  const auto latencies = AwaitLatencies("searchJobs/1", absl::Seconds(240));
  ASSERT_FALSE(latencies.empty()) << LogOf(dir_ / "board.log") << LogOf(dir_ / "computer.log");
  board->Stop(absl::ZeroDuration());
  for (const v1::Measurement& latency : latencies) {
    EXPECT_EQ(latency.condition().device(), "devices/board");
    EXPECT_GT(latency.value(), 0);
    EXPECT_GT(latency.sample_count(), 0);
    EXPECT_THAT(latency.verdict().reasons(), Contains("emulated"));
    EXPECT_NE(latency.verdict().state(), v1::Verdict::TRUSTED);
  }
}

}  // namespace
}  // namespace forall
