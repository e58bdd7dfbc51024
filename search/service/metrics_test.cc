// SPDX-License-Identifier: Apache-2.0
// Metrics as a Prometheus server reads them, after a scripted run of which every number is known.
#include "search/controller/metrics.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "base/testing/temp_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/testing/controller_harness.h"
#include "search/service/controller_flags.h"
#include "search/service/metrics_server.h"
#include "search/service/rpc_metrics.h"
#include "search/service/server.h"
#include "search/service/testing/http_get.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::FaultyStore;
using ::forall::testing::HttpGet;
using ::forall::testing::IsOk;
using ::forall::testing::ParseExposition;
using ::forall::testing::StatusIs;
using ::forall::testing::TempDir;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

constexpr char kAlerts[] = "deploy/prometheus/forall.rules.yml";

TEST(HistogramTest, CountsByInclusiveUpperBound) {
  Histogram histogram({1, 2, 4});
  for (const double value : {0.5, 1.0, 1.5, 4.0, 9.0}) histogram.Observe(value);
  const HistogramSnapshot snapshot = histogram.Read();
  EXPECT_EQ(snapshot.counts, (std::vector<uint64_t>{2, 1, 1, 1}));
  EXPECT_DOUBLE_EQ(snapshot.sum, 16);
}

TEST(HistogramTest, BoundsAscend) {
  const std::vector<double> fine = FineBounds(1e-3, 1);
  EXPECT_EQ(fine.size(), 19);
  EXPECT_DOUBLE_EQ(fine.front(), 1e-3);
  EXPECT_DOUBLE_EQ(fine.back(), 1);
  EXPECT_TRUE(std::is_sorted(fine.begin(), fine.end()));
  EXPECT_EQ(DoublingBounds(8), (std::vector<double>{1, 2, 4, 8}));
}

class MetricsTest : public ::testing::Test {
 protected:
  MetricsTest() {
    absl::StatusOr<std::unique_ptr<ControllerServer>> server = ControllerServer::Start(
        {.listen = "", .audit_log = audit_ + "/audit.jsonl", .rpc_metrics = &rpcs_},
        harness_.controller(), harness_.artifacts());
    EXPECT_THAT(server, IsOk());
    server_ = *std::move(server);
    const std::shared_ptr<grpc::Channel> channel = server_->InProcessChannel();
    search_ = v1::SearchService::NewStub(channel);
    fleet_ = v1::FleetService::NewStub(channel);
    absl::StatusOr<std::unique_ptr<MetricsServer>> metrics =
        MetricsServer::Start("127.0.0.1:0", [this] { return Collect(); });
    EXPECT_THAT(metrics, IsOk());
    metrics_ = *std::move(metrics);
  }

  // As forall-controller does.
  std::vector<MetricFamily> Collect() {
    std::vector<MetricFamily> all = harness_.controller()->CollectMetrics();
    all.push_back(rpcs_.Collect());
    all.push_back(server_->audit().Collect());
    all.push_back(server_->CollectCertificates());
    return all;
  }
  std::map<std::string, double> Scrape() {
    const absl::StatusOr<std::string> text = HttpGet(metrics_->port(), "/metrics");
    EXPECT_THAT(text, IsOk());
    const absl::StatusOr<std::map<std::string, double>> samples =
        ParseExposition(text.value_or(""));
    EXPECT_THAT(samples, IsOk());
    return samples.ok() ? *samples : std::map<std::string, double>();
  }
  // -1 when there is none of that name.
  double Value(const std::string& sample) {
    const std::map<std::string, double> samples = Scrape();
    const auto it = samples.find(sample);
    return it == samples.end() ? -1 : it->second;
  }

  v1::LeaseTasksResponse Lease(const std::string& worker) {
    grpc::ClientContext context;
    v1::LeaseTasksRequest request;
    request.set_worker(worker);
    request.set_max_tasks(1);
    v1::LeaseTasksResponse response;
    EXPECT_TRUE(fleet_->LeaseTasks(&context, request, &response).ok());
    return response;
  }

  void Fail(const std::string& worker, const v1::LeasedTask& leased,
            v1::TaskFailure::Reason reason) {
    v1::TaskResult result;
    result.set_task(leased.task().name());
    result.set_lease_token(leased.lease().token());
    result.mutable_failure()->set_reason(reason);
    result.mutable_failure()->set_message("scripted");
    EXPECT_THAT(harness_.Complete(worker, result), IsOk());
  }

  grpc::StatusCode Cancel(const std::string& job) {
    grpc::ClientContext context;
    v1::CancelSearchJobRequest request;
    request.set_name(job);
    v1::SearchJob response;
    return search_->CancelSearchJob(&context, request, &response).error_code();
  }

  TempDir folder_;
  const std::string audit_ = folder_ / "audit";
  ControllerHarness harness_;
  RpcMetrics rpcs_;
  std::unique_ptr<ControllerServer> server_;
  std::unique_ptr<MetricsServer> metrics_;
  std::unique_ptr<v1::SearchService::Stub> search_;
  std::unique_ptr<v1::FleetService::Stub> fleet_;
};

TEST_F(MetricsTest, FollowsTasksFromQueueToPoison) {
  for (const char* worker : {"a", "b"}) harness_.Register(worker);
  ASSERT_THAT(harness_.Submit(ControllerHarness::Spec(6)), IsOk());
  const std::string exports = R"(forall_tasks_waiting{kind="export",device_class=""})";
  const double waiting = Value(exports);
  EXPECT_GE(waiting, 2);
  EXPECT_EQ(Value(R"(forall_workers{state="active"})"), 2);
  EXPECT_EQ(Value(R"(forall_job_frontier_size{job="searchJobs/1"})"), 0);
  EXPECT_EQ(Value(R"(forall_job_trials{job="searchJobs/1"})"), waiting);
  harness_.clock()->Advance(absl::Seconds(7));
  EXPECT_EQ(Value(R"(forall_oldest_waiting_task_seconds{kind="export",device_class=""})"), 7);

  // Leased, and lost.
  ASSERT_EQ(Lease("a").tasks_size(), 1);
  EXPECT_EQ(Value("forall_tasks_leased"), 1);
  EXPECT_EQ(Value(exports), waiting - 1);
  EXPECT_EQ(Value("forall_leases_granted_total"), 1);
  EXPECT_EQ(Value("forall_lease_grant_seconds_count"), 1);
  EXPECT_EQ(Value(R"(forall_lease_grant_seconds_bucket{le="+Inf"})"), 1);
  harness_.clock()->Advance(4 * ControllerHarness::kHeartbeat);
  harness_.Tick();
  EXPECT_EQ(Value("forall_leases_expired_total"), 1);
  EXPECT_EQ(Value("forall_tasks_leased"), 0);
  EXPECT_EQ(Value(exports), waiting);

  // Failed on one worker, then on another: poison.
  const v1::LeaseTasksResponse first = Lease("a");
  ASSERT_EQ(first.tasks_size(), 1);
  Fail("a", first.tasks(0), v1::TaskFailure::TRANSIENT);
  EXPECT_EQ(Value("forall_tasks_retried_total"), 1);
  EXPECT_EQ(Value("forall_tasks_poisoned_total"), 0);
  const v1::LeaseTasksResponse second = Lease("b");
  ASSERT_EQ(second.tasks_size(), 1);
  ASSERT_EQ(second.tasks(0).task().name(), first.tasks(0).task().name());
  Fail("b", second.tasks(0), v1::TaskFailure::TRANSIENT);
  EXPECT_EQ(Value("forall_tasks_retried_total"), 1);
  EXPECT_EQ(Value("forall_tasks_poisoned_total"), 1);
  const v1::LeaseTasksResponse third = Lease("b");
  ASSERT_EQ(third.tasks_size(), 1);
  Fail("b", third.tasks(0), v1::TaskFailure::OUT_OF_MEMORY);
  EXPECT_EQ(Value("forall_tasks_failed_total"), 1);
  EXPECT_EQ(Value("forall_workers_quarantined_total"), 0);
  EXPECT_EQ(Value("forall_tasks_completed_total"), 0);
}

TEST_F(MetricsTest, CountsResultsVerdictsAndCommits) {
  harness_.Register("w");
  const double commits_before = Value("forall_commits_total");
  const auto job = harness_.Submit(ControllerHarness::Spec(6));
  ASSERT_THAT(job, IsOk());
  double noisy = 0;
  double trusted = 0;
  double completed = 0;
  const auto count = [&](const v1::Task& task, v1::TaskResult* result) {
    ++completed;
    if (task.kind() != v1::Task::LATENCY) return;
    if (static_cast<int>(noisy) < 2) {
      ++noisy;
      result->mutable_latency_result()->mutable_verdict()->set_state(v1::Verdict::NOISY);
    } else {
      ++trusted;
    }
  };
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(harness_.Step("w", count));
  EXPECT_EQ(Value("forall_tasks_completed_total"), completed);
  EXPECT_GT(Value(R"(forall_job_trials{job="searchJobs/1"})"), 0);
  harness_.RunToEnd(job->name(), "w", count);

  const std::map<std::string, double> samples = Scrape();
  EXPECT_EQ(samples.at("forall_tasks_completed_total"), completed);
  EXPECT_EQ(samples.at("forall_commit_results_sum"), completed);
  EXPECT_EQ(samples.at("forall_tasks_leased"), 0);
  EXPECT_EQ(samples.at(R"(forall_latency_verdicts_total{worker="workers/w",verdict="noisy"})"),
            noisy);
  EXPECT_EQ(samples.at(R"(forall_latency_verdicts_total{worker="workers/w",verdict="trusted"})"),
            trusted);
  EXPECT_GT(samples.at("forall_commits_total"), commits_before);
  EXPECT_GE(samples.at("forall_commit_seconds_count"), samples.at("forall_commits_total") - 1);
  // A job that has ended is not watched any more.
  EXPECT_EQ(samples.count(R"(forall_job_hypervolume{job="searchJobs/1"})"), 0);
}

TEST_F(MetricsTest, TellsOfAStoreThatKeepsNothing) {
  harness_.Register("w");
  EXPECT_EQ(Value("forall_read_only"), 0);
  harness_.store()->FailFrom(1, FaultyStore::Fault::kLost, absl::ResourceExhaustedError("full"));
  EXPECT_THAT(harness_.Submit(ControllerHarness::Spec(4)).status(),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(Value("forall_read_only"), 1);
  EXPECT_EQ(Value("forall_commits_failed_total"), 1);
  harness_.store()->Heal();
  harness_.Tick();
  EXPECT_EQ(Value("forall_read_only"), 0);
}

TEST_F(MetricsTest, CountsLinesOfTheAuditLogThatAreLost) {
  const std::string lost = "forall_audit_lines_lost_total";
  std::filesystem::create_directory(audit_);
  EXPECT_EQ(Cancel("searchJobs/77"), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Value(lost), 0);
  // Moved away with its folder, so that no new one can be begun.
  std::filesystem::rename(audit_, audit_ + ".1");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Cancel("searchJobs/77"), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Value(lost), 2);
  std::filesystem::create_directory(audit_);
  EXPECT_EQ(Cancel("searchJobs/77"), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Value(lost), 2);
}

TEST_F(MetricsTest, CountsCallsByMethodAndCode) {
  harness_.Register("w");
  Lease("w");
  Lease("w");
  grpc::ClientContext context;
  v1::GetSearchJobRequest request;
  request.set_name("searchJobs/77");
  v1::SearchJob job;
  EXPECT_EQ(search_->GetSearchJob(&context, request, &job).error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Value(R"(forall_rpcs_total{method="forall.v1.FleetService/LeaseTasks",code="OK"})"), 2);
  EXPECT_EQ(
      Value(absl::StrCat(R"(forall_rpcs_total{method="forall.v1.SearchService/GetSearchJob",)",
                         R"(code="NOT_FOUND"})")),
      1);
}

// A file of the source tree.
std::string SourceText(const std::string& path) {
  const char* const source = std::getenv("FORALL_SOURCE_DIR");
  const absl::StatusOr<std::string> text = ReadFile(absl::StrCat(source ? source : ".", "/", path));
  EXPECT_THAT(text, IsOk());
  return text.value_or("");
}

// What the first group of `pattern` finds.
std::set<std::string> Matches(const std::string& text, const char* pattern) {
  std::set<std::string> found;
  const std::regex regex(pattern);
  for (std::sregex_iterator at(text.begin(), text.end(), regex), end; at != end; ++at) {
    found.insert(at->str(1));
  }
  return found;
}

TEST_F(MetricsTest, OperatorsAreToldOfEveryMetricAndEveryAlert) {
  std::set<std::string> exported;
  for (const MetricFamily& family : Collect()) exported.insert(family.name);
  const std::string docs = SourceText("docs/operations.md");
  const std::string alerts = SourceText(kAlerts);
  EXPECT_EQ(Matches(docs, "`(forall_[a-z_]+)`"), exported);
  EXPECT_THAT(exported, IsSupersetOf(Matches(alerts, "(forall_[a-z_]+?)(?:_bucket)?[^a-z_]")));
  EXPECT_EQ(Matches(docs, "`(Forall[A-Za-z]+)`"), Matches(alerts, "alert: ([A-Za-z]+)"));
}

TEST(AlertsTest, WhatHappensOnceIsRememberedForLongerThanAnAlertWaits) {
  const std::string alerts = SourceText(kAlerts);
  int waiting = 0;
  for (const std::string& alert : std::vector<std::string>(absl::StrSplit(alerts, "- alert: "))) {
    // Quantiles say how things are, not what has happened.
    if (absl::StrContains(alert, "histogram_quantile")) continue;
    for (const std::string& wait : Matches(alert, "for: ([0-9]+[mh])")) {
      for (const std::string& window : Matches(alert, "\\[([0-9]+[mh])\\]")) {
        absl::Duration waited;
        absl::Duration remembered;
        ASSERT_TRUE(absl::ParseDuration(wait, &waited));
        ASSERT_TRUE(absl::ParseDuration(window, &remembered));
        EXPECT_LT(waited, remembered) << alert;
        ++waiting;
      }
    }
  }
  EXPECT_GT(waiting, 0);
}

TEST(MetricsServerTest, RefusesWhatOthersReachAndPortsInUse) {
  const auto nothing = [] { return std::vector<MetricFamily>(); };
  EXPECT_THAT(MetricsServer::Start("0.0.0.0:0", nothing).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("without TLS")));
  EXPECT_THAT(MetricsServer::Start("7412", nothing).status(),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("HOST:PORT")));
  const auto first = MetricsServer::Start("localhost:0", nothing);
  ASSERT_THAT(first, IsOk());
  EXPECT_THAT(MetricsServer::Start(absl::StrCat("127.0.0.1:", (*first)->port()), nothing).status(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("in use")));
  EXPECT_THAT(HttpGet((*first)->port(), "/other").status(),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("404")));
}

TEST(ControllerFlagsTest, MetricsAreServedWhenAskedFor) {
  const auto flags = ParseControllerFlags({"--db", "x.db", "--metrics-listen", "127.0.0.1:7412"});
  ASSERT_THAT(flags, IsOk());
  EXPECT_EQ(flags->metrics_listen, "127.0.0.1:7412");
  EXPECT_EQ(ParseControllerFlags({"--db", "x.db"})->metrics_listen, "");
}

}  // namespace
}  // namespace forall
