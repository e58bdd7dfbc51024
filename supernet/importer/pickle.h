// SPDX-License-Identifier: Apache-2.0
// A data-only reader of Python pickles (protocols 2 to 5). A pickle is a program; this one runs an
// allow-list of opcodes that build plain values, and knows a handful of constructors, none of which
// runs anything: a container of tensors needs no more. Everything else is an error that names it.
#ifndef FORALL_SUPERNET_IMPORTER_PICKLE_H_
#define FORALL_SUPERNET_IMPORTER_PICKLE_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace forall {

struct PickleValue {
  enum class Kind {
    kNone,
    kBool,  // integer is 0 or 1
    kInteger,
    kReal,
    kText,
    kTuple,      // items
    kList,       // items
    kDict,       // items: key, value, key, value, ...; also OrderedDict
    kGlobal,     // text: "module.name" of an allowed constructor or storage type
    kReference,  // items[0]: the persistent id, which the container resolves
    kTensor,     // items: storage reference, offset, shape, strides
    kOpaque,     // text: what made it; a plain value that no tensor needs, not looked into
    kMark,       // internal
  };
  Kind kind = Kind::kNone;
  int64_t integer = 0;
  double real = 0;
  absl::string_view text;  // into the pickle's bytes
  std::vector<PickleValue*> items;
};

// Of values, of places on the stack and in the memo: a checkpoint of thousands of tensors needs
// some ten thousand, and a hostile one gets at most a few hundred MiB.
inline constexpr size_t kMaxPickleValues = size_t{1} << 20;

// The name of a kind for messages: "a dict".
const char* PickleKindName(PickleValue::Kind kind);

// A parsed pickle and everything it points to. Values may share parts and even contain themselves:
// walk them with a bound. Thread-compatible.
class Pickle {
 public:
  // Parses one pickle at the start of `bytes`, which must outlive the result. DataLoss when the
  // bytes end early; InvalidArgument for an opcode or constructor that is not allowed (named), or a
  // stack or memo that does not fit; ResourceExhausted beyond kMaxPickleValues. Integers beyond 64
  // bits, and numbers and containers of other libraries that training scripts like to add (NumPy
  // scalars, counters, namespaces), become kOpaque.
  static absl::StatusOr<std::unique_ptr<Pickle>> Parse(absl::string_view bytes);

  const PickleValue& root() const { return *root_; }
  // Every persistent id that the pickle refers to, in order.
  const std::vector<const PickleValue*>& references() const { return references_; }
  // How many bytes the pickle took, its STOP included.
  size_t size() const { return size_; }
  // The root is the magic number that old torch files begin with (0x1950a86a20f9469cfc6c).
  bool is_torch_magic() const { return is_torch_magic_; }

 private:
  friend class Unpickler;
  Pickle() = default;

  std::deque<PickleValue> values_;
  std::vector<const PickleValue*> references_;
  const PickleValue* root_ = nullptr;
  size_t size_ = 0;
  bool is_torch_magic_ = false;
};

// The value of `key` in a dict, or nullptr.
const PickleValue* FindKey(const PickleValue& dict, absl::string_view key);

}  // namespace forall

#endif  // FORALL_SUPERNET_IMPORTER_PICKLE_H_
