// SPDX-License-Identifier: Apache-2.0
#include "supernet/importer/pickle.h"

#include <cstring>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/byte_order.h"
#include "base/status_macros.h"

namespace forall {
namespace {

using Kind = PickleValue::Kind;

// Constructors that build plain data. Tensor storages are types, called by nobody: they stand
// inside persistent ids.
constexpr absl::string_view kOrderedDict = "collections.OrderedDict";
constexpr absl::string_view kRebuildTensor = "torch._utils._rebuild_tensor_v2";
constexpr absl::string_view kRebuildParameter = "torch._utils._rebuild_parameter";
constexpr absl::string_view kAllowedGlobals[] = {
    kOrderedDict,          kRebuildTensor,      kRebuildParameter,       "torch.FloatStorage",
    "torch.DoubleStorage", "torch.HalfStorage", "torch.BFloat16Storage", "torch.LongStorage",
    "torch.IntStorage",    "torch.ByteStorage", "torch.BoolStorage",     "torch.Size",
};
// Plain data that training scripts keep beside the state dict. What these make is never looked
// into.
constexpr absl::string_view kOpaqueGlobals[] = {
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "collections.Counter",
    "collections.defaultdict",
    "argparse.Namespace",
    "builtins.set",
    "__builtin__.set",
    "builtins.list",
    "__builtin__.list",
    "builtins.dict",
    "__builtin__.dict",
    "builtins.int",
    "__builtin__.int",
    "_codecs.encode",
    "torch.device",
    "torch.float32",
    "torch.float16",
    "torch.bfloat16",
};

constexpr unsigned char kTorchMagic[] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9,
                                         0x20, 0x6a, 0xa8, 0x50, 0x19};

}  // namespace

const char* PickleKindName(Kind kind) {
  switch (kind) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return "a bool";
    case Kind::kInteger:
      return "an integer";
    case Kind::kReal:
      return "a float";
    case Kind::kText:
      return "a string";
    case Kind::kTuple:
      return "a tuple";
    case Kind::kList:
      return "a list";
    case Kind::kDict:
      return "a dict";
    case Kind::kGlobal:
      return "a type";
    case Kind::kReference:
      return "a storage";
    case Kind::kTensor:
      return "a tensor";
    case Kind::kOpaque:
      return "an object";
    case Kind::kMark:
      return "a mark";
  }
  return "unknown";
}

// Runs one pickle program.
class Unpickler {
 public:
  explicit Unpickler(absl::string_view bytes) : bytes_(bytes), pickle_(new Pickle) {}

  absl::StatusOr<std::unique_ptr<Pickle>> Run() {
    while (true) {
      FORALL_ASSIGN_OR_RETURN(const unsigned char opcode, Byte());
      if (opcode == '.') break;
      FORALL_RETURN_IF_ERROR(Step(opcode));
      if (pickle_->values_.size() > kMaxPickleValues || stack_.size() > kMaxPickleValues ||
          memo_.size() > kMaxPickleValues || items_ > kMaxPickleValues) {
        return absl::ResourceExhaustedError(absl::StrCat("the pickle holds more than ",
                                                         kMaxPickleValues,
                                                         " values: not a checkpoint of tensors"));
      }
    }
    FORALL_ASSIGN_OR_RETURN(pickle_->root_, Pop());
    if (!stack_.empty()) return Malformed("it ends with values left over");
    pickle_->size_ = position_;
    pickle_->is_torch_magic_ = pickle_->root_ == magic_ && magic_ != nullptr;
    return std::move(pickle_);
  }

 private:
  absl::Status Malformed(absl::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat("not a well-formed pickle at byte ", position_, ": ", what));
  }

  absl::StatusOr<absl::string_view> Take(uint64_t count) {
    if (count > bytes_.size() - position_) {
      return absl::DataLossError(absl::StrCat("the pickle is cut short: ", count,
                                              " bytes are due at byte ", position_, ", ",
                                              bytes_.size() - position_, " are left"));
    }
    const absl::string_view taken = bytes_.substr(position_, static_cast<size_t>(count));
    position_ += static_cast<size_t>(count);
    return taken;
  }
  absl::StatusOr<unsigned char> Byte() {
    FORALL_ASSIGN_OR_RETURN(const absl::string_view taken, Take(1));
    return static_cast<unsigned char>(taken[0]);
  }
  absl::StatusOr<uint64_t> LittleEndian(int size) {
    FORALL_ASSIGN_OR_RETURN(const absl::string_view taken, Take(static_cast<uint64_t>(size)));
    return LittleEndianInteger(taken);
  }
  absl::StatusOr<absl::string_view> Line() {
    const size_t end = bytes_.find('\n', position_);
    if (end == absl::string_view::npos) {
      return absl::DataLossError("the pickle is cut short inside a name");
    }
    const absl::string_view line = bytes_.substr(position_, end - position_);
    position_ = end + 1;
    return line;
  }

  PickleValue* New(Kind kind) {
    pickle_->values_.emplace_back();
    pickle_->values_.back().kind = kind;
    return &pickle_->values_.back();
  }
  absl::Status Push(PickleValue* value) {
    stack_.push_back(value);
    return absl::OkStatus();
  }
  absl::StatusOr<PickleValue*> Pop() {
    if (stack_.empty() || stack_.back()->kind == Kind::kMark) {
      return Malformed("a value is taken from an empty stack");
    }
    PickleValue* value = stack_.back();
    stack_.pop_back();
    return value;
  }
  // The values above the last mark, which goes too.
  absl::StatusOr<std::vector<PickleValue*>> PopMarked() {
    size_t mark = stack_.size();
    while (mark > 0 && stack_[mark - 1]->kind != Kind::kMark) --mark;
    if (mark == 0) return Malformed("there is no mark on the stack");
    std::vector<PickleValue*> values(stack_.begin() + static_cast<std::ptrdiff_t>(mark),
                                     stack_.end());
    stack_.resize(mark - 1);
    return values;
  }
  absl::StatusOr<PickleValue*> Top(Kind kind) {
    if (stack_.empty() || stack_.back()->kind != kind) {
      return Malformed(absl::StrCat("it wants ", PickleKindName(kind), " on the stack"));
    }
    return stack_.back();
  }

  absl::Status PushInteger(int64_t value) {
    PickleValue* integer = New(Kind::kInteger);
    integer->integer = value;
    return Push(integer);
  }
  absl::Status PushBool(bool value) {
    PickleValue* boolean = New(Kind::kBool);
    boolean->integer = value ? 1 : 0;
    return Push(boolean);
  }
  absl::Status PushText(int length_bytes) {
    FORALL_ASSIGN_OR_RETURN(const uint64_t length, LittleEndian(length_bytes));
    PickleValue* text = New(Kind::kText);
    FORALL_ASSIGN_OR_RETURN(text->text, Take(length));
    return Push(text);
  }
  absl::Status PushLong() {
    FORALL_ASSIGN_OR_RETURN(const uint64_t length, LittleEndian(1));
    FORALL_ASSIGN_OR_RETURN(const absl::string_view digits, Take(length));
    if (digits.size() == sizeof(kTorchMagic) &&
        std::memcmp(digits.data(), kTorchMagic, sizeof(kTorchMagic)) == 0) {
      magic_ = New(Kind::kInteger);
      return Push(magic_);
    }
    if (digits.size() > 8) return PushOpaque("a long integer");
    uint64_t value = LittleEndianInteger(digits);
    const bool negative =
        !digits.empty() && (static_cast<unsigned char>(digits.back()) & 0x80) != 0;
    if (negative && digits.size() < 8) value |= ~uint64_t{0} << (8 * digits.size());
    return PushInteger(static_cast<int64_t>(value));
  }
  absl::Status PushOpaque(absl::string_view maker) {
    PickleValue* opaque = New(Kind::kOpaque);
    opaque->text = maker;
    return Push(opaque);
  }
  absl::Status PushReal() {
    FORALL_ASSIGN_OR_RETURN(const absl::string_view big_endian, Take(8));
    const uint64_t bits = BigEndianInteger(big_endian);
    PickleValue* real = New(Kind::kReal);
    std::memcpy(&real->real, &bits, sizeof(bits));
    return Push(real);
  }
  absl::Status PushTuple(size_t count) {
    PickleValue* tuple = New(Kind::kTuple);
    tuple->items.resize(count);
    for (size_t i = count; i-- > 0;) {
      FORALL_ASSIGN_OR_RETURN(tuple->items[i], Pop());
    }
    return Push(tuple);
  }
  absl::Status PushGlobal(absl::string_view module, absl::string_view name) {
    const std::string full = absl::StrCat(module, ".", name);
    for (const absl::string_view allowed : kAllowedGlobals) {
      if (full != allowed) continue;
      PickleValue* global = New(Kind::kGlobal);
      global->text = allowed;
      return Push(global);
    }
    for (const absl::string_view allowed : kOpaqueGlobals) {
      if (full == allowed) return PushOpaque(allowed);
    }
    return absl::InvalidArgumentError(absl::StrCat(
        "the pickle asks for ", absl::CHexEscape(full.substr(0, 200)),
        ", which is not one of the constructors of plain tensors; save the state dict alone"));
  }

  absl::Status Memoize(uint64_t index) {
    if (stack_.empty() || stack_.back()->kind == Kind::kMark) {
      return Malformed("it remembers a value that is not there");
    }
    memo_[index] = stack_.back();
    return absl::OkStatus();
  }
  absl::Status Recall(uint64_t index) {
    const auto it = memo_.find(index);
    if (it == memo_.end()) return Malformed("it recalls a value that was never remembered");
    return Push(it->second);
  }

  absl::Status AppendAll(Kind container, const std::vector<PickleValue*>& values) {
    if (container == Kind::kDict && values.size() % 2 != 0) {
      return Malformed("a dict gets a key without a value");
    }
    // What is put into an object that is not looked into goes with it.
    if (!stack_.empty() && stack_.back()->kind == Kind::kOpaque) return absl::OkStatus();
    FORALL_ASSIGN_OR_RETURN(PickleValue* const target, Top(container));
    items_ += values.size();
    target->items.insert(target->items.end(), values.begin(), values.end());
    return absl::OkStatus();
  }

  // Calls an allowed constructor.
  absl::Status Reduce() {
    FORALL_ASSIGN_OR_RETURN(PickleValue* const arguments, Pop());
    FORALL_ASSIGN_OR_RETURN(PickleValue* const callee, Pop());
    if (callee->kind == Kind::kOpaque) return PushOpaque(callee->text);
    if (callee->kind != Kind::kGlobal || arguments->kind != Kind::kTuple) {
      return Malformed(absl::StrCat("it calls ", PickleKindName(callee->kind)));
    }
    const std::vector<PickleValue*>& given = arguments->items;
    if (callee->text == kOrderedDict) {
      PickleValue* dict = New(Kind::kDict);
      if (!given.empty()) {
        // OrderedDict([[key, value], ...]), as Python 2 wrote it. This is the one opcode that
        // copies a list: without a bound, a few bytes each would copy a long one again and again.
        copied_ += given[0]->items.size();
        if (copied_ > bytes_.size()) return Malformed("it copies more than it holds");
        for (const PickleValue* pair : given[0]->items) {
          if (pair->items.size() != 2) return Malformed("an OrderedDict wants pairs");
          dict->items.insert(dict->items.end(), pair->items.begin(), pair->items.end());
        }
      }
      return Push(dict);
    }
    if (callee->text == kRebuildTensor) {
      if (given.size() < 4 || given[0]->kind != Kind::kReference) {
        return Malformed("a tensor wants storage, offset, shape and strides");
      }
      // Newer PyTorch notes conjugation and negation here: bits that would change what values mean.
      if (given.size() > 6 && given[6]->kind != Kind::kNone &&
          (given[6]->kind != Kind::kDict || !given[6]->items.empty())) {
        return Malformed("a tensor has metadata, such as a pending negation; save plain tensors");
      }
      PickleValue* tensor = New(Kind::kTensor);
      tensor->items.assign(given.begin(), given.begin() + 4);
      return Push(tensor);
    }
    if (callee->text == kRebuildParameter) {
      if (given.empty() || given[0]->kind != Kind::kTensor) {
        return Malformed("a parameter wants a tensor");
      }
      return Push(given[0]);
    }
    if (callee->text == "torch.Size" && given.size() == 1) return Push(given[0]);
    return Malformed(absl::StrCat("it calls ", callee->text));
  }

  // Attributes of an OrderedDict, such as a state dict's _metadata, are of no use here.
  absl::Status Build() {
    FORALL_RETURN_IF_ERROR(Pop().status());
    if (!stack_.empty() && stack_.back()->kind == Kind::kOpaque) return absl::OkStatus();
    return Top(Kind::kDict).status();
  }

  absl::Status Step(unsigned char opcode) {
    switch (opcode) {
      case 0x80: {  // PROTO
        FORALL_ASSIGN_OR_RETURN(const unsigned char version, Byte());
        if (version > 5) return Malformed(absl::StrCat("protocol ", int{version}, " is not known"));
        return absl::OkStatus();
      }
      case 0x95:  // FRAME: a length that helps streaming readers
        return LittleEndian(8).status();
      case '(': {  // MARK
        return Push(&mark_);
      }
      case '}':  // EMPTY_DICT
        return Push(New(Kind::kDict));
      case ']':  // EMPTY_LIST
        return Push(New(Kind::kList));
      case ')':  // EMPTY_TUPLE
        return Push(New(Kind::kTuple));
      case 'N':  // NONE
        return Push(New(Kind::kNone));
      case 0x88:  // NEWTRUE
      case 0x89:  // NEWFALSE
        return PushBool(opcode == 0x88);
      case 'K':    // BININT1
      case 'M': {  // BININT2
        FORALL_ASSIGN_OR_RETURN(const uint64_t value, LittleEndian(opcode == 'K' ? 1 : 2));
        return PushInteger(static_cast<int64_t>(value));
      }
      case 'J': {  // BININT
        FORALL_ASSIGN_OR_RETURN(const uint64_t value, LittleEndian(4));
        return PushInteger(static_cast<int32_t>(static_cast<uint32_t>(value)));
      }
      case 0x8a:  // LONG1
        return PushLong();
      case 'G':  // BINFLOAT
        return PushReal();
      case 0x8c:  // SHORT_BINUNICODE
      case 'U':   // SHORT_BINSTRING
        return PushText(1);
      case 'X':  // BINUNICODE
      case 'T':  // BINSTRING
        return PushText(4);
      case 0x85:  // TUPLE1
      case 0x86:  // TUPLE2
      case 0x87:  // TUPLE3
        return PushTuple(opcode - 0x84u);
      case 't': {  // TUPLE
        FORALL_ASSIGN_OR_RETURN(std::vector<PickleValue*> values, PopMarked());
        PickleValue* tuple = New(Kind::kTuple);
        tuple->items = std::move(values);
        return Push(tuple);
      }
      case 'a': {  // APPEND
        FORALL_ASSIGN_OR_RETURN(PickleValue* const value, Pop());
        return AppendAll(Kind::kList, {value});
      }
      case 'e': {  // APPENDS
        FORALL_ASSIGN_OR_RETURN(const std::vector<PickleValue*> values, PopMarked());
        return AppendAll(Kind::kList, values);
      }
      case 's': {  // SETITEM
        FORALL_ASSIGN_OR_RETURN(PickleValue* const value, Pop());
        FORALL_ASSIGN_OR_RETURN(PickleValue* const key, Pop());
        return AppendAll(Kind::kDict, {key, value});
      }
      case 'u': {  // SETITEMS
        FORALL_ASSIGN_OR_RETURN(const std::vector<PickleValue*> values, PopMarked());
        return AppendAll(Kind::kDict, values);
      }
      case 'q': {  // BINPUT
        FORALL_ASSIGN_OR_RETURN(const uint64_t index, LittleEndian(1));
        return Memoize(index);
      }
      case 'r': {  // LONG_BINPUT
        FORALL_ASSIGN_OR_RETURN(const uint64_t index, LittleEndian(4));
        return Memoize(index);
      }
      case 0x94:  // MEMOIZE
        return Memoize(memo_.size());
      case 'h': {  // BINGET
        FORALL_ASSIGN_OR_RETURN(const uint64_t index, LittleEndian(1));
        return Recall(index);
      }
      case 'j': {  // LONG_BINGET
        FORALL_ASSIGN_OR_RETURN(const uint64_t index, LittleEndian(4));
        return Recall(index);
      }
      case 'c': {  // GLOBAL
        FORALL_ASSIGN_OR_RETURN(const absl::string_view module, Line());
        FORALL_ASSIGN_OR_RETURN(const absl::string_view name, Line());
        return PushGlobal(module, name);
      }
      case 0x93: {  // STACK_GLOBAL
        FORALL_ASSIGN_OR_RETURN(PickleValue* const name, Pop());
        FORALL_ASSIGN_OR_RETURN(PickleValue* const module, Pop());
        return PushGlobal(module->text, name->text);
      }
      case 'Q': {  // BINPERSID
        FORALL_ASSIGN_OR_RETURN(PickleValue* const id, Pop());
        PickleValue* reference = New(Kind::kReference);
        reference->items = {id};
        pickle_->references_.push_back(reference);
        return Push(reference);
      }
      case 'R':   // REDUCE
      case 0x81:  // NEWOBJ: as REDUCE, for what is allowed
        return Reduce();
      case '0':  // POP
        return Pop().status();
      case 'C':  // SHORT_BINBYTES
        return PushText(1);
      case 'B':  // BINBYTES
        return PushText(4);
      case 0x8f:  // EMPTY_SET
        return PushOpaque("a set");
      case 0x90:  // ADDITEMS
        return PopMarked().status();
      case 'b':  // BUILD
        return Build();
      default:
        return absl::InvalidArgumentError(absl::StrFormat(
            "the pickle uses opcode 0x%02x at byte %d, which plain tensors do not need", opcode,
            position_ - 1));
    }
  }

  absl::string_view bytes_;
  size_t position_ = 0;
  std::unique_ptr<Pickle> pickle_;
  PickleValue mark_ = {Kind::kMark, 0, 0, {}, {}};
  std::vector<PickleValue*> stack_;
  absl::flat_hash_map<uint64_t, PickleValue*> memo_;
  PickleValue* magic_ = nullptr;
  size_t copied_ = 0;
  size_t items_ = 0;  // put into lists and dicts so far
};

absl::StatusOr<std::unique_ptr<Pickle>> Pickle::Parse(absl::string_view bytes) {
  return Unpickler(bytes).Run();
}

const PickleValue* FindKey(const PickleValue& dict, absl::string_view key) {
  if (dict.kind != Kind::kDict) return nullptr;
  // As in Python, a later value replaces an earlier one.
  const PickleValue* found = nullptr;
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    if (dict.items[i]->kind == Kind::kText && dict.items[i]->text == key) found = dict.items[i + 1];
  }
  return found;
}

}  // namespace forall
