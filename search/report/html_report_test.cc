// SPDX-License-Identifier: Apache-2.0
#include "search/report/html_report.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/file.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "search/report/html_text.h"
#include "search/report/method_section.h"
#include "search/report/page_assets.h"
#include "search/report/testing/sample_job.h"

namespace forall {
namespace {

using ::forall::testing::IsOk;
using ::forall::testing::MakeSampleJob;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// The page without its style, script and data: what a reader without scripts sees.
std::string Markup(const std::string& page) {
  std::string markup;
  size_t at = 0;
  while (true) {
    const size_t style = page.find("<style", at);
    const size_t script = page.find("<script", at);
    const size_t begin = std::min(style, script);
    markup += page.substr(at, begin - at);
    if (begin == std::string::npos) return markup;
    at = page.find(begin == style ? "</style>" : "</script>", begin) + 8;
  }
}

// Elements are closed in the order they were opened.
::testing::AssertionResult IsWellFormed(const std::string& markup) {
  std::vector<std::string> open;
  for (size_t at = markup.find('<'); at != std::string::npos; at = markup.find('<', at + 1)) {
    const std::string tag = markup.substr(at + 1, markup.find('>', at) - at - 1);
    const size_t begin = tag[0] == '/' ? 1 : 0;
    const std::string name = tag.substr(begin, tag.find_first_of(" \n", begin) - begin);
    if (name == "!doctype" || name == "meta" || name == "link" || name == "input" || name == "br" ||
        tag.back() == '/') {
      continue;
    }
    if (begin == 0) {
      open.push_back(name);
    } else if (open.empty() || open.back() != name) {
      return ::testing::AssertionFailure()
             << "</" << name << "> closes <" << (open.empty() ? "nothing" : open.back()) << ">";
    } else {
      open.pop_back();
    }
  }
  if (!open.empty()) return ::testing::AssertionFailure() << "<" << open.back() << "> stays open";
  return ::testing::AssertionSuccess();
}

nlohmann::json PlotData(const std::string& page) {
  const std::string begin = "id=\"plot-data\">";
  const size_t at = page.find(begin) + begin.size();
  return nlohmann::json::parse(page.substr(at, page.find("</script>", at) - at), nullptr, false);
}

TEST(HtmlReportTest, HasEverySection) {
  const std::string page = RenderReport(MakeSampleJob({}));
  for (const char* id : {"frontier", "members", "networks", "preferences", "progress", "ledger",
                         "environment", "method", "reproduce"}) {
    EXPECT_THAT(page, HasSubstr(absl::StrCat("<section id=\"", id, "\">")));
  }
  EXPECT_TRUE(absl::StartsWith(page, "<!doctype html>"));
  EXPECT_TRUE(IsWellFormed(Markup(page)));
}

TEST(HtmlReportTest, IsWellFormedForAnyShapeOfJob) {
  for (const int members : {1, 2, 13, 1000}) {
    for (const bool three : {false, true}) {
      SCOPED_TRACE(absl::StrCat(members, three));
      const std::string page = RenderReport(
          MakeSampleJob({.trials = 300, .max_members = members, .three_objectives = three}));
      EXPECT_TRUE(IsWellFormed(Markup(page)));
    }
  }
}

TEST(HtmlReportTest, ShowsWhatWasPredictedAgainstWhatWasMeasured) {
  ReportInput input = MakeSampleJob({.trials = 60});
  const std::string markup = Markup(RenderReport(input));
  EXPECT_EQ(Count(markup, "\npredicted "), 80u);
  EXPECT_THAT(markup, HasSubstr("<td class=\"num\">40</td><td class=\"num\">4.20\xC2\xA0%</td>"));
  EXPECT_THAT(markup, HasSubstr("+0.018\xC2\xA0ms"));
  for (v1::PredictionLedger::Entry& entry : *input.ledger.mutable_entries()) {
    entry.clear_forecasts();
  }
  EXPECT_THAT(Markup(RenderReport(input)), HasSubstr("this job's sampler predicts nothing"));
  input.job.mutable_spec()->mutable_sampler()->set_algorithm("guided");
  EXPECT_THAT(Markup(RenderReport(input)), HasSubstr("no trial that was predicted"));
}

// The part of the markup from one heading to the next section.
std::string SectionOf(const std::string& markup, const std::string& id) {
  const size_t begin = markup.find("<section id=\"" + id + "\"");
  return markup.substr(begin, markup.find("</section>", begin) - begin);
}

TEST(HtmlReportTest, ShowsWhatTheFrontierPrefers) {
  ReportInput input = MakeSampleJob({.trials = 60});
  // All members alike: the largest network.
  const SearchSpace& space = input.family->search_space();
  for (v1::FrontierMember& member : *input.frontier.mutable_members()) {
    const Architecture largest = space.Largest();
    member.mutable_trial()->mutable_architecture()->mutable_choices()->Assign(
        largest.choices.begin(), largest.choices.end());
  }
  const std::string section = SectionOf(Markup(RenderReport(input)), "preferences");
  for (const char* title : {"Kernel", "Expansion", "Depth", "Resolution"}) {
    EXPECT_THAT(section, HasSubstr(absl::StrCat("<th colspan=\"2\">", title)));
  }
  EXPECT_EQ(Count(section, "<b>100\xC2\xA0%</b>"), 4u);
  EXPECT_THAT(section, Not(HasSubstr("<h3>")));
}

TEST(HtmlReportTest, ShowsWhatEachLatencyPrefers) {
  ReportInput input = MakeSampleJob({.trials = 60});
  // A second board on which all members but the most accurate are beaten.
  const int members = input.frontier.members_size();
  ASSERT_GT(members, 2);
  v1::Objective* other = input.frontier.add_objectives();
  other->set_metric("latency_ms");
  other->mutable_condition()->set_device("devices/other<");
  for (int i = 0; i < members; ++i) input.frontier.mutable_members(i)->add_values(1 + i);
  const std::string section = SectionOf(Markup(RenderReport(input)), "preferences");
  EXPECT_THAT(section, HasSubstr(absl::StrCat("on sample-board <small>", members, " members")));
  EXPECT_THAT(section, HasSubstr("on other&lt; <small>1 member</small>"));
}

TEST(HtmlReportTest, SaysHowToGetARandomBaseline) {
  ReportInput input = MakeSampleJob({.trials = 20});
  input.random_points.clear();
  std::string section = SectionOf(Markup(RenderReport(input)), "progress");
  EXPECT_THAT(section, HasSubstr("--sampler random"));
  EXPECT_THAT(section, Not(HasSubstr("random-mean")));
  input.job.mutable_spec()->mutable_sampler()->set_algorithm("random");
  section = SectionOf(Markup(RenderReport(input)), "progress");
  EXPECT_THAT(section, Not(HasSubstr("--sampler random")));
}

TEST(HtmlReportTest, SetsTheSearchBesideRandomSubnets) {
  ReportInput input = MakeSampleJob({.trials = 20});
  // All alike, so the expectation is their own hypervolume from the first one on.
  input.random_jobs = {"searchJobs/8", "searchJobs/<9>"};
  input.random_points.assign(30, {0.25, 0.5});
  std::string section = SectionOf(Markup(RenderReport(input)), "progress");
  EXPECT_THAT(section, HasSubstr("class=\"random-mean\""));
  EXPECT_THAT(section, HasSubstr("After 20 subnets random ones have 0.3750 on average"));
  EXPECT_THAT(section, HasSubstr("do not reach what it ended with"));
  EXPECT_THAT(section, HasSubstr("searchJobs/8, searchJobs/&lt;9&gt;"));
  // Fewer than the search, and better than it.
  input.random_points.assign(7, {0, 0.01});
  section = SectionOf(Markup(RenderReport(input)), "progress");
  EXPECT_THAT(section, HasSubstr("After 7 subnets random ones have 0.9900 on average"));
  EXPECT_THAT(section, HasSubstr("what it ended with after about 1."));
  // Not every shape of input is a point.
  input.random_points = {{0.5, 0.5}, {0.5}, {NAN, 0.1}, {}};
  EXPECT_THAT(SectionOf(Markup(RenderReport(input)), "progress"),
              HasSubstr("After 1 subnet random ones have 0.2500"));
  for (const size_t width : {3, 5}) {
    input.random_points.assign(400, std::vector<double>(width, 0.5));
    EXPECT_TRUE(IsWellFormed(Markup(RenderReport(input))));
  }
}

TEST(HtmlReportTest, PlotsVeryManyForecastsThinly) {
  ReportInput input = MakeSampleJob({.trials = 30});
  v1::PredictionLedger::Entry* entry = input.ledger.mutable_entries(1);
  for (int i = 0; i < 5000; ++i) *entry->add_forecasts() = entry->forecasts(i % 20);
  EXPECT_EQ(Count(Markup(RenderReport(input)), "\npredicted "), 20u + 1500u);
}

TEST(HtmlReportTest, FetchesNothing) {
  const std::string page = RenderReport(MakeSampleJob({}));
  EXPECT_THAT(page,
              AllOf(Not(HasSubstr("http:")), Not(HasSubstr("https:")), Not(HasSubstr("url(//")),
                    Not(HasSubstr(" src=")), Not(HasSubstr("@import"))));
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
}

TEST(HtmlReportTest, ShowsEveryMemberInPlotTableAndDrawings) {
  const ReportInput input = MakeSampleJob({.trials = 120});
  const std::string page = RenderReport(input);
  const std::string markup = Markup(page);
  ASSERT_GT(input.frontier.members_size(), 3);
  for (int i = 1; i <= input.frontier.members_size(); ++i) {
    const std::string anchor = absl::StrCat("subnet-", i, "\"");
    EXPECT_EQ(Count(markup, absl::StrCat("<tr id=\"", anchor)), 1u);
    // The plot, the list of drawings, and for the knee the first sentence.
    EXPECT_GE(Count(markup, absl::StrCat("href=\"#", anchor)), 2u);
    const v1::Trial& trial = input.frontier.members(i - 1).trial();
    for (const std::string& key : {trial.arch_key(), trial.graph_key(), trial.artifact_sha256()}) {
      EXPECT_THAT(markup, HasSubstr(absl::StrCat("title=\"", key, "\"")));
    }
  }
  EXPECT_EQ(Count(markup, "<svg class=\"blocks\""),
            static_cast<size_t>(input.frontier.members_size()));
}

TEST(HtmlReportTest, PlotsEveryMeasuredSubnetOnce) {
  const ReportInput input = MakeSampleJob({.trials = 300});
  const std::string page = RenderReport(input);
  EXPECT_EQ(Count(Markup(page), " data-i=\""), 300u);
  const nlohmann::json data = PlotData(page);
  ASSERT_FALSE(data.is_discarded());
  EXPECT_EQ(data["points"].size(), 300u);
  EXPECT_EQ(data["axes"][data["y"].get<int>()]["label"], "top-1 accuracy (validation)");
  EXPECT_EQ(data["axes"][data["x"].get<int>()]["label"], "latency (median) on sample-board");
}

TEST(HtmlReportTest, ThinsVeryManySubnetsAndSaysSo) {
  ReportInput input = MakeSampleJob({.trials = 50});
  const v1::Trial trial = input.trials.back();
  for (int i = 0; i < 5000; ++i) {
    input.trials.push_back(trial);
    input.trials.back().set_name(absl::StrCat("searchJobs/3/trials/", 1000 + i));
  }
  const std::string page = RenderReport(input);
  EXPECT_THAT(page, HasSubstr("are left out of the drawing"));
  EXPECT_EQ(PlotData(page)["points"].size(), 4000u + input.frontier.members_size());
}

TEST(HtmlReportTest, ShowsTestAccuracyApartFromValidation) {
  ReportInput input = MakeSampleJob({.trials = 40, .max_members = 1});
  v1::Trial* trial = input.frontier.mutable_members(0)->mutable_trial();
  for (v1::Measurement& measurement : *trial->mutable_measurements()) {
    if (measurement.condition().split() == "test") measurement.set_value(87.65);
  }
  const std::string markup = Markup(RenderReport(input));
  EXPECT_THAT(markup, HasSubstr("<small>validation, %</small>"));
  EXPECT_THAT(markup, HasSubstr("<small>test, %</small>"));
  EXPECT_THAT(markup, HasSubstr("<b>87.65</b>"));
}

TEST(HtmlReportTest, ShowsDoubts) {
  ReportInput input = MakeSampleJob({.trials = 40, .max_members = 1});
  v1::FrontierMember* member = input.frontier.mutable_members(0);
  member->set_certainty(v1::FrontierMember::CONTESTED);
  v1::Verdict* verdict = member->mutable_trial()->mutable_measurements(1)->mutable_verdict();
  verdict->set_state(v1::Verdict::NOISY);
  verdict->add_reasons("two_modes");
  const std::string markup = Markup(RenderReport(input));
  EXPECT_THAT(markup, HasSubstr("class=\"member contested"));
  EXPECT_THAT(markup, HasSubstr(">noisy</span>"));
  EXPECT_THAT(markup, HasSubstr("two_modes"));
  EXPECT_THAT(markup, HasSubstr(">contested</span>"));
}

// What the drawing has of the member with this number, without its title.
std::string MarkOf(const std::string& markup, int number) {
  const size_t begin = markup.find(absl::StrCat("<a href=\"#subnet-", number, "\" data-i="));
  return markup.substr(begin, markup.find("<title>", begin) - begin);
}

TEST(HtmlReportTest, VerdictsDifferByFormAndContestedMembersAreHollow) {
  ReportInput input = MakeSampleJob({.trials = 40, .max_members = 4});
  ASSERT_EQ(input.frontier.members_size(), 4);
  const v1::Verdict::State states[] = {v1::Verdict::TRUSTED, v1::Verdict::NOISY,
                                       v1::Verdict::REJECTED, v1::Verdict::TRUSTED};
  for (int i = 0; i < 4; ++i) {
    v1::FrontierMember* member = input.frontier.mutable_members(i);
    member->set_certainty(i == 1 ? v1::FrontierMember::CONTESTED : v1::FrontierMember::CERTAIN);
    member->set_knee(i == 3);
    v1::Verdict* verdict = member->mutable_trial()->mutable_measurements(1)->mutable_verdict();
    verdict->set_state(states[i]);
    verdict->clear_reasons();
    if (i > 0) verdict->add_reasons(absl::StrCat("reason_", i));
  }
  const std::string markup = Markup(RenderReport(input));
  EXPECT_THAT(MarkOf(markup, 1), HasSubstr("class=\"member\"><circle"));
  EXPECT_THAT(MarkOf(markup, 2), HasSubstr("class=\"member contested\"><path d="));
  EXPECT_THAT(MarkOf(markup, 3), HasSubstr("class=\"member\"><path d="));
  EXPECT_NE(Count(MarkOf(markup, 2), "h9.0v9.0"), Count(MarkOf(markup, 3), "h9.0v9.0"));
  EXPECT_THAT(MarkOf(markup, 4), HasSubstr("class=\"member knee\"><path class=\"ring\""));
  EXPECT_THAT(MarkOf(markup, 4), HasSubstr("/><circle"));
  EXPECT_THAT(markup, HasSubstr("\nnoisy: reason_1\ncontested</title>"));
  for (const char* word : {"trusted", "noisy", "rejected"}) {
    EXPECT_THAT(markup, HasSubstr(absl::StrCat("/></g></svg>", word, "</li>")));
    EXPECT_THAT(markup, HasSubstr(absl::StrCat("<span class=\"badge ", word, "\">")));
  }
}

TEST(HtmlReportTest, FormsAreExplainedOnlyWhereThereIsMoreThanOne) {
  ReportInput input = MakeSampleJob({.trials = 40});
  const auto trust = [](v1::Trial* trial) {
    for (v1::Measurement& measurement : *trial->mutable_measurements()) {
      measurement.mutable_verdict()->set_state(v1::Verdict::TRUSTED);
      measurement.mutable_verdict()->clear_reasons();
    }
  };
  EXPECT_THAT(Markup(RenderReport(input)), HasSubstr("class=\"form\""));
  for (v1::Trial& trial : input.trials) trust(&trial);
  for (v1::FrontierMember& member : *input.frontier.mutable_members()) {
    trust(member.mutable_trial());
  }
  EXPECT_THAT(Markup(RenderReport(input)), Not(HasSubstr("class=\"form\"")));
}

TEST(HtmlReportTest, EscapesWhateverOthersWrote) {
  const std::string evil = "</script><!--<img src=x onerror=alert(1)>'\"&";
  ReportInput input = MakeSampleJob({.trials = 30});
  input.job.set_state(v1::SearchJob::FAILED);
  input.job.set_name("searchJobs/" + evil);
  input.job.set_error(evil);
  input.job.set_waiting_reason(evil);
  input.job.mutable_spec()->set_display_name(evil);
  input.job.mutable_spec()->set_supernet(evil);
  input.job.mutable_spec()->set_dataset(evil);
  input.build = evil;
  input.supernet_sha256 = evil;
  v1::Device& device = input.devices[0];
  device.set_name(evil);
  device.set_description(evil);
  device.set_device_class(evil);
  device.set_fingerprint(evil);
  (*device.mutable_properties())[evil] = evil;
  v1::Worker& worker = input.workers[0];
  worker.set_name(evil);
  worker.set_build(evil);
  worker.set_reason(evil);
  worker.mutable_profile()->set_runtime(evil);
  input.frontier.mutable_objectives(1)->mutable_condition()->set_device(evil);
  for (v1::PredictionLedger::Entry& entry : *input.ledger.mutable_entries()) {
    entry.mutable_objective()->set_metric(evil);
    entry.mutable_objective()->mutable_condition()->set_device(evil);
    entry.mutable_forecasts(0)->set_trial(evil);
  }
  for (v1::FrontierMember& member : *input.frontier.mutable_members()) {
    v1::Trial* trial = member.mutable_trial();
    trial->set_name(evil + trial->name());
    trial->set_arch_key(evil);
    trial->clear_architecture();
    for (v1::Measurement& measurement : *trial->mutable_measurements()) {
      measurement.mutable_verdict()->add_reasons(evil);
      measurement.mutable_condition()->set_dataset(evil);
      measurement.mutable_condition()->set_device(evil);
      measurement.set_worker(evil);
      measurement.set_worker_build(evil);
      measurement.set_baseline_id(evil);
      measurement.set_fidelity(evil);
    }
  }
  v1::Measurement* odd = input.trials[0].add_measurements();
  odd->set_metric(evil);
  odd->set_value(1);
  const std::string page = RenderReport(input);
  EXPECT_THAT(page, Not(HasSubstr("<img")));
  EXPECT_THAT(page, Not(HasSubstr("<!--")));
  // The data and the page's own script.
  EXPECT_EQ(Count(page, "</script>"), 2u);
  EXPECT_FALSE(PlotData(page).is_discarded());
  EXPECT_TRUE(IsWellFormed(Markup(page)));
  EXPECT_THAT(page, HasSubstr("&lt;img src=x onerror=alert(1)&gt;&#39;&quot;&amp;"));
}

TEST(HtmlReportTest, SurvivesTextThatIsNotUtf8) {
  ReportInput input = MakeSampleJob({.trials = 10});
  input.job.mutable_spec()->set_display_name("caf\xe9\x01");
  input.frontier.mutable_members(0)->mutable_trial()->set_name("a/\xff\xfe");
  EXPECT_FALSE(PlotData(RenderReport(input)).is_discarded());
}

TEST(HtmlReportTest, LeavesOutNumbersThatAreNone) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  ReportInput input = MakeSampleJob({.trials = 60});
  int i = 0;
  for (v1::FrontierMember& member : *input.frontier.mutable_members()) {
    if (i % 3 == 0) member.set_values(i % 2, i % 2 == 0 ? nan : infinity);
    for (v1::Measurement& measurement : *member.mutable_trial()->mutable_measurements()) {
      if (++i % 5 == 0) measurement.set_value(nan);
      if (i % 7 == 0) measurement.mutable_interval()->set_low(-infinity);
      if (i % 11 == 0) measurement.mutable_interval()->set_high(infinity);
      if (i % 13 == 0) measurement.set_baseline_reference_ms(nan);
    }
  }
  for (v1::Trial& trial : input.trials) {
    if (++i % 4 == 0) trial.mutable_measurements(1)->set_value(infinity);
  }
  input.trials[5].mutable_measurements(0)->set_value(1e308);
  input.trials[6].mutable_measurements(0)->set_value(-1e308);
  input.job.mutable_spec()->mutable_constraints(0)->set_at_most(infinity);
  input.frontier.set_hypervolume(nan);
  input.hypervolume_history = {{1, nan}, {2, 0.5}, {3, infinity}};
  v1::PredictionLedger::Entry* entry = input.ledger.mutable_entries(1);
  entry->mutable_forecasts(0)->set_expected(nan);
  entry->mutable_forecasts(1)->set_deviation(infinity);
  entry->mutable_forecasts(2)->set_measured(1e308);
  entry->set_mean_signed_error(infinity);
  entry->set_kendall_tau(nan);
  const std::string page = RenderReport(input);
  static const std::regex number("[^a-z](nan|inf)[^a-z]");
  std::string markup = Markup(page);
  // The specification is shown as it is stored.
  markup.erase(markup.find("<section id=\"reproduce\">"));
  std::smatch found;
  EXPECT_FALSE(std::regex_search(markup, found, number)) << found.str();
  EXPECT_FALSE(PlotData(page).is_discarded());
}

TEST(HtmlReportTest, IsDeterministic) {
  const ReportInput input = MakeSampleJob({});
  EXPECT_EQ(RenderReport(input), RenderReport(input));
  EXPECT_EQ(RenderReport(input), RenderReport(MakeSampleJob({})));
}

TEST(HtmlReportTest, ShowsAnEmptyFrontier) {
  ReportInput input = MakeSampleJob({});
  input.frontier.clear_members();
  const std::string page = RenderReport(input);
  EXPECT_TRUE(IsWellFormed(Markup(page)));
  EXPECT_THAT(page, HasSubstr("The frontier is empty"));
  EXPECT_EQ(Count(Markup(page), " data-i=\""), 120u);
}

TEST(HtmlReportTest, NamesTheClosestWhereNothingIsFeasible) {
  ReportInput input = MakeSampleJob({});
  v1::ClosestTrial* const closest = input.frontier.add_closest();
  *closest->mutable_trial() = input.frontier.members(0).trial();
  input.frontier.clear_members();
  v1::ClosestTrial::Miss* const miss = closest->add_misses();
  miss->mutable_constraint()->set_metric("macs");
  miss->mutable_constraint()->set_at_most(20e6);
  miss->set_value(21e6);
  miss->set_relative_excess(0.05);
  const std::string page = RenderReport(input);
  EXPECT_THAT(page, HasSubstr("No measured subnet meets the constraints"));
  EXPECT_THAT(page, HasSubstr("\u00a0M is 5 % above 20.00\u00a0M"));
  EXPECT_THAT(page, HasSubstr(absl::StrCat("trial ", LastSegment(closest->trial().name()))));
}

TEST(HtmlReportTest, SaysWhyAJobHasNothingAndDrawsNothing) {
  ReportInput input = MakeSampleJob({});
  input.job.set_state(v1::SearchJob::FAILED);
  input.job.set_error("of 12 trials, 12 break a constraint and 0 could not be measured");
  input.job.set_measured_trials(0);
  input.job.set_infeasible_trials(12);
  input.frontier.clear_members();
  *input.frontier.add_closest()->mutable_trial() = input.trials[0];
  // Timed, not classified.
  for (v1::Trial& trial : input.trials) {
    trial.set_state(v1::Trial::INFEASIBLE);
    for (v1::Measurement& measurement : *trial.mutable_measurements()) {
      if (measurement.metric() == "accuracy_top1") measurement.set_metric("other");
    }
  }
  const std::string markup = Markup(RenderReport(input));
  EXPECT_TRUE(IsWellFormed(markup));
  EXPECT_THAT(markup, HasSubstr("This job failed: of 12 trials, 12 break a constraint and 0 could "
                                "not be measured.</p>"));
  EXPECT_THAT(markup, HasSubstr("12 subnets were tried: 12 break a constraint"));
  EXPECT_LT(markup.find("The closest:"), markup.find("<section id=\"frontier\""));
  EXPECT_THAT(
      SectionOf(markup, "frontier"),
      AllOf(HasSubstr("nothing to plot"), Not(HasSubstr("<svg")), Not(HasSubstr("<select"))));
}

TEST(HtmlReportTest, CallsPredictionsPredicted) {
  ReportInput input = MakeSampleJob({.trials = 40});
  const auto rename = [](auto* metrics) {
    for (auto& metric : *metrics) {
      if (metric.metric() == "accuracy_top1") metric.set_metric("predicted_accuracy_top1");
      if (metric.metric() == "latency_ms") metric.set_metric("predicted_latency_ms");
    }
  };
  rename(input.job.mutable_spec()->mutable_objectives());
  rename(input.job.mutable_spec()->mutable_constraints());
  rename(input.frontier.mutable_objectives());
  for (v1::Trial& trial : input.trials) rename(trial.mutable_measurements());
  for (v1::FrontierMember& member : *input.frontier.mutable_members()) {
    rename(member.mutable_trial()->mutable_measurements());
    member.set_certainty(v1::FrontierMember::CONTESTED);
  }
  const std::string markup = Markup(RenderReport(input));
  EXPECT_THAT(markup, HasSubstr("Of 40 predicted subnets"));
  EXPECT_THAT(markup, HasSubstr("Nothing was measured."));
  EXPECT_THAT(markup, HasSubstr(">Predicted latency<small>sample-board, ms</small>"));
  EXPECT_THAT(markup, HasSubstr("is not measured"));
  for (const char* id : {"frontier", "members"}) {
    EXPECT_THAT(SectionOf(markup, id), Not(HasSubstr("easured subnet"))) << id;
  }
}

TEST(HtmlReportTest, SaysWhyAMemberIsContested) {
  ReportInput input = MakeSampleJob({.trials = 120});
  ASSERT_GT(input.frontier.members_size(), 3);
  for (v1::FrontierMember& member : *input.frontier.mutable_members()) {
    member.set_certainty(v1::FrontierMember::CERTAIN);
  }
  EXPECT_THAT(Markup(RenderReport(input)), Not(HasSubstr("class=\"why\"")));
  v1::FrontierMember* member = input.frontier.mutable_members(1);
  member->set_certainty(v1::FrontierMember::CONTESTED);
  for (v1::Measurement& measurement : *member->mutable_trial()->mutable_measurements()) {
    // As wide as can be: its neighbour could beat it.
    measurement.set_fidelity("final");
    measurement.mutable_verdict()->set_state(v1::Verdict::TRUSTED);
    measurement.mutable_interval()->set_low(measurement.value() / 10);
    measurement.mutable_interval()->set_high(measurement.value() * 10);
  }
  std::string markup = Markup(RenderReport(input));
  EXPECT_EQ(Count(markup, "class=\"why\""), 1u);
  EXPECT_THAT(markup,
              HasSubstr("<small class=\"why\">within intervals, subnet 1 could beat it</small>"));
  for (v1::Measurement& measurement : *member->mutable_trial()->mutable_measurements()) {
    measurement.set_fidelity("screening");
    measurement.mutable_interval()->set_low(measurement.value());
    measurement.mutable_interval()->set_high(measurement.value());
  }
  markup = Markup(RenderReport(input));
  EXPECT_THAT(markup, HasSubstr("latency (median) on sample-board only screened"));
}

TEST(HtmlReportTest, CallsAKneeOnlyWhatIsOne) {
  ReportInput input = MakeSampleJob({.trials = 60});
  input.frontier.mutable_members()->DeleteSubrange(3, input.frontier.members_size() - 3);
  // (accuracy, latency): towards the ideal point, then away from it.
  for (const bool bends : {true, false}) {
    for (int i = 0; i < 3; ++i) {
      v1::FrontierMember* member = input.frontier.mutable_members(i);
      member->set_knee(i == 1);
      member->set_values(0, i == 0 ? 90 : i == 1 ? (bends ? 89 : 81) : 80);
      member->set_values(1, i == 0 ? 3 : i == 1 ? (bends ? 2 : 2.9) : 1);
    }
    const std::string markup = Markup(RenderReport(input));
    EXPECT_EQ(Count(markup, "The knee, <a href=\"#subnet-2\""), bends ? 1u : 0u);
    EXPECT_EQ(Count(markup, "so it has no knee; <a href=\"#subnet-2\""), bends ? 0u : 1u);
    EXPECT_THAT(markup, HasSubstr(bends ? "knee, the best compromise" : "(no knee)"));
    EXPECT_THAT(markup, HasSubstr(bends ? "<em>knee</em>" : "<em>suggested</em>"));
  }
  input.frontier.mutable_members()->RemoveLast();
  EXPECT_THAT(Markup(RenderReport(input)), HasSubstr("Two have no knee"));
  EXPECT_TRUE(IsWellFormed(Markup(RenderReport(input))));
}

TEST(HtmlReportTest, FlagsIntervalsThatHardlyEverHold) {
  ReportInput input = MakeSampleJob({.trials = 60});
  EXPECT_THAT(SectionOf(Markup(RenderReport(input)), "ledger"), Not(HasSubstr("surer of itself")));
  input.ledger.mutable_entries(0)->set_within_interval(0.1);
  const std::string section = SectionOf(Markup(RenderReport(input)), "ledger");
  EXPECT_THAT(section, AllOf(HasSubstr("surer of itself"), HasSubstr("<small>too few</small>"),
                             HasSubstr("points</td>")));
}

TEST(HtmlReportTest, ReadsNothingIntoFewMembers) {
  EXPECT_THAT(Markup(RenderReport(MakeSampleJob({.trials = 60, .max_members = 2}))),
              HasSubstr("So few members may have an option by chance"));
  EXPECT_THAT(Markup(RenderReport(MakeSampleJob({.trials = 120}))),
              Not(HasSubstr("may have an option by chance")));
}

TEST(HtmlReportTest, ShowsAnEmptyInput) {
  const std::string page = RenderReport(ReportInput());
  EXPECT_TRUE(IsWellFormed(Markup(page)));
  EXPECT_THAT(page, HasSubstr("Nothing has been measured yet"));
}

TEST(HtmlReportTest, SaysThatAnUnfinishedJobIsUnfinished) {
  ReportInput input = MakeSampleJob({.trials = 20});
  EXPECT_THAT(Markup(RenderReport(input)), Not(HasSubstr("class=\"notice\"")));
  input.job.set_state(v1::SearchJob::RUNNING);
  input.job.clear_end_time();
  EXPECT_THAT(Markup(RenderReport(input)), HasSubstr("This job is running"));
}

TEST(HtmlReportTest, DrawsNothingWithoutFamilyButShowsTheRest) {
  ReportInput input = MakeSampleJob({.trials = 20});
  input.family = nullptr;
  const std::string markup = Markup(RenderReport(input));
  EXPECT_THAT(markup, HasSubstr("Not drawn"));
  EXPECT_EQ(Count(markup, "<tr id=\"subnet-"), static_cast<size_t>(input.frontier.members_size()));
}

TEST(HtmlReportTest, ScriptHasNoWayToMakeHtmlOfText) {
  EXPECT_THAT(kPageScript, AllOf(Not(HasSubstr("innerHTML")), Not(HasSubstr("eval(")),
                                 Not(HasSubstr("</script")), Not(HasSubstr("document.write"))));
}

TEST(JobFileJsonTest, HasTheFieldsOfAJobFile) {
  bool complete = false;
  const auto json =
      nlohmann::json::parse(JobFileJson(MakeSampleJob({}).job.spec(), &complete), nullptr, false);
  ASSERT_FALSE(json.is_discarded());
  EXPECT_TRUE(complete);
  EXPECT_EQ(json["supernet"], "fashion_mnist");
  EXPECT_EQ(json["objectives"], nlohmann::json({"accuracy_top1", "latency_ms@sample-board"}));
  EXPECT_EQ(json["constraints"], nlohmann::json({"latency_ms@sample-board<=3"}));
  EXPECT_EQ(json["budget"]["max_trials"], 120);
  EXPECT_EQ(json["seed"], 1);
}

TEST(JobFileJsonTest, BoundsComeBackAsTheyAre) {
  bool complete = true;
  v1::SearchJobSpec spec;
  spec.add_constraints()->set_metric("macs");
  spec.mutable_constraints(0)->set_at_least(-std::numeric_limits<double>::max());
  spec.mutable_constraints(0)->set_at_most(0.1);
  const std::string json = JobFileJson(spec, &complete);
  EXPECT_THAT(json, HasSubstr("macs<=0.1\""));
  EXPECT_THAT(json, HasSubstr("macs>=-1.7976931348623157e+308"));
}

TEST(JobFileJsonTest, RulesThatSayNothingAreNotShown) {
  bool complete = false;
  v1::SearchJobSpec spec;
  spec.mutable_fidelity()->mutable_screening_latency();
  spec.mutable_fidelity()->mutable_final_latency();
  EXPECT_THAT(JobFileJson(spec, &complete), Not(HasSubstr("_latency")));
  spec.mutable_fidelity()->mutable_final_latency()->set_fresh(false);
  EXPECT_THAT(JobFileJson(spec, &complete),
              AllOf(HasSubstr("final_latency"), Not(HasSubstr("screening_latency"))));
}

TEST(JobFileJsonTest, TellsWhatItCannotExpress) {
  bool complete = true;
  v1::SearchJobSpec spec;
  spec.add_objectives()->set_metric("macs");
  JobFileJson(spec, &complete);
  EXPECT_TRUE(complete);
  spec.mutable_objectives(0)->set_goal(v1::Objective::MAXIMIZE);
  JobFileJson(spec, &complete);
  EXPECT_FALSE(complete);
  // Classes are any text; an expression takes some of it for its own.
  spec.mutable_objectives(0)->clear_goal();
  for (const char* device_class : {"x ", " x", "\t", "x:batch=2", "x<=3", "x:grid=1"}) {
    spec.mutable_objectives(0)->mutable_condition()->set_device_class(device_class);
    JobFileJson(spec, &complete);
    EXPECT_FALSE(complete) << device_class;
  }
  spec.mutable_objectives(0)->mutable_condition()->set_device_class("x86 64");
  JobFileJson(spec, &complete);
  EXPECT_TRUE(complete);
}

// To look at: FORALL_REPORT_SAMPLE=folder writes a few pages there.
TEST(HtmlReportTest, WritesSamplesToLookAt) {
  const char* folder = std::getenv("FORALL_REPORT_SAMPLE");
  if (folder == nullptr) GTEST_SKIP() << "FORALL_REPORT_SAMPLE names no folder";
  const auto write = [&](const char* name, const ReportInput& input) {
    EXPECT_THAT(WriteFileAtomically(absl::StrCat(folder, "/", name, ".html"), RenderReport(input)),
                IsOk());
  };
  write("usual", MakeSampleJob({}));
  write("one", MakeSampleJob({.trials = 30, .max_members = 1}));
  write("many", MakeSampleJob({.trials = 4000}));
  write("three", MakeSampleJob({.trials = 300, .max_members = 40, .three_objectives = true}));
  ReportInput empty = MakeSampleJob({.trials = 30});
  empty.frontier.clear_members();
  empty.job.set_state(v1::SearchJob::RUNNING);
  empty.job.clear_end_time();
  write("empty", empty);
}

TEST(HtmlReportTest, SaysOnHowManyImagesSubnetsRacedAndStand) {
  ReportInput input = MakeSampleJob({});
  v1::Fidelity* fidelity = input.job.mutable_spec()->mutable_fidelity();
  EXPECT_THAT(Markup(RenderReport(input)), Not(HasSubstr("race over tiers")));
  fidelity->add_tiers(1000);
  fidelity->add_tiers(5000);
  input.frontier.mutable_members(0)->mutable_trial()->set_accuracy_images(5000);
  const std::string markup = Markup(RenderReport(input));
  EXPECT_THAT(markup, HasSubstr("race over tiers of 1,000, 5,000 validation images"));
  EXPECT_THAT(markup, HasSubstr(", 5,000 images</small>"));
}

}  // namespace
}  // namespace forall
