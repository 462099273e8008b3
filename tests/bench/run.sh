#!/bin/bash
# The benchmark: `tests/bench/run.sh PROGRAMS_DIR [--quick]`, PROGRAMS_DIR being where `cargo build --release` put them.
# Builds the floor, runs bench.py, writes docs/bench/latest.md. Ends with 1 when a gate fails, 2 when nothing could be
# measured. `--quick` is one round of B1 and B2 and writes no page.
set -euo pipefail
here=$(dirname "$(realpath "$0")")

if [ $# -lt 1 ] || [ ! -x "$1/twinseal-lab" ]; then
	echo "run.sh: no twinseal-lab in '${1:-}'" >&2
	echo "try: cargo build --release && tests/bench/run.sh target/release" >&2
	exit 64
fi
for tool in cc openssl python3 setpriv; do
	if ! command -v "$tool" >/dev/null; then
		echo "run.sh: $tool is not installed" >&2
		echo "try: deploy/install-deps test" >&2
		exit 77
	fi
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cc -O2 -Wall -Wextra -o "$scratch/floor" "$here/floor.c" "$here/wrap.c" -lcrypto
python3 -B "$here/bench.py" --programs "$(realpath "$1")" --floor "$scratch/floor" --scratch "$scratch" \
	--page "$here/../../docs/bench/latest.md" "${@:2}"
