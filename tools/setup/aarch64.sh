#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What cross-building forall-worker for aarch64 needs besides the cross compiler (packages.sh): Debian's
# arm64 libraries and headers, unpacked into build/deps/sysroot-aarch64 and not installed, and ONNX
# Runtime's arm64 library beside them. The code generators in there are this machine's own.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/../stage.sh"
source "$here/private_apt.sh"
source "$here/onnxruntime_npm.sh"

# What the worker is built from; apt adds what these need, the C library and its loader included.
readonly WANTED=(
  libabsl-dev libgrpc++-dev libprotobuf-dev libonnx-dev libssl-dev zlib1g-dev libjpeg-dev libpng-dev
  nlohmann-json3-dev libstdc++6)
readonly DEST="$FORALL_ROOT/build/deps/sysroot-aarch64"
readonly BY_HAND="or build on the board itself"

release() { (. /etc/os-release && printf '%s' "${ID:-} ${VERSION_CODENAME:-}"); }

fetch_packages() {
  local work=$1
  private_apt_begin "$work" "" -o APT::Architecture=arm64 -o APT::Architectures=arm64 \
    -o "Dir::State::Status=$work/apt/status" ||
    fail "no apt source of this release was found to take arm64 libraries from: add one, $BY_HAND"
  : >"$work/apt/status" # Nothing counts as installed: apt resolves everything anew.
  # Other vendors' sources may have nothing for this processor, which fails the update and not the download.
  if ! { { apt-get "${private_apt_options[@]}" -q update || true; } &&
    apt-get "${private_apt_options[@]}" -q -y --no-install-recommends --download-only install "${WANTED[@]}"; } \
    >"$work/apt.log" 2>&1 </dev/null; then
    tail -15 "$work/apt.log" >&2
    fail "apt could not fetch the arm64 packages (see above): the machine's package sources must serve arm64, as Debian's do; mend them, $BY_HAND"
  fi
}

unpack() {
  local work=$1 package link target up generator
  for package in "$work"/apt/cache/archives/*.deb; do dpkg-deb -x "$package" "$work/new"; done
  # Links to a library by its full name would lead out of the folder.
  while IFS= read -r link; do
    target=$(readlink "$link")
    up=$(dirname "${link#"$work/new/"}" | sed 's,[^/]\+,..,g')
    ln -sfn "$up$target" "$link"
  done < <(find "$work/new" -type l -lname '/*')
  rm -rf "$work"/new/usr/{bin,sbin} "$work/new/etc"
  find "$work/new/usr/share" -mindepth 1 -maxdepth 1 ! -name cmake ! -name doc -exec rm -rf {} +
  find "$work/new/usr/share/doc" -type f ! -name copyright -delete # Licences go with the libraries.
  # CMake's files of gRPC ask for the generators beside the libraries; here those of this machine run.
  mkdir -p "$work/new/usr/bin"
  for generator in /usr/bin/protoc /usr/bin/grpc_*_plugin; do
    ln -sfn "$generator" "$work/new$generator"
  done
}

main() {
  if [[ $(uname -m) != x86_64 ]]; then
    say "aarch64: cross-building is for x86-64 machines; here the preset release builds the worker"
    return
  fi
  local stamp work
  stamp="$(release); ${WANTED[*]}; $NPM_PACKAGE $NPM_VERSION"
  if [[ $(cat "$DEST/STAMP" 2>/dev/null) == "$stamp" ]]; then
    say "aarch64: libraries are in build/deps/sysroot-aarch64"
    return
  fi
  mkdir -p "$FORALL_ROOT/build/deps"
  work=$(mktemp -d "$FORALL_ROOT/build/deps/sysroot-aarch64.XXXXXX")
  # shellcheck disable=SC2064  # $work is local: expand it now.
  trap "rm -rf '$work'" EXIT
  mkdir "$work/new"
  fetch_packages "$work"
  unpack "$work"
  onnxruntime_library_from_npm "$work" arm64 "$work/new/usr/lib/aarch64-linux-gnu"
  printf '%s\n' "$stamp" >"$work/new/STAMP"
  chmod -R u=rwX,go=rX "$work/new"
  rm -rf "$DEST"
  mv "$work/new" "$DEST"
  say "aarch64: libraries unpacked to build/deps/sysroot-aarch64"
}

main "$@"
