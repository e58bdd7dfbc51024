// SPDX-License-Identifier: Apache-2.0
// How long the work of searches has taken, task by task, so that a job can be told what it would
// cost before it is begun.
#ifndef FORALL_SEARCH_CONTROLLER_TASK_DURATIONS_H_
#define FORALL_SEARCH_CONTROLLER_TASK_DURATIONS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "proto/forall/v1/fleet_service.pb.h"

namespace forall {

// Tasks that are expected to take about the same.
struct Work {
  v1::Task::Kind kind = v1::Task::EXPORT;
  std::string supernet_sha256 = {};
  std::string recipe = {};
  std::string device = {};    // devices/*, of a latency
  std::string fidelity = {};  // of a latency
  int32_t batch = 0;          // of a latency
  // Of a latency: what is measured beside latency_ms, ascending, and the changed rules of how.
  std::vector<std::string> metrics = {};
  std::string rules = {};
  int64_t images = 0;  // of an accuracy

  // `images`: how many the task's result was of.
  static Work Of(const v1::Task& task, int64_t images);
  // As `metrics` has them: without latency_ms and what is derived.
  static std::vector<std::string> MetricsOf(std::vector<std::string> wanted);
  // As `rules` has them; "" where none is changed.
  static std::string RulesOf(const v1::LatencyProfile& rules);
  bool operator<(const Work& other) const { return Key() < other.Key(); }

 private:
  std::tuple<int, const std::string&, const std::string&, const std::string&, const std::string&,
             int32_t, const std::string&, const std::vector<std::string>&, int64_t>
  Key() const {
    return {kind, supernet_sha256, recipe, device, fidelity, batch, rules, metrics, images};
  }
};

// How many images a task is of; `all`: those of its split, 0: not known. 0 when it cannot be told.
int64_t ImagesOf(const v1::Task& task, int64_t all);

struct Duration {
  double seconds = 0;                     // median
  int64_t count = 0;                      // of so many tasks
  int64_t images = 0;                     // of an accuracy: of tasks of so many images, scaled
  std::vector<std::string> metrics = {};  // of a latency: what those tasks measured beside
};

// Seconds from a task's lease, or from its worker's result before where that came later, to its
// own result. Of each kind of work the latest 300 are remembered. Thread-compatible.
class TaskDurations {
 public:
  static constexpr size_t kRemembered = 300;

  // What is not positive and finite is not counted, nor an accuracy of no image.
  void Add(const Work& work, double seconds);

  // The work's number, from 0, for as long as this lives.
  int32_t NumberOf(const Work& work);
  // Gives out the numbers of `other`, before any of its own.
  void NumberAs(const TaskDurations& other);
  // What one of that number may take, cheaply: the mean of those that were done, of such as these
  // where there are, else of all; 1 where none was ever done. Positive.
  double Guess(int32_t number) const;

  // nullopt where none was ever done. Accuracies of another number of images stand in for those
  // wanted, the nearest in proportion, as if each image took the same.
  std::optional<Duration> Find(const Work& work) const;
  // Of latencies like it that measured something more, as little as there is: they took at least as
  // long. nullopt where there are none.
  std::optional<Duration> FindWider(const Work& work) const;

 private:
  struct Latest {
    std::deque<double> seconds;  // empty until one is done
    double sum = 0;
    int32_t number = -1;  // none yet
  };

  std::map<Work, Latest> latest_;
  std::vector<const std::pair<const Work, Latest>*> numbered_;  // of latest_
  double sum_ = 0;                                              // of all that were ever added
  int64_t count_ = 0;
};

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_TASK_DURATIONS_H_
