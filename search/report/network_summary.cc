// SPDX-License-Identifier: Apache-2.0
#include "search/report/network_summary.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"

namespace forall {
namespace {

void AddLayer(const Layer& layer, int64_t* widest, BlockSummary* block) {
  block->out = layer.out;
  if (layer.kind == LayerKind::kGlobalAveragePool) block->squeeze_excite = true;
  if (layer.kind != LayerKind::kConvolution) return;
  block->kernel = std::max(block->kernel, layer.kernel);
  block->stride *= layer.stride;
  *widest = std::max(*widest, layer.out.channels);
  if (block->in.channels > 0) {
    block->expansion = static_cast<double>(*widest) / static_cast<double>(block->in.channels);
  }
}

}  // namespace

NetworkSummary Summarize(const Network& network) {
  NetworkSummary summary;
  summary.input = network.input;
  int stage = -1;
  int block = -1;
  int64_t widest = 0;
  for (const Layer& layer : network.layers) {
    if (layer.stage < 0) continue;
    if (layer.stage != stage) summary.stages.emplace_back();
    if (layer.stage != stage || layer.block != block) {
      stage = layer.stage;
      block = layer.block;
      widest = 0;
      BlockSummary next;
      next.in = layer.in;
      summary.stages.back().push_back(next);
    }
    AddLayer(layer, &widest, &summary.stages.back().back());
  }
  return summary;
}

std::string NetworkSummary::Text() const {
  return absl::StrCat(input.height, " px, depth ",
                      absl::StrJoin(stages, "-", [](std::string* out, const auto& blocks) {
                        absl::StrAppend(out, blocks.size());
                      }));
}

absl::StatusOr<NetworkSummary> SummarizeArchitecture(const Family* family,
                                                     const v1::Architecture& architecture) {
  if (family == nullptr) {
    return absl::FailedPreconditionError("the family of the supernet is not known");
  }
  Architecture point;
  point.search_space = architecture.search_space();
  point.revision = architecture.revision();
  point.choices.assign(architecture.choices().begin(), architecture.choices().end());
  FORALL_ASSIGN_OR_RETURN(const Network network, family->Describe(point));
  return Summarize(network);
}

}  // namespace forall
