#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/package_worker.sh aarch64|x86-64 [--program FILE] [--output FOLDER]: forall-worker as a tarball that runs on
# Linux boards whose libraries are older than those it was built with: it carries every library that it
# needs, the C library and its loader too. Build the worker first: `cmake --preset aarch64 && cmake
# --build --preset aarch64`, or preset release for x86-64. Prints the tarball's path. FILE is the worker,
# by default where these presets leave it; FOLDER is build/packages.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/stage.sh"

usage() { fail "usage: tools/package_worker.sh aarch64|x86-64 [--program FILE] [--output FOLDER]"; }

# The library's file in the search folders, links resolved; nothing when it is not there.
locate() {
  local name=$1 folder
  for folder in "${library_folders[@]}"; do
    if [[ -e $folder/$name ]]; then
      readlink -f "$folder/$name"
      return
    fi
  done
}

needed_by() { LC_ALL=C readelf -dW "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }

# Copies what $1 needs, and what that needs, into lib/.
carry_libraries() {
  local name file
  for name in $(needed_by "$1"); do
    [[ ! -e $root/lib/$name ]] || continue
    file=$(locate "$name")
    [[ -n $file ]] || fail "$1 needs $name, which is in none of ${library_folders[*]}: run tools/setup.sh${setup_option}"
    cp "$file" "$root/lib/$name"
    carry_libraries "$root/lib/$name"
  done
}

write_wrapper() {
  sed "s/LOADER/$loader/" >"$root/bin/forall-worker" <<'WRAPPER'
#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Starts forall-worker with the loader and the libraries beside it, whatever this system's are like.
# FORALL_EMULATOR: words to put before the loader, e.g. qemu-aarch64-static. FORALL_ONNXRUNTIME: another
# build of ONNX Runtime than the one that came along. Libraries that are not carried, such as a
# vendor's, are looked for in LD_LIBRARY_PATH and where this system keeps its own.
program=$(readlink -f "$0") || exit 1
folder=$(dirname "$(dirname "$program")")
libraries=$folder/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
case $folder$libraries in
*[[:space:]]*)
  echo "forall-worker: $folder: neither this folder nor LD_LIBRARY_PATH may have blanks in its name; move it" >&2
  exit 1
  ;;
esac
FORALL_LAUNCHER="${FORALL_EMULATOR:+$FORALL_EMULATOR }$folder/lib/LOADER --library-path $libraries $folder/bin/forall-worker.bin"
FORALL_ONNXRUNTIME=${FORALL_ONNXRUNTIME:-$folder/lib/libonnxruntime.so.1}
export FORALL_LAUNCHER FORALL_ONNXRUNTIME
exec $FORALL_LAUNCHER "$@"
WRAPPER
  chmod 755 "$root/bin/forall-worker"
}

# The distribution's packages that the carried libraries came from. dpkg may know a file of /usr/lib by
# its older name in /lib, and knows nothing of ONNX Runtime's.
packages_of_carried() {
  local file path paths=()
  for file in "$root"/lib/*; do
    path=$(locate "$(basename "$file")")
    paths+=("$path" "${path#/usr}")
  done
  { dpkg-query -S "${paths[@]}" 2>/dev/null || true; } | sed 's/:.*//' | sort -u | tr '\n' ' '
}

carry_licences() {
  local file package
  cp LICENSE "$root/"
  mkdir "$root/licenses"
  for file in "$doc_folder"/*/copyright; do
    package=$(basename "$(dirname "$file")")
    # Of a whole system only the packages whose libraries are carried; the sysroot holds little else.
    [[ $machine == aarch64 || " $packages " == *" $package "* ]] || continue
    cp -L "$file" "$root/licenses/$package"
  done
  cat >"$root/licenses/onnxruntime" <<'TEXT'
libonnxruntime.so.1 is ONNX Runtime, Copyright (c) Microsoft Corporation, under the MIT licence.
TEXT
}

main() {
  local output="$FORALL_ROOT/build/packages" program=""
  machine=${1:-}
  shift || usage
  while (($# > 0)); do
    case $1 in
      --output | --program)
        [[ -n ${2:-} ]] || usage
        if [[ $1 == --output ]]; then output=$(realpath -m "$2"); else program=$(realpath -m "$2"); fi
        shift 2
        ;;
      *) usage ;;
    esac
  done
  cd "$FORALL_ROOT"
  local strip onnxruntime version name epoch
  case $machine in
    aarch64)
      local sysroot="$FORALL_ROOT/build/deps/sysroot-aarch64"
      program=${program:-build/aarch64/bin/forall-worker} strip=aarch64-linux-gnu-strip setup_option=" --aarch64"
      loader=ld-linux-aarch64.so.1 doc_folder=$sysroot/usr/share/doc
      library_folders=("$sysroot/usr/lib/aarch64-linux-gnu" "$sysroot/lib/aarch64-linux-gnu" "$sysroot/lib")
      ;;
    x86-64)
      program=${program:-build/bin/forall-worker} strip=strip setup_option=""
      loader=ld-linux-x86-64.so.2 doc_folder=/usr/share/doc
      library_folders=(${ONNXRUNTIME_ROOT:+"$ONNXRUNTIME_ROOT/lib"} "$FORALL_ROOT/build/deps/onnxruntime/lib"
        /usr/lib/x86_64-linux-gnu /lib/x86_64-linux-gnu /lib64 /usr/lib)
      ;;
    *) usage ;;
  esac
  [[ -x $program ]] || fail "$program is not built: see the head of tools/package_worker.sh"
  onnxruntime=$(locate libonnxruntime.so.1)
  [[ -n $onnxruntime ]] || fail "libonnxruntime.so.1 is in none of ${library_folders[*]}: run tools/setup.sh$setup_option"

  version=$(sed -n 's/^project(forall VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
  name=forall-worker-$version-$machine
  mkdir -p "$output"
  work=$(mktemp -d "$output/.package.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  root=$work/$name
  mkdir -p "$root"/{bin,lib}
  "$strip" -o "$root/bin/forall-worker.bin" "$program"
  cp "$onnxruntime" "$root/lib/libonnxruntime.so.1"
  cp "$(locate "$loader")" "$root/lib/$loader"
  carry_libraries "$root/bin/forall-worker.bin"
  carry_libraries "$root/lib/libonnxruntime.so.1"
  write_wrapper
  [[ $machine == aarch64 ]] || packages=$(packages_of_carried)
  carry_licences
  cp deploy/devices/forall-worker.service deploy/devices/forall-worker.env "$root/"
  chmod -R u=rwX,go=rX "$root"

  epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
  tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" -C "$work" -c "$name" | gzip -n >"$work/tarball"
  mv "$work/tarball" "$output/$name.tar.gz"
  say "$output/$name.tar.gz"
}

main "$@"
