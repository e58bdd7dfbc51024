// SPDX-License-Identifier: Apache-2.0
#include "cli/jobs_format.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "cli/expressions.h"
#include "cli/frontier_format.h"
#include "cli/progress.h"
#include "cli/text_table.h"
#include "cli/wrapped_text.h"

namespace forall {
namespace {

constexpr size_t kIndent = 12;
constexpr size_t kMostReasons = 5;

// The later lines below the first one's text.
std::string Section(absl::string_view head, absl::string_view text, size_t width) {
  return WrappedText(absl::StrFormat("%-*s", static_cast<int>(kIndent), head), text, kIndent,
                     LineWidth(width));
}

std::string ShortName(absl::string_view name) {
  return std::string(absl::StripPrefix(name, "searchJobs/"));
}

const char* TrialStateName(v1::Trial::State state) {
  switch (state) {
    case v1::Trial::ACTIVE:
      return "active";
    case v1::Trial::MEASURED:
      return "measured";
    case v1::Trial::INFEASIBLE:
      return "infeasible";
    case v1::Trial::FAILED:
      return "failed";
    case v1::Trial::CANCELLED:
      return "cancelled";
    default:
      return "unknown";
  }
}

// "latency_ms 8.3 is above 8 even at ..." without the value and what follows the bound: trials
// that break one bound have one reason.
std::string WithoutValue(const std::string& error) {
  for (const absl::string_view verb : {" is above ", " is below "}) {
    const size_t at = error.find(std::string(verb));
    if (at == std::string::npos) continue;
    const size_t value = error.rfind(' ', at - 1);
    if (at == 0 || value == std::string::npos) continue;
    double number = 0;
    if (!absl::SimpleAtod(error.substr(value + 1, at - value - 1), &number)) continue;
    const size_t bound = at + verb.size();
    const size_t end = std::min(error.find(' ', bound), error.size());
    return absl::StrCat(error.substr(0, value), verb, error.substr(bound, end - bound));
  }
  return error.empty() ? "no reason was given" : error;
}

std::string ObjectivesText(const v1::SearchJobSpec& spec) {
  return absl::StrJoin(spec.objectives(), " ", [](std::string* out, const v1::Objective& o) {
    out->append(ObjectiveText(o));
  });
}

std::string MeasuredText(const v1::SearchJob& job) {
  return absl::StrCat(job.measured_trials(), "/", job.spec().budget().max_trials());
}

// "of alice, priority 5, weight 2"; only what is out of the ordinary.
std::string ShareText(const v1::SearchJob& job) {
  std::vector<std::string> parts;
  if (!job.tenant().empty()) parts.push_back(absl::StrCat("of ", job.tenant()));
  if (job.spec().priority() != 0) {
    parts.push_back(absl::StrCat("priority ", job.spec().priority()));
  }
  if (job.spec().has_weight()) parts.push_back(absl::StrCat("weight ", job.spec().weight()));
  return absl::StrJoin(parts, ", ");
}

std::string IntervalText(const v1::Measurement& measurement) {
  const v1::Interval& interval = measurement.interval();
  if (interval.low() == interval.high()) return "";
  return absl::StrCat("[", Quantity(measurement.metric(), interval.low()), ", ",
                      Quantity(measurement.metric(), interval.high()), "]");
}

}  // namespace

std::string JobsTable(absl::Span<const v1::SearchJob> jobs, absl::TimeZone zone, size_t width) {
  const auto any = [&jobs](auto has) { return std::any_of(jobs.begin(), jobs.end(), has); };
  const bool races = any([](const v1::SearchJob& job) { return !job.tier_trials().empty(); });
  const bool spares = any([](const v1::SearchJob& job) { return job.spared_accuracies() > 0; });
  const bool ranks = any([](const v1::SearchJob& job) { return job.spec().priority() != 0; });
  const bool shared =
      any([&](const v1::SearchJob& job) { return job.tenant() != jobs[0].tenant(); });
  const bool fails = any([](const v1::SearchJob& job) { return job.failed_trials() > 0; });
  std::vector<std::string> header = {"JOB"};
  // Whose it is, where several people ask.
  if (shared) header.emplace_back("TENANT");
  if (ranks) header.emplace_back("PRIO");
  for (const char* column : {"STATE", "MEASURED", "INFEASIBLE"}) header.emplace_back(column);
  if (fails) header.emplace_back("FAILED");
  for (const char* column : {"REUSED", "FRONTIER"}) header.emplace_back(column);
  if (spares) header.emplace_back("SPARED");
  if (races) header.emplace_back("TIERS");
  for (const char* column : {"CREATED", "OBJECTIVES", "NAME"}) header.emplace_back(column);
  TextTable table(std::move(header));
  for (const v1::SearchJob& job : jobs) {
    // Every command takes the short one, and a terminal has little room.
    std::vector<std::string> row = {width == 0 ? job.name() : ShortName(job.name())};
    if (shared) row.push_back(job.tenant().empty() ? "-" : job.tenant());
    if (ranks) row.push_back(job.spec().priority() == 0 ? "" : absl::StrCat(job.spec().priority()));
    row.insert(row.end(),
               {StateName(job.state()), MeasuredText(job), absl::StrCat(job.infeasible_trials())});
    if (fails) row.push_back(absl::StrCat(job.failed_trials()));
    // Why a job was over at once: all was known, or nothing had to be measured.
    row.push_back(Measures(job.spec()) ? absl::StrCat(job.reused_trials()) : "none needed");
    row.push_back(absl::StrCat(job.frontier_size()));
    if (spares) row.push_back(absl::StrCat(job.spared_accuracies()));
    // "60 > 31": so many were measured at each tier of images.
    if (races) row.push_back(absl::StrJoin(job.tier_trials(), " > "));
    row.push_back(
        absl::FormatTime("%m-%d %H:%M", absl::FromUnixSeconds(job.create_time().seconds()), zone));
    row.push_back(ObjectivesText(job.spec()));
    row.push_back(job.spec().display_name());
    table.AddRow(std::move(row));
  }
  return table.Render(width);
}

void TrialReasons::Add(const v1::Trial& trial) {
  if (trial.state() != v1::Trial::INFEASIBLE && trial.state() != v1::Trial::FAILED) return;
  std::string reason = WithoutValue(trial.error());
  const auto [place, fresh] = known_.emplace(std::pair(trial.state(), reason), reasons_.size());
  if (fresh) reasons_.push_back({trial.state(), std::move(reason), 0, trial.name()});
  ++reasons_[place->second].count;
}

std::vector<TrialReason> TrialReasons::Sorted() const {
  std::vector<TrialReason> sorted = reasons_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const TrialReason& a, const TrialReason& b) { return a.count > b.count; });
  return sorted;
}

std::string JobText(const v1::SearchJob& job, const TrialReasons& counted, size_t width) {
  std::string text = Section(
      "job",
      absl::StrCat(job.name(), ", ", StateName(job.state()),
                   job.spec().display_name().empty() ? "" : ": ", job.spec().display_name()),
      width);
  if (!job.error().empty()) absl::StrAppend(&text, Section("error", job.error(), width));
  if (!job.stop_reason().empty()) {
    absl::StrAppend(&text, Section("stopped", job.stop_reason(), width));
  }
  if (!job.waiting_reason().empty()) {
    absl::StrAppend(&text, Section("waits for", job.waiting_reason(), width));
  }
  if (const std::string share = ShareText(job); !share.empty()) {
    absl::StrAppend(&text, Section("share", share, width));
  }
  absl::StrAppend(&text, Section("objectives", ObjectivesText(job.spec()), width));
  if (!job.spec().constraints().empty()) {
    const std::string limits = absl::StrJoin(
        job.spec().constraints(), ", ",
        [](std::string* out, const v1::Constraint& c) { out->append(ConstraintText(c)); });
    absl::StrAppend(&text, Section("constraints", limits, width));
  }
  absl::StrAppend(&text, Section("trials",
                                 absl::StrCat(MeasuredText(job), " measured, ",
                                              job.infeasible_trials(), " infeasible, ",
                                              job.failed_trials(), " failed, ", job.reused_trials(),
                                              " reused; ", job.frontier_size(), " on the frontier"),
                                 width));
  for (const std::string& warning : job.warnings()) {
    absl::StrAppend(&text, Section("warning", warning, width));
  }
  const std::vector<TrialReason> reasons = counted.Sorted();
  if (reasons.empty()) return text;
  TextTable table({"TRIALS", "ENDED", "REASON", "FIRST"});
  for (size_t i = 0; i < std::min(reasons.size(), kMostReasons); ++i) {
    const TrialReason& reason = reasons[i];
    table.AddRow({absl::StrCat(reason.count), TrialStateName(reason.state),
                  Printable(reason.reason), ShortName(reason.first)});
  }
  absl::StrAppend(&text, table.Render(width));
  int64_t others = 0;
  for (size_t i = kMostReasons; i < reasons.size(); ++i) others += reasons[i].count;
  if (others > 0) {
    absl::StrAppend(&text, "and ", others, others == 1 ? " trial" : " trials", " for ",
                    reasons.size() - kMostReasons, " more reasons\n");
  }
  absl::StrAppend(&text, "One trial's: forall trial ", ShortName(reasons[0].first), "\n");
  return text;
}

std::string LostTrialsText(const v1::SearchJob& job) {
  std::vector<std::string> parts;
  if (const int count = job.infeasible_trials(); count > 0) {
    parts.push_back(absl::StrCat(count, count == 1 ? " trial was" : " trials were", " infeasible"));
  }
  if (const int count = job.failed_trials(); count > 0) {
    parts.push_back(
        absl::StrCat(count, parts.empty() ? (count == 1 ? " trial" : " trials") : "", " failed"));
  }
  if (parts.empty()) return "";
  return absl::StrCat(absl::StrJoin(parts, " and "), ": forall jobs ", ShortName(job.name()),
                      " says why\n");
}

std::string DeletionText(const v1::SearchJob& job, bool done, size_t width) {
  return WrappedText(done ? "Deleted: " : "To be deleted: ",
                     absl::StrCat(job.name(),
                                  job.spec().display_name().empty()
                                      ? ""
                                      : absl::StrCat(" (", job.spec().display_name(), ")"),
                                  " with its ", job.proposed_trials(),
                                  job.proposed_trials() == 1 ? " trial" : " trials",
                                  ", tasks, log, ledger and report."),
                     2, LineWidth(width)) +
         WrappedText(
             done ? "Kept: " : "To be kept: ",
             "every measurement, for whatever job proposes those subnets again, and models. "
             "Frontiers over the supernet and warm starts know the subnets only by other jobs.",
             2, LineWidth(width));
}

std::string SupernetDeletionText(const std::string& name,
                                 const v1::DeleteSupernetResponse& response, bool done,
                                 size_t width) {
  const auto measurements = [](int64_t count) {
    return absl::StrCat(count, count == 1 ? " measurement" : " measurements");
  };
  const int64_t kept = response.kept_measurements();
  return WrappedText(
             done ? "Deleted: " : "To be deleted: ",
             absl::StrCat(name, " with the record of ", response.exports(),
                          response.exports() == 1 ? " exported model" : " exported models", " and ",
                          measurements(response.measurements()), " of its subnets."),
             2, LineWidth(width)) +
         WrappedText(done ? "Kept: " : "To be kept: ",
                     absl::StrCat(kept == 0 ? ""
                                            : absl::StrCat(measurements(kept),
                                                           " that another supernet has, too; "),
                                  "files, until forall-controller gc."),
                     2, LineWidth(width));
}

std::string TrialText(const v1::Trial& trial, size_t width) {
  std::string text = Section("trial",
                             absl::StrCat(trial.name(), ", ", TrialStateName(trial.state()),
                                          trial.on_frontier() ? ", on the frontier" : "",
                                          trial.reused() ? ", needed nothing new" : "",
                                          trial.finalized() ? ", measured finally" : ""),
                             width);
  if (!trial.error().empty()) absl::StrAppend(&text, Section("reason", trial.error(), width));
  if (!trial.stopped_by().empty()) {
    absl::StrAppend(&text, Section("stopped by",
                                   absl::StrCat(ShortName(trial.stopped_by()),
                                                ", which was shown to be better"),
                                   width));
  }
  absl::StrAppend(&text, Section("key", trial.arch_key(), width));
  if (!trial.artifact_sha256().empty()) {
    absl::StrAppend(&text, Section("artifact", trial.artifact_sha256(), width));
  }
  TextTable table({"METRIC", "VALUE", "INTERVAL", "FIDELITY", "VERDICT", "REASONS"});
  for (const v1::Measurement& measurement : trial.measurements()) {
    const bool test = measurement.condition().split() == "test";
    table.AddRow({absl::StrCat(MetricText(measurement.metric(), measurement.condition()),
                               test ? " (test split)" : ""),
                  Quantity(measurement.metric(), measurement.value()), IntervalText(measurement),
                  measurement.fidelity(), VerdictText(measurement.verdict().state()),
                  Printable(absl::StrJoin(measurement.verdict().reasons(), ", "))});
  }
  if (!trial.measurements().empty()) absl::StrAppend(&text, table.Render(width));
  for (const v1::Measurement& measurement : trial.measurements()) {
    if (!measurement.has_samples_dropped_time()) continue;
    absl::StrAppend(
        &text,
        WrappedText(absl::StrCat(MetricText(measurement.metric(), measurement.condition()), ": "),
                    absl::StrCat("its raw samples were dropped on ",
                                 absl::FormatTime("%Y-%m-%d",
                                                  absl::FromUnixSeconds(
                                                      measurement.samples_dropped_time().seconds()),
                                                  absl::UTCTimeZone()),
                                 " to save space; all else of it is as it was."),
                    2, LineWidth(width)));
  }
  return text;
}

}  // namespace forall
