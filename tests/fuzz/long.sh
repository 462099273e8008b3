#!/bin/bash
# The fuzz targets for longer, each time with another sequence; writes docs/bench/fuzz.txt. usage: tests/fuzz/long.sh [SECONDS A TARGET]
set -euo pipefail
cd "$(dirname "$0")/../.."
export TWINSEAL_FUZZ_SECONDS=${1:-600} TWINSEAL_FUZZ_SEED=$RANDOM$RANDOM
{
	echo "$(date -u +%F), seed $TWINSEAL_FUZZ_SEED, $TWINSEAL_FUZZ_SECONDS s a target"
	cargo test -q --release --locked -p twinseal-tests --test fuzz -- --nocapture --test-threads=2 |
		grep -E 'inputs|found|panicked|test result' | sed 's/^\.*//'
} | tee docs/bench/fuzz.txt
