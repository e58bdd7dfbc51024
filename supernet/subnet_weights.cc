// SPDX-License-Identifier: Apache-2.0
#include "supernet/subnet_weights.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace forall {
namespace {

constexpr size_t kKernelRank = 4;

absl::Status SliceError(const WeightSlice& slice, absl::string_view message) {
  return absl::InvalidArgumentError(absl::StrCat("slice of '", slice.tensor, "': ", message));
}

// Copies the block [0, shape[i]) along every axis. `shape` fits `source_shape`.
void CopyBlock(absl::Span<const float> source, absl::Span<const int64_t> source_shape,
               absl::Span<const int64_t> shape, std::vector<float>* block) {
  // Trailing axes that are kept whole lie side by side, and so does the last one that is not: they
  // are one run. A 1x1 convolution's kernel would otherwise be copied value by value.
  size_t axes = shape.size();
  int64_t run = 1;
  while (axes > 0 && shape[axes - 1] == source_shape[axes - 1]) run *= shape[--axes];
  int64_t step = run;  // between two runs of the source
  if (axes > 0) {
    --axes;
    run *= shape[axes];
    step *= source_shape[axes];
  }
  int64_t runs = 1;
  for (size_t i = 0; i < axes; ++i) runs *= shape[i];
  block->clear();
  block->reserve(static_cast<size_t>(runs * run));
  for (int64_t r = 0; r < runs; ++r) {
    // Run r's coordinates give its place in the larger tensor.
    int64_t rest = r;
    int64_t offset = 0;
    int64_t stride = step;
    for (size_t i = axes; i-- > 0;) {
      offset += rest % shape[i] * stride;
      rest /= shape[i];
      stride *= source_shape[i];
    }
    const auto begin = source.begin() + offset;
    block->insert(block->end(), begin, begin + run);
  }
}

// One step of the chain over all filters: `from` x `from` kernels to `to` x `to`.
std::vector<float> TransformKernels(const std::vector<float>& kernels, int from, int to,
                                    absl::Span<const float> matrix) {
  const int size = to * to;
  const int margin = (from - to) / 2;
  const size_t filters = kernels.size() / static_cast<size_t>(from * from);
  std::vector<float> output(filters * static_cast<size_t>(size));
  std::vector<float> cropped(static_cast<size_t>(size));
  for (size_t f = 0; f < filters; ++f) {
    const float* kernel = kernels.data() + f * static_cast<size_t>(from * from);
    for (int y = 0; y < to; ++y) {
      const float* row = kernel + (y + margin) * from + margin;
      std::copy(row, row + to, cropped.begin() + y * to);
    }
    for (int i = 0; i < size; ++i) {
      double sum = 0;
      for (int j = 0; j < size; ++j) {
        sum += static_cast<double>(matrix[static_cast<size_t>(i * size + j)]) *
               static_cast<double>(cropped[static_cast<size_t>(j)]);
      }
      output[f * static_cast<size_t>(size) + static_cast<size_t>(i)] = static_cast<float>(sum);
    }
  }
  return output;
}

absl::Status CheckFits(const WeightSlice& slice, const std::vector<int64_t>& have) {
  if (slice.shape.size() != have.size()) return SliceError(slice, "has another rank");
  for (size_t i = 0; i < have.size(); ++i) {
    if (slice.shape[i] < 1 || slice.shape[i] > have[i]) {
      return SliceError(slice, absl::StrCat("extent ", slice.shape[i], " of axis ", i,
                                            " does not fit into ", have[i]));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SliceWeight(const Supernet& supernet, const WeightSlice& slice,
                         std::vector<float>* values) {
  const Supernet::TensorValues* tensor = supernet.Find(slice.tensor);
  if (tensor == nullptr) return SliceError(slice, "the supernet has no such tensor");
  FORALL_RETURN_IF_ERROR(CheckFits(slice, tensor->shape));
  if (slice.transforms.empty()) {
    if (slice.shape.size() == kKernelRank &&
        (slice.shape[2] != tensor->shape[2] || slice.shape[3] != tensor->shape[3])) {
      return SliceError(slice, "a smaller kernel needs a transform");
    }
    CopyBlock(tensor->values, tensor->shape, slice.shape, values);
    return absl::OkStatus();
  }
  if (slice.shape.size() != kKernelRank || tensor->shape[2] != tensor->shape[3]) {
    return SliceError(slice, "only square convolution kernels can be transformed");
  }
  // Channels first: the transforms then work on what is kept.
  const std::vector<int64_t> whole_kernels = {slice.shape[0], slice.shape[1], tensor->shape[2],
                                              tensor->shape[3]};
  CopyBlock(tensor->values, tensor->shape, whole_kernels, values);
  int64_t size = tensor->shape[2];
  for (const KernelTransform& transform : slice.transforms) {
    const int64_t target = int64_t{transform.to_size} * transform.to_size;
    const Supernet::TensorValues* matrix = supernet.Find(transform.matrix);
    if (transform.from_size != size || transform.to_size < 1 || transform.to_size > size ||
        (size - transform.to_size) % 2 != 0) {
      return SliceError(slice, absl::StrCat("a transform from ", transform.from_size, " to ",
                                            transform.to_size, " cannot follow size ", size));
    }
    if (matrix == nullptr || matrix->shape != std::vector<int64_t>{target, target}) {
      return SliceError(
          slice, absl::StrCat("'", transform.matrix, "' is no ", target, " x ", target, " matrix"));
    }
    *values = TransformKernels(*values, transform.from_size, transform.to_size, matrix->values);
    size = transform.to_size;
  }
  if (slice.shape[2] != size || slice.shape[3] != size) {
    return SliceError(slice, absl::StrCat("its transforms end at size ", size, ", not at ",
                                          slice.shape[2], " x ", slice.shape[3]));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> SliceWeight(const Supernet& supernet, const WeightSlice& slice) {
  std::vector<float> values;
  FORALL_RETURN_IF_ERROR(SliceWeight(supernet, slice, &values));
  return values;
}

absl::StatusOr<SubnetWeights> ExtractWeights(const Supernet& supernet, const Network& network) {
  SubnetWeights weights;
  weights.layers.resize(network.layers.size());
  for (size_t i = 0; i < network.layers.size(); ++i) {
    for (const WeightSlice& slice : network.layers[i].weights) {
      absl::StatusOr<std::vector<float>> values = SliceWeight(supernet, slice);
      if (!values.ok()) return WithContext(values.status(), network.layers[i].name);
      weights.layers[i].push_back(*std::move(values));
    }
  }
  return weights;
}

absl::Status ApplyStatistics(const Network& network,
                             absl::Span<const BatchNormStatistics> statistics,
                             SubnetWeights* weights) {
  for (const BatchNormStatistics& layer : statistics) {
    if (layer.layer < 0 || static_cast<size_t>(layer.layer) >= network.layers.size() ||
        network.layers[static_cast<size_t>(layer.layer)].kind != LayerKind::kBatchNorm) {
      return absl::InvalidArgumentError(absl::StrCat("layer ", layer.layer, " is no BatchNorm"));
    }
    std::vector<std::vector<float>>& values = weights->layers[static_cast<size_t>(layer.layer)];
    if (values.size() != 4 || values[2].size() != layer.mean.size() ||
        values[3].size() != layer.variance.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(network.layers[static_cast<size_t>(layer.layer)].name,
                       ": statistics of another number of channels"));
    }
    values[2] = layer.mean;
    values[3] = layer.variance;
  }
  return absl::OkStatus();
}

}  // namespace forall
