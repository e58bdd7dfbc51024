// SPDX-License-Identifier: Apache-2.0
// One metric under one condition: of every subject (an artifact or a graph) the measurement that
// counts, side by side in order of the subjects' numbers, so that a query reads hundreds of
// thousands of them in milliseconds.
#ifndef FORALL_SEARCH_CONTROLLER_MEASUREMENT_COLUMN_H_
#define FORALL_SEARCH_CONTROLLER_MEASUREMENT_COLUMN_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "search/store/result_store.h"

namespace forall {

// A subject's number: ascending in the order in which the measurement index first heard of them,
// even for artifacts, odd for graphs.
using SubjectId = int32_t;
constexpr SubjectId kNoSubject = -1;

// The record's numbers, and where it is. 32 bytes.
struct MeasurementCell {
  double value = 0;
  double low = 0;
  double high = 0;
  int32_t place = -1;  // in the index's all(); -1: there is none
  FidelityLevel fidelity = FidelityLevel::kScreening;

  bool known() const { return place >= 0; }
};

// Thread-compatible. 32 bytes a subject, 2 KB at a time: a condition under which few subjects were
// measured costs little. Artifacts and graphs lie apart, for a column is mostly of one kind.
class MeasurementColumn {
 public:
  // Takes records[place], which must count, unless a better one of the subject is there: higher
  // fidelity first; then, for what no device decides, more samples; then the later one.
  void Offer(SubjectId subject, const std::deque<MeasurementRecord>& records, size_t place);
  // The subject has none again, until one is offered.
  void Forget(SubjectId subject);
  // Subjects that have one.
  int64_t size() const { return size_; }
  const MeasurementCell& operator[](SubjectId subject) const {
    if (subject < 0) return kNone;
    const Blocks& blocks = blocks_[subject & 1];
    const size_t at = static_cast<size_t>(subject) / 2;
    if (at / kBlock >= blocks.size() || blocks[at / kBlock] == nullptr) return kNone;
    return (*blocks[at / kBlock])[at % kBlock];
  }

 private:
  static constexpr size_t kBlock = 64;
  static constexpr MeasurementCell kNone = {};

  using Block = std::array<MeasurementCell, kBlock>;
  using Blocks = std::vector<std::unique_ptr<Block>>;
  std::array<Blocks, 2> blocks_;  // of even and of odd subjects
  int64_t size_ = 0;
};

// The one that counts of an artifact's and its graph's latency: higher fidelity, then the later.
inline const MeasurementCell& BetterLatency(const MeasurementCell& a, const MeasurementCell& b) {
  if (!a.known() || !b.known()) return a.known() ? a : b;
  if (a.fidelity != b.fidelity) return a.fidelity == FidelityLevel::kFinal ? a : b;
  return a.place > b.place ? a : b;
}

}  // namespace forall

#endif  // FORALL_SEARCH_CONTROLLER_MEASUREMENT_COLUMN_H_
