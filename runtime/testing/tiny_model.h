// SPDX-License-Identifier: Apache-2.0
// The bytes of a small ONNX model for tests of rooms that know no ONNX protobufs, written field by
// field (onnx.proto, IR version 8, opset 17):
//
//   input [batch, width] -> (MatMul, Relu) x layers -> output [batch, width]
#ifndef FORALL_RUNTIME_TESTING_TINY_MODEL_H_
#define FORALL_RUNTIME_TESTING_TINY_MODEL_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace forall::testing {

namespace tiny_model_internal {

inline void AppendVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>((value & 0x7f) | 0x80));
  out->push_back(static_cast<char>(value));
}

inline std::string Int(int field, int64_t value) {
  std::string out;
  AppendVarint(static_cast<uint64_t>(field) << 3, &out);
  AppendVarint(static_cast<uint64_t>(value), &out);
  return out;
}

inline std::string Bytes(int field, const std::string& value) {
  std::string out;
  AppendVarint((static_cast<uint64_t>(field) << 3) | 2, &out);
  AppendVarint(value.size(), &out);
  return out + value;
}

inline std::string Node(const std::string& op, const std::vector<std::string>& inputs,
                        const std::string& output) {
  std::string node;
  for (const std::string& input : inputs) node += Bytes(1, input);
  return node + Bytes(2, output) + Bytes(3, output) + Bytes(4, op);
}

// A value [batch, width] with a batch of any size.
inline std::string Value(const std::string& name, int width, int element_type) {
  const std::string shape = Bytes(1, Bytes(2, "batch")) + Bytes(1, Int(1, width));
  return Bytes(1, name) + Bytes(2, Bytes(1, Int(1, element_type) + Bytes(2, shape)));
}

}  // namespace tiny_model_internal

struct TinyModel {
  int width = 2;
  int layers = 1;
  // Row-major [width, width] of every layer; empty for twice the identity.
  std::vector<float> weights = {};
  std::string activation = "Relu";
  // ONNX's TensorProto.DataType of input and output; 1 is float.
  int element_type = 1;

  std::string Serialize() const {
    namespace pb = tiny_model_internal;
    std::vector<float> matrix = weights;
    if (matrix.empty()) {
      matrix.resize(static_cast<size_t>(width) * static_cast<size_t>(width), 0.0f);
      for (int i = 0; i < width; ++i) matrix[static_cast<size_t>(i * width + i)] = 2.0f;
    }
    std::string raw(matrix.size() * sizeof(float), '\0');
    std::memcpy(raw.data(), matrix.data(), raw.size());
    std::string graph;
    std::string last = "input";
    for (int layer = 0; layer < layers; ++layer) {
      const std::string product = absl::StrCat("product", layer);
      const std::string next = layer + 1 == layers ? "output" : absl::StrCat("hidden", layer);
      graph += pb::Bytes(1, pb::Node("MatMul", {last, "weights"}, product));
      graph += pb::Bytes(1, pb::Node(activation, {product}, next));
      last = next;
    }
    graph += pb::Bytes(2, "tiny");
    graph += pb::Bytes(5, pb::Int(1, width) + pb::Int(1, width) + pb::Int(2, 1) +
                              pb::Bytes(8, "weights") + pb::Bytes(9, raw));
    graph += pb::Bytes(11, pb::Value("input", width, element_type));
    graph += pb::Bytes(12, pb::Value("output", width, element_type));
    return pb::Int(1, 8) + pb::Bytes(7, graph) + pb::Bytes(8, pb::Bytes(1, "") + pb::Int(2, 17)) +
           pb::Bytes(14, pb::Bytes(1, "forall.key") + pb::Bytes(2, "value"));
  }
};

}  // namespace forall::testing

#endif  // FORALL_RUNTIME_TESTING_TINY_MODEL_H_
