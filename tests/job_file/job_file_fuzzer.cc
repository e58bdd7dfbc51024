// SPDX-License-Identifier: Apache-2.0
// Any text as a job file, and any job as the job file that a report shows: what is read can be
// sent, and what a report shows of a job that was accepted is read as that job again.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/random.h"
#include "cli/job_file.h"
#include "search/controller/job_validator.h"
#include "search/report/method_section.h"
#include "search/testing/message_mutator.h"
#include "space/metric_registry.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t capacity);

namespace {

using ::forall::testing::MessageMutator;
using ::forall::v1::SearchJobSpec;

// The first byte of an input that is a spec, serialized; no text begins so.
constexpr uint8_t kSpec = 1;

std::vector<std::string> Words() {
  std::vector<std::string> words = {"supernets/fashion_mnist",
                                    "fashion_mnist",
                                    "devices/pi5-lab",
                                    "x86-64",
                                    "fp32",
                                    "fp16",
                                    "guided",
                                    "nsga2",
                                    "screening",
                                    "standard",
                                    "final",
                                    std::string(64, 'a'),
                                    "a: b",
                                    "- c",
                                    "#",
                                    "\"",
                                    "'",
                                    "&a",
                                    "*a",
                                    "!!binary ",
                                    "|\n",
                                    "\\u0000",
                                    "~",
                                    "\xc2\x85",
                                    "\xe2\x80\xa8"};
  for (const auto& metric : forall::Metrics()) words.push_back(metric.id);
  return words;
}

std::string TextWord(forall::Random* random) {
  static const auto& words = *new std::vector<std::string>{"name: ",
                                                           "supernet: ",
                                                           "objectives: [",
                                                           "constraints: [",
                                                           "sampler: {algorithm: ",
                                                           "population_size: ",
                                                           "mutation_probability: ",
                                                           "budget: {max_trials: ",
                                                           "max_duration: ",
                                                           "plateau_trials: ",
                                                           "plateau_improvement: ",
                                                           "fidelity: {screening_images: ",
                                                           "final_images: ",
                                                           "calibration_images: ",
                                                           "calibration_seed: ",
                                                           "test_split: true",
                                                           "part_images: ",
                                                           "tiers: [",
                                                           "screening_latency: ",
                                                           "final_latency: {base: final",
                                                           "target_half_width: ",
                                                           "min_runs: ",
                                                           "max_runs: ",
                                                           "sessions: ",
                                                           "fresh: false",
                                                           "seed: ",
                                                           "dataset: ",
                                                           "parallelism: ",
                                                           "priority: ",
                                                           "weight: ",
                                                           "recipe: fp32",
                                                           "accuracy_predictor: ",
                                                           "cold_start: true",
                                                           "latency_tables: [",
                                                           "accuracy_top1",
                                                           "latency_ms@pi5-lab",
                                                           "latency_ms@class:x",
                                                           "macs<=50M",
                                                           ":batch=8",
                                                           ":grid=386",
                                                           "2h",
                                                           "1e400",
                                                           "nan",
                                                           "-1",
                                                           "9223372036854775808",
                                                           "}",
                                                           "]",
                                                           ", ",
                                                           "\n",
                                                           "\n  ",
                                                           "[[[[[[[[",
                                                           "{a: {a: {a: {a: ",
                                                           "&a [*a, *a]",
                                                           "? ",
                                                           "<<: *a",
                                                           "---\n",
                                                           "%YAML 1.2",
                                                           "!!str ",
                                                           "\"\\x00\"",
                                                           "\"\\ud800\"",
                                                           "| \n  x"};
  return words[random->Uniform(words.size())];
}

SearchJobSpec SeedSpec() {
  SearchJobSpec spec;
  spec.set_supernet("supernets/fashion_mnist");
  spec.add_objectives()->set_metric("accuracy_top1");
  spec.add_objectives()->set_metric("latency_ms");
  spec.mutable_objectives(1)->mutable_condition()->set_device("devices/pi5-lab");
  spec.add_constraints()->set_metric("macs");
  spec.mutable_constraints(0)->set_at_most(5e7);
  spec.mutable_sampler()->set_algorithm("guided");
  spec.mutable_budget()->set_max_trials(20);
  spec.mutable_budget()->mutable_max_duration()->set_seconds(7200);
  return spec;
}

// What a report shows of a job can be submitted again and is the same job.
void CheckShown(SearchJobSpec spec) {
  if (!forall::ValidateSearchJobSpec(spec).ok()) return;
  forall::FillDefaults("fashion_mnist", &spec);
  bool complete = false;
  const std::string shown = forall::JobFileJson(spec, &complete);
  if (!complete) return;
  const absl::StatusOr<SearchJobSpec> read = forall::ParseJobFile(shown);
  FORALL_CHECK(read.ok()) << read.status() << " in " << shown;
  const absl::Status valid = forall::ValidateSearchJobSpec(*read);
  FORALL_CHECK(valid.ok()) << valid << " in " << shown;
  const std::string again = forall::JobFileJson(*read, &complete);
  FORALL_CHECK(again == shown && complete) << again << " instead of " << shown;
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t capacity,
                                          unsigned seed) {
  forall::Random random(seed);
  if (capacity < 2) return LLVMFuzzerMutate(data, size, capacity);
  if (size == 0 && random.Uniform(2) == 0) data[size++] = kSpec;
  if (size > 0 && data[0] == kSpec) {
    static const auto& words = *new std::vector<std::string>(Words());
    MessageMutator mutator(seed, {.words = words, .mutate_bytes = LLVMFuzzerMutate});
    SearchJobSpec spec;
    if (size == 1) {
      const std::string begin = SeedSpec().SerializeAsString();
      if (begin.size() >= capacity) return size;
      std::copy(begin.begin(), begin.end(), data + 1);
      size = 1 + begin.size();
    }
    return 1 + forall::testing::MutateSerialized(&mutator, SeedSpec(), &spec, data + 1, size - 1,
                                                 capacity - 1);
  }
  if (random.Uniform(2) == 0) return LLVMFuzzerMutate(data, size, capacity);
  std::string text(reinterpret_cast<const char*>(data), size);
  for (uint64_t i = random.Uniform(3) + 1; i > 0; --i) {
    text.insert(random.Uniform(text.size() + 1), TextWord(&random));
  }
  size = std::min(text.size(), capacity);
  std::memcpy(data, text.data(), size);
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0 && data[0] == kSpec) {
    SearchJobSpec spec;
    if (spec.ParseFromArray(data + 1, static_cast<int>(size - 1))) CheckShown(spec);
    return 0;
  }
  const std::string text(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<SearchJobSpec> spec = forall::ParseJobFile(text);
  if (!spec.ok()) {
    FORALL_CHECK(spec.status().code() == absl::StatusCode::kInvalidArgument &&
                 !spec.status().message().empty())
        << spec.status();
    return 0;
  }
  SearchJobSpec sent;
  FORALL_CHECK(sent.ParseFromString(spec->SerializeAsString())) << "it cannot be sent";
  CheckShown(*spec);
  return 0;
}
