#!/bin/bash
# Every test, lane by lane, with the time that each took. `tests/check.sh LANE...` runs only those.
set -euo pipefail
cd "$(dirname "$0")/.."

lanes=("$@")
[ ${#lanes[@]} -gt 0 ] || lanes=(build lint unit fuzz dialogues e2e crash clients)
times=()

e2e() { cargo test -q --locked -p twinseal-tests --test e2e -- --test-threads=1 "$@"; }

lane() {
	case $1 in
	build) cargo build -q --locked --workspace --all-targets ;;
	lint) cargo fmt --all --check && cargo clippy -q --locked --workspace --all-targets -- -D warnings ;;
	unit) cargo test -q --locked --workspace --exclude twinseal-tests && cargo test -q --locked -p twinseal-tests --bin twinseal-docs ;;
	fuzz) cargo test -q --locked -p twinseal-tests --test fuzz -- --nocapture ;;
	dialogues) e2e dialogues:: ;;
	e2e) e2e --skip dialogues:: --skip crash:: --skip clients:: --skip saml:: ;;
	crash) e2e crash:: ;;
	clients) e2e clients:: && e2e saml:: ;;
	*)
		echo "check.sh: no lane '$1'" >&2
		exit 64
		;;
	esac
}

[ -n "${TWINSEAL_CORPUS:-}" ] || echo "check.sh: TWINSEAL_CORPUS is not set: the tests on other people's mail are SKIPPED"
for name in "${lanes[@]}"; do
	echo "== $name"
	start=$SECONDS
	lane "$name"
	times+=("$name $((SECONDS - start)) s")
done
echo "== times"
printf '%s\n' "${times[@]}"
if [ -n "$(git status --porcelain 2>/dev/null)" ] && [ -n "${CI:-}" ]; then
	echo "check.sh: the tests changed the working tree:" >&2
	git status --short >&2
	exit 1
fi
