#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The npm package onnxruntime-node with what it needs, in build/deps/onnxruntime-node: a program that
# is not ours, for the test that loads exported models in it. Its install scripts, which would fetch
# GPU libraries, are not run, and other platforms' libraries are deleted.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../stage.sh"

readonly VERSION=1.30.0
readonly DEST="$FORALL_ROOT/build/deps/onnxruntime-node"

main() {
  if [[ $(cat "$DEST/STAMP" 2>/dev/null) == "$VERSION" ]]; then
    say "onnxruntime-node: $VERSION is in build/deps/onnxruntime-node"
    return
  fi
  local arch work
  case $(uname -m) in
    x86_64) arch=x64 ;;
    aarch64) arch=arm64 ;;
    *)
      say "onnxruntime-node: there is none for $(uname -m); its test will be skipped"
      return
      ;;
  esac
  command -v npm >/dev/null || fail "npm is missing: run tools/setup.sh --node"
  mkdir -p "$FORALL_ROOT/build/deps"
  work=$(mktemp -d "$FORALL_ROOT/build/deps/onnxruntime-node.XXXXXX")
  # shellcheck disable=SC2064  # $work is local: expand it now.
  trap "rm -rf '$work'" EXIT
  npm install --prefix "$work" --ignore-scripts --no-audit --no-fund --no-save \
    "onnxruntime-node@$VERSION" >"$work/npm.log" 2>&1 || {
    tail -15 "$work/npm.log" >&2
    fail "npm could not install onnxruntime-node@$VERSION (see above): check the network and try again"
  }
  local binaries="$work/node_modules/onnxruntime-node/bin/napi-v6"
  find "$binaries" -mindepth 2 -maxdepth 2 -type d ! -path "*/linux/$arch" -exec rm -rf {} +
  printf '%s\n' "$VERSION" >"$work/STAMP"
  chmod -R u=rwX,go=rX "$work"
  rm -rf "$DEST"
  mv "$work" "$DEST"
  trap - EXIT
  say "onnxruntime-node: $VERSION installed in build/deps/onnxruntime-node"
}

main "$@"
