// SPDX-License-Identifier: Apache-2.0
// How the numbers came about, and how to get them again.
#ifndef FORALL_SEARCH_REPORT_METHOD_SECTION_H_
#define FORALL_SEARCH_REPORT_METHOD_SECTION_H_

#include <string>

#include "search/report/report_input.h"

namespace forall {

std::string MethodHtml(const ReportInput& input);

// Commands, the job as a file that `forall submit` reads, the stored spec, hashes.
std::string ReproduceHtml(const ReportInput& input);

// The job as JSON in the fields of a job file. `complete` becomes false when the spec has something
// that only the API can express (a goal against the metric's nature, a split as a condition).
std::string JobFileJson(const v1::SearchJobSpec& spec, bool* complete);

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_METHOD_SECTION_H_
