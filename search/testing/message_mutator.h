// SPDX-License-Identifier: Apache-2.0
// Changes protocol messages as a fuzzer wants them changed: by their fields, so that what comes out
// is always a message again, and reaches further than bytes that were flipped.
#ifndef FORALL_SEARCH_TESTING_MESSAGE_MUTATOR_H_
#define FORALL_SEARCH_TESTING_MESSAGE_MUTATOR_H_

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/random.h"

namespace forall::testing {

// A pure function of seed, options and messages. Works on generated and on dynamic messages.
// Thread-compatible.
class MessageMutator {
 public:
  struct Options {
    // Messages within messages; deeper ones are not made.
    int max_depth = 8;
    // Elements of one repeated field or map; more are not made.
    int max_elements = 100;
    // Texts that a field may be set to, beside those that are made up: names, ids, metrics.
    std::vector<std::string> words = {};
    // Changes up to `size` bytes at `data`, which has room for `capacity`; returns the new size.
    // As LLVMFuzzerMutate; by default a few bytes are changed at random.
    std::function<size_t(uint8_t* data, size_t size, size_t capacity)> mutate_bytes = {};
  };
  MessageMutator(uint64_t seed, Options options);

  // One to four changes, each anywhere in `message`: a field is set, changed, cleared; an element
  // is added, copied, moved, removed; a message within is filled or emptied.
  void Mutate(google::protobuf::Message* message);
  // A message within `from` takes the place of one of its type within `to`, or joins its like. Does
  // nothing when the two have no type in common. `from` and `to` may not be the same.
  void CrossOver(const google::protobuf::Message& from, google::protobuf::Message* to);

  // Valid UTF-8 that is most like `text`: what may stand in a field of type string.
  static std::string ToUtf8(const std::string& text);

 private:
  struct Site;

  void MutateOnce(google::protobuf::Message* message);
  Site PickSite(google::protobuf::Message* message);
  void MutateField(const Site& site);
  void MutateRepeated(const Site& site);
  void SetSingular(const Site& site);
  // Sets the field, or the element of it that has `index`; `change` starts from what is there.
  void SetValue(const Site& site, int index, bool change);
  void AddElement(const Site& site);
  // Sets some fields of a new message.
  void Fill(google::protobuf::Message* message, int depth);
  template <typename T>
  T Integer(T old, bool change);
  double Real(double old, bool change);
  std::string Bytes(const std::string& old, bool change);
  std::string Text(const std::string& old, bool change);
  int Enum(const google::protobuf::EnumDescriptor& type);
  bool OneIn(uint64_t n) { return random_.Uniform(n) == 0; }

  Random random_;
  const Options options_;
};

// What libFuzzer's hooks want: bytes in, bytes out. `message` is of the input's type and is
// overwritten. Bytes that do not parse are replaced by `fallback`. The result has at most
// `capacity` bytes; where no change fits, it is the input, or nothing.
size_t MutateSerialized(MessageMutator* mutator, const google::protobuf::Message& fallback,
                        google::protobuf::Message* message, uint8_t* data, size_t size,
                        size_t capacity);

}  // namespace forall::testing

#endif  // FORALL_SEARCH_TESTING_MESSAGE_MUTATOR_H_
