# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sourced after tools/stage.sh: ONNX Runtime's library out of a pinned npm package.

readonly NPM_PACKAGE=onnxruntime-node NPM_VERSION=1.30.0
readonly NPM_SHA256=6e3390d6b783e7be946fad629292799da28d0b42f84856e50d2c1b0383291e75

# onnxruntime_library_from_npm WORK x64|arm64 FOLDER: leaves libonnxruntime.so.1 in FOLDER.
onnxruntime_library_from_npm() {
  local work=$1 arch=$2 folder=$3 sum
  command -v npm >/dev/null || fail "npm is missing: run tools/setup.sh, $BY_HAND"
  (cd "$work" && npm pack --silent --prefer-offline "$NPM_PACKAGE@$NPM_VERSION") >"$work/npm.log" 2>&1 || {
    tail -15 "$work/npm.log" >&2
    fail "npm could not fetch $NPM_PACKAGE@$NPM_VERSION (see above): check the network, $BY_HAND"
  }
  local tarball="$work/$NPM_PACKAGE-$NPM_VERSION.tgz"
  sum=$(sha256sum "$tarball" | cut -d ' ' -f 1)
  [[ $sum == "$NPM_SHA256" ]] ||
    fail "$NPM_PACKAGE@$NPM_VERSION has SHA-256 $sum instead of the pinned $NPM_SHA256: do not use it; clear npm's cache and try again"
  mkdir -p "$folder"
  tar -xzf "$tarball" -C "$folder" --no-same-owner --no-same-permissions --strip-components=5 \
    "package/bin/napi-v6/linux/$arch/libonnxruntime.so.1"
}
