#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All of `make quickstart`: set-up, build of the three programs, and then a whole search on this
# machine. Asks nothing. Arguments go to `forall quickstart`.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/stage.sh"
cd "$FORALL_ROOT"

# What the stages took, for the report: lines "name<TAB>seconds".
export FORALL_STAGE_LOG="$FORALL_ROOT/build/quickstart-stages.tsv"
mkdir -p "$FORALL_ROOT/build"
: >"$FORALL_STAGE_LOG"

"$here/setup.sh"
# The same build tree and options as `make test`, so that neither rebuilds the other's work; only the
# programs are built here.
stage configure "$here/quietly" build/configure.log cmake --preset release
stage build-programs cmake --build --preset release --target forall forall-controller forall-worker

# The search itself: controller, worker, job, frontier, report, model.
exec "$FORALL_ROOT/build/bin/forall" quickstart "$@"
