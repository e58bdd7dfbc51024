#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes ONNX Runtime available to the build, in this order of preference:
#   1. ONNXRUNTIME_ROOT, a folder with include/ and lib/ (nothing is fetched);
#   2. the distribution's libonnxruntime-dev, where there is one (Debian 13 and later);
#   3. build/deps/onnxruntime/{include,lib}: the library out of a pinned npm package, the C headers
#      out of the next Debian release's libonnxruntime-dev. That one package is downloaded with apt's
#      own directories made private and the machine's own source entries pointed at the next suite,
#      so nothing on the system changes and apt checks the archive's signatures as always. A newer
#      library serves an older header: the C API is versioned.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../stage.sh"

readonly NPM_PACKAGE=onnxruntime-node NPM_VERSION=1.30.0
readonly NPM_SHA256=6e3390d6b783e7be946fad629292799da28d0b42f84856e50d2c1b0383291e75
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

# Rewrites one apt source file (one-line .list or deb822 .sources) to stdout: entries of this release
# are pointed at $HEADER_SUITE, those of update, security or foreign suites are left out.
next_suite_sources() {
  local file=$1 codename=$2
  case $file in
    *.list)
      awk -v old="$codename" -v new="$HEADER_SUITE" '
        $1 != "deb" { next }
        { at = 2
          if ($2 ~ /^\[/) { while ($at !~ /\]$/ && at < NF) at++; at++ }
          suite = at + 1
          if ($suite == old || $suite == "stable" || $suite == "oldstable") { $suite = new; print } }' "$file"
      ;;
    *.sources)
      awk -v old="$codename" -v new="$HEADER_SUITE" '
        function flush(   i, n, parts, hit) {
          n = split(suites, parts, /[ \t]+/)
          for (i = 1; i <= n; i++)
            if (parts[i] == old || parts[i] == "stable" || parts[i] == "oldstable") hit = 1
          if (hit && binary && enabled) printf "%sSuites: %s\n\n", text, new
          text = suites = field = ""; binary = 0; enabled = 1
        }
        BEGIN { enabled = 1 }
        /^#/ { next }
        /^[ \t]*$/ { flush(); next }
        /^[ \t]/ { if (field == "suites") suites = suites " " $0; else text = text $0 "\n"; next }
        { field = tolower($0); sub(/[ \t]*:.*/, "", field)
          value = $0; sub(/^[^:]*:[ \t]*/, "", value)
          if (field == "suites") { suites = value; next }
          if (field == "types") { binary = value ~ /(^|[ \t])deb([ \t]|$)/; text = text "Types: deb\n"; next }
          if (field == "enabled" && tolower(value) ~ /^(no|false|0|off)/) enabled = 0
          text = text $0 "\n" }
        END { flush() }' "$file"
      ;;
  esac
}

# Leaves the C and C++ headers in $1/include.
fetch_headers() {
  local work=$1 codename file parts_dir options
  codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
  mkdir -p "$work"/apt/{sources,lists/partial,cache/archives/partial,deb}
  parts_dir=$(apt-config shell dir Dir::Etc::sourceparts/d | sed -n "s/^dir='\(.*\)'$/\1/p")
  for file in /etc/apt/sources.list "${parts_dir%/}"/*.list "${parts_dir%/}"/*.sources; do
    [[ -r $file ]] || continue
    next_suite_sources "$file" "$codename" >"$work/apt/sources/$(basename "$file")"
  done
  find "$work/apt/sources" -type f -empty -delete
  [[ -n $(ls "$work/apt/sources") ]] ||
    fail "no apt source of $codename was found to take ONNX Runtime's headers from its successor: add one, $BY_HAND"
  options=(
    -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$work/apt/sources"
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
    -o "Dir::State::Lists=$work/apt/lists" -o "Dir::Cache=$work/apt/cache"
    -o APT::Sandbox::User=root -o APT::Default-Release= -o Acquire::Languages=none -o Acquire::Retries=3)
  # Other vendors' sources may have no such suite, which fails the update and not the download.
  if ! (cd "$work/apt/deb" && { apt-get "${options[@]}" -q update || true; } &&
    apt-get "${options[@]}" -q download libonnxruntime-dev) >"$work/apt.log" 2>&1; then
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
  local work=$1 arch sum
  case $(dpkg --print-architecture) in
    amd64) arch=x64 ;;
    arm64) arch=arm64 ;;
    *) fail "no ONNX Runtime library is packaged for $(dpkg --print-architecture): build it, and set ONNXRUNTIME_ROOT to the folder with include/ and lib/" ;;
  esac
  command -v npm >/dev/null || fail "npm is missing: run tools/setup.sh, $BY_HAND"
  (cd "$work" && npm pack --silent "$NPM_PACKAGE@$NPM_VERSION") >"$work/npm.log" 2>&1 || {
    tail -15 "$work/npm.log" >&2
    fail "npm could not fetch $NPM_PACKAGE@$NPM_VERSION (see above): check the network, $BY_HAND"
  }
  local tarball="$work/$NPM_PACKAGE-$NPM_VERSION.tgz"
  sum=$(sha256sum "$tarball" | cut -d ' ' -f 1)
  [[ $sum == "$NPM_SHA256" ]] ||
    fail "$NPM_PACKAGE@$NPM_VERSION has SHA-256 $sum instead of the pinned $NPM_SHA256: do not use it; clear npm's cache and try again"
  mkdir -p "$work/new/lib"
  tar -xzf "$tarball" -C "$work/new/lib" --no-same-owner --no-same-permissions --strip-components=5 \
    "package/bin/napi-v6/linux/$arch/libonnxruntime.so.1"
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
