// SPDX-License-Identifier: Apache-2.0
#include "cli/inspect_format.h"

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace forall {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kNow = 1'800'000'000;

absl::Time Now() { return absl::FromUnixSeconds(kNow); }

v1::Measurement MakeLatency(const std::string& trial, double ms, double half,
                            v1::Verdict::State verdict, int64_t seconds_ago) {
  v1::Measurement latency;
  latency.set_trial(trial);
  latency.set_subject("g1-0123456789abcdef0123456789abcdef");
  latency.set_fidelity("screening");
  latency.mutable_condition()->set_batch(1);
  latency.set_value(ms);
  latency.mutable_interval()->set_low(ms - half);
  latency.mutable_interval()->set_high(ms + half / 2);
  latency.mutable_verdict()->set_state(verdict);
  latency.mutable_measure_time()->set_seconds(kNow - seconds_ago);
  return latency;
}

// A trial whose numbers two workers made.
v1::Trial MakeTrial() {
  v1::Trial trial;
  trial.set_name("searchJobs/1/trials/17");
  const auto add = [&trial](const char* metric, double value, const char* worker,
                            v1::Verdict::State verdict) {
    v1::Measurement* const measurement = trial.add_measurements();
    *measurement = MakeLatency(trial.name(), value, value / 100, verdict, 60);
    measurement->set_metric(metric);
    measurement->set_worker(worker);
  };
  add("macs", 1e6, "", v1::Verdict::TRUSTED);
  add("latency_ms", 0.5, "workers/lab", v1::Verdict::TRUSTED);
  add("latency_p99_ms", 0.8, "workers/lab", v1::Verdict::NOISY);
  add("throughput_ips", 2000, "workers/lab", v1::Verdict::TRUSTED);
  add("peak_memory_mib", 12.5, "workers/lab", v1::Verdict::TRUSTED);
  add("energy_mj", 3.25, "workers/other", v1::Verdict::TRUSTED);
  add("energy_mj", 0, "workers/lab", v1::Verdict::REJECTED);
  trial.mutable_measurements(2)->mutable_verdict()->add_reasons("load");
  trial.mutable_measurements(6)->mutable_verdict()->add_reasons("the sensor stood still");
  return trial;
}

v1::WorkerInspection MakeInspection() {
  v1::WorkerInspection inspection;
  v1::Worker* worker = inspection.mutable_worker();
  worker->set_name("workers/lab");
  worker->set_state(v1::Worker::ACTIVE);
  worker->set_build("0.1.0");
  worker->set_protocol_version(2);
  worker->mutable_register_time()->set_seconds(kNow - 3 * 3600);
  worker->mutable_last_heartbeat_time()->set_seconds(kNow - 3);
  v1::Device* device = worker->mutable_device();
  device->set_name("devices/lab");
  device->set_device_class("x86-64");
  device->set_description("AMD EPYC 9B14, 2 cores");
  device->set_fingerprint(std::string(64, 'f'));
  (*device->mutable_properties())["kernel"] = "6.1.0-18-amd64";
  (*device->mutable_properties())["denied_controls"] =
      "the frequency governor: sys/devices/system/cpu/cpu0/cpufreq/scaling_governor cannot be "
      "written; run the worker as root; a higher priority: raise the limit nice";
  worker->mutable_profile()->set_runtime("onnxruntime");
  worker->mutable_profile()->set_runtime_version("1.30.0");
  worker->mutable_profile()->set_provider("cpu");
  worker->mutable_profile()->set_precision("fp32");
  worker->mutable_profile()->set_threads(1);
  worker->mutable_profile()->set_hash(std::string(64, 'e'));
  auto& readings = *inspection.mutable_readings();
  readings["temperature_celsius"] = "61.5";
  readings["frequency_khz"] = "2450000";
  readings["max_frequency_khz"] = "3200000";
  readings["governor"] = "schedutil";
  readings["load_average"] = "0.31";
  readings["load_steal_share"] = "0";
  readings["gpu_celsius"] = "48";
  readings["warnings"] = "the governor is schedutil; no turbo switch";
  inspection.mutable_readings_time()->set_seconds(kNow - 200);
  v1::BaselineInUse* baseline = inspection.add_baselines();
  baseline->set_id("b2-0");
  baseline->set_batch(1);
  baseline->set_reference_ms(2);
  baseline->mutable_create_time()->set_seconds(kNow - 5 * 86400);
  baseline->set_calibrated_ms(2.06);
  baseline->mutable_calibrated_time()->set_seconds(kNow - 60);
  baseline->set_last_reference_ms(1.95);
  baseline->mutable_last_time()->set_seconds(kNow - 60);
  *inspection.add_latencies() =
      MakeLatency("searchJobs/1/trials/17", 0.5, 0.004, v1::Verdict::TRUSTED, 60);
  v1::Measurement noisy =
      MakeLatency("searchJobs/1/trials/16", 0.75, 0.06, v1::Verdict::NOISY, 7200);
  noisy.mutable_verdict()->add_reasons("load");
  noisy.mutable_verdict()->add_reasons("target_missed");
  *inspection.add_latencies() = noisy;
  v1::VerdictCount* trusted = inspection.add_verdicts();
  trusted->set_state(v1::Verdict::TRUSTED);
  trusted->set_count(3);
  v1::VerdictCount* doubted = inspection.add_verdicts();
  doubted->set_state(v1::Verdict::NOISY);
  doubted->set_count(1);
  for (const char* reason : {"load", "target_missed"}) {
    doubted->add_reasons()->set_reason(reason);
    doubted->mutable_reasons(doubted->reasons_size() - 1)->set_count(1);
  }
  return inspection;
}

TEST(InspectFormatTest, SaysWhatTheWorkerAndItsMachineAre) {
  const std::string text = InspectionText(MakeInspection(), {}, Now());
  EXPECT_THAT(text, AllOf(HasSubstr("workers/lab, active; seen 3 s ago, registered 3 h ago, "
                                    "forall 0.1.0, protocol 2\n"),
                          HasSubstr("devices/lab (x86-64): AMD EPYC 9B14, 2 cores"),
                          HasSubstr("onnxruntime 1.30.0 on cpu, fp32, 1 thread;")));
  EXPECT_THAT(text, HasSubstr("now        3 min ago: 61.5 °C; 2.45 GHz of 3.20 GHz; governor "
                              "schedutil; load 0.31; gpu_celsius 48\n"));
  EXPECT_THAT(text, AllOf(HasSubstr("warning    the governor is schedutil\n"),
                          HasSubstr("warning    no turbo switch\n")));
  EXPECT_THAT(text, AllOf(HasSubstr("denied     the frequency governor:"),
                          HasSubstr("\n           a higher priority: raise the limit nice\n")));
}

TEST(InspectFormatTest, SaysHowFarTheReferenceHasDrifted) {
  EXPECT_THAT(InspectionText(MakeInspection(), {}, Now()),
              ContainsRegex("1 +2.000 +5 days ago +2.060 +\\+3.0 % +1.950 +-2.5 % +60 s ago"));
  v1::WorkerInspection inspection = MakeInspection();
  inspection.mutable_baselines(0)->clear_calibrated_ms();
  inspection.set_former_baselines(2);
  EXPECT_THAT(InspectionText(inspection, {}, Now()),
              AllOf(ContainsRegex("5 days ago +- +- +1.950"), HasSubstr("2 others more")));
}

TEST(InspectFormatTest, SaysWhatItsLatenciesAreWorth) {
  const std::string text = InspectionText(MakeInspection(), {}, Now());
  EXPECT_THAT(text, HasSubstr("verdicts   of 4 latencies\n"));
  EXPECT_THAT(text, HasSubstr("  TRUSTED  3 (75.0 %)\n"));
  EXPECT_THAT(text, HasSubstr("  NOISY    1 (25.0 %), for load 1, target_missed 1\n"));
  EXPECT_THAT(text, ContainsRegex("60 s ago +1/trials/17 +screening +1 +0.5000 +0.8 % +TRUSTED\n"));
  EXPECT_THAT(text, ContainsRegex("2 h ago +1/trials/16 .*8.0 % +NOISY +load, target_missed\n"));
}

TEST(InspectFormatTest, ALatencyForATableHasNoTrialAndIsNotRetracted) {
  v1::WorkerInspection inspection = MakeInspection();
  inspection.clear_latencies();
  *inspection.add_latencies() = MakeLatency("", 0.5, 0.004, v1::Verdict::TRUSTED, 60);
  EXPECT_THAT(InspectionText(inspection, {}, Now()), HasSubstr("g1-0123456789ab retracted"));
  inspection.mutable_latencies(0)->set_subject("t1-0123456789abcdef0123456789abcdef");
  EXPECT_THAT(
      InspectionText(inspection, {}, Now()),
      AllOf(ContainsRegex("60 s ago +t1-0123456789ab +screening"), Not(HasSubstr("retracted"))));
}

TEST(InspectFormatTest, FitsATerminal) {
  for (const absl::string_view line :
       absl::StrSplit(InspectionText(MakeInspection(), {}, Now()), '\n')) {
    EXPECT_LE(line.size(), 101u) << line;  // ° has two bytes
  }
}

TEST(InspectFormatTest, NothingKnownIsSaidInWords) {
  v1::WorkerInspection inspection;
  inspection.mutable_worker()->set_name("workers/new");
  const std::string text = InspectionText(inspection, {}, Now());
  EXPECT_THAT(text, AllOf(HasSubstr("no readings since the controller started"),
                          HasSubstr("denied     no control"), HasSubstr("baselines  none"),
                          HasSubstr("it has timed nothing yet")));
  EXPECT_THAT(text, Not(HasSubstr("latencies  the last")));
}

TEST(InspectFormatTest, WhatAWorkerSaysCannotCommandATerminal) {
  v1::WorkerInspection inspection = MakeInspection();
  inspection.mutable_worker()->mutable_device()->set_description("a\x1b[2Jb\nc");
  inspection.mutable_latencies(0)->mutable_verdict()->add_reasons("d\x1b[31m");
  EXPECT_THAT(InspectionText(inspection, {}, Now()),
              AllOf(HasSubstr("a [2Jb c"), Not(HasSubstr("\x1b"))));
}

TEST(InspectFormatTest, RetractedLatencyIsShownByWhatWasMeasured) {
  v1::WorkerInspection inspection = MakeInspection();
  inspection.mutable_latencies(0)->clear_trial();
  EXPECT_THAT(InspectionText(inspection, {}, Now()), HasSubstr("g1-0123456789ab retracted"));
}

TEST(InspectFormatTest, TimesAreInWords) {
  EXPECT_EQ(Ago(Now(), Now()), "just now");
  EXPECT_EQ(Ago(Now() + absl::Hours(1), Now()), "just now") << "a clock that is ahead";
  EXPECT_EQ(Ago(Now() - absl::Seconds(119), Now()), "119 s ago");
  EXPECT_EQ(Ago(Now() - absl::Minutes(119), Now()), "119 min ago");
  EXPECT_EQ(Ago(Now() - absl::Hours(47), Now()), "47 h ago");
  EXPECT_EQ(Ago(Now() - absl::Hours(49), Now()), "2 days ago");
}

TEST(InspectFormatTest, JsonHasAllOfIt) {
  const nlohmann::ordered_json json = InspectionJson(MakeInspection(), {});
  EXPECT_EQ(json["worker"]["device"]["properties"]["kernel"], "6.1.0-18-amd64");
  EXPECT_EQ(json["readings"]["gpu_celsius"], "48");
  EXPECT_EQ(json["readings_time"], "2027-01-15T07:56:40+00:00");
  EXPECT_NEAR(json["baselines"][0]["calibrated_drift"].get<double>(), 0.03, 1e-12);
  EXPECT_NEAR(json["baselines"][0]["last_drift"].get<double>(), -0.025, 1e-12);
  EXPECT_EQ(json["verdicts"][1]["reasons"]["load"], 1);
  EXPECT_EQ(json["latencies"][0]["trial"], "searchJobs/1/trials/17");
  EXPECT_EQ(json["latencies"][1]["reasons"].size(), 2u);
  EXPECT_TRUE(InspectionJson({}, {})["readings_time"].is_null());
}

TEST(InspectFormatTest, WhatElseItMeasuredHasItsVerdicts) {
  const std::vector<v1::Measurement> beside = MeasuredBeside(MakeTrial(), "workers/lab");
  ASSERT_EQ(beside.size(), 4u) << "neither costs, nor the latency, nor another worker's";
  const std::string text = InspectionText(MakeInspection(), beside, Now());
  EXPECT_THAT(text, AllOf(HasSubstr("latency_p99_ms"), HasSubstr("throughput_ips"),
                          HasSubstr("peak_memory_mib"), HasSubstr("12.50")));
  EXPECT_THAT(text, ContainsRegex("energy_mj +- +- +REJECTED +the sensor"));
  EXPECT_THAT(text, ContainsRegex("0.800 +1.0 % +NOISY +load"));
  for (const absl::string_view line : absl::StrSplit(text, '\n')) EXPECT_LE(line.size(), 100u);
  const nlohmann::ordered_json json = InspectionJson(MakeInspection(), beside);
  ASSERT_EQ(json["beside"].size(), 4u);
  EXPECT_EQ(json["beside"][0]["metric"], "latency_p99_ms");
  EXPECT_EQ(json["beside"][3]["verdict"], "REJECTED");
}

TEST(InspectFormatTest, TellsWhatItsDeviceMeasures) {
  v1::WorkerInspection inspection = MakeInspection();
  auto& facts = *inspection.mutable_worker()->mutable_device()->mutable_properties();
  EXPECT_THAT(InspectionText(inspection, {}, Now()), Not(HasSubstr("\nmeasures")));
  facts["measures"] = "latency_p90_ms, peak_memory_mib";
  facts["cannot_measure_energy"] = "no rapl";
  EXPECT_THAT(
      InspectionText(inspection, {}, Now()),
      HasSubstr("\nmeasures   latency_ms, latency_p90_ms, peak_memory_mib; no energy_mj: no "
                "rapl\n"));
}

TEST(InspectFormatTest, WorkersFitATerminal) {
  v1::Worker worker = MakeInspection().worker();
  worker.set_name("workers/a-phone-of-the-left-rack-with-a-long-name");
  worker.mutable_device()->set_name("devices/a-phone-of-the-left-rack-with-a-long-name");
  worker.mutable_device()->set_device_class("snapdragon-8-gen-3");
  const std::string text = WorkersTable({worker}, Now(), 100);
  for (const absl::string_view line : absl::StrSplit(text, '\n')) EXPECT_LE(line.size(), 100u);
  EXPECT_THAT(text, HasSubstr("onnxruntime"));
  EXPECT_THAT(WorkersTable({worker}, Now(), 0), HasSubstr(worker.device().name()));
}

}  // namespace
}  // namespace forall
