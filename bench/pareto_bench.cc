// SPDX-License-Identifier: Apache-2.0
#include "bench/pareto_bench.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/random.h"
#include "base/status_macros.h"
#include "latency/measure/statistics.h"
#include "pagmo/utils/hypervolume.hpp"
#include "pagmo/utils/multi_objective.hpp"
#include "search/pareto/frontier.h"
#include "search/pareto/hypervolume.h"
#include "search/pareto/nondominated_sort.h"
#include "search/pareto/pareto_filter.h"
#include "search/pareto/test_points.h"

namespace forall {
namespace {

constexpr double kPagmoBar = 10;  // pagmo's time by ours, at least
constexpr double kSortBar = 1.2;  // our 2-D filter's time by std::sort's, at most
constexpr double kOnceMs = 1000;  // a peer slower than this runs once
constexpr double kSampleMs = 2;   // quick work is repeated until a sample takes as long

double Milliseconds(const std::function<void()>& work) {
  const int64_t start = Clock::Real()->SteadyNanos();
  work();
  return static_cast<double>(Clock::Real()->SteadyNanos() - start) * 1e-6;
}

// One side of a comparison, timed whenever it is its turn.
class Side {
 public:
  // `work` takes the number of a set, below `sets`. Runs each once, to warm up and to learn how
  // long it takes.
  Side(int sets, std::function<void(int)> work) : sets_(sets), work_(std::move(work)) {
    const double first = Milliseconds([this] { Pass(); });
    once_ = first > kOnceMs;
    if (once_) samples_.push_back(first / sets_);
    passes_ = std::max(1, static_cast<int>(std::ceil(kSampleMs / std::max(first, 1e-4))));
  }
  void Sample() {
    if (once_) return;
    const double taken = Milliseconds([this] {
      for (int i = 0; i < passes_; ++i) Pass();
    });
    samples_.push_back(taken / (passes_ * sets_));
  }
  double median() const { return Median(samples_); }
  int runs() const { return (once_ ? 1 : static_cast<int>(samples_.size()) * passes_) * sets_; }

 private:
  void Pass() {
    for (int i = 0; i < sets_; ++i) work_(i);
  }

  const int sets_;
  const std::function<void(int)> work_;
  bool once_ = false;
  int passes_ = 1;
  std::vector<double> samples_;
};

struct Subject {
  PointSet set;
  std::vector<pagmo::vector_double> rows;  // the same points
  pagmo::vector_double reference;
};

// One kernel and pagmo's best way to the same answer, on one set of points. What the last runs
// found is kept, to be compared.
class Kernel {
 public:
  explicit Kernel(Subject subject) : subject_(std::move(subject)) {}
  virtual ~Kernel() = default;
  virtual void RunOurs() = 0;
  virtual void RunPagmo() = 0;
  virtual bool Agree() const = 0;
  const PointSet& set() const { return subject_.set; }

 protected:
  const Subject subject_;
};

class FilterKernel final : public Kernel {
 public:
  using Kernel::Kernel;
  void RunOurs() override { ours_ = ParetoFilter(set().view()).value(); }
  void RunPagmo() override {
    pagmo_ = set().objectives == 2
                 ? pagmo::non_dominated_front_2d(subject_.rows)
                 : std::get<0>(pagmo::fast_non_dominated_sorting(subject_.rows)).front();
  }
  bool Agree() const override {
    std::vector<int32_t> theirs(pagmo_.begin(), pagmo_.end());
    std::sort(theirs.begin(), theirs.end());
    return ours_ == theirs;
  }

 private:
  std::vector<int32_t> ours_;
  std::vector<pagmo::pop_size_t> pagmo_;
};

class RankKernel final : public Kernel {
 public:
  using Kernel::Kernel;
  void RunOurs() override { ours_ = NonDominatedSort(set().view()).value(); }
  void RunPagmo() override {
    pagmo_ = std::get<3>(pagmo::fast_non_dominated_sorting(subject_.rows));
  }
  bool Agree() const override {
    return ours_ == std::vector<int32_t>(pagmo_.begin(), pagmo_.end());
  }

 private:
  std::vector<int32_t> ours_;
  std::vector<pagmo::pop_size_t> pagmo_;
};

bool Close(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](double x, double y) { return std::abs(x - y) <= 1e-9; });
}

class HypervolumeKernel final : public Kernel {
 public:
  using Kernel::Kernel;
  void RunOurs() override { ours_ = Hypervolume(set().view(), subject_.reference).value(); }
  void RunPagmo() override {
    pagmo::hypervolume peer(subject_.rows);
    peer.set_copy_points(false);  // the constructor's copy is enough
    pagmo_ = peer.compute(subject_.reference);
  }
  bool Agree() const override { return Close({ours_}, {pagmo_}); }

 private:
  double ours_ = 0;
  double pagmo_ = 0;
};

class ContributionsKernel final : public Kernel {
 public:
  using Kernel::Kernel;
  void RunOurs() override {
    ours_ = HypervolumeContributions(set().view(), subject_.reference).value();
  }
  void RunPagmo() override {
    pagmo::hypervolume peer(subject_.rows);
    pagmo_ = peer.contributions(subject_.reference);
  }
  bool Agree() const override { return Close(ours_, pagmo_); }

 private:
  std::vector<double> ours_;
  std::vector<double> pagmo_;
};

template <typename T>
std::unique_ptr<Kernel> Make(Subject subject) {
  return std::make_unique<T>(std::move(subject));
}

struct Case {
  const char* kernel;
  std::unique_ptr<Kernel> (*make)(Subject subject);
  int objectives;
  int points;
  // Of so many different sets, one after the other: on a small one again and again, processors
  // learn the outcome of every comparison by heart.
  int sets;
  bool has_bar;
};
constexpr Case kCases[] = {
    {"filter", &Make<FilterKernel>, 2, 50000, 1, true},
    {"filter", &Make<FilterKernel>, 3, 40000, 1, true},
    {"filter", &Make<FilterKernel>, 4, 10000, 1, false},
    {"rank", &Make<RankKernel>, 2, 20000, 1, true},
    {"rank", &Make<RankKernel>, 3, 20000, 1, true},
    {"rank", &Make<RankKernel>, 4, 5000, 1, false},
    {"hypervolume", &Make<HypervolumeKernel>, 2, 50000, 1, false},
    {"hypervolume", &Make<HypervolumeKernel>, 3, 2000, 32, true},
    {"hypervolume", &Make<HypervolumeKernel>, 4, 1200, 16, true},
    {"hypervolume", &Make<HypervolumeKernel>, 5, 100, 8, false},
    {"contributions", &Make<ContributionsKernel>, 2, 2000, 8, false},
    {"contributions", &Make<ContributionsKernel>, 3, 500, 8, false},
    {"contributions", &Make<ContributionsKernel>, 4, 100, 8, false},
};

Subject MakeSubject(int objectives, int points, bool frontier, uint64_t seed) {
  Subject subject;
  subject.set =
      frontier ? FrontierPoints(points, objectives, seed) : UniformPoints(points, objectives, seed);
  for (int i = 0; i < points; ++i) subject.rows.push_back(subject.set.Row(i));
  subject.reference.assign(static_cast<size_t>(objectives), 1.1);
  return subject;
}

// std::sort of 2-D points as pairs, without the copy that it needs.
class PairSort {
 public:
  explicit PairSort(const PointSet& set) {
    for (size_t i = 0; i < set.values.size(); i += 2) {
      points_.emplace_back(set.values[i], set.values[i + 1]);
    }
  }
  double Milliseconds() {
    sorted_ = points_;
    return forall::Milliseconds([this] { std::sort(sorted_.begin(), sorted_.end()); });
  }

 private:
  std::vector<std::pair<double, double>> points_;
  std::vector<std::pair<double, double>> sorted_;
};

// Prints the line of one case; whether it meets its bars.
absl::StatusOr<bool> Compare(const Case& c, bool frontier, const ParetoBenchOptions& options) {
  const int points =
      options.points > 0 ? static_cast<int>(std::min<int64_t>(c.points, options.points)) : c.points;
  const char* const data = frontier ? "frontier" : "uniform";
  std::vector<std::unique_ptr<Kernel>> kernels;
  for (int i = 1; i <= c.sets; ++i) {
    kernels.push_back(
        c.make(MakeSubject(c.objectives, points, frontier, static_cast<uint64_t>(i))));
  }
  Side ours(c.sets, [&](int i) { kernels[static_cast<size_t>(i)]->RunOurs(); });
  Side pagmo(c.sets, [&](int i) { kernels[static_cast<size_t>(i)]->RunPagmo(); });
  if (!std::all_of(kernels.begin(), kernels.end(), [](const auto& k) { return k->Agree(); })) {
    return absl::InternalError(
        absl::StrFormat("pareto: %s of %d %s points with %d objectives is not what pagmo finds",
                        c.kernel, points, data, c.objectives));
  }
  std::optional<PairSort> sort;
  if (c.objectives == 2) sort.emplace(kernels.front()->set());
  std::vector<double> sort_ms;
  for (int round = 0; round < options.rounds; ++round) {
    // In turn, and each first in turn.
    for (const bool first : {round % 2 == 0, round % 2 != 0}) (first ? ours : pagmo).Sample();
    if (sort.has_value()) sort_ms.push_back(sort->Milliseconds());
  }
  const double ratio = pagmo.median() / ours.median();
  bool good = true;
  std::string line = absl::StrFormat(
      R"({"benchmark":"pareto","kernel":"%s","objectives":%d,"points":%d,"data":"%s",)"
      R"("sets":%d,"forall_ms":%.4f,"pagmo_ms":%.4f,"ratio":%.1f,"forall_runs":%d,"pagmo_runs":%d)",
      c.kernel, c.objectives, points, data, c.sets, ours.median(), pagmo.median(), ratio,
      ours.runs(), pagmo.runs());
  const bool has_bar = c.has_bar && points == c.points;
  if (has_bar) {
    good = ratio >= kPagmoBar;
    absl::StrAppend(&line, R"(,"bar":)", kPagmoBar);
  }
  if (sort.has_value()) {
    const double sort_ratio = ours.median() / Median(sort_ms);
    absl::StrAppendFormat(&line, R"(,"sort_ms":%.4f,"sort_ratio":%.3f)", Median(sort_ms),
                          sort_ratio);
    if (has_bar && absl::string_view(c.kernel) == "filter") {
      good = good && sort_ratio <= kSortBar;
      absl::StrAppend(&line, R"(,"sort_bar":)", kSortBar);
    }
  }
  if (has_bar) absl::StrAppend(&line, R"(,"ok":)", good ? "true" : "false");
  std::printf("%s}\n", line.c_str());
  std::fflush(stdout);
  return good;
}

// Nanoseconds to insert a point into a 2-D frontier of `members`, where it stays: the frontier is
// built of random points of a line, then points between them are inserted, in random order.
double InsertionNanos(int64_t members, int64_t insertions) {
  Random random(1);
  std::vector<double> x(static_cast<size_t>(members + insertions));
  std::iota(x.begin(), x.end(), 0.0);
  random.Shuffle(&x);
  Frontier frontier = Frontier::Create(2).value();
  const auto insert = [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      const double point[] = {x[static_cast<size_t>(i)], -x[static_cast<size_t>(i)]};
      frontier.Insert(i, point).value();
    }
  };
  insert(0, members);
  return 1e6 * Milliseconds([&] { insert(members, members + insertions); }) /
         static_cast<double>(insertions);
}

// How the time of an insertion grows with the frontier; whether as its logarithm does.
bool MeasureInsertion(const ParetoBenchOptions& options) {
  // Much more than the logarithms' ratio of 2, for caches that the larger frontiers do not fit:
  // linear work would come to 1,000.
  constexpr double kGrowthBar = 10;
  double smallest = 0;
  bool good = true;
  for (const int64_t members : {1000, 10000, 100000, 1000000}) {
    if (options.points > 0 && members > options.points) break;
    std::vector<double> nanos;
    for (int round = 0; round < options.rounds; ++round) {
      nanos.push_back(InsertionNanos(members, members / 10));
    }
    if (smallest == 0) smallest = Median(nanos);
    const double growth = Median(nanos) / smallest;
    good = good && growth <= kGrowthBar;
    std::printf("%s\n", absl::StrFormat(R"({"benchmark":"pareto","kernel":"insert","objectives":2,)"
                                        R"("points":%d,"data":"frontier","insertion_ns":%.0f,)"
                                        R"("growth":%.2f,"bar":%g,"ok":%s})",
                                        members, Median(nanos), growth, kGrowthBar,
                                        growth <= kGrowthBar ? "true" : "false")
                            .c_str());
    std::fflush(stdout);
  }
  return good;
}

}  // namespace

absl::Status RunParetoBench(const ParetoBenchOptions& options) {
  bool good = true;
  for (const Case& c : kCases) {
    for (const bool frontier : {false, true}) {
      // pagmo's answer is defined for non-dominated points.
      if (!frontier && absl::string_view(c.kernel) == "contributions") continue;
      FORALL_ASSIGN_OR_RETURN(const bool met, Compare(c, frontier, options));
      good = good && met;
    }
  }
  good = MeasureInsertion(options) && good;
  if (options.check && !good) return absl::OutOfRangeError("pareto: a bar is missed");
  return absl::OkStatus();
}

}  // namespace forall
