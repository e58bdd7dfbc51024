// SPDX-License-Identifier: Apache-2.0
// What a person wants to know of a network description: its stages and blocks.
#ifndef FORALL_SEARCH_REPORT_NETWORK_SUMMARY_H_
#define FORALL_SEARCH_REPORT_NETWORK_SUMMARY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "proto/forall/v1/resources.pb.h"
#include "space/family.h"
#include "space/network.h"

namespace forall {

struct BlockSummary {
  int kernel = 1;        // largest convolution of the block
  double expansion = 1;  // its widest channels over the channels that come in
  int stride = 1;
  bool squeeze_excite = false;
  FeatureShape in;
  FeatureShape out;
};

struct NetworkSummary {
  FeatureShape input;
  // Searchable stages only, each with its blocks in order.
  std::vector<std::vector<BlockSummary>> stages;
  // "28 px, depth 3-2-4-2-2".
  std::string Text() const;
};

NetworkSummary Summarize(const Network& network);

// FailedPrecondition without a family; otherwise as Family::Describe.
absl::StatusOr<NetworkSummary> SummarizeArchitecture(const Family* family,
                                                     const v1::Architecture& architecture);

}  // namespace forall

#endif  // FORALL_SEARCH_REPORT_NETWORK_SUMMARY_H_
