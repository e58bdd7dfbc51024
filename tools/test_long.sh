#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/test_long.sh: all of `make test-long`, the forms of tests that take minutes or more. Each is a
# test of `make test` with a larger bound; its usual form runs there.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/stage.sh"
cd "$FORALL_ROOT"

"$here/setup.sh" --fuzz
stage configure "$here/quietly" build/configure.log cmake --preset release
stage build-long cmake --build --preset release --target search_queue_model_test fault_test forall-bench
# Every sequence of steps of the lease protocol, two steps longer.
stage lease-model env FORALL_LEASE_DEEPER="${FORALL_LEASE_DEEPER:-2}" build/release/search/queue/search_queue_model_test
# Twenty times the kills, over other jobs, and other faults.
export FORALL_SOURCE_DIR="$FORALL_ROOT" FORALL_BIN_DIR="$FORALL_ROOT/build/bin"
stage faults env FORALL_FAULT_KILLS="${FORALL_FAULT_KILLS:-4000}" FORALL_FAULT_SEED="${FORALL_FAULT_SEED:-2}" build/release/tests/faults/fault_test
# An hour of a fleet in steady use: memory flat, no descriptor lost.
stage soak build/bin/forall-bench soak --minutes "${FORALL_SOAK_MINUTES:-60}"
# This build beside the last release, either way round.
if previous=$(git describe --tags --abbrev=0 HEAD^ 2>/dev/null); then
  stage rolling-upgrade "$here/rolling_upgrade.sh" "$previous"
else
  printf '\nrolling-upgrade: SKIPPED: no commit before this one has a tag; tools/rolling_upgrade.sh REF does it for any commit\n'
fi
# Ten minutes of each libFuzzer program.
if command -v clang++-14 >/dev/null; then
  stage fuzz "$here/fuzz.sh"
else
  say "fuzz: skipped, clang-14 is not installed (tools/setup.sh --fuzz)"
fi
stage_table
