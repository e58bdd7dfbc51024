// SPDX-License-Identifier: Apache-2.0
// Sequences of any requests of all services, on a controller of this process: see
// testing/call_sequence.h for what must hold whatever is asked.
#include <google/protobuf/message.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "base/log.h"
#include "base/random.h"
#include "search/service/testing/call_sequence.h"
#include "search/testing/message_mutator.h"

// Thousands of small allocations a sequence: where each came from, and holding on to what was
// freed, would take most of the time.
extern "C" const char* __asan_default_options() {
  return "malloc_context_size=3:quarantine_size_mb=16";
}

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t capacity);

namespace {

using ::forall::testing::MessageMutator;
using ::google::protobuf::Message;

MessageMutator NewMutator(unsigned seed) {
  static const auto& words = *new std::vector<std::string>(forall::testing::SequenceWords());
  return MessageMutator(seed, {.words = words, .mutate_bytes = LLVMFuzzerMutate});
}

const std::vector<std::unique_ptr<Message>>& Seeds() {
  static const auto& seeds =
      *new std::vector<std::unique_ptr<Message>>(forall::testing::SeedSequences());
  return seeds;
}

std::unique_ptr<Message> NewSequence() {
  return std::unique_ptr<Message>(forall::testing::EmptyCallSequence().New());
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  forall::SetLogLevel(forall::LogLevel::ERROR);
  const std::vector<std::string> undriven = forall::testing::UndrivenMethods();
  FORALL_CHECK(undriven.empty()) << "call_sequence.cc has no driver for "
                                 << absl::StrJoin(undriven, ", ");
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t capacity,
                                          unsigned seed) {
  MessageMutator mutator = NewMutator(seed);
  const std::unique_ptr<Message> sequence = NewSequence();
  // A new beginning now and then, and for what is no sequence.
  const bool begin = size == 0 || seed % 100 == 0;
  const Message& fallback = *Seeds()[forall::Random(seed).Uniform(Seeds().size())];
  if (begin) {
    const std::string bytes = fallback.SerializeAsString();
    if (bytes.size() > capacity) return size;
    std::copy(bytes.begin(), bytes.end(), data);
    size = bytes.size();
    if (seed % 2 == 0) return size;
  }
  return forall::testing::MutateSerialized(&mutator, fallback, sequence.get(), data, size,
                                           capacity);
}

extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t* data1, size_t size1,
                                            const uint8_t* data2, size_t size2, uint8_t* out,
                                            size_t capacity, unsigned seed) {
  const std::unique_ptr<Message> into = NewSequence();
  const std::unique_ptr<Message> from = NewSequence();
  if (!into->ParseFromArray(data1, static_cast<int>(size1)) ||
      !from->ParseFromArray(data2, static_cast<int>(size2))) {
    return 0;
  }
  NewMutator(seed).CrossOver(*from, into.get());
  if (into->ByteSizeLong() > capacity) return 0;
  const std::string bytes = into->SerializeAsString();
  std::copy(bytes.begin(), bytes.end(), out);
  return bytes.size();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::unique_ptr<Message> sequence = NewSequence();
  if (!sequence->ParseFromArray(data, static_cast<int>(size))) return 0;
  // A restart at the end costs about as much as the rest: every fourth input has one.
  const bool reopen = forall::Fnv1a64({reinterpret_cast<const char*>(data), size}) % 4 == 0;
  forall::testing::RunSequence(*sequence, reopen);
  return 0;
}
