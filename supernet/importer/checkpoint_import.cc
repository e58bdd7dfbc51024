// SPDX-License-Identifier: Apache-2.0
#include "supernet/importer/checkpoint_import.h"

#include <cstdint>
#include <memory>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
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

constexpr absl::string_view kBatchCounter = ".num_batches_tracked";

// The counter's name beside the BatchNorm that is expected, or as it is when there is none.
std::string CounterName(absl::string_view common, absl::Span<const NamedShape> expected,
                        const absl::flat_hash_map<std::string, size_t>& places) {
  const absl::string_view norm = absl::StripSuffix(common, kBatchCounter);
  const auto it = places.find(absl::StrCat(norm, ".running_mean"));
  if (it == places.end()) return std::string(common);
  return absl::StrCat(absl::StripSuffix(expected[it->second].name, ".running_mean"), kBatchCounter);
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
                                                 absl::Span<const NamedShape> expected) {
  absl::flat_hash_map<std::string, size_t> places;
  for (size_t i = 0; i < expected.size(); ++i) places[CommonName(expected[i].name)] = i;
  std::vector<NamedShape> shapes;
  std::vector<const Source*> taken(expected.size(), nullptr);
  for (const Source& source : sources) {
    const std::string common = CommonName(source.name);
    const auto it = places.find(common);
    if (it == places.end()) {
      // Counters are told from strangers by their BatchNorm.
      shapes.push_back({absl::EndsWith(common, kBatchCounter)
                            ? CounterName(common, expected, places)
                            : source.name,
                        *source.shape});
      continue;
    }
    const size_t place = it->second;
    shapes.push_back({expected[place].name, *source.shape});
    if (taken[place] != nullptr) {
      return absl::InvalidArgumentError(absl::StrCat("'", absl::CHexEscape(source.name), "' and '",
                                                     absl::CHexEscape(taken[place]->name),
                                                     "' are one tensor"));
    }
    taken[place] = &source;
  }
  FORALL_RETURN_IF_ERROR(CheckTensors(expected, shapes));
  std::vector<NamedTensor> tensors;
  for (size_t i = 0; i < expected.size(); ++i) {
    int64_t elements = 1;
    for (const int64_t extent : expected[i].shape) elements *= extent;
    NamedTensor tensor{expected[i].name, expected[i].shape,
                       std::vector<float>(static_cast<size_t>(elements))};
    FORALL_RETURN_IF_ERROR(Copy(*taken[i], absl::MakeSpan(tensor.values)));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

}  // namespace

absl::StatusOr<std::vector<NamedTensor>> ImportCheckpoint(const std::string& path,
                                                          const Family& family) {
  return ImportTensors(path, SupernetShapes(family),
                       absl::StrCat("the family \"", family.search_space().id(), "\""));
}

absl::StatusOr<std::vector<NamedTensor>> ImportTensors(const std::string& path,
                                                       absl::Span<const NamedShape> expected,
                                                       absl::string_view owner) {
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
  absl::StatusOr<std::vector<NamedTensor>> tensors = Collect(sources, expected);
  if (!tensors.ok()) {
    return WithContext(tensors.status(), absl::StrCat(path, ": weights do not fit ", owner));
  }
  return tensors;
}

}  // namespace forall
