// SPDX-License-Identifier: Apache-2.0
#include "search/sampler/guided_plan.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <queue>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_set.h"
#include "absl/memory/memory.h"
#include "base/log.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "search/inner/frontier_search.h"
#include "search/pareto/hypervolume_gain.h"

namespace forall {
namespace {

// Rows that models are fitted to at most: what was known before the job, its first trials, which
// are spread over the space, and the latest, which lie where the search is.
constexpr size_t kFirstRows = 100;
constexpr size_t kMostRows = 800;
// Of these, the kernel is chosen on at most so many, and anew only when there are half as many
// again.
constexpr size_t kLeastKernelRows = 8;
constexpr size_t kMostKernelRows = 300;
constexpr size_t kKernelsRemembered = 16;
// Where nothing is learned: so many proposals rest on one search, of so many times more candidates.
constexpr int64_t kProposalsPerStage = 500;
constexpr int64_t kKnownShare = 8;
// Trials before a stage that its first plan may not have seen.
constexpr int64_t kUnsettledAtMost = 8;
constexpr size_t kOrdered = kProposalsPerStage + 100;
constexpr size_t kMostRanked = 128;
// Apart from the streams of proposals.
constexpr uint64_t kSearchStream = 0x67756964656421ull;
// Of every metric, before anything is learned.
constexpr size_t kLeastValues = 2;
// A metric that is known but is no sum of tables (the peak of activations) is read off a
// description of the network, which takes as long as scoring some hundred candidates: so many times
// fewer.
constexpr int64_t kSlowShare = 20;
// What was measured before adds its hypervolume for certain, costs less to measure, mostly nothing,
// and a model may promise wonders where measurements are noisy. So one that is known counts for
// twice what it adds, and at every second of the first proposals for much more: what is worth
// having of the former frontier is soon the job's own, and what is left of it later is not.
double KnownWeight(int64_t index) {
  constexpr double kAlways = 2;
  constexpr double kAtFirst = 20;
  if (index % 2 != 0) return kAlways;
  return std::max(kAlways, kAtFirst / (1 + static_cast<double>(index) / 20));
}

size_t KernelRows(size_t rows) {
  size_t chosen = std::min(rows, kLeastKernelRows);
  while (chosen + chosen / 2 <= std::min(rows, kMostKernelRows))
    chosen += std::max<size_t>(chosen / 2, 1);
  return chosen;
}

// Whether every plan of the stage has seen the trial.
bool IsBefore(int64_t stage, const ScoredTrial& trial) {
  return trial.id + kUnsettledAtMost <= stage * kProposalsPerStage;
}

// Worse than all of `values`, so that each end of the frontier counts, and nothing beyond `bound`.
double Reference(absl::Span<const double> values, double bound) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  double range = *high - *low;
  if (range <= 0) range = std::max(std::abs(*high), 1e-9);
  return std::min(*high + 0.1 * range, bound + 1e-9 * range);
}

}  // namespace

absl::StatusOr<std::unique_ptr<const GuidedSpace>> GuidedSpace::Create(
    const SearchSpace& space, const SamplerOptions& options) {
  const auto known = [&options](const Architecture& architecture) {
    for (const std::vector<SearchedMetric>* metrics : {&options.objectives, &options.limited}) {
      for (const SearchedMetric& metric : *metrics) {
        if (metric.kind == SearchedMetric::Kind::kKnown && std::isnan(metric.value(architecture))) {
          return absl::NotFoundError("nothing is known of this network");
        }
      }
    }
    return absl::OkStatus();
  };
  FORALL_ASSIGN_OR_RETURN(CandidateSpace candidates, CandidateSpace::Usable(space, known));
  std::unique_ptr<GuidedSpace> guided(new GuidedSpace(std::move(candidates)));
  guided->cost_ = guided->Compile(options.cost);
  if (guided->cost_.has_value()) guided->weights_ = WeightsByCost(guided->space_, *guided->cost_);
  for (const SearchedMetric& metric : options.objectives) {
    const bool scored = metric.scorer != nullptr;
    guided->scorers_.push_back(scored ? metric.scorer(guided->space_) : nullptr);
    guided->objectives_.push_back(scored ? std::nullopt : guided->Compile(metric.value));
  }
  for (const SearchedMetric& metric : options.limited) {
    const bool scored = metric.scorer != nullptr;
    guided->limited_.push_back(scored ? std::nullopt : guided->Compile(metric.value));
  }
  return guided;
}

std::optional<FactoredCost> GuidedSpace::Compile(
    const std::function<double(const Architecture&)>& cost) const {
  if (cost == nullptr) return std::nullopt;
  absl::StatusOr<FactoredCost> compiled = FactoredCost::Compile(
      space_, [&](const Architecture& a) -> absl::StatusOr<double> { return cost(a); });
  if (!compiled.ok()) return std::nullopt;
  return *std::move(compiled);
}

std::shared_ptr<const GuidedCandidates> GuidedSpace::Remember(
    int64_t stage, const std::function<std::shared_ptr<const GuidedCandidates>()>& search) const {
  const MutexLock lock(&mutex_);
  if (found_stage_ != stage) {
    found_ = search();
    found_stage_ = stage;
  }
  return found_;
}

PairwiseKernel GuidedSpace::Kernel(const Candidates& rows, absl::Span<const double> values) const {
  uint64_t key = rows.size();
  for (size_t i = 0; i < rows.size(); ++i) {
    uint64_t bits = 0;
    std::memcpy(&bits, &values[i], sizeof(bits));
    key = SplitMix64(key ^ SplitMix64(bits ^ space_.Key(rows.row(i))));
  }
  const MutexLock lock(&mutex_);
  for (const auto& [known, kernel] : kernels_) {
    if (known == key) return kernel;
  }
  if (kernels_.size() == kKernelsRemembered) kernels_.erase(kernels_.begin());
  kernels_.emplace_back(key,
                        PairwiseModel::Choose(space_, rows, values, /*additive=*/false, weights_));
  return kernels_.back().second;
}

// A metric's values, as far as trials have them: one that broke a limit early was not measured
// further.
struct GuidedPlan::Data {
  explicit Data(size_t width) : rows(width) {}
  Candidates rows;
  std::vector<double> values;
  absl::flat_hash_set<uint64_t> keys;  // of rows
};

std::vector<GuidedPlan::Data> GuidedPlan::Collect(absl::Span<const ScoredTrial> known) const {
  std::vector<Data> data(options_.objectives.size() + options_.limited.size(),
                         Data(space_.space().width()));
  std::vector<const ScoredTrial*> usable;
  std::vector<State> row(space_.space().width());
  const auto add_usable = [&](absl::Span<const ScoredTrial> trials) {
    for (const ScoredTrial& trial : trials) {
      if (trial.objectives.size() == options_.objectives.size() &&
          trial.limited.size() == options_.limited.size() &&
          space_.space().ToRow(trial.architecture, row.data()).ok()) {
        usable.push_back(&trial);
      }
    }
  };
  add_usable(known);
  const size_t first = usable.size() + kFirstRows;
  add_usable(settled_);
  if (usable.size() > kMostRows && first < kMostRows) {
    usable.erase(usable.begin() + static_cast<ptrdiff_t>(first),
                 usable.end() - static_cast<ptrdiff_t>(kMostRows - first));
  }
  for (const ScoredTrial* trial : usable) {
    FORALL_CHECK(space_.space().ToRow(trial->architecture, row.data()).ok());
    const uint64_t key = space_.space().Key(row.data());
    for (size_t i = 0; i < data.size(); ++i) {
      const size_t objectives = trial->objectives.size();
      const double value = i < objectives ? trial->objectives[i] : trial->limited[i - objectives];
      // A trial that took over what was known says it a second time.
      if (!std::isfinite(value) || !data[i].keys.insert(key).second) continue;
      data[i].rows.Append(row.data());
      data[i].values.push_back(value);
    }
  }
  return data;
}

GuidedPlan::GuidedPlan(const GuidedSpace& space, const SamplerOptions& options,
                       const AdmissibleRegion& region, absl::Span<const ScoredTrial> known,
                       std::vector<ScoredTrial> settled, int64_t first, uint64_t seed)
    : space_(space), options_(options), settled_(std::move(settled)) {
  const std::vector<Data> data = Collect(known);
  for (const Data& metric : data) {
    if (metric.values.size() < kLeastValues) return;
  }
  bool learns = false;
  for (size_t i = 0; i < options.objectives.size(); ++i) {
    const SearchedMetric& metric = options.objectives[i];
    learns |= metric.kind != SearchedMetric::Kind::kKnown;
    objectives_.push_back(Learn(metric, space.objective(i), space.scorer(i), data[i]));
    reference_.push_back(Reference(data[i].values, metric.bound));
  }
  for (size_t i = 0; i < options.limited.size(); ++i) {
    const SearchedMetric& metric = options.limited[i];
    learns |= metric.kind != SearchedMetric::Kind::kKnown;
    limited_.push_back(
        Learn(metric, space.limited(i), nullptr, data[options.objectives.size() + i]));
  }
  std::vector<State> row(space.space().width());
  for (const ScoredTrial& trial : known) {
    if (trial.objectives.size() == objectives_.size() &&
        space.space().ToRow(trial.architecture, row.data()).ok()) {
      known_[space.space().Key(row.data())] = trial.objectives;
    }
  }
  if (learns) {
    const int64_t batch = first / options.guided.batch;
    Random random = Random::ForStream(seed ^ kSearchStream, static_cast<uint64_t>(batch));
    found_ = Search(region, known, data.front().rows, random.Next());
  } else {
    const int64_t stage = first / kProposalsPerStage;
    found_ = space.Remember(stage, [&] { return SearchKnown(region, stage, seed); });
  }
}

std::unique_ptr<ObjectivePredictor> GuidedPlan::Learn(const SearchedMetric& metric,
                                                      const FactoredCost* known,
                                                      const BatchScorer* scorer,
                                                      const Data& data) const {
  const CandidateSpace& space = space_.space();
  if (metric.kind == SearchedMetric::Kind::kKnown) {
    return KnownObjective(space, metric.value, known, scorer);
  }
  if (metric.kind == SearchedMetric::Kind::kCost) {
    if (metric.value == nullptr) known = space_.cost();
    auto cost = LearnCost(space, data.rows, data.values, known, space_.weights());
    if (cost != nullptr) return cost;
  }
  Candidates first(space.width());
  for (size_t i = 0; i < KernelRows(data.rows.size()); ++i) first.Append(data.rows.row(i));
  const PairwiseKernel kernel =
      space_.Kernel(first, absl::MakeConstSpan(data.values).subspan(0, first.size()));
  return LearnQuality(space, data.rows, data.values, kernel, space_.weights());
}

void GuidedPlan::AddKnown(const AdmissibleRegion& region, absl::Span<const ScoredTrial> known,
                          GuidedCandidates* candidates) const {
  std::vector<State> row(space_.space().width());
  const size_t width = objectives_.size();
  for (const ScoredTrial& trial : known) {
    if (trial.objectives.size() != width || !region.Contains(trial.architecture) ||
        !space_.space().ToRow(trial.architecture, row.data()).ok()) {
      continue;
    }
    candidates->rows.Append(row.data());
    candidates->architectures.push_back(space_.space().ToArchitecture(row.data()));
    ++candidates->known;
    std::vector<double> means = MeansOf(row.data());
    candidates->means.insert(candidates->means.end(), means.begin(), means.end());
    // What was limited and known is in the trial's violation.
    candidates->excess.push_back(std::max(Excess(row.data(), means), trial.constraint_violation));
  }
}

void GuidedPlan::Collect(std::vector<CandidateCost>* costs,
                         std::vector<InnerScorer>* scorers) const {
  for (size_t i = 0; i < objectives_.size(); ++i) {
    if (objectives_[i]->additive() != nullptr) continue;
    const bool slow =
        options_.objectives[i].kind == SearchedMetric::Kind::kKnown && space_.scorer(i) == nullptr;
    scorers->push_back({&objectives_[i]->scorer(), slow ? kSlowShare : 1});
  }
  // Of costs alone, one is searched at every value of the others.
  const size_t first_cost = scorers->empty() ? 1 : 0;
  if (scorers->empty()) scorers->push_back({&objectives_[0]->scorer()});
  for (size_t i = first_cost; i < objectives_.size(); ++i) {
    if (objectives_[i]->additive() == nullptr) continue;
    costs->push_back({objectives_[i]->additive(), options_.objectives[i].bound, true});
  }
  const bool alone = costs->empty();
  for (size_t i = 0; i < limited_.size(); ++i) {
    if (limited_[i]->additive() == nullptr) continue;
    costs->push_back({limited_[i]->additive(), options_.limited[i].bound, alone});
  }
  if (costs->empty() && space_.cost() != nullptr) costs->push_back({space_.cost()});
}

std::shared_ptr<const GuidedCandidates> GuidedPlan::Search(const AdmissibleRegion& region,
                                                           absl::Span<const ScoredTrial> known,
                                                           const Candidates& start,
                                                           uint64_t seed) const {
  std::vector<CandidateCost> costs;
  std::vector<InnerScorer> scorers;
  Collect(&costs, &scorers);
  std::vector<Candidates> found;
  for (const InnerScorer& by : scorers) {
    found.push_back(SearchCandidates(space_.space(), costs, *by.scorer, start,
                                     options_.guided.candidates / by.share, seed));
  }
  std::shared_ptr<GuidedCandidates> result = Assess(region, found);
  AddKnown(region, known, result.get());
  return result;
}

std::shared_ptr<const GuidedCandidates> GuidedPlan::SearchKnown(const AdmissibleRegion& region,
                                                                int64_t stage,
                                                                uint64_t seed) const {
  const CandidateSpace& space = space_.space();
  // Of the stages before, so that every plan of this one searches alike.
  FrontierSearchOptions options;
  options.seed = Random::ForStream(seed ^ kSearchStream, static_cast<uint64_t>(stage)).Next();
  Candidates start(space.width());
  std::vector<State> row(space.width());
  for (const ScoredTrial& trial : settled_) {
    if (!IsBefore(stage, trial) || trial.constraint_violation > 0 ||
        !space.ToRow(trial.architecture, row.data()).ok()) {
      continue;
    }
    options.initial.push_back(trial.architecture);
    start.Append(row.data());
  }
  std::vector<CandidateCost> costs;
  std::vector<InnerScorer> scorers;
  Collect(&costs, &scorers);
  std::vector<SearchedCost> searched;
  for (const CandidateCost& cost : costs)
    searched.push_back({.cost = cost.cost, .high = cost.high});
  std::vector<Candidates> found;
  for (const InnerScorer& by : scorers) {
    options.budget = kKnownShare * options_.guided.candidates / by.share;
    const absl::StatusOr<FrontierSearchResult> result =
        SearchFrontier(space, searched, *by.scorer, options);
    for (size_t i = 0; result.ok() && i < result->frontier.size(); ++i) {
      start.Append(result->frontier[i].row.data());
    }
    // Those are the best ones; what comes next to them is wanted as well.
    found.push_back(SearchCandidates(space, costs, *by.scorer, start,
                                     options_.guided.candidates / by.share, options.seed));
    found.push_back(start);
  }
  std::shared_ptr<GuidedCandidates> result = Assess(region, found);
  result->order = GreedyOrder(*result, stage);
  return result;
}

// A gain only falls while others are added, so that one which is the largest after it was computed
// anew is the largest of all (Minoux, "Accelerated greedy algorithms", 1978).
std::vector<size_t> GuidedPlan::GreedyOrder(const GuidedCandidates& found, int64_t stage) const {
  const size_t width = objectives_.size();
  const auto means = [&](size_t i) {
    return absl::MakeConstSpan(found.means).subspan(i * width, width);
  };
  std::vector<bool> counts;
  std::vector<std::vector<double>> columns(width);
  for (size_t i = 0; i < found.rows.size(); ++i) {
    counts.push_back(found.excess[i] == 0 && std::isfinite(absl::c_accumulate(means(i), 0.0)));
    for (size_t k = 0; counts[i] && k < width; ++k) columns[k].push_back(means(i)[k]);
  }
  if (columns[0].empty()) return {};
  std::vector<double> reference;
  for (size_t k = 0; k < width; ++k) {
    reference.push_back(Reference(columns[k], options_.objectives[k].bound));
  }
  absl::StatusOr<HypervolumeGain> gain = HypervolumeGain::Create(reference);
  FORALL_CHECK(gain.ok()) << gain.status();
  for (const ScoredTrial& trial : settled_) {
    if (IsBefore(stage, trial) && trial.constraint_violation == 0) gain->Add(trial.objectives);
  }
  // By gain, then the earlier row.
  std::priority_queue<std::pair<double, int64_t>> open;
  for (size_t i = 0; i < found.rows.size(); ++i) {
    open.emplace(counts[i] ? gain->Gain(means(i)) : 0, -static_cast<int64_t>(i));
  }
  std::vector<size_t> order;
  while (!open.empty()) {
    const auto [before, negated] = open.top();
    open.pop();
    const size_t i = static_cast<size_t>(-negated);
    // Beyond a stage's proposals nobody looks closely.
    const bool exact = before > 0 && order.size() < kOrdered;
    const double now = exact ? gain->Gain(means(i)) : before;
    if (now < before && !open.empty() && now < open.top().first) {
      open.emplace(now, negated);
      continue;
    }
    if (exact) gain->Add(means(i));
    order.push_back(i);
  }
  return order;
}

std::shared_ptr<GuidedCandidates> GuidedPlan::Assess(const AdmissibleRegion& region,
                                                     absl::Span<const Candidates> found) const {
  auto result = std::make_shared<GuidedCandidates>(space_.space().width());
  absl::flat_hash_set<uint64_t> seen;
  for (const Candidates& rows : found) {
    for (size_t i = 0; i < rows.size(); ++i) {
      const uint64_t key = space_.space().Key(rows.row(i));
      if (known_.contains(key) || !seen.insert(key).second) continue;
      Architecture architecture = space_.space().ToArchitecture(rows.row(i));
      if (!region.Contains(architecture)) continue;
      result->rows.Append(rows.row(i));
      result->architectures.push_back(std::move(architecture));
    }
  }
  const size_t width = objectives_.size();
  result->means.resize(result->rows.size() * width);
  std::vector<double> means(result->rows.size());
  for (size_t k = 0; k < width; ++k) {
    objectives_[k]->Means(result->rows, absl::MakeSpan(means));
    for (size_t i = 0; i < means.size(); ++i) result->means[i * width + k] = means[i];
  }
  for (size_t i = 0; i < means.size(); ++i) {
    result->excess.push_back(Excess(result->rows.row(i), {&result->means[i * width], width}));
  }
  return result;
}

std::vector<double> GuidedPlan::MeansOf(const State* row) const {
  std::vector<double> means;
  for (const auto& objective : objectives_) means.push_back(objective->Mean(row));
  if (const auto known = known_.find(space_.space().Key(row)); known != known_.end()) {
    for (size_t i = 0; i < means.size(); ++i) {
      if (std::isfinite(known->second[i])) means[i] = known->second[i];
    }
  }
  return means;
}

std::vector<Prediction> GuidedPlan::Predict(const Architecture& architecture) const {
  std::vector<Prediction> predictions;
  std::vector<State> row(space_.space().width());
  if (!space_.space().ToRow(architecture, row.data()).ok() ||
      known_.contains(space_.space().Key(row.data()))) {
    return predictions;
  }
  for (const auto& objective : objectives_) {
    predictions.push_back({objective->Mean(row.data()),
                           std::hypot(objective->Deviation(row.data()), objective->Noise())});
  }
  return predictions;
}

// By how much the predictions break the bounds, relative to these; 0 when they keep them.
double GuidedPlan::Excess(const State* row, absl::Span<const double> means) const {
  double sum = 0;
  const auto add = [&sum](double value, double bound) {
    if (value > bound) sum += (value - bound) / std::max(std::abs(bound), 1e-9);
  };
  for (size_t i = 0; i < means.size(); ++i) add(means[i], options_.objectives[i].bound);
  for (size_t i = 0; i < limited_.size(); ++i) {
    add(limited_[i]->Mean(row), options_.limited[i].bound);
  }
  return sum;
}

std::vector<Architecture> GuidedPlan::RankKnown(const ProposeRequest& request) const {
  absl::flat_hash_set<uint64_t> taken;
  std::vector<State> row(space_.space().width());
  const auto take = [&](const Architecture& architecture) {
    if (space_.space().ToRow(architecture, row.data()).ok()) {
      taken.insert(space_.space().Key(row.data()));
    }
  };
  for (const ScoredTrial& trial : request.history) take(trial.architecture);
  for (const Architecture& architecture : request.pending) take(architecture);
  std::vector<Architecture> ranked;
  for (const size_t i : found_->order) {
    if (ranked.size() == kMostRanked) break;
    if (taken.contains(space_.space().Key(found_->rows.row(i)))) continue;
    ranked.push_back(found_->architectures[i]);
  }
  return ranked;
}

std::vector<Architecture> GuidedPlan::Rank(const ProposeRequest& request) const {
  if (found_ == nullptr) return {};
  if (!found_->order.empty()) return RankKnown(request);
  absl::StatusOr<HypervolumeGain> gain = HypervolumeGain::Create(reference_);
  FORALL_CHECK(gain.ok()) << gain.status();
  absl::flat_hash_set<uint64_t> taken;
  std::vector<State> row(space_.space().width());
  const auto take = [&](const Architecture& architecture) {
    if (!space_.space().ToRow(architecture, row.data()).ok()) return false;
    taken.insert(space_.space().Key(row.data()));
    return true;
  };
  const auto expect = [&](const Architecture& architecture) {
    if (!take(architecture)) return;
    const std::vector<double> means = MeansOf(row.data());
    if (Excess(row.data(), means) == 0) gain->Add(means);
  };
  absl::flat_hash_set<int64_t> settled;
  for (const ScoredTrial& trial : settled_) {
    settled.insert(trial.id);
    take(trial.architecture);
    if (trial.constraint_violation == 0 && trial.objectives.size() == reference_.size()) {
      gain->Add(trial.objectives);
    }
  }
  for (const ScoredTrial& trial : request.history) {
    if (!settled.contains(trial.id)) expect(trial.architecture);
  }
  for (const Architecture& architecture : request.pending) expect(architecture);

  struct Place {
    double gain = 0;
    double excess = 0;
    size_t candidate = 0;
  };
  // Where everything measured so far was lucky, no prediction alone adds anything to it.
  std::vector<double> noise;
  for (const auto& objective : objectives_) noise.push_back(objective->Noise());
  const double known_weight = KnownWeight(request.proposed_so_far);
  std::vector<Place> places;
  const size_t width = reference_.size();
  for (size_t i = 0; i < found_->architectures.size(); ++i) {
    if (taken.contains(space_.space().Key(found_->rows.row(i)))) continue;
    const absl::Span<const double> means(&found_->means[i * width], width);
    const double excess = found_->excess[i];
    const bool known = i >= found_->architectures.size() - found_->known;
    double value = 0;
    if (excess == 0)
      value = known ? known_weight * gain->Gain(means) : gain->ExpectedGain(means, noise);
    places.push_back({value, excess, i});
  }
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    if (a.gain != b.gain) return a.gain > b.gain;
    return a.excess != b.excess ? a.excess < b.excess : a.candidate < b.candidate;
  });
  std::vector<Architecture> ranked;
  ranked.reserve(places.size());
  for (const Place& place : places) ranked.push_back(found_->architectures[place.candidate]);
  return ranked;
}

}  // namespace forall
