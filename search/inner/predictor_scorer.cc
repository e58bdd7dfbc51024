// SPDX-License-Identifier: Apache-2.0
#include "search/inner/predictor_scorer.h"

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace forall {

absl::StatusOr<std::unique_ptr<PredictorScorer>> PredictorScorer::Create(
    const CandidateSpace& space, const AccuracyPredictor& predictor, InstructionSet set) {
  const PredictorFile& file = predictor.file();
  if (file.search_space != space.space().id() || file.revision != space.space().revision()) {
    return absl::InvalidArgumentError(absl::StrCat("the predictor is for ", file.search_space,
                                                   " revision ", file.revision, ", not for ",
                                                   space.space().id()));
  }
  // The output's scale goes into the last layer.
  std::vector<PredictorLayer> layers = file.layers;
  for (float& weight : layers.back().weight) weight *= static_cast<float>(file.scale);
  for (float& bias : layers.back().bias) bias *= static_cast<float>(file.scale);

  const PredictorLayer& first = layers.front();
  std::vector<std::vector<std::vector<float>>> rows(space.width());
  for (size_t d = 0; d < space.width(); ++d) rows[d].resize(size_t{space.inactive(d)} + 1);
  for (const BoundGroup& group : predictor.groups()) {
    const size_t d = static_cast<size_t>(group.dimension);
    for (const State option : space.allowed(d)) {
      const int64_t input = group.input_of_option[option];
      if (input < 0) {
        const Dimension& dimension = space.space().dimensions()[d];
        return absl::InvalidArgumentError(absl::StrCat("the predictor does not know option ",
                                                       dimension.options[option], " of ",
                                                       dimension.name));
      }
      std::vector<float>& row = rows[d][option];
      row.resize(static_cast<size_t>(first.out), 0.0f);
      for (size_t o = 0; o < row.size(); ++o) {
        row[o] += first.weight[o * static_cast<size_t>(first.in) + static_cast<size_t>(input)];
      }
    }
  }
  std::vector<DenseLayer> rest;
  for (size_t i = 1; i < layers.size(); ++i) {
    rest.push_back({static_cast<size_t>(layers[i].in), static_cast<size_t>(layers[i].out),
                    layers[i].weight, layers[i].bias});
  }
  return absl::WrapUnique(new PredictorScorer(Perceptron(rows, first.bias, rest, set)));
}

}  // namespace forall
