#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All of `make bench`: set-up, an optimised build, and forall-bench. Arguments go to forall-bench.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/stage.sh"
cd "$FORALL_ROOT"

"$here/setup.sh" --peers
stage configure "$here/quietly" build/configure.log cmake --preset release
stage build-bench cmake --build --preset release --target forall-bench forall-controller forall-worker
exec "$FORALL_ROOT/build/bin/forall-bench" --check "$@"
