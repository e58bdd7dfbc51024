#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/lint.sh [format|layers|tidy...]: all of `make lint`, or only the parts named.
#   format  clang-format has nothing to change
#   layers  tools/check_layers
#   tidy    clang's thread-safety analysis and clang-tidy over everything (preset tidy)
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/stage.sh"
cd "$FORALL_ROOT"

check_format() {
  "$here/format.sh" --check
}

tidy() {
  mkdir -p build
  "$here/quietly" build/tidy-configure.log cmake --preset tidy
  cmake --build --preset tidy -j "${FORALL_JOBS:-$(nproc)}" -- -k 0
}

for part in "${@:-format layers tidy}"; do
  for name in $part; do
    case $name in
      format) stage lint-format check_format ;;
      layers) stage lint-layers "$here/check_layers" ;;
      tidy) stage lint-tidy tidy ;;
      *) fail "unknown part '$name': the parts are format, layers and tidy" ;;
    esac
  done
done
stage_table
