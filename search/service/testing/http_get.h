// SPDX-License-Identifier: Apache-2.0
// What a Prometheus server does, as far as tests and benchmarks need it.
#ifndef FORALL_SEARCH_SERVICE_TESTING_HTTP_GET_H_
#define FORALL_SEARCH_SERVICE_TESTING_HTTP_GET_H_

#include <map>
#include <string>

#include "absl/status/statusor.h"

namespace forall::testing {

// The body of http://127.0.0.1:PORT/PATH. Unavailable when nobody listens or answers 200.
absl::StatusOr<std::string> HttpGet(int port, const std::string& path);

// Sample ("name{label=\"value\"}", as it stands) to value, of Prometheus' text format. Strict:
// InvalidArgument for a line that is neither comment nor sample, for a sample before the TYPE of
// its family, and for a sample that comes twice.
absl::StatusOr<std::map<std::string, double>> ParseExposition(const std::string& text);

}  // namespace forall::testing

#endif  // FORALL_SEARCH_SERVICE_TESTING_HTTP_GET_H_
