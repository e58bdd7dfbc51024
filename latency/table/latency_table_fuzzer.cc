// SPDX-License-Identifier: Apache-2.0
// libFuzzer: whatever the text is, the readers return a status, and what is accepted can be written
// and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "absl/strings/string_view.h"
#include "latency/table/latency_table.h"
#include "latency/table/table_lint.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  forall::LatencyTable table;
  const auto rows = forall::ParsePublishedTable(text, 1.0);
  if (rows.ok() && forall::AddRows(*rows, &table).ok()) forall::LintTable(table, {}, {});
  const auto own = forall::ParseLatencyTable(text);
  if (!own.ok()) return 0;
  const auto again = forall::ParseLatencyTable(forall::SerializeLatencyTable(*own));
  if (!again.ok() || again->rows() != own->rows()) std::abort();
  return 0;
}
