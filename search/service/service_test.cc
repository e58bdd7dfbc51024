// SPDX-License-Identifier: Apache-2.0
// The three services as clients see them, over a channel inside this process.
#include <arpa/inet.h>
#include <grpcpp/grpcpp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "base/thread.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "net/testing/certificate_maker.h"
#include "search/controller/testing/controller_harness.h"
#include "search/service/controller_flags.h"
#include "search/service/grpc_status.h"
#include "search/service/server.h"

namespace forall {
namespace {

using ::forall::testing::ControllerHarness;
using ::forall::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class ServiceTest : public ::testing::Test {
 protected:
  ServiceTest() {
    absl::StatusOr<std::unique_ptr<ControllerServer>> server = ControllerServer::Start(
        {.listen = "127.0.0.1:0"}, harness_.controller(), harness_.artifacts());
    EXPECT_THAT(server, testing::IsOk());
    server_ = *std::move(server);
    const std::shared_ptr<grpc::Channel> channel = server_->InProcessChannel();
    search_ = v1::SearchService::NewStub(channel);
    fleet_ = v1::FleetService::NewStub(channel);
    // Over a socket: in the in-process transport of gRPC 1.51 a client that is still sending does
    // not learn that its call has ended.
    artifact_ = v1::ArtifactService::NewStub(grpc::CreateChannel(
        "127.0.0.1:" + std::to_string(server_->port()), grpc::InsecureChannelCredentials()));
  }

  v1::SearchJob Submit(int trials) {
    grpc::ClientContext context;
    v1::SubmitSearchJobRequest request;
    *request.mutable_spec() = ControllerHarness::Spec(trials);
    v1::SearchJob job;
    const grpc::Status status = search_->SubmitSearchJob(&context, request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job;
  }

  grpc::Status Upload(const std::string& sha256, const std::string& content,
                      const std::string& sent, v1::Artifact* artifact) {
    grpc::ClientContext context;
    const auto writer = artifact_->UploadArtifact(&context, artifact);
    v1::UploadArtifactRequest request;
    request.set_sha256(sha256);
    request.set_size_bytes(static_cast<int64_t>(content.size()));
    for (size_t at = 0; at < sent.size(); at += 1000) {
      request.set_content(sent.substr(at, 1000));
      if (!writer->Write(request)) break;
      request.Clear();
    }
    writer->WritesDone();
    return writer->Finish();
  }

  ControllerHarness harness_;
  std::unique_ptr<ControllerServer> server_;
  std::unique_ptr<v1::SearchService::Stub> search_;
  std::unique_ptr<v1::FleetService::Stub> fleet_;
  std::unique_ptr<v1::ArtifactService::Stub> artifact_;
};

TEST_F(ServiceTest, ErrorsNameTheField) {
  grpc::ClientContext context;
  v1::SubmitSearchJobRequest request;
  *request.mutable_spec() = ControllerHarness::Spec(-4);
  v1::SearchJob job;
  const grpc::Status status = search_->SubmitSearchJob(&context, request, &job);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("spec.budget.max_trials"));
}

TEST_F(ServiceTest, EstimatesAJobOrRefusesItAsASubmission) {
  harness_.Register("w");
  harness_.RunToEnd(Submit(6).name());
  grpc::ClientContext context;
  v1::EstimateSearchJobRequest request;
  *request.mutable_spec() = ControllerHarness::Spec(40);
  v1::SearchJobEstimate estimate;
  ASSERT_TRUE(search_->EstimateSearchJob(&context, request, &estimate).ok());
  ASSERT_THAT(estimate.work(), SizeIs(4));
  EXPECT_EQ(estimate.work(0).measurements(), 40);
  EXPECT_EQ(estimate.work(2).condition().device(), "devices/pc");

  grpc::ClientContext refused;
  request.mutable_spec()->mutable_budget()->set_max_trials(-4);
  const grpc::Status status = search_->EstimateSearchJob(&refused, request, &estimate);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("spec.budget.max_trials"));
}

TEST_F(ServiceTest, AJobIsDeletedOnceItHasEnded) {
  harness_.Register("w");
  const v1::SearchJob job = Submit(4);
  EXPECT_EQ(job.tenant(), "(local)");
  v1::DeleteSearchJobRequest request;
  request.set_name(job.name());
  v1::DeleteSearchJobResponse response;
  {
    grpc::ClientContext context;
    const grpc::Status early = search_->DeleteSearchJob(&context, request, &response);
    EXPECT_EQ(early.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_THAT(early.error_message(), HasSubstr("cancel"));
  }
  harness_.RunToEnd(job.name());
  {
    grpc::ClientContext context;
    const grpc::Status status = search_->DeleteSearchJob(&context, request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.trials(), 4);
    EXPECT_GT(response.kept_measurements(), 8);
  }
  v1::WatchSearchJobRequest watch;
  watch.set_name(job.name());
  grpc::ClientContext watching;
  v1::SearchJobUpdate update;
  const auto reader = search_->WatchSearchJob(&watching, watch);
  EXPECT_FALSE(reader->Read(&update));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
  grpc::ClientContext reporting;
  v1::GetReportRequest report;
  report.set_name(job.name());
  v1::ReportChunk chunk;
  const auto chunks = search_->GetReport(&reporting, report);
  EXPECT_FALSE(chunks->Read(&chunk));
  EXPECT_EQ(chunks->Finish().error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ServiceTest, WatchFollowsAJobToItsEndAndResumes) {
  harness_.Register("w");
  const v1::SearchJob job = Submit(6);
  Thread worker("worker", [&] { harness_.RunToEnd(job.name()); });
  v1::WatchSearchJobRequest request;
  request.set_name(job.name());
  v1::SearchJobUpdate update;
  int64_t sequence = 0;
  {
    grpc::ClientContext context;
    const auto reader = search_->WatchSearchJob(&context, request);
    ASSERT_TRUE(reader->Read(&update));
    sequence = update.search_job().event_sequence();
    context.TryCancel();
    while (reader->Read(&update)) {
    }
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  request.set_after_event_sequence(sequence);
  grpc::ClientContext context;
  const auto reader = search_->WatchSearchJob(&context, request);
  while (reader->Read(&update)) {
    EXPECT_GE(update.search_job().event_sequence(), sequence);
    sequence = update.search_job().event_sequence();
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(update.search_job().state(), v1::SearchJob::SUCCEEDED);
  worker.Join();
}

TEST_F(ServiceTest, WatchOfAnEndedJobAndOfNoJob) {
  harness_.Register("w");
  const v1::SearchJob job = Submit(3);
  harness_.RunToEnd(job.name());
  v1::WatchSearchJobRequest request;
  request.set_name(job.name());
  v1::SearchJobUpdate update;
  {
    grpc::ClientContext context;
    const auto reader = search_->WatchSearchJob(&context, request);
    ASSERT_TRUE(reader->Read(&update));
    EXPECT_THAT(update.trials(), SizeIs(3));
    EXPECT_FALSE(reader->Read(&update));
    EXPECT_TRUE(reader->Finish().ok());
  }
  for (const auto& [name, code] : {std::pair("searchJobs/77", grpc::StatusCode::NOT_FOUND),
                                   std::pair("jobs/x", grpc::StatusCode::INVALID_ARGUMENT)}) {
    grpc::ClientContext context;
    request.set_name(name);
    const auto reader = search_->WatchSearchJob(&context, request);
    EXPECT_FALSE(reader->Read(&update));
    EXPECT_EQ(reader->Finish().error_code(), code);
  }
}

TEST_F(ServiceTest, LongPollWaitsForWork) {
  harness_.Register("w");
  v1::LeaseTasksResponse response;
  grpc::Status status;
  Thread poll("poll", [&] {
    grpc::ClientContext context;
    v1::LeaseTasksRequest request;
    request.set_worker("workers/w");
    request.set_max_tasks(2);
    request.mutable_wait()->set_seconds(60);
    status = fleet_->LeaseTasks(&context, request, &response);
  });
  Submit(3);
  poll.Join();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_GE(response.tasks_size(), 1);
}

TEST_F(ServiceTest, WorkersAreInspected) {
  harness_.Register("w");
  v1::InspectWorkerRequest request;
  v1::WorkerInspection inspection;
  request.set_name("workers/w");
  {
    grpc::ClientContext context;
    ASSERT_TRUE(fleet_->InspectWorker(&context, request, &inspection).ok());
  }
  EXPECT_EQ(inspection.worker().device().name(), "devices/pc");
  request.set_name("workers/nobody");
  grpc::ClientContext context;
  EXPECT_EQ(fleet_->InspectWorker(&context, request, &inspection).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST_F(ServiceTest, PollWhoseClientHasGoneTakesNoTask) {
  harness_.Register("w");
  {
    grpc::ClientContext context;
    // The deadline comes while the poll is parked: the fake clock does not move.
    context.set_deadline(
        gpr_time_add(gpr_now(GPR_CLOCK_REALTIME), gpr_time_from_millis(50, GPR_TIMESPAN)));
    v1::LeaseTasksRequest request;
    request.set_worker("workers/w");
    request.set_max_tasks(1);
    request.mutable_wait()->set_seconds(60);
    v1::LeaseTasksResponse response;
    EXPECT_EQ(fleet_->LeaseTasks(&context, request, &response).error_code(),
              grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  // The client knows first: the server hears of it a moment later.
  std::string parked;
  for (int i = 0; i < 100000 && parked != "0"; ++i) {
    grpc::ClientContext context;
    v1::GetServerStatusResponse status;
    ASSERT_TRUE(fleet_->GetServerStatus(&context, {}, &status).ok());
    parked = status.values().at("polls_parked");
  }
  ASSERT_EQ(parked, "0");
  const v1::SearchJob job = Submit(3);
  EXPECT_EQ(harness_.RunToEnd(job.name()).state(), v1::SearchJob::SUCCEEDED);
}

// When gRPC tells the server that a client has gone is up to its threads: some attempts may come
// too early, and what they leased runs out by itself.
TEST_F(ServiceTest, NextTasksOfACallerThatHasGoneAreGivenBackAtOnce) {
  harness_.Register("w");
  harness_.Register("other");
  Submit(40);
  bool given_back = false;
  for (int attempt = 0; attempt < 20 && !given_back; ++attempt) {
    const absl::StatusOr<v1::LeaseTasksResponse> leased = harness_.Lease("w");
    ASSERT_THAT(leased, testing::IsOk());
    ASSERT_THAT(leased->tasks(), SizeIs(1));
    v1::CompleteTasksRequest request;
    request.set_worker("workers/w");
    *request.add_results() = harness_.Evaluate(leased->tasks(0));
    request.set_max_next_tasks(1);
    harness_.store()->Hang();
    grpc::ClientContext context;
    v1::CompleteTasksResponse response;
    std::promise<grpc::StatusCode> ended;
    fleet_->async()->CompleteTasks(
        &context, &request, &response,
        [&ended](const grpc::Status& status) { ended.set_value(status.error_code()); });
    while (harness_.store()->held() == 0) Clock::Real()->SleepFor(absl::Milliseconds(1));
    context.TryCancel();
    ASSERT_EQ(ended.get_future().get(), grpc::StatusCode::CANCELLED);
    Clock::Real()->SleepFor(absl::Milliseconds(attempt));
    harness_.store()->GoOn();
    FORALL_ASSERT_OK(harness_.sqlite()->Commit({}));
    // Exports in order of their numbers: what was given back comes before those behind it.
    const absl::StatusOr<v1::LeaseTasksResponse> next = harness_.Lease("other");
    ASSERT_THAT(next, testing::IsOk());
    ASSERT_THAT(next->tasks(), SizeIs(1));
    const auto number = [](const v1::LeasedTask& task) {
      return std::stoll(task.task().name().substr(std::strlen("tasks/")));
    };
    given_back = number(next->tasks(0)) == number(leased->tasks(0)) + 1;
  }
  EXPECT_TRUE(given_back);
}

TEST_F(ServiceTest, ArtifactsAreUploadedOnceAndDownloadedFromAnyOffset) {
  std::string content(2'500'000, 'x');
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * i % 251);
  const std::string sha256 = Sha256Hex(content);
  v1::Artifact artifact;
  EXPECT_EQ(Upload(sha256, content, content.substr(0, 1000), &artifact).error_code(),
            grpc::StatusCode::DATA_LOSS);
  EXPECT_FALSE(harness_.artifacts()->Exists(sha256));
  EXPECT_TRUE(Upload(sha256, content, content, &artifact).ok());
  EXPECT_EQ(artifact.size_bytes(), 2'500'000);
  EXPECT_TRUE(Upload(sha256, content, content, &artifact).ok());
  EXPECT_EQ(Upload("../../etc/passwd", content, content, &artifact).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);

  grpc::ClientContext context;
  v1::DownloadArtifactRequest request;
  request.set_sha256(sha256);
  request.set_offset(500'000);
  const auto reader = artifact_->DownloadArtifact(&context, request);
  v1::DownloadArtifactResponse chunk;
  std::string got;
  while (reader->Read(&chunk)) got += chunk.content();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(got, content.substr(500'000));

  for (const auto& [offset, hash, code] :
       {std::tuple(int64_t{0}, std::string(64, '0'), grpc::StatusCode::NOT_FOUND),
        std::tuple(int64_t{1} << 40, sha256, grpc::StatusCode::OUT_OF_RANGE)}) {
    grpc::ClientContext bad_context;
    request.set_sha256(hash);
    request.set_offset(offset);
    const auto bad = artifact_->DownloadArtifact(&bad_context, request);
    EXPECT_FALSE(bad->Read(&chunk));
    EXPECT_EQ(bad->Finish().error_code(), code);
  }
}

TEST_F(ServiceTest, UploadsAreHeldToWhatTheyAnnounce) {
  const std::string content(1000, 'x');
  const std::string sha256 = Sha256Hex(content);
  const int64_t size = 1000;
  struct Case {
    std::string sha256;
    int64_t size_bytes;
    std::vector<std::string> chunks;
    grpc::StatusCode code;
  };
  const Case cases[] = {
      {sha256, int64_t{1} << 50, {content}, grpc::StatusCode::RESOURCE_EXHAUSTED},
      {sha256, -1, {content}, grpc::StatusCode::INVALID_ARGUMENT},
      {sha256, size, {std::string((1 << 20) + 1, 'x')}, grpc::StatusCode::INVALID_ARGUMENT},
      {sha256, size, {content, "more"}, grpc::StatusCode::DATA_LOSS},
      {sha256, size, {std::string(1000, 'y')}, grpc::StatusCode::DATA_LOSS},
      {sha256, size, {content.substr(1)}, grpc::StatusCode::DATA_LOSS},
      {"", size, {content}, grpc::StatusCode::INVALID_ARGUMENT},
      {std::string(64, 'A'), size, {content}, grpc::StatusCode::INVALID_ARGUMENT},
      {std::string(62, 'a') + "/x", size, {content}, grpc::StatusCode::INVALID_ARGUMENT},
      {"../" + sha256.substr(3), size, {content}, grpc::StatusCode::INVALID_ARGUMENT},
      {"", 0, {}, grpc::StatusCode::INVALID_ARGUMENT}};
  for (const Case& upload : cases) {
    grpc::ClientContext context;
    v1::Artifact artifact;
    const auto writer = artifact_->UploadArtifact(&context, &artifact);
    v1::UploadArtifactRequest request;
    request.set_sha256(upload.sha256);
    request.set_size_bytes(upload.size_bytes);
    for (const std::string& chunk : upload.chunks) {
      request.set_content(chunk);
      if (!writer->Write(request)) break;
      request.Clear();
    }
    writer->WritesDone();
    EXPECT_EQ(writer->Finish().error_code(), upload.code)
        << upload.sha256 << " " << upload.size_bytes;
    EXPECT_FALSE(harness_.artifacts()->Exists(sha256));
  }
  // Nothing of them is left.
  const std::filesystem::path folder =
      std::filesystem::path(*harness_.artifacts()->PathOf(sha256)).parent_path().parent_path();
  EXPECT_TRUE(std::filesystem::is_empty(folder / "incoming"));
}

TEST_F(ServiceTest, UploadedFileThatIsNoSupernetIsRefused) {
  grpc::ClientContext context;
  v1::CreateSupernetRequest request;
  request.set_supernet_id("x");
  request.set_sha256(harness_.artifacts()->Put("not a supernet").value());
  v1::Supernet supernet;
  EXPECT_EQ(search_->CreateSupernet(&context, request, &supernet).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ServiceTest, ReportIsAPage) {
  harness_.Register("w");
  const v1::SearchJob job = Submit(5);
  harness_.RunToEnd(job.name());
  grpc::ClientContext context;
  v1::GetReportRequest request;
  request.set_name(job.name());
  const auto reader = search_->GetReport(&context, request);
  v1::ReportChunk chunk;
  std::string page;
  while (reader->Read(&chunk)) page += chunk.content();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_THAT(page, HasSubstr("</html>"));
}

TEST_F(ServiceTest, LedgerAndRandomBaselineReachTheirReaders) {
  harness_.Register("w");
  for (const char* sampler : {"random", "guided"}) {
    v1::SearchJobSpec spec = ControllerHarness::Spec(18);
    spec.mutable_sampler()->set_algorithm(sampler);
    harness_.RunToEnd(harness_.Submit(spec)->name());
  }
  v1::PredictionLedger ledger;
  {
    grpc::ClientContext context;
    v1::GetPredictionLedgerRequest request;
    request.set_name("searchJobs/2");
    ASSERT_TRUE(search_->GetPredictionLedger(&context, request, &ledger).ok());
  }
  ASSERT_THAT(ledger.entries(), SizeIs(2));
  EXPECT_GT(ledger.entries(1).forecasts_size(), 0);
  grpc::ClientContext context;
  v1::GetReportRequest request;
  request.set_name("searchJobs/2");
  const auto reader = search_->GetReport(&context, request);
  v1::ReportChunk chunk;
  std::string page;
  while (reader->Read(&chunk)) page += chunk.content();
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_THAT(page, HasSubstr("They are those of searchJobs/1"));
  EXPECT_THAT(page, HasSubstr("class=\"forecasts\""));
}

TEST_F(ServiceTest, MeasurementsAreRetracted) {
  harness_.Register("w");
  const v1::SearchJob job = Submit(4);
  harness_.RunToEnd(job.name());
  v1::RetractMeasurementsRequest request;
  v1::RetractMeasurementsResponse response;
  {
    grpc::ClientContext context;
    const grpc::Status status = fleet_->RetractMeasurements(&context, request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr("give at least one"));
  }
  request.set_worker("workers/w");
  request.set_reason("a test (ann)");
  for (const bool dry_run : {true, false}) {
    grpc::ClientContext context;
    request.set_dry_run(dry_run);
    ASSERT_TRUE(fleet_->RetractMeasurements(&context, request, &response).ok());
    EXPECT_GT(response.measurements(), 4);
    ASSERT_THAT(response.jobs(), SizeIs(1));
    EXPECT_EQ(response.jobs(0).search_job(), job.name());
    EXPECT_EQ(harness_.FrontierMembers(job.name()).empty(), !dry_run);
  }
}

TEST_F(ServiceTest, StoppingAnswersParkedPollsAndStreams) {
  harness_.Register("w");
  const v1::SearchJob job = Submit(2);
  grpc::ClientContext context;
  v1::WatchSearchJobRequest request;
  request.set_name(job.name());
  const auto reader = search_->WatchSearchJob(&context, request);
  v1::SearchJobUpdate update;
  ASSERT_TRUE(reader->Read(&update));
  harness_.controller()->Stop();
  while (reader->Read(&update)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(ServerTest, PlaintextIsForLoopbackOnly) {
  ControllerHarness harness;
  for (const char* open : {"0.0.0.0:0", "[::]:0", "127.9.9.9:0"}) {
    EXPECT_THAT(ControllerServer::Start({.listen = open}, harness.controller(), harness.artifacts())
                    .status(),
                StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("--tls-cert")))
        << open;
  }
  EXPECT_THAT(ControllerServer::Start({.listen = "7411"}, harness.controller(), harness.artifacts())
                  .status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("--listen")));
}

TEST(ServerTest, FilesAreCheckedBeforeItListens) {
  ControllerHarness harness;
  testing::TempDir directory;
  const testing::CertificateMaker maker;
  const testing::KeyPair pair = maker.Issue({"DNS:localhost"});
  const std::string ca = directory / "ca.pem";
  const std::string certificate = directory / "server.pem";
  const std::string key = directory / "server.key";
  const std::string other = directory / "other.key";
  const std::string tokens = directory / "tokens";
  for (const auto& [path, text] :
       {std::pair(ca, maker.authority()), std::pair(certificate, pair.certificate),
        std::pair(key, pair.key), std::pair(other, maker.Issue({}).key),
        std::pair(tokens, std::string("no tokens"))}) {
    FORALL_ASSERT_OK(WriteFileAtomically(path, text));
  }
  const auto start = [&](ControllerServer::Options options) {
    options.listen = "0.0.0.0:0";
    return ControllerServer::Start(options, harness.controller(), harness.artifacts()).status();
  };
  FORALL_EXPECT_OK(
      start({.tls_certificate = certificate, .tls_key = key, .tls_client_authorities = ca}));
  {
    FORALL_ASSERT_OK_AND_ASSIGN(const auto server,
                                ControllerServer::Start({.listen = "127.0.0.1:0",
                                                         .tls_certificate = certificate,
                                                         .tls_key = key,
                                                         .tls_client_authorities = ca},
                                                        harness.controller(), harness.artifacts()));
    const MetricFamily ends = server->CollectCertificates();
    ASSERT_EQ(ends.samples.size(), 2u);
    EXPECT_EQ(ends.samples[0].labels[0].second, "certificate");
    EXPECT_EQ(ends.samples[1].labels[0].second, "authorities");
    const double now = static_cast<double>(absl::ToUnixSeconds(Clock::Real()->Now()));
    EXPECT_NEAR(ends.samples[0].value - now, 24 * 3600, 600);
  }
  const std::tuple<ControllerServer::Options, absl::StatusCode, std::string> cases[] = {
      {{.tls_certificate = certificate}, absl::StatusCode::kInvalidArgument, "--tls-key"},
      {{.tls_certificate = certificate, .tls_key = other},
       absl::StatusCode::kInvalidArgument,
       "not the private key"},
      {{.tls_certificate = directory / "gone", .tls_key = key},
       absl::StatusCode::kNotFound,
       "gone"},
      {{.tls_client_authorities = ca}, absl::StatusCode::kInvalidArgument, "--tls-client-ca"},
      {{.tls_certificate = certificate, .tls_key = key, .tls_client_authorities = key},
       absl::StatusCode::kInvalidArgument,
       "--tls-client-ca"},
      {{.tls_certificate = certificate, .tls_key = key, .tokens = tokens},
       absl::StatusCode::kInvalidArgument,
       tokens}};
  for (const auto& [options, code, text] : cases) {
    EXPECT_THAT(start(options), StatusIs(code, HasSubstr(text)));
  }
}

// A client that speaks HTTP/2 and then falls silent, as one whose machine has lost its power.
TEST(ServerTest, ClientThatHasVanishedIsLetGo) {
  ControllerHarness harness;
  FORALL_ASSERT_OK_AND_ASSIGN(
      const auto server,
      ControllerServer::Start({.listen = "127.0.0.1:0", .keepalive = absl::Milliseconds(200)},
                              harness.controller(), harness.artifacts()));
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_GE(fd, 0);
  const auto close_it = absl::MakeCleanup([fd] { close(fd); });
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(server->port()));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  const timeval patience = {.tv_sec = 60, .tv_usec = 0};
  ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
  // The preface and an empty SETTINGS frame (RFC 9113).
  const std::string hello =
      std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") + std::string("\0\0\0\4\0\0\0\0\0", 9);
  ASSERT_EQ(send(fd, hello.data(), hello.size(), MSG_NOSIGNAL), static_cast<ssize_t>(hello.size()));
  ssize_t count = 0;
  size_t heard = 0;
  char buffer[4096];
  while ((count = recv(fd, buffer, sizeof(buffer), 0)) > 0) heard += static_cast<size_t>(count);
  EXPECT_GT(heard, 0u);  // It was taken for a client.
  EXPECT_TRUE(count == 0 || errno == ECONNRESET) << "still connected: " << strerror(errno);
}

TEST(ServerTest, PortInUseIsSaid) {
  ControllerHarness harness;
  FORALL_ASSERT_OK_AND_ASSIGN(const std::unique_ptr<ControllerServer> first,
                              ControllerServer::Start({.listen = "127.0.0.1:0"},
                                                      harness.controller(), harness.artifacts()));
  EXPECT_GT(first->port(), 0);
  EXPECT_THAT(ControllerServer::Start({.listen = "127.0.0.1:" + std::to_string(first->port())},
                                      harness.controller(), harness.artifacts())
                  .status(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("in use")));
}

TEST(ControllerFlagsTest, ReadsBothFormsAndNamesMistakes) {
  FORALL_ASSERT_OK_AND_ASSIGN(
      const ControllerFlags flags,
      ParseControllerFlags({"--db", "x.db", "--heartbeat=200ms", "--supernet", "a", "--supernet=b",
                            "--tenant-weight", "alice=2", "--tenant-weight=nightly=0.25"}));
  EXPECT_EQ(flags.tenant_weights, (std::map<std::string, double>{{"alice", 2}, {"nightly", 0.25}}));
  EXPECT_EQ(flags.max_workers, 20'000);
  EXPECT_EQ(ParseControllerFlags({"--db", "x.db", "--max-workers", "7"})->max_workers, 7);
  EXPECT_EQ(flags.keep_raw_samples, absl::InfiniteDuration());
  EXPECT_EQ(ParseControllerFlags({"--db", "x.db", "--keep-raw-samples=90d"})->keep_raw_samples,
            absl::Hours(90 * 24));
  EXPECT_EQ(flags.artifacts, "x.db.artifacts");
  EXPECT_EQ(flags.heartbeat, absl::Milliseconds(200));
  EXPECT_THAT(flags.supernets, SizeIs(2));
  for (const auto& [arguments, text] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{}, "--db"},
           {{"--db"}, "--db"},
           {{"--db", "x", "--hartbeat", "5s"}, "--hartbeat"},
           {{"--db", "x", "--heartbeat", "5"}, "--heartbeat"},
           {{"--db", "x", "--heartbeat", "-5s"}, "--heartbeat"},
           {{"--db", "x", "--tenant-weight", "alice"}, "NAME=WEIGHT"},
           {{"--db", "x", "--tenant-weight", "alice=0"}, "0.01 to 100"},
           {{"--db", "x", "--tenant-weight", "alice=nan"}, "0.01 to 100"},
           {{"--db", "x", "--tenant-weight", "A B=2"}, "no token's name"},
           {{"--db", "x", "--tenant-weight=a=2", "--tenant-weight=a=3"}, "twice"},
           {{"--db", "x", "--max-workers", "0"}, "1 to 1000000"},
           {{"--db", "x", "--max-workers=many"}, "1 to 1000000"},
           {{"--db", "x", "--keep-raw-samples", "90"}, "e.g. 90d"},
           {{"--db", "x", "--keep-raw-samples=59m"}, "1h or more"},
           {{"x.db"}, "x.db"}}) {
    EXPECT_THAT(ParseControllerFlags(arguments),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(text)));
  }
}

}  // namespace
}  // namespace forall
