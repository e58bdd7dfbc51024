// SPDX-License-Identifier: Apache-2.0
#include "search/controller/measurement_column.h"

namespace forall {
namespace {

// Whether the later of two measurements of one subject under one condition takes the place of the
// earlier.
bool Replaces(const MeasurementRecord& later, const MeasurementRecord& earlier) {
  if (later.fidelity != earlier.fidelity) return later.fidelity == FidelityLevel::kFinal;
  return later.key.metric == "latency_ms" || later.sample_count >= earlier.sample_count;
}

}  // namespace

void MeasurementColumn::Offer(SubjectId subject, const std::deque<MeasurementRecord>& records,
                              size_t place) {
  const size_t block = static_cast<size_t>(subject) / kBlock;
  if (block >= blocks_.size()) blocks_.resize(block + 1);
  if (blocks_[block] == nullptr) {
    blocks_[block] = std::make_unique<std::array<MeasurementCell, kBlock>>();
  }
  MeasurementCell& cell = (*blocks_[block])[static_cast<size_t>(subject) % kBlock];
  const MeasurementRecord& record = records[place];
  if (cell.known() && !Replaces(record, records[static_cast<size_t>(cell.place)])) return;
  cell = {record.value, record.low, record.high, static_cast<int32_t>(place), record.fidelity};
}

}  // namespace forall
