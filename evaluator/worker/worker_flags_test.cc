// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/worker_flags.h"

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/testing/matchers.h"

namespace forall {
namespace {

using ::forall::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const char* Nothing(const char*) { return nullptr; }
const char* Somewhere(const char* name) {
  const absl::string_view wanted = name;
  if (wanted == "FORALL_CONTROLLER") return "lab:1";
  if (wanted == "FORALL_DATA") return "/data";
  if (wanted == "HOME") return "/home";
  return nullptr;
}

TEST(WorkerFlagsTest, DefaultsComeFromTheEnvironment) {
  FORALL_ASSERT_OK_AND_ASSIGN(const WorkerFlags bare, ParseWorkerFlags({}, Nothing));
  EXPECT_EQ(bare.access.address, "127.0.0.1:7411");
  EXPECT_EQ(bare.data, "build/deps");
  EXPECT_EQ(bare.cache, "/tmp/forall-cache");
  FORALL_ASSERT_OK_AND_ASSIGN(const WorkerFlags set, ParseWorkerFlags({}, Somewhere));
  EXPECT_EQ(set.access.address, "lab:1");
  EXPECT_EQ(set.data, "/data");
  EXPECT_EQ(set.cache, "/home/.cache/forall");
}

TEST(WorkerFlagsTest, CredentialsAreFilesOrTheEnvironments) {
  const auto environment = [](const char* name) -> const char* {
    return absl::string_view(name) == "FORALL_TOKEN_FILE" ? "/token" : nullptr;
  };
  FORALL_ASSERT_OK_AND_ASSIGN(
      const WorkerFlags flags,
      ParseWorkerFlags({"--tls-ca", "ca", "--tls-cert=cert", "--tls-key", "key"}, environment));
  EXPECT_EQ(flags.access.tls_ca, "ca");
  EXPECT_EQ(flags.access.tls_certificate, "cert");
  EXPECT_EQ(flags.access.tls_key, "key");
  EXPECT_EQ(flags.access.token_file, "/token");
}

TEST(WorkerFlagsTest, TimingByFilesTakesLatenciesOnly) {
  FORALL_ASSERT_OK_AND_ASSIGN(
      const WorkerFlags flags,
      ParseWorkerFlags({"--local", "--kinds=export", "--timing", "a.json", "--timing=b.json"},
                       Nothing));
  EXPECT_THAT(flags.timing, ElementsAre("a.json", "b.json"));
  EXPECT_TRUE(flags.local);
  EXPECT_THAT(ParseWorkerFlags({"--timing", "orin.json", "--kinds", "accuracy"}, Nothing),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("latency tasks only")));
  EXPECT_THAT(ParseWorkerFlags({"--local"}, Nothing),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--timing")));
  EXPECT_THAT(
      ParseWorkerFlags({"--timing", "a.json", "--timing", "b.json", "--device", "a"}, Nothing),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("each file")));
}

TEST(WorkerFlagsTest, SensorsMayBeReadElsewhere) {
  FORALL_ASSERT_OK_AND_ASSIGN(const WorkerFlags plain, ParseWorkerFlags({}, Nothing));
  EXPECT_EQ(plain.sysfs, "");
  FORALL_ASSERT_OK_AND_ASSIGN(const WorkerFlags flags,
                              ParseWorkerFlags({"--sysfs", "/host"}, Nothing));
  EXPECT_EQ(flags.sysfs, "/host");
  EXPECT_THAT(ParseWorkerFlags({"--sysfs", ""}, Nothing),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--sysfs")));
}

TEST(WorkerFlagsTest, ACheckNeedsNoController) {
  const auto wrong = [](const char* name) -> const char* {
    return absl::string_view(name) == "FORALL_CONTROLLER" ? "nobody" : nullptr;
  };
  EXPECT_FALSE(ParseWorkerFlags({"--timing", "a.json"}, wrong).ok());
  FORALL_ASSERT_OK_AND_ASSIGN(const WorkerFlags flags,
                              ParseWorkerFlags({"--check", "--timing", "a.json"}, wrong));
  EXPECT_TRUE(flags.check);
}

TEST(WorkerFlagsTest, ReadsBothSpellings) {
  FORALL_ASSERT_OK_AND_ASSIGN(
      const WorkerFlags flags,
      ParseWorkerFlags({"--controller=a:1", "--id", "pc-1", "--device", "pc", "--device-class", "x",
                        "--threads=3", "--kinds", "latency,export", "--cache-mib=7", "--measure-as",
                        "pi:video", "--model-memory-limit=512"},
                       Somewhere));
  EXPECT_EQ(flags.measure_as, "pi:video");
  EXPECT_EQ(flags.model_memory_mib, 512);
  EXPECT_EQ(flags.access.address, "a:1");
  EXPECT_EQ(flags.id, "pc-1");
  EXPECT_EQ(flags.device, "pc");
  EXPECT_EQ(flags.device_class, "x");
  EXPECT_EQ(flags.threads, 3);
  EXPECT_EQ(flags.cache_mib, 7);
  EXPECT_THAT(flags.kinds, ElementsAre(v1::Task::LATENCY, v1::Task::EXPORT));
}

TEST(WorkerFlagsTest, ErrorsNameTheFlag) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
      {{"--threads", "0"}, "--threads"},
      {{"--threads=many"}, "--threads"},
      {{"--id", "Bad Name"}, "--id"},
      {{"--device", "-x"}, "--device"},
      {{"--kinds", "export,x"}, "--kinds"},
      {{"--controller"}, "--controller"},
      {{"--controller", "localhost"}, "want HOST:PORT"},
      {{"--controller=lab:port"}, "want HOST:PORT"},
      {{"--cache="}, "--cache"},
      {{"--measure-as="}, "--measure-as"},
      {{"--model-memory-limit", "much"}, "--model-memory-limit"},
      {{"--frobnicate"}, "--frobnicate"},
      {{"stray"}, "stray"},
      {{"--help=yes"}, "--help"},
  };
  for (const auto& [arguments, name] : cases) {
    EXPECT_THAT(ParseWorkerFlags(arguments, Nothing),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(name)));
  }
}

TEST(WorkerFlagsTest, UsageNamesEveryFlag) {
  for (const char* flag :
       {"--controller", "--id", "--device", "--device-class", "--data", "--cache", "--cache-mib",
        "--threads", "--kinds", "--timing", "--local", "--check", "--providers", "--verbose"}) {
    EXPECT_THAT(WorkerUsage(), HasSubstr(flag));
  }
}

}  // namespace
}  // namespace forall
