# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts of tools/: named, timed stages and messages. Needs bash.
#
#   stage "build programs" cmake --build ...   runs the command, prints how long it took
#   stage_table                                prints all stages of this process with their seconds
#
# A failing stage ends the script with the command's own exit status. With FORALL_STAGE_LOG set,
# every finished stage is also appended to that file as "name<TAB>seconds".

FORALL_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
FORALL_STAGE_ROWS=()

say() { printf '%s\n' "$*"; }

# fail MESSAGE: one sentence that says what to do, then exit.
fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Milliseconds since the epoch; only differences are used.
now_ms() {
  local t=${EPOCHREALTIME/[.,]/}
  printf '%s' "${t%???}"
}

seconds_since() {
  local ms=$(($(now_ms) - $1))
  printf '%d.%d' $((ms / 1000)) $((ms % 1000 / 100))
}

stage() {
  local name=$1 start status=0 seconds
  shift
  start=$(now_ms)
  printf '\n==> %s\n' "$name"
  "$@" || status=$?
  seconds=$(seconds_since "$start")
  FORALL_STAGE_ROWS+=("$(printf '%9s s  %s' "$seconds" "$name")")
  if [[ -n ${FORALL_STAGE_LOG:-} ]]; then
    printf '%s\t%s\n' "$name" "$seconds" >>"$FORALL_STAGE_LOG"
  fi
  if ((status != 0)); then
    printf '<== %s: FAILED with status %d after %s s\n' "$name" "$status" "$seconds" >&2
    exit "$status"
  fi
  printf '<== %s: %s s\n' "$name" "$seconds"
}

stage_table() {
  printf '\nstages:\n'
  printf '%s\n' "${FORALL_STAGE_ROWS[@]}"
}
