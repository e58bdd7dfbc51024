// SPDX-License-Identifier: Apache-2.0
// Frontier queries against their rules, word for word and by brute force, over made-up histories in
// which everything occurs that a measurement can be.
#include "search/controller/frontier_query.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "base/testing/matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "search/controller/job_event.h"
#include "search/controller/job_validator.h"
#include "search/controller/paired_test.h"
#include "search/controller/resource_names.h"
#include "search/pareto/dominance.h"
#include "space/identity.h"

namespace forall {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr char kSupernet[] = "fashion_mnist";
constexpr int kImages[] = {40, 200};

// A registry as a controller has it, filled by chance.
class World {
 public:
  explicit World(uint64_t seed) : random_(seed), family_(FindFamily(kSupernet).value()) {
    registry_.supernets[kSupernet] = {
        {.id = kSupernet, .sha256 = "s1", .spec = {}, .dataset = kSupernet, .create_time = {}},
        family_};
    for (const char* device : {"pc", "pi"}) {
      registry_.devices[device].id = device;
      registry_.devices[device].fingerprint = "f2";
    }
    // Few subnets, so that jobs share them.
    for (int i = 0; i < 25; ++i) pool_.push_back(family_->search_space().Sample(&random_));
    for (int i = 0; i < 200; ++i) difficulty_.push_back(random_.Double());
  }

  // `limit_ms`: a constraint on the latency, 0 for none.
  absl::Status AddJob(const std::string& supernet, const std::string& recipe, int batch,
                      double limit_ms = 0) {
    v1::SearchJobSpec spec;
    spec.set_supernet(SupernetName(kSupernet));
    spec.add_objectives()->set_metric("accuracy_top1");
    spec.add_objectives()->set_metric("latency_ms");
    spec.mutable_objectives(1)->mutable_condition()->set_batch(batch);
    if (limit_ms > 0) {
      v1::Constraint* const limit = spec.add_constraints();
      limit->set_metric("latency_ms");
      limit->set_at_most(limit_ms);
      limit->mutable_condition()->set_batch(batch);
    }
    spec.set_recipe(recipe);
    spec.mutable_budget()->set_max_trials(100);
    FillDefaults(kSupernet, &spec);
    JobRecord record;
    record.id = static_cast<int64_t>(registry_.jobs.size()) + 1;
    record.spec = spec.SerializeAsString();
    record.supernet_sha256 = supernet;
    FORALL_ASSIGN_OR_RETURN(registry_.jobs[record.id],
                            JobController::Create(record, family_, JobFiles(), &registry_.index,
                                                  /*host=*/nullptr));
    JobController* const job = registry_.jobs[record.id].get();
    FORALL_RETURN_IF_ERROR(Apply(job, {.kind = "submitted"}));
    FORALL_RETURN_IF_ERROR(Apply(job, {.kind = "bound",
                                       .target = 0,
                                       .device = "pc",
                                       .fingerprint = Chance(0.3) ? "f1" : "f2",
                                       .profile = "p1"}));
    for (const Architecture& architecture : pool_) {
      if (Chance(0.3)) continue;
      FORALL_RETURN_IF_ERROR(AddTrial(architecture, job));
    }
    return absl::OkStatus();
  }

  // Of a subject that some trial has.
  void MeasureSomething() {
    const JobFold& fold = AnyJob()->fold();
    if (fold.trials().empty()) return;
    const TrialEntry& trial = fold.trials()[random_.Uniform(fold.trials().size())];
    const std::string& artifact = trial.artifact_sha256;
    if (Chance(0.5)) {
      if (!artifact.empty()) Accuracy(artifact, Chance(0.5) ? 0 : 1);
      return;
    }
    const int batch = Chance(0.5) ? 1 : 2;
    const char* const recipe = Chance(0.7) ? "fp32" : "fp16";
    const bool by_graph = artifact.empty() || Chance(0.5);
    Latency(by_graph ? GraphKey(trial.record.arch_key, trial.resolution, batch,
                                ParseRecipe(recipe).value())
                     : artifact,
            recipe, batch);
  }

  // Final numbers come to a trial that was measured, now and then without its screening ones.
  absl::Status FinalizeSomething() {
    JobController* const job = AnyJob();
    const JobFold& fold = job->fold();
    std::vector<int64_t> measured;
    for (const TrialEntry& trial : fold.trials()) {
      if (trial.state == TrialState::kMeasured) measured.push_back(trial.record.ordinal);
    }
    if (measured.empty()) return absl::OkStatus();
    const int64_t ordinal = measured[random_.Uniform(measured.size())];
    const std::string artifact = fold.FindTrial(ordinal)->artifact_sha256;
    const FidelityLevel level = Chance(0.8) ? FidelityLevel::kFinal : FidelityLevel::kScreening;
    const int64_t accuracy = Accuracy(artifact, 1, level, /*counts=*/true);
    return Apply(job, {.kind = "measured",
                       .trial = ordinal,
                       .measurements = {accuracy},
                       .fidelity = "final",
                       .split = "validation"});
  }

  const Registry& registry() const { return registry_; }
  Random* random() { return &random_; }
  bool Chance(double p) { return random_.Double() < p; }

 private:
  JobController* AnyJob() {
    return std::next(registry_.jobs.begin(),
                     static_cast<int64_t>(random_.Uniform(registry_.jobs.size())))
        ->second.get();
  }

  static absl::Status Apply(JobController* job, JobEvent event) {
    event.sequence = job->fold().sequence() + 1;
    return job->Replay(ToRecord(job->fold().record().id, event));
  }

  absl::Status AddTrial(const Architecture& architecture, JobController* job) {
    const JobFold& fold = job->fold();
    const int64_t ordinal = static_cast<int64_t>(fold.trials().size()) + 1;
    FORALL_RETURN_IF_ERROR(Apply(job, {.kind = "proposed",
                                       .trial = ordinal,
                                       .trial_id = ++last_trial_,
                                       .choices = architecture.choices}));
    if (Chance(0.1)) return absl::OkStatus();
    const TrialEntry& trial = fold.trials().back();
    const std::string recipe = fold.plan().spec().recipe();
    const std::string artifact =
        absl::StrCat("artifact-", trial.record.arch_key, recipe, fold.record().supernet_sha256);
    FORALL_RETURN_IF_ERROR(
        Apply(job, {.kind = "exported", .trial = ordinal, .artifact = artifact}));
    if (Chance(0.1)) return absl::OkStatus();
    const FidelityLevel level = Chance(0.8) ? FidelityLevel::kScreening : FidelityLevel::kFinal;
    const int64_t accuracy = Accuracy(artifact, 0, level, /*counts=*/true);
    FORALL_RETURN_IF_ERROR(Apply(job, {.kind = "measured",
                                       .trial = ordinal,
                                       .measurements = {accuracy},
                                       .fidelity = "screening",
                                       .split = "validation"}));
    if (Chance(0.1)) return absl::OkStatus();
    const LatencyTarget& target = fold.plan().targets()[0];
    const int64_t latency = Latency(LatencyGraphKey(fold.plan(), fold.trials().back(), 0), recipe,
                                    target.batch, /*counts=*/true);
    FORALL_RETURN_IF_ERROR(Apply(job, {.kind = "measured",
                                       .trial = ordinal,
                                       .target = 0,
                                       .measurements = {latency},
                                       .fidelity = "screening"}));
    const std::string broken = fold.plan().DescribeViolation(*fold.Values(fold.trials().back()));
    return Apply(job, {.kind = "decided",
                       .trial = ordinal,
                       .state = static_cast<int>(broken.empty() ? TrialState::kMeasured
                                                                : TrialState::kInfeasible),
                       .message = broken});
  }

  MeasurementRecord NewRecord(const std::string& subject, bool counts) {
    MeasurementRecord record;
    record.id = registry_.index.highest_id() + 1 + static_cast<int64_t>(random_.Uniform(2));
    record.key.subject = subject;
    record.key.recipe = "fp32";
    record.fidelity = Chance(0.3) ? FidelityLevel::kScreening : FidelityLevel::kFinal;
    record.verdict = Chance(0.97) ? VerdictState::kTrusted : VerdictState::kNoisy;
    if (!counts && Chance(0.15)) record.verdict = VerdictState::kRejected;
    if (!counts && Chance(0.1)) record.retracted_by = "somebody";
    return record;
  }

  int64_t Accuracy(const std::string& artifact, size_t images) {
    return Accuracy(artifact, images,
                    Chance(0.3) ? FidelityLevel::kScreening : FidelityLevel::kFinal, false);
  }
  int64_t Accuracy(const std::string& artifact, size_t images, FidelityLevel level, bool counts) {
    MeasurementRecord record = NewRecord(artifact, counts);
    record.key.metric = "accuracy_top1";
    record.key.dataset = kSupernet;
    record.key.split = !counts && Chance(0.1) ? "test" : "validation";
    if (absl::StrContains(artifact, "fp16")) record.key.recipe = "fp16";
    record.fidelity = level;
    record.sample_count = kImages[images];
    std::string bits(static_cast<size_t>((kImages[images] + 7) / 8), '\0');
    const double skill = 0.5 + 0.4 * random_.Double();
    int correct = 0;
    for (size_t i = 0; i < static_cast<size_t>(kImages[images]); ++i) {
      if (difficulty_[i] + 0.3 * (random_.Double() - 0.5) >= skill) continue;
      bits[i / 8] = static_cast<char>(bits[i / 8] | 1 << (i % 8));
      ++correct;
    }
    record.value = 100.0 * correct / kImages[images];
    const double half = Chance(0.5) ? 1 : 100 / std::sqrt(kImages[images]) * random_.Double();
    record.low = record.value - half;
    record.high = record.value + half;
    registry_.index.Add(record);
    if (Chance(0.8)) registry_.index.AddBitmap(record.id, bits);
    return record.id;
  }

  int64_t Latency(const std::string& subject, const std::string& recipe, int batch,
                  bool counts = false) {
    MeasurementRecord record = NewRecord(subject, counts);
    record.job_id = 1;
    record.key.metric = "latency_ms";
    record.key.recipe = recipe;
    record.key.device = Chance(0.7) ? "pc" : "pi";
    record.key.device_fingerprint = Chance(0.3) ? "f1" : "f2";
    record.key.profile = Chance(0.8) ? "p1" : "p2";
    record.key.batch = batch;
    // Ties are common.
    record.value = 1 + static_cast<double>(random_.Uniform(20)) / 4;
    const double half = Chance(0.7) ? 0 : 0.5 * random_.Double();
    record.low = record.value - half;
    record.high = record.value + half;
    registry_.index.Add(record);
    return record.id;
  }

  Random random_;
  std::shared_ptr<const Family> family_;
  std::vector<Architecture> pool_;
  std::vector<double> difficulty_;
  int64_t last_trial_ = 0;
  Registry registry_;
};

// The rules as frontier_query.h and job_fold.h say them, over every record and every pair.
class Oracle {
 public:
  Oracle(const Registry& registry, const v1::QueryParetoFrontierRequest& request)
      : registry_(registry), request_(request) {
    if (!request.parent().empty()) {
      job_ = &registry.jobs.at(ParseJobName(request.parent()).value())->fold();
    }
    own_ = request.objectives().empty();
    for (const v1::Objective& objective :
         own_ ? job_->plan().spec().objectives() : request.objectives()) {
      objectives_.push_back(objective);
    }
    for (const auto& [id, job] : registry.jobs) {
      const JobFold& fold = job->fold();
      if (job_ != nullptr ? &fold != job_ : fold.record().supernet_sha256 != "s1") continue;
      for (const TrialEntry& trial : fold.trials()) trials_.push_back({&fold, &trial, {}, {}});
    }
    if (job_ == nullptr) DropRepeated();
  }

  struct Candidate {
    const JobFold* fold;
    const TrialEntry* trial;
    std::vector<double> values = {};
    std::vector<const MeasurementRecord*> evidence = {};
    bool eligible = true;

    std::string Name() const { return TrialName(fold->record().id, trial->record.ordinal); }
  };

  std::vector<Candidate> Candidates() const {
    std::vector<Candidate> found;
    for (Candidate candidate : trials_) {
      if (job_ != nullptr && candidate.trial->state != TrialState::kMeasured) continue;
      bool good = true;
      for (const v1::Constraint& constraint : request_.constraints()) {
        const auto value = ValueOf(candidate, constraint.metric(), constraint.condition()).first;
        good &= value.has_value() && Excess(constraint, *value) == 0;
      }
      if (!good || !FillValues(&candidate)) continue;
      candidate.eligible = !own_ || job_->OnFrontier(candidate.trial->record.ordinal);
      found.push_back(std::move(candidate));
    }
    return found;
  }

  // Names and whether they are contested.
  std::vector<std::pair<std::string, bool>> Members() const {
    const std::vector<Candidate> all = Candidates();
    std::vector<const Candidate*> members;
    for (size_t i = 0; i < all.size(); ++i) {
      bool member = all[i].eligible;
      const std::vector<double> point = Oriented(all[i]);
      for (size_t j = 0; j < all.size() && member; ++j) {
        if (!all[j].eligible) continue;
        const std::vector<double> other = Oriented(all[j]);
        if (Dominates(other.data(), point.data(), static_cast<int>(point.size()))) member = false;
        if (j < i && other == point) member = false;
      }
      if (member) members.push_back(&all[i]);
    }
    std::stable_sort(members.begin(), members.end(), [&](const auto* a, const auto* b) {
      return Oriented(*a)[0] < Oriented(*b)[0];
    });
    std::vector<std::pair<std::string, bool>> answer;
    for (const Candidate* member : members) {
      answer.emplace_back(member->Name(), Contested(all, *member));
    }
    return answer;
  }

  // Name, and the sum of what it is beyond its limits, of the trials that a query may call closest.
  std::vector<std::pair<double, std::string>> Misses() const {
    std::vector<std::pair<double, std::string>> complete;
    std::vector<std::pair<double, std::string>> incomplete;
    for (Candidate candidate : trials_) {
      const TrialState state = candidate.trial->state;
      if (job_ != nullptr && state != TrialState::kMeasured && state != TrialState::kInfeasible) {
        continue;
      }
      bool all = true;
      double sum = 0;
      for (const v1::Constraint& constraint : request_.constraints()) {
        const auto value = ValueOf(candidate, constraint.metric(), constraint.condition()).first;
        all &= value.has_value();
        if (value.has_value()) sum += Excess(constraint, *value);
      }
      for (size_t i = 0; job_ != nullptr && i < job_->plan().limits().size(); ++i) {
        const auto value = job_->Value(*candidate.trial, job_->plan().limits()[i].slot);
        all &= value.has_value();
        if (value.has_value()) {
          sum += Excess(job_->plan().spec().constraints(static_cast<int>(i)), *value);
        }
      }
      all &= FillValues(&candidate);
      if (sum > 0) (all ? complete : incomplete).emplace_back(sum, candidate.Name());
    }
    std::vector<std::pair<double, std::string>>& misses = complete.empty() ? incomplete : complete;
    std::stable_sort(misses.begin(), misses.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    return misses;
  }

 private:
  void DropRepeated() {
    std::set<std::string> seen;
    std::erase_if(trials_, [&](const Candidate& candidate) {
      const TrialEntry& trial = *candidate.trial;
      const std::string& key =
          trial.artifact_sha256.empty() ? trial.record.arch_key : trial.artifact_sha256;
      return !seen.insert(key).second;
    });
  }

  static double Excess(const v1::Constraint& constraint, double value) {
    double excess = 0;
    if (constraint.has_at_most() && value > constraint.at_most()) {
      excess = (value - constraint.at_most()) / constraint.at_most();
    }
    if (constraint.has_at_least() && value < constraint.at_least()) {
      excess = (constraint.at_least() - value) / constraint.at_least();
    }
    return excess;
  }

  bool FillValues(Candidate* candidate) const {
    const JobFold& fold = *candidate->fold;
    for (size_t i = 0; i < objectives_.size(); ++i) {
      std::optional<double> value;
      const MeasurementRecord* evidence = nullptr;
      if (own_) {
        const int slot = fold.plan().objectives()[i].slot;
        evidence = fold.Evidence(*candidate->trial, slot);
        value = evidence != nullptr ? Compared(*candidate, *evidence)
                                    : fold.Value(*candidate->trial, slot);
      } else {
        std::tie(value, evidence) =
            ValueOf(*candidate, objectives_[i].metric(), objectives_[i].condition());
      }
      if (!value.has_value()) return false;
      candidate->values.push_back(*value);
      candidate->evidence.push_back(evidence);
    }
    return true;
  }

  std::string FingerprintFor(const v1::Condition& condition) const {
    if (job_ != nullptr && condition.device() == "devices/pc" && condition.profile() == "p1" &&
        job_->plan().targets()[0].batch == std::max(condition.batch(), 1)) {
      return job_->bindings()[0]->fingerprint;
    }
    return "f2";
  }

  bool Counts(const MeasurementRecord& record, const Candidate& candidate,
              const std::string& metric, const v1::Condition& condition) const {
    const MeasurementKey& key = record.key;
    const std::string recipe = !condition.recipe().empty() ? condition.recipe()
                               : job_ != nullptr           ? job_->plan().spec().recipe()
                                                           : "fp32";
    if (!record.retracted_by.empty() || record.verdict == VerdictState::kRejected ||
        key.metric != metric || key.recipe != recipe) {
      return false;
    }
    const TrialEntry& trial = *candidate.trial;
    const bool artifact = !trial.artifact_sha256.empty() && key.subject == trial.artifact_sha256;
    if (metric == "accuracy_top1") {
      return artifact && key.dataset == kSupernet && key.split == "validation";
    }
    const int batch = std::max(condition.batch(), 1);
    const std::string graph =
        GraphKey(trial.record.arch_key, trial.resolution, batch, ParseRecipe(recipe).value());
    return (artifact || key.subject == graph) && DeviceName(key.device) == condition.device() &&
           key.device_fingerprint == FingerprintFor(condition) &&
           key.profile == condition.profile() && key.batch == batch;
  }

  // Higher fidelity, then, for accuracies, more images, then the later one.
  static bool Better(const MeasurementRecord& a, const MeasurementRecord& b) {
    if (a.fidelity != b.fidelity) return a.fidelity == FidelityLevel::kFinal;
    if (a.key.metric == "accuracy_top1" && a.sample_count != b.sample_count) {
      return a.sample_count > b.sample_count;
    }
    return a.id > b.id;
  }

  std::pair<std::optional<double>, const MeasurementRecord*> ValueOf(
      const Candidate& candidate, const std::string& metric, const v1::Condition& condition) const {
    if (IsKnownUnmeasured(*FindMetric(metric))) {
      return {KnownValue(*candidate.trial, MetricSlot{FindMetric(metric)}), nullptr};
    }
    const MeasurementRecord* best = nullptr;
    for (const MeasurementRecord& record : registry_.index.all()) {
      if (Counts(record, candidate, metric, condition) &&
          (best == nullptr || Better(record, *best))) {
        best = &record;
      }
    }
    if (best == nullptr) return {std::nullopt, nullptr};
    return {Compared(candidate, *best), best};
  }

  static bool Final(const TrialEntry& trial, const MeasurementRecord& record) {
    const auto holds = [&](const std::vector<int64_t>& ids) {
      return std::count(ids.begin(), ids.end(), record.id) > 0;
    };
    return holds(trial.final) ||
           (!holds(trial.screening) && record.fidelity == FidelityLevel::kFinal);
  }
  static double Compared(const Candidate& candidate, const MeasurementRecord& record) {
    return Final(*candidate.trial, record)
               ? record.value
               : candidate.fold->FinalEstimate(record.key.metric, record.value);
  }

  bool Maximize(size_t i) const { return FindMetric(objectives_[i].metric())->higher_is_better; }
  std::vector<double> Oriented(const Candidate& candidate) const {
    std::vector<double> point = candidate.values;
    for (size_t i = 0; i < point.size(); ++i) {
      if (Maximize(i)) point[i] = -point[i];
    }
    return point;
  }

  // 0: the member is established to be better; 1: the other could be as good, 2: better.
  int Hope(const Candidate& other, const Candidate& member, size_t i) const {
    const MeasurementRecord* const theirs = other.evidence[i];
    const MeasurementRecord* const ours = member.evidence[i];
    if (Maximize(i) && theirs != nullptr && ours != nullptr) {
      const std::string& a = registry_.index.Bitmap(theirs->id);
      const std::string& b = registry_.index.Bitmap(ours->id);
      if (!a.empty() && !b.empty() && theirs->sample_count == ours->sample_count) {
        const Discordance discordance = CountDiscordance(a, b, ours->sample_count);
        if (SecondIsBetterPValue(discordance) <= 0.025) return 0;
        return discordance.only_first > 0 ? 2 : 1;
      }
    }
    const double their_shift = theirs == nullptr ? 0 : other.values[i] - theirs->value;
    const double our_shift = ours == nullptr ? 0 : member.values[i] - ours->value;
    double best = theirs == nullptr ? other.values[i] : theirs->low + their_shift;
    double worst = ours == nullptr ? member.values[i] : ours->high + our_shift;
    if (Maximize(i)) {
      best = -(theirs == nullptr ? other.values[i] : theirs->high + their_shift);
      worst = -(ours == nullptr ? member.values[i] : ours->low + our_shift);
    }
    return best > worst ? 0 : best == worst ? 1 : 2;
  }

  bool Contested(const std::vector<Candidate>& all, const Candidate& member) const {
    for (const MeasurementRecord* evidence : member.evidence) {
      if (evidence != nullptr &&
          (evidence->verdict != VerdictState::kTrusted || !Final(*member.trial, *evidence))) {
        return true;
      }
    }
    for (const Candidate& other : all) {
      if (other.trial == member.trial) continue;
      int least = 2;
      int most = 0;
      for (size_t i = 0; i < objectives_.size(); ++i) {
        least = std::min(least, Hope(other, member, i));
        most = std::max(most, Hope(other, member, i));
      }
      if (least > 0 && most == 2) return true;
    }
    return false;
  }

  const Registry& registry_;
  const v1::QueryParetoFrontierRequest& request_;
  const JobFold* job_ = nullptr;
  bool own_ = false;
  std::vector<v1::Objective> objectives_;
  std::vector<Candidate> trials_;
};

v1::QueryParetoFrontierRequest AnyQuestion(World* world) {
  v1::QueryParetoFrontierRequest request;
  Random* const random = world->random();
  const bool whole_supernet = world->Chance(0.5);
  if (whole_supernet) {
    request.set_supernet(SupernetName(kSupernet));
  } else {
    request.set_parent(JobName(1 + static_cast<int64_t>(random->Uniform(3))));
    if (world->Chance(0.3)) return request;
  }
  const std::string recipe = world->Chance(0.2) ? "fp16" : "";
  std::vector<std::string> metrics = {"accuracy_top1", "latency_ms", "macs", "model_bytes"};
  // Any may be the first.
  std::rotate(metrics.begin(), metrics.begin() + static_cast<int64_t>(random->Uniform(4)),
              metrics.end());
  const auto set = [&](const std::string& metric, v1::Condition* condition) {
    condition->set_recipe(recipe);
    if (metric != "latency_ms") return;
    condition->set_device(world->Chance(0.7) ? "devices/pc" : "devices/pi");
    condition->set_profile(world->Chance(0.8) ? "p1" : "p2");
    if (world->Chance(0.5)) condition->set_batch(2);
  };
  for (const std::string& metric : metrics) {
    if (request.objectives_size() > 0 && world->Chance(0.4)) continue;
    v1::Objective* const objective = request.add_objectives();
    objective->set_metric(metric);
    set(metric, objective->mutable_condition());
  }
  if (world->Chance(0.5)) {
    v1::Constraint* const constraint = request.add_constraints();
    constraint->set_metric("latency_ms");
    set("latency_ms", constraint->mutable_condition());
    constraint->set_at_most(0.5 + 3 * random->Double());
  }
  if (world->Chance(0.3)) {
    v1::Constraint* const constraint = request.add_constraints();
    constraint->set_metric("accuracy_top1");
    constraint->mutable_condition()->set_recipe(recipe);
    constraint->set_at_least(40 + 50 * random->Double());
  }
  return request;
}

TEST(FrontierQueryTest, AnswersAreThoseOfTheRulesByBruteForce) {
  int certain = 0;
  int contested = 0;
  int closest = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    World world(seed);
    FORALL_ASSERT_OK(world.AddJob("s1", "fp32", 1));
    FORALL_ASSERT_OK(world.AddJob("s1", "fp16", 1));
    FORALL_ASSERT_OK(world.AddJob("s1", "fp32", 2));
    FORALL_ASSERT_OK(world.AddJob("another", "fp32", 1));
    for (int round = 0; round < 10; ++round) {
      // Queries between measurements: what is kept must follow them.
      for (int i = 0; i < 25; ++i) world.MeasureSomething();
      for (int i = 0; i < 3; ++i) FORALL_ASSERT_OK(world.FinalizeSomething());
      const v1::QueryParetoFrontierRequest request = AnyQuestion(&world);
      SCOPED_TRACE(absl::StrCat("seed ", seed, "\n", request.DebugString()));
      FORALL_ASSERT_OK_AND_ASSIGN(const v1::QueryParetoFrontierResponse answer,
                                  QueryFrontier(world.registry(), request));
      // As with the hundred thousands of trials that fill blocks of the usual size.
      const FrontierBlocks small{.points = world.random()->Uniform(8),
                                 .rivals = 1 + world.random()->Uniform(4)};
      FORALL_ASSERT_OK_AND_ASSIGN(const v1::QueryParetoFrontierResponse in_small_blocks,
                                  QueryFrontier(world.registry(), request, small));
      ASSERT_EQ(in_small_blocks.DebugString(), answer.DebugString())
          << "in blocks of " << small.points << " and " << small.rivals;
      const Oracle oracle(world.registry(), request);
      const std::vector<Oracle::Candidate> candidates = oracle.Candidates();
      EXPECT_EQ(answer.considered_trials(), static_cast<int>(candidates.size()));
      std::vector<std::pair<std::string, bool>> members;
      for (const v1::FrontierMember& member : answer.members()) {
        members.emplace_back(member.trial().name(),
                             member.certainty() == v1::FrontierMember::CONTESTED);
        ++(members.back().second ? contested : certain);
        const auto same = std::find_if(candidates.begin(), candidates.end(), [&](const auto& c) {
          return c.Name() == members.back().first;
        });
        ASSERT_NE(same, candidates.end());
        EXPECT_EQ(std::vector<double>(member.values().begin(), member.values().end()),
                  same->values);
      }
      ASSERT_EQ(members, oracle.Members());
      if (!candidates.empty()) {
        EXPECT_THAT(answer.closest(), IsEmpty());
        continue;
      }
      const std::vector<std::pair<double, std::string>> misses = oracle.Misses();
      ASSERT_THAT(answer.closest(), SizeIs(std::min<size_t>(3, misses.size())));
      for (int i = 0; i < answer.closest_size(); ++i) {
        ++closest;
        EXPECT_EQ(answer.closest(i).trial().name(), misses[static_cast<size_t>(i)].second);
        double sum = 0;
        double last = std::numeric_limits<double>::infinity();
        for (const v1::ClosestTrial::Miss& miss : answer.closest(i).misses()) {
          sum += miss.relative_excess();
          EXPECT_LE(miss.relative_excess(), last);
          last = miss.relative_excess();
        }
        EXPECT_NEAR(sum, misses[static_cast<size_t>(i)].first, 1e-12);
      }
    }
  }
  // Otherwise the worlds are too dull.
  EXPECT_GT(certain, 60);
  EXPECT_GT(contested, 100);
  EXPECT_GT(closest, 10);
}

}  // namespace
}  // namespace forall
