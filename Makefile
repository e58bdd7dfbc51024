# SPDX-License-Identifier: Apache-2.0
# The commands people type. Each does all the set-up that it needs; the work is in tools/ and CMake.
.DEFAULT_GOAL := help
.PHONY: help quickstart test test-long bench lint format setup clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

quickstart:  ## install, build, search on this machine: frontier, report and model land in quickstart/
	@tools/quickstart.sh

test:  ## build everything and run every test: release, sanitizers, fuzzers
	@tools/test.sh

test-long:  ## the forms of tests that take minutes or more
	@tools/test_long.sh

bench:  ## measure forall against its limits and peers
	@tools/bench.sh

lint:  ## formatting, layers, clang-tidy
	@tools/setup.sh --lint
	@tools/lint.sh

format:  ## format every C++ and proto file in place
	@tools/setup.sh --lint
	@tools/format.sh

setup:  ## install what building and running needs (nothing is built)
	@tools/setup.sh --trainer --fuzz --peers

clean:  ## remove what was built; downloads in build/deps stay
	@find build -mindepth 1 -maxdepth 1 ! -name deps -exec rm -rf {} + 2>/dev/null || true
