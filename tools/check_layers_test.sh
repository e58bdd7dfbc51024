#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Plants one violation at a time in a small tree of its own and expects tools/check_layers to name it.
set -euo pipefail
check="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/check_layers"
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0

# write FILE LINE...: a well-formed source file of the tree, with these lines inside.
write() {
  local file=$1 guard
  shift
  mkdir -p "$tree/$(dirname "$file")"
  guard="FORALL_$(printf '%s' "$file" | tr '[:lower:]' '[:upper:]' | tr -c 'A-Z0-9' '_')_"
  {
    echo '// SPDX-License-Identifier: Apache-2.0'
    [[ $file != *.h ]] || printf '#ifndef %s\n#define %s\n' "$guard" "$guard"
    printf '%s\n' "$@"
    [[ $file != *.h ]] || echo '#endif'
  } >"$tree/$file"
}

fresh_tree() {
  rm -rf "${tree:?}"/*
  write base/clock.h '#include <chrono>'
  write space/family.h '#include "base/clock.h"'
  write space/family.cc '#include "space/family.h"' '#include <vector>'
  write supernet/onnx/exporter.cc '#include <onnx/onnx_pb.h>' '#include "space/family.h"'
  write search/store/store.cc '#include <sqlite3.h>'
  write search/service/server.cc '#include <grpcpp/grpcpp.h>' '#include "search/store/store.h"'
  write search/controller_main.cc '#include <grpcpp/grpcpp.h>'
  write evaluator/worker/loop.cc '#include "latency/timer.h"' '#include "proto/forall/v1/fleet.grpc.pb.h"'
  write runtime/session.cc '#include <onnxruntime_c_api.h>'
  write tests/end_to_end_test.cc '#include "search/store/store.h"' '#include "evaluator/worker/loop.h"'
}

expect_clean() {
  local output
  if ! output=$("$check" "$tree" 2>&1); then
    printf 'FAILED: %s\n%s\n' "$1" "$output"
    failures=$((failures + 1))
  fi
}

# expect_caught NAME FILE TEXT: the check must fail and say TEXT about FILE.
expect_caught() {
  local name=$1 file=$2 text=$3 output
  if output=$("$check" "$tree" 2>&1); then
    printf 'FAILED: %s: nothing was reported\n' "$name"
    failures=$((failures + 1))
  elif ! grep -qF -- "$file:" <<<"$output" || ! grep -qF -- "$text" <<<"$output"; then
    printf 'FAILED: %s: expected "%s" about %s, got:\n%s\n' "$name" "$text" "$file" "$output"
    failures=$((failures + 1))
  elif [[ $(grep -c . <<<"$output") != 1 ]]; then
    printf 'FAILED: %s: expected one complaint, got:\n%s\n' "$name" "$output"
    failures=$((failures + 1))
  fi
  fresh_tree
}

fresh_tree
expect_clean "a tree that keeps all rules passes"

write space/bad.cc '#include "supernet/supernet.h"'
expect_caught "an arrow upwards" space/bad.cc "space/ may not include supernet/supernet.h"
write data/bad.cc '#include "space/family.h"'
expect_caught "data knows no network" data/bad.cc "data/ may not include"
write latency/table/bad.cc '#include "latency/timer.h"'
expect_caught "the table is a leaf" latency/table/bad.cc "latency/table/ may not include"
write evaluator/bad.cc '#include "search/store/store.h"'
expect_caught "evaluator includes search" evaluator/bad.cc "evaluator/ may not include"
write search/queue/bad.cc '#include <sqlite3.h>'
expect_caught "SQLite outside the store" search/queue/bad.cc "SQLite stays behind search/store"
write bench/bad.cc '#include <sqlite3.h>'
expect_caught "SQLite in another benchmark" bench/bad.cc "SQLite stays behind search/store"
write search/sampler/bad.cc '#include <grpcpp/channel.h>'
expect_caught "gRPC inside a sampler" search/sampler/bad.cc "gRPC stays at the edges"
write supernet/bad.cc '#include "onnx/onnx_pb.h"'
expect_caught "ONNX protobufs outside the exporter" supernet/bad.cc "ONNX protobufs stay behind"
write latency/backend/bad.cc '#include <onnxruntime_c_api.h>'
expect_caught "ONNX Runtime outside its room" latency/backend/bad.cc "ONNX Runtime stays behind runtime"
write supernet/bad.h '#include <torch/torch.h>'
expect_caught "LibTorch outside the trainer" supernet/bad.h "LibTorch stays behind"
write search/bad.cc '#include <chrono>'
expect_caught "time from elsewhere" search/bad.cc "use base/clock.h"
write search/bad.cc '  absl::Time now = absl::Now();'
expect_caught "the wall clock called directly" search/bad.cc "use base/clock.h"
write runtime/bad.cc '  std::mt19937 generator;'
expect_caught "randomness from elsewhere" runtime/bad.cc "use base/random.h"
write cli/bad.cc '#include "../space/family.h"'
expect_caught "a relative include" cli/bad.cc "include from the repository root"
write stray/file.cc ''
expect_caught "a folder without a row in the table" stray/file.cc "no room owns this file"
sed -i 1d "$tree/space/family.cc"
expect_caught "a missing licence line" space/family.cc "the first line must be"
sed -i 's/FORALL_SPACE_FAMILY_H_/FORALL_FAMILY_H_/' "$tree/space/family.h"
expect_caught "a guard that does not name the path" space/family.h "the include guard must be FORALL_SPACE_FAMILY_H_"
sed -i '/^#ifndef\|^#define\|^#endif/d' "$tree/space/family.h"
expect_caught "a header without a guard" space/family.h "no include guard"
mkdir -p "$tree/docs"
printf 'see /%s/me/forall\n' home >"$tree/docs/guide.md"
expect_caught "a path of one machine" docs/guide.md "a path of one machine"
mkdir -p "$tree/tools"
printf '# SPDX-License-Identifier: Apache-2.0\nfetch %s://example.org/x\n' https >"$tree/tools/fetch.sh"
expect_caught "a host by name in set-up" tools/fetch.sh "no host by name"

rm -rf "${tree:?}"/*
if "$check" "$tree" >/dev/null 2>&1; then
  echo "FAILED: an empty tree must not pass"
  failures=$((failures + 1))
fi

if ((failures > 0)); then
  echo "check_layers_test: $failures failed"
  exit 1
fi
echo "check_layers_test: every planted violation was caught"
