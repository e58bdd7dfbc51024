# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced by the scripts of tools/: named, timed stages and messages. Needs bash.
#
#   stage release-build cmake --build ...   runs the command, prints how long it took
#   stage_table                             prints all stages of this process with their seconds
#
# A failing stage ends the script with the command's own exit status. FORALL_STAGE_LOG names a file
# to which every finished stage is appended as "name<TAB>seconds". FORALL_STAGE_BUDGETS holds lines
# "name minutes" in the stages' order: a stage listed there is ended when its minutes are over (the
# command must then be a program, not a function). Minutes that earlier stages left are a later
# stage's as well, so that no stage ends after the sum of the minutes up to it.

FORALL_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
FORALL_STAGE_ROWS=()

# Two checkouts of the same sources share what ccache holds: no absolute path takes part in its keys.
export CCACHE_BASEDIR="$FORALL_ROOT" CCACHE_NOHASHDIR=1

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

# Of this process and of every script that it calls: budgets count from the first one's start.
: "${FORALL_STAGE_START:=$(now_ms)}"
export FORALL_STAGE_START

# The seconds that stage $1 may take from now on; nothing where it has no budget.
budget_seconds() {
  awk -v name="$1" -v gone=$((($(now_ms) - FORALL_STAGE_START) / 1000)) '
    { sum += $2 * 60 }
    $1 == name { print (sum > gone ? sum - gone : 1); exit }' <<<"${FORALL_STAGE_BUDGETS:-}"
}

stage() {
  local name=$1 start status=0 seconds budget
  shift
  budget=$(budget_seconds "$name")
  if [[ -n $budget ]]; then
    set -- timeout --kill-after=30s "${budget}s" "$@"
    printf '\n==> %s (at most %s s)\n' "$name" "$budget"
  else
    printf '\n==> %s\n' "$name"
  fi
  start=$(now_ms)
  "$@" || status=$?
  seconds=$(seconds_since "$start")
  FORALL_STAGE_ROWS+=("$(printf '%9s s  %s' "$seconds" "$name")")
  if [[ -n ${FORALL_STAGE_LOG:-} ]]; then
    printf '%s\t%s\n' "$name" "$seconds" >>"$FORALL_STAGE_LOG"
  fi
  if ((status != 0)); then
    [[ -z $budget || $status != 124 ]] || printf '%s: over its budget of %s s\n' "$name" "$budget" >&2
    printf '<== %s: FAILED with status %d after %s s\n' "$name" "$status" "$seconds" >&2
    exit "$status"
  fi
  printf '<== %s: %s s\n' "$name" "$seconds"
}

stage_table() {
  printf '\nstages:\n'
  printf '%s\n' "${FORALL_STAGE_ROWS[@]}"
}
