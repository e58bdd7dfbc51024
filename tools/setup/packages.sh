#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/setup/packages.sh [--trainer] [--fuzz] [--peers] [--lint] [--aarch64]: installs the distribution packages that forall needs.
# Asks dpkg first and touches apt only when something is missing. Works as root or through sudo and
# asks no questions. FORALL_SKIP_PACKAGES=1 leaves the system alone (everything installed by hand).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../stage.sh"

readonly BY_HAND="a C++20 compiler (GCC 12 or later), CMake 3.25, Ninja, and the development files of Abseil, gRPC, Protobuf, ONNX, SQLite 3.40, OpenSSL 3.0.3, zlib, libjpeg-turbo, libpng, yaml-cpp, CLI11, Eigen 3.4, nlohmann-json, prometheus-cpp, GoogleTest and Google Benchmark, and npm"

required=(
  build-essential cmake ninja-build ccache ca-certificates
  libabsl-dev libgrpc++-dev libprotobuf-dev protobuf-compiler protobuf-compiler-grpc
  libonnx-dev libsqlite3-dev libssl-dev zlib1g-dev libjpeg-dev libpng-dev libyaml-cpp-dev libcli11-dev libeigen3-dev nlohmann-json3-dev prometheus-cpp-dev
  libgtest-dev libgmock-dev libbenchmark-dev)
# Used where the distribution has them; forall does without them elsewhere. jemalloc for the
# controller, the others for tests of the ways to a device, and of certificates.
optional=(libjemalloc-dev openssh-client openssh-server adb openssl)

parse_arguments() {
  local argument
  for argument in "$@"; do
    case $argument in
      --node) ;; # npm, which is always needed, brings Node.js along
      --trainer) required+=(libtorch-dev) ;;
      --fuzz) optional+=(clang-14 libclang-rt-14-dev) ;;
      --peers) optional+=(libpagmo-dev libxgboost-dev) ;; # what benchmarks compare with
      --lint) required+=(clang-format-14 clang-tidy-14 clang-14) ;;
      --aarch64) [[ $(uname -m) != x86_64 ]] || required+=(g++-aarch64-linux-gnu qemu-user-static) ;;
      *) fail "unknown argument '$argument': usage is tools/setup.sh [--trainer] [--fuzz] [--peers] [--node] [--lint] [--aarch64]" ;;
    esac
  done
  # NodeSource's nodejs brings npm along and conflicts with the distribution's package of that name.
  command -v npm >/dev/null || required+=(npm)
  [[ -n ${ONNXRUNTIME_ROOT:-} ]] || optional+=(libonnxruntime-dev)
}

check_system() {
  command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
    fail "this system has no apt: install $BY_HAND, set ONNXRUNTIME_ROOT to an ONNX Runtime release, and run again with FORALL_SKIP_PACKAGES=1"
  local id version
  id=$(. /etc/os-release && printf '%s' "$ID")
  version=$(. /etc/os-release && printf '%s' "${VERSION_ID:-999}")
  case $id in
    debian) ((${version%%.*} >= 12)) && return ;;
    ubuntu) ((${version%%.*} >= 24)) && return ;;
    *) return ;;
  esac
  fail "$id $version is too old for forall (Debian 12 or later, or Ubuntu 24.04 or later): install $BY_HAND by hand, set ONNXRUNTIME_ROOT to an ONNX Runtime release, and run again with FORALL_SKIP_PACKAGES=1"
}

# Prints those of the given packages that are not installed.
missing_of() {
  local installed package
  installed=" $(dpkg-query -W -f '${Package}=${db:Status-Status} ' "$@" 2>/dev/null || true)"
  for package in "$@"; do
    [[ $installed == *" $package=installed "* ]] || printf '%s\n' "$package"
  done
}

has_candidate() { [[ $(apt-cache policy "$1" 2>/dev/null) == *"Candidate: "[!\(]* ]]; }

# apt GOAL...: quiet and non-interactive; the log is shown only when it fails.
apt() {
  local log="$FORALL_ROOT/build/setup.log" as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null ||
      fail "packages are missing (${missing[*]}) and there is no sudo: run tools/setup.sh once as root"
    as_root=(sudo)
  fi
  mkdir -p "$FORALL_ROOT/build"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
    -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@" >"$log" 2>&1 </dev/null && return
  tail -20 "$log" >&2
  fail "apt-get $1 failed (see above; the whole log is build/setup.log): mend it and run tools/setup.sh again"
}

main() {
  if [[ ${FORALL_SKIP_PACKAGES:-} == 1 ]]; then
    say "packages: left alone (FORALL_SKIP_PACKAGES=1)"
    return
  fi
  parse_arguments "$@"
  check_system
  local package
  mapfile -t missing < <(missing_of "${required[@]}")
  ((${#missing[@]} == 0)) || apt update
  if ((${#optional[@]} > 0)); then
    for package in $(missing_of "${optional[@]}"); do
      if has_candidate "$package"; then missing+=("$package"); fi
    done
  fi
  if ((${#missing[@]} == 0)); then
    say "packages: nothing is missing"
    return
  fi
  say "packages: installing ${missing[*]}"
  apt install --no-install-recommends "${missing[@]}"
  say "packages: installed"
}

main "$@"
