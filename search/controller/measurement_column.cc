// SPDX-License-Identifier: Apache-2.0
#include "search/controller/measurement_column.h"

namespace forall {
namespace {

// Whether the later of two measurements of one subject under one condition takes the place of the
// earlier.
bool Replaces(const MeasurementRecord& later, const MeasurementRecord& earlier) {
  if (later.fidelity != earlier.fidelity) return later.fidelity == FidelityLevel::kFinal;
  return !later.key.device.empty() || later.sample_count >= earlier.sample_count;
}

}  // namespace

void MeasurementColumn::Offer(SubjectId subject, const std::deque<MeasurementRecord>& records,
                              size_t place) {
  Blocks& blocks = blocks_[subject & 1];
  const size_t at = static_cast<size_t>(subject) / 2;
  if (at / kBlock >= blocks.size()) blocks.resize(at / kBlock + 1);
  std::unique_ptr<Block>& block = blocks[at / kBlock];
  if (block == nullptr) block = std::make_unique<Block>();
  MeasurementCell& cell = (*block)[at % kBlock];
  const MeasurementRecord& record = records[place];
  if (cell.known() && !Replaces(record, records[static_cast<size_t>(cell.place)])) return;
  size_ += cell.known() ? 0 : 1;
  cell = {record.value, record.low, record.high, static_cast<int32_t>(place), record.fidelity};
}

void MeasurementColumn::Forget(SubjectId subject) {
  if (!(*this)[subject].known()) return;
  (*blocks_[subject & 1][static_cast<size_t>(subject) / 2 /
                         kBlock])[static_cast<size_t>(subject) / 2 % kBlock] = MeasurementCell();
  --size_;
}

}  // namespace forall
