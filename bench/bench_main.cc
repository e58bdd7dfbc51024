// SPDX-License-Identifier: Apache-2.0
// forall-bench: measures forall against its limits and peers on this very machine.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "bench/evaluator_bench.h"
#include "bench/fleet_bench.h"
#include "bench/frontier_query_bench.h"
#include "bench/image_bench.h"
#include "bench/latency_bench.h"
#include "bench/measured_search_bench.h"
#include "bench/multi_device_bench.h"
#include "bench/pareto_bench.h"
#include "bench/predictor_bench.h"
#include "bench/sample_efficiency_bench.h"
#include "bench/search_bench.h"
#include "bench/soak_bench.h"
#include "bench/supernet_bench.h"
#include "latency/child/measuring_child.h"

namespace forall {
namespace {

constexpr char kUsage[] = R"(usage: forall-bench [BENCHMARK] [FLAGS]

Prints one JSON object per line. Without BENCHMARK all of the first group run.

benchmarks (each line has "benchmark"; what was timed or counted, "bar" and "ok" where there is one)
  session     architecture to ready session against ONNX Runtime's own session creation
              forall-bench session --rounds 5
  import      a 31 MB checkpoint of each format into a family's tensors
              forall-bench import
  images      JPEG files to a network's input against libjpeg-turbo alone
              forall-bench images
  pareto      Pareto kernels against pagmo and std::sort (in builds that found pagmo)
              forall-bench pareto --points 10000
  frontier-query  questions about a million made-up measurements that a controller remembers
              forall-bench frontier-query --measurements 100000
  evaluator   accuracy evaluation against a bare ONNX Runtime loop at its best batch size
              forall-bench evaluator --data build/deps --images 2500
  fleet       a controller that holds simulated workers, against bare SQLite and empty calls; by
              "workers": "completions_per_second", "sqlite_limit_per_second",
              "rpc_limit_per_second", "lease_p50_ms", "lease_p99_ms", "controller_threads",
              "controller_rss_mib", ...
              forall-bench fleet --workers 100,5000

benchmarks that take minutes, or published data (flags in brackets are required)
  ofa-search  the best predicted accuracy within each bound of an additive cost, all bounds in one
              run on one thread [--predictor, --bounds, and --tables unless --objective macs]
              forall-bench ofa-search --predictor acc_predictor.pth --tables DIR --bounds 20,30
  latency     how well latencies of this machine repeat, by forall and by fixed protocols, alone and
              beside other programs (6 minutes); by "protocol" and "load": "kendall_tau",
              "median_relative_difference", "interval_agreement", "seconds_per_measurement"
              forall-bench latency --load quiet --probes 10
  soak        whether a controller in steady use keeps its memory, descriptors and threads (10
              minutes); "controller_rss_mib" with "first", "last", "slope_per_hour", "descriptors"
              and "threads" with "first" and "last"; status 1 when they grow
              forall-bench soak --minutes 60
  measured-search  samplers on the supernet that ships, measured on this machine (20 minutes); by
              sampler and "evaluations": "hypervolume_median", "_min", "_max", "seeds", ...
              forall-bench measured-search --images 2500 --results measured.jsonl
  sample-efficiency  every sampler in a world made from a published accuracy predictor
              [--predictor]; keys as measured-search, and "parallel", "warm_from"
              forall-bench sample-efficiency --predictor acc_predictor.pth --at 50,135 --seeds 3
  multi-device  one search for several devices against one for each [--predictor, --tables twice or
              more]; keys as sample-efficiency, and "mode", "device"
              forall-bench multi-device --predictor acc_predictor.pth --tables A --tables B
  table-prior   how few measurements a latency takes with a lookup table [--tables, twice or more]
              forall-bench table-prior --tables ofa_note10 --tables ofa_jetson_cpu --at 2,8,32
  predictors  models of accuracy on DyNAS-T's ImageNet evaluations [--logs]; "model", "trained_on",
              "tested_on", "kendall_median", "spearman_median", "rmse_median", "fit_seconds_median"
              forall-bench predictors --logs DIR --at 50,200

acc_predictor.pth and the lookup tables come with the once-for-all repository of their authors
(mit-han-lab/once-for-all and the tutorial in it), the CSV logs with DyNAS-T's (IntelLabs/DyNAS-T).

flags
  --data=DIR      folder with the Fashion-MNIST files (default: $FORALL_DATA, else build/deps)
  --images=N      images per evaluation (default 2500; of measured-search: all)
  --points=N      at most so many points in a Pareto case (default: as many as its bar names)
  --measurements=N  that the controller of frontier-query remembers (default 1000000)
  --workers=LIST  of fleet: how many to simulate, one line each (default 10,100,1000)
  --callers=N     of fleet: completion calls at once (default 32)
  --duration=S    of fleet: seconds of each timed part (default 2.5)
  --minutes=M     of soak (default 10)
  --transport=T   of fleet: plaintext (default) or mtls
  --rounds=N      how often both sides are timed, in turn (default 5; of fleet 3)
  --threads=N     threads of both sides (default: one per core)
  --check         end with status 1 where a bar is missed
  --predictor=FILE  the once-for-all authors' acc_predictor.pth; of ofa-search also forall's own
  --supernet=DIR  of measured-search, fleet and soak (default supernets/fashion_mnist)
  --results=FILE  measurements of measured-search, kept and reused
  --load=LIST     of latency: quiet, intermittent (default: both)
  --probes=N      of latency: subnets to tell apart (default 20)
  --logs=DIR      DyNAS-T's CSV files of OFA-MobileNetV3 w1.0
  --sampler=NAMES   separated by commas (default: all; of measured-search: guided,nsga2,random)
  --at=N,N,...    evaluations, or measurements learned from, at which to look
  --seeds=N       repetitions (default 10; of measured-search: 3), from --first-seed on (default 1)
  --parallel=N    trials in flight (default 4)
  --warm-from=N   of sample-efficiency: "guided" again, knowing what a search of another seed
                  measured in N evaluations; with --tables=PATH (of w1.2) its accuracies alone, the
                  cost being that device's latency

flags of ofa-search, multi-device and table-prior
  --tables=PATH     a folder with a device's published lookup tables (YAML or JSON, one file per
                    resolution), or forall's own file; given once for each device
  --bounds=A,B,...  upper bounds in ms, or in millions of multiply-accumulates
  --objective=NAME  latency (default; needs --tables) or macs
  --space=NAME      search space (default ofa_mbv3_w1.2)
  --features=ORDER  order of a checkpoint's features: kernel-expand-resolution (default) or
                    resolution-kernel-expand
  --unit=UNIT       of published tables, which do not say it: s, ms (default), us or ns
  --device=NAME     of published tables (default: the folder's name)
  --budget=N        candidates to predict (default 280000)
  --seed=N          of the search (default 1)
)";

struct Options {
  std::string benchmark;
  LatencyBenchOptions latency;
  EvaluatorBenchOptions evaluator;
  SupernetBenchOptions supernet;
  ImageBenchOptions image;
  PredictorBenchOptions predictor;
  SampleEfficiencyOptions sample_efficiency;
  MeasuredSearchOptions measured_search;
  MultiDeviceOptions multi_device;  // its `search` is the one below
  ParetoBenchOptions pareto;
  FrontierQueryBenchOptions frontier_query;
  FleetBenchOptions fleet;
  SoakBenchOptions soak;
  SearchBenchOptions search;
};

MultiDeviceOptions WithSearch(const Options& options) {
  MultiDeviceOptions of_search = options.multi_device;
  of_search.search = options.search;
  return of_search;
}

struct Benchmark {
  const char* name;
  absl::Status (*run)(const Options& options);
  bool on_request = false;  // takes long, or data that does not come with forall
};
constexpr Benchmark kBenchmarks[] = {
    {"session", [](const Options& options) { return RunSessionBench(options.supernet); }},
    {"import", [](const Options& options) { return RunImportBench(options.supernet); }},
    {"images", [](const Options& options) { return RunImageBench(options.image); }},
#ifdef FORALL_HAVE_PAGMO
    {"pareto", [](const Options& options) { return RunParetoBench(options.pareto); }},
#endif
    {"frontier-query",
     [](const Options& options) { return RunFrontierQueryBench(options.frontier_query); }},
    {"fleet", [](const Options& options) { return RunFleetBench(options.fleet); }},
    {"evaluator", [](const Options& options) { return RunEvaluatorBench(options.evaluator); }},
    {"sample-efficiency",
     [](const Options& options) -> absl::Status {
       SampleEfficiencyOptions with_table = options.sample_efficiency;
       absl::StatusOr<LatencyTable> table = LatencyTable();
       if (!options.search.tables.empty()) {
         FORALL_ASSIGN_OR_RETURN(table, ReadTables(options.search.tables[0], options.search));
         with_table.table = &*table;
       }
       return RunSampleEfficiencyBench(with_table);
     },
     true},
    {"soak", [](const Options& options) { return RunSoakBench(options.soak); }, true},
    {"latency", [](const Options& options) { return RunLatencyBench(options.latency); }, true},
    {"measured-search",
     [](const Options& options) { return RunMeasuredSearchBench(options.measured_search); }, true},
    {"predictors", [](const Options& options) { return RunPredictorBench(options.predictor); },
     true},
    {"multi-device",
     [](const Options& options) { return RunMultiDeviceBench(WithSearch(options)); }, true},
    {"table-prior", [](const Options& options) { return RunTablePriorBench(WithSearch(options)); },
     true},
    {"ofa-search", [](const Options& options) { return RunOfaSearch(options.search); }, true},
};

absl::Status ReadNumber(absl::string_view flag, absl::string_view text, int64_t* value,
                        int64_t most = 1000000) {
  if (absl::SimpleAtoi(text, value) && *value >= 1 && *value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(flag, ": expected a number from 1 to ", most, ", not \"", text, "\""));
}

absl::Status ReadBounds(absl::string_view flag, absl::string_view text,
                        std::vector<double>* bounds) {
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    double bound = 0;
    if (!absl::SimpleAtod(part, &bound) || !std::isfinite(bound) || bound <= 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(flag, ": expected positive numbers and commas, not \"", text, "\""));
    }
    bounds->push_back(bound);
  }
  return absl::OkStatus();
}

// Whether the flag is one of the searches' own.
absl::StatusOr<bool> ReadSearchFlag(absl::string_view flag, absl::string_view value,
                                    SearchBenchOptions* options) {
  const std::pair<absl::string_view, std::string*> texts[] = {{"--objective", &options->objective},
                                                              {"--space", &options->space},
                                                              {"--features", &options->features},
                                                              {"--unit", &options->unit},
                                                              {"--device", &options->device}};
  for (const auto& [name, text] : texts) {
    if (flag != name) continue;
    *text = std::string(value);
    return true;
  }
  if (flag == "--tables") {
    options->tables.emplace_back(value);
    return true;
  }
  if (flag == "--bounds") {
    FORALL_RETURN_IF_ERROR(ReadBounds(flag, value, &options->bounds));
    return true;
  }
  int64_t number = 0;
  if (flag == "--budget") {
    FORALL_RETURN_IF_ERROR(ReadNumber(flag, value, &options->budget, 1000000000));
    return true;
  }
  if (flag == "--seed") {
    FORALL_RETURN_IF_ERROR(ReadNumber(flag, value, &number, INT64_MAX));
    options->seed = static_cast<uint64_t>(number);
    return true;
  }
  return false;
}

absl::Status ReadFlag(absl::string_view flag, absl::string_view value, Options* options) {
  FORALL_ASSIGN_OR_RETURN(const bool of_search, ReadSearchFlag(flag, value, &options->search));
  if (of_search) return absl::OkStatus();
  int64_t number = 0;
  if (flag == "--predictor") {
    options->sample_efficiency.predictor = std::string(value);
    options->search.predictor = std::string(value);
    return absl::OkStatus();
  }
  if (flag == "--supernet") {
    options->measured_search.supernet = std::string(value);
    options->fleet.supernet = std::string(value);
    options->soak.supernet = std::string(value);
    return absl::OkStatus();
  }
  if (flag == "--results") {
    options->measured_search.results = std::string(value);
    return absl::OkStatus();
  }
  if (flag == "--workers") {
    options->fleet.workers.clear();
    for (const absl::string_view text : absl::StrSplit(value, ',')) {
      FORALL_RETURN_IF_ERROR(ReadNumber(flag, text, &number, 100000));
      options->fleet.workers.push_back(static_cast<int>(number));
    }
    return absl::OkStatus();
  }
  if (flag == "--callers") {
    FORALL_RETURN_IF_ERROR(ReadNumber(flag, value, &number, 10000));
    options->fleet.callers = static_cast<int>(number);
    return absl::OkStatus();
  }
  if (flag == "--duration") {
    double seconds = 0;
    if (!absl::SimpleAtod(value, &seconds) || !(seconds >= 0.1 && seconds <= 60)) {
      return absl::InvalidArgumentError(
          absl::StrCat(flag, ": expected seconds from 0.1 to 60, not \"", value, "\""));
    }
    options->fleet.seconds = seconds;
    return absl::OkStatus();
  }
  if (flag == "--minutes") {
    double minutes = 0;
    if (!absl::SimpleAtod(value, &minutes) || !(minutes >= 0.1 && minutes <= 10'000)) {
      return absl::InvalidArgumentError(
          absl::StrCat(flag, ": expected minutes from 0.1 to 10000, not \"", value, "\""));
    }
    options->soak.minutes = minutes;
    return absl::OkStatus();
  }
  if (flag == "--transport") {
    if (value != "plaintext" && value != "mtls") {
      return absl::InvalidArgumentError(
          absl::StrCat(flag, ": plaintext or mtls, not \"", value, "\""));
    }
    options->fleet.mtls = value == "mtls";
    return absl::OkStatus();
  }
  if (flag == "--load") {
    options->latency.loads = absl::StrSplit(value, ',');
    return absl::OkStatus();
  }
  if (flag == "--probes") {
    FORALL_RETURN_IF_ERROR(ReadNumber(flag, value, &number, 1000));
    options->latency.probes = static_cast<int>(number);
    return absl::OkStatus();
  }
  if (flag == "--logs") {
    options->predictor.logs = std::string(value);
    return absl::OkStatus();
  }
  if (flag == "--sampler") {
    options->sample_efficiency.samplers = absl::StrSplit(value, ',');
    options->measured_search.samplers = absl::StrSplit(value, ',');
    options->multi_device.samplers = absl::StrSplit(value, ',');
    return absl::OkStatus();
  }
  if (flag == "--at") {
    options->sample_efficiency.at.clear();
    options->predictor.at.clear();
    options->measured_search.at.clear();
    options->multi_device.at.clear();
    for (const absl::string_view text : absl::StrSplit(value, ',')) {
      FORALL_RETURN_IF_ERROR(ReadNumber(flag, text, &number));
      options->sample_efficiency.at.push_back(static_cast<int>(number));
      options->predictor.at.push_back(static_cast<int>(number));
      options->measured_search.at.push_back(static_cast<int>(number));
      options->multi_device.at.push_back(static_cast<int>(number));
    }
    return absl::OkStatus();
  }
  if (flag == "--warm-from") {
    FORALL_RETURN_IF_ERROR(ReadNumber(flag, value, &number));
    options->sample_efficiency.warm_from = static_cast<int>(number);
    return absl::OkStatus();
  }
  if (flag == "--seeds" || flag == "--first-seed" || flag == "--parallel") {
    FORALL_RETURN_IF_ERROR(ReadNumber(flag, value, &number));
    if (flag == "--seeds") {
      options->sample_efficiency.seeds = static_cast<int>(number);
      options->predictor.seeds = static_cast<int>(number);
      options->measured_search.seeds = static_cast<int>(number);
      options->multi_device.seeds = static_cast<int>(number);
    }
    if (flag == "--first-seed") {
      options->sample_efficiency.first_seed = number;
      options->measured_search.first_seed = number;
      options->multi_device.first_seed = number;
    }
    if (flag == "--parallel") {
      options->sample_efficiency.parallel = static_cast<int>(number);
      options->measured_search.parallel = static_cast<int>(number);
      options->multi_device.parallel = static_cast<int>(number);
    }
    return absl::OkStatus();
  }
  if (flag == "--data") {
    options->evaluator.data = std::string(value);
    options->measured_search.data = std::string(value);
    return absl::OkStatus();
  }
  if (flag != "--images" && flag != "--measurements" && flag != "--points" && flag != "--rounds" &&
      flag != "--threads") {
    return absl::InvalidArgumentError(absl::StrCat("unknown flag ", flag, "; see --help"));
  }
  FORALL_RETURN_IF_ERROR(ReadNumber(flag, value, &number));
  if (flag == "--images") {
    options->evaluator.images = number;
    options->measured_search.images = number;
  }
  if (flag == "--measurements") options->frontier_query.measurements = number;
  if (flag == "--points") options->pareto.points = number;
  if (flag == "--rounds") {
    options->evaluator.rounds = static_cast<int>(number);
    options->supernet.rounds = static_cast<int>(number);
    options->image.rounds = static_cast<int>(number);
    options->pareto.rounds = static_cast<int>(number);
    options->frontier_query.rounds = static_cast<int>(number);
    options->fleet.rounds = static_cast<int>(number);
  }
  if (flag == "--threads") {
    options->evaluator.threads = static_cast<int>(number);
    options->image.threads = static_cast<int>(number);
  }
  return absl::OkStatus();
}

absl::Status ReadArguments(const std::vector<std::string>& arguments, Options* options) {
  const char* const data = std::getenv("FORALL_DATA");
  options->evaluator.data = data != nullptr && *data != '\0' ? data : "build/deps";
  options->measured_search.data = options->evaluator.data;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!absl::StartsWith(argument, "--")) {
      std::vector<std::string> known;
      for (const Benchmark& benchmark : kBenchmarks) known.push_back(benchmark.name);
      if (std::find(known.begin(), known.end(), argument) == known.end()) {
        return absl::InvalidArgumentError(absl::StrCat("unknown benchmark \"", argument,
                                                       "\"; known: ", absl::StrJoin(known, ", ")));
      }
      options->benchmark = argument;
      continue;
    }
    if (argument == "--check") {
      options->evaluator.check = true;
      options->supernet.check = true;
      options->image.check = true;
      options->pareto.check = true;
      options->latency.check = true;
      options->frontier_query.check = true;
      options->fleet.check = true;
      continue;
    }
    const size_t equals = argument.find('=');
    if (equals == std::string::npos && i + 1 == arguments.size()) {
      return absl::InvalidArgumentError(absl::StrCat(argument, " needs a value; see --help"));
    }
    const std::string value =
        equals == std::string::npos ? arguments[++i] : argument.substr(equals + 1);
    FORALL_RETURN_IF_ERROR(ReadFlag(argument.substr(0, equals), value, options));
  }
  return absl::OkStatus();
}

int Main(const std::vector<std::string>& arguments) {
  const int64_t started_ns = Clock::Real()->SteadyNanos();
  for (const std::string& argument : arguments) {
    if (argument == "--help" || argument == "-h") {
      std::fputs(kUsage, stdout);
      return 0;
    }
  }
  if (arguments.size() == 3 && arguments[0] == "fixed-protocol") {
    const absl::Status status = RunFixedProtocol({arguments[1], arguments[2]});
    if (!status.ok()) std::fprintf(stderr, "forall-bench: %s\n", status.ToString().c_str());
    return status.ok() ? 0 : 1;
  }
  if (arguments.size() == 2 && absl::EndsWith(arguments[0], "-once")) {
    const absl::Status status = MeasureOnce(arguments[0], arguments[1]);
    if (!status.ok()) std::fprintf(stderr, "forall-bench: %s\n", status.ToString().c_str());
    return status.ok() ? 0 : 1;
  }
  Options options;
  options.search.started_ns = started_ns;
  if (const absl::Status status = ReadArguments(arguments, &options); !status.ok()) {
    std::fprintf(stderr, "forall-bench: %s\n", std::string(status.message()).c_str());
    return 2;
  }
  int result = 0;
  for (const Benchmark& benchmark : kBenchmarks) {
    if (options.benchmark.empty() ? benchmark.on_request : options.benchmark != benchmark.name) {
      continue;
    }
    if (const absl::Status status = benchmark.run(options); !status.ok()) {
      std::fprintf(stderr, "forall-bench: %s\n", status.ToString().c_str());
      result = 1;
    }
  }
  return result;
}

}  // namespace
}  // namespace forall

int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == forall::kMeasuringChild) {
    return forall::MeasuringChildMain(&forall::MakeBackend, argc, argv, &forall::PreloadRuntime);
  }
  return forall::Main(std::vector<std::string>(argv + 1, argv + argc));
}
