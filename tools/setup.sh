#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/setup.sh [--trainer] [--fuzz] [--peers] [--node] [--lint] [--aarch64]: everything that building and running forall needs.
# Safe to run again: takes a fraction of a second when nothing is missing.
#
#   --trainer  also LibTorch, for forall-train
#   --fuzz     also clang with libFuzzer, where the distribution has it
#   --peers    also pagmo, which tests and benchmarks hold the Pareto kernels against, where the distribution has it
#   --node     also the npm package onnxruntime-node, in which a test loads exported models
#   --lint     also clang-format and clang-tidy
#   --aarch64  also what cross-builds forall-worker for 64-bit ARM boards and runs it emulated: the cross
#              compiler and QEMU are installed, the arm64 libraries only unpacked (Debian on x86-64)
#
# Leaves build/deps/onnxruntime/ (unless ONNXRUNTIME_ROOT or the distribution provides it) and
# build/deps/fashion-mnist/. Environment: ONNXRUNTIME_ROOT, FORALL_SKIP_PACKAGES=1.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/stage.sh"

stage setup-packages "$here/setup/packages.sh" "$@"
stage setup-onnxruntime "$here/setup/onnxruntime.sh"
if [[ " $* " == *" --node "* ]]; then stage setup-onnxruntime-node "$here/setup/onnxruntime_node.sh"; fi
if [[ " $* " == *" --aarch64 "* ]]; then stage setup-aarch64 "$here/setup/aarch64.sh"; fi
stage setup-fashion-mnist "$here/setup/fashion_mnist.sh"
