#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/format.sh [--check] [FILE...]: clang-format over the files, or over every C++ and proto file
# of the tree. --check changes nothing and fails when something would change.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/stage.sh"
cd "$FORALL_ROOT"

# One version for everybody: releases of clang-format differ in details.
command -v clang-format-14 >/dev/null || fail "clang-format-14 is missing: run tools/setup.sh --lint"
arguments=(-i)
if [[ ${1:-} == --check ]]; then
  arguments=(--dry-run -Werror)
  shift
fi
if (($# > 0)); then
  clang-format-14 "${arguments[@]}" "$@"
  exit
fi
find . \( -path ./.git -o -path ./build \) -prune -o -type f \( -name '*.h' -o -name '*.cc' -o -name '*.proto' \) -print0 |
  xargs -0 -r -n 50 clang-format-14 "${arguments[@]}"
