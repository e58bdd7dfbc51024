// SPDX-License-Identifier: Apache-2.0
// Latency lookup tables: what each layer of a search space takes on one device, so that a network's
// latency is a sum (Cai et al., "ProxylessNAS", ICLR 2019, section 3.2). Reads the tables that the
// once-for-all authors publish (YAML, one file per resolution, and the JSON variant), and a format
// of forall's own that also says what those leave out: device, runtime, threads, batch, unit, date,
// and of a table that forall measured how that was done, a correction and how good both are.
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
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "space/network.h"

namespace forall {

// Of a count or a seed that a file may hold.
inline constexpr uint64_t kMostTableCount = uint64_t{1} << 62;

struct LatencyRow {
  double mean_ms = 0;
  double stddev_ms = 0;
  int64_t count = 0;   // runs behind the mean; 0 when not known
  bool noisy = false;  // measured, with a verdict that says it may be off
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

// What was learned from whole networks: a table again, and a constant. A network takes
// `intercept_ms` and the sum of its rows.
struct TableCorrection {
  double intercept_ms = 0;
  std::map<int32_t, std::map<std::string, double>> rows_ms;  // as LatencyTable::resolutions
  // How it was fitted (table_fit.h).
  int64_t networks = 0;
  double scale = 1;
  double block_offset_ms = 0;
  double row_deviation = 0;
  double noise = 0;
  friend bool operator==(const TableCorrection&, const TableCorrection&) = default;
};

// How well sums foretold what whole networks then took. Relative errors are of what was measured.
struct TableQuality {
  double mean_relative_error = 0;
  double bias = 0;  // mean of sum / measured, less 1
  double within_5_percent = 0;
  double within_10_percent = 0;
  double within_15_percent = 0;
  double within_bound = 0;
  double largest_relative_error = 0;
  double kendall_tau = 0;  // 0 also where there is none
  double spearman_rho = 0;
  friend bool operator==(const TableQuality&, const TableQuality&) = default;
};

// Whole networks, other ones than the correction was fitted to, against the table.
struct TableValidation {
  int64_t networks = 0;
  uint64_t seed = 0;
  double bound = 0;   // 0.1 for 10 %
  bool good = false;  // within the bound as often as is asked (table_fit.h)
  TableQuality additive;
  std::optional<TableQuality> corrected;
  friend bool operator==(const TableValidation&, const TableValidation&) = default;
};

// A value; thread-compatible.
struct LatencyTable {
  TableConditions conditions;
  // By input resolution: late layers have one key at several resolutions, and were measured at
  // each.
  std::map<int32_t, LatencyRows> resolutions;
  // Of a table that forall measured: space, device, profile, versions, times, as text.
  std::map<std::string, std::string> provenance;
  std::optional<TableCorrection> correction;
  std::optional<TableValidation> validation;

  size_t rows() const;
  // What the network takes, in ms: the corrected sum where there is a correction, the additive one
  // otherwise. NotFound listing every missing key, or the resolutions there are; FailedPrecondition
  // for a network that such tables cannot describe.
  absl::StatusOr<double> Sum(const Network& network) const;
  // The sum of the rows as they were measured, and the corrected one of a table with a correction.
  absl::StatusOr<double> AdditiveSum(const std::vector<std::string>& keys,
                                     int32_t resolution) const;
  absl::StatusOr<double> CorrectedSum(const std::vector<std::string>& keys,
                                      int32_t resolution) const;
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

// The rows of one resolution in the authors' YAML, so that their tools read them: corrected means
// where there is a correction, with an intercept that is not 0 added to the row of the first layer,
// which every network has once. Conditions, provenance and quality stand in comments above.
// NotFound for a resolution that is not there; FailedPrecondition when a row would not be positive
// for the correction.
absl::StatusOr<std::string> WritePublishedTable(const LatencyTable& table, int32_t resolution);

// forall's own format, JSON: {"format": "forall.latency_table.1", "device": ..., "runtime": ...,
// "threads": ..., "batch": ..., "unit": "ms", "date": ..., "resolutions": {pixels: {key: {"mean",
// "std", "count"}}}}. A measured table has format "forall.latency_table.2" and further
// "provenance": {name: text}, "correction" and "validation" with the fields of the structs above,
// each optional, and "noisy": true in some rows. Deterministic; what is written reads back equal.
std::string SerializeLatencyTable(const LatencyTable& table);
// InvalidArgument naming the field.
absl::StatusOr<LatencyTable> ParseLatencyTable(absl::string_view json);

}  // namespace forall

#endif  // FORALL_LATENCY_TABLE_LATENCY_TABLE_H_
