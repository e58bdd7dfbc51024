// SPDX-License-Identifier: Apache-2.0
// Every list of the API: page by page, with tokens that are good for that list and question alone.
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/testing/controller_harness.h"

namespace forall {
namespace {

using ::forall::testing::CallAndWait;
using ::forall::testing::ControllerHarness;
using ::forall::testing::IsOk;
using ::forall::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

auto Refused() { return StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("page_token")); }

struct Page {
  std::vector<std::string> names;
  std::string next;
};

class PageListsTest : public ::testing::Test {
 protected:
  PageListsTest() {
    for (const char* const worker : {"a", "b", "c"}) harness_.Register(worker);
    for (int i = 0; i < 2; ++i) EXPECT_THAT(harness_.Submit(ControllerHarness::Spec(8)), IsOk());
    harness_.Tick();
    StoreBatch batch;
    const std::string sha256 = harness_.artifacts()->Put("other weights").value();
    batch.insert_artifacts.push_back({sha256, 13, harness_.clock()->Now()});
    SupernetRecord other = harness_.sqlite()->LoadSupernets()->front();
    other.id = "other";
    other.sha256 = sha256;
    batch.insert_supernets.push_back(other);
    EXPECT_THAT(harness_.sqlite()->Commit(std::move(batch)), IsOk());
    harness_.Restart();
    for (const char* const worker : {"a", "b", "c"}) harness_.Register(worker);
    lists_["jobs"] = Jobs();
    lists_["trials of 1"] = Trials("searchJobs/1");
    lists_["trials of 2"] = Trials("searchJobs/2");
    lists_["workers"] = Workers();
    lists_["supernets"] = Supernets();
  }

  using List = std::function<absl::StatusOr<Page>(const std::string& token)>;

  template <typename Request, typename Response, typename Field>
  absl::StatusOr<Page> Call(void (Controller::*method)(const Request&, Done<Response>),
                            Request request, const std::string& token, Field field) {
    request.set_page_size(1);
    request.set_page_token(token);
    FORALL_ASSIGN_OR_RETURN(const Response response,
                            CallAndWait(harness_.controller(), method, request));
    Page page;
    for (const auto& entry : field(response)) page.names.push_back(entry.name());
    page.next = response.next_page_token();
    return page;
  }
  List Jobs() {
    return [this](const std::string& token) {
      return Call(
          &Controller::ListSearchJobs, v1::ListSearchJobsRequest(), token,
          [](const v1::ListSearchJobsResponse& response) { return response.search_jobs(); });
    };
  }
  List Trials(const std::string& job) {
    return [this, job](const std::string& token) {
      v1::ListTrialsRequest request;
      request.set_parent(job);
      return Call(&Controller::ListTrials, request, token,
                  [](const v1::ListTrialsResponse& response) { return response.trials(); });
    };
  }
  List Workers() {
    return [this](const std::string& token) {
      return Call(&Controller::ListWorkers, v1::ListWorkersRequest(), token,
                  [](const v1::ListWorkersResponse& response) { return response.workers(); });
    };
  }
  List Supernets() {
    return [this](const std::string& token) {
      return Call(&Controller::ListSupernets, v1::ListSupernetsRequest(), token,
                  [](const v1::ListSupernetsResponse& response) { return response.supernets(); });
    };
  }

  ControllerHarness harness_;
  std::map<std::string, List> lists_;
};

TEST_F(PageListsTest, AreWalkedPageByPage) {
  std::map<std::string, std::vector<std::string>> all;
  for (const auto& [name, list] : lists_) {
    std::string token;
    do {
      FORALL_ASSERT_OK_AND_ASSIGN(const Page page, list(token));
      ASSERT_THAT(page.names, SizeIs(1)) << name;
      all[name].push_back(page.names[0]);
      token = page.next;
    } while (!token.empty());
  }
  EXPECT_THAT(all["jobs"], ElementsAre("searchJobs/2", "searchJobs/1"));
  EXPECT_THAT(all["workers"], ElementsAre("workers/a", "workers/b", "workers/c"));
  EXPECT_THAT(all["supernets"], ElementsAre("supernets/fashion_mnist", "supernets/other"));
  EXPECT_GT(all["trials of 1"].size(), 1u);
  EXPECT_EQ(all["trials of 1"].size(), harness_.Trials("searchJobs/1").size());
}

TEST_F(PageListsTest, TakeNoTokenOfAnotherListOrQuestionNorOneThatWasChanged) {
  for (const auto& [name, list] : lists_) {
    FORALL_ASSERT_OK_AND_ASSIGN(const Page page, list(""));
    ASSERT_FALSE(page.next.empty()) << name;
    for (const auto& [other_name, other] : lists_) {
      if (other_name == name) {
        EXPECT_THAT(other(page.next), IsOk());
      } else {
        EXPECT_THAT(other(page.next), Refused()) << "of " << name << " to " << other_name;
      }
    }
    std::string changed = page.next;
    changed[3] = changed[3] == 'x' ? 'y' : 'x';
    EXPECT_THAT(list(changed), Refused()) << name;
    EXPECT_THAT(list(page.next.substr(0, page.next.size() / 2)), Refused()) << name;
    EXPECT_THAT(list("anything"), Refused()) << name;
  }
}

TEST_F(PageListsTest, GoOnAfterARestart) {
  std::map<std::string, std::string> tokens;
  std::map<std::string, std::vector<std::string>> expected;
  for (const auto& [name, list] : lists_) {
    tokens[name] = list("")->next;
    expected[name] = list(tokens[name])->names;
  }
  harness_.Restart();
  for (const char* const worker : {"a", "b", "c"}) harness_.Register(worker);
  for (const auto& [name, list] : lists_) {
    FORALL_ASSERT_OK_AND_ASSIGN(const Page page, list(tokens[name]));
    EXPECT_EQ(page.names, expected[name]) << name;
  }
}

}  // namespace
}  // namespace forall
