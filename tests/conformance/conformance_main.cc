// SPDX-License-Identifier: Apache-2.0
// forall-conformance FILE.json...: compares this build with oracle files (conformance.h).
#include <algorithm>
#include <cstdio>
#include <string>

#include "absl/strings/string_view.h"
#include "base/file.h"
#include "tests/conformance/conformance.h"

namespace {

constexpr char kHelp[] =
    R"(Usage: forall-conformance FILE.json...

Compares this build with oracle files: results of the once-for-all authors' own code for supernet
weights that are a formula of the tensor names. Checks tensor names and shapes, MACs, parameters,
logits with the checkpoint's statistics and after BatchNorm calibration (BatchNorm as nodes and
folded), and the calibrated statistics; prints the largest relative errors of each case.

Exit status: 0 when everything agrees (L2 norms within 2e-4), 1 when something does not, 2 when a
file cannot be read or names a supernet whose family is not known.
)";

void Print(const forall::ConformanceReport& report) {
  std::printf("%s: %lld tensors, %zu cases\n", report.supernet.c_str(),
              static_cast<long long>(report.tensors), report.cases.size());
  std::printf("  %4s %12s %10s %12s %12s %12s %12s\n", "case", "MACs", "params", "L2 running",
              "L2 calibr.", "logit", "BN sums");
  double largest = 0;
  for (size_t i = 0; i < report.cases.size(); ++i) {
    const forall::ConformanceCase& item = report.cases[i];
    largest = std::max({largest, item.norm_error_running, item.norm_error_calibrated});
    std::printf("  %4zu %12lld %10lld %12.2e %12.2e %12.2e %12.2e\n", i,
                static_cast<long long>(item.macs), static_cast<long long>(item.params),
                item.norm_error_running, item.norm_error_calibrated, item.logit_error,
                item.statistics_error);
    if (item.macs_rounded_by_oracle) {
      std::printf("       the oracle rounds these MACs to float32, whose step is over 1 here\n");
    }
  }
  for (const std::string& failure : report.failures) std::printf("  FAILED %s\n", failure.c_str());
  for (size_t i = 0; i < report.cases.size(); ++i) {
    for (const std::string& failure : report.cases[i].failures) {
      std::printf("  FAILED case %zu: %s\n", i, failure.c_str());
    }
  }
  std::printf("%s: %s, largest relative error of an L2 norm %.2e\n", report.supernet.c_str(),
              report.passed() ? "conforms" : "DOES NOT CONFORM", largest);
}

// 0, 1 or 2, as in the help.
int RunFile(const std::string& path) {
  const absl::StatusOr<std::string> text = forall::ReadFile(path);
  if (!text.ok()) {
    std::fprintf(stderr, "%s\n", std::string(text.status().message()).c_str());
    return 2;
  }
  const absl::StatusOr<forall::ConformanceReport> report =
      forall::RunConformance(*text, forall::SessionOptions());
  if (!report.ok()) {
    std::fprintf(stderr, "%s: %s\n", path.c_str(), std::string(report.status().message()).c_str());
    return 2;
  }
  Print(*report);
  return report->passed() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs(kHelp, stderr);
    return 2;
  }
  int worst = 0;
  for (int i = 1; i < argc; ++i) {
    const absl::string_view argument = argv[i];
    if (argument == "--help" || argument == "-h") {
      std::fputs(kHelp, stdout);
      return 0;
    }
    if (argument.substr(0, 1) == "-") {
      std::fprintf(stderr, "unknown flag %s\n\n%s", argv[i], kHelp);
      return 2;
    }
    const int result = RunFile(argv[i]);
    if (result > worst) worst = result;
  }
  return worst;
}
