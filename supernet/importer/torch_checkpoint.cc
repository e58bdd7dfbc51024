// SPDX-License-Identifier: Apache-2.0
#include "supernet/importer/torch_checkpoint.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/byte_order.h"
#include "base/status_macros.h"
#include "supernet/half.h"
#include "supernet/importer/pickle.h"
#include "supernet/importer/zip_archive.h"

namespace forall {
namespace {

using Kind = PickleValue::Kind;

constexpr int64_t kMaxElements = int64_t{1} << 40;
constexpr size_t kMaxRank = 8;
// PyTorch's are numbers of a few digits.
constexpr size_t kMaxKey = 64;
// Dicts of a training script that hold the state dict, in the order they are looked for.
constexpr absl::string_view kStateDictKeys[] = {"state_dict", "model_state_dict", "model", "net"};

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("not a checkpoint of tensors: ", what));
}

struct StorageType {
  absl::string_view name;
  SafetensorsType type;
};
constexpr StorageType kStorageTypes[] = {
    {"torch.FloatStorage", SafetensorsType::kF32},
    {"torch.DoubleStorage", SafetensorsType::kF64},
    {"torch.HalfStorage", SafetensorsType::kF16},
    {"torch.BFloat16Storage", SafetensorsType::kBF16},
    {"torch.LongStorage", SafetensorsType::kI64},
    {"torch.IntStorage", SafetensorsType::kI32},
    {"torch.ByteStorage", SafetensorsType::kU8},
    {"torch.BoolStorage", SafetensorsType::kU8},
};

// ("storage", type, key, location, element count[, view]).
struct StorageId {
  SafetensorsType type = SafetensorsType::kF32;
  absl::string_view key;
  int64_t elements = 0;
};

absl::StatusOr<StorageId> ReadStorageId(const PickleValue& reference) {
  const PickleValue& id = *reference.items[0];
  if (id.kind != Kind::kTuple || id.items.size() < 5 || id.items[0]->kind != Kind::kText ||
      id.items[0]->text != "storage" || id.items[1]->kind != Kind::kGlobal ||
      id.items[2]->kind != Kind::kText || id.items[4]->kind != Kind::kInteger) {
    return Malformed("a persistent id is no storage");
  }
  if (id.items.size() > 5 && id.items[5]->kind != Kind::kNone) {
    return Malformed("it holds views of storages, as PyTorch before 0.4 wrote them");
  }
  StorageId storage;
  bool known = false;
  for (const StorageType& candidate : kStorageTypes) {
    if (id.items[1]->text != candidate.name) continue;
    storage.type = candidate.type;
    known = true;
  }
  if (!known) return Malformed(absl::StrCat(id.items[1]->text, " is no storage type"));
  storage.key = id.items[2]->text;
  if (storage.key.size() > kMaxKey) return Malformed("a storage has an absurd key");
  storage.elements = id.items[4]->integer;
  if (storage.elements < 0 || storage.elements > kMaxElements) {
    return Malformed("a storage has an absurd size");
  }
  return storage;
}

absl::StatusOr<std::vector<int64_t>> ReadIntegers(const PickleValue& tuple,
                                                  absl::string_view what) {
  if (tuple.kind != Kind::kTuple || tuple.items.size() > kMaxRank) {
    return Malformed(absl::StrCat(what, " is no tuple of at most ", kMaxRank, " integers"));
  }
  std::vector<int64_t> integers;
  for (const PickleValue* item : tuple.items) {
    if (item->kind != Kind::kInteger || item->integer < 0 || item->integer > kMaxElements) {
      return Malformed(absl::StrCat(what, " holds something that is no small integer"));
    }
    integers.push_back(item->integer);
  }
  return integers;
}

// Bytes of a storage by its key.
using StorageMap = absl::flat_hash_map<absl::string_view, absl::string_view>;

// The view must lie inside its storage, and may not be larger than it: broadcasts are no weights.
absl::Status CheckView(const TorchTensor& tensor) {
  const bool empty = std::find(tensor.shape.begin(), tensor.shape.end(), 0) != tensor.shape.end();
  if (empty) return absl::OkStatus();
  const int64_t stored =
      static_cast<int64_t>(tensor.storage.size()) / SafetensorsTypeSize(tensor.type);
  int64_t elements = 1;
  int64_t last = tensor.offset;
  for (size_t i = 0; i < tensor.shape.size(); ++i) {
    const int64_t steps = tensor.shape[i] - 1;
    if (elements > stored / tensor.shape[i]) return Malformed("it is larger than its storage");
    elements *= tensor.shape[i];
    if (last >= stored || (steps > 0 && tensor.strides[i] > (stored - 1 - last) / steps)) {
      return Malformed("it reaches beyond its storage");
    }
    last += steps * tensor.strides[i];
  }
  if (last >= stored) return Malformed("it reaches beyond its storage");
  return absl::OkStatus();
}

absl::StatusOr<TorchTensor> ReadTensor(absl::string_view name, const PickleValue& value,
                                       const StorageMap& storages) {
  FORALL_ASSIGN_OR_RETURN(const StorageId id, ReadStorageId(*value.items[0]));
  const auto storage = storages.find(id.key);
  if (storage == storages.end()) {
    return absl::DataLossError(
        absl::StrCat("storage ", absl::CHexEscape(id.key), " is not in the file"));
  }
  TorchTensor tensor;
  tensor.name = std::string(name);
  tensor.type = id.type;
  tensor.storage = storage->second;
  if (static_cast<int64_t>(tensor.storage.size()) != id.elements * SafetensorsTypeSize(id.type)) {
    return absl::DataLossError(absl::StrCat("its storage has ", tensor.storage.size(),
                                            " bytes, and should have ", id.elements,
                                            " elements of ", SafetensorsTypeSize(id.type)));
  }
  if (value.items[1]->kind != Kind::kInteger || value.items[1]->integer < 0 ||
      value.items[1]->integer > kMaxElements) {
    return Malformed("an offset is no small integer");
  }
  tensor.offset = value.items[1]->integer;
  FORALL_ASSIGN_OR_RETURN(tensor.shape, ReadIntegers(*value.items[2], "a shape"));
  FORALL_ASSIGN_OR_RETURN(tensor.strides, ReadIntegers(*value.items[3], "a list of strides"));
  if (tensor.strides.size() != tensor.shape.size()) return Malformed("shape and strides differ");
  FORALL_RETURN_IF_ERROR(CheckView(tensor));
  return tensor;
}

// For messages: names come from files.
std::string Short(absl::string_view name) {
  return absl::StrCat(absl::CHexEscape(name.substr(0, 80)), name.size() > 80 ? "..." : "");
}

// "; its dicts are called 'a', 'b'": where the state dict may hide.
std::string DictNames(const PickleValue& root) {
  std::vector<std::string> names;
  for (size_t i = 0; i + 1 < root.items.size() && names.size() < 10; i += 2) {
    if (root.items[i]->kind == Kind::kText && root.items[i + 1]->kind == Kind::kDict) {
      names.push_back(absl::StrCat("'", Short(root.items[i]->text), "'"));
    }
  }
  if (names.empty()) return "";
  return absl::StrCat("; the state dict is looked for in the whole and under ",
                      absl::StrJoin(kStateDictKeys, ", "), ", and its dicts are called ",
                      absl::StrJoin(names, ", "));
}

// The state dict inside the root, and its tensors.
absl::StatusOr<std::vector<TorchTensor>> ReadStateDict(const PickleValue& root,
                                                       const StorageMap& storages) {
  if (root.kind != Kind::kDict) {
    return Malformed(absl::StrCat("it holds ", PickleKindName(root.kind), ", not a state dict"));
  }
  const PickleValue* nested = nullptr;
  for (const absl::string_view key : kStateDictKeys) {
    const PickleValue* value = FindKey(root, key);
    if (value != nullptr && value->kind == Kind::kDict && nested == nullptr) nested = value;
  }
  const PickleValue& dict = nested != nullptr ? *nested : root;
  std::vector<TorchTensor> tensors;
  absl::flat_hash_set<absl::string_view> names;
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const PickleValue& key = *dict.items[i];
    const PickleValue& value = *dict.items[i + 1];
    if (value.kind != Kind::kTensor) {
      if (nested == nullptr) continue;
      const std::string name = key.kind == Kind::kText ? Short(key.text) : "(unnamed)";
      return Malformed(absl::StrCat(
          "'", name, "' in its state dict is ", PickleKindName(value.kind),
          value.kind == Kind::kOpaque ? absl::StrCat(" of ", value.text) : std::string()));
    }
    if (key.kind != Kind::kText) return Malformed("a tensor's name is no string");
    const std::string name = Short(key.text);
    if (!names.insert(key.text).second) {
      return Malformed(absl::StrCat("tensor '", name, "' is there twice"));
    }
    absl::StatusOr<TorchTensor> tensor = ReadTensor(key.text, value, storages);
    if (!tensor.ok()) return WithContext(tensor.status(), absl::StrCat("tensor '", name, "'"));
    tensors.push_back(*std::move(tensor));
  }
  if (tensors.empty()) return Malformed(absl::StrCat("it holds no tensors", DictNames(root)));
  return tensors;
}

absl::StatusOr<std::vector<TorchTensor>> ReadZip(absl::string_view bytes) {
  FORALL_ASSIGN_OR_RETURN(const ZipArchive archive, ZipArchive::Parse(bytes));
  const ZipArchive::Entry* pickle_entry = nullptr;
  for (const ZipArchive::Entry& entry : archive.entries()) {
    if (!absl::EndsWith(entry.name, "/data.pkl")) continue;
    if (pickle_entry != nullptr) return Malformed("the zip archive has two data.pkl");
    pickle_entry = &entry;
  }
  if (pickle_entry == nullptr) return Malformed("the zip archive has no data.pkl");
  const std::string prefix =
      pickle_entry->name.substr(0, pickle_entry->name.size() - strlen("data.pkl"));
  const ZipArchive::Entry* order = archive.Find(prefix + "byteorder");
  if (order != nullptr && order->content != "little") {
    return absl::InvalidArgumentError("the checkpoint was written on a big-endian machine");
  }
  FORALL_RETURN_IF_ERROR(ZipArchive::CheckContent(*pickle_entry));
  StorageMap storages;
  const std::string data = prefix + "data/";
  for (const ZipArchive::Entry& entry : archive.entries()) {
    if (!absl::StartsWith(entry.name, data)) continue;
    FORALL_RETURN_IF_ERROR(ZipArchive::CheckContent(entry));
    storages[absl::string_view(entry.name).substr(data.size())] = entry.content;
  }
  absl::StatusOr<std::unique_ptr<Pickle>> pickle = Pickle::Parse(pickle_entry->content);
  if (!pickle.ok()) return WithContext(pickle.status(), Short(pickle_entry->name));
  return ReadStateDict((*pickle)->root(), storages);
}

absl::StatusOr<std::vector<TorchTensor>> ReadOldFormat(absl::string_view bytes) {
  absl::string_view rest = bytes;
  std::vector<std::unique_ptr<Pickle>> pickles;
  // Magic number, protocol, system facts, the state dict, the keys of the storages.
  for (int i = 0; i < 5; ++i) {
    FORALL_ASSIGN_OR_RETURN(std::unique_ptr<Pickle> pickle, Pickle::Parse(rest));
    if (i == 0 && !pickle->is_torch_magic()) return Malformed("its magic number is another");
    rest.remove_prefix(pickle->size());
    pickles.push_back(std::move(pickle));
  }
  if (pickles[1]->root().kind != Kind::kInteger || pickles[1]->root().integer != 1001) {
    return Malformed("its protocol version is not 1001");
  }
  const PickleValue* little = FindKey(pickles[2]->root(), "little_endian");
  if (little != nullptr && little->kind == Kind::kBool && little->integer == 0) {
    return absl::InvalidArgumentError("the checkpoint was written on a big-endian machine");
  }
  const PickleValue& root = pickles[3]->root();
  // The storages come without their types: those stand where tensors refer to them.
  absl::flat_hash_map<absl::string_view, SafetensorsType> types;
  for (const PickleValue* reference : pickles[3]->references()) {
    FORALL_ASSIGN_OR_RETURN(const StorageId id, ReadStorageId(*reference));
    types.emplace(id.key, id.type);
  }
  StorageMap storages;
  for (const PickleValue* key : pickles[4]->root().items) {
    if (key->kind != Kind::kText) return Malformed("a storage's key is no string");
    const absl::string_view name = key->text;
    if (name.size() > kMaxKey) return Malformed("a storage has an absurd key");
    if (rest.size() < 8)
      return absl::DataLossError("the file is cut short before its last storage");
    const uint64_t count = LittleEndianInteger(rest.substr(0, 8));
    rest.remove_prefix(8);
    const auto type = types.find(name);
    if (type == types.end()) {
      return Malformed(absl::StrCat("storage ", absl::CHexEscape(name), " belongs to no tensor"));
    }
    const uint64_t size = static_cast<uint64_t>(SafetensorsTypeSize(type->second));
    if (count > rest.size() / size) {
      return absl::DataLossError(absl::StrCat("the file is cut short: storage ",
                                              absl::CHexEscape(name), " should have ", count,
                                              " elements, ", rest.size(), " bytes are left"));
    }
    storages[name] = rest.substr(0, static_cast<size_t>(count * size));
    rest.remove_prefix(static_cast<size_t>(count * size));
  }
  return ReadStateDict(root, storages);
}

template <typename Convert>
void Gather(const TorchTensor& tensor, absl::Span<float> output, const Convert& convert) {
  const char* data = tensor.storage.data();
  std::vector<int64_t> position(tensor.shape.size(), 0);
  int64_t source = tensor.offset;
  for (float& value : output) {
    value = convert(data, source);
    for (size_t axis = tensor.shape.size(); axis-- > 0;) {
      source += tensor.strides[axis];
      if (++position[axis] < tensor.shape[axis]) break;
      source -= tensor.strides[axis] * tensor.shape[axis];
      position[axis] = 0;
    }
  }
}

template <typename T>
T Load(const char* data, int64_t index) {
  T value;
  std::memcpy(&value, data + static_cast<size_t>(index) * sizeof(T), sizeof(T));
  return value;
}

}  // namespace

absl::Status CopyAsFloats(const TorchTensor& tensor, absl::Span<float> output) {
  if (static_cast<int64_t>(output.size()) != tensor.elements()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor '", tensor.name, "' has ", tensor.elements(), " elements, not ", output.size()));
  }
  switch (tensor.type) {
    case SafetensorsType::kF32:
      Gather(tensor, output, [](const char* data, int64_t i) { return Load<float>(data, i); });
      return absl::OkStatus();
    case SafetensorsType::kF64:
      Gather(tensor, output, [](const char* data, int64_t i) {
        // What a float cannot hold becomes an infinity, which the package refuses.
        constexpr double kLargest = std::numeric_limits<float>::max();
        const double value = Load<double>(data, i);
        if (value > kLargest) return std::numeric_limits<float>::infinity();
        if (value < -kLargest) return -std::numeric_limits<float>::infinity();
        return static_cast<float>(value);
      });
      return absl::OkStatus();
    case SafetensorsType::kF16:
      Gather(tensor, output,
             [](const char* data, int64_t i) { return HalfToFloat(Load<uint16_t>(data, i)); });
      return absl::OkStatus();
    case SafetensorsType::kBF16:
      Gather(tensor, output,
             [](const char* data, int64_t i) { return BFloat16ToFloat(Load<uint16_t>(data, i)); });
      return absl::OkStatus();
    case SafetensorsType::kI64:
    case SafetensorsType::kI32:
    case SafetensorsType::kU8:
      break;
  }
  return absl::InvalidArgumentError(absl::StrCat("tensor '", tensor.name, "' has type ",
                                                 SafetensorsTypeName(tensor.type),
                                                 ", and weights are floating-point numbers"));
}

bool TorchCheckpoint::LooksLikeCheckpoint(absl::string_view bytes) {
  if (ZipArchive::LooksLikeZip(bytes)) return true;
  // The old format: a pickle of the magic number, of protocol 2 to 5; from 4 on a frame stands
  // around it.
  if (bytes.size() < 2 || bytes[0] != '\x80' || bytes[1] < 2 || bytes[1] > 5) return false;
  bytes.remove_prefix(2);
  if (!bytes.empty() && bytes[0] == '\x95') bytes.remove_prefix(std::min<size_t>(9, bytes.size()));
  return absl::StartsWith(bytes, "\x8a\x0a");
}

absl::StatusOr<std::unique_ptr<TorchCheckpoint>> TorchCheckpoint::Open(const std::string& path) {
  std::unique_ptr<TorchCheckpoint> checkpoint(new TorchCheckpoint);
  checkpoint->source_ = path;
  FORALL_ASSIGN_OR_RETURN(checkpoint->mapped_, MappedFile::Open(path));
  FORALL_RETURN_IF_ERROR(checkpoint->Read());
  return checkpoint;
}

absl::StatusOr<std::unique_ptr<TorchCheckpoint>> TorchCheckpoint::Parse(std::string bytes,
                                                                        const std::string& source) {
  std::unique_ptr<TorchCheckpoint> checkpoint(new TorchCheckpoint);
  checkpoint->source_ = source;
  checkpoint->owned_ = std::move(bytes);
  FORALL_RETURN_IF_ERROR(checkpoint->Read());
  return checkpoint;
}

absl::Status TorchCheckpoint::Read() {
  absl::StatusOr<std::vector<TorchTensor>> tensors =
      ZipArchive::LooksLikeZip(bytes()) ? ReadZip(bytes()) : ReadOldFormat(bytes());
  if (!tensors.ok()) return WithContext(tensors.status(), source_);
  tensors_ = *std::move(tensors);
  return absl::OkStatus();
}

}  // namespace forall
