// SPDX-License-Identifier: Apache-2.0
// A multilayer perceptron over candidates, one output, at the speed of the machine's vector units:
// the first layer is a sum of rows (its inputs are one-hot), the others are products of a packed
// matrix with a tile of candidates that stays in cache. A hidden unit that is zero for a whole tile
// is left out of the next product; candidates that are alike have many of those in common, so put
// them beside each other.
#ifndef FORALL_SEARCH_INNER_PERCEPTRON_H_
#define FORALL_SEARCH_INNER_PERCEPTRON_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "search/inner/candidates.h"

namespace forall {

// What the tile's code is compiled for; chosen when the program runs.
enum class InstructionSet { kBaseline, kAvx2, kAvx512 };
InstructionSet BestInstructionSet();
const char* InstructionSetName(InstructionSet set);

// Row-major [out, in]; ReLU between layers.
struct DenseLayer {
  size_t in = 0;
  size_t out = 0;
  std::vector<float> weight;
  std::vector<float> bias;
};

// Immutable; thread-safe.
class Perceptron {
 public:
  // `first_rows[d][s]` is what state s of dimension d adds to the first layer's outputs, and empty
  // where it adds nothing; `first_bias` is where they start. `layers` follow, the last with one
  // output; with none, the first layer has one output, which is the answer. `set` must be one that
  // this machine has.
  Perceptron(const std::vector<std::vector<std::vector<float>>>& first_rows,
             const std::vector<float>& first_bias, const std::vector<DenseLayer>& layers,
             InstructionSet set);

  // Sums are taken in float in an order that depends on the instruction set alone.
  void Run(const Candidates& candidates, absl::Span<float> outputs) const;

 private:
  struct alignas(64) Line {
    float values[16];
  };
  // A layer as the tile reads it: panels of kOutputs outputs, [panel][in][output].
  struct Packed {
    size_t in = 0;
    size_t out = 0;
    std::vector<Line> weight;
    std::vector<float> bias;  // of whole panels
  };
  struct Scratch;

  template <typename Tile>
  void RunTiles(const Candidates& candidates, float* outputs) const;
  template <typename Tile>
  void RunTile(const Candidates& candidates, size_t begin, Scratch* scratch, float* outputs) const;
  template <typename Tile>
  void SumRows(const Candidates& candidates, size_t begin, Scratch* scratch) const;
  template <typename Tile>
  static void RunHidden(const Packed& layer, Scratch* scratch);
  template <typename Tile>
  static void RunLast(const Packed& layer, Scratch* scratch);
  void RunBaseline(const Candidates& candidates, float* outputs) const;
  void RunAvx2(const Candidates& candidates, float* outputs) const;
  void RunAvx512(const Candidates& candidates, float* outputs) const;

  InstructionSet set_;
  size_t first_out_ = 0;
  size_t lines_ = 0;                 // of a row of the first layer
  std::vector<Line> rows_;           // the first is the bias
  std::vector<size_t> first_state_;  // of each dimension, in row_
  std::vector<int32_t> row_;         // of each state of each dimension: which row, or -1
  std::vector<Packed> layers_;
};

}  // namespace forall

#endif  // FORALL_SEARCH_INNER_PERCEPTRON_H_
