#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/test.sh [STAGE...]: all of `make test`, or only the stages named. Closes with the stages'
# seconds and one summary line over all test runs, in ctest's own words.
#
#   aarch64-build               forall-worker for 64-bit ARM, where tools/setup.sh --aarch64 was run
#   release-build release-test  everything, optimised, as users run it
#   asan-build asan-test        address and undefined-behaviour sanitizers; all but slow tests
#   tsan-build tsan-test        thread sanitizer; tests labelled "threads"
#   fuzz-build fuzz-test        each libFuzzer target for a few seconds, where clang-14 is installed
#
# Set-up (tools/setup.sh --trainer --fuzz --peers --node) comes first when no stage is named. FORALL_TEST_STAGES, a list
# of names, takes the place of all stages then. FORALL_JOBS overrides the number of parallel jobs. Logs and JUnit files: build/test-results/.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/stage.sh"
cd "$FORALL_ROOT"

readonly RESULTS="$FORALL_ROOT/build/test-results"
readonly STAGES=(aarch64-build release-build release-test asan-build asan-test tsan-build tsan-test fuzz-build fuzz-test)

# One job per core, but no more than one per 2 GB: a LibTorch or gRPC file takes over 1 GB to compile.
job_count() {
  local cores gigabytes
  cores=$(nproc)
  gigabytes=$(awk '/^MemTotal/ { print int($2 / 2000000) }' /proc/meminfo)
  ((gigabytes >= 1)) || gigabytes=1
  printf '%s' "${FORALL_JOBS:-$((cores < gigabytes ? cores : gigabytes))}"
}

# build PRESET TARGET [CACHE OPTION...]
build() {
  local preset=$1 target=$2
  shift 2
  cmake --preset "$preset" "$@" >"$RESULTS/$preset-configure.log" 2>&1 || {
    tail -30 "$RESULTS/$preset-configure.log" >&2
    return 1
  }
  cmake --build --preset "$preset" --target "$target" -j "$(job_count)"
}

# run_tests STAGE PRESET CTEST OPTION...: runs ctest and keeps its summary for the last line.
run_tests() {
  local name=$1 preset=$2 status=0
  shift 2
  local command=(ctest --test-dir "build/$preset" --output-on-failure --no-tests=error
    -j "$(job_count)" --output-junit "$RESULTS/$name.xml" "$@")
  # Older thread sanitizers cannot live with the address randomisation of newer kernels.
  if [[ $preset == tsan ]] && setarch "$(uname -m)" -R true 2>/dev/null; then
    command=(setarch "$(uname -m)" -R "${command[@]}")
  fi
  # Long computations on one thread, which the other builds run, tell a thread sanitizer nothing; and
  # of megabytes that pass through gRPC's buffers it reports, and then suppresses, every byte.
  if [[ $preset == tsan ]]; then
    command=(env 'GTEST_FILTER=-ServiceTest.ArtifactsAreUploadedOnceAndDownloadedFromAnyOffset:ControllerKillTest.*:AccuracyPartsKillTest.*:DisturbedJobTest.*:RetractionTest.AtEveryPointOfAJobItEndsWellWithGoodNumbersAlone:SamplerConvergenceTest.*:KnownSubnetsTest.*:FrontierQueryTest.*:TableJobsTest.*:JobHistoryTest.*:RacingTest.*:JobEstimateTest.*:PredictionLedgerTest.*:ControllerTest.GuidedSearchOfPredictionsFindsMoreThanDraws:ControllerTest.ASpaceThatIsExhaustedEndsTheSearchAndSaysSo' "${command[@]}")
  fi
  # Nor do the longest of them tell an address sanitizer what their shorter neighbours do not.
  if [[ $preset == asan-ubsan ]]; then
    command=(env 'GTEST_FILTER=-FashionMnistTest.RealFilesGiveTheThreeSplitsAndADamagedCacheIsRebuilt:JobEstimateTest.GivesTheRangesOfExactCosts:JobEstimateTest.FindsTheEndsOfANarrowRange:ControllerTest.GuidedSearchOfPredictionsFindsMoreThanDraws:ControllerTest.ASpaceThatIsExhaustedEndsTheSearchAndSaysSo' "${command[@]}")
  fi
  rm -f "$RESULTS/$name.summary"
  "${command[@]}" | tee "$RESULTS/$name.log" || status=$?
  grep -E '^[0-9]+% tests passed, [0-9]+ tests? failed out of [0-9]+' "$RESULTS/$name.log" >"$RESULTS/$name.summary" || true
  return "$status"
}

run_stage() {
  case $1 in
    aarch64-build) build aarch64 forall-worker ;;
    release-build) build release all -DFORALL_BUILD_TRAINER=ON ;;
    release-test) run_tests "$1" release ;;
    asan-build) build asan-ubsan all_tests ;;
    asan-test) run_tests "$1" asan-ubsan -LE 'slow|bench' ;;
    tsan-build) build tsan thread_tests ;;
    tsan-test) run_tests "$1" tsan -L threads -LE slow ;;
    fuzz-build) build fuzz fuzzers ;;
    fuzz-test) run_tests "$1" fuzz -L fuzz ;;
    *) fail "unknown stage '$1': the stages are ${STAGES[*]}" ;;
  esac
}

# The sum over the stages that ran, in the form of ctest's own last line.
summary() {
  local files=("$RESULTS"/*.summary)
  [[ -e ${files[0]} ]] || return 0
  printf '\n'
  for file in "${files[@]}"; do printf '%-14s %s\n' "$(basename "$file" .summary)" "$(cat "$file")"; done
  awk '{ failed += $4; total += $9 }
    END { printf "\n%d%% tests passed, %d tests failed out of %d\n", total ? int(100 * (total - failed) / total) : 0, failed, total }' "${files[@]}"
}

finish() {
  local status=$?
  ((${#FORALL_STAGE_ROWS[@]} == 0)) || stage_table
  summary
  exit "$status"
}

main() {
  mkdir -p "$RESULTS"
  if [[ ${1:-} == --in-stage ]]; then
    run_stage "$2"
    return
  fi
  rm -f "$RESULTS"/*.summary
  trap finish EXIT
  local stages=("$@") name
  if (($# == 0)); then
    stage setup "$here/setup.sh" --trainer --fuzz --peers --node
    stages=("${STAGES[@]}")
    [[ -z ${FORALL_TEST_STAGES:-} ]] || read -ra stages <<<"$FORALL_TEST_STAGES"
  fi
  for name in "${stages[@]}"; do
    if [[ $name == fuzz-* ]] && ! command -v clang++-14 >/dev/null; then
      say "$name: skipped, clang-14 is not installed (tools/setup.sh --fuzz)"
      continue
    fi
    if [[ $name == aarch64-* && ! -e build/deps/sysroot-aarch64/STAMP ]]; then
      say "$name: skipped, the cross tools are not installed (tools/setup.sh --aarch64)"
      continue
    fi
    stage "$name" "$here/test.sh" --in-stage "$name"
  done
}

main "$@"
