#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/rolling_upgrade.sh REF: does this build work beside that of REF, an older commit or tag?
# Builds forall-controller and forall-worker of REF in a worktree under build/rolling-upgrade, and runs
# a small search of the shipped supernet twice: a worker of REF at this build's controller, and this
# build's worker at REF's controller. Fails when a trial fails or a search does not end.
#
# The programs of this build must have been built (build/bin), or are built here. FORALL_UPGRADE_TRIALS:
# subnets per search, 4 unless set.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/stage.sh"
cd "$FORALL_ROOT"

readonly TRIALS=${FORALL_UPGRADE_TRIALS:-4}
readonly TREE="$FORALL_ROOT/build/rolling-upgrade/source"
readonly PATIENCE=600 # seconds of a whole search

[[ $# == 1 ]] || fail "usage: tools/rolling_upgrade.sh REF"
commit=$(git rev-parse --verify --quiet "$1^{commit}") || fail "$1 is no commit of this repository"
[[ -d build/deps/fashion-mnist ]] || fail "no images in build/deps: run tools/setup.sh first"

check_out() {
  git worktree prune # of one that `make clean` has removed
  if [[ -e $TREE/.git ]]; then
    git -C "$TREE" checkout --quiet --detach --force "$commit" || return
  else
    mkdir -p "$(dirname "$TREE")"
    git worktree add --quiet --detach --force "$TREE" "$commit" || return
  fi
  # What was downloaded serves both.
  mkdir -p "$TREE/build" && ln -sfn "$FORALL_ROOT/build/deps" "$TREE/build/deps"
}

# build FOLDER LOG TARGET...
build() {
  local folder=$1 log=$2
  shift 2
  (cd "$folder" && "$here/quietly" "$log" cmake --preset release &&
    "$here/quietly" "$log" cmake --build --preset release -j "${FORALL_JOBS:-$(nproc)}" --target "$@")
}

started=()
# Ends what was started, the newest first.
end_started() {
  local i
  for ((i = ${#started[@]} - 1; i >= 0; --i)); do
    kill "${started[i]}" 2>/dev/null || true
    wait "${started[i]}" 2>/dev/null || true
  done
  started=()
}
trap end_started EXIT

# start LOG PROGRAM ARGUMENT...
start() {
  local log=$1
  shift
  "$@" >"$log" 2>&1 &
  started+=($!)
}

# search NAME CONTROLLER WORKER
search() {
  local name=$1 controller=$2 worker=$3 folder address row status=0
  folder=$(mktemp -d "${TMPDIR:-/tmp}/forall-upgrade.XXXXXX")
  start "$folder/controller.log" "$controller" --db "$folder/forall.db" --listen 127.0.0.1:0 \
    --port-file "$folder/port" --supernet supernets/fashion_mnist
  for ((i = 0; i < 600; ++i)); do
    [[ ! -s $folder/port ]] || break
    sleep 0.1
  done
  [[ -s $folder/port ]] || { tail -5 "$folder/controller.log" >&2; fail "$name: the controller does not listen"; }
  address="127.0.0.1:$(tr -d '[:space:]' <"$folder/port")"
  start "$folder/worker.log" "$worker" --controller "$address" --data build/deps --cache "$folder/cache"
  cat >"$folder/job.yaml" <<JOB
supernet: fashion_mnist
objectives: [accuracy_top1, latency_ms]
sampler: {algorithm: random}
budget: {max_trials: $TRIALS}
fidelity: {screening_images: 500, final_images: 1000}
seed: 1
JOB
  build/bin/forall --controller "$address" submit "$folder/job.yaml"
  timeout "$PATIENCE" build/bin/forall --controller "$address" watch 1 >"$folder/watch.log" 2>&1 || status=$?
  row=$(build/bin/forall --controller "$address" jobs | grep '^searchJobs/1 ' || true)
  say "$name: $row"
  if ((status != 0)) || [[ ! $row =~ [[:space:]]$TRIALS/$TRIALS[[:space:]] || ! $row =~ succeeded ]]; then
    tail -20 "$folder/worker.log" "$folder/controller.log" "$folder/watch.log" >&2
    fail "$name: not every trial was measured; logs are in $folder"
  fi
  end_started
  rm -rf "$folder"
}

stage check-out check_out
stage build-this build . "$FORALL_ROOT/build/rolling-upgrade/this.log" forall forall-controller forall-worker
stage build-that build "$TREE" "$FORALL_ROOT/build/rolling-upgrade/that.log" forall-controller forall-worker
stage old-worker-new-controller search "worker of $1, this controller" build/bin/forall-controller "$TREE/build/bin/forall-worker"
stage new-worker-old-controller search "this worker, controller of $1" "$TREE/build/bin/forall-controller" build/bin/forall-worker
stage_table
