// SPDX-License-Identifier: Apache-2.0
#include "evaluator/worker/artifact_client.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "base/file.h"
#include "base/random.h"
#include "base/sha256.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "evaluator/worker/testing/fake_artifact_service.h"
#include "evaluator/worker/testing/local_server.h"

namespace forall {
namespace {

using ::forall::testing::FakeArtifactService;
using ::forall::testing::IsOkAndHolds;
using ::forall::testing::LocalServer;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Bytes(size_t size, uint64_t seed = 1) {
  Random random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.Next());
  return bytes;
}

// Never stops, waits not at all.
StopSignal NoStop() {
  StopSignal stop;
  stop.wait = [](absl::Duration) {};
  return stop;
}

class ArtifactClientTest : public ::testing::Test {
 protected:
  std::unique_ptr<ArtifactClient> MakeClient(int64_t cache_bytes = int64_t{1} << 30) {
    ArtifactClient::Options options;
    options.cache_directory = cache_ / "artifacts";
    options.cache_bytes = cache_bytes;
    return ArtifactClient::Create(server_.Channel(), options).value();
  }
  std::string InCache(const std::string& name) { return cache_ / ("artifacts/" + name); }

  TempDir cache_;
  FakeArtifactService service_;
  LocalServer server_{{&service_}};
};

TEST_F(ArtifactClientTest, FetchesOnceThenServesFromTheCache) {
  const std::string bytes = Bytes(10000);
  const std::string sha256 = service_.Put(bytes);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string path, MakeClient()->Fetch(sha256, NoStop()));
  EXPECT_THAT(ReadFile(path), IsOkAndHolds(bytes));
  FORALL_EXPECT_OK(MakeClient()->Fetch(sha256, NoStop()));
  EXPECT_THAT(service_.download_offsets(), ElementsAre(0));
}

TEST_F(ArtifactClientTest, GoesOnWhereTheDownloadBrokeOff) {
  const std::string bytes = Bytes(10000);
  const std::string sha256 = service_.Put(bytes);
  service_.BreakOff(2, 4000);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string path, MakeClient()->Fetch(sha256, NoStop()));
  EXPECT_THAT(ReadFile(path), IsOkAndHolds(bytes));
  EXPECT_THAT(service_.download_offsets(), ElementsAre(0, 4000, 8000));
}

TEST_F(ArtifactClientTest, AnotherProcessGoesOnWithThePart) {
  const std::string bytes = Bytes(10000);
  const std::string sha256 = service_.Put(bytes);
  service_.BreakOff(1, 4000);
  StopSignal stop = NoStop();
  bool stopped = false;
  stop.stopped = [&] { return stopped; };
  stop.wait = [&](absl::Duration) { stopped = true; };
  EXPECT_THAT(MakeClient()->Fetch(sha256, stop), StatusIs(absl::StatusCode::kCancelled));
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string path, MakeClient()->Fetch(sha256, NoStop()));
  EXPECT_THAT(ReadFile(path), IsOkAndHolds(bytes));
  EXPECT_THAT(service_.download_offsets(), ElementsAre(0, 4000));
}

TEST_F(ArtifactClientTest, StartsAfreshWhenThePartIsOfAnotherFile) {
  const std::string bytes = Bytes(10000);
  const std::string sha256 = service_.Put(bytes);
  const std::unique_ptr<ArtifactClient> client = MakeClient();
  for (const size_t size : {3000, 20000}) {
    std::ofstream(InCache(sha256 + ".part"), std::ios::binary) << Bytes(size, 2);
    FORALL_ASSERT_OK_AND_ASSIGN(const std::string path, client->Fetch(sha256, NoStop()));
    EXPECT_THAT(ReadFile(path), IsOkAndHolds(bytes));
    std::filesystem::remove(path);
  }
  EXPECT_THAT(service_.download_offsets(), ElementsAre(3000, 0, 20000, 0));
}

TEST_F(ArtifactClientTest, RefusesBytesWithAnotherHashAndKeepsNothing) {
  const std::string sha256 = Sha256Hex("what was asked for");
  service_.PutAs(sha256, "something else");
  EXPECT_THAT(MakeClient()->Fetch(sha256, NoStop()),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr(sha256)));
  EXPECT_FALSE(std::filesystem::exists(InCache(sha256)));
  service_.PutAs(sha256, "what was asked for");
  FORALL_EXPECT_OK(MakeClient()->Fetch(sha256, NoStop()));
}

TEST_F(ArtifactClientTest, FetchesADamagedFileAgain) {
  const std::string bytes = Bytes(5000);
  const std::string sha256 = service_.Put(bytes);
  FORALL_ASSERT_OK_AND_ASSIGN(const std::string path, MakeClient()->Fetch(sha256, NoStop()));
  std::ofstream(path, std::ios::binary) << "damaged";
  FORALL_EXPECT_OK(MakeClient()->Fetch(sha256, NoStop()));
  EXPECT_THAT(ReadFile(path), IsOkAndHolds(bytes));
}

TEST_F(ArtifactClientTest, UnknownArtifactIsNotFound) {
  EXPECT_THAT(MakeClient()->Fetch(Sha256Hex("unknown"), NoStop()),
              StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(ArtifactClientTest, RefusesWhatIsNoHash) {
  for (const char* text : {"", "abc", "../../../etc/passwd"}) {
    EXPECT_THAT(MakeClient()->Fetch(text, NoStop()), StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

TEST_F(ArtifactClientTest, UploadSurvivesABreakAndFillsTheCache) {
  const std::string bytes = Bytes(700000);
  const std::string sha256 = Sha256Hex(bytes);
  service_.BreakOff(2, 0);
  const std::unique_ptr<ArtifactClient> client = MakeClient();
  FORALL_ASSERT_OK(client->Upload(bytes, sha256, NoStop()));
  EXPECT_EQ(service_.Get(sha256), bytes);
  EXPECT_EQ(service_.uploads(), 3);
  FORALL_EXPECT_OK(client->Fetch(sha256, NoStop()));
  EXPECT_TRUE(service_.download_offsets().empty());
}

TEST_F(ArtifactClientTest, WhatIsThereIsNotSentAgain) {
  const std::string bytes = Bytes(3000000);
  const std::string sha256 = service_.Put(bytes);
  FORALL_EXPECT_OK(MakeClient()->Upload(bytes, sha256, NoStop()));
  EXPECT_EQ(service_.uploads(), 0);
}

TEST_F(ArtifactClientTest, LeastRecentlyUsedFilesMakeRoom) {
  const std::unique_ptr<ArtifactClient> client = MakeClient(/*cache_bytes=*/2500);
  const std::string old_file = service_.Put(Bytes(1000, 1));
  const std::string used_file = service_.Put(Bytes(1000, 2));
  const std::string new_file = service_.Put(Bytes(1000, 3));
  for (const std::string& sha256 : {used_file, old_file}) {
    FORALL_ASSERT_OK(client->Fetch(sha256, NoStop()));
  }
  const auto now = std::filesystem::file_time_type::clock::now();
  std::filesystem::last_write_time(InCache(used_file), now - std::chrono::hours(3));
  std::filesystem::last_write_time(InCache(old_file), now - std::chrono::hours(2));
  FORALL_ASSERT_OK(client->Fetch(used_file, NoStop()));  // used again
  FORALL_ASSERT_OK(client->Fetch(new_file, NoStop()));
  EXPECT_FALSE(std::filesystem::exists(InCache(old_file)));
  EXPECT_TRUE(std::filesystem::exists(InCache(used_file)));
  EXPECT_TRUE(std::filesystem::exists(InCache(new_file)));
}

}  // namespace
}  // namespace forall
