// SPDX-License-Identifier: Apache-2.0
#include "supernet/importer/checkpoint_import.h"

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "supernet/importer/torch_checkpoint.h"
#include "supernet/safetensors.h"

namespace forall {
namespace {

// One spelling for all: the authors' code renamed the inverted block, and wraps convolutions,
// BatchNorms and linear layers once or twice, depending on the age of the file.
std::string CommonName(absl::string_view name) {
  absl::ConsumePrefix(&name, "module.");
  std::string common(name);
  while (absl::StrReplaceAll({{".mobile_inverted_conv.", ".conv."},
                              {".bn.bn.", ".bn."},
                              {".conv.conv.", ".conv."},
                              {".linear.linear.", ".linear."}},
                             &common) > 0) {
  }
  return common;
}

// A tensor that is there, of either kind of file.
struct Source {
  std::string name;
  const std::vector<int64_t>* shape;
  const TorchTensor* torch = nullptr;
  const SafetensorsView* safetensors = nullptr;
};

absl::Status Copy(const Source& source, absl::Span<float> output) {
  return source.torch != nullptr ? CopyAsFloats(*source.torch, output)
                                 : CopyAsFloats(*source.safetensors, output);
}

// Checks names and shapes before anything is copied: a hostile file may name one storage often.
absl::StatusOr<std::vector<NamedTensor>> Collect(const std::vector<Source>& sources,
                                                 const Family& family) {
  absl::flat_hash_map<std::string, const TensorSpec*> specs;
  for (const TensorSpec& spec : family.tensors()) specs[CommonName(spec.name)] = &spec;
  std::vector<NamedShape> shapes;
  std::vector<std::pair<const TensorSpec*, const Source*>> pairs;
  absl::flat_hash_map<const TensorSpec*, const Source*> taken;
  for (const Source& source : sources) {
    const auto it = specs.find(CommonName(source.name));
    const TensorSpec* spec = it == specs.end() ? nullptr : it->second;
    shapes.push_back({spec == nullptr ? source.name : spec->name, *source.shape});
    if (spec == nullptr) continue;
    const auto [other, first] = taken.emplace(spec, &source);
    if (!first) {
      return absl::InvalidArgumentError(absl::StrCat("'", absl::CHexEscape(source.name), "' and '",
                                                     absl::CHexEscape(other->second->name),
                                                     "' are one tensor"));
    }
    if (spec->role != TensorRole::kBatchCounter) pairs.emplace_back(spec, &source);
  }
  FORALL_RETURN_IF_ERROR(CheckTensors(family, shapes));
  std::vector<NamedTensor> tensors;
  for (const auto& [spec, source] : pairs) {
    int64_t elements = 1;
    for (const int64_t extent : spec->shape) elements *= extent;
    NamedTensor tensor{spec->name, spec->shape, std::vector<float>(static_cast<size_t>(elements))};
    FORALL_RETURN_IF_ERROR(Copy(*source, absl::MakeSpan(tensor.values)));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

}  // namespace

absl::StatusOr<std::vector<NamedTensor>> ImportCheckpoint(const std::string& path,
                                                          const Family& family) {
  std::vector<Source> sources;
  bool is_torch = false;
  {
    FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<MappedFile> file, MappedFile::Open(path));
    is_torch = TorchCheckpoint::LooksLikeCheckpoint(file->bytes());
  }
  std::unique_ptr<TorchCheckpoint> checkpoint;
  std::unique_ptr<SafetensorsFile> safetensors;
  if (is_torch) {
    FORALL_ASSIGN_OR_RETURN(checkpoint, TorchCheckpoint::Open(path));
    for (const TorchTensor& tensor : checkpoint->tensors()) {
      sources.push_back({tensor.name, &tensor.shape, &tensor, nullptr});
    }
  } else {
    absl::StatusOr<std::unique_ptr<SafetensorsFile>> opened = SafetensorsFile::Open(path);
    if (!opened.ok()) {
      return WithContext(opened.status(), "neither a PyTorch checkpoint nor a safetensors file");
    }
    safetensors = *std::move(opened);
    for (const SafetensorsView& view : safetensors->tensors()) {
      sources.push_back({view.name, &view.shape, nullptr, &view});
    }
  }
  absl::StatusOr<std::vector<NamedTensor>> tensors = Collect(sources, family);
  if (!tensors.ok()) return WithContext(tensors.status(), path);
  return tensors;
}

}  // namespace forall
