#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes ONNX Runtime available to the build, in this order of preference:
#   1. ONNXRUNTIME_ROOT, a folder with include/ and lib/ (nothing is fetched);
#   2. the distribution's libonnxruntime-dev, where there is one (Debian 13 and later);
#   3. build/deps/onnxruntime/{include,lib}: the library out of a pinned npm package, the C headers
#      out of the next Debian release's libonnxruntime-dev (private_apt.sh: nothing on the system
#      changes). A newer library serves an older header: the C API is versioned.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/../stage.sh"
source "$here/private_apt.sh"
source "$here/onnxruntime_npm.sh"

readonly HEADER_SUITE=trixie
# Of `sha256sum *.h | sha256sum` in the header folder, which is the same on every architecture and
# outlives rebuilds of the .deb (seen with 1.21.0+dfsg-1).
readonly HEADERS_SHA256=1e4a862fa16feb0595aeea3ff3b8b12a5f4c376e4fb9cd450ecac9c65146bef2
readonly MIN_API_VERSION=17
readonly DEST="$FORALL_ROOT/build/deps/onnxruntime"
readonly STAMP="library $NPM_PACKAGE $NPM_VERSION $NPM_SHA256; headers $HEADERS_SHA256"
readonly BY_HAND="or set ONNXRUNTIME_ROOT to an unpacked ONNX Runtime release (a folder with include/ and lib/)"

from_root() {
  local header library
  header=$(find -L "$ONNXRUNTIME_ROOT" -maxdepth 6 -name onnxruntime_c_api.h -print -quit 2>/dev/null || true)
  library=$(find -L "$ONNXRUNTIME_ROOT" -maxdepth 3 -name 'libonnxruntime.so*' -print -quit 2>/dev/null || true)
  [[ -n $header && -n $library ]] ||
    fail "ONNXRUNTIME_ROOT=$ONNXRUNTIME_ROOT must hold include/ with onnxruntime_c_api.h and lib/ with libonnxruntime.so"
  say "onnxruntime: using ONNXRUNTIME_ROOT=$ONNXRUNTIME_ROOT"
}

packaged_here() {
  [[ $(dpkg-query -W -f '${db:Status-Status}' libonnxruntime-dev 2>/dev/null) == installed ]]
}

# Leaves the C and C++ headers in $1/include.
fetch_headers() {
  local work=$1
  private_apt_begin "$work" "$HEADER_SUITE" ||
    fail "no apt source of this release was found to take ONNX Runtime's headers from its successor: add one, $BY_HAND"
  # Other vendors' sources may have no such suite, which fails the update and not the download.
  if ! (cd "$work/apt/deb" && { apt-get "${private_apt_options[@]}" -q update || true; } &&
    apt-get "${private_apt_options[@]}" -q download libonnxruntime-dev) >"$work/apt.log" 2>&1; then
    tail -15 "$work/apt.log" >&2
    fail "apt could not fetch libonnxruntime-dev of $HEADER_SUITE (see above): check the network, $BY_HAND"
  fi
  dpkg-deb -x "$work"/apt/deb/libonnxruntime-dev_*.deb "$work/deb"
  cp -r "$work/deb/usr/include/onnxruntime" "$work/new/include"
  check_headers "$work/new/include"
}

check_headers() {
  local sum api
  sum=$(cd "$1" && LC_ALL=C sha256sum -- *.h | sha256sum | cut -d ' ' -f 1)
  [[ $sum == "$HEADERS_SHA256" ]] && return
  # apt has verified the archive's signature: these are genuine, only newer than the ones tried here.
  api=$(sed -n 's/^#define ORT_API_VERSION \([0-9]*\).*/\1/p' "$1/onnxruntime_c_api.h")
  [[ -n $api ]] && ((api >= MIN_API_VERSION)) ||
    fail "the ONNX Runtime headers of $HEADER_SUITE have C API version ${api:-unknown}, and forall needs $MIN_API_VERSION or later: $BY_HAND"
  say "onnxruntime: note: headers of C API $api, not the pinned ones (sha256 $sum); signed by the archive, so used"
}

# Leaves libonnxruntime.so.1 in $1/lib.
fetch_library() {
  local work=$1 arch
  case $(dpkg --print-architecture) in
    amd64) arch=x64 ;;
    arm64) arch=arm64 ;;
    *) fail "no ONNX Runtime library is packaged for $(dpkg --print-architecture): build it, and set ONNXRUNTIME_ROOT to the folder with include/ and lib/" ;;
  esac
  onnxruntime_library_from_npm "$work" "$arch" "$work/new/lib"
}

main() {
  if [[ -n ${ONNXRUNTIME_ROOT:-} ]]; then
    from_root
    return
  fi
  if packaged_here; then
    say "onnxruntime: using the distribution's libonnxruntime-dev"
    return
  fi
  if [[ $(cat "$DEST/STAMP" 2>/dev/null) == "$STAMP" ]]; then
    say "onnxruntime: $NPM_VERSION is in build/deps/onnxruntime"
    return
  fi
  mkdir -p "$FORALL_ROOT/build/deps"
  local work
  work=$(mktemp -d "$FORALL_ROOT/build/deps/onnxruntime.XXXXXX")
  # shellcheck disable=SC2064  # $work is local: expand it now.
  trap "rm -rf '$work'" EXIT
  mkdir "$work/new"
  fetch_headers "$work"
  fetch_library "$work"
  printf '%s\n' "$STAMP" >"$work/new/STAMP"
  chmod -R u=rwX,go=rX "$work/new"
  rm -rf "$DEST"
  mv "$work/new" "$DEST"
  say "onnxruntime: $NPM_VERSION unpacked to build/deps/onnxruntime"
}

main "$@"
