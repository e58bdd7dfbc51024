// SPDX-License-Identifier: Apache-2.0
// Reading a family's JSON spec. Anyone may write one, so every field is checked and named.
#ifndef FORALL_SPACE_SPEC_READER_H_
#define FORALL_SPACE_SPEC_READER_H_

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "space/inverted_residual.h"
#include "space/network.h"

namespace forall {

// Generous bounds: they keep a hostile spec from making gigabytes of shapes, not users from widths.
inline constexpr int32_t kMaxSpecWidth = 16384;
inline constexpr int32_t kMaxSpecClasses = 1000000;
inline constexpr int32_t kMaxSpecResolution = 1024;  // as the evaluation transform

// InvalidArgument unless `text` is one JSON value of bearable depth.
absl::StatusOr<nlohmann::ordered_json> ParseSpecJson(absl::string_view text);

// Reads the fields of one JSON object, which must outlive it, and remembers the first error, an
// InvalidArgument that starts with the field's path. Thread-compatible.
class SpecReader {
 public:
  using Json = nlohmann::ordered_json;

  SpecReader(const Json& json, std::string path);

  // Any other field is an error: a misspelt one must not silently fall back to a default.
  void AllowOnly(std::initializer_list<const char*> names);
  void Integer(const char* name, int32_t least, int32_t most, int32_t* out);
  // Ascending; with `repeats`, equal neighbours are allowed.
  void Integers(const char* name, int32_t least, int32_t most, std::vector<int32_t>* out,
                bool repeats = false);
  void Text(const char* name, std::string* out);
  // A text that may be part of resource names: lower-case letters, digits, '-', '_', '.'.
  void Name(const char* name, std::string* out);
  void Flag(const char* name, bool* out);
  // Between 0 and 1, exclusively.
  void Real(const char* name, double* out);
  void ActivationOf(const char* name, Activation* out);
  // An empty object when the field is missing.
  const Json& Child(const char* name);
  // An empty list, and an error, unless the field is a list of 1 to `most` entries.
  const Json& List(const char* name, size_t most);
  void Fail(const std::string& name, const std::string& message);
  // Takes over another reader's error unless there is one already.
  void Join(const SpecReader& other);
  const absl::Status& status() const { return status_; }

 private:
  const Json* Find(const char* name);

  const Json& json_;
  std::string path_;
  absl::Status status_;
};

// The fields that the families of inverted residual blocks share: name, revision, input_channels,
// classes, resolutions, stem, first_block, kernels, expansions, batch_norm_epsilon.
void ReadInvertedResidual(SpecReader* reader, InvertedResidualConfig* config);
nlohmann::ordered_json WriteInvertedResidual(const char* family,
                                             const InvertedResidualConfig& config);

}  // namespace forall

#endif  // FORALL_SPACE_SPEC_READER_H_
