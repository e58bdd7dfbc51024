// SPDX-License-Identifier: Apache-2.0
#include "search/inner/perceptron.h"

#include <algorithm>
#include <cstring>
#include <utility>

#if defined(__x86_64__)
#define FORALL_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define FORALL_TARGET_AVX512 __attribute__((target("avx512f,avx512vl,avx2,fma")))
#else
#define FORALL_TARGET_AVX2
#define FORALL_TARGET_AVX512
#endif
// What is inlined into a function for an instruction set is compiled for that set; a function of
// its own would be compiled for the baseline.
#define FORALL_INLINE inline __attribute__((always_inline))

namespace forall {
namespace {

// A tile is two vectors of candidates by a panel of outputs: its accumulators nearly fill the
// vector registers. What is left of a batch at the end and fits into one vector is a narrow tile.
template <size_t kVectorBytes, size_t kOutputCount, size_t kVectorCount = 2>
struct TileOf {
  typedef float Vector __attribute__((vector_size(kVectorBytes), may_alias));
  static constexpr size_t kVectors = kVectorCount;
  static constexpr size_t kOutputs = kOutputCount;
  static constexpr size_t kWidth = kVectorBytes / sizeof(float);
  static constexpr size_t kLanes = kVectors * kWidth;
  using Narrow = TileOf<kVectorBytes, kOutputCount, 1>;
};
using BaselineTile = TileOf<16, 6>;
using Avx2Tile = TileOf<32, 6>;
using Avx512Tile = TileOf<64, 12>;

constexpr size_t kLine = 16;  // floats
constexpr size_t kMostLanes = Avx512Tile::kLanes;

size_t OutputsOf(InstructionSet set) {
  return set == InstructionSet::kAvx512 ? Avx512Tile::kOutputs
         : set == InstructionSet::kAvx2 ? Avx2Tile::kOutputs
                                        : BaselineTile::kOutputs;
}

template <typename Vector>
FORALL_INLINE Vector* At(float* values) {
  return reinterpret_cast<Vector*>(values);
}
template <typename Vector>
FORALL_INLINE const Vector* At(const float* values) {
  return reinterpret_cast<const Vector*>(values);
}

// Writes the values, negative ones as zero. Whether any is left.
template <size_t kVectors, typename Vector>
FORALL_INLINE bool Rectify(const Vector* values, float* out) {
  for (size_t v = 0; v < kVectors; ++v) {
    At<Vector>(out)[v] = values[v] > Vector{} ? values[v] : Vector{};
  }
  uint64_t left = 0;
  for (size_t i = 0; i < kVectors * sizeof(Vector) / sizeof(left); ++i) {
    uint64_t word;
    std::memcpy(&word, out + 2 * i, sizeof(word));
    left |= word;  // what is no zero is positive
  }
  return left != 0;
}

// One step of a transposition: of a and b, `kHalf` rows apart, the blocks of kHalf columns off the
// diagonal change places.
template <size_t kHalf, typename Vector, size_t... kColumns>
FORALL_INLINE void ExchangeBlocks(std::index_sequence<kColumns...>, Vector* a, Vector* b) {
  constexpr size_t kWidth = sizeof...(kColumns);
  const Vector upper = __builtin_shufflevector(
      *a, *b, ((kColumns & kHalf) != 0 ? kWidth + kColumns - kHalf : kColumns)...);
  *b = __builtin_shufflevector(*a, *b,
                               ((kColumns & kHalf) != 0 ? kWidth + kColumns : kColumns + kHalf)...);
  *a = upper;
}

// A square matrix, in place.
template <size_t kWidth, size_t kHalf = kWidth / 2, typename Vector>
FORALL_INLINE void Transpose(Vector* rows) {
#pragma GCC unroll 16
  for (size_t i = 0; i < kWidth; ++i) {
    if ((i & kHalf) != 0) continue;
    ExchangeBlocks<kHalf>(std::make_index_sequence<kWidth>(), rows + i, rows + i + kHalf);
  }
  if constexpr (kHalf > 1) Transpose<kWidth, kHalf / 2>(rows);
}

}  // namespace

// Activations of a tile: [unit][lane], only units that are not zero for all lanes.
struct Perceptron::Scratch {
  Scratch(size_t most_units, size_t dimensions)
      : terms(kMostLanes * dimensions),
        lines(2 * most_units * kMostLanes / kLine),
        index(2 * most_units) {
    for (int i = 0; i < 2; ++i) {
      activations[i] = lines[static_cast<size_t>(i) * most_units * kMostLanes / kLine].values;
      unit[i] = index.data() + static_cast<size_t>(i) * most_units;
    }
  }
  std::vector<const Line*> terms;  // [lane][term], the rows that a candidate's first layer adds up
  std::vector<Line> lines;
  std::vector<uint32_t> index;
  float* activations[2];  // this layer's and the next one's
  uint32_t* unit[2];      // which they are
  size_t count = 0;
};

InstructionSet BestInstructionSet() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl")) {
    return InstructionSet::kAvx512;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return InstructionSet::kAvx2;
#endif
  return InstructionSet::kBaseline;
}

const char* InstructionSetName(InstructionSet set) {
  return set == InstructionSet::kAvx512 ? "avx512" : set == InstructionSet::kAvx2 ? "avx2" : "base";
}

Perceptron::Perceptron(const std::vector<std::vector<std::vector<float>>>& first_rows,
                       const std::vector<float>& first_bias, const std::vector<DenseLayer>& layers,
                       InstructionSet set)
    : set_(set), first_out_(first_bias.size()), lines_((first_out_ + kLine - 1) / kLine) {
  const auto add_row = [&](const std::vector<float>& row) {
    const size_t at = rows_.size();
    rows_.resize(at + lines_, Line{});
    for (size_t i = 0; i < row.size(); ++i) rows_[at + i / kLine].values[i % kLine] = row[i];
    return static_cast<int32_t>(at / lines_);
  };
  add_row(first_bias);
  for (const auto& states : first_rows) {
    first_state_.push_back(row_.size());
    for (const std::vector<float>& row : states) row_.push_back(row.empty() ? -1 : add_row(row));
  }
  const size_t outputs = OutputsOf(set);
  for (const DenseLayer& layer : layers) {
    Packed packed{layer.in, layer.out, {}, layer.bias};
    const size_t of_panel = &layer == &layers.back() ? 1 : outputs;
    const size_t panels = (layer.out + of_panel - 1) / of_panel;
    packed.bias.resize(panels * of_panel, 0.0f);
    packed.weight.resize((panels * layer.in * of_panel + kLine - 1) / kLine, Line{});
    for (size_t o = 0; o < layer.out; ++o) {
      for (size_t k = 0; k < layer.in; ++k) {
        const size_t at = ((o / of_panel) * layer.in + k) * of_panel + o % of_panel;
        packed.weight[at / kLine].values[at % kLine] = layer.weight[o * layer.in + k];
      }
    }
    layers_.push_back(std::move(packed));
  }
}

// The first layer of a tile: sums of rows, 64 outputs at a time, turned over into [unit][lane].
template <typename Tile>
FORALL_INLINE void Perceptron::SumRows(const Candidates& candidates, size_t begin,
                                       Scratch* scratch) const {
  using Vector = typename Tile::Vector;
  constexpr size_t kLanes = Tile::kLanes;
  constexpr size_t kWidth = Tile::kWidth;
  constexpr size_t kBlockLines = 4;
  constexpr size_t kVectors = kBlockLines * kLine / kWidth;
  alignas(64) float block[kLanes][kBlockLines * kLine];
  alignas(64) float turned[kWidth][kLanes];
  const size_t dimensions = candidates.width();
  size_t terms[kLanes];
  for (size_t lane = 0; lane < kLanes; ++lane) {
    // The last tile is filled up with its last candidate.
    const State* const row = candidates.row(std::min(begin + lane, candidates.size() - 1));
    const Line** const of_lane = &scratch->terms[lane * dimensions];
    terms[lane] = 0;
    for (size_t d = 0; d < dimensions; ++d) {
      const int32_t add = row_[first_state_[d] + row[d]];
      of_lane[terms[lane]] = rows_.data() + static_cast<size_t>(std::max(add, 0)) * lines_;
      terms[lane] += add >= 0 ? 1 : 0;
    }
  }
  scratch->count = 0;
  for (size_t line = 0; line < lines_; line += kBlockLines) {
    const size_t vectors = std::min(kBlockLines, lines_ - line) * kLine / kWidth;
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const Line* const* const of_lane = &scratch->terms[lane * dimensions];
      Vector sum[kVectors];
      for (size_t v = 0; v < vectors; ++v) sum[v] = At<Vector>(rows_[line].values)[v];
      if (vectors == kVectors) {
        for (size_t t = 0; t < terms[lane]; ++t) {
          const Vector* const from = At<Vector>(of_lane[t][line].values);
          for (size_t v = 0; v < kVectors; ++v) sum[v] += from[v];
        }
      } else {
        for (size_t t = 0; t < terms[lane]; ++t) {
          const Vector* const from = At<Vector>(of_lane[t][line].values);
          for (size_t v = 0; v < vectors; ++v) sum[v] += from[v];
        }
      }
      for (size_t v = 0; v < vectors; ++v) At<Vector>(block[lane])[v] = sum[v];
    }
    const size_t units = std::min(kBlockLines * kLine, first_out_ - line * kLine);
    for (size_t first = 0; first < units; first += kWidth) {
      for (size_t v = 0; v < Tile::kVectors; ++v) {
        Vector square[kWidth];
#pragma GCC unroll 16
        for (size_t i = 0; i < kWidth; ++i) {
          square[i] = *At<Vector>(&block[v * kWidth + i][first]);
        }
        Transpose<kWidth>(square);
#pragma GCC unroll 16
        for (size_t i = 0; i < kWidth; ++i) At<Vector>(turned[i])[v] = square[i];
      }
      for (size_t u = 0; u < std::min(kWidth, units - first); ++u) {
        float* const out = scratch->activations[0] + scratch->count * kLanes;
        if (layers_.empty()) {
          std::memcpy(out, turned[u], sizeof(turned[u]));
        } else if (!Rectify<Tile::kVectors>(At<Vector>(turned[u]), out)) {
          continue;
        }
        scratch->unit[0][scratch->count++] = static_cast<uint32_t>(line * kLine + first + u);
      }
    }
  }
}

template <typename Tile>
FORALL_INLINE void Perceptron::RunHidden(const Packed& layer, Scratch* scratch) {
  using Vector = typename Tile::Vector;
  constexpr size_t kVectors = Tile::kVectors;
  constexpr size_t kOutputs = Tile::kOutputs;
  const float* const inputs = scratch->activations[0];
  float* const outputs = scratch->activations[1];
  size_t count = 0;
  for (size_t first = 0; first < layer.out; first += kOutputs) {
    const float* const panel = layer.weight.front().values + first * layer.in;
    Vector sum[kOutputs][kVectors];
#pragma GCC unroll 32
    for (size_t o = 0; o < kOutputs; ++o) {
      for (size_t v = 0; v < kVectors; ++v) sum[o][v] = Vector{} + layer.bias[first + o];
    }
    for (size_t i = 0; i < scratch->count; ++i) {
      const float* const weights = panel + scratch->unit[0][i] * kOutputs;
      const Vector* const values = At<Vector>(inputs + i * Tile::kLanes);
#pragma GCC unroll 32
      for (size_t o = 0; o < kOutputs; ++o) {
        for (size_t v = 0; v < kVectors; ++v) sum[o][v] += weights[o] * values[v];
      }
    }
    const size_t used = std::min(kOutputs, layer.out - first);
#pragma GCC unroll 32
    for (size_t o = 0; o < kOutputs; ++o) {
      if (o >= used) break;
      if (!Rectify<kVectors>(sum[o], outputs + count * Tile::kLanes)) continue;
      scratch->unit[1][count++] = static_cast<uint32_t>(first + o);
    }
  }
  std::swap(scratch->activations[0], scratch->activations[1]);
  std::swap(scratch->unit[0], scratch->unit[1]);
  scratch->count = count;
}

template <typename Tile>
FORALL_INLINE void Perceptron::RunLast(const Packed& layer, Scratch* scratch) {
  using Vector = typename Tile::Vector;
  Vector sum[Tile::kVectors];
  for (Vector& value : sum) value = Vector{} + layer.bias[0];
  for (size_t i = 0; i < scratch->count; ++i) {
    const float weight = layer.weight.front().values[scratch->unit[0][i]];
    const Vector* const values = At<Vector>(scratch->activations[0] + i * Tile::kLanes);
    for (size_t v = 0; v < Tile::kVectors; ++v) sum[v] += weight * values[v];
  }
  for (size_t v = 0; v < Tile::kVectors; ++v) At<Vector>(scratch->activations[0])[v] = sum[v];
}

template <typename Tile>
FORALL_INLINE void Perceptron::RunTile(const Candidates& candidates, size_t begin, Scratch* scratch,
                                       float* outputs) const {
  SumRows<Tile>(candidates, begin, scratch);
  for (size_t i = 0; i + 1 < layers_.size(); ++i) RunHidden<Tile>(layers_[i], scratch);
  if (!layers_.empty()) RunLast<Tile>(layers_.back(), scratch);
  const size_t used = std::min(Tile::kLanes, candidates.size() - begin);
  std::memcpy(outputs + begin, scratch->activations[0], used * sizeof(float));
}

template <typename Tile>
FORALL_INLINE void Perceptron::RunTiles(const Candidates& candidates, float* outputs) const {
  size_t most_units = lines_ * kLine;
  for (const Packed& layer : layers_) most_units = std::max(most_units, layer.bias.size() + kLine);
  Scratch scratch(most_units, candidates.width());
  size_t begin = 0;
  for (; begin + Tile::kWidth < candidates.size(); begin += Tile::kLanes) {
    RunTile<Tile>(candidates, begin, &scratch, outputs);
  }
  if (begin < candidates.size()) {
    RunTile<typename Tile::Narrow>(candidates, begin, &scratch, outputs);
  }
}

void Perceptron::RunBaseline(const Candidates& candidates, float* outputs) const {
  RunTiles<BaselineTile>(candidates, outputs);
}
FORALL_TARGET_AVX2 void Perceptron::RunAvx2(const Candidates& candidates, float* outputs) const {
  RunTiles<Avx2Tile>(candidates, outputs);
}
FORALL_TARGET_AVX512 void Perceptron::RunAvx512(const Candidates& candidates,
                                                float* outputs) const {
  RunTiles<Avx512Tile>(candidates, outputs);
}

void Perceptron::Run(const Candidates& candidates, absl::Span<float> outputs) const {
  if (candidates.size() == 0) return;
  switch (set_) {
    case InstructionSet::kAvx512:
      return RunAvx512(candidates, outputs.data());
    case InstructionSet::kAvx2:
      return RunAvx2(candidates, outputs.data());
    case InstructionSet::kBaseline:
      return RunBaseline(candidates, outputs.data());
  }
}

}  // namespace forall
