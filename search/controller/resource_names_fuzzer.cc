// SPDX-License-Identifier: Apache-2.0
// Any text as each kind of resource name and page token: what is accepted is the one spelling that
// we write ourselves, and what is refused is refused in few words.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/log.h"
#include "base/random.h"
#include "search/controller/page_tokens.h"
#include "search/controller/resource_names.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t capacity);

namespace {

constexpr const char* kKinds[] = {"jobs", "trials", "workers", "supernets"};
constexpr size_t kMostMessage = 600;

// `names` writes what `parsed` holds.
template <typename T, typename Name>
void Check(absl::string_view text, const absl::StatusOr<T>& parsed, Name name) {
  if (parsed.ok()) {
    FORALL_CHECK(name(*parsed) == text) << name(*parsed) << " is also written " << text;
    return;
  }
  FORALL_CHECK(parsed.status().code() == absl::StatusCode::kInvalidArgument) << parsed.status();
  FORALL_CHECK(!parsed.status().message().empty() &&
               parsed.status().message().size() <= kMostMessage)
      << parsed.status();
}

const forall::PageTokens& Tokens() {
  static const auto* const tokens = new forall::PageTokens(
      {forall::LifeRecord{.epoch = 1, .secret = std::string(forall::kLifeSecretBytes, 's')}});
  return *tokens;
}

void CheckTokens(const std::string& text) {
  for (const char* kind : kKinds) {
    Check(text, Tokens().Read({kind}, text), [&](const std::string& position) {
      return text.empty() ? "" : Tokens().Make({kind}, position);
    });
    Check(text, Tokens().ReadNumber({kind}, text),
          [&](int64_t position) { return text.empty() ? "" : Tokens().Make({kind}, position); });
    // A token of this list is none of another, nor of another question.
    if (text.empty() || !Tokens().Read({kind}, text).ok()) continue;
    FORALL_CHECK(!Tokens().Read({kind, "searchJobs/1"}, text).ok());
    for (const char* other : kKinds) {
      FORALL_CHECK(other == kind || !Tokens().Read({other}, text).ok());
    }
  }
}

// What we write can be read.
void CheckWritten(const std::string& text) {
  int64_t number = 0;
  std::memcpy(&number, text.data(), std::min(text.size(), sizeof(number)));
  if (number > 0) {
    FORALL_CHECK(forall::ParseJobName(forall::JobName(number)).value() == number);
    FORALL_CHECK(forall::ParseTaskName(forall::TaskName(number)).value() == number);
    const auto trial = forall::ParseTrialName(forall::TrialName(7, number));
    FORALL_CHECK(trial.value().job == 7 && trial.value().ordinal == number);
    for (const char* kind : kKinds) {
      FORALL_CHECK(Tokens().ReadNumber({kind}, Tokens().Make({kind}, number)).value() == number);
    }
  }
  const auto asked = static_cast<int32_t>(number);
  const auto size = forall::CheckPageSize(asked, 50);
  FORALL_CHECK(size.ok() ? *size >= 1 && *size <= 1000 : asked < 0) << asked;
  if (!forall::CheckId(text, "id").ok()) return;
  FORALL_CHECK(forall::ParseWorkerName(forall::WorkerName(text)).value() == text);
  FORALL_CHECK(forall::ParseDeviceName(forall::DeviceName(text)).value() == text);
  FORALL_CHECK(forall::ParseSupernetName(forall::SupernetName(text)).value() == text);
  FORALL_CHECK(forall::ParseSearchSpaceName(forall::SearchSpaceName(text)).value() == text);
  for (const char* kind : kKinds) {
    FORALL_CHECK(Tokens().Read({kind}, Tokens().Make({kind}, text)).value() == text);
  }
}

std::string Word(forall::Random* random) {
  const auto number = static_cast<int64_t>(random->Next() >> (1 + random->Uniform(63)));
  switch (random->Uniform(10)) {
    case 0:
      return forall::JobName(number);
    case 1:
      return forall::TrialName(number, number);
    case 2:
      return forall::TaskName(number);
    case 3:
      return forall::SupernetName("fashion_mnist");
    case 4:
      return forall::SearchSpaceName("a.b");
    case 5:
      return forall::DeviceName("pi5-lab");
    case 6:
      return forall::WorkerName("w");
    case 7:
      return Tokens().Make({kKinds[random->Uniform(4)]}, number);
    case 8:
      return Tokens().Make({kKinds[random->Uniform(4)]}, "w");
    default:
      return absl::StrCat(number);
  }
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t capacity,
                                          unsigned seed) {
  forall::Random random(seed);
  const uint64_t how = random.Uniform(4);
  if (how >= 2) return LLVMFuzzerMutate(data, size, capacity);
  // A name instead, or put in somewhere.
  std::string text(reinterpret_cast<const char*>(data), how == 0 ? 0 : size);
  text.insert(random.Uniform(text.size() + 1), Word(&random));
  size = std::min(text.size(), capacity);
  std::memcpy(data, text.data(), size);
  return random.Uniform(2) == 0 ? size : LLVMFuzzerMutate(data, size, capacity);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  Check(text, forall::ParseJobName(text), forall::JobName);
  Check(text, forall::ParseTaskName(text), forall::TaskName);
  Check(text, forall::ParseTrialName(text),
        [](const forall::TrialId& id) { return forall::TrialName(id.job, id.ordinal); });
  Check(text, forall::ParseSupernetName(text), forall::SupernetName);
  Check(text, forall::ParseSearchSpaceName(text), forall::SearchSpaceName);
  Check(text, forall::ParseDeviceName(text), forall::DeviceName);
  Check(text, forall::ParseWorkerName(text), forall::WorkerName);
  CheckTokens(text);
  CheckWritten(text);
  return 0;
}
