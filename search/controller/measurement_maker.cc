// SPDX-License-Identifier: Apache-2.0
#include "search/controller/measurement_maker.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/binomial.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "search/controller/derived_metric.h"
#include "space/metric_registry.h"

namespace forall {
namespace {

constexpr size_t kMaxChecksum = 128;
constexpr int kMaxSamples = 100'000;
constexpr int kMaxEnvironment = 200;
constexpr size_t kMaxText = 1024;
constexpr double kNanosPerMilli = 1e6;
// Far beyond any device, and small enough that no product of two of them is infinite.
constexpr double kMaxNanos = 1e15;  // eleven days
constexpr double kMaxRatio = 1e9;
constexpr double kMaxValue = 1e12;
constexpr int kMaxValues = 32;

absl::Status Invalid(absl::string_view field, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", why));
}

// Of a number that no measurement can have. What else is wrong is a fault of the message.
absl::Status Impossible(absl::string_view field, absl::string_view why) {
  return absl::OutOfRangeError(absl::StrCat(field, ": ", why));
}

bool IsPart(const v1::Task& task) { return task.part_images() > 0; }

// Of the evaluation, given how many images the split has.
int64_t TotalImages(const v1::Task& task, int64_t split_images) {
  return task.images() == 0 ? split_images : std::min<int64_t>(task.images(), split_images);
}

// A part must be exactly the images that were asked for: another part begins where it ends.
absl::Status CheckPart(const v1::Task& task, const v1::AccuracyResult& result) {
  if (result.split_images() < 1) {
    return Invalid("accuracy_result.split_images",
                   "required, for the task is a part of an evaluation; update the worker");
  }
  const int64_t total = TotalImages(task, result.split_images());
  const int64_t wanted = std::min<int64_t>(task.part_images(), total - task.first_image());
  if (result.images() != wanted) {
    return Invalid("accuracy_result.images",
                   absl::StrCat("the part is ", wanted, " images from image ", task.first_image(),
                                " on, got ", result.images()));
  }
  if (!IsWhole(task, result) && result.top1_bitmap().empty()) {
    return Invalid("accuracy_result.top1_bitmap", "required of a part");
  }
  return absl::OkStatus();
}

absl::Status CheckCounts(const v1::AccuracyResult& result) {
  if (result.top1_correct() < 0 || result.top1_correct() > result.images()) {
    return Impossible("accuracy_result.top1_correct",
                      absl::StrCat("must be from 0 to images, ", result.images(), ", got ",
                                   result.top1_correct()));
  }
  if (result.top5_correct() < result.top1_correct() || result.top5_correct() > result.images()) {
    return Impossible(
        "accuracy_result.top5_correct",
        absl::StrCat("must be from top1_correct, ", result.top1_correct(), ", to images, ",
                     result.images(), ", got ", result.top5_correct()));
  }
  return absl::OkStatus();
}

absl::Status CheckAccuracy(const v1::Task& task, const v1::AccuracyResult& result) {
  if (result.images() < 1) return Invalid("accuracy_result.images", "must be positive");
  if (result.images() > kMostSplitImages) {
    return Invalid("accuracy_result.images",
                   absl::StrCat("at most ", kMostSplitImages, ", got ", result.images()));
  }
  if (task.images() > 0 && result.images() > task.images()) {
    return Invalid("accuracy_result.images",
                   absl::StrCat("the task asked for ", task.images(), ", got ", result.images()));
  }
  if (result.split_images() < 0 || result.split_images() > kMostSplitImages) {
    return Invalid("accuracy_result.split_images",
                   absl::StrCat("from 0 to ", kMostSplitImages, ", got ", result.split_images()));
  }
  if (result.dataset_checksum().size() > kMaxChecksum) {
    return Invalid(
        "accuracy_result.dataset_checksum",
        absl::StrCat("at most ", kMaxChecksum, " bytes, got ", result.dataset_checksum().size()));
  }
  if (IsPart(task)) FORALL_RETURN_IF_ERROR(CheckPart(task, result));
  FORALL_RETURN_IF_ERROR(CheckCounts(result));
  const std::string& bitmap = result.top1_bitmap();
  if (bitmap.empty()) return absl::OkStatus();
  int64_t bits = 0;
  for (const char byte : bitmap) bits += std::popcount(static_cast<unsigned char>(byte));
  if (static_cast<int64_t>(bitmap.size()) != (result.images() + 7) / 8 ||
      bits != result.top1_correct()) {
    return Invalid("accuracy_result.top1_bitmap", "does not fit images and top1_correct");
  }
  // Bits past the last image would become other images' bits when parts are joined.
  if (result.images() % 8 != 0 &&
      (static_cast<unsigned char>(bitmap.back()) >> (result.images() % 8)) != 0) {
    return Invalid("accuracy_result.top1_bitmap", "has bits set past the last image");
  }
  return absl::OkStatus();
}

absl::Status CheckNumber(absl::string_view field, double value, bool positive, double most) {
  if (value <= most && (positive ? value > 0 : value >= 0)) return absl::OkStatus();
  return Impossible(field, absl::StrCat("must be a ", positive ? "positive" : "non-negative",
                                        " number of at most ", most, ", got ", value));
}

absl::Status CheckSamples(absl::string_view field,
                          const google::protobuf::RepeatedField<double>& samples) {
  if (samples.size() > kMaxSamples) {
    return Invalid(field, absl::StrCat("at most ", kMaxSamples, ", got ", samples.size()));
  }
  for (const double sample : samples)
    FORALL_RETURN_IF_ERROR(CheckNumber(field, sample, false, kMaxNanos));
  return absl::OkStatus();
}

std::string ValueField(int index, absl::string_view field) {
  return absl::StrCat("latency_result.values[", index, "].", field);
}

absl::Status CheckValueNumbers(int index, const v1::MeasuredValue& value) {
  const bool needed = value.verdict().state() != v1::Verdict::REJECTED;
  FORALL_RETURN_IF_ERROR(CheckNumber(ValueField(index, "value"), value.value(), needed, kMaxValue));
  FORALL_RETURN_IF_ERROR(CheckNumber(ValueField(index, "low"), value.low(), false, kMaxValue));
  FORALL_RETURN_IF_ERROR(CheckNumber(ValueField(index, "high"), value.high(), needed, kMaxValue));
  if (needed && !(value.low() <= value.value() && value.value() <= value.high())) {
    return Impossible(ValueField(index, "value"), "must lie between low and high");
  }
  return absl::OkStatus();
}

absl::Status CheckTimes(const v1::LatencyResult& result) {
  // A rejected measurement may have been given up before it had numbers.
  const bool needed = result.verdict().state() != v1::Verdict::REJECTED;
  FORALL_RETURN_IF_ERROR(
      CheckNumber("latency_result.median_ns", result.median_ns(), needed, kMaxNanos));
  FORALL_RETURN_IF_ERROR(CheckNumber("latency_result.reference_median_ns",
                                     result.reference_median_ns(), needed, kMaxNanos));
  FORALL_RETURN_IF_ERROR(CheckNumber("latency_result.ratio", result.ratio(), needed, kMaxRatio));
  FORALL_RETURN_IF_ERROR(
      CheckNumber("latency_result.ratio_low", result.ratio_low(), false, kMaxRatio));
  FORALL_RETURN_IF_ERROR(
      CheckNumber("latency_result.ratio_high", result.ratio_high(), needed, kMaxRatio));
  FORALL_RETURN_IF_ERROR(CheckNumber("latency_result.calibrated_reference_ns",
                                     result.calibrated_reference_ns(), false, kMaxNanos));
  if (needed && !(result.ratio_low() <= result.ratio() && result.ratio() <= result.ratio_high())) {
    return Impossible("latency_result.ratio", "must lie between ratio_low and ratio_high");
  }
  for (int i = 0; i < std::min(result.values_size(), kMaxValues); ++i) {
    FORALL_RETURN_IF_ERROR(CheckValueNumbers(i, result.values(i)));
  }
  FORALL_RETURN_IF_ERROR(CheckSamples("latency_result.samples_ns", result.samples_ns()));
  return CheckSamples("latency_result.reference_samples_ns", result.reference_samples_ns());
}

absl::Status CheckVerdict(const std::string& field, const v1::Verdict& verdict) {
  if (verdict.state() != v1::Verdict::TRUSTED && verdict.state() != v1::Verdict::NOISY &&
      verdict.state() != v1::Verdict::REJECTED) {
    return Invalid(absl::StrCat(field, ".state"), "required");
  }
  if (verdict.reasons_size() > 32) return Invalid(absl::StrCat(field, ".reasons"), "at most 32");
  for (const std::string& reason : verdict.reasons()) {
    if (reason.size() > kMaxText) {
      return Invalid(absl::StrCat(field, ".reasons"),
                     absl::StrCat("a text of more than ", kMaxText, " bytes"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckValue(int index, const v1::Task& task, const v1::MeasuredValue& value) {
  const MetricInfo* const metric = FindMetric(value.metric());
  if (metric == nullptr || !metric->derived_from.empty() ||
      std::count(task.metrics().begin(), task.metrics().end(), value.metric()) == 0) {
    return Invalid(ValueField(index, "metric"),
                   absl::StrCat("the task did not ask a worker for \"", value.metric(), "\""));
  }
  FORALL_RETURN_IF_ERROR(CheckVerdict(ValueField(index, "verdict"), value.verdict()));
  if (value.verdict().state() == v1::Verdict::REJECTED) return absl::OkStatus();
  const int64_t fewest =
      metric->percentile > 0 ? FewestSamplesForPercentile(metric->percentile) : 1;
  if (value.samples() >= fewest) return absl::OkStatus();
  return Invalid(ValueField(index, "samples"),
                 absl::StrCat(metric->id, " needs at least ", fewest, ", got ", value.samples()));
}

// Each that was asked for once, and no other.
absl::Status CheckValues(const v1::Task& task, const v1::LatencyResult& result) {
  if (result.values_size() > kMaxValues) {
    return Invalid("latency_result.values", absl::StrCat("at most ", kMaxValues));
  }
  std::set<absl::string_view> told;
  for (int i = 0; i < result.values_size(); ++i) {
    FORALL_RETURN_IF_ERROR(CheckValue(i, task, result.values(i)));
    if (!told.insert(result.values(i).metric()).second) {
      return Invalid(ValueField(i, "metric"), "told twice");
    }
  }
  // A latency that nobody can trust may have been given up before the rest.
  if (result.verdict().state() == v1::Verdict::REJECTED) return absl::OkStatus();
  for (const std::string& id : task.metrics()) {
    const MetricInfo* const metric = FindMetric(id);
    if (metric == nullptr || !metric->derived_from.empty() || told.count(id) > 0) continue;
    return Invalid("latency_result.values", absl::StrCat("the task asked for ", id));
  }
  return absl::OkStatus();
}

absl::Status CheckLatency(const v1::Task& task, const v1::LatencyResult& result) {
  FORALL_RETURN_IF_ERROR(CheckVerdict("latency_result.verdict", result.verdict()));
  FORALL_RETURN_IF_ERROR(CheckValues(task, result));
  FORALL_RETURN_IF_ERROR(CheckTimes(result));
  if (result.environment_size() > kMaxEnvironment) {
    return Invalid("latency_result.environment",
                   absl::StrCat("at most ", kMaxEnvironment, " pairs"));
  }
  for (const auto& [name, value] : result.environment()) {
    if (name.size() > kMaxText || value.size() > kMaxText) {
      return Invalid("latency_result.environment",
                     absl::StrCat("a text of more than ", kMaxText, " bytes"));
    }
  }
  if (result.verdict().state() != v1::Verdict::REJECTED &&
      !IsSha256Hex(result.reference_sha256())) {
    return Invalid("latency_result.reference_sha256", "must be 64 lower-case hex digits");
  }
  return absl::OkStatus();
}

absl::Status CheckExport(const v1::ExportResult& result) {
  if (!IsSha256Hex(result.artifact_sha256())) {
    return Invalid("export_result.artifact_sha256", "must be 64 lower-case hex digits");
  }
  if (result.size_bytes() < 1) return Invalid("export_result.size_bytes", "must be positive");
  return absl::OkStatus();
}

absl::Status CheckFailure(const v1::TaskFailure& failure) {
  if (failure.reason() == v1::TaskFailure::REASON_UNSPECIFIED ||
      !v1::TaskFailure::Reason_IsValid(failure.reason())) {
    return Invalid("failure.reason", "required");
  }
  return absl::OkStatus();
}

MeasurementRecord NewRecord(const v1::Task& task, const MeasuredBy& by) {
  MeasurementRecord record;
  record.key.recipe = task.recipe();
  record.fidelity = task.fidelity() == "final" ? FidelityLevel::kFinal : FidelityLevel::kScreening;
  record.worker = by.worker;
  record.worker_build = by.build;
  record.lease_token = by.lease_token;
  record.time = by.time;
  return record;
}

void SetVerdict(const v1::Verdict& verdict, MeasurementRecord* record) {
  record->verdict = static_cast<VerdictState>(verdict.state());
  record->reasons.assign(verdict.reasons().begin(), verdict.reasons().end());
}

MeasurementRecord MedianLatency(const v1::LatencyResult& result, MeasurementRecord record,
                                const BaselineRecord& baseline) {
  record.key.metric = kMedianLatency;
  record.ratio = result.ratio();
  record.baseline_reference_ms = baseline.reference_ms;
  record.baseline_id = baseline.id;
  record.value = result.ratio() * baseline.reference_ms;
  record.low = result.ratio_low() * baseline.reference_ms;
  record.high = result.ratio_high() * baseline.reference_ms;
  record.raw_median_ms = result.median_ns() / kNanosPerMilli;
  record.reference_median_ms = result.reference_median_ns() / kNanosPerMilli;
  record.sample_count = result.runs();
  SetVerdict(result.verdict(), &record);
  return record;
}

MeasurementRecord OtherValue(const v1::MeasuredValue& value, MeasurementRecord record,
                             const BaselineRecord& baseline) {
  record.key.metric = value.metric();
  double unit = 1;
  if (FindMetric(value.metric())->percentile > 0) {
    unit = baseline.reference_ms;
    record.ratio = value.value();
    record.baseline_reference_ms = baseline.reference_ms;
    record.baseline_id = baseline.id;
  }
  record.value = value.value() * unit;
  record.low = value.low() * unit;
  record.high = value.high() * unit;
  record.sample_count = value.samples();
  SetVerdict(value.verdict(), &record);
  return record;
}

}  // namespace

absl::Status CheckResult(const v1::Task& task, const v1::TaskResult& result) {
  switch (result.outcome_case()) {
    case v1::TaskResult::kFailure:
      return CheckFailure(result.failure());
    case v1::TaskResult::kExportResult:
      if (task.kind() == v1::Task::EXPORT) return CheckExport(result.export_result());
      break;
    case v1::TaskResult::kAccuracyResult:
      if (task.kind() == v1::Task::ACCURACY) return CheckAccuracy(task, result.accuracy_result());
      break;
    case v1::TaskResult::kLatencyResult:
      if (task.kind() == v1::Task::LATENCY) {
        return CheckLatency(task, result.latency_result());
      }
      break;
    case v1::TaskResult::OUTCOME_NOT_SET:
      return Invalid("outcome", "required");
  }
  return Invalid("outcome", absl::StrCat("the task is of kind ", v1::Task::Kind_Name(task.kind())));
}

absl::Status CheckNumbers(const v1::TaskResult& result) {
  if (result.has_accuracy_result()) return CheckCounts(result.accuracy_result());
  if (result.has_latency_result()) return CheckTimes(result.latency_result());
  return absl::OkStatus();
}

std::string ResultFingerprint(const v1::TaskResult& result) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    result.SerializeToCodedStream(&coded);
  }
  // Fields are written in the order of their numbers: task and lease_token, 1 and 2, come first.
  size_t names = 0;
  for (const std::string* const name : {&result.task(), &result.lease_token()}) {
    const auto length = static_cast<uint32_t>(name->size());
    if (length > 0) {
      names += 1 + google::protobuf::io::CodedOutputStream::VarintSize32(length) + length;
    }
  }
  return Sha256Hex(absl::string_view(bytes).substr(names));
}

void WilsonInterval(int64_t correct, int64_t images, double* low, double* high) {
  constexpr double kZ = 1.959963984540054;
  const double n = static_cast<double>(images);
  const double p = static_cast<double>(correct) / n;
  const double centre = (p + kZ * kZ / (2 * n)) / (1 + kZ * kZ / n);
  const double half = kZ * std::sqrt(p * (1 - p) / n + kZ * kZ / (4 * n * n)) / (1 + kZ * kZ / n);
  *low = 100 * std::max(0.0, centre - half);
  *high = 100 * std::min(1.0, centre + half);
}

std::vector<MeasurementRecord> AccuracyMeasurements(const v1::Task& task,
                                                    const v1::AccuracyResult& result,
                                                    const MeasuredBy& by) {
  std::vector<MeasurementRecord> records;
  for (const bool top1 : {true, false}) {
    const int64_t correct = top1 ? result.top1_correct() : result.top5_correct();
    MeasurementRecord record = NewRecord(task, by);
    record.key.subject = task.artifact_sha256();
    record.key.metric = top1 ? "accuracy_top1" : "accuracy_top5";
    record.key.dataset = task.dataset();
    record.key.split = task.split();
    record.value = 100.0 * static_cast<double>(correct) / static_cast<double>(result.images());
    WilsonInterval(correct, result.images(), &record.low, &record.high);
    record.interval_kind = "wilson";
    record.sample_count = result.images();
    records.push_back(std::move(record));
  }
  return records;
}

BaselineRecord MakeBaseline(const v1::Task& task, const v1::LatencyResult& result,
                            const MeasuredBy& by) {
  BaselineRecord baseline;
  baseline.device = by.device;
  baseline.device_fingerprint = by.device_fingerprint;
  baseline.profile = by.profile;
  baseline.reference_sha256 = result.reference_sha256();
  const double reference_ns = result.calibrated_reference_ns() > 0
                                  ? result.calibrated_reference_ns()
                                  : result.reference_median_ns();
  baseline.reference_ms = reference_ns / kNanosPerMilli;
  baseline.create_time = by.time;
  baseline.id =
      "b2-" + Sha256Hex(absl::StrCat("forall.baseline.2\n", by.device, "\n", by.device_fingerprint,
                                     "\n", by.profile, "\n", result.reference_sha256(), "\n",
                                     std::max(task.batch(), 1), "\n"))
                  .substr(0, 32);
  return baseline;
}

std::vector<MeasurementRecord> LatencyMeasurements(const v1::Task& task,
                                                   const v1::LatencyResult& result,
                                                   const MeasuredBy& by,
                                                   const BaselineRecord& baseline) {
  MeasurementRecord record = NewRecord(task, by);
  record.key.subject =
      record.fidelity == FidelityLevel::kFinal ? task.artifact_sha256() : task.graph_key();
  record.key.device = by.device;
  record.key.device_class = by.device_class;
  record.key.device_fingerprint = by.device_fingerprint;
  record.key.profile = by.profile;
  record.key.batch = std::max(task.batch(), 1);
  record.interval_kind = "prediction";
  std::vector<MeasurementRecord> records;
  records.push_back(MedianLatency(result, record, baseline));
  for (const v1::MeasuredValue& value : result.values()) {
    records.push_back(OtherValue(value, record, baseline));
  }
  const size_t measured = records.size();
  for (const std::string& id : task.metrics()) {
    const MetricInfo* const metric = FindMetric(id);
    if (metric == nullptr || metric->derived_from.empty()) continue;
    const auto source = std::find_if(records.begin(), records.begin() + measured,
                                     [&](const MeasurementRecord& candidate) {
                                       return candidate.key.metric == metric->derived_from;
                                     });
    // There is none where the latency was given up before the rest.
    if (source == records.begin() + measured) continue;
    MeasurementRecord derived = Derive(*source, *metric, task.grid_grams_per_kwh());
    records.push_back(std::move(derived));
  }
  return records;
}

bool IsWhole(const v1::Task& task, const v1::AccuracyResult& result) {
  if (!IsPart(task)) return true;
  return task.first_image() == 0 && result.images() == TotalImages(task, result.split_images());
}

AccuracyPartRecord PartOf(const v1::Task& task, const v1::AccuracyResult& result,
                          const MeasuredBy& by, int64_t task_id) {
  AccuracyPartRecord part;
  part.task_id = task_id;
  part.artifact_sha256 = task.artifact_sha256();
  part.dataset = task.dataset();
  part.split = task.split();
  part.first_image = task.first_image();
  part.images = result.images();
  part.top1_correct = result.top1_correct();
  part.top5_correct = result.top5_correct();
  part.top1_bitmap = result.top1_bitmap();
  part.worker = by.worker;
  part.worker_build = by.build;
  part.lease_token = by.lease_token;
  part.time = by.time;
  return part;
}

v1::AccuracyResult Join(absl::Span<const AccuracyPiece> pieces) {
  v1::AccuracyResult joined;
  std::string bitmap;
  for (const AccuracyPiece& piece : pieces) {
    for (int64_t i = 0; i < piece.images; ++i) {
      const int64_t at = joined.images() + i;
      if (at % 8 == 0) bitmap.push_back('\0');
      const unsigned bit = static_cast<unsigned char>((*piece.top1_bitmap)[i / 8]) >> (i % 8) & 1;
      bitmap.back() =
          static_cast<char>(static_cast<unsigned char>(bitmap.back()) | (bit << (at % 8)));
    }
    joined.set_images(joined.images() + piece.images);
    joined.set_top1_correct(joined.top1_correct() + piece.top1_correct);
    joined.set_top5_correct(joined.top5_correct() + piece.top5_correct);
  }
  joined.set_top1_bitmap(bitmap);
  return joined;
}

MeasurementEvidence EvidenceOf(const v1::TaskResult& result) {
  MeasurementEvidence evidence;
  if (result.has_accuracy_result()) evidence.top1_bitmap = result.accuracy_result().top1_bitmap();
  if (result.has_latency_result()) {
    const v1::LatencyResult& latency = result.latency_result();
    evidence.samples_ns.assign(latency.samples_ns().begin(), latency.samples_ns().end());
    evidence.reference_samples_ns.assign(latency.reference_samples_ns().begin(),
                                         latency.reference_samples_ns().end());
    evidence.environment.insert(latency.environment().begin(), latency.environment().end());
  }
  return evidence;
}

}  // namespace forall
