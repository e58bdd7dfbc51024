// SPDX-License-Identifier: Apache-2.0
#include "supernet/package.h"

#include <cmath>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/file.h"
#include "base/json_depth.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kFormatVersion[] = "1";
constexpr char kFormatKey[] = "forall.format";
constexpr char kSpecKey[] = "forall.spec";
constexpr char kDatasetKey[] = "forall.dataset";
constexpr char kNotesKey[] = "forall.notes";
constexpr uint64_t kMaxSpecFile = uint64_t{4} << 20;
constexpr size_t kMostProblemsListed = 8;  // of each kind

std::string ShapeText(absl::Span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// Everything of one kind that is wrong with a set of tensors, so that a user mends it in one go.
class Problems {
 public:
  void Add(std::string problem) {
    if (list_.size() < kMostProblemsListed) list_.push_back(std::move(problem));
    ++count_;
  }
  // Appends "kind: a, b, and 7 more".
  void AppendTo(absl::string_view kind, std::vector<std::string>* text) const {
    if (count_ == 0) return;
    text->push_back(absl::StrCat(kind, ": ", absl::StrJoin(list_, ", ")));
    if (count_ > list_.size())
      absl::StrAppend(&text->back(), " and ", count_ - list_.size(), " more");
  }

 private:
  std::vector<std::string> list_;
  size_t count_ = 0;
};

absl::Status CheckValues(const TensorSpec& spec, absl::Span<const float> values) {
  for (const float value : values) {
    if (!std::isfinite(value)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", spec.name, "' holds a value that is not finite"));
    }
    if (spec.role == TensorRole::kRunningVariance && value < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor '", spec.name, "' holds a negative variance"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, std::string>> ParseNotes(const Json& json) {
  if (!json.is_object()) return absl::InvalidArgumentError("notes must be an object of texts");
  std::map<std::string, std::string> notes;
  for (const auto& [key, value] : json.items()) {
    if (!value.is_string()) {
      return absl::InvalidArgumentError(absl::StrCat("notes.", key, " must be a text"));
    }
    notes[key] = value.get<std::string>();
  }
  return notes;
}

std::string TextField(const Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_string() ? it->get<std::string>() : std::string();
}

// supernet.json, read but not yet compared with the weights.
struct PackageSpec {
  std::string family_spec;
  std::string weights_file;
  std::string weights_sha256;
  std::string dataset;
};

absl::StatusOr<PackageSpec> ParsePackageSpec(absl::string_view text) {
  FORALL_RETURN_IF_ERROR(CheckJsonDepth(text));
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object()) {
    return absl::InvalidArgumentError("is not a JSON object");
  }
  for (const auto& [key, value] : json.items()) {
    if (key != "format_version" && key != "weights" && key != "dataset" && key != "notes" &&
        key != "family") {
      return absl::InvalidArgumentError(absl::StrCat(
          key, ": unknown field; known are format_version, dataset, weights, notes, family"));
    }
  }
  const std::string version = TextField(json, "format_version");
  if (version != kFormatVersion) {
    return absl::InvalidArgumentError(absl::StrCat("format_version: \"", version,
                                                   "\" is not known to this build, which reads \"",
                                                   kFormatVersion, "\""));
  }
  if (!json.contains("family")) return absl::InvalidArgumentError("family: is missing");
  if (!json.contains("weights") || !json["weights"].is_object()) {
    return absl::InvalidArgumentError("weights: must be an object with file and sha256");
  }
  PackageSpec spec;
  spec.family_spec = json["family"].dump();
  spec.weights_file = TextField(json["weights"], "file");
  spec.weights_sha256 = TextField(json["weights"], "sha256");
  spec.dataset = TextField(json, "dataset");
  if (spec.weights_file.empty() || spec.weights_file.find('/') != std::string::npos) {
    return absl::InvalidArgumentError("weights.file: must name a file in the same directory");
  }
  if (!IsSha256Hex(spec.weights_sha256)) {
    return absl::InvalidArgumentError("weights.sha256: must be 64 lower-case hex digits");
  }
  return spec;
}

std::string PackageSpecText(const Family& family, const PackageOptions& options,
                            const std::string& sha256) {
  Json json;
  json["format_version"] = kFormatVersion;
  json["dataset"] = options.dataset;
  json["weights"] = {{"file", kPackageWeightsFile},
                     {"sha256", sha256},
                     {"precision", options.precision == SafetensorsType::kF16 ? "fp16" : "fp32"}};
  json["notes"] = Json::object();
  for (const auto& [key, value] : options.notes) json["notes"][key] = value;
  json["family"] = Json::parse(family.Spec(), nullptr, /*allow_exceptions=*/false);
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

absl::Status CheckTensors(absl::Span<const NamedShape> expected,
                          absl::Span<const NamedShape> given) {
  Problems missing;
  Problems misshapen;
  Problems extra;
  absl::flat_hash_map<absl::string_view, const std::vector<int64_t>*> shapes;
  for (const NamedShape& tensor : given) shapes[tensor.name] = &tensor.shape;
  absl::flat_hash_set<absl::string_view> known;
  for (const NamedShape& spec : expected) {
    known.insert(spec.name);
    const auto it = shapes.find(spec.name);
    if (it == shapes.end()) {
      missing.Add(absl::StrCat("'", spec.name, "'"));
    } else if (*it->second != spec.shape) {
      misshapen.Add(absl::StrCat("'", spec.name, "' has ", ShapeText(*it->second), ", needs ",
                                 ShapeText(spec.shape)));
    }
  }
  for (const NamedShape& tensor : given) {
    absl::string_view norm = tensor.name;
    const bool counter = absl::ConsumeSuffix(&norm, ".num_batches_tracked") &&
                         known.contains(absl::StrCat(norm, ".running_mean"));
    if (counter || known.contains(tensor.name)) continue;
    extra.Add(absl::StrCat("'", absl::CHexEscape(tensor.name.substr(0, 200)), "'"));
  }
  std::vector<std::string> text;
  missing.AppendTo("missing", &text);
  misshapen.AppendTo("of another shape", &text);
  extra.AppendTo("not part of it", &text);
  if (text.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(text, "; "));
}

std::vector<NamedShape> SupernetShapes(const Family& family) {
  std::vector<NamedShape> shapes;
  for (const TensorSpec& spec : family.tensors()) {
    if (spec.role != TensorRole::kBatchCounter) shapes.push_back({spec.name, spec.shape});
  }
  return shapes;
}

absl::Status CheckTensors(const Family& family, absl::Span<const NamedShape> given) {
  return WithContext(
      CheckTensors(SupernetShapes(family), given),
      absl::StrCat("weights do not fit the family \"", family.search_space().id(), "\""));
}

absl::StatusOr<std::shared_ptr<const Supernet>> Supernet::Load(const std::string& directory) {
  const std::string spec_path = absl::StrCat(directory, "/", kPackageSpecFile);
  FORALL_ASSIGN_OR_RETURN(const std::string text, ReadFile(spec_path, kMaxSpecFile));
  absl::StatusOr<PackageSpec> spec = ParsePackageSpec(text);
  if (!spec.ok()) return WithContext(spec.status(), spec_path);
  const std::string weights_path = absl::StrCat(directory, "/", spec->weights_file);
  FORALL_ASSIGN_OR_RETURN(std::shared_ptr<const Supernet> supernet,
                          LoadFile(weights_path, spec->weights_sha256));
  const absl::StatusOr<std::shared_ptr<const Family>> family = FamilyFromSpec(spec->family_spec);
  if (!family.ok()) return WithContext(family.status(), absl::StrCat(spec_path, ": family"));
  if ((*family)->Spec() != supernet->family().Spec()) {
    return absl::InvalidArgumentError(
        absl::StrCat(spec_path, ": family differs from the spec inside ", weights_path));
  }
  if (spec->dataset != supernet->dataset()) {
    return absl::InvalidArgumentError(absl::StrCat(spec_path, ": dataset \"", spec->dataset,
                                                   "\" differs from \"", supernet->dataset(),
                                                   "\" inside ", weights_path));
  }
  return supernet;
}

absl::StatusOr<std::shared_ptr<const Supernet>> Supernet::LoadFile(
    const std::string& path, const std::string& expected_hash) {
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file, SafetensorsFile::Open(path));
  FORALL_ASSIGN_OR_RETURN(const std::shared_ptr<Supernet> supernet, FromSafetensors(*file));
  supernet->weights_path_ = path;
  if (!expected_hash.empty() && supernet->hash() != expected_hash) {
    return absl::DataLossError(absl::StrCat(path, ": has SHA-256 ", supernet->hash(), ", expected ",
                                            expected_hash,
                                            ": it was changed or belongs to another package"));
  }
  return supernet;
}

absl::StatusOr<std::shared_ptr<const Supernet>> Supernet::FromBytes(std::string bytes,
                                                                    const std::string& source) {
  FORALL_ASSIGN_OR_RETURN(const std::unique_ptr<SafetensorsFile> file,
                          SafetensorsFile::Parse(std::move(bytes), source));
  return FromSafetensors(*file);
}

absl::StatusOr<std::shared_ptr<Supernet>> Supernet::FromSafetensors(const SafetensorsFile& file) {
  std::shared_ptr<Supernet> supernet(new Supernet);
  FORALL_RETURN_IF_ERROR(WithContext(supernet->ReadMetadata(file), file.source()));
  FORALL_RETURN_IF_ERROR(WithContext(supernet->ReadTensors(file), file.source()));
  supernet->hash_ = Sha256Hex(file.bytes());
  return supernet;
}

absl::Status Supernet::ReadMetadata(const SafetensorsFile& file) {
  const auto value = [&](const char* key) {
    const auto it = file.metadata().find(key);
    return it == file.metadata().end() ? std::string() : it->second;
  };
  if (value(kFormatKey) != kFormatVersion) {
    return absl::InvalidArgumentError(absl::StrCat(
        "metadata ", kFormatKey, " is \"", value(kFormatKey), "\", this build reads \"",
        kFormatVersion, "\"; a checkpoint has to be turned into a package first"));
  }
  absl::StatusOr<std::shared_ptr<const Family>> family = FamilyFromSpec(value(kSpecKey));
  if (!family.ok()) return WithContext(family.status(), absl::StrCat("metadata ", kSpecKey));
  family_ = *std::move(family);
  dataset_ = value(kDatasetKey);
  if (file.metadata().count(kNotesKey) != 0) {
    FORALL_RETURN_IF_ERROR(
        WithContext(CheckJsonDepth(value(kNotesKey)), absl::StrCat("metadata ", kNotesKey)));
    const Json json = Json::parse(value(kNotesKey), nullptr, /*allow_exceptions=*/false);
    auto notes = ParseNotes(json);
    if (!notes.ok()) return WithContext(notes.status(), absl::StrCat("metadata ", kNotesKey));
    notes_ = *std::move(notes);
  }
  return absl::OkStatus();
}

absl::Status Supernet::ReadTensors(const SafetensorsFile& file) {
  std::vector<NamedShape> given;
  for (const SafetensorsView& view : file.tensors()) given.push_back({view.name, view.shape});
  FORALL_RETURN_IF_ERROR(CheckTensors(*family_, given));
  size_t total = 0;
  for (const TensorSpec& spec : family_->tensors()) {
    if (spec.role != TensorRole::kBatchCounter) {
      total += static_cast<size_t>(file.Find(spec.name)->elements());
    }
  }
  storage_.resize(total);
  size_t offset = 0;
  for (const TensorSpec& spec : family_->tensors()) {
    if (spec.role == TensorRole::kBatchCounter) continue;
    const SafetensorsView& view = *file.Find(spec.name);
    const absl::Span<float> values =
        absl::MakeSpan(storage_).subspan(offset, static_cast<size_t>(view.elements()));
    FORALL_RETURN_IF_ERROR(CopyAsFloats(view, values));
    FORALL_RETURN_IF_ERROR(CheckValues(spec, values));
    tensors_[spec.name] = {spec.shape, values};
    offset += values.size();
  }
  return absl::OkStatus();
}

const Supernet::TensorValues* Supernet::Find(absl::string_view name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

absl::StatusOr<std::string> BuildWeightsFile(const Family& family,
                                             absl::Span<const NamedTensor> tensors,
                                             const PackageOptions& options) {
  if (options.precision != SafetensorsType::kF32 && options.precision != SafetensorsType::kF16) {
    return absl::InvalidArgumentError("precision: must be F32 or F16");
  }
  absl::flat_hash_map<std::string, const NamedTensor*> given;
  std::vector<NamedShape> shapes;
  for (const NamedTensor& tensor : tensors) {
    if (!given.emplace(tensor.name, &tensor).second) {
      return absl::InvalidArgumentError(absl::StrCat("tensor '", tensor.name, "' is given twice"));
    }
    shapes.push_back({tensor.name, tensor.shape});
  }
  FORALL_RETURN_IF_ERROR(CheckTensors(family, shapes));
  std::vector<SafetensorsEntry> entries;
  for (const TensorSpec& spec : family.tensors()) {
    if (spec.role == TensorRole::kBatchCounter) continue;
    const NamedTensor& tensor = *given[spec.name];
    FORALL_RETURN_IF_ERROR(CheckValues(spec, tensor.values));
    const bool matrix = spec.shape.size() >= 2;
    entries.push_back(
        {spec.name, matrix ? options.precision : SafetensorsType::kF32, spec.shape, tensor.values});
  }
  std::map<std::string, std::string> metadata = {
      {kFormatKey, kFormatVersion}, {kSpecKey, family.Spec()}, {kDatasetKey, options.dataset}};
  const Json notes(options.notes);
  metadata[kNotesKey] =
      options.notes.empty() ? "{}" : notes.dump(-1, ' ', false, Json::error_handler_t::replace);
  return SerializeSafetensors(entries, metadata);
}

absl::StatusOr<std::string> WritePackage(const std::string& directory, const Family& family,
                                         absl::Span<const NamedTensor> tensors,
                                         const PackageOptions& options) {
  FORALL_ASSIGN_OR_RETURN(const std::string weights, BuildWeightsFile(family, tensors, options));
  const std::string hash = Sha256Hex(weights);
  FORALL_RETURN_IF_ERROR(CreateDirectories(directory));
  FORALL_RETURN_IF_ERROR(
      WriteFileAtomically(absl::StrCat(directory, "/", kPackageWeightsFile), weights));
  FORALL_RETURN_IF_ERROR(WriteFileAtomically(absl::StrCat(directory, "/", kPackageSpecFile),
                                             PackageSpecText(family, options, hash)));
  return hash;
}

}  // namespace forall
