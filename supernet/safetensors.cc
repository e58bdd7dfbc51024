// SPDX-License-Identifier: Apache-2.0
#include "supernet/safetensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/byte_order.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "supernet/half.h"

namespace forall {
namespace {

// Sorted, not ordered: a hostile header has many keys, and nlohmann::ordered_json searches them
// linearly.
using Json = nlohmann::json;

constexpr char kMetadataKey[] = "__metadata__";
constexpr uint64_t kLengthBytes = 8;
constexpr int kMaxRank = 16;

struct TypeInfo {
  SafetensorsType type;
  const char* name;
  int64_t size;
};
constexpr TypeInfo kTypes[] = {
    {SafetensorsType::kF64, "F64", 8}, {SafetensorsType::kI64, "I64", 8},
    {SafetensorsType::kF32, "F32", 4}, {SafetensorsType::kI32, "I32", 4},
    {SafetensorsType::kF16, "F16", 2}, {SafetensorsType::kBF16, "BF16", 2},
    {SafetensorsType::kU8, "U8", 1},
};

const TypeInfo& InfoOf(SafetensorsType type) {
  for (const TypeInfo& info : kTypes) {
    if (info.type == type) return info;
  }
  return kTypes[0];
}

std::optional<SafetensorsType> TypeNamed(const std::string& name) {
  for (const TypeInfo& info : kTypes) {
    if (name == info.name) return info.type;
  }
  return std::nullopt;
}

// A name from a hostile file, fit to be printed: short, without control bytes.
std::string Printable(absl::string_view name) {
  std::string text;
  for (const char c : name.substr(0, 80)) text += (c >= 0x20 && c < 0x7f) ? c : '?';
  if (name.size() > 80) text += "...";
  return text;
}

uint16_t LoadLittleEndian16(const char* bytes) {
  return static_cast<uint16_t>(static_cast<unsigned char>(bytes[0]) |
                               (static_cast<unsigned char>(bytes[1]) << 8));
}

// Sees the header before the DOM does: the DOM keeps the last of two equal keys silently. (The
// library's parser callback would do both in one pass, in time quadratic in the number of keys.)
class HeaderChecker : public nlohmann::json_sax<Json> {
 public:
  const std::string& problem() const { return problem_; }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(size_t) override { return Enter(); }
  bool end_object() override { return Leave(); }
  bool start_array(size_t) override { return Enter(); }
  bool end_array() override { return Leave(); }
  bool key(string_t& key) override {
    if (open_.back().insert(key).second) return true;
    problem_ = absl::StrCat("'", Printable(key), "' is given twice in the header");
    return false;
  }
  bool parse_error(size_t, const std::string&, const Json::exception&) override {
    problem_ = "header is not a JSON object";
    return false;
  }

 private:
  static constexpr size_t kMaxDepth = 4;

  bool Enter() {
    open_.emplace_back();
    if (open_.size() <= kMaxDepth) return true;
    problem_ = "header is nested too deeply";
    return false;
  }
  bool Leave() {
    open_.pop_back();
    return true;
  }

  std::vector<absl::flat_hash_set<std::string>> open_;  // the keys of every open object or list
  std::string problem_;
};

absl::StatusOr<Json> ParseStrictJson(absl::string_view text) {
  HeaderChecker checker;
  if (!Json::sax_parse(text.begin(), text.end(), &checker)) {
    return absl::InvalidArgumentError(checker.problem());
  }
  Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded() || !json.is_object()) {
    return absl::InvalidArgumentError("header is not a JSON object");
  }
  return json;
}

struct Range {
  uint64_t begin = 0;
  uint64_t end = 0;
};

absl::StatusOr<Range> ParseRange(const Json& entry) {
  const auto it = entry.find("data_offsets");
  if (it == entry.end() || !it->is_array() || it->size() != 2 || !(*it)[0].is_number_unsigned() ||
      !(*it)[1].is_number_unsigned()) {
    return absl::InvalidArgumentError("data_offsets must be two non-negative integers");
  }
  const Range range{(*it)[0].get<uint64_t>(), (*it)[1].get<uint64_t>()};
  if (range.begin > range.end) {
    return absl::InvalidArgumentError(
        absl::StrCat("data_offsets [", range.begin, ", ", range.end, "] run backwards"));
  }
  return range;
}

absl::StatusOr<std::vector<int64_t>> ParseShape(const Json& entry) {
  const auto it = entry.find("shape");
  if (it == entry.end() || !it->is_array() || it->size() > kMaxRank) {
    return absl::InvalidArgumentError(
        absl::StrCat("shape must be a list of at most ", kMaxRank, " extents"));
  }
  std::vector<int64_t> shape;
  for (const Json& extent : *it) {
    if (!extent.is_number_unsigned() ||
        extent.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()}) {
      return absl::InvalidArgumentError("shape must hold non-negative integers");
    }
    shape.push_back(static_cast<int64_t>(extent.get<uint64_t>()));
  }
  return shape;
}

// Bytes of a tensor, or nullopt when the product does not fit.
std::optional<uint64_t> ByteSize(const std::vector<int64_t>& shape, SafetensorsType type) {
  uint64_t bytes = static_cast<uint64_t>(InfoOf(type).size);
  for (const int64_t extent : shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(extent), &bytes)) return std::nullopt;
  }
  return bytes;
}

// One entry of the header against the data area.
absl::StatusOr<SafetensorsView> ParseEntry(const std::string& name, const Json& entry,
                                           absl::string_view data) {
  if (!entry.is_object()) return absl::InvalidArgumentError("must be an object");
  const auto dtype = entry.find("dtype");
  if (dtype == entry.end() || !dtype->is_string()) {
    return absl::InvalidArgumentError("dtype is missing");
  }
  const std::optional<SafetensorsType> type = TypeNamed(dtype->get_ref<const std::string&>());
  if (!type.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("dtype '", Printable(dtype->get_ref<const std::string&>()),
                     "' is not one of F64, I64, F32, I32, F16, BF16, U8"));
  }
  SafetensorsView view;
  view.name = name;
  view.type = *type;
  FORALL_ASSIGN_OR_RETURN(view.shape, ParseShape(entry));
  FORALL_ASSIGN_OR_RETURN(const Range range, ParseRange(entry));
  if (entry.size() != 3) {
    return absl::InvalidArgumentError("has a field other than dtype, shape, data_offsets");
  }
  const std::optional<uint64_t> size = ByteSize(view.shape, view.type);
  if (!size.has_value() || *size != range.end - range.begin) {
    return absl::InvalidArgumentError(absl::StrCat(
        "data_offsets span ", range.end - range.begin, " bytes but dtype and shape need ",
        size.has_value() ? absl::StrCat(*size) : std::string("more than 2^64")));
  }
  if (range.end > data.size()) {
    return absl::DataLossError(absl::StrCat("bytes end at ", range.end, " but the file holds only ",
                                            data.size(), " after the header: it is cut short"));
  }
  view.bytes = data.substr(range.begin, range.end - range.begin);
  return view;
}

// Sorts by position and refuses overlaps, gaps and bytes that belong to nobody: a file has one
// reading only.
absl::Status CheckLayout(std::vector<SafetensorsView>* tensors, absl::string_view data) {
  std::stable_sort(tensors->begin(), tensors->end(),
                   [](const SafetensorsView& a, const SafetensorsView& b) {
                     return a.bytes.data() != b.bytes.data() ? a.bytes.data() < b.bytes.data()
                                                             : a.bytes.size() < b.bytes.size();
                   });
  uint64_t end = 0;
  for (const SafetensorsView& tensor : *tensors) {
    const uint64_t begin = static_cast<uint64_t>(tensor.bytes.data() - data.data());
    if (begin != end) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tensor '", Printable(tensor.name), "': its bytes begin at ", begin, ", where ", end,
          " was expected: tensors ", begin < end ? "overlap" : "leave a gap"));
    }
    end = begin + tensor.bytes.size();
  }
  if (end != data.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(data.size() - end, " bytes at the end belong to no tensor"));
  }
  return absl::OkStatus();
}

bool Representable(float value, SafetensorsType type) {
  return type != SafetensorsType::kF16 || !std::isfinite(value) ||
         std::isfinite(HalfToFloat(FloatToHalf(value)));
}

void AppendValues(const SafetensorsEntry& entry, std::string* output) {
  const size_t size = static_cast<size_t>(InfoOf(entry.type).size);
  for (const float value : entry.values) {
    uint32_t bits;
    if (entry.type == SafetensorsType::kF16) {
      bits = FloatToHalf(value);
    } else {
      std::memcpy(&bits, &value, sizeof(bits));
    }
    for (size_t i = 0; i < size; ++i) output->push_back(static_cast<char>(bits >> (8 * i)));
  }
}

absl::Status CheckEntry(const SafetensorsEntry& entry) {
  if (entry.name.empty() || entry.name == kMetadataKey) {
    return absl::InvalidArgumentError(absl::StrCat("'", entry.name, "' is no name for a tensor"));
  }
  if (entry.type != SafetensorsType::kF32 && entry.type != SafetensorsType::kF16) {
    return absl::InvalidArgumentError(
        absl::StrCat(entry.name, ": only F32 and F16 can be written"));
  }
  uint64_t elements = 1;
  for (const int64_t extent : entry.shape) {
    if (extent < 0 || __builtin_mul_overflow(elements, static_cast<uint64_t>(extent), &elements)) {
      return absl::InvalidArgumentError(absl::StrCat(entry.name, ": impossible shape"));
    }
  }
  if (elements != entry.values.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(entry.name, ": ", entry.values.size(), " values for a shape of ", elements));
  }
  for (const float value : entry.values) {
    if (!Representable(value, entry.type)) {
      return absl::InvalidArgumentError(
          absl::StrCat(entry.name, ": ", value, " is too large for F16; write it as F32"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

const char* SafetensorsTypeName(SafetensorsType type) { return InfoOf(type).name; }
int64_t SafetensorsTypeSize(SafetensorsType type) { return InfoOf(type).size; }

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::string& path) {
  std::unique_ptr<SafetensorsFile> file(new SafetensorsFile);
  file->source_ = path;
  FORALL_ASSIGN_OR_RETURN(file->mapped_, MappedFile::Open(path));
  FORALL_RETURN_IF_ERROR(WithContext(file->ParseHeader(), path));
  return file;
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Parse(std::string bytes,
                                                                        const std::string& source) {
  std::unique_ptr<SafetensorsFile> file(new SafetensorsFile);
  file->source_ = source;
  file->owned_ = std::move(bytes);
  FORALL_RETURN_IF_ERROR(WithContext(file->ParseHeader(), source));
  return file;
}

absl::Status SafetensorsFile::ParseHeader() {
  const absl::string_view all = bytes();
  if (all.size() < kLengthBytes) {
    return absl::DataLossError("shorter than the 8 bytes that every safetensors file begins with");
  }
  const uint64_t length = LittleEndianInteger(all.substr(0, 8));
  if (length > kMaxSafetensorsHeader) {
    return absl::InvalidArgumentError(absl::StrCat("header of ", length, " bytes; at most ",
                                                   kMaxSafetensorsHeader,
                                                   " are accepted: not a safetensors file?"));
  }
  if (length > all.size() - kLengthBytes) {
    return absl::DataLossError(absl::StrCat("header of ", length, " bytes in a file of ",
                                            all.size(), ": it is cut short"));
  }
  FORALL_ASSIGN_OR_RETURN(const Json header, ParseStrictJson(all.substr(kLengthBytes, length)));
  const absl::string_view data = all.substr(kLengthBytes + length);
  for (const auto& [name, entry] : header.items()) {
    if (name == kMetadataKey) {
      if (!entry.is_object()) return absl::InvalidArgumentError("__metadata__ must be an object");
      for (const auto& [key, value] : entry.items()) {
        if (!value.is_string()) {
          return absl::InvalidArgumentError(
              absl::StrCat("__metadata__ '", Printable(key), "' must be a string"));
        }
        metadata_[key] = value.get<std::string>();
      }
      continue;
    }
    absl::StatusOr<SafetensorsView> view = ParseEntry(name, entry, data);
    if (!view.ok()) {
      return WithContext(view.status(), absl::StrCat("tensor '", Printable(name), "'"));
    }
    tensors_.push_back(*std::move(view));
  }
  FORALL_RETURN_IF_ERROR(CheckLayout(&tensors_, data));
  for (size_t i = 0; i < tensors_.size(); ++i) index_[tensors_[i].name] = i;
  return absl::OkStatus();
}

const SafetensorsView* SafetensorsFile::Find(absl::string_view name) const {
  const auto it = index_.find(name);
  return it == index_.end() ? nullptr : &tensors_[it->second];
}

absl::Status CopyAsFloats(const SafetensorsView& tensor, absl::Span<float> output) {
  if (output.size() != static_cast<size_t>(tensor.elements())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor '", tensor.name, "' has ", tensor.elements(), " values, not ", output.size()));
  }
  const char* bytes = tensor.bytes.data();
  switch (tensor.type) {
    case SafetensorsType::kF32:
      for (size_t i = 0; i < output.size(); ++i) {
        const uint32_t bits = static_cast<uint32_t>(LoadLittleEndian16(bytes + 4 * i)) |
                              static_cast<uint32_t>(LoadLittleEndian16(bytes + 4 * i + 2)) << 16;
        std::memcpy(&output[i], &bits, sizeof(bits));
      }
      return absl::OkStatus();
    case SafetensorsType::kF16:
      for (size_t i = 0; i < output.size(); ++i) {
        output[i] = HalfToFloat(LoadLittleEndian16(bytes + 2 * i));
      }
      return absl::OkStatus();
    case SafetensorsType::kBF16:
      for (size_t i = 0; i < output.size(); ++i) {
        output[i] = BFloat16ToFloat(LoadLittleEndian16(bytes + 2 * i));
      }
      return absl::OkStatus();
    default:
      return absl::InvalidArgumentError(absl::StrCat("tensor '", Printable(tensor.name), "' is ",
                                                     SafetensorsTypeName(tensor.type),
                                                     "; F32, F16 or BF16 is needed"));
  }
}

absl::StatusOr<std::string> SerializeSafetensors(
    absl::Span<const SafetensorsEntry> entries,
    const std::map<std::string, std::string>& metadata) {
  std::vector<const SafetensorsEntry*> order;
  for (const SafetensorsEntry& entry : entries) {
    FORALL_RETURN_IF_ERROR(CheckEntry(entry));
    order.push_back(&entry);
  }
  std::sort(order.begin(), order.end(), [](const SafetensorsEntry* a, const SafetensorsEntry* b) {
    return a->type != b->type ? a->type < b->type : a->name < b->name;
  });
  Json header = Json::object();
  if (!metadata.empty()) header[kMetadataKey] = metadata;
  uint64_t offset = 0;
  for (const SafetensorsEntry* entry : order) {
    if (header.contains(entry->name)) {
      return absl::InvalidArgumentError(absl::StrCat(entry->name, ": given twice"));
    }
    const uint64_t end =
        offset + entry->values.size() * static_cast<uint64_t>(InfoOf(entry->type).size);
    header[entry->name] = {{"dtype", InfoOf(entry->type).name},
                           {"shape", entry->shape},
                           {"data_offsets", {offset, end}}};
    offset = end;
  }
  // A name or text that is not UTF-8 is written with replacement characters rather than thrown
  // over.
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kMaxSafetensorsHeader) {
    return absl::InvalidArgumentError("the header would be longer than the reader accepts");
  }
  std::string output;
  output.reserve(kLengthBytes + text.size() + offset);
  for (size_t i = 0; i < kLengthBytes; ++i) {
    output.push_back(static_cast<char>(static_cast<uint64_t>(text.size()) >> (8 * i)));
  }
  output += text;
  for (const SafetensorsEntry* entry : order) AppendValues(*entry, &output);
  return output;
}

}  // namespace forall
