// SPDX-License-Identifier: Apache-2.0
#include "search/testing/message_mutator.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/utf8.h"

namespace forall::testing {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::EnumDescriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::Message;
using ::google::protobuf::Reflection;

constexpr int kMostChanges = 4;
constexpr size_t kMostNewBytes = 64;
constexpr size_t kLongText = 5000;

// Calls `visit` for `message` and every message within it, with its depth.
template <typename Visit>
void ForEachMessage(Message* message, int depth, Visit visit) {
  visit(message, depth);
  const Reflection& reflection = *message->GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(*message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      ForEachMessage(reflection.MutableMessage(message, field), depth + 1, visit);
      continue;
    }
    for (int i = 0; i < reflection.FieldSize(*message, field); ++i) {
      ForEachMessage(reflection.MutableRepeatedMessage(message, field, i), depth + 1, visit);
    }
  }
}

}  // namespace

struct MessageMutator::Site {
  Message* message = nullptr;
  const FieldDescriptor* field = nullptr;
  int depth = 0;
};

MessageMutator::MessageMutator(uint64_t seed, Options options)
    : random_(seed), options_(std::move(options)) {}

void MessageMutator::Mutate(Message* message) {
  const int changes = 1 + static_cast<int>(random_.Uniform(kMostChanges));
  for (int i = 0; i < changes; ++i) MutateOnce(message);
}

void MessageMutator::MutateOnce(Message* message) {
  const Site site = PickSite(message);
  if (site.field == nullptr) return;
  MutateField(site);
}

MessageMutator::Site MessageMutator::PickSite(Message* message) {
  // Every field of every message that is there is as likely as any other.
  Site picked;
  uint64_t seen = 0;
  ForEachMessage(message, 0, [&](Message* within, int depth) {
    const Descriptor& type = *within->GetDescriptor();
    for (int i = 0; i < type.field_count(); ++i) {
      ++seen;
      if (OneIn(seen)) picked = {within, type.field(i), depth};
    }
  });
  return picked;
}

void MessageMutator::MutateField(const Site& site) {
  if (site.field->is_repeated()) {
    MutateRepeated(site);
  } else {
    SetSingular(site);
  }
}

void MessageMutator::SetSingular(const Site& site) {
  const Reflection& reflection = *site.message->GetReflection();
  const bool there = reflection.HasField(*site.message, site.field);
  if (there && OneIn(8)) {
    reflection.ClearField(site.message, site.field);
    return;
  }
  SetValue(site, -1, there && !OneIn(3));
}

void MessageMutator::MutateRepeated(const Site& site) {
  const Reflection& reflection = *site.message->GetReflection();
  const int size = reflection.FieldSize(*site.message, site.field);
  if (size == 0) {
    AddElement(site);
    return;
  }
  const int at = static_cast<int>(random_.Uniform(size));
  switch (random_.Uniform(10)) {
    case 0:
      reflection.SwapElements(site.message, site.field, at, size - 1);
      reflection.RemoveLast(site.message, site.field);
      return;
    case 1:
      reflection.SwapElements(site.message, site.field, at,
                              static_cast<int>(random_.Uniform(size)));
      return;
    case 2: {
      // Copies of one element, now and then more than any limit allows.
      const int copies = OneIn(8) ? options_.max_elements : 1;
      if (site.field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
        for (int i = 0; i < copies && size + i < options_.max_elements; ++i) AddElement(site);
        return;
      }
      for (int i = 0; i < copies && size + i < options_.max_elements; ++i) {
        const std::unique_ptr<Message> copy(
            reflection.GetRepeatedMessage(*site.message, site.field, at).New());
        copy->CopyFrom(reflection.GetRepeatedMessage(*site.message, site.field, at));
        reflection.AddMessage(site.message, site.field)->CopyFrom(*copy);
      }
      return;
    }
    case 3:
      if (OneIn(4)) {
        reflection.ClearField(site.message, site.field);
        return;
      }
      [[fallthrough]];
    case 4:
    case 5:
    case 6:
      AddElement(site);
      return;
    default:
      SetValue(site, at, !OneIn(3));
      return;
  }
}

void MessageMutator::AddElement(const Site& site) {
  const Reflection& reflection = *site.message->GetReflection();
  const int size = reflection.FieldSize(*site.message, site.field);
  if (size >= options_.max_elements) return;
  switch (site.field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      if (site.depth + 1 >= options_.max_depth) return;
      Fill(reflection.AddMessage(site.message, site.field), site.depth + 1);
      return;
    case FieldDescriptor::CPPTYPE_INT32:
      reflection.AddInt32(site.message, site.field, 0);
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      reflection.AddInt64(site.message, site.field, 0);
      break;
    case FieldDescriptor::CPPTYPE_UINT32:
      reflection.AddUInt32(site.message, site.field, 0);
      break;
    case FieldDescriptor::CPPTYPE_UINT64:
      reflection.AddUInt64(site.message, site.field, 0);
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      reflection.AddDouble(site.message, site.field, 0);
      break;
    case FieldDescriptor::CPPTYPE_FLOAT:
      reflection.AddFloat(site.message, site.field, 0);
      break;
    case FieldDescriptor::CPPTYPE_BOOL:
      reflection.AddBool(site.message, site.field, false);
      break;
    case FieldDescriptor::CPPTYPE_ENUM:
      reflection.AddEnumValue(site.message, site.field, 0);
      break;
    case FieldDescriptor::CPPTYPE_STRING:
      reflection.AddString(site.message, site.field, "");
      break;
  }
  SetValue(site, size, false);
}

void MessageMutator::SetValue(const Site& site, int index, bool change) {
  const Reflection& reflection = *site.message->GetReflection();
  const auto* const field = site.field;
  Message* const message = site.message;
  const bool single = index < 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32: {
      const int32_t old = single ? reflection.GetInt32(*message, field)
                                 : reflection.GetRepeatedInt32(*message, field, index);
      const auto value = Integer<int32_t>(old, change);
      single ? reflection.SetInt32(message, field, value)
             : reflection.SetRepeatedInt32(message, field, index, value);
      return;
    }
    case FieldDescriptor::CPPTYPE_INT64: {
      const int64_t old = single ? reflection.GetInt64(*message, field)
                                 : reflection.GetRepeatedInt64(*message, field, index);
      const auto value = Integer<int64_t>(old, change);
      single ? reflection.SetInt64(message, field, value)
             : reflection.SetRepeatedInt64(message, field, index, value);
      return;
    }
    case FieldDescriptor::CPPTYPE_UINT32: {
      const uint32_t old = single ? reflection.GetUInt32(*message, field)
                                  : reflection.GetRepeatedUInt32(*message, field, index);
      const auto value = Integer<uint32_t>(old, change);
      single ? reflection.SetUInt32(message, field, value)
             : reflection.SetRepeatedUInt32(message, field, index, value);
      return;
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      const uint64_t old = single ? reflection.GetUInt64(*message, field)
                                  : reflection.GetRepeatedUInt64(*message, field, index);
      const auto value = Integer<uint64_t>(old, change);
      single ? reflection.SetUInt64(message, field, value)
             : reflection.SetRepeatedUInt64(message, field, index, value);
      return;
    }
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      const double old = single ? reflection.GetDouble(*message, field)
                                : reflection.GetRepeatedDouble(*message, field, index);
      const double value = Real(old, change);
      single ? reflection.SetDouble(message, field, value)
             : reflection.SetRepeatedDouble(message, field, index, value);
      return;
    }
    case FieldDescriptor::CPPTYPE_FLOAT: {
      const float old = single ? reflection.GetFloat(*message, field)
                               : reflection.GetRepeatedFloat(*message, field, index);
      const auto value = static_cast<float>(Real(old, change));
      single ? reflection.SetFloat(message, field, value)
             : reflection.SetRepeatedFloat(message, field, index, value);
      return;
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      single ? reflection.SetBool(message, field, !reflection.GetBool(*message, field))
             : reflection.SetRepeatedBool(message, field, index,
                                          !reflection.GetRepeatedBool(*message, field, index));
      return;
    case FieldDescriptor::CPPTYPE_ENUM: {
      const int value = Enum(*field->enum_type());
      single ? reflection.SetEnumValue(message, field, value)
             : reflection.SetRepeatedEnumValue(message, field, index, value);
      return;
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string old = single ? reflection.GetString(*message, field)
                                     : reflection.GetRepeatedString(*message, field, index);
      std::string value =
          field->type() == FieldDescriptor::TYPE_BYTES ? Bytes(old, change) : Text(old, change);
      single ? reflection.SetString(message, field, std::move(value))
             : reflection.SetRepeatedString(message, field, index, std::move(value));
      return;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      if (site.depth + 1 >= options_.max_depth) return;
      Message* const within = single ? reflection.MutableMessage(message, field)
                                     : reflection.MutableRepeatedMessage(message, field, index);
      if (change && OneIn(4)) within->Clear();
      Fill(within, site.depth + 1);
      return;
    }
  }
}

void MessageMutator::Fill(Message* message, int depth) {
  const Descriptor& type = *message->GetDescriptor();
  if (type.field_count() == 0) return;
  const int fields = 1 + static_cast<int>(random_.Uniform(std::min(type.field_count(), 4)));
  for (int i = 0; i < fields; ++i) {
    const FieldDescriptor* const field =
        type.field(static_cast<int>(random_.Uniform(type.field_count())));
    MutateField({message, field, depth});
  }
}

template <typename T>
T MessageMutator::Integer(T old, bool change) {
  using Limits = std::numeric_limits<T>;
  if (change) {
    // Unsigned, where wrapping round is defined.
    const auto value = static_cast<uint64_t>(old);
    switch (random_.Uniform(5)) {
      case 0:
        return static_cast<T>(value + 1);
      case 1:
        return static_cast<T>(value - 1);
      case 2:
        return static_cast<T>(value << 1);
      case 3:
        return static_cast<T>(uint64_t{0} - value);
      default:
        return static_cast<T>(value ^ (uint64_t{1} << random_.Uniform(8 * sizeof(T))));
    }
  }
  switch (random_.Uniform(8)) {
    case 0:
      return Limits::max();
    case 1:
      return Limits::min();
    case 2:
      return static_cast<T>(-1);
    case 3:
      return static_cast<T>(uint64_t{1} << random_.Uniform(8 * sizeof(T)));
    case 4:
      return static_cast<T>(random_.Next());
    default:
      return static_cast<T>(random_.Uniform(random_.Uniform(4) == 0 ? 10'000 : 20));
  }
}

double MessageMutator::Real(double old, bool change) {
  using Limits = std::numeric_limits<double>;
  if (change) {
    switch (random_.Uniform(5)) {
      case 0:
        return -old;
      case 1:
        return old * 2;
      case 2:
        return old / 3;
      case 3:
        return std::nextafter(old, OneIn(2) ? Limits::infinity() : -Limits::infinity());
      default:
        return old + random_.Gaussian();
    }
  }
  static constexpr double kValues[] = {0.0,
                                       -0.0,
                                       1.0,
                                       -1.0,
                                       Limits::infinity(),
                                       -Limits::infinity(),
                                       1e-9,
                                       100,
                                       Limits::max(),
                                       Limits::lowest(),
                                       Limits::min(),
                                       Limits::denorm_min(),
                                       1e18,
                                       1e15,
                                       0.05};
  if (OneIn(8)) return Limits::quiet_NaN();
  if (OneIn(3)) return random_.Double() * std::pow(10, static_cast<double>(random_.Uniform(12)));
  return kValues[random_.Uniform(std::size(kValues))];
}

std::string MessageMutator::Bytes(const std::string& old, bool change) {
  if (!change) {
    if (!options_.words.empty() && !OneIn(3)) {
      return options_.words[random_.Uniform(options_.words.size())];
    }
    if (OneIn(4)) return "";
    if (OneIn(8)) return std::string(1 + random_.Uniform(kLongText), 'x');
  }
  std::string bytes = change ? old : std::string();
  if (options_.mutate_bytes != nullptr) {
    const size_t size = bytes.size();
    bytes.resize(size + kMostNewBytes);
    bytes.resize(
        options_.mutate_bytes(reinterpret_cast<uint8_t*>(bytes.data()), size, bytes.size()));
    return bytes;
  }
  switch (random_.Uniform(4)) {
    case 0:
      bytes.insert(random_.Uniform(bytes.size() + 1), 1 + random_.Uniform(4),
                   static_cast<char>(random_.Uniform(256)));
      break;
    case 1:
      if (!bytes.empty()) bytes.erase(random_.Uniform(bytes.size()), 1 + random_.Uniform(8));
      break;
    default:
      if (bytes.empty()) bytes.push_back('a');
      bytes[random_.Uniform(bytes.size())] = static_cast<char>(random_.Uniform(256));
      break;
  }
  return bytes;
}

std::string MessageMutator::Text(const std::string& old, bool change) {
  return ToUtf8(Bytes(old, change));
}

int MessageMutator::Enum(const EnumDescriptor& type) {
  if (OneIn(6)) return Integer<int32_t>(0, false);
  return type.value(static_cast<int>(random_.Uniform(type.value_count())))->number();
}

void MessageMutator::CrossOver(const Message& from, Message* to) {
  // Messages are only looked at through reflection that may change them: a copy is.
  const std::unique_ptr<Message> source(from.New());
  source->CopyFrom(from);
  std::vector<Message*> given;
  ForEachMessage(source.get(), 0, [&](Message* within, int depth) {
    if (depth > 0) given.push_back(within);
  });
  if (given.empty()) return;
  // A few tries: most pairs of messages are of different types.
  for (int i = 0; i < 8; ++i) {
    const Message& gift = *given[random_.Uniform(given.size())];
    Site picked;
    uint64_t seen = 0;
    ForEachMessage(to, 0, [&](Message* within, int depth) {
      const Descriptor& type = *within->GetDescriptor();
      for (int f = 0; f < type.field_count(); ++f) {
        if (type.field(f)->message_type() != gift.GetDescriptor()) continue;
        ++seen;
        if (OneIn(seen)) picked = {within, type.field(f), depth};
      }
    });
    if (picked.field == nullptr) continue;
    const Reflection& reflection = *picked.message->GetReflection();
    if (!picked.field->is_repeated()) {
      reflection.MutableMessage(picked.message, picked.field)->CopyFrom(gift);
      return;
    }
    const int size = reflection.FieldSize(*picked.message, picked.field);
    if (size < options_.max_elements && (size == 0 || OneIn(2))) {
      reflection.AddMessage(picked.message, picked.field)->CopyFrom(gift);
    } else {
      reflection
          .MutableRepeatedMessage(picked.message, picked.field,
                                  static_cast<int>(random_.Uniform(size)))
          ->CopyFrom(gift);
    }
    return;
  }
}

std::string MessageMutator::ToUtf8(const std::string& text) {
  std::string valid;
  valid.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const size_t length = Utf8CharacterLength(absl::string_view(text).substr(i));
    if (length == 0) {
      valid.push_back('?');
      ++i;
      continue;
    }
    valid.append(text, i, length);
    i += length;
  }
  return valid;
}

size_t MutateSerialized(MessageMutator* mutator, const Message& fallback, Message* message,
                        uint8_t* data, size_t size, size_t capacity) {
  for (int attempt = 0; attempt < 4; ++attempt) {
    if (!message->ParseFromArray(data, static_cast<int>(size))) message->CopyFrom(fallback);
    mutator->Mutate(message);
    if (message->ByteSizeLong() > capacity) continue;
    const std::string bytes = message->SerializeAsString();
    std::memcpy(data, bytes.data(), bytes.size());
    return bytes.size();
  }
  return std::min(size, capacity);
}

}  // namespace forall::testing
