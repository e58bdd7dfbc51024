// SPDX-License-Identifier: Apache-2.0
// A report's input, made flat: which quantities there are (axes), and each subnet's reading of
// each. Plot, table and text read it, so that they cannot disagree.
#ifndef FORALL_SEARCH_REPORT_REPORT_DATA_H_
#define FORALL_SEARCH_REPORT_REPORT_DATA_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "search/report/network_summary.h"
#include "search/report/report_input.h"

namespace forall {

// A value with its interval, in the units people read (Axis::unit); all finite, low <= value <=
// high.
struct Reading {
  double value = 0;
  double low = 0;
  double high = 0;
  // Where it comes from; nullptr when the frontier gave a value that no measurement of the trial
  // has.
  const v1::Measurement* measurement = nullptr;
};

struct Axis {
  std::string metric;
  std::string device;             // devices/*; empty when it does not matter
  std::string split;              // empty for metrics without one
  int32_t batch = 1;              // images per inference
  double grid_grams_per_kwh = 0;  // of carbon; 0 for other metrics
  int objective = -1;             // index into the report's objectives
  std::string label;              // "top-1 accuracy (validation)"
  std::string unit;               // "%", "ms", "M", "KiB"; may be empty
  int digits = 2;
  double factor = 1;  // from the metric's unit to `unit`: multiply
  bool maximize = false;
  // Hard constraints, in `unit`.
  std::vector<double> at_most;
  std::vector<double> at_least;
};

struct Subnet {
  const v1::Trial* trial = nullptr;
  const v1::FrontierMember* member = nullptr;    // nullptr off the frontier
  int number = 0;                                // of the member, from 1, in the frontier's order
  std::string architecture;                      // for people
  std::optional<NetworkSummary> network;         // of members, where it is known
  std::vector<std::optional<Reading>> readings;  // one per axis
  // The worst among the objectives' measurements, and the reasons of all of them. Unspecified where
  // nothing is measured.
  v1::Verdict::State verdict = v1::Verdict::STATE_UNSPECIFIED;
  std::vector<std::string> reasons;  // ascending, each once
  bool contested() const {
    return member != nullptr && member->certainty() == v1::FrontierMember::CONTESTED;
  }
  bool knee() const { return member != nullptr && member->knee(); }
  bool infeasible() const { return trial->state() == v1::Trial::INFEASIBLE; }
};

// Points into the ReportInput that it was made from, which must outlive it.
struct ReportData {
  std::vector<v1::Objective> objectives;
  std::vector<Axis> axes;  // the objectives first, in their order
  std::vector<Subnet> members;
  // Other subnets with at least one reading, in order of proposal.
  std::vector<Subnet> others;
  // Where nothing meets the constraints: what misses them by the least, in words without HTML.
  struct Closest {
    const v1::Trial* trial = nullptr;
    std::string architecture;
    std::vector<std::string> misses;  // "latency (median) on pi5 8.300 ms is 3.8 % above 8.000 ms"
  };
  std::vector<Closest> closest;
  // Of `others`, how many were left out, evenly, so that a page stays a page.
  int64_t left_out = 0;

  // Where the values come from: "measured", or where the job measures nothing "predicted" or, if
  // all its objectives are exact, "counted".
  const char* known = "measured";
  // Whether the member that is marked is a knee; otherwise it is the fallback of
  // search/pareto/knee.h.
  bool has_knee = false;
  // What the marked member is called: "knee", or "suggested".
  const char* knee_word() const { return has_knee ? "knee" : "suggested"; }
  bool measures() const { return absl::string_view(known) == "measured"; }

  const Subnet* Knee() const;
  // Index of the axis for what users ask for by metric (and split, where there are several), -1
  // when nothing was measured.
  int FindAxis(absl::string_view metric, absl::string_view split = "") const;
  // Which axes a plot shows first: an objective to be maximised upwards, another to the right.
  int DefaultX() const;
  int DefaultY() const;
};

ReportData MakeReportData(const ReportInput& input);
// Of an objective alone, without constraints; `index` is its place among the report's.
Axis ObjectiveAxis(const v1::Objective& objective, int index);

// "trusted", "noisy", "rejected", or "" where there is no verdict.
const char* VerdictWord(v1::Verdict::State verdict);
// "92.61" or "92.61 %"; without HTML.
std::string ValueText(const Axis& axis, double value);
std::string ValueWithUnit(const Axis& axis, double value);
// "top-1 accuracy (validation), %".
std::string LabelWithUnit(const Axis& axis);

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_REPORT_DATA_H_
