// SPDX-License-Identifier: Apache-2.0
// A disk that fails under a running service, as clients and operators see it: over a socket, with
// SQLite on a file system layer that fails on command.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <future>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/testing/controller_harness.h"
#include "search/service/server.h"
#include "search/store/testing/fault_vfs.h"

namespace forall {
namespace {

using ::forall::testing::ControllerHarness;
using ::forall::testing::FaultVfs;
using ::forall::testing::TempDir;
using ::testing::AllOf;
using ::testing::HasSubstr;

// As grpc.health.v1.HealthCheckResponse numbers them.
enum class Serving { kUnknown = 0, kServing = 1, kNotServing = 2 };

class ReadOnlyTest : public ::testing::TestWithParam<int> {
 protected:
  ReadOnlyTest() {
    absl::StatusOr<std::unique_ptr<ControllerServer>> server = ControllerServer::Start(
        {.listen = "127.0.0.1:0"}, harness_.controller(), harness_.artifacts());
    EXPECT_THAT(server, testing::IsOk());
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string(server_->port()),
                                   grpc::InsecureChannelCredentials());
    search_ = v1::SearchService::NewStub(channel_);
    fleet_ = v1::FleetService::NewStub(channel_);
  }

  grpc::Status Submit(v1::SearchJob* job) {
    grpc::ClientContext context;
    v1::SubmitSearchJobRequest request;
    *request.mutable_spec() = ControllerHarness::Spec(6);
    return search_->SubmitSearchJob(&context, request, job);
  }
  v1::SearchJob Job(const std::string& name) {
    grpc::ClientContext context;
    v1::GetSearchJobRequest request;
    request.set_name(name);
    v1::SearchJob job;
    const grpc::Status status = search_->GetSearchJob(&context, request, &job);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return job;
  }
  std::string Frontier(const std::string& name) {
    grpc::ClientContext context;
    v1::QueryParetoFrontierRequest request;
    request.set_parent(name);
    v1::QueryParetoFrontierResponse response;
    const grpc::Status status = search_->QueryParetoFrontier(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.SerializeAsString();
  }
  grpc::Status Complete(const v1::TaskResult& result, v1::CompleteTasksResponse* response) {
    grpc::ClientContext context;
    v1::CompleteTasksRequest request;
    request.set_worker("w");
    *request.add_results() = result;
    const grpc::Status status = fleet_->CompleteTasks(&context, request, response);
    const auto pushback = context.GetServerTrailingMetadata().find("grpc-retry-pushback-ms");
    EXPECT_EQ(pushback != context.GetServerTrailingMetadata().end(),
              status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
    return status;
  }
  std::map<std::string, std::string> ServerStatus() {
    grpc::ClientContext context;
    v1::GetServerStatusResponse response;
    EXPECT_TRUE(fleet_->GetServerStatus(&context, v1::GetServerStatusRequest(), &response).ok());
    return {response.values().begin(), response.values().end()};
  }
  // Debian has no generated stub of the health service: both messages are one field.
  Serving Health(const std::string& service) {
    std::string bytes;
    if (!service.empty()) {
      bytes = std::string("\x0a") + static_cast<char>(service.size()) + service;
    }
    grpc::Slice slice(bytes);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer response;
    grpc::ClientContext context;
    std::promise<grpc::Status> done;
    grpc::GenericStub(channel_).UnaryCall(
        &context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request, &response,
        [&done](grpc::Status status) { done.set_value(std::move(status)); });
    const grpc::Status status = done.get_future().get();
    EXPECT_TRUE(status.ok()) << status.error_message();
    grpc::Slice answer;
    EXPECT_TRUE(response.DumpToSingleSlice(&answer).ok());
    return answer.size() == 2 ? static_cast<Serving>(answer.begin()[1]) : Serving::kUnknown;
  }

  TempDir folder_;
  FaultVfs disk_{"forall-read-only-test"};
  ControllerHarness harness_{{.path = folder_ / "store.db", .vfs = disk_.name()}};
  std::unique_ptr<ControllerServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::SearchService::Stub> search_;
  std::unique_ptr<v1::FleetService::Stub> fleet_;
};

constexpr char kSearch[] = "forall.v1.SearchService";
constexpr char kFleet[] = "forall.v1.FleetService";
constexpr char kArtifact[] = "forall.v1.ArtifactService";

TEST_P(ReadOnlyTest, TheServiceTurnsReadOnlySaysSoAndGoesOn) {
  const int code = GetParam();
  const grpc::StatusCode expected =
      code == SQLITE_FULL ? grpc::StatusCode::RESOURCE_EXHAUSTED : grpc::StatusCode::UNAVAILABLE;
  for (const char* service : {"", kSearch, kFleet, kArtifact}) {
    EXPECT_EQ(Health(service), Serving::kServing) << service;
  }
  harness_.Register("w");
  v1::SearchJob job;
  ASSERT_TRUE(Submit(&job).ok());
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(harness_.Step("w"));
  const std::string frontier = Frontier(job.name());
  const int64_t sequence = Job(job.name()).event_sequence();
  FORALL_ASSERT_OK_AND_ASSIGN(const v1::LeaseTasksResponse leased, harness_.Lease("w"));
  const v1::TaskResult result = harness_.Evaluate(leased.tasks(0));

  disk_.Fail({.code = code});
  v1::CompleteTasksResponse completed;
  const grpc::Status refused = Complete(result, &completed);
  EXPECT_EQ(refused.error_code(), expected) << refused.error_message();
  EXPECT_THAT(refused.error_message(),
              AllOf(HasSubstr("store.db"), HasSubstr("nothing of this call was kept"),
                    HasSubstr("repeat the call")));
  harness_.Tick();
  // Writers are told, readers are answered with what is durable.
  EXPECT_EQ(Health(kFleet), Serving::kNotServing);
  EXPECT_EQ(Health(kArtifact), Serving::kNotServing);
  EXPECT_EQ(Health(kSearch), Serving::kServing);
  EXPECT_EQ(Health(""), Serving::kServing);
  EXPECT_EQ(Frontier(job.name()), frontier);
  EXPECT_EQ(Job(job.name()).event_sequence(), sequence);
  EXPECT_THAT(Job(job.name()).waiting_reason(), HasSubstr("store results"));
  std::map<std::string, std::string> status = ServerStatus();
  EXPECT_EQ(status["read_only"], "true");
  EXPECT_THAT(status["read_only_reason"], HasSubstr("store.db"));
  v1::SearchJob second;
  EXPECT_EQ(Submit(&second).error_code(), expected);
  // The worker repeats its call, and keeps its lease.
  for (int i = 0; i < 4; ++i) {
    harness_.clock()->Advance(ControllerHarness::kHeartbeat);
    grpc::ClientContext context;
    v1::HeartbeatRequest heartbeat;
    heartbeat.set_worker("w");
    heartbeat.add_leases()->set_task(result.task());
    heartbeat.mutable_leases(0)->set_token(result.lease_token());
    v1::HeartbeatResponse kept;
    EXPECT_TRUE(fleet_->Heartbeat(&context, heartbeat, &kept).ok());
    EXPECT_EQ(kept.lost_tokens_size(), 0);
    harness_.Tick();
    EXPECT_EQ(Complete(result, &completed).error_code(), expected);
  }

  disk_.Heal();
  harness_.clock()->Advance(absl::Seconds(10));
  harness_.Tick();
  for (const char* service : {"", kSearch, kFleet, kArtifact}) {
    EXPECT_EQ(Health(service), Serving::kServing) << service;
  }
  EXPECT_EQ(ServerStatus()["read_only"], "false");
  ASSERT_TRUE(Complete(result, &completed).ok());
  EXPECT_EQ(completed.completions(0).code(), 0) << completed.completions(0).message();
  const v1::SearchJob ended = harness_.RunToEnd(job.name());
  EXPECT_EQ(ended.state(), v1::SearchJob::SUCCEEDED);
  EXPECT_EQ(ended.measured_trials(), 6);
  EXPECT_TRUE(Submit(&second).ok());
}

// A whole job on a disk that fails at some operation and is mended once the controller has noticed:
// its log is that of an undisturbed job, event by event.
class DisturbedJob {
 public:
  explicit DisturbedJob(int64_t fail_after)
      : harness_({.path = folder_ / "store.db", .checkpoint_pages = 20, .vfs = disk_.name()}) {
    harness_.Register("w");
    const v1::SearchJobSpec spec = ControllerHarness::Spec(3);
    if (fail_after >= 0) disk_.Fail({.after = fail_after, .code = SQLITE_FULL});
    absl::StatusOr<v1::SearchJob> job = harness_.Submit(spec, "once");
    while (!job.ok()) {
      Mend(job.status());
      job = harness_.Submit(spec, "once");
    }
    while (true) {
      const absl::StatusOr<v1::LeaseTasksResponse> leased = harness_.Lease("w");
      if (!leased.ok() || leased->tasks().empty()) break;
      const v1::TaskResult result = harness_.Evaluate(leased->tasks(0));
      absl::StatusOr<v1::TaskCompletion> completed = harness_.Complete("w", result);
      while (!completed.ok()) {
        Mend(completed.status());
        completed = harness_.Complete("w", result);
      }
      EXPECT_EQ(completed->code(), 0) << completed->message();
      // What the last commit only made possible may have failed too.
      if (harness_.controller()->read_only()) Mend(absl::ResourceExhaustedError("full"));
    }
    EXPECT_EQ(harness_.Job(job->name())->state(), v1::SearchJob::SUCCEEDED);
    log = harness_.Log(job->name());
    faults = disk_.faults();
  }

  std::vector<std::string> log;
  int64_t faults = 0;

 private:
  void Mend(const absl::Status& status) {
    EXPECT_THAT(status, testing::StatusIs(absl::StatusCode::kResourceExhausted));
    disk_.Heal();
    for (int i = 0; i < 60 && harness_.controller()->read_only(); ++i) {
      harness_.clock()->Advance(absl::Milliseconds(100));
      harness_.Tick();
    }
    EXPECT_FALSE(harness_.controller()->read_only());
  }

  TempDir folder_;
  FaultVfs disk_{"forall-disturbed-test"};
  ControllerHarness harness_;
};

TEST(DisturbedJobTest, WhereverTheDiskFailsTheLogIsThatOfAnUndisturbedJob) {
  const std::vector<std::string> undisturbed = DisturbedJob(-1).log;
  ASSERT_GT(undisturbed.size(), 10U);
  int failed = 0;
  for (int64_t after = 0;; after += 7) {
    SCOPED_TRACE(after);
    ASSERT_LT(after, 5000);
    const DisturbedJob job(after);
    EXPECT_EQ(job.log, undisturbed);
    if (job.faults == 0) break;
    ++failed;
  }
  EXPECT_GT(failed, 10);
}

INSTANTIATE_TEST_SUITE_P(Faults, ReadOnlyTest,
                         ::testing::Values(SQLITE_FULL, SQLITE_READONLY, SQLITE_IOERR_WRITE,
                                           SQLITE_IOERR_FSYNC, SQLITE_IOERR_TRUNCATE));

}  // namespace
}  // namespace forall
