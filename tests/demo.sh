#!/bin/bash
# An encrypted list at work, on this machine alone: three services, three members, two mails, one member leaving.
# usage: tests/demo.sh DIRECTORY-OF-THE-PROGRAMS
set -euo pipefail

programs=$(cd "$1" && pwd)
work=$(mktemp -d)
lab=$work/lab
if [ -t 1 ]; then bold=$'\e[1m' red=$'\e[31m' yellow=$'\e[33m' green=$'\e[32m' plain=$'\e[0m'; else bold='' red='' yellow='' green='' plain=''; fi

"$programs/twinseal-lab" up --dir "$lab" --members 3 --member-alg rsa2048,p256,rsa3072 >"$work/lab.out" 2>&1 &
running=$!
finish() {
	kill "$running" 2>/dev/null && wait "$running" 2>/dev/null || true
	rm -rf "$work"
}
trap finish EXIT
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
field() { sed -n "s/^  \"$1\": \"\(.*\)\",\$/\1/p" "$lab/lab.json"; }
wait_for() { # what, command...
	local what=$1 tries=600
	shift
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { echo "demo: $what did not happen" >&2; cat "$work/lab.out" "$lab"/*.log >&2; exit 1; }
		kill -0 "$running" 2>/dev/null || { echo "demo: the lab ended" >&2; cat "$work/lab.out" >&2; exit 1; }
		sleep 0.1
	done
}
member() { TWINSEAL_HOME=$lab/members/m$1 "$lab/bin/twinseal" "${@:2}"; }
copies() { ls "$lab/sink/m$1@members.test/"*.eml 2>/dev/null | wc -l; }
has_copies() { [ "$(copies "$1")" -ge "$2" ]; }
queued() { "$lab/bin/exploder" --json queue list | grep -q '"id"'; }
empty() { ! queued; }

say "Starting certsrv, groupsrv and exploder as three processes, and enrolling three members"
wait_for "the lab" test -s "$lab/lab.json"
list=$(field list) smtp=$(field smtp)
echo "list: $list   m1: RSA-2048, m2: P-256, m3: RSA-3072   processes: $(sed -n 's/^ *"\(exploder\|groupsrv\|certsrv\)": \([0-9][0-9]*\),*$/\1 \2 /p' "$lab/lab.json" | tr -d '\n')"

columns() { # title and file, three times
	paste <(fold -w 44 "$2") <(fold -w 44 "$4") <(fold -w 44 "$6") |
		awk -F'\t' -v a="$1" -v b="$3" -v c="$5" -v red="$red" -v yellow="$yellow" -v green="$green" -v bold="$bold" -v plain="$plain" '
			function row(style, x, y, z) { printf "%s%s%-46s%s%s%s%-46s%s%s%s%s%s\n", style, red, x, plain, style, yellow, y, plain, style, green, z, plain }
			BEGIN { row(bold, a, b, c) }
			{ row("", $1, $2, $3) }'
}
spool_view() { tail -c 168 "$(ls "$lab"/exploder/spool/seg-*.log | tail -1)" | od -An -tx1 -w14 | sed 's/^ //'; }
audit_view() { "$lab/bin/groupsrv" audit show | tail -1 | head -c 560; echo; }
read_view() { # number of the copy, members...
	local number=$1 m
	shift
	for m in "$@"; do
		echo "m$m reads:"
		member "$m" read --accept-unsigned "$lab/sink/m$m@members.test/$number.eml" 2>"$work/status" | sed 's/^/  /'
		sed 's/ (certificate.*//; s/.*/  (&)/' "$work/status"
	done
}
show() { # number of the copy, members...
	audit_view >"$work/audit"
	read_view "$@" >"$work/read"
	columns "the exploder's spool holds" "$work/spool" "groupsrv's audit log holds" "$work/audit" "the members read" "$work/read"
}

say "1. A stock program writes: openssl cms -encrypt -aes256, sent with curl"
printf 'Content-Type: text/plain\r\n\r\nThe board meets at noon, room 4.\r\n' |
	openssl cms -encrypt -aes256 -from m1@members.test -to "$list" -subject 'meeting' "$lab/group.pem" >"$work/mail"
"$lab/bin/sink" stall
curl -sS --crlf "smtp://$smtp" --mail-from m1@members.test --mail-rcpt "$list" --upload-file "$work/mail"
wait_for "the mail in the queue" queued
spool_view >"$work/spool"
if grep -rqF 'The board meets' "$lab/exploder" "$lab/groupsrv" "$lab/certsrv"; then echo "demo: the text is on a server!" >&2; exit 1; fi
"$lab/bin/sink" accept
for m in 1 2 3; do wait_for "m$m's copy" has_copies $m 1; done
show 1 1 2 3

say "2. The member tool writes: twinseal send (signed, then encrypted)"
wait_for "an empty queue" empty
printf 'From: m2@members.test\nTo: %s\nSubject: minutes\n\nHere are the minutes.\n' "$list" | member 2 send "$list"
for m in 1 2 3; do wait_for "m$m's copy" has_copies $m 2; done
spool_view >"$work/spool"
show 2 1 2 3

say "3. m3 leaves; then m1 writes again"
member 3 leave "$list"
wait_for "an empty queue" empty
printf 'From: m1@members.test\nTo: %s\nSubject: again\n\nm3 must not read this.\n' "$list" | member 1 send "$list"
for m in 1 2; do wait_for "m$m's copy" has_copies $m 3; done
wait_for "an empty queue" empty
spool_view >"$work/spool"
show 3 1 2
has_copies 3 3 && { echo "demo: m3 got a copy after leaving!" >&2; exit 1; }
echo "m3 got nothing: $(copies 3) copies, as before."

say "Audit: $("$lab/bin/groupsrv" audit verify)"
say "Done; stopping everything."
