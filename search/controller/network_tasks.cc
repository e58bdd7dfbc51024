// SPDX-License-Identifier: Apache-2.0
#include "search/controller/network_tasks.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "search/controller/job_controller.h"
#include "search/controller/resource_names.h"
#include "space/cost_model.h"
#include "space/family.h"
#include "space/identity.h"
#include "space/network_blocks.h"
#include "space/recipe.h"

namespace forall {
namespace {

constexpr int kMostSubjects = 1024;
constexpr size_t kMostSpecSize = 64 << 10;
// In memory at once; further ones wait. A task has about 2 KiB beside its spec, of which there is
// one copy.
constexpr size_t kMostEntries = 20'000;
constexpr int32_t kMostBatch = 1024;
// Workers make them in memory (local_task_executor.cc has the same bound).
constexpr int64_t kMostWeightBytes = int64_t{1} << 30;

// The latency profiles, from the least precise on.
constexpr const char* kProfiles[] = {"screening", "standard", "final"};

template <typename... Parts>
absl::Status Invalid(absl::string_view field, const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", parts...));
}

// Everything of a request that all its subjects share.
struct Common {
  std::shared_ptr<const Family> family;
  std::shared_ptr<const std::string> spec;
  DeploymentRecipe recipe;
  std::string recipe_name;
  int32_t batch = 1;
  std::string profile;
};

absl::StatusOr<Common> CommonOf(const v1::MeasureNetworksRequest& request) {
  Common common;
  if (request.spec().size() > kMostSpecSize) {
    return Invalid("spec", "at most ", kMostSpecSize, " bytes");
  }
  absl::StatusOr<std::shared_ptr<const Family>> family = FamilyFromSpec(request.spec());
  if (!family.ok()) return Invalid("spec", family.status().message());
  common.family = *std::move(family);
  common.spec = std::make_shared<const std::string>(common.family->Spec());
  common.recipe_name = request.recipe().empty() ? "fp32" : request.recipe();
  absl::StatusOr<DeploymentRecipe> recipe = ParseRecipe(common.recipe_name);
  if (!recipe.ok()) return Invalid("recipe", recipe.status().message());
  common.recipe = *std::move(recipe);
  if (request.batch() < 0 || request.batch() > kMostBatch) {
    return Invalid("batch", "from 1 to ", kMostBatch, ", got ", request.batch());
  }
  common.batch = request.batch() == 0 ? 1 : request.batch();
  common.profile = request.latency_profile().empty() ? "standard" : request.latency_profile();
  bool known = false;
  for (const char* profile : kProfiles) known = known || common.profile == profile;
  if (!known) {
    return Invalid("latency_profile", "\"", common.profile, "\" is none of ",
                   absl::StrJoin(kProfiles, ", "));
  }
  if (request.subjects().empty() || request.subjects_size() > kMostSubjects) {
    return Invalid("subjects", "from 1 to ", kMostSubjects, ", got ", request.subjects_size());
  }
  return common;
}

absl::StatusOr<NetworkTask> NetworkTaskOf(const Common& common, const v1::NetworkSubject& subject) {
  const SearchSpace& space = common.family->search_space();
  Architecture architecture;
  architecture.search_space = space.id();
  architecture.revision = space.revision();
  architecture.choices.assign(subject.choices().begin(), subject.choices().end());
  FORALL_ASSIGN_OR_RETURN(Network network, common.family->Describe(architecture));
  const int32_t resolution = static_cast<int32_t>(network.input.height);
  if (subject.part() != 0) {
    FORALL_ASSIGN_OR_RETURN(const std::vector<LayerRange> parts, PartsOf(network));
    if (subject.part() < 0 || subject.part() > static_cast<int32_t>(parts.size())) {
      return Invalid("part", "from 0 to ", parts.size(), ", got ", subject.part());
    }
    FORALL_ASSIGN_OR_RETURN(network,
                            CutNetwork(network, parts[static_cast<size_t>(subject.part() - 1)]));
  }
  if (const int64_t bytes = CountCosts(network, common.recipe).model_bytes;
      bytes > kMostWeightBytes) {
    return Invalid("spec", "a network with weights of ", bytes, " bytes; at most ",
                   kMostWeightBytes);
  }
  NetworkTask task;
  bool precise = false;
  for (const char* profile : kProfiles) {
    precise = precise || common.profile == profile;
    if (precise) {
      task.subjects.push_back(TimingKey(network, common.batch, common.recipe, profile));
    }
  }
  task.wire.set_kind(v1::Task::LATENCY);
  task.wire.set_graph_key(task.subjects.front());
  task.wire.set_fidelity("screening");
  task.wire.set_latency_profile(common.profile);
  task.wire.set_recipe(common.recipe_name);
  task.wire.set_batch(common.batch);
  task.wire.set_resolution(resolution);
  task.spec = common.spec;
  task.wire.set_network_part(subject.part());
  v1::Architecture* message = task.wire.mutable_architecture();
  message->set_search_space(architecture.search_space);
  message->set_revision(architecture.revision);
  for (const int32_t choice : architecture.choices) message->add_choices(choice);
  return task;
}

std::string KeyText(const v1::Task& wire, const std::string& fingerprint) {
  return absl::StrCat(wire.graph_key(), "\n", wire.device(), "\n", fingerprint, "\n",
                      wire.profile());
}

// The newest measurement of the subject that is good for something; a trusted one goes first. 0
// when there is none.
int64_t Known(const std::string& subject, const v1::Task& wire, const std::string& fingerprint,
              const MeasurementIndex& index) {
  const std::string device = ParseDeviceName(wire.device()).value_or("");
  int64_t known = 0;
  bool trusted = false;
  for (const MeasurementRecord* record : index.About(subject)) {
    if (record->verdict == VerdictState::kRejected || !record->retracted_by.empty() ||
        record->key.device != device || record->key.device_fingerprint != fingerprint ||
        record->key.profile != wire.profile()) {
      continue;
    }
    const bool this_trusted = record->verdict == VerdictState::kTrusted;
    if (trusted && !this_trusted) continue;
    known = record->id;
    trusted = this_trusted;
  }
  return known;
}

}  // namespace

absl::StatusOr<std::vector<NetworkTask>> NetworkTasksOf(const v1::MeasureNetworksRequest& request) {
  FORALL_ASSIGN_OR_RETURN(const Common common, CommonOf(request));
  std::vector<NetworkTask> tasks;
  for (int i = 0; i < request.subjects_size(); ++i) {
    absl::StatusOr<NetworkTask> task = NetworkTaskOf(common, request.subjects(i));
    if (!task.ok()) return WithContext(task.status(), absl::StrCat("subjects[", i, "]"));
    tasks.push_back(*std::move(task));
  }
  return tasks;
}

v1::NetworkTiming NetworkTasks::Ask(const NetworkTask& task, const std::string& fingerprint,
                                    const MeasurementIndex& index, LeaseTable* leases,
                                    int64_t* measured) {
  v1::NetworkTiming timing;
  *measured = 0;
  for (const std::string& subject : task.subjects) {
    *measured = Known(subject, task.wire, fingerprint, index);
    if (*measured == 0) continue;
    timing.set_state(v1::NetworkTiming::MEASURED);
    return timing;
  }
  const std::string key = KeyText(task.wire, fingerprint);
  if (entries_.size() >= kMostEntries && entries_.count(key) == 0) {
    timing.set_state(v1::NetworkTiming::WAITING);  // It is queued when there is room.
    return timing;
  }
  Entry& entry = entries_[key];
  entry.asked_ns = options_.clock->SteadyNanos();
  if (!entry.error.empty()) {
    timing.set_state(v1::NetworkTiming::FAILED);
    timing.set_error(entry.error);
    return timing;
  }
  if (entry.task == 0) {
    entry.spec = Share(task.spec);
    if (entry.spec == nullptr) {
      timing.set_state(v1::NetworkTiming::WAITING);  // As above.
      return timing;
    }
    entry.wire = task.wire;
    entry.task = kFirstId + (options_.epoch << 32) + ++next_;
    open_[entry.task] = key;
    leases->AddTask({entry.task, kJob, NeedsOf(entry.wire, fingerprint), 0, {}, task.work});
  }
  timing.set_state(leases->IsLeased(entry.task) ? v1::NetworkTiming::RUNNING
                                                : v1::NetworkTiming::WAITING);
  return timing;
}

std::shared_ptr<const std::string> NetworkTasks::Share(
    const std::shared_ptr<const std::string>& spec) {
  if (const auto known = specs_.find(spec); known != specs_.end()) return *known;
  if (spec_bytes_ + spec->size() > kMostSpecBytes) ForgetSpecs();
  if (spec_bytes_ + spec->size() > kMostSpecBytes) return nullptr;
  spec_bytes_ += spec->size();
  specs_.insert(spec);
  return spec;
}

void NetworkTasks::ForgetSpecs() {
  std::erase_if(specs_, [this](const auto& spec) {
    if (spec.use_count() > 1) return false;
    spec_bytes_ -= spec->size();
    return true;
  });
}

NetworkTasks::Entry* NetworkTasks::EntryOf(int64_t id) {
  const auto open = open_.find(id);
  return open == open_.end() ? nullptr : &entries_.at(open->second);
}

const v1::Task* NetworkTasks::Find(int64_t id) const {
  const auto open = open_.find(id);
  return open == open_.end() ? nullptr : &entries_.at(open->second).wire;
}

const std::string* NetworkTasks::FindSpec(int64_t id) const {
  const auto open = open_.find(id);
  return open == open_.end() ? nullptr : entries_.at(open->second).spec.get();
}

absl::Status NetworkTasks::Closed(int64_t id, const std::string& token,
                                  const std::string& fingerprint) const {
  for (const auto& [key, entry] : entries_) {
    if (entry.closed_task != id || entry.closed_token != token) continue;
    if (entry.closed_fingerprint == fingerprint) return absl::OkStatus();
    return absl::AlreadyExistsError(
        absl::StrCat(TaskName(id), " was completed with another result under this lease"));
  }
  return absl::AbortedError(absl::StrCat(
      TaskName(id), " is not open any more: nobody asks for it; this result is not counted"));
}

void NetworkTasks::Close(Entry* entry, const std::string& token, const std::string& fingerprint) {
  open_.erase(entry->task);
  entry->closed_task = entry->task;
  entry->closed_token = token;
  entry->closed_fingerprint = fingerprint;
  entry->task = 0;
  entry->spec = nullptr;
}

void NetworkTasks::Completed(int64_t id, const std::string& token, const std::string& fingerprint,
                             const std::string& rejected_because) {
  Entry* const entry = EntryOf(id);
  if (entry == nullptr) return;
  Close(entry, token, fingerprint);
  if (rejected_because.empty() || ++entry->rejections < kAttempts) return;
  entry->error =
      absl::StrCat("rejected ", kAttempts, " times, the last time because: ", rejected_because,
                   "; see that the device is idle and cool");
}

void NetworkTasks::Failed(int64_t id, const std::string& token, const std::string& fingerprint,
                          const std::string& message) {
  Entry* const entry = EntryOf(id);
  if (entry == nullptr) return;
  Close(entry, token, fingerprint);
  entry->error = message.empty() ? "its task failed" : message;
}

void NetworkTasks::Clear() {
  entries_.clear();
  open_.clear();
  ForgetSpecs();
}

void NetworkTasks::Expire(LeaseTable* leases) {
  const int64_t before = options_.clock->SteadyNanos() - absl::ToInt64Nanoseconds(kPatience);
  for (auto it = entries_.begin(); it != entries_.end();) {
    Entry& entry = it->second;
    // What a worker has begun it may end: the result will be asked for again.
    if (entry.asked_ns > before || (entry.task != 0 && leases->IsLeased(entry.task))) {
      ++it;
      continue;
    }
    if (entry.task != 0) {
      leases->RemoveTask(entry.task);
      open_.erase(entry.task);
    }
    it = entries_.erase(it);
  }
  ForgetSpecs();
}

}  // namespace forall
