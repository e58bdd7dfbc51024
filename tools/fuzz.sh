#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/fuzz.sh [--seconds N] [NAME...]: builds the libFuzzer programs, all or those named, and runs
# each for so long (600 s), one per core at a time. What was found, and inputs that reached something
# new, lie in build/fuzz/.../NAME_found; the next run begins with them. Exit 1: something was found.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/stage.sh"
cd "$FORALL_ROOT"

seconds=600
if [[ ${1:-} == --seconds ]]; then
  seconds=${2:?--seconds N}
  shift 2
fi

# fuzz_one SECONDS NAME PROGRAM FOUND [CORPUS]
fuzz_one() {
  local log="$4/../$2.log"
  # shellcheck disable=SC2086
  if nice -n 10 "$3" -max_total_time="$1" -timeout=300 -rss_limit_mb=1024 -print_final_stats=1 \
    -artifact_prefix="$4/" "$4" ${5:-} >"$log" 2>&1; then
    printf '%-24s %s\n' "$2" "$(grep -E 'number_of_executed_units|peak_rss_mb' "$log" | tr -s ' \n' ' ')"
  else
    printf '%-24s found something: %s\n' "$2" "$log"
    return 1
  fi
}
export -f fuzz_one

"$here/quietly" build/configure.log cmake --preset fuzz
for name in "$@"; do
  grep -q "^$name " build/fuzz/fuzzers.txt ||
    fail "there is no fuzzer '$name'; there are: $(cut -d ' ' -f 1 build/fuzz/fuzzers.txt | tr '\n' ' ')"
done
cmake --build --preset fuzz --target "${@:-fuzzers}"
wanted='.*'
(($# == 0)) || wanted=$(IFS='|' && printf '%s' "$*")
grep -E "^($wanted) " build/fuzz/fuzzers.txt | xargs -P "$(nproc)" -L 1 bash -c 'fuzz_one "$@"' fuzz "$seconds"
