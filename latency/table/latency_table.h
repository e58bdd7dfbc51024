// SPDX-License-Identifier: Apache-2.0
// Latency lookup tables: what each layer of a search space takes on one device, so that a network's
// latency is a sum (Cai et al., "ProxylessNAS", ICLR 2019, section 3.2). Reads the tables that the
// once-for-all authors publish (YAML, one file per resolution, and the JSON variant), and a format
// of forall's own that also says what those leave out: device, runtime, threads, batch, unit, date.
//
// Keys are the authors': "Conv-input:224x224x3-output:112x112x24",
// "expanded_conv-input:HxWxC-output:HxWxC-expand:M-kernel:K-stride:S-idskip:0-se:0-hs:0" (M the
// depthwise channels, hs 1 for h-swish), "Conv_1-...", "AvgPool2D-...", "Conv_2-...",
// "Logits-input:1x1x1536-output:1000".
#ifndef FORALL_LATENCY_TABLE_LATENCY_TABLE_H_
#define FORALL_LATENCY_TABLE_LATENCY_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "space/network.h"

namespace forall {

struct LatencyRow {
  double mean_ms = 0;
  double stddev_ms = 0;
  int64_t count = 0;  // runs behind the mean; 0 when not known
  friend bool operator==(const LatencyRow&, const LatencyRow&) = default;
};

// Under what the rows hold. The published files do not say it; whoever imports them does.
struct TableConditions {
  std::string device;   // "Samsung Note10 (Snapdragon 855)"
  std::string runtime;  // "TensorFlow Lite 1.14, CPU"
  int32_t threads = 0;
  int32_t batch = 0;
  std::string date;  // "2019-10", as precise as it is known
  friend bool operator==(const TableConditions&, const TableConditions&) = default;
};

using LatencyRows = std::map<std::string, LatencyRow>;

// A value; thread-compatible.
struct LatencyTable {
  TableConditions conditions;
  // By input resolution: late layers have one key at several resolutions, and were measured at
  // each.
  std::map<int32_t, LatencyRows> resolutions;

  size_t rows() const;
  // The sum over the network's layers, in ms. NotFound listing every missing key, or the
  // resolutions there are; FailedPrecondition for a network that such tables cannot describe.
  absl::StatusOr<double> Sum(const Network& network) const;
};

// The keys of a network's layers, in order. FailedPrecondition for a network of other blocks than
// inverted residual ones.
absl::StatusOr<std::vector<std::string>> TableKeys(const Network& network);

// Rows of one published file, YAML or JSON: {key: {mean, std, count}}, std and count optional.
// `milliseconds` is what one unit of the file is, e.g. 1 or 0.001. InvalidArgument naming the line
// or key for what is not such a table, a key given twice, or a number that is not finite.
absl::StatusOr<LatencyRows> ParsePublishedTable(absl::string_view text, double milliseconds);

// Adds the rows of another file of the same device; their resolution is that of the first layer's
// input. InvalidArgument when there is no first layer, or the resolution is there already.
absl::Status AddRows(LatencyRows rows, LatencyTable* table);

// forall's own format, JSON: {"format": "forall.latency_table.1", "device": ..., "runtime": ...,
// "threads": ..., "batch": ..., "unit": "ms", "date": ..., "rows": {key: {"mean", "std",
// "count"}}}. Deterministic; what is written reads back equal.
std::string SerializeLatencyTable(const LatencyTable& table);
// InvalidArgument naming the field.
absl::StatusOr<LatencyTable> ParseLatencyTable(absl::string_view json);

}  // namespace forall

#endif  // FORALL_LATENCY_TABLE_LATENCY_TABLE_H_
