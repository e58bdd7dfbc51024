// SPDX-License-Identifier: Apache-2.0
// A supernet's accuracy predictor: a multilayer perceptron over one-hot features of an
// architecture, as the once-for-all authors train them on a few thousand measured subnets (Cai et
// al., ICLR 2020, section 3.3). It is one safetensors file:
//
//   layers.N.weight [out, in], layers.N.bias [out]   N = 0, 1, ...; ReLU between layers, one output
//   metadata "forall.predictor"                      JSON: format_version, search_space, revision,
//                                                    scale (output x scale is percent), features:
//                                                    a list of {dimension, values}
//
// The features say themselves what they are: for each group, in order, one 0/1 input per value, all
// zero when the dimension is not active. Any published order is thus data
// (supernet/predictor/predictor_import.h).
#ifndef FORALL_SUPERNET_PREDICTOR_ACCURACY_PREDICTOR_H_
#define FORALL_SUPERNET_PREDICTOR_ACCURACY_PREDICTOR_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "space/family.h"
#include "space/search_space.h"

namespace forall {

// Key of the file's metadata.
inline constexpr char kPredictorKey[] = "forall.predictor";

// The first of `values` that is the dimension's value is 1.
struct FeatureGroup {
  std::string dimension;
  std::vector<int32_t> values;
};

// Row-major, [out, in].
struct PredictorLayer {
  int64_t in = 0;
  int64_t out = 0;
  std::vector<float> weight;
  std::vector<float> bias;
};

// A file's content before it is bound to a space.
struct PredictorFile {
  std::string search_space;
  int32_t revision = 0;
  double scale = 100;
  std::vector<FeatureGroup> features;
  std::vector<PredictorLayer> layers;
};

// The file's bytes; deterministic. InvalidArgument when layers and features do not fit each other.
absl::StatusOr<std::string> SerializePredictor(const PredictorFile& file);

// A feature group bound to its space.
struct BoundGroup {
  int dimension = 0;
  std::vector<int64_t> input_of_option;  // index of the feature that an option sets, or -1
};

// Immutable; thread-safe.
class AccuracyPredictor {
 public:
  // InvalidArgument naming what is wrong: bytes that are no such file, values that are not finite,
  // a predictor of another search space or revision, a feature of a dimension that the space lacks,
  // or one whose values include no option of the dimension. `source` names the file.
  static absl::StatusOr<std::shared_ptr<const AccuracyPredictor>> Parse(
      std::string bytes, const std::string& source, std::shared_ptr<const Family> family);

  // Whether the predictor was trained for all options of the architecture, which must be valid.
  bool Knows(const Architecture& architecture) const;

  // In percent; a prediction, never a measurement. nullopt for an architecture with an option that
  // the predictor was not trained for, e.g. a resolution between those that it knows, and where the
  // sums overflow.
  // `architecture` must be valid in the family's space. The same on every run of one build: sums
  // are taken in double, in a fixed order.
  std::optional<double> Predict(const Architecture& architecture) const;

  // What Predict computes with, for evaluators of whole batches.
  const PredictorFile& file() const { return file_; }
  const std::vector<BoundGroup>& groups() const { return groups_; }

 private:
  AccuracyPredictor() = default;
  absl::Status Bind();

  PredictorFile file_;
  std::shared_ptr<const Family> family_;
  std::vector<BoundGroup> groups_;
};

}  // namespace forall

#endif  // FORALL_SUPERNET_PREDICTOR_ACCURACY_PREDICTOR_H_
