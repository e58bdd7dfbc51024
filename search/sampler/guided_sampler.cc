// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/guided_sampler.h"

#include <cstring>
#include <optional>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "search/sampler/fresh_proposals.h"
#include "search/sampler/known_subnets.h"
#include "search/sampler/option_checks.h"
#include "search/sampler/settled_history.h"

namespace forall {
namespace {

absl::Status CheckMetrics(absl::Span<const SearchedMetric> metrics, absl::string_view field) {
  for (size_t i = 0; i < metrics.size(); ++i) {
    if (metrics[i].kind == SearchedMetric::Kind::kKnown && metrics[i].value == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat(field, "[", i, "] is known without measuring, but has no value"));
    }
  }
  return absl::OkStatus();
}

class Fingerprint {
 public:
  void Add(uint64_t value) { hash_ = SplitMix64(hash_ ^ SplitMix64(value)); }
  void Add(double value) {
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof(bits));
    Add(bits);
  }
  void Add(const ScoredTrial& trial) {
    Add(static_cast<uint64_t>(trial.id));
    for (const int32_t choice : trial.architecture.choices) Add(static_cast<uint64_t>(choice));
    for (const double value : trial.objectives) Add(value);
    for (const double value : trial.limited) Add(value);
    Add(trial.constraint_violation);
  }
  uint64_t value() const { return hash_; }

 private:
  uint64_t hash_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Sampler>> GuidedSampler::Create(SamplerOptions options,
                                                               SearchSpace space, uint64_t seed) {
  FORALL_RETURN_IF_ERROR(CheckInitialOptions(options, "guided"));
  FORALL_RETURN_IF_ERROR(CheckPositive(options.guided.initial_samples, "guided.initial_samples"));
  FORALL_RETURN_IF_ERROR(CheckPositive(options.guided.batch, "guided.batch"));
  FORALL_RETURN_IF_ERROR(CheckPositive(options.guided.candidates, "guided.candidates"));
  if (options.objectives.empty()) {
    return absl::InvalidArgumentError("sampler guided needs to know the job's objectives");
  }
  FORALL_RETURN_IF_ERROR(CheckMetrics(options.objectives, "objectives"));
  FORALL_RETURN_IF_ERROR(CheckMetrics(options.limited, "limited"));
  return absl::WrapUnique<Sampler>(new GuidedSampler(std::move(options), std::move(space), seed));
}

GuidedSampler::GuidedSampler(SamplerOptions options, SearchSpace space, uint64_t seed)
    : options_(std::move(options)),
      region_(std::move(space), options_.admissible, seed, options_.anchors),
      initial_(region_, options_.cost, options_.guided.initial_samples),
      seed_(seed) {}

std::shared_ptr<const GuidedPlan> GuidedSampler::PlanFor(const ProposeRequest& request,
                                                         int64_t index) const {
  const int64_t batch = index / options_.guided.batch;
  std::vector<ScoredTrial> settled =
      SettledHistory(request.history, batch * options_.guided.batch, kGuidedUnsettled);
  Fingerprint fingerprint;
  fingerprint.Add(static_cast<uint64_t>(batch));
  for (const ScoredTrial& trial : request.known) fingerprint.Add(trial);
  for (const ScoredTrial& trial : settled) fingerprint.Add(trial);

  const MutexLock lock(&mutex_);
  if (plan_ != nullptr && plan_fingerprint_ == fingerprint.value()) return plan_;
  if (space_ == nullptr) {
    absl::StatusOr<std::unique_ptr<const GuidedSpace>> space =
        GuidedSpace::Create(region_.space(), options_);
    if (!space.ok()) return nullptr;
    space_ = *std::move(space);
  }
  plan_ =
      std::make_shared<const GuidedPlan>(*space_, options_, region_, request.known,
                                         std::move(settled), batch * options_.guided.batch, seed_);
  plan_fingerprint_ = fingerprint.value();
  return plan_;
}

std::vector<Proposal> GuidedSampler::Propose(const ProposeRequest& request) const {
  std::vector<Proposal> proposals;
  std::vector<Architecture> pending(request.pending.begin(), request.pending.end());
  // Only how a job begins hangs on it.
  std::optional<KnownSubnets> known;
  if (request.proposed_so_far < initial_.samples()) {
    known.emplace(region_, options_, request.known);
  }
  for (int slot = 0; slot < request.slots; ++slot) {
    ProposeRequest one = request;
    one.pending = pending;
    one.slots = 1;
    one.proposed_so_far = request.proposed_so_far + slot;
    std::shared_ptr<const GuidedPlan> plan;
    if (!known.has_value() || one.proposed_so_far >= known->initial_samples()) {
      plan = PlanFor(one, one.proposed_so_far);
    }
    std::vector<Architecture> ranked =
        plan == nullptr ? std::vector<Architecture>() : plan->Rank(one);
    if (ranked.empty() && known.has_value() && one.proposed_so_far < initial_.samples()) {
      ranked = known->First(one);
    }
    std::vector<Proposal> found = FreshProposals(region_, one, seed_, Patience(),
                                                 [&](int64_t index, int attempt, Random* random) {
                                                   const auto place = static_cast<size_t>(attempt);
                                                   if (place < ranked.size()) return ranked[place];
                                                   if (index < initial_.samples())
                                                     return initial_.Draw(index, attempt, random);
                                                   return region_.space().Sample(random);
                                                 });
    if (found.empty()) break;
    if (plan != nullptr) found[0].predicted = plan->Predict(found[0].architecture);
    pending.push_back(found[0].architecture);
    proposals.push_back(std::move(found[0]));
  }
  return proposals;
}

}  // namespace forall
